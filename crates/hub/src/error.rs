//! Why a call did nothing, and what to do about it.

use crate::number::Number;
use bytes::Bytes;
use drywire_server::escape::printable;
use drywire_server::{AddressError, ConnectError};
use std::io;
use thiserror::Error;

/// Why a call of the hub did nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Every call behind [`Hub::shutdown`](crate::Hub::shutdown) (row H6).
    #[error("the hub is shut down; make a new one")]
    ShutDown,
    /// No connection has this number any more: its end was taken. Or none ever had.
    #[error("there is no connection {0}; its end was taken from the input queue, or it is another hub's")]
    Unknown(Number),
    /// The connection is closed or closing, so nothing more can be submitted.
    #[error("connection {0} is closed; take its input, which says why")]
    Closed(Number),
    /// The connection was added without an output.
    #[error("connection {0} has no output; add it with one")]
    NoOutput(Number),
    /// The message is longer than any may be.
    #[error("a message of {len} bytes for connection {number} is longer than {longest}; cut it, or raise the bound")]
    TooLong {
        /// For whom.
        number: Number,
        /// How long it is, in bytes.
        len: usize,
        /// How long it may be: [`Bounds::message_bytes`](crate::Bounds::message_bytes).
        longest: u32,
    },
    /// The output queue has no room for the message now.
    #[error("the output queue of connection {number} is full; call do_io until its peer has taken some, or close it")]
    Full {
        /// For whom.
        number: Number,
        /// The message, back.
        message: Bytes,
    },
    /// As many connections are open, or closed with their end not taken yet, as may be.
    #[error("{0} connections are open already; close some and take their ends, or raise the bound")]
    TooMany(usize),
    /// Nobody can connect, so nobody can be accepted.
    #[error("the hub does not listen; call listen first")]
    NotListening,
    /// A connection needs an input or an output.
    #[error("a connection without input and output; give it one of them")]
    NoDescriptor,
    /// A connection of ours does not stand.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An address cannot be listened on: of a name with several, the last.
    #[error(transparent)]
    Listen(#[from] AddressError),
    /// A name to listen on has no address that is known here.
    #[error("cannot listen on {}: {source}; check the name, or take an IP address", printable(host))]
    Unresolved {
        /// The name.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system gives no poller, or no place in one.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl Error {
    /// The connection is not there any more, whether its end was taken or not: nothing is wrong
    /// with whoever asked.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Unknown(_) | Error::Closed(_))
    }
}
