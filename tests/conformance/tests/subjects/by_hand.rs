//! A whole driver by hand: one thread, poll(2), the core's `turn` and a transport of
//! its own. This is how little a driver has to be; it serves TCP, without files,
//! clients and commands.
//!
//! `FAULT` breaks it on purpose: the suite must notice.

use drywire_conformance::{Capability, Options, Running, Scene, Subject, Testable, narrow_listener};
use drywire_core::{
    Blocked, Budget, CloseReport, Connection, FileError, FileId, OpenFile, Opening, Ready, Reason, SendFileError, Time,
    Transport, TransportError, Turn, Wait, Workspace, turn,
};
use drywire_server::Address;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing is broken.
pub(crate) const SOUND: u8 = 0;
/// That the socket can be written again is never told.
pub(crate) const LOSES_AN_EDGE: u8 = 1;
/// What would block counts as written.
pub(crate) const DROPS_BYTES: u8 = 2;
/// Each end is reported twice.
pub(crate) const REPORTS_TWICE: u8 = 3;
/// A connection keeps its turn for as long as there is something to move.
pub(crate) const KNOWS_NO_BUDGET: u8 = 4;
/// A kibibyte of each connection is never given back.
pub(crate) const LEAKS: u8 = 5;
/// Our direction ends with the connection, and not before.
pub(crate) const SWALLOWS_THE_HALF_CLOSE: u8 = 6;
/// A connection keeps its turn sixteen times too long.
pub(crate) const TAKES_LONG_TURNS: u8 = 7;
/// It asks for news instead of waiting for them.
pub(crate) const SPINS: u8 = 8;

pub(crate) struct ByHand<const FAULT: u8>;

impl<const FAULT: u8> Subject for ByHand<FAULT> {
    const NAME: &'static str = [
        "by hand",
        "edge-loser",
        "byte-dropper",
        "double-reporter",
        "glutton",
        "leaker",
        "half-close-swallower",
        "turn-stretcher",
        "spinner",
    ][FAULT as usize];
    const CAN: &'static [Capability] = &[
        Capability::Echo,
        Capability::HalfClose,
        Capability::Backpressure,
        Capability::Deadlines,
        Capability::Limits,
        Capability::Resets,
        Capability::Fairness,
        Capability::Shutdown,
    ];
    /// Short where an answer that never comes is the finding.
    const PATIENCE: Duration = match FAULT {
        LOSES_AN_EDGE | SWALLOWS_THE_HALF_CLOSE => Duration::from_millis(1500),
        SOUND.. => Duration::from_secs(60),
    };
    type Running<P: Testable> = Server;

    fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Server> {
        let Address::Tcp(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
        let listener = if options.narrow { narrow_listener(*address) } else { TcpListener::bind(address) };
        let listener = listener
            .map_err(|error| io::Error::other(format!("cannot listen on {address}: {error}; take another port")))?;
        listener.set_nonblocking(true)?;
        let address = Address::Tcp(listener.local_addr()?);
        let order = Arc::new(AtomicU8::new(SERVE));
        let heard = order.clone();
        let thread = thread::spawn(move || run::<P, FAULT>(listener, &options, &scene, &heard));
        Ok(Server { address, order, thread })
    }
}

/// The thread, and what it is told.
pub(crate) struct Server {
    address: Address,
    order: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

const SERVE: u8 = 0;
const SHUT_DOWN: u8 = 1;
const STOP: u8 = 2;

impl Running for Server {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn shutdown(&self) {
        self.order.store(SHUT_DOWN, Ordering::Relaxed);
    }

    fn join(self) {
        self.thread.join().expect("the driver does not panic");
    }

    fn stop(self) {
        self.order.store(STOP, Ordering::Relaxed);
        self.join();
    }
}

fn run<P: Testable, const FAULT: u8>(listener: TcpListener, options: &Options, scene: &Scene<P>, order: &AtomicU8) {
    let epoch = Instant::now();
    let mut workspace = Workspace::new();
    let mut listener = Some(listener);
    let mut entries: Vec<Entry<P>> = Vec::new();
    let mut cut_at = Time::NEVER;
    while listener.is_some() || !entries.is_empty() {
        let found = wait::<P, FAULT>(listener.as_ref(), &entries);
        let now = Time::ZERO + epoch.elapsed();
        let order = order.load(Ordering::Relaxed);
        if order != SERVE && listener.take().is_some() {
            entries.iter_mut().for_each(|entry| entry.connection.lend(&mut workspace, now).drain());
            cut_at = now + options.drain_timeout;
        }
        if order == STOP || now >= cut_at {
            entries.iter_mut().for_each(|entry| entry.connection.lend(&mut workspace, now).abort());
        }
        let mut found = found.into_iter();
        entries.retain_mut(|entry| {
            let flags = found.next().expect("one for each");
            entry.take_turn::<FAULT>(flags, &mut workspace, now, scene)
        });
        while let Some(Ok((stream, _))) = listener.as_ref().map(TcpListener::accept) {
            stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).expect("a TCP socket");
            let (number, connection) = scene.accept();
            let wait = Wait { read: true, write: false, deadline: Some(now) };
            entries.push(Entry { number, stream, connection, ready: Ready::UNKNOWN, wait, again: true });
        }
    }
}

