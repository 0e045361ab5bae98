//! A layer without cryptography: every byte is changed by where it stands, none is added and none
//! taken away. So whatever is said of bytes holds on both sides of it, and one that goes past it, or
//! through it out of order, is not what must stand there.

use super::record::Record;
use drywire_core::layer::{Layer, LayerError, Sink};
use std::cell::RefCell;
use std::rc::Rc;

/// Bytes that one call takes at most.
const PIECE: usize = 700;

/// What stands between a protocol and the network of its world.
pub(crate) trait Between: Layer {
    /// One side of it, beside the record of its connection.
    fn new(record: &Rc<RefCell<Record>>) -> Self;
}

/// Nothing.
impl Between for () {
    fn new(_: &Rc<RefCell<Record>>) {}
}

/// See the top of the file.
pub(crate) struct Veil {
    record: Rc<RefCell<Record>>,
    received: usize,
    /// Lifted already, without room in the input.
    held: Vec<u8>,
}

impl Between for Veil {
    fn new(record: &Rc<RefCell<Record>>) -> Veil {
        Veil { record: record.clone(), received: 0, held: Vec::new() }
    }
}

impl Layer for Veil {
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
        self.held.extend(veiled(received, self.received));
        self.received += received.len();
        let rest = self.held.split_off(self.held.len().min(plain.room()));
        plain.push(&std::mem::replace(&mut self.held, rest));
        Ok(())
    }

    fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        let piece = &plain[..plain.len().min(PIECE)];
        let mut record = self.record.borrow_mut();
        wire.push(&veiled(piece, record.veiled));
        record.veiled += piece.len();
        Ok(piece.len())
    }
}

/// Bytes that stand from `at` on, changed, or changed back.
pub(crate) fn veiled(bytes: &[u8], at: usize) -> Vec<u8> {
    // None stays as it was.
    bytes.iter().zip(at..).map(|(byte, at)| byte ^ ((at as u8).wrapping_mul(29) | 0x80)).collect()
}
