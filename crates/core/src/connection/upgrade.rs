//! An upgrade: the layer becomes what it was made for, under a protocol that goes on.

use super::phase::{InputEnd, Phase};
use super::tap::Called;
use super::{Live, lent};
use crate::context::Barrier;
use crate::layer::{Layer, Sink};
use crate::protocol::Protocol;
use crate::record::LayerCallKind;
use alloc::vec::Vec;

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    /// Upgrades the layer, once all that was written before is through it. False until then.
    pub(super) fn upgrade(&mut self) -> bool {
        if self.is_encoding() {
            return false;
        }
        self.conn.control.barrier = Barrier::Upgraded;
        let leftovers = self.take_unread();
        let conn = &mut *self.conn;
        // The peer has the time of its first byte again, the handshake included.
        conn.io.unheard_since = self.now;
        let buffers = lent(&mut conn.buffers);
        let before = buffers.wire.len();
        let result = conn.layer.upgrade(&mut Sink::unbounded(&mut buffers.wire));
        let wire = buffers.wire.len() - before;
        conn.tap_layer(Called { wire, ..Called::new(LayerCallKind::Upgrade, result.err()) }, &[]);
        if let Err(error) = result {
            self.layer_failed(error);
            return true;
        }
        if !leftovers.is_empty() {
            self.receive(&leftovers);
        }
        if self.conn.input_end != InputEnd::Open && matches!(self.conn.phase, Phase::Active) {
            self.end_layer_input();
        }
        true
    }

    /// Some of what was written is not encoded yet.
    fn is_encoding(&self) -> bool {
        let conn = &*self.conn;
        let queued = conn.buffers.as_ref().is_some_and(|buffers| !buffers.output.is_empty());
        queued || (!L::TRANSPARENT && (conn.io.gathered || conn.layer.is_owing()))
    }

    fn take_unread(&mut self) -> Vec<u8> {
        let unread = self.unread().to_vec();
        self.workspace.scratch.clear();
        lent(&mut self.conn.buffers).drop_carry(&mut self.workspace.pool);
        self.conn.in_scratch = false;
        unread
    }
}
