//! A layer like TLS: records with a length, masked, with a handshake and an end.

use drywire_core::layer::{Layer, LayerError, Sink};
use std::collections::VecDeque;

/// A length byte, then that many bytes, masked. Length 0 is the end, 255 a hello,
/// which is answered with one, and before which nothing is sent.
#[derive(Debug, Default)]
pub(crate) struct Records {
    partial: Vec<u8>,
    held: VecDeque<u8>,
    gathered: Vec<u8>,
    greeted: bool,
    /// It does nothing yet.
    waits: bool,
}

const HELLO: u8 = 255;
const MASK: u8 = 0x55;

/// What a peer sends to say `text`.
pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
    let mut wire = vec![HELLO];
    for piece in text.chunks(100) {
        wire.push(u8::try_from(piece.len()).expect("at most 100"));
        wire.extend(piece.iter().map(|byte| byte ^ MASK));
    }
    wire.push(0);
    wire
}

impl Layer for Records {
    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if !self.waits {
            wire.push(&[HELLO]);
        }
        Ok(())
    }

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if self.waits {
            return ().receive(received, plain, wire);
        }
        self.partial.extend_from_slice(received);
        loop {
            match self.partial.first().copied() {
                None | Some(0) => break,
                Some(HELLO) => {
                    self.partial.remove(0);
                    self.greeted = true;
                    wire.push(&[HELLO]);
                }
                Some(len) if len > 100 => return Err(LayerError { layer: "records", reason: "too long" }),
                Some(len) if self.partial.len() <= len.into() => break,
                Some(len) => self.held.extend(self.partial.drain(..=usize::from(len)).skip(1).map(|byte| byte ^ MASK)),
            }
        }
        let n = self.held.len().min(plain.room());
        let out: Vec<u8> = self.held.drain(..n).collect();
        plain.push(&out);
        Ok(())
    }

    fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        if self.waits {
            return ().send(plain, wire);
        }
        if !self.greeted {
            return Ok(0);
        }
        let n = plain.len().min(333);
        self.gathered.extend_from_slice(&plain[..n]);
        while self.gathered.len() >= 100 {
            self.put(100, wire);
        }
        Ok(n)
    }

    fn is_owing(&self) -> bool {
        !self.greeted && !self.gathered.is_empty()
    }

    fn flush(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if !self.gathered.is_empty() {
            self.put(self.gathered.len(), wire);
        }
        Ok(())
    }

    fn is_opening(&self) -> bool {
        !self.waits && !self.greeted
    }

    fn upgrade(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.waits = false;
        self.open(wire)
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        match self.partial[..] {
            [] if self.waits => Ok(()),
            [0] => Ok(()),
            _ => Err(LayerError { layer: "records", reason: "cut off" }),
        }
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if !self.waits {
            wire.push(&[0]);
        }
        Ok(())
    }
}

impl Records {
    /// They begin with an upgrade.
    pub(crate) fn later() -> Records {
        Records { waits: true, ..Records::default() }
    }

    fn put(&mut self, len: usize, wire: &mut Sink<'_>) {
        wire.push(&[u8::try_from(len).expect("a record is short")]);
        let masked: Vec<u8> = self.gathered.drain(..len).map(|byte| byte ^ MASK).collect();
        wire.push(&masked);
    }
}
