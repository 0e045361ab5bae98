//! The way of the bytes when layers stand between transport and protocol.

use super::live::Due;
use super::phase::OutputEnd;
use super::reading::{MERGE_BELOW, Seen, ask};
use super::tap::Called;
use super::{Connection, Live, lent};
use crate::error::Blocked;
use crate::layer::{Layer, LayerError, Sink};
use crate::output::MAX_SLICES;
use crate::planted;
use crate::protocol::Protocol;
use crate::record::{LayerCallKind, ReadAnswer, crc_of_front};
use crate::time::Time;

/// Bytes that go through the layers at a time: what one TLS record holds.
const PIECE: usize = 16 * 1024;

/// Bytes of a file that are read ahead, for the layers.
pub(super) const FILE_PIECE: usize = 3 * PIECE;

/// Encoded bytes that may wait for the transport before more are encoded: three pieces go
/// out in one system call.
pub(crate) const WIRE_AHEAD: usize = 40 * 1024;

/// Encoded bytes that may wait before reading pauses. More than [`WIRE_AHEAD`] and what one
/// piece encodes to, so output of the protocol's own never pauses it.
pub(super) const WIRE_FULL: usize = 64 * 1024;

impl<P: Protocol, L: Layer> Connection<P, L> {
    pub(super) fn owes_wire(&self) -> bool {
        self.wire_ahead() > 0
    }

    /// Output of a close waits for a layer to open.
    pub(super) fn waits_for_opening(&self) -> bool {
        let is_queued = || self.buffers.as_ref().is_some_and(|buffers| !buffers.output.is_empty());
        !L::TRANSPARENT
            && self.output_end == OutputEnd::Asked
            && self.layer.is_opening()
            && (self.layer.is_owing() || is_queued())
    }

    /// Only answers of the layers themselves come this far: a peer that asks for
    /// them and takes none is not read any more.
    pub(super) fn wire_is_full(&self) -> bool {
        self.wire_ahead() >= WIRE_FULL
    }