/// What poll(2) says about each entry; the listener is asked afterwards in any case.
fn wait<P: Testable, const FAULT: u8>(listener: Option<&TcpListener>, entries: &[Entry<P>]) -> Vec<PollFlags> {
    let mut fds: Vec<PollFd<'_>> = entries
        .iter()
        .map(|entry| {
            let read = if entry.wait.read { PollFlags::IN } else { PollFlags::empty() };
            let write = if entry.wait.write { PollFlags::OUT } else { PollFlags::empty() };
            PollFd::new(&entry.stream, read | write)
        })
        .collect();
    fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
    // Orders and deadlines are looked at this often.
    let most = if FAULT == SPINS || entries.iter().any(|entry| entry.again) { 0 } else { 5_000_000 };
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: most })).expect("no signals come here");
    fds[..entries.len()].iter().map(PollFd::revents).collect()
}

struct Entry<P: Testable> {
    number: usize,
    stream: TcpStream,
    connection: Connection<P>,
    ready: Ready,
    wait: Wait,
    /// Its budget was spent.
    again: bool,
}

impl<P: Testable> Entry<P> {
    /// False when the connection has ended.
    fn take_turn<const FAULT: u8>(
        &mut self,
        found: PollFlags,
        workspace: &mut Workspace,
        now: Time,
        scene: &Scene<P>,
    ) -> bool {
        self.ready.read |= found.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        let mut budget = match FAULT {
            KNOWS_NO_BUDGET => Budget::bytes(usize::MAX),
            TAKES_LONG_TURNS => Budget::bytes(16 << 20),
            _ => Budget::DEFAULT,
        };
        let mut live = self.connection.lend(workspace, now);
        if found.intersects(PollFlags::OUT | PollFlags::ERR) && FAULT != LOSES_AN_EDGE {
            live.handle_writable();
        }
        let report = loop {
            match turn(&mut live, &mut Wire::<FAULT>(&self.stream), &mut self.ready, &mut budget) {
                Turn::Event(event) => scene.event(self.number, event),
                Turn::Wait(wait) => {
                    (self.wait, self.again) = (wait, false);
                    return true;
                }
                Turn::Again => {
                    self.again = true;
                    return true;
                }
                Turn::Closed(report) => break report,
            }
        };
        if report.is_abort() {
            let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
        }
        if FAULT == REPORTS_TWICE {
            scene.closed(self.number, CloseReport { reason: Reason::Finished, counters: report.counters });
        }
        scene.closed(self.number, report);
        if FAULT == LEAKS {
            std::mem::forget(vec![1_u8; 1024]);
        }
        false
    }
}

struct Wire<'a, const FAULT: u8>(&'a TcpStream);

impl<const FAULT: u8> Transport for Wire<'_, FAULT> {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        self.0.read(slot).map_err(|error| blocked(&error))
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let pieces: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        match self.0.write_vectored(&pieces).map_err(|error| blocked(&error)) {
            Err(Blocked::WouldBlock) if FAULT == DROPS_BYTES => Ok(slices.iter().map(|slice| slice.len()).sum()),
            result => result,
        }
    }

    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        Err(SendFileError::File(FileError::Forbidden))
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        Err(FileError::Forbidden)
    }

    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        Opening::Done(Err(FileError::Forbidden))
    }

    fn close_file(&mut self, _: FileId) {}

    fn half_close(&mut self) {
        if FAULT != SWALLOWS_THE_HALF_CLOSE {
            let _ = self.0.shutdown(Shutdown::Write);
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is the standard library's, and open")]
fn blocked(error: &io::Error) -> Blocked {
    Blocked::Failed(match error.kind() {
        io::ErrorKind::WouldBlock => return Blocked::WouldBlock,
        io::ErrorKind::ConnectionReset => TransportError::Reset,
        io::ErrorKind::BrokenPipe => TransportError::BrokenPipe,
        _ => TransportError::Other(error.raw_os_error().unwrap_or(0)),
    })
}
