//! One place to listen on, in words: `127.0.0.1:2525`, `unix:/run/dialog.sock`,
//! `systemd:dialog`.

use crate::address::Address;
use crate::escape::printable;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// One place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// TCP over IPv4 or IPv6. Port 0 picks a free one, the same for all workers.
    Tcp(SocketAddr),
    /// A Unix-domain socket. A file of a server that is gone is replaced.
    Unix {
        /// Where its file is made; it is removed at the end.
        path: PathBuf,
        /// Who may connect, as the permissions of the file (`0o660`); `None` leaves it to the
        /// process's umask. In force before anybody can connect.
        mode: Option<u32>,
    },
    /// Sockets that whoever started us has opened, by name: `FileDescriptorName=` of systemd's
    /// socket units, or the unit's own name. All of that name, TCP or Unix.
    Systemd(String),
}

impl Listen {
    const SYSTEMD: &str = "systemd:";
}

/// As [`Address`]: with the numbers of what would steer a terminal.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix { path, mode: _ } => write!(f, "unix:{}", printable(&path.display())),
            Listen::Systemd(name) => write!(f, "{}{}", Listen::SYSTEMD, printable(name)),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen::Tcp(address)
    }
}

/// Text that says no place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}` is no place to listen on; write IP:PORT, as 127.0.0.1:2525 or [::1]:2525, unix:PATH, or systemd:NAME", printable(.0))]
pub struct ParseListenError(String);

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Listen, ParseListenError> {
        let wrong = || ParseListenError(text.into());
        if let Some(name) = text.strip_prefix(Listen::SYSTEMD) {
            return if name.is_empty() { Err(wrong()) } else { Ok(Listen::Systemd(name.into())) };
        }
        match text.parse().map_err(|_| wrong())? {
            Address::Tcp(address) => Ok(Listen::Tcp(address)),
            Address::Unix(Some(path)) => Ok(Listen::Unix { path, mode: None }),
            Address::Unix(None) | Address::Pair => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_as_they_are_written() {
        for text in ["127.0.0.1:0", "[::1]:2525", "unix:/tmp/a b.sock", "systemd:mail"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn fault_71_places_steer_no_terminal() {
        assert_eq!("unix:/a\x1b[2J".parse::<Listen>().unwrap().to_string(), r"unix:/a\x1b[2J");
        assert_eq!("systemd:a\nb".parse::<Listen>().unwrap().to_string(), r"systemd:a\nb");
        let error = "a\x1b".parse::<Listen>().unwrap_err().to_string();
        assert!(error.starts_with(r"`a\x1b` is no place"), "{error}");
    }

    #[test]
    fn e10_what_is_no_place_says_how_one_looks() {
        for text in ["localhost", "127.0.0.1", "unix:", "systemd:", ":80", ""] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:2525") && error.contains("systemd:NAME"), "{error}");
        }
    }
}