    /// Encoded bytes that wait for the transport.
    pub(super) fn wire_ahead(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.wire.len() - buffers.wire_start)
    }
}

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    pub(super) fn open_layer(&mut self) {
        if L::TRANSPARENT {
            return;
        }
        self.call_layer(LayerCallKind::Open, L::open);
    }

    /// A call that is about the wire alone. False when the layer has failed.
    pub(super) fn call_layer(
        &mut self,
        kind: LayerCallKind,
        call: impl FnOnce(&mut L, &mut Sink<'_>) -> Result<(), LayerError>,
    ) -> bool {
        let conn = &mut *self.conn;
        let buffers = lent(&mut conn.buffers);
        let before = buffers.wire.len();
        let result = call(&mut conn.layer, &mut Sink::unbounded(&mut buffers.wire));
        let wire = buffers.wire.len() - before;
        conn.tap_layer(Called { wire, ..Called::new(kind, result.err()) }, &[]);
        if let Err(error) = result {
            self.layer_failed(error);
        }
        result.is_ok()
    }

    /// Reads into the wire scratch and lets the layers make plain bytes of it.
    pub(super) fn fill_layered(
        &mut self,
        quota: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Blocked>,
    ) -> Result<usize, Blocked> {
        let mut received = core::mem::take(&mut self.workspace.wire);
        if received.len() < quota {
            received.resize(quota, 0);
        }
        let result = ask(&mut self.conn.tape, Seen::Counted(ReadAnswer::Wire), &mut received[..quota], read);
        if let Ok(n @ 1..) = result {
            self.receive(&received[..n]);
        }
        self.workspace.wire = received;
        result
    }

    /// The close is decided and output is owed. The layers still see what arrives,
    /// a handshake may stand before our last words; what they make of it is dropped.
    pub(super) fn discard_layered(
        &mut self,
        quota: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Blocked>,
    ) -> Result<usize, Blocked> {
        let n = self.fill_layered(quota, read)?;
        self.workspace.scratch.clear();
        while self.conn.output_end == OutputEnd::Asked && self.receive_held() {
            self.workspace.scratch.clear();
        }
        self.conn.in_scratch = false;
        self.conn.discard_input(n);
        Ok(n)
    }

    /// Lets plain bytes out that a layer holds back. False when nothing came.
    pub(super) fn receive_held(&mut self) -> bool {
        !L::TRANSPARENT && self.conn.layer.is_holding() && self.receive(&[])
    }

    /// True when plain bytes came out, or the peer's end, or the layer failed.
    pub(super) fn receive(&mut self, received: &[u8]) -> bool {
        // As in a read without layers: a long message grows where it is.
        let grows = self.conn.buffers().carried().len() >= MERGE_BELOW;
        if !grows {
            self.merge_carry();
        }
        let room = (self.conn.limits.input_bytes as usize).saturating_sub(self.unread().len());
        let conn = &mut *self.conn;
        let buffers = lent(&mut conn.buffers);
        let plain = &mut self.workspace.plain;
        plain.clear();
        let wire_before = buffers.wire.len();
        let result = conn.layer.receive(received, &mut Sink::new(plain, room), &mut Sink::unbounded(&mut buffers.wire));
        let wire = buffers.wire.len() - wire_before;
        let called = Called::new(LayerCallKind::Receive, result.err());
        conn.tap_layer(Called { taken: received.len(), wire, ..called }, plain);
        let buffers = lent(&mut conn.buffers);
        if conn.output_end.is_behind_layers() {
            // Our direction has ended; nothing can follow.
            buffers.wire.truncate(wire_before);
        }
        if !plain.is_empty() {
            if grows {
                buffers.grow_carry(plain.len());
                buffers.carry.extend_from_slice(plain);
            } else {
                self.workspace.scratch.push(plain);
                conn.in_scratch = true;
            }
            conn.needs_more = false;
            conn.io.unheard_since = Time::NEVER;
        }
        let ends = result.is_ok() && conn.layer.has_ended() && !conn.layer.is_holding();
        let moved = !plain.is_empty() || result.is_err() || ends;
        if let Err(error) = result {
            self.layer_failed(error);
        } else if ends {
            self.on_input_end();
        }
        moved
    }

    /// What the transport is to be offered next.
    pub(super) fn due(&mut self) -> Due {
        if L::TRANSPARENT {
            let output = &self.conn.buffers().output;
            return match output.front_file() {
                Some(part) => Due::File(part),
                None if output.bytes() > 0 => Due::Bytes { from_layers: false },
                None => Due::Nothing,
            };
        }
        let ahead = self.conn.wire_ahead();
        if self.flush_only {
            return if ahead > 0 { Due::Bytes { from_layers: true } } else { Due::Nothing };
        }
        match self.encode(ahead) {
            Due::Nothing if self.conn.owes_wire() => Due::Bytes { from_layers: true },
            due @ (Due::Nothing | Due::Moved | Due::File(_) | Due::Bytes { .. }) => due,
        }
    }

    /// Takes the front of the queue through the layers, unless enough waits already.
    fn encode(&mut self, ahead: usize) -> Due {
        // Behind its end, or after it failed, a layer is not called again.
        if self.conn.output_end.is_behind_layers() || ahead >= WIRE_AHEAD {
            return Due::Nothing;
        }
        let conn = &mut *self.conn;
        let digest = conn.wants_digest();
        let buffers = lent(&mut conn.buffers);
        // What is written makes place, or a long transfer to a slow peer grows for ever.
        planted!(WireForgotten: buffers.wire_start = buffers.wire.len());
        buffers.wire.drain(..buffers.wire_start);
        buffers.wire_start = 0;
        if buffers.wire.capacity() == 0 && !buffers.output.is_empty() {
            buffers.wire = self.workspace.pool.take(WIRE_FULL);
        }
        let mut wire = Sink::unbounded(&mut buffers.wire);
        let before = wire.room();
        let part = buffers.output.front_file();
        let (mut kind, mut crc) = (LayerCallKind::Send, 0);
        let result = if let Some(part) = part {
            if self.workspace.file.is_empty() {
                // Nothing encoded must wait behind a slow disk.
                return if ahead > 0 { Due::Nothing } else { Due::File(part) };
            }
            conn.layer.send(&self.workspace.file, &mut wire)
        } else if !buffers.output.is_empty() {
            let mut slices: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
            buffers.output.gather(&mut slices);
            let piece = &slices[0][..slices[0].len().min(PIECE)];
            let result = conn.layer.send(piece, &mut wire);
            if let (true, Ok(n)) = (digest, result) {
                crc = crc_of_front(&[piece], n);
            }
            result
        } else {
            kind = LayerCallKind::Flush;
            conn.io.gathered = false;
            conn.layer.flush(&mut wire).map(|()| 0)
        };
        let made = before - wire.room();
        let encoded = made > 0;
        let called = Called { taken: result.unwrap_or(0), crc, wire: made, ..Called::new(kind, result.err()) };
        conn.tap_layer(called, &[]);
        let buffers = lent(&mut conn.buffers);
        match result {
            Err(error) => {
                self.layer_failed(error);
                Due::Moved
            }
            Ok(0) if encoded => Due::Moved,
            Ok(0) => Due::Nothing,
            Ok(n) => {
                conn.io.encoded += n as u64;
                (conn.io.gathered, conn.io.wrote) = (true, true);
                if part.is_some() {
                    self.workspace.file.drain(..n);
                    let done = buffers.output.sent(n as u64);
                    buffers.to_close.extend(done);
                } else {
                    buffers.output.wrote(n, &mut self.workspace.pool);
                }
                Due::Moved
            }
        }
    }
}
