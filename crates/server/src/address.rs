//! Where to listen and whom to connect to, in words: `127.0.0.1:2525`,
//! `[::1]:2525`, `unix:/run/dialog.sock`. Names are a [`Target`](crate::Target)'s.

use crate::escape::printable;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// One end of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix-domain socket; `None` for the end that has no name, as most clients.
    Unix(Option<PathBuf>),
    /// No socket at all: a pair of descriptors.
    Pair,
}

impl Address {
    const UNIX: &str = "unix:";
}

/// A path as a person reads it: what would steer a terminal or end the line is written as its number.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(Some(path)) => write!(f, "{}{}", Address::UNIX, printable(&path.display())),
            Address::Unix(None) => write!(f, "{}(unnamed)", Address::UNIX),
            Address::Pair => f.write_str("descriptors"),
        }
    }
}

/// Text that names no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}` is no address; write {names}IP:PORT, as 127.0.0.1:2525 or [::1]:2525, or unix:PATH", printable(text))]
pub struct ParseAddressError {
    text: String,
    /// What may be written besides.
    names: &'static str,
}

impl ParseAddressError {
    fn new(text: &str) -> ParseAddressError {
        ParseAddressError { text: text.into(), names: "" }
    }

    /// The same where a name will do.
    pub(crate) fn target(text: &str) -> ParseAddressError {
        ParseAddressError { names: "NAME:PORT, ", ..ParseAddressError::new(text) }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Address, ParseAddressError> {
        match text.strip_prefix(Address::UNIX) {
            Some("") => Err(ParseAddressError::new(text)),
            Some(path) => Ok(Address::Unix(Some(path.into()))),
            None => text.parse().map(Address::Tcp).map_err(|_| ParseAddressError::new(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["127.0.0.1:0", "[::1]:2525", "unix:/tmp/a b.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn fault_71_addresses_steer_no_terminal() {
        let address = Address::Unix(Some("/tmp/a\x1b[31m\nb".into()));
        assert_eq!(address.to_string(), r"unix:/tmp/a\x1b[31m\nb");
        let error = "a\nb".parse::<Address>().unwrap_err().to_string();
        assert!(error.starts_with(r"`a\nb` is no address"), "{error}");
    }

    #[test]
    fn e10_what_is_no_address_says_how_one_looks() {
        for text in ["localhost", "127.0.0.1", "unix:", ":80", ""] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:2525"), "{error}");
        }
    }
}
