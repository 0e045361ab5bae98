//! An upgrade: the layer becomes what it was made for, under a protocol that goes on.

use super::phase::{InputEnd, Phase};
use super::{Live, lent};
use crate::context::Barrier;
use crate::layer::Layer;
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
        // The peer has the time of its first byte again, the handshake included.
        self.conn.io.unheard_since = self.now;
        if !self.call_layer(LayerCallKind::Upgrade, L::upgrade) {
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
