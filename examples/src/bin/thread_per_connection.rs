//! A driver of one's own: a thread for each client, blocking sockets, and the core
//! (row E5). `cargo run -p drywire-examples --bin thread_per_connection -- .` serves the
//! dialog with the files here. What is different without a poller: time passes inside
//! of calls. So the wait for input comes before the turn that reads it, and a turn is
//! one action long.

use drywire_core::{
    Blocked, Budget, CloseReport, Connection, FileError, FileId, Live, OpenFile, Opening, Protocol, Ready,
    SendFileError, Time, Transport, Turn, Workspace, turn,
};
use drywire_protocols::Dialog;
use drywire_server::io_error;
use drywire_unix::files::{RegularFile, Root, SendFailure, read_file, send_file};
use rustix::net::sockopt::set_socket_linger;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest a call blocks, and so the most by which the time of a turn is late.
const TICK: Duration = Duration::from_millis(20);

/// Runs `client` on a thread for each peer, until somebody connects after `stop` was
/// set; returns when all threads have ended.
pub fn serve(listener: &TcpListener, stop: &AtomicBool, client: impl Fn(TcpStream) + Sync) {
    thread::scope(|scope| {
        for accepted in listener.incoming().take_while(|_| !stop.load(Ordering::Relaxed)) {
            let (client, thread) = (&client, thread::Builder::new());
            let begun = accepted.and_then(|stream| thread.spawn_scoped(scope, move || client(stream)));
            begun.map(drop).unwrap_or_else(|_| thread::sleep(TICK)); // no descriptor or no thread left
        }
    });
}

/// Runs one connection to its end; the socket is closed when this returns or panics.
/// `before_turn` comes by every [`TICK`] at least, to drain or abort it.
pub fn talk<P: Protocol>(
    stream: TcpStream,
    root: Option<&Root>,
    mut connection: Connection<P>,
    mut before_turn: impl FnMut(&mut Live<'_, P>),
    mut on_event: impl FnMut(P::Event),
) -> CloseReport<P::Error> {
    let (epoch, mut workspace) = (Instant::now(), Workspace::new());
    let _ = (stream.set_nodelay(true), stream.set_write_timeout(Some(TICK)));
    let mut wire = Wire { stream, root, files: HashMap::new(), scratch: Vec::new(), error: None };
    // Output first, or a greeting would wait behind a read for ever. After a write that
    // waited in vain it is input's turn, while there is some.
    let (mut ready, mut writes) = (Ready::default(), true);
    loop {
        let mut live = connection.lend(&mut workspace, Time::ZERO + epoch.elapsed());
        if writes {
            live.handle_writable(); // the write itself waits, for a tick
        }
        before_turn(&mut live);
        let turn = turn(&mut live, &mut wire, &mut ready, &mut Budget::bytes(1));
        drop(live);
        ready.read = false;
        match turn {
            Turn::Event(event) => on_event(event),
            Turn::Again => {}
            Turn::Wait(wait) => {
                let left = wait.deadline.map_or(TICK, |at| at.saturating_since(Time::ZERO + epoch.elapsed()));
                // Between two writes, a look: a peer may take nothing before it has sent all.
                let patience = if wait.write { Duration::ZERO } else { left.min(TICK) };
                match wait.read {
                    true => ready.read = wire.wait_for_input(patience),
                    false => thread::sleep(patience),
                }
                writes = !ready.read;
            }
            Turn::Closed(report) => {
                let _ = set_socket_linger(&wire.stream, report.is_abort().then_some(Duration::ZERO));
                return report;
            }
        }
    }
}

struct Wire<'a> {
    stream: TcpStream,
    root: Option<&'a Root>,
    files: HashMap<FileId, RegularFile>,
    scratch: Vec<u8>,
    /// What the wait for input met: a socket tells an error only once.
    error: Option<io::Error>,
}

impl Wire<'_> {
    /// Blocks until a read would not.
    fn wait_for_input(&mut self, timeout: Duration) -> bool {
        let timeout = timeout.max(Duration::from_millis(1)); // zero would mean for ever
        let peeked = self.stream.set_read_timeout(Some(timeout)).and_then(|()| self.stream.peek(&mut [0]));
        let timed_out = peeked.as_ref().is_err_and(|error| blocked(error) == Blocked::WouldBlock);
        self.error = peeked.err().filter(|_| !timed_out);
        !timed_out
    }
}

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        true
    }
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        self.error.take().map_or_else(|| self.stream.read(slot), Err).map_err(|error| blocked(&error))
    }
    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        self.stream.write(slices[0]).map_err(|error| blocked(&error)) // vectored, it might raise SIGPIPE
    }
    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let (out, file) = (self.stream.as_fd(), self.files[&id].descriptor.as_fd());
        match send_file(out, file, offset, len.min(64 * 1024), &mut self.scratch, true) {
            Ok(n) => Ok(n as u64),
            Err(SendFailure::Output(error)) => Err(SendFileError::Output(blocked(&error))),
            Err(SendFailure::File(error)) => Err(SendFileError::File(error)),
        }
    }
    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        read_file(self.files[&id].descriptor.as_fd(), offset, slot)
    }
    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        let opened = self.root.ok_or(FileError::Forbidden).and_then(|root| root.open_beneath(request.name()));
        Opening::Done(opened.map(|file| self.files.entry(request.id()).insert_entry(file).get().len_bytes))
    }
    fn close_file(&mut self, id: FileId) {
        self.files.remove(&id);
    }
    fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// A call that was interrupted can be made again, like one that waited in vain.
fn blocked(error: &io::Error) -> Blocked {
    if error.kind() == io::ErrorKind::Interrupted { Blocked::WouldBlock } else { io_error::blocked(error) }
}

fn main() -> io::Result<()> {
    let root = Root::open(std::env::args().nth(1).unwrap_or_else(|| ".".into()).as_ref())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    serve(&listener, &AtomicBool::new(false), |stream| {
        talk(stream, Some(&root), Connection::new(Dialog::new()), |_| {}, |never| match never {});
    });
    Ok(())
}
