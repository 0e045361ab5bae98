//! The layer: what goes through an engine, and when.

use crate::engine::{Engine, Rustls};
use crate::error::in_words;
use drywire_core::escape::escaped;
use drywire_core::layer::{Layer, LayerError, Sink};
use rustls::pki_types::CertificateDer;
use rustls::{Connection, HandshakeKind, ProtocolVersion};
use std::fmt;
use tracing::debug;

/// Why a connection ended whose stream was cut: by somebody on the way, or by a peer that does not
/// say goodbye (FAULTS 75). What came before is authentic, and may not be all.
pub const CUT: &str = "the stream ended without the peer's close_notify";

/// Why a connection ended that had more to send: TLS 1.2 allows so many records under one key and has no way to
/// another (with AES-GCM 2^24, RFC 8446 §5.5). A new connection has new keys, and TLS 1.3 renews them.
pub const USED_UP: &str = "the keys of this connection are used up; a new one can go on";

/// The same as [`CUT`] before the handshake was through.
const CUT_EARLY: &str = "the stream ended during the handshake";

/// TLS between a transport and a protocol, either side of it. Made by
/// [`Server::accept`](crate::Server::accept) and [`Client::connect`](crate::Client::connect).
///
/// Bound: what one read became, and a record that is not whole.
pub struct Tls(Session<Rustls>);

impl Tls {
    pub(crate) fn new(connection: impl Into<Connection>) -> Tls {
        Tls(Session::new(Rustls::new(connection)))
    }

    /// The handshake is not through, so nothing of the peer is known yet.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.0.engine.is_handshaking()
    }

    /// The protocol that both sides agreed on (ALPN, RFC 7301).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection().alpn_protocol()
    }

    /// The name that a client asked for (SNI, RFC 6066 §3); of a server's side.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match self.connection() {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The peer's certificates, its own first; checked before anybody sees them.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection().peer_certificates()
    }

    /// The version that is spoken.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.connection().protocol_version()
    }

    /// The handshake went on from an earlier connection.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.connection().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn connection(&self) -> &Connection {
        &self.0.engine.connection
    }
}

impl Layer for Tls {
    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.0.open(wire)
    }

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.0.receive(received, plain, wire)
    }

    fn is_holding(&self) -> bool {
        self.0.is_holding()
    }

    fn is_partial(&self) -> bool {
        self.0.is_partial()
    }

    fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        self.0.send(plain, wire)
    }

    fn is_opening(&self) -> bool {
        self.0.is_opening()
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        self.0.receive_end()
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.0.send_end(wire)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("is_handshaking", &self.is_handshaking()).field("version", &self.version()).finish()
    }
}

/// The same over any engine.
pub(crate) struct Session<E> {
    engine: E,
    /// Wire bytes that the engine was not given yet, because what it made of those before found no
    /// room.
    held: Vec<u8>,
    /// The engine has plain bytes that found no room.
    is_full: bool,
}

impl<E: Engine> Session<E> {
    pub(crate) fn new(engine: E) -> Session<E> {
        Session { engine, held: Vec::new(), is_full: false }
    }

    fn take_in(&mut self, mut input: &[u8], plain: &mut Sink<'_>) -> Result<(), LayerError> {
        loop {
            self.is_full = !self.make_plain(plain);
            if self.is_full {
                self.held = input.to_vec();
                return Ok(());
            }
            // What stands behind the peer's end is nobody's.
            if input.is_empty() || self.engine.has_ended() {
                return Ok(());
            }
            match self.engine.receive(input) {
                Ok(n) => input = &input[n..],
                Err(error) => {
                    // It quotes names of the peer's certificate, chosen by its issuer.
                    debug!(error = %escaped(&error), "TLS failed");
                    return Err(failed(in_words(&error)));
                }
            }
        }
    }

    /// False when not all found room.
    fn make_plain(&mut self, plain: &mut Sink<'_>) -> bool {
        loop {
            let bytes = self.engine.plain();
            if bytes.is_empty() {
                return true;
            }
            let n = bytes.len().min(plain.room());
            if n == 0 {
                return false;
            }
            plain.push(&bytes[..n]);
            self.engine.took(n);
        }
    }
}

impl<E: Engine> Layer for Session<E> {
    fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.engine.put_out(wire);
        Ok(())
    }

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let result = if self.held.is_empty() {
            self.take_in(received, plain)
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(received);
            self.take_in(&held, plain)
        };
        // An alert behind an error, too.
        self.engine.put_out(wire);
        result
    }

    fn is_holding(&self) -> bool {
        self.is_full
    }

    fn is_partial(&self) -> bool {
        self.engine.is_partial()
    }

    fn has_ended(&self) -> bool {
        self.engine.has_ended()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        if self.engine.is_handshaking() {
            return Ok(0);
        }
        let sent = self.engine.send(plain);
        self.engine.put_out(wire);
        sent
    }

    fn is_opening(&self) -> bool {
        self.engine.is_handshaking()
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        if self.engine.has_ended() {
            Ok(())
        } else if self.engine.is_handshaking() {
            Err(failed(CUT_EARLY))
        } else {
            Err(failed(CUT))
        }
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        self.engine.end();
        self.engine.put_out(wire);
        Ok(())
    }
}

pub(crate) fn failed(reason: &'static str) -> LayerError {
    LayerError { layer: "tls", reason }
}

#[cfg(test)]
mod tests;
