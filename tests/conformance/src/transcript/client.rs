//! The peer: plays a script on a plain blocking socket, reading and writing at once.

use super::Saw;
use super::script::{End, Reading, Script, Step};
use crate::peer::Peer;
use crate::subject::Subject;
use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the peer received.
pub(super) struct Received {
    pub(super) output: Vec<u8>,
    pub(super) saw: Saw,
}

pub(super) fn connect<S: Subject>(address: SocketAddr, reading: Reading) -> io::Result<Peer> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket(family, SocketType::STREAM, None)?;
    if let Some(bytes) = reading.window {
        // Before it connects, or the window was announced already.
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
    }
    rustix::net::connect(&fd, &address)?;
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(S::PATIENCE))?;
    stream.set_write_timeout(Some(S::PATIENCE))?;
    Ok(Peer::connected::<S>(stream).introduced())
}

/// What the two directions of a peer know of each other.
#[derive(Default)]
struct Progress {
    sent_all: AtomicBool,
    received: AtomicUsize,
    read_all: AtomicBool,
}

impl Progress {
    /// Waits for so many bytes, as long as somebody reads.
    fn wait_for(&self, bytes: usize) -> Result<(), String> {
        while self.received.load(Ordering::Acquire) < bytes {
            if self.read_all.load(Ordering::Acquire) && self.received.load(Ordering::Acquire) < bytes {
                return Err(format!("the peer waited for {bytes} bytes before it went on"));
            }
            thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}

/// Plays the script to its end; the stream is closed then, or reset.
///
/// # Errors
/// In words: what the other side did that no good driver does, such as nothing for
/// longer than `patience`.
pub(super) fn converse(script: &Script, mut stream: Peer, patience: Duration) -> Result<Received, String> {
    let progress = Progress::default();
    let (sent, received) = thread::scope(|scope| {
        let (stream, progress) = (&stream, &progress);
        let reader = scope.spawn(move || {
            let received = match script.end {
                End::HalfClose | End::AfterTheOther => read_to_end(script.reading, stream, progress, patience),
                End::Reset { received } => read_until(received, script.reading, stream, progress, patience),
            };
            progress.read_all.store(true, Ordering::Release);
            received
        });
        let sent = send(script, stream, progress);
        progress.sent_all.store(true, Ordering::Release);
        (sent, reader.join().expect("the reader does not panic"))
    });
    let received = match (sent, received) {
        (Ok(()), received) => received?,
        (Err(sent), Ok(received)) => return Err(format!("{sent}; it received {} bytes", received.output.len())),
        (Err(sent), Err(received)) => return Err(format!("{sent}; {received}")),
    };
    if matches!(script.end, End::Reset { .. }) {
        stream.will_reset();
    }
    Ok(received)
}

fn send(script: &Script, mut stream: &Peer, progress: &Progress) -> Result<(), String> {
    for step in &script.steps {
        match step {
            Step::Pause(time) => thread::sleep(*time),
            Step::Await(bytes) => progress.wait_for(*bytes)?,
            Step::Send(bytes) => {
                stream.write_all(bytes).map_err(|error| format!("the peer could not send: {error}"))?;
            }
        }
    }
    if script.end == End::HalfClose {
        stream.end().map_err(|error| format!("the peer could not end: {error}"))?;
    }
    Ok(())
}

fn read_to_end(reading: Reading, stream: &Peer, progress: &Progress, patience: Duration) -> Result<Received, String> {
    let mut reader = Reader::new(reading, stream, progress, patience)?;
    loop {
        match reader.read() {
            Ok(0) => return Ok(Received { output: reader.output, saw: Saw::End }),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Ok(Received { output: reader.output, saw: Saw::Reset });
            }
            Err(error) => return Err(format!("the peer received {} bytes, then: {error}", reader.output.len())),
        }
    }
}

/// Reads until the writer is through and there are `least` bytes. It goes on reading
/// while the writer writes: a peer that takes nothing is not read from either.
fn read_until(
    least: usize,
    reading: Reading,
    stream: &Peer,
    progress: &Progress,
    patience: Duration,
) -> Result<Received, String> {
    const LOOK: Duration = Duration::from_millis(1);
    let mut reader = Reader::new(reading, stream, progress, LOOK)?;
    let give_up = Instant::now() + patience;
    while reader.output.len() < least || !progress.sent_all.load(Ordering::Acquire) {
        if Instant::now() > give_up {
            return Err(format!("the peer received {} bytes, and no more came of {least}", reader.output.len()));
        }
        match reader.read() {
            // The protocol has ended its direction; the writer goes on all the same.
            Ok(0) if reader.output.len() >= least => thread::sleep(LOOK),
            Ok(0) => return Err(format!("the peer received {} bytes and the end of {least}", reader.output.len())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("the peer received {} bytes, then: {error}", reader.output.len())),
        }
    }
    Ok(Received { output: reader.output, saw: Saw::Nothing })
}

/// Reads as slowly as the script says.
struct Reader<'a> {
    stream: &'a Peer,
    progress: &'a Progress,
    output: Vec<u8>,
    slot: Vec<u8>,
    pauses_left: u32,
    pause: Duration,
}

impl<'a> Reader<'a> {
    fn new(
        reading: Reading,
        stream: &'a Peer,
        progress: &'a Progress,
        timeout: Duration,
    ) -> Result<Reader<'a>, String> {
        stream.set_read_timeout(timeout);
        thread::sleep(reading.late);
        let slot = vec![0; if reading.pauses > 0 { 3000 } else { 64 * 1024 }];
        Ok(Reader { stream, progress, output: Vec::new(), slot, pauses_left: reading.pauses, pause: reading.pause })
    }

    fn read(&mut self) -> io::Result<usize> {
        let n = loop {
            match self.stream.read(&mut self.slot) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.output.extend_from_slice(&self.slot[..n]);
        self.progress.received.store(self.output.len(), Ordering::Release);
        if self.pauses_left > 0 {
            self.pauses_left -= 1;
            thread::sleep(self.pause);
        }
        Ok(n)
    }
}
