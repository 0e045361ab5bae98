//! Whom to connect to, and why that has failed. How it is done is in the worker's
//! `outgoing`.

use crate::address::{Address, ParseAddressError};
use crate::escape::printable;
use crate::io_error::{AddressError, same, words};
use drywire_core::TransportError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Whom to connect to, and how long that may take: an [`Address`], or a name and a
/// port, which is looked up first.
///
/// ```
/// use drywire_server::Target;
/// use std::time::Duration;
///
/// let target: Target = "mail.example.org:25".parse()?;
/// assert_eq!(target, Target::name("mail.example.org", 25));
/// // Instead of what the configuration says.
/// let target = target.within(Duration::from_secs(3));
/// # assert_eq!(target.to_string(), "mail.example.org:25");
/// # Ok::<(), drywire_server::ParseAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub(crate) whom: Whom,
    pub(crate) within: Option<Duration>,
}

/// An address, or what is looked up to find some.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// An address.
    Address(Address),
    /// A name that is looked up when it is needed, each time anew.
    Name {
        /// The name.
        host: String,
        /// The port, which names do not have.
        port: u16,
    },
}

/// The longest name there is, in bytes (RFC 1035 §2.3.4, as text).
const NAME_BYTES: usize = 253;

impl Target {
    /// A name that is looked up when it is connected to, each time anew. What a name
    /// may be is up to whoever looks it up; one that is none is not found.
    #[must_use]
    pub fn name(host: impl Into<String>, port: u16) -> Target {
        Whom::Name { host: host.into(), port }.into()
    }

    /// Who it is, without the deadline.
    #[must_use]
    pub fn whom(&self) -> &Whom {
        &self.whom
    }

    /// The same, to stand within this time from now on, the look-up included:
    /// instead of [`Config::connect_timeout`](crate::Config::connect_timeout).
    #[must_use]
    pub fn within(self, timeout: Duration) -> Target {
        Target { within: Some(timeout), ..self }
    }
}

impl From<Whom> for Target {
    fn from(whom: Whom) -> Target {
        Target { whom, within: None }
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Target {
        Whom::Address(address).into()
    }
}

impl From<&Address> for Target {
    fn from(address: &Address) -> Target {
        address.clone().into()
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Target {
        target.clone()
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Address::Tcp(address).into()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.whom {
            Whom::Address(address) => address.fmt(f),
            Whom::Name { host, port } => write!(f, "{}:{port}", printable(host)),
        }
    }
}

/// An address, or `NAME:PORT`. What looks like a misspelt address is no name.
impl FromStr for Target {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Target, ParseAddressError> {
        let error = match text.parse::<Address>() {
            Ok(address) => return Ok(address.into()),
            Err(_) => ParseAddressError::target(text),
        };
        match text.rsplit_once(':') {
            Some((host, port)) if is_name(host) => match port.parse() {
                Ok(port) => Ok(Target::name(host, port)),
                Err(_) => Err(error),
            },
            Some(_) | None => Err(error),
        }
    }
}

fn is_name(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or(host);
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    !is_number && host.len() <= NAME_BYTES && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// Why a connection of ours does not stand, in words that say what to do.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// An address cannot be connected to: of a name with several, the last.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A name has no address that is known here.
    #[error(
        "cannot connect to {target}: {}; check the name and this machine's name service, or take an IP address",
        words(source)
    )]
    Unresolved {
        /// The name.
        target: Target,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no room for one more connection, or no poller takes it.
    #[error("cannot connect to {target}: {}", words(source))]
    NoRoom {
        /// Whom.
        target: Target,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too many names wait to be looked up already.
    #[error("cannot connect to {target}: too many names wait to be looked up; try again, or take an IP address")]
    TooManyNames {
        /// The name.
        target: Target,
    },
    /// It did not stand in time.
    #[error("cannot connect to {target}: nobody answered within {within:?}; check the address, or wait for longer")]
    TimedOut {
        /// Whom.
        target: Target,
        /// How long it was tried.
        within: Duration,
    },
    /// It was closed before anybody could use it: by its peer, or by a callback. A
    /// caller who waits for a connection is told that; no notice is given.
    #[error("the connection to {target} was closed as soon as it was made")]
    Gone {
        /// Whom.
        target: Target,
    },
    /// The poller failed while somebody waited.
    #[error(transparent)]
    Driver(io::Error),
}

/// The words stay the same, and the numbers.
impl Clone for ConnectError {
    fn clone(&self) -> ConnectError {
        match self {
            ConnectError::Address(error) => ConnectError::Address(error.clone()),
            ConnectError::Unresolved { target, source } => {
                ConnectError::Unresolved { target: target.clone(), source: same(source) }
            }
            ConnectError::NoRoom { target, source } => {
                ConnectError::NoRoom { target: target.clone(), source: same(source) }
            }
            ConnectError::TooManyNames { target } => ConnectError::TooManyNames { target: target.clone() },
            ConnectError::TimedOut { target, within } => {
                ConnectError::TimedOut { target: target.clone(), within: *within }
            }
            ConnectError::Gone { target } => ConnectError::Gone { target: target.clone() },
            ConnectError::Driver(error) => ConnectError::Driver(same(error)),
        }
    }
}

impl ConnectError {
    /// The reason in the close report of such a connection.
    #[must_use]
    pub fn transport_error(&self) -> TransportError {
        match self {
            ConnectError::Address(error) => error.transport_error(),
            ConnectError::Unresolved { .. } | ConnectError::TooManyNames { .. } => TransportError::Unresolved,
            ConnectError::TimedOut { .. } => TransportError::TimedOut,
            ConnectError::NoRoom { .. } | ConnectError::Gone { .. } | ConnectError::Driver(_) => {
                TransportError::Other(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_read_back_as_they_are_written() {
        for text in
            ["localhost:25", "a-b.example.org.:65535", "_x.bücher:0", "127.0.0.1:25", "[::1]:25", "unix:/tmp/x y"]
        {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn e10_what_is_no_target_says_how_one_looks() {
        let long = format!("{}:1", "x".repeat(NAME_BYTES + 1));
        for text in ["", ":25", "localhost", "localhost:", "localhost:65536", "1.2.3.300:25", "::1:25", "a b:1", &long]
        {
            let words = text.parse::<Target>().unwrap_err().to_string();
            assert!(words.contains("NAME:PORT") && words.contains("127.0.0.1:2525"), "{text}: {words}");
        }
    }

    #[test]
    fn e10_errors_name_whom_and_say_what_to_do() {
        let target = Target::name("nowhere.invalid", 25);
        let source = io::Error::other("failed to lookup address information: Name or service not known");
        let unresolved = ConnectError::Unresolved { target: target.clone(), source };
        let late = ConnectError::TimedOut { target: target.clone(), within: Duration::from_millis(1500) };
        for (error, word) in
            [(unresolved, "check the name"), (late, "1.5s"), (ConnectError::TooManyNames { target }, "try again")]
        {
            let words = error.to_string();
            assert!(words.contains("nowhere.invalid:25") && words.contains(word), "{words}");
        }
    }
}
