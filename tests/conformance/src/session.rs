//! A peer's end of TLS on a blocking socket, for two threads at once: one that reads, and one that
//! writes.

use rustls::Connection;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A socket, by reference.
pub(crate) trait Socket {
    fn read(&self, slot: &mut [u8]) -> io::Result<usize>;
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// TLS 1.3 sends so many tickets behind the handshake. Who closes without having read them resets.
const TICKETS: u32 = 2;

pub(crate) struct Session {
    /// The handshake is through. Locked by who makes it; the other waits.
    shaken: Mutex<bool>,
    /// Encrypted, and not taken by the socket yet. Locked before `tls`, so that records keep their order.
    out: Mutex<Vec<u8>>,
    tls: Mutex<Connection>,
    /// Came, and not taken by rustls yet, which makes plain bytes of so much at a time. Locked before
    /// `tls`.
    incoming: Mutex<Vec<u8>>,
}

impl Session {
    pub(crate) fn new(tls: Connection) -> Session {
        Session {
            shaken: Mutex::new(false),
            out: Mutex::new(Vec::new()),
            tls: Mutex::new(tls),
            incoming: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn read(&self, socket: &impl Socket, slot: &mut [u8]) -> io::Result<usize> {
        self.shake(socket)?;
        loop {
            match lock(&self.tls).reader().read(slot) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.receive(socket)?;
        }
    }

    /// Says all of a record but its last byte.
    pub(crate) fn begin_record(&self, socket: &impl Socket, bytes: &[u8]) -> io::Result<()> {
        self.shake(socket)?;
        let mut out = lock(&self.out);
        flush(&mut out, socket)?;
        let mut tls = lock(&self.tls);
        tls.writer().write_all(bytes)?;
        put_out(&mut tls, &mut out);
        out.pop();
        flush(&mut out, socket)
    }

    /// Takes what one record holds, at most.
    pub(crate) fn write(&self, socket: &impl Socket, bytes: &[u8]) -> io::Result<usize> {
        self.shake(socket)?;
        let mut out = lock(&self.out);
        flush(&mut out, socket)?;
        let n = bytes.len().min(16 * 1024);
        let mut tls = lock(&self.tls);
        tls.writer().write_all(&bytes[..n])?;
        put_out(&mut tls, &mut out);
        drop(tls);
        match flush(&mut out, socket) {
            // The rest goes out before anything else does.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(n),
            result => result.map(|()| n),
        }
    }

    /// The socket has taken all that was written.
    pub(crate) fn is_flushed(&self) -> bool {
        lock(&self.out).is_empty()
    }

    /// Ends our direction.
    pub(crate) fn say_goodbye(&self, socket: &impl Socket) -> io::Result<()> {
        let mut out = lock(&self.out);
        let mut tls = lock(&self.tls);
        tls.send_close_notify();
        put_out(&mut tls, &mut out);
        drop(tls);
        flush(&mut out, socket)
    }

    /// Makes the handshake, if nobody has.
    pub(crate) fn shake(&self, socket: &impl Socket) -> io::Result<()> {
        let mut shaken = lock(&self.shaken);
        while !*shaken {
            let mut out = lock(&self.out);
            put_out(&mut lock(&self.tls), &mut out);
            flush(&mut out, socket)?;
            drop(out);
            // Tickets do not come from who has gone.
            *shaken = self.is_shaken() || self.receive(socket)?;
        }
        Ok(())
    }

    fn is_shaken(&self) -> bool {
        let tls = lock(&self.tls);
        let Connection::Client(client) = &*tls else { return !tls.is_handshaking() };
        let is_old = tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2);
        !tls.is_handshaking() && (is_old || client.tls13_tickets_received() >= TICKETS)
    }

    /// Whether that was the end of the transport.
    fn receive(&self, socket: &impl Socket) -> io::Result<bool> {
        let mut incoming = lock(&self.incoming);
        let is_end = incoming.is_empty() && {
            let mut piece = [0; 16 * 1024];
            let n = socket.read(&mut piece)?;
            incoming.extend_from_slice(&piece[..n]);
            n == 0
        };
        let mut tls = lock(&self.tls);
        let taken = tls.read_tls(&mut &incoming[..])?;
        incoming.drain(..taken);
        drop(incoming);
        if is_end && tls.is_handshaking() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let result = tls.process_new_packets();
        let has_answer = tls.wants_write();
        drop(tls);
        if has_answer {
            let mut out = lock(&self.out);
            put_out(&mut lock(&self.tls), &mut out);
            flush(&mut out, socket)?;
        }
        result.map(|_| is_end).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }
}

fn put_out(tls: &mut Connection, out: &mut Vec<u8>) {
    while tls.wants_write() {
        tls.write_tls(out).expect("it goes into memory");
    }
}

fn flush(out: &mut Vec<u8>, socket: &impl Socket) -> io::Result<()> {
    while !out.is_empty() {
        let n = socket.write(out)?;
        out.drain(..n);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
