//! What is told to the tape of a recorded connection. What becomes of it is in
//! `record`; without a tape nothing here is more than a branch.

use super::live::Step;
use super::{Connection, Live};
use crate::context::{Barrier, RoomRequest};
use crate::layer::{Layer, LayerError};
use crate::output::{MAX_SLICES, Resource};
use crate::protocol::Protocol;
use crate::record::{Entry, LayerCall, LayerCallKind, Levels, Tape, Text, Why, number};

/// A call of a layer, and what came of it.
pub(super) struct Called {
    pub(super) kind: LayerCallKind,
    pub(super) error: Option<LayerError>,
    /// Bytes it took.
    pub(super) taken: usize,
    /// CRC-32 of them, where they are ours.
    pub(super) crc: u32,
    /// Wire bytes it made.
    pub(super) wire: usize,
}

impl Called {
    pub(super) fn new(kind: LayerCallKind, error: Option<LayerError>) -> Called {
        Called { kind, error, taken: 0, crc: 0, wire: 0 }
    }
}

/// Keeps what is told to a tape out of the code of those who have none.
#[cold]
#[inline(never)]
fn out_of_the_way<P: Protocol>(tape: &mut Tape<P>, tell: impl FnOnce(&mut Tape<P>)) {
    tell(tape);
}

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// Calls `tell` when there is a tape.
    #[inline]
    pub(super) fn tap(&mut self, tell: impl FnOnce(&mut Tape<P>)) {
        if let Some(tape) = &mut self.tape {
            out_of_the_way(tape, tell);
        }
    }

    /// What a replay has to know of this connection.
    pub(super) fn tell_tape(&mut self) {
        let limits = self.limits;
        self.tap(|tape| tape.on_attached(limits, !L::TRANSPARENT));
    }

    /// The digest of bytes is wanted.
    pub(super) fn wants_digest(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| !tape.recorder.is_masked())
    }

    /// `plain`: what the layer made of input.
    pub(super) fn tap_layer(&mut self, called: Called, plain: &[u8]) {
        if L::TRANSPARENT {
            return;
        }
        let layer = &self.layer;
        let (holding, owing, ended) = (layer.is_holding(), layer.is_owing(), layer.has_ended());
        let (opening, partial) = (layer.is_opening(), layer.is_partial());
        let Some(tape) = &mut self.tape else { return };
        let Called { kind, error, taken, crc, wire } = called;
        let call = LayerCall {
            kind,
            taken: number(taken),
            crc,
            plain: number(plain.len()),
            wire: number(wire),
            error: error.map(|error| (Text::front_of(error.layer), Text::front_of(error.reason))),
            holding,
            owing,
            ended,
            opening,
            partial,
        };
        tape.recorder.on_layer(call, plain);
    }

    fn levels(&self, input: usize) -> Levels {
        let output = self.buffers.as_ref().map(|buffers| &buffers.output);
        Levels {
            input: input as u64,
            output: output.map_or(0, |output| output.bytes()) as u64,
            files: output.map_or(0, |output| number(output.files())),
            wire: self.wire_ahead() as u64,
        }
    }

    fn why(&self) -> Why {
        if self.is_closed() {
            return Why::NOTHING;
        }
        let full = match self.blocked.map(|waiting| waiting.on) {
            None => Why::NOTHING,
            Some(Resource::Bytes) => Why::FULL_OF_BYTES,
            Some(Resource::Events) => Why::FULL_OF_EVENTS,
            Some(Resource::Files) => Why::FULL_OF_FILES,
            // It waits for its worker, as in a turn that only flushes: an entry says so.
            Some(Resource::Memory) => Why::NOTHING,
        };
        full.and_if(self.reading, Why::INPUT)
            .and_if(self.io.write_blocked, Why::TRANSPORT)
            .and_if(matches!(self.control.barrier, Barrier::Opening(_)), Why::FILE)
            .and_if(self.control.room != RoomRequest::None, Why::ROOM)
            .and_if(!self.control.read_enabled, Why::READING_DISABLED)
    }
}

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    /// What [`Live::poll`] answers.
    #[cold]
    #[inline(never)]
    pub(super) fn tap_step(&mut self, step: &Step<P::Event, P::Error>) {
        let (levels, why) = (self.conn.levels(self.unread().len()), self.conn.why());
        let Connection { tape: Some(tape), buffers, .. } = &mut *self.conn else { return };
        let entry = match step {
            Step::Event(event) => return tape.on_event(event),
            Step::Close(report) => return tape.on_report(report),
            Step::OpenFile(id) => {
                let name = buffers.as_ref().map_or(&[][..], |buffers| &buffers.name);
                return tape.recorder.on_name(*id, name);
            }
            Step::Write { from_layers: true } => Entry::Write { offered: levels.wire },
            Step::Write { from_layers: false } => {
                let mut slices: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
                let count = buffers.as_ref().map_or(0, |buffers| buffers.output.gather(&mut slices).0);
                Entry::Write { offered: slices[..count].iter().map(|slice| slice.len() as u64).sum() }
            }
            Step::CloseFile(id) => Entry::CloseFile { id: *id },
            Step::StreamFile(part) => Entry::StreamFile { id: part.id, offset: part.offset, len: part.len },
            Step::ReadFile(part) => Entry::ReadFile { id: part.id, offset: part.offset, len: part.len },
            Step::HalfClose => Entry::HalfClose,
            Step::Reading(true) => Entry::EnableRead,
            Step::Reading(false) => Entry::DisableRead,
            Step::Again => Entry::Again,
            Step::Wait(wait) => Entry::Wait { wait: *wait, levels, why },
        };
        tape.recorder.put(&entry);
    }
}
