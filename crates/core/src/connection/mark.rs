//! Places in the output: how whoever waits learns that what was owed at one moment
//! has been taken.

use super::{Connection, Phase};
use crate::layer::Layer;
use crate::protocol::Protocol;

/// A place in the output of one connection, behind all that was owed when it was made.
///
/// It is two numbers and knows nothing of its connection: asking another one about it
/// gives an answer without a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(Place);

/// Bytes are counted before the layers while they are queued, and behind them after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queue(u64),
    Wire(u64),
}

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// Marks the end of what is owed now, contents of files included.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(Place::Queue(self.dequeued() + self.buffers.as_ref().map_or(0, |buffers| buffers.output.owed())))
    }

    /// Whether the transport has taken all that lies before `mark`; with layers, all
    /// that they made of it. Never any more once something that was owed was dropped:
    /// ask after every turn.
    #[must_use]
    pub fn is_past(&self, mark: &mut Mark) -> bool {
        if self.io.counters.unsent > 0 {
            return false;
        }
        if let Place::Queue(at) = mark.0 {
            if self.dequeued() < at {
                return false;
            }
            if !L::TRANSPARENT {
                if self.io.gathered || self.layer.is_owing() {
                    return false;
                }
                mark.0 = Place::Wire(self.io.counters.sent + self.wire_ahead() as u64);
            }
        }
        match mark.0 {
            Place::Queue(_) => true,
            Place::Wire(at) => self.io.counters.sent >= at,
        }
    }

    /// Whether the transport has taken all that was written, with layers all that they made
    /// of it; true once for all of it. What layers say by themselves, as a handshake, is
    /// none of it. Never any more once something that was owed was dropped.
    pub fn take_written_out(&mut self) -> bool {
        let is_encoded = L::TRANSPARENT || (!self.io.gathered && !self.layer.is_owing());
        let is_news = self.io.wrote && is_encoded && !self.is_owing() && self.io.counters.unsent == 0;
        self.io.wrote &= !is_news;
        is_news
    }

    /// A command was accepted that no call of its handler has dealt with yet, or only one
    /// that failed and was undone. Still true when the connection has ended: it was in vain
    /// then (FAULTS 66).
    #[must_use]
    pub fn holds_command(&self) -> bool {
        self.command.is_some()
    }

    /// Its end is decided: no handler will be called any more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        match self.phase {
            Phase::New | Phase::Active => false,
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => true,
        }
    }

    /// Bytes that left the queue, whether to the transport or into the layers.
    fn dequeued(&self) -> u64 {
        if L::TRANSPARENT { self.io.counters.sent } else { self.io.encoded }
    }
}
