//! What a TLS engine has to do for the layer, and rustls doing it. The next rustls drops in here.

use crate::layer::{USED_UP, failed};
use drywire_core::layer::{LayerError, Sink};
use rustls::{Connection, Error, SupportedCipherSuite};
use std::io::{self, BufRead, IoSlice, Write};

/// One side of one TLS connection, bytes to bytes. Nothing here waits.
pub(crate) trait Engine {
    /// Takes bytes of the wire from the front of `input`, not all of them at once, and makes
    /// plain ones of them as far as records are whole. How many; 0 behind the peer's end.
    ///
    /// Called only while [`Engine::plain`] is empty.
    fn receive(&mut self, input: &[u8]) -> Result<usize, Error>;

    /// What was received ends in the middle of a record, or of a flight of the handshake.
    fn is_partial(&self) -> bool;

    /// The next plain bytes that were received.
    fn plain(&mut self) -> &[u8];

    /// So many of them were taken.
    fn took(&mut self, n: usize);

    /// Encrypts bytes from the front of `plain`; how many, at least one.
    ///
    /// # Errors
    /// None of them is sent, and none will be.
    fn send(&mut self, plain: &[u8]) -> Result<usize, LayerError>;

    /// Ends our direction.
    fn end(&mut self);

    /// Moves all that is to be sent to `wire`.
    fn put_out(&mut self, wire: &mut Sink<'_>);

    /// The handshake is not through.
    fn is_handshaking(&self) -> bool;

    /// The peer has said that nothing follows.
    fn has_ended(&self) -> bool;
}

pub(crate) struct Rustls {
    pub(crate) connection: Connection,
    has_ended: bool,
    /// Records that were put out, those of the handshake included.
    records: u64,
    /// rustls does not say that it holds a part of a record.
    end: InRecord,
    /// The peer's flight of the handshake has begun, and is not answered.
    in_flight: bool,
}

/// Plain bytes of one record (RFC 5246 §6.2.1).
const RECORD: usize = 1 << 14;

impl Rustls {
    pub(crate) fn new(connection: impl Into<Connection>) -> Rustls {
        let mut connection = connection.into();
        // The layer hands over only what can be sent at once, and takes out all there is.
        connection.set_buffer_limit(None);
        Rustls { connection, has_ended: false, records: 0, end: InRecord::default(), in_flight: false }
    }

    /// Plain bytes that can still be sent. At the limit of its keys rustls says close_notify by
    /// itself, swallows what it is given and says that it was written, so it is given no more. Counting
    /// the handshake's records, too, ends a handful before. The keys of TLS 1.3 are renewed
    /// (RFC 8446 §4.6.3).
    fn room(&self) -> usize {
        match self.connection.negotiated_cipher_suite() {
            None | Some(SupportedCipherSuite::Tls13(_)) => usize::MAX,
            Some(SupportedCipherSuite::Tls12(suite)) => {
                let records = suite.common.confidentiality_limit.saturating_sub(self.records);
                usize::try_from(records).unwrap_or(usize::MAX).saturating_mul(RECORD)
            }
        }
    }
}

impl Engine for Rustls {
    fn receive(&mut self, input: &[u8]) -> Result<usize, Error> {
        let mut rest = input;
        let n = match self.connection.read_tls(&mut rest) {
            Ok(n) => n,
            Err(error) => return Err(Error::General(error.to_string())),
        };
        self.end.pass(&input[..n]);
        let state = self.connection.process_new_packets()?;
        self.has_ended |= state.peer_has_closed();
        self.in_flight = self.connection.is_handshaking() && !self.connection.wants_write();
        Ok(n)
    }

    fn is_partial(&self) -> bool {
        self.in_flight || self.end.is_inside()
    }

    fn plain(&mut self) -> &[u8] {
        // No bytes are an error to it, of which the kind says why; that is known here.
        self.connection.reader().into_first_chunk().unwrap_or(&[])
    }

    fn took(&mut self, n: usize) {
        self.connection.reader().consume(n);
    }

    fn send(&mut self, plain: &[u8]) -> Result<usize, LayerError> {
        let n = plain.len().min(self.room());
        if n == 0 {
            return Err(failed(USED_UP));
        }
        self.connection.writer().write(&plain[..n]).map_err(|_| failed("it has failed before"))
    }

    fn end(&mut self) {
        self.connection.send_close_notify();
    }

    fn put_out(&mut self, wire: &mut Sink<'_>) {
        while self.connection.wants_write() {
            let mut through = Through { wire, records: &mut self.records };
            self.connection.write_tls(&mut through).expect("it goes into memory");
        }
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Where among records the wire stands (RFC 8446 §5.1: five bytes of header, the last two its length).
#[derive(Default)]
struct InRecord {
    /// Bytes of a header that is not whole.
    header: u8,
    /// Bytes that are to come of the record; in a header, what its length begins with.
    left: u16,
}

impl InRecord {
    const HEADER: u8 = 5;

    fn pass(&mut self, mut wire: &[u8]) {
        while let Some((first, rest)) = wire.split_first() {
            if self.header == 0 && self.left > 0 {
                let n = wire.len().min(self.left.into());
                self.left -= n as u16;
                wire = &wire[n..];
                continue;
            }
            self.header += 1;
            if self.header >= InRecord::HEADER - 1 {
                self.left = self.left << 8 | u16::from(*first);
            }
            self.header %= InRecord::HEADER;
            wire = rest;
        }
    }

    fn is_inside(&self) -> bool {
        self.header > 0 || self.left > 0
    }
}

/// A sink that rustls writes to: records go from its buffers to where they wait for the transport, and
/// nowhere in between.
struct Through<'a, 'b> {
    wire: &'a mut Sink<'b>,
    /// How many: each write of one is whole.
    records: &'a mut u64,
}

impl Write for Through<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.push(bytes);
        *self.records += 1;
        Ok(bytes.len())
    }

    /// All of them at once; the default takes the first alone.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        records.iter().map(|record| self.write(record)).sum()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::InRecord;

    /// However the wire is cut, and records of no length too.
    #[test]
    fn place_among_records_is_known_at_every_byte() {
        let lengths = [0, 1, 255, 256, 0x4100, 0, 0, 3];
        let (mut wire, mut ends) = (Vec::new(), vec![0]);
        for len in lengths {
            wire.extend([23, 3, 3, (len >> 8) as u8, len as u8]);
            wire.extend(vec![0xFF; len]);
            ends.push(wire.len());
        }
        for step in [1, 2, 3, 5, 7, 4096, wire.len()] {
            let (mut at, mut place) = (0, InRecord::default());
            for piece in wire.chunks(step) {
                assert_eq!(place.is_inside(), !ends.contains(&at), "at {at} in steps of {step}");
                place.pass(piece);
                at += piece.len();
            }
            assert!(!place.is_inside());
        }
    }
}
