//! Two layers as one. Three are a stack on a stack.

use super::{Layer, LayerError, Sink};
use alloc::vec::Vec;

/// `outer` next to the transport, `inner` next to the protocol.
#[derive(Debug, Default)]
pub struct Stack<Outer, Inner> {
    outer: Outer,
    inner: Inner,
    /// Between the two, on the way up: what `inner` has not been given yet.
    up: Vec<u8>,
    /// Between the two, on the way down.
    down: Vec<u8>,
}

/// What one call moves from the outer to the inner layer at most, in bytes. It
/// bounds what stands between them.
const BETWEEN: usize = 16 * 1024;

impl<Outer: Layer, Inner: Layer> Stack<Outer, Inner> {
    /// Stacks `inner` on `outer`.
    pub fn new(outer: Outer, inner: Inner) -> Stack<Outer, Inner> {
        Stack { outer, inner, up: Vec::new(), down: Vec::new() }
    }

    /// Sends what waits in `down`, as far as the outer layer takes it.
    fn push_down(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let mut taken = 0;
        while taken < self.down.len() {
            let n = self.outer.send(&self.down[taken..], wire)?;
            if n == 0 {
                break;
            }
            taken += n;
        }
        self.down.drain(..taken);
        if self.down.is_empty() {
            // An idle connection holds no buffer.
            self.down = Vec::new();
        }
        Ok(())
    }
}

impl<Outer: Layer, Inner: Layer> Layer for Stack<Outer, Inner> {
    const TRANSPARENT: bool = Outer::TRANSPARENT && Inner::TRANSPARENT;
    const BEGINS_PLAIN: bool = Outer::BEGINS_PLAIN && Inner::BEGINS_PLAIN;

    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let outer = self.outer.open(wire);
        let inner = self.inner.open(&mut Sink::unbounded(&mut self.down));
        outer.and(self.push_down(wire)).and(inner)
    }

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        // What is not there holds nothing back, so it must not stand between.
        if Inner::TRANSPARENT {
            return self.outer.receive(received, plain, wire);
        }
        if Outer::TRANSPARENT {
            return self.inner.receive(received, plain, wire);
        }
        let mut received = received;
        loop {
            let outer = self.outer.receive(received, &mut Sink::new(&mut self.up, BETWEEN), wire);
            received = &[];
            let inner = self.inner.receive(&self.up, plain, &mut Sink::unbounded(&mut self.down));
            let moved = !self.up.is_empty();
            self.up.clear();
            outer.and(self.push_down(wire)).and(inner)?;
            if !moved || !self.outer.is_holding() || self.inner.is_holding() {
                self.up = Vec::new();
                return Ok(());
            }
        }
    }

    fn is_holding(&self) -> bool {
        self.outer.is_holding() || self.inner.is_holding()
    }

    fn is_partial(&self) -> bool {
        self.outer.is_partial() || self.inner.is_partial()
    }

    fn has_ended(&self) -> bool {
        self.outer.has_ended() || self.inner.has_ended()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        // The outer layer is not ready yet: what it did not take must not grow.
        self.push_down(wire)?;
        if !self.down.is_empty() {
            return Ok(0);
        }
        let taken = self.inner.send(plain, &mut Sink::unbounded(&mut self.down));
        self.push_down(wire).and(taken)
    }

    fn is_owing(&self) -> bool {
        !self.down.is_empty() || self.outer.is_owing() || self.inner.is_owing()
    }

    fn is_opening(&self) -> bool {
        self.outer.is_opening() || self.inner.is_opening()
    }

    fn flush(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let inner = self.inner.flush(&mut Sink::unbounded(&mut self.down));
        self.push_down(wire).and(self.outer.flush(wire)).and(inner)
    }

    /// The layer next to the protocol is upgraded.
    fn upgrade(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if Inner::TRANSPARENT {
            return self.outer.upgrade(wire);
        }
        let inner = self.inner.upgrade(&mut Sink::unbounded(&mut self.down));
        self.push_down(wire).and(inner)
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        if self.inner.has_ended() {
            // Whatever the outer layer would add is nobody's.
            return self.inner.receive_end();
        }
        self.outer.receive_end().and(self.inner.receive_end())
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let inner = self.inner.send_end(&mut Sink::unbounded(&mut self.down));
        self.push_down(wire).and(inner).and(self.outer.send_end(wire))
    }
}
