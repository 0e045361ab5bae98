//! One connection of the hub, from its number's birth to the taking of its end.

use crate::input::Row;
use crate::state::Bounds;
use bytes::Bytes;
use drywire_protocols::{Hub as Messages, HubCommand};
use drywire_server::{Id, Net, SendError, Worker};
use std::collections::VecDeque;

/// Which directions a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Both.
    Both,
    /// It is only listened to.
    Input,
    /// It is only spoken to.
    Output,
}

/// ```text
///  Coming ──stands──▶ Open ──close──▶ Closing ─┐
///    │                  ├───abort───▶ Aborting ─┤
///    │ fails            └───────────────────────┴─ends─▶ Gone ──end is taken──▶ (forgotten)
///    └──▶ (forgotten: nobody has heard of it)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Coming,
    Open,
    /// What was submitted goes out, then it ends.
    Closing,
    Aborting,
    /// It has ended; that waits to be taken.
    Gone,
}

/// Bytes that are handed over before the transport has taken what was handed over before:
/// a socket's buffer, so that it does not run dry.
const WINDOW_BYTES: usize = 256 * 1024;

/// The same for short messages, in messages.
pub(crate) const WINDOW: usize = 1024;

/// What a message takes of the bounds of its queue beside its bytes.
const OVERHEAD: usize = size_of::<Bytes>();

pub(crate) struct Peer {
    pub(crate) id: Id,
    pub(crate) stage: Stage,
    pub(crate) ends: Ends,
    /// What waits to be taken.
    pub(crate) row: Row,
    pub(crate) input_bytes: usize,
    /// Its row is full, and was not half empty since.
    pub(crate) is_full: bool,
    /// The connection was told to read.
    pub(crate) is_reading: bool,
    /// The connection is to read.
    pub(crate) shall_read: bool,
    pub(crate) is_due: bool,
    /// The first so many are the connection's already.
    output: VecDeque<Bytes>,
    handed: usize,
    handed_bytes: usize,
    pub(crate) output_bytes: usize,
}

/// What came of doing what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Performed {
    /// All that can be done now.
    All,
    /// The worker has no room for more; again later.
    NoRoom,
}

impl Peer {
    pub(crate) fn new(id: Id, stage: Stage, ends: Ends) -> Peer {
        Peer {
            id,
            stage,
            ends,
            row: Row::default(),
            input_bytes: 0,
            is_full: false,
            is_reading: true,
            shall_read: true,
            is_due: false,
            output: VecDeque::new(),
            handed: 0,
            handed_bytes: 0,
            output_bytes: 0,
        }
    }

    pub(crate) fn weigh(message: &Bytes) -> usize {
        OVERHEAD + message.len()
    }

    pub(crate) fn submit(&mut self, message: Bytes) {
        self.output_bytes += Peer::weigh(&message);
        self.output.push_back(message);
    }

    /// Messages that were submitted and are not known to have gone out.
    pub(crate) fn output(&self) -> impl Iterator<Item = &Bytes> {
        self.output.iter()
    }

    /// The transport has taken all that was handed over. What it weighed.
    pub(crate) fn on_written_out(&mut self) -> usize {
        let before = self.output_bytes;
        for message in self.output.drain(..self.handed) {
            self.output_bytes -= Peer::weigh(&message);
        }
        (self.handed, self.handed_bytes) = (0, 0);
        before - self.output_bytes
    }

    /// It has ended. What its output weighed, which is nobody's any more.
    pub(crate) fn on_gone(&mut self) -> usize {
        self.stage = Stage::Gone;
        self.output = VecDeque::new();
        std::mem::take(&mut self.output_bytes)
    }

    /// Something waits for which nothing has to happen first.
    pub(crate) fn has_more(&self) -> bool {
        self.handed < self.output.len() || matches!(self.stage, Stage::Closing | Stage::Aborting)
    }

    /// Tells the connection all that it can be told now.
    pub(crate) fn perform<N: Net>(&mut self, worker: &mut Worker<Messages, (), N>) -> Performed {
        match self.stage {
            Stage::Coming | Stage::Gone => return Performed::All,
            Stage::Aborting => {
                worker.abort(self.id);
                return Performed::All;
            }
            Stage::Open | Stage::Closing => {}
        }
        if self.is_reading != self.shall_read {
            let command = if self.shall_read { HubCommand::EnableRead } else { HubCommand::DisableRead };
            match worker.send(self.id, command) {
                Ok(()) => self.is_reading = self.shall_read,
                Err(SendError::Full(_) | SendError::TooLarge(_)) => return Performed::NoRoom,
                Err(SendError::Closed(_)) => return Performed::All,
            }
        }
        while let Some(message) = self.output.get(self.handed) {
            let bytes = self.handed_bytes + Bounds::PREFIX + message.len();
            if self.handed > 0 && (bytes > WINDOW_BYTES || self.handed == WINDOW) {
                // Until what was handed over is written out.
                return Performed::All;
            }
            match worker.send(self.id, HubCommand::Send(message.clone())) {
                Ok(()) => (self.handed, self.handed_bytes) = (self.handed + 1, bytes),
                Err(SendError::Full(_) | SendError::TooLarge(_)) => {
                    return if self.handed > 0 { Performed::All } else { Performed::NoRoom };
                }
                // Its end is on its way.
                Err(SendError::Closed(_)) => return Performed::All,
            }
        }
        if self.stage == Stage::Closing {
            worker.close(self.id);
        }
        Performed::All
    }
}
