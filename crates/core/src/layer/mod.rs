//! Layers: what stands between the transport and the protocol, bytes to bytes.
//! TLS and the PROXY header are layers. Stacking is static: no layer, no cost.

mod stack;

pub use stack::Stack;

use alloc::vec::Vec;
use core::fmt;

/// A transformation of both directions of a byte stream.
///
/// Pure like everything here. `()` is the layer that is not there: with it the
/// connection neither copies nor calls.
///
/// Each call puts **all** it has to say into the sinks, whether it succeeds or
/// not; nothing stays stuck in an engine until the next call.
pub trait Layer {
    /// Both directions pass unchanged, and no method needs to be called.
    const TRANSPARENT: bool = false;

    /// Its first bytes are the protocol's own, unchanged: what a peer is told that gets no
    /// connection, it can read.
    const BEGINS_PLAIN: bool = Self::TRANSPARENT;

    /// Called once, before anything else. A handshake's first words go to `wire`.
    ///
    /// # Errors
    /// Ends the connection; what is in `wire` is still sent.
    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let _ = wire;
        Ok(())
    }

    /// Takes all of `received` and puts what it means into `plain`, at most
    /// [`Sink::room`] bytes of it. What does not fit is held back, announced by
    /// [`Layer::is_holding`], and put out by a later call with nothing received.
    /// An answer of the layer's own (a handshake, an alert) goes to `wire`.
    ///
    /// # Errors
    /// Ends the connection; what is in `wire` is still sent.
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError>;

    /// Plain bytes are held back for want of room. While this is so nothing more
    /// is read: it bounds what a layer holds to what one read became.
    fn is_holding(&self) -> bool {
        false
    }

    /// The peer's end came inside of what was received: behind the plain bytes that were put
    /// out, nothing follows. The connection then calls [`Layer::receive_end`], as if the
    /// transport had ended, once nothing is held back, and receives nothing more.
    fn has_ended(&self) -> bool {
        false
    }

    /// Something has begun to come in and is not whole, and until it is nothing comes of it: a
    /// record, a line, a handshake's flight. That is a message under way: the protocol's clocks for one
    /// ([`Limits::message_ms`](crate::Limits::message_ms), [`Limits::min_rate`](crate::Limits::min_rate))
    /// go for it, as if the protocol had seen the first byte.
    fn is_partial(&self) -> bool {
        false
    }

    /// Takes bytes from the front of `plain` and puts their encoding into `wire`.
    /// Returns how many it took; 0 means "not before I have received more".
    ///
    /// # Errors
    /// Ends the connection; what is in `wire` is still sent.
    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError>;

    /// Bytes it took to send wait until more was received. Our direction does not
    /// end before they are out.
    fn is_owing(&self) -> bool {
        false
    }

    /// Its handshake is not through. Meanwhile it is read whatever the protocol wants, which may
    /// wait for output that waits for the handshake. The end of our direction alone waits for it
    /// too, or would break it; a close does not.
    fn is_opening(&self) -> bool {
        false
    }

    /// Nothing more is queued for now: bytes a layer gathered must go out.
    ///
    /// # Errors
    /// Ends the connection; what is in `wire` is still sent.
    fn flush(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let _ = wire;
        Ok(())
    }

    /// Begins what this layer was made for, and was not doing yet (STARTTLS). All that was
    /// sent before is out, nothing is held back, and nothing that was received before comes
    /// again. A handshake's first words go to `wire`.
    ///
    /// # Errors
    /// Ends the connection; what is in `wire` is still sent. The default cannot be upgraded.
    fn upgrade(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let _ = wire;
        Err(LayerError { layer: "upgrade", reason: "there is no layer that can be upgraded" })
    }

    /// The transport ended its direction, or [`Layer::has_ended`]. Called once more behind
    /// an upgrade that comes after the end.
    ///
    /// # Errors
    /// When that was not a clean end, for instance in the middle of a record: the peer's stream was
    /// cut. Our direction goes on all the same, so [`Layer::send`] and [`Layer::send_end`] may
    /// follow; not while [`Layer::is_opening`], where what they wait for cannot come.
    fn receive_end(&mut self) -> Result<(), LayerError> {
        Ok(())
    }

    /// Our direction ends; the layer's own end goes to `wire`. What it puts there
    /// in later calls is dropped.
    ///
    /// # Errors
    /// Ends the connection; what is in `wire` is still sent.
    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let _ = wire;
        Ok(())
    }
}

/// No layer at all.
impl Layer for () {
    const TRANSPARENT: bool = true;

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
        plain.push(received);
        Ok(())
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        wire.push(plain);
        Ok(plain.len())
    }
}

/// Where a layer puts bytes.
#[derive(Debug)]
pub struct Sink<'a> {
    bytes: &'a mut Vec<u8>,
    cap: usize,
}

impl<'a> Sink<'a> {
    /// A sink that takes `cap` bytes in all, counting those already there.
    pub fn new(bytes: &'a mut Vec<u8>, cap: usize) -> Sink<'a> {
        Sink { bytes, cap }
    }

    /// A sink without a bound, for what a layer makes of bounded input.
    pub fn unbounded(bytes: &'a mut Vec<u8>) -> Sink<'a> {
        Sink { bytes, cap: usize::MAX }
    }

    /// Bytes that fit.
    #[must_use]
    pub fn room(&self) -> usize {
        self.cap.saturating_sub(self.bytes.len())
    }

    /// Appends `data`.
    ///
    /// # Panics
    /// When it is more than [`Sink::room`]: a layer asks first.
    pub fn push(&mut self, data: &[u8]) {
        assert!(data.len() <= self.room(), "a layer put out {} bytes where {} fit", data.len(), self.room());
        self.bytes.extend_from_slice(data);
    }
}

/// Why a layer gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerError {
    /// Which layer, in a word: `tls`, `proxy`.
    pub layer: &'static str,
    /// What happened, in a few.
    pub reason: &'static str,
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.reason)
    }
}
