//! Layers that do to the bytes what TLS does: change lengths, gather, hold back,
//! need a handshake, mark the end.

use drywire_core::layer::{Layer, LayerError, Sink};
use std::collections::VecDeque;

/// Plain bytes that were received and found no room yet.
#[derive(Debug, Default)]
struct Held(VecDeque<u8>);

impl Held {
    fn put_out(&mut self, plain: &mut Sink<'_>) {
        let n = self.0.len().min(plain.room());
        let out: Vec<u8> = self.0.drain(..n).collect();
        plain.push(&out);
    }
}

/// Records: a length byte, then that many bytes, masked. A record of length 0 is
/// the end. Output is gathered until a record is full or flushed.
#[derive(Debug, Default)]
pub(crate) struct Records {
    gathered: Vec<u8>,
    partial: Vec<u8>,
    held: Held,
    ended: bool,
    failed: bool,
    /// Takes nothing to send before the other side said hello.
    shakes_hands: bool,
    /// Each hello that comes is answered with this many bytes of output.
    answers_hello_with: usize,
    hello_came: bool,
}

pub(crate) const CUT: LayerError = LayerError { layer: "records", reason: "cut" };

/// Payload of a full record.
const RECORD: usize = 100;
const MASK: u8 = 0x55;
/// As a length byte: a hello.
pub(crate) const HELLO: u8 = 255;

impl Records {
    pub(crate) fn with_handshake() -> Records {
        Records { shakes_hands: true, ..Records::default() }
    }

    pub(crate) fn answering_hello_with(bytes: usize) -> Records {
        Records { answers_hello_with: bytes, ..Records::default() }
    }

    fn put_record(&mut self, len: usize, wire: &mut Sink<'_>) {
        wire.push(&[u8::try_from(len).expect("a record is short")]);
        let masked: Vec<u8> = self.gathered.drain(..len).map(|byte| byte ^ MASK).collect();
        wire.push(&masked);
    }

    fn error(&mut self, reason: &'static str) -> LayerError {
        self.failed = true;
        LayerError { layer: "records", reason }
    }

    fn take_record(&mut self, wire: &mut Sink<'_>) -> Result<bool, LayerError> {
        let Some(len) = self.partial.first().copied() else { return Ok(false) };
        if self.ended {
            return Err(self.error("bytes after the end"));
        }
        if len == HELLO {
            self.partial.remove(0);
            self.hello_came = true;
            wire.push(&vec![HELLO; self.answers_hello_with]);
            return Ok(true);
        }
        if self.shakes_hands && !self.hello_came {
            return Err(self.error("no hello"));
        }
        if usize::from(len) > RECORD {
            wire.push(&[HELLO]);
            return Err(self.error("record too long"));
        }
        if self.partial.len() <= usize::from(len) {
            return Ok(false);
        }
        self.ended = len == 0;
        let record = self.partial.drain(..=usize::from(len)).skip(1);
        self.held.0.extend(record.map(|byte| byte ^ MASK));
        Ok(true)
    }

    fn still_works(&self) -> Result<(), LayerError> {
        if self.failed { Err(LayerError { layer: "records", reason: "failed before" }) } else { Ok(()) }
    }
}

impl Layer for Records {
    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if self.shakes_hands {
            wire.push(&[HELLO]);
        }
        Ok(())
    }

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.still_works()?;
        self.partial.extend_from_slice(received);
        while self.take_record(wire)? {}
        self.held.put_out(plain);
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn is_holding(&self) -> bool {
        !self.held.0.is_empty()
    }

    fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        self.still_works()?;
        if self.shakes_hands && !self.hello_came {
            return Ok(0);
        }
        self.gathered.extend_from_slice(plain);
        while self.gathered.len() >= RECORD {
            self.put_record(RECORD, wire);
        }
        Ok(plain.len())
    }

    fn is_opening(&self) -> bool {
        self.shakes_hands && !self.hello_came
    }

    fn flush(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.still_works()?;
        if !self.gathered.is_empty() {
            self.put_record(self.gathered.len(), wire);
        }
        Ok(())
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        match (self.ended, self.is_opening()) {
            (true, _) => Ok(()),
            (false, true) => Err(self.error("cut in the handshake")),
            // The other direction goes on.
            (false, false) => Err(CUT),
        }
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.flush(wire)?;
        wire.push(&[0]);
        Ok(())
    }
}

/// Line ends and escapes become two bytes.
#[derive(Debug, Default)]
pub(crate) struct Escapes {
    held: Held,
    escaped: bool,
}

const ESCAPE: u8 = b'\\';

impl Layer for Escapes {
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
        for byte in received {
            match (self.escaped, *byte) {
                (false, ESCAPE) => self.escaped = true,
                (true, byte) => {
                    self.escaped = false;
                    self.held.0.push_back(byte ^ 0x20);
                }
                (false, byte) => self.held.0.push_back(byte),
            }
        }
        self.held.put_out(plain);
        Ok(())
    }

    fn is_holding(&self) -> bool {
        !self.held.0.is_empty()
    }

    fn is_partial(&self) -> bool {
        self.escaped
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        for byte in plain {
            match *byte {
                b'\n' | ESCAPE => wire.push(&[ESCAPE, byte ^ 0x20]),
                byte => wire.push(&[byte]),
            }
        }
        Ok(plain.len())
    }
}

/// Nothing, until it is upgraded; records that begin with a handshake from then on.
#[derive(Debug, Default)]
pub(crate) struct Later(Option<Records>);

impl Layer for Later {
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        match &mut self.0 {
            None => ().receive(received, plain, wire),
            Some(records) => records.receive(received, plain, wire),
        }
    }

    fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(Layer::has_ended)
    }

    fn is_holding(&self) -> bool {
        self.0.as_ref().is_some_and(Layer::is_holding)
    }

    fn is_partial(&self) -> bool {
        self.0.as_ref().is_some_and(Layer::is_partial)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        match &mut self.0 {
            None => ().send(plain, wire),
            Some(records) => records.send(plain, wire),
        }
    }

    fn flush(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.0.as_mut().map_or(Ok(()), |records| records.flush(wire))
    }

    fn is_opening(&self) -> bool {
        self.0.as_ref().is_some_and(Layer::is_opening)
    }

    fn upgrade(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        if self.0.is_some() {
            return Err(LayerError { layer: "later", reason: "it is later already" });
        }
        self.0.insert(Records::with_handshake()).open(wire)
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        self.0.as_mut().map_or(Ok(()), Layer::receive_end)
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.0.as_mut().map_or(Ok(()), |records| records.send_end(wire))
    }
}
