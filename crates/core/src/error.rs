//! What can go wrong, sorted by who must act.

use crate::limits::Limit;
use thiserror::Error;

/// Why a handler call did not finish. Handlers return it with `?`.
///
/// [`From<E>`] makes a protocol's own error a [`Stop::Peer`]; everything else
/// comes out of the [`Context`](crate::Context) ready made.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop<E> {
    /// No room now. The call is undone and made again, with the same input, when
    /// there is room. Only the context can make one.
    Full(Full),
    /// What the call did could never fit.
    Limit(Limit),
    /// The call broke a rule of this library.
    Misuse(Misuse),
    /// The peer broke the protocol.
    Peer(E),
}

impl<E> From<E> for Stop<E> {
    fn from(error: E) -> Stop<E> {
        Stop::Peer(error)
    }
}

/// The proof, handed out by a context, that something was full.
#[derive(Debug, PartialEq, Eq)]
pub struct Full(pub(crate) ());

/// Why a connection failed: told to
/// [`Protocol::error_reply`](crate::Protocol::error_reply), and in the close report.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure<E> {
    /// The peer broke the protocol: reply, then close.
    #[error("{0}")]
    Peer(E),
    /// A bound of ours was met.
    #[error("{0}")]
    Limit(Limit),
    /// The protocol's author broke a rule of this library; fixed by reading code.
    #[error("{0}")]
    Misuse(Misuse),
}

/// An order of calls that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misuse {
    /// The connection has ended or is ending; nothing more goes in.
    #[error("the connection is closed")]
    Closed,
    /// A command was handed over while the connection could not take one. Ask
    /// [`Live::can_take_command`](crate::Live::can_take_command) first.
    #[error("a command is still waiting")]
    CommandWaiting,
    /// An answer for a file nobody asked for.
    #[error("no such file was asked for")]
    UnknownFile,
    /// `consume` claims more bytes than it was given.
    #[error("consume took more bytes than there were")]
    ConsumedTooMuch,
    /// A file was streamed outside of the `file` call that received it, or beyond its end.
    #[error("the file is not open, or ends before the range that was asked for")]
    FileRange,
    /// A write after `half_close`.
    #[error("write after half-close")]
    WriteAfterEnd,
    /// A `Stop::Full` of an earlier call was returned from one that nothing refused.
    #[error("a stop of an earlier call was returned")]
    StaleFull,
    /// An upgrade beside another one, or while a file is being opened.
    #[error("an upgrade while something else is being waited for")]
    Upgrade,
    /// A turn was forgotten (`mem::forget`) and the input it held with it.
    #[error("the turn before this one was forgotten")]
    ForgottenTurn,
}

/// A transport's answer when it did not move bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Nothing now; readiness will be signalled.
    WouldBlock,
    /// The transport failed for good.
    Failed(TransportError),
}

/// How a transport failed. The `io::Error` itself stays in the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    /// The peer reset the connection (FAULTS 7, 12).
    #[error("reset by the peer")]
    Reset,
    /// We wrote and the peer no longer reads (FAULTS 11).
    #[error("the peer stopped reading")]
    BrokenPipe,
    /// The kernel gave up on the peer (FAULTS 13), or we did while we connected.
    #[error("timed out")]
    TimedOut,
    /// Nobody listens where we wanted to connect.
    #[error("connection refused")]
    Refused,
    /// The name of whom we wanted to connect to has no address that is known.
    #[error("the name was not found")]
    Unresolved,
    /// Any other error, by its number in the operating system.
    #[error("os error {0}")]
    Other(i32),
}

/// Why a file could not be opened or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// It may not be read, or lies outside the root (FAULTS 49, 51, 52).
    #[error("forbidden")]
    Forbidden,
    /// A directory, FIFO, device or socket (FAULTS 50).
    #[error("not a regular file")]
    NotRegular,
    /// No descriptor left for it.
    #[error("too many open files")]
    TooMany,
    /// It became shorter while it was streamed (FAULTS 46).
    #[error("file became shorter while it was sent")]
    Truncated,
    /// Any other error, by its number in the operating system.
    #[error("os error {0}")]
    Io(i32),
}
