//! The last word on a connection: why it ended, and what went through it.

use crate::error::{FileError, Misuse, TransportError};
use crate::layer::LayerError;
use crate::limits::Limit;
use core::fmt;

/// Handed out exactly once per connection, as the last action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReport<E> {
    /// Why it ended.
    pub reason: Reason<E>,
    /// What went through it.
    pub counters: Counters,
}

impl<E> CloseReport<E> {
    /// Output was dropped, or may have been. A driver makes the peer see a reset rather
    /// than a clean end, so that half an answer is not taken for a whole one. What waited for a
    /// handshake that did not complete is no such half: the layer's own end, an alert, says why.
    #[must_use]
    pub fn is_abort(&self) -> bool {
        let is_whole = self.counters.unsent == 0 || self.reason.is_before_all_output();
        !is_whole || self.reason.is_abort()
    }
}

/// Why a connection ended. Whether all that was owed was taken is
/// [`CloseReport::is_abort`], whatever the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<E> {
    /// The protocol closed, and all it wrote was taken by the transport.
    Finished,
    /// The application asked for it, and all that was owed was taken.
    Requested,
    /// The protocol gave up on its peer; the error reply was taken.
    Peer(E),
    /// A bound was met; the error reply was taken.
    Limit(Limit),
    /// The protocol's author, or the driver's, broke a rule.
    Misuse(Misuse),
    /// The transport failed.
    Transport(TransportError),
    /// A file that was being sent failed; what was announced will not come.
    File(FileError),
    /// A layer gave up: the handshake failed, a record was bad, its keys are used up. Or it did
    /// not give up, and says that the peer's stream was cut: then what complete messages were owed
    /// was taken ([`Protocol::input_cut`](crate::Protocol::input_cut)).
    Layer(LayerError),
    /// The peer took nothing for [`Limits::stall_ms`](crate::Limits::stall_ms), or
    /// less than [`Limits::min_rate`](crate::Limits::min_rate).
    Stalled,
    /// The protocol, the application or a shutdown's deadline cut it off.
    Aborted,
    /// The protocol, or the application in a callback about this connection, panicked
    /// (FAULTS 59). A connection does not say this itself; whoever runs it does.
    Panicked,
    /// It was cut because the process had no more memory to give by its budget. A
    /// connection does not say this itself; whoever runs it does.
    Shed,
}

impl<E> Reason<E> {
    /// None of the output was offered to the peer.
    pub(crate) fn is_before_all_output(&self) -> bool {
        matches!(self, Reason::Limit(Limit::Handshake(_)))
    }

    /// It ended without waiting for what was owed, so output may have been dropped. How a driver
    /// closes is [`CloseReport::is_abort`], which knows whether other ends dropped any.
    #[must_use]
    pub fn is_abort(&self) -> bool {
        match self {
            Reason::Finished | Reason::Requested | Reason::Peer(_) | Reason::Limit(_) | Reason::Layer(_) => false,
            // The other rules are broken in a call, which ends like any other that fails.
            Reason::Misuse(misuse) => *misuse == Misuse::ForgottenTurn,
            Reason::Transport(_)
            | Reason::File(_)
            | Reason::Stalled
            | Reason::Aborted
            | Reason::Panicked
            | Reason::Shed => true,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Reason<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Finished => f.write_str("finished"),
            Reason::Requested => f.write_str("closed by the application"),
            Reason::Peer(error) => write!(f, "protocol error: {error}"),
            Reason::Limit(limit) => write!(f, "limit: {limit}"),
            Reason::Misuse(misuse) => write!(f, "misuse: {misuse}"),
            Reason::Transport(error) => write!(f, "transport: {error}"),
            Reason::File(error) => write!(f, "file: {error}"),
            Reason::Layer(error) => write!(f, "layer: {error}"),
            Reason::Stalled => f.write_str("the peer stopped taking output"),
            Reason::Aborted => f.write_str("aborted"),
            Reason::Panicked => f.write_str("the code that serves it panicked"),
            Reason::Shed => f.write_str("cut to stay within the memory budget"),
        }
    }
}

/// What went through a connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received from the transport, discarded ones included.
    pub received: u64,
    /// Taken by the transport, file bytes included.
    pub sent: u64,
    /// Received, but not for the protocol: it had failed or closed.
    pub discarded: u64,
    /// Owed, but never taken by the transport. 0 unless the close was an abort
    /// ([`CloseReport::is_abort`]).
    pub unsent: u64,
}
