//! What an error of a system call means to a connection, and in words to a person.

use crate::address::Address;
use drywire_core::{Blocked, TransportError};
use rustix::io::Errno;
use std::io;
use thiserror::Error;

/// One error model for every transport (row A8).
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is the standard library's, and open")]
pub fn blocked(error: &io::Error) -> Blocked {
    if error.kind() == io::ErrorKind::WouldBlock {
        return Blocked::WouldBlock;
    }
    // One that a poller or a runtime has made has no number, and 0 is none of the system's.
    let Some(code) = error.raw_os_error().filter(|code| *code > 0) else {
        return Blocked::Failed(match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => TransportError::Reset,
            io::ErrorKind::BrokenPipe => TransportError::BrokenPipe,
            io::ErrorKind::TimedOut => TransportError::TimedOut,
            io::ErrorKind::ConnectionRefused => TransportError::Refused,
            _ => TransportError::Other(0),
        });
    };
    if code >= NO_ERRNO {
        return Blocked::Failed(TransportError::Other(code));
    }
    Blocked::Failed(match Errno::from_raw_os_error(code) {
        Errno::CONNRESET | Errno::CONNABORTED => TransportError::Reset,
        Errno::PIPE => TransportError::BrokenPipe,
        Errno::TIMEDOUT => TransportError::TimedOut,
        Errno::CONNREFUSED => TransportError::Refused,
        _ => TransportError::Other(code),
    })
}

/// Numbers of errors end before this one (Linux: `MAX_ERRNO` and one more).
const NO_ERRNO: i32 = 4096;

/// An address that could not be listened on, or connected to, and the way out.
#[derive(Debug, Error)]
#[error("cannot {what} {address}: {}{}", words(source), advice(address, source))]
pub struct AddressError {
    pub(crate) what: &'static str,
    /// Which address.
    pub address: Address,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The number and the words stay, what else was in there does not.
impl Clone for AddressError {
    fn clone(&self) -> AddressError {
        AddressError { what: self.what, address: self.address.clone(), source: same(&self.source) }
    }
}

/// An error that says the same.
pub(crate) fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

impl AddressError {
    /// The words for an address that a socket of one's own could not be bound to.
    #[must_use]
    pub fn listening(address: Address, source: io::Error) -> AddressError {
        AddressError { what: "listen on", address, source }
    }

    /// The words for an address that cannot be connected to, as is known at once.
    pub(crate) fn new(address: Address, source: io::Error) -> AddressError {
        AddressError { what: "connect to", address, source }
    }

    /// The words for a connection to `address` that never stood: `error` is the
    /// reason in its close report.
    #[must_use]
    pub fn connecting(address: Address, error: TransportError) -> AddressError {
        let errno = match error {
            TransportError::Reset => Errno::CONNRESET,
            TransportError::BrokenPipe => Errno::PIPE,
            TransportError::TimedOut => Errno::TIMEDOUT,
            TransportError::Refused => Errno::CONNREFUSED,
            TransportError::Unresolved => Errno::HOSTUNREACH,
            TransportError::Other(code) => {
                let source = io::Error::from_raw_os_error(code);
                return AddressError { what: "connect to", address, source };
            }
        };
        AddressError { what: "connect to", address, source: errno.into() }
    }

    /// What a connection says that ends for this.
    pub(crate) fn transport_error(&self) -> TransportError {
        match blocked(&self.source) {
            Blocked::Failed(error) => error,
            Blocked::WouldBlock => TransportError::Other(Errno::AGAIN.raw_os_error()),
        }
    }
}

/// What the system said, without its number.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// What to do about it (row E10).
#[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is the standard library's, and open")]
fn advice(address: &Address, error: &io::Error) -> &'static str {
    let unix = matches!(address, Address::Unix(_));
    match error.kind() {
        io::ErrorKind::AddrInUse if unix => {
            "; stop the program that has it, remove the file if none has, or take another path"
        }
        io::ErrorKind::AddrInUse => "; stop the program that has it, or take another port (0 picks a free one)",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address, 127.0.0.1 it always has",
        io::ErrorKind::PermissionDenied if unix => {
            "; its directory or the socket is not ours to use, take another path"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges, take another",
        io::ErrorKind::ConnectionRefused if unix => "; nobody listens there, start the server first or check the path",
        io::ErrorKind::ConnectionRefused => "; nobody listens there, start the server first or check the port",
        io::ErrorKind::NotFound => "; there is no such path, create its directory or start the server first",
        io::ErrorKind::WouldBlock => "; the server accepts nobody at the moment, try again",
        io::ErrorKind::InvalidInput if unix => "; the path of a socket has 107 bytes at most, take a shorter one",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_would_block_broken_pipe_and_reset_are_told_apart() {
        let of = |errno: Errno| blocked(&errno.into());
        assert_eq!(of(Errno::AGAIN), Blocked::WouldBlock);
        assert_eq!(of(Errno::PIPE), Blocked::Failed(TransportError::BrokenPipe));
        assert_eq!(of(Errno::CONNRESET), Blocked::Failed(TransportError::Reset));
        assert_eq!(of(Errno::TIMEDOUT), Blocked::Failed(TransportError::TimedOut));
        assert_eq!(of(Errno::IO), Blocked::Failed(TransportError::Other(5)));
    }

    #[test]
    fn e10_address_in_use_names_the_address_and_the_way_out() {
        let error = AddressError {
            what: "listen on",
            address: "127.0.0.1:2525".parse().unwrap(),
            source: Errno::ADDRINUSE.into(),
        };
        assert_eq!(
            error.to_string(),
            "cannot listen on 127.0.0.1:2525: address already in use; \
             stop the program that has it, or take another port (0 picks a free one)"
        );
    }

    #[test]
    fn e10_advice_is_about_paths_where_the_address_is_one() {
        let say = |errno: Errno| {
            let address = "unix:/run/x.sock".parse().unwrap();
            AddressError { what: "listen on", address, source: errno.into() }.to_string()
        };
        for (errno, way_out) in [
            (Errno::ADDRINUSE, "remove the file"),
            (Errno::CONNREFUSED, "check the path"),
            (Errno::ACCESS, "take another path"),
            (Errno::AGAIN, "try again"),
            (Errno::INVAL, "107 bytes"),
        ] {
            let text = say(errno);
            assert!(text.contains("unix:/run/x.sock") && text.contains(way_out) && !text.contains("port"), "{text}");
        }
    }

    #[test]
    fn w6_errors_without_a_number_of_the_system_are_errors_and_no_panic() {
        let of = |kind: io::ErrorKind| blocked(&kind.into());
        assert_eq!(of(io::ErrorKind::OutOfMemory), Blocked::Failed(TransportError::Other(0)));
        assert_eq!(of(io::ErrorKind::BrokenPipe), Blocked::Failed(TransportError::BrokenPipe));
        assert_eq!(of(io::ErrorKind::TimedOut), Blocked::Failed(TransportError::TimedOut));
        assert_eq!(blocked(&io::Error::from_raw_os_error(0)), Blocked::Failed(TransportError::Other(0)));
        for code in [0, 5, 99_999] {
            let error = AddressError::connecting("127.0.0.1:1".parse().unwrap(), TransportError::Other(code));
            assert_eq!(error.transport_error(), TransportError::Other(code), "{error}");
        }
    }
}
