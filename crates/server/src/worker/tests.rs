//! What no driver's tests can see from outside; everything else is in theirs.

mod callbacks;

use super::*;
use crate::address::Address;
use crate::application::{Quiet, Watch};
use crate::net::{Connecting, Interest, News, Release};
use drywire_core::{
    Blocked, FileError, FileId, Limits, OpenFile, Opening, Reason, SendFileError, Transport, TransportError,
};
use drywire_protocols::LineEcho;
use std::os::fd::OwnedFd;

/// A net of peers that do one thing.
struct Nowhere {
    now: Time,
    /// Bytes all peers have taken.
    taken: usize,
    resets: usize,
    /// Files that are open.
    files: usize,
}

impl Nowhere {
    fn at(now: Time) -> Nowhere {
        Nowhere { now, taken: 0, resets: 0, files: 0 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Takes nothing, and says nothing.
    Silent,
    /// Has ended.
    Gone,
    /// Says this once, and takes nothing.
    Says(&'static [u8]),
    /// Takes everything.
    Takes,
    /// Takes everything, and says empty lines without end.
    Floods,
}

struct Wire<'a>(&'a mut Peer, &'a mut usize, &'a mut usize);

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        true
    }
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        match *self.0 {
            Peer::Gone => Ok(0),
            Peer::Says(text) => {
                slot[..text.len()].copy_from_slice(text);
                *self.0 = Peer::Silent;
                Ok(text.len())
            }
            Peer::Floods => {
                slot.fill(b'\n');
                Ok(slot.len())
            }
            Peer::Silent | Peer::Takes => Err(Blocked::WouldBlock),
        }
    }
    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        match *self.0 {
            Peer::Takes | Peer::Floods => {
                let taken = slices.iter().map(|slice| slice.len()).sum();
                *self.1 += taken;
                Ok(taken)
            }
            Peer::Silent | Peer::Gone | Peer::Says(_) => Err(Blocked::WouldBlock),
        }
    }
    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        Err(SendFileError::Output(Blocked::WouldBlock))
    }
    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("nothing is sent")
    }
    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        *self.2 += 1;
        Opening::Done(Ok(5))
    }
    fn close_file(&mut self, _: FileId) {
        *self.2 -= 1;
    }
    fn half_close(&mut self) {}
}

impl Net for Nowhere {
    type Open = Peer;
    type Stream = Peer;
    type Bound = ();
    type Listener = ();
    type Source = OwnedFd;

    fn now(&self) -> Time {
        self.now
    }
    fn connect(&mut self, _: Id, _: &Address) -> io::Result<Peer> {
        Ok(Peer::Silent)
    }
    fn resolve(&mut self, _: Id, _: &str, _: u16) {}
    fn register(&mut self, _: Id, stream: Peer) -> io::Result<Peer> {
        Ok(stream)
    }
    fn wire<'a>(&'a mut self, _: Id, stream: &'a mut Peer) -> impl Transport + 'a {
        Wire(stream, &mut self.taken, &mut self.files)
    }
    fn on_writable(&mut self, _: &mut Peer) {}
    fn connecting(&self, _: &Peer) -> Connecting {
        Connecting::Stands
    }
    fn take_error(&self, _: &Peer) -> TransportError {
        unreachable!("nothing fails to connect")
    }
    fn peer_address(&self, _: &Peer) -> Option<Address> {
        None
    }
    fn release(&mut self, _: Peer, how: Release) {
        self.resets += usize::from(how == Release::Reset);
    }
    fn close_file(&mut self, _: Id, _: FileId) {}
    fn open_files(&self) -> usize {
        0
    }
    fn listen(&mut self, _: Id, _: &Address) -> io::Result<()> {
        Ok(())
    }
    fn listen_on(&mut self, _: Id, (): ()) -> io::Result<()> {
        Ok(())
    }
    fn accept(&mut self, (): &mut ()) -> io::Result<(Peer, Address)> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn local_address(&self, (): &()) -> Option<Address> {
        None
    }
    fn release_listener(&mut self, (): ()) {}
    fn watch(&mut self, _: Id, fd: OwnedFd, _: Interest) -> io::Result<OwnedFd> {
        Ok(fd)
    }
    fn set_interest(&mut self, _: &mut OwnedFd, _: Interest) -> io::Result<()> {
        Ok(())
    }
    fn is_always_ready(&self, _: &OwnedFd) -> bool {
        false
    }
    fn unwatch(&mut self, source: OwnedFd) -> OwnedFd {
        source
    }
}

#[test]
fn fault_83_alarms_of_connections_that_ended_do_not_pile_up() {
    let limits = Limits { idle_ms: 3_600_000, ..Limits::DEFAULT };
    let mut worker: Rounds<LineEcho, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), Config::default(), || {});
    worker.add(Peer::Silent, Connection::new(LineEcho).with_limits(limits)).unwrap();
    for _ in 0..5000 {
        let id = worker.add(Peer::Silent, Connection::new(LineEcho).with_limits(limits)).unwrap();
        // One round with an idle deadline, one to end.
        worker.finish_round(0, &mut Quiet);
        let Some(Slot::Connection(entry)) = worker.table.get_mut(id) else { panic!("it is there") };
        entry.line = Line::Stands(Peer::Gone);
        worker.on_news(id, News { read: true, ..News::default() }, &mut Quiet);
        assert_eq!(worker.len(), 1);
    }
    assert!(worker.alarms.len() <= 2 * worker.table.len() + STALE_ALARMS + 1, "{} alarms", worker.alarms.len());
    assert!(worker.alarms.iter().any(|Reverse((_, id))| worker.table.contains(*id)), "the lasting one's is kept");
}

/// FAULTS 22, 44: what a flood of the smallest messages is given of one round is one turn, however
/// many peers take part in it; and a turn is as many messages as the settings say.
#[test]
fn fault_44_short_request_waits_for_one_turn_of_a_flood() {
    const PEERS: u64 = 50;
    const MESSAGES: u64 = 1000;
    let config = Config { budget_messages: MESSAGES as u32, ..Config::default() };
    let mut worker: Rounds<LineEcho, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), config, || {});
    let read = News { read: true, ..News::default() };
    let flood: Vec<Id> = (0..PEERS).map(|_| worker.add(Peer::Floods, Connection::new(LineEcho)).unwrap()).collect();
    let received = |worker: &Rounds<LineEcho, (), Nowhere>, id| worker.connection(id).unwrap().counters().received;
    let mut answered = 0;
    for round in 0..2 * PEERS {
        let before: u64 = flood.iter().map(|id| received(&worker, *id)).sum();
        // New bytes are news, also of a connection that has not come to an end with the old ones.
        for id in &flood {
            worker.on_news(*id, read, &mut Quiet);
        }
        let honest = worker.add(Peer::Says(b"hello\n"), Connection::new(LineEcho)).unwrap();
        worker.on_news(honest, read, &mut Quiet);
        answered += received(&worker, honest);
        worker.abort(honest);
        worker.finish_round(0, &mut Quiet);
        let after: u64 = flood.iter().map(|id| received(&worker, *id)).sum();
        // Of a read that was cut, the rest is consumed later.
        let (turns, slack) = if round == 0 { (2 * PEERS, PEERS) } else { (1, 1) };
        let read_at_once = u64::from(LineEcho::LIMITS.input_bytes);
        assert!(after - before <= turns * MESSAGES + slack * read_at_once, "round {round}: {}", after - before);
    }
    assert_eq!(answered, 2 * PEERS * 6, "each in the round of its request");
    let consumed = flood.iter().map(|id| received(&worker, *id));
    let (least, most) = (consumed.clone().min().unwrap(), consumed.max().unwrap());
    assert!(least > 0 && most - least <= 2 * u64::from(LineEcho::LIMITS.input_bytes), "{least} to {most}");
}

fn ms(n: u64) -> Time {
    Time::from_nanos(n * 1_000_000)
}

#[test]
fn fault_57_drain_timeout_counts_from_the_call_not_from_the_last_round() {
    let mut worker: Rounds<LineEcho, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), Config::default(), || {});
    worker.add(Peer::Silent, Connection::new(LineEcho)).unwrap();
    worker.finish_round(0, &mut Quiet);
    worker.net_mut().now = ms(60_000);
    worker.shutdown();
    worker.wake_up();
    worker.finish_round(0, &mut Quiet);
    worker.finish_round(0, &mut Quiet);
    assert_eq!(worker.len(), 1, "it lingers, and is not cut");
}

#[test]
fn fault_58_turn_for_another_reason_looks_into_the_socket_before_it_judges_a_deadline() {
    let limits = Limits { idle_ms: 10, ..Limits::DEFAULT };
    let mut worker: Rounds<LineEcho, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), Config::default(), || {});
    let id = worker.add(Peer::Silent, Connection::new(LineEcho).with_limits(limits)).unwrap();
    worker.finish_round(0, &mut Quiet);
    let Some(Slot::Connection(entry)) = worker.table.get_mut(id) else { panic!("it is there") };
    // The poller has not said so, and the alarm has not rung.
    entry.line = Line::Stands(Peer::Gone);
    worker.net_mut().now = ms(20);
    worker.wake_up();
    let mut quiet = Quiet;
    let mut watch = Watch::new(&mut quiet, id);
    worker.run_turn(id, &mut watch);
    assert_eq!(watch.take_report().map(|report| report.reason), Some(Reason::Finished));
}

/// A round inside a round. A method of the worker's own would be called instead of this
/// one, and would not fit: then this test does not compile.
trait NoRounds {
    fn finish_round(&self) -> bool {
        true
    }

    fn on_news(&self) -> bool {
        true
    }
}

impl<P: Protocol, L: Layer, N: Net> NoRounds for Worker<P, L, N> {}

#[test]
fn fault_62_worker_in_a_callback_has_no_way_to_make_a_round() {
    let mut rounds: Rounds<LineEcho, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), Config::default(), || {});
    let in_callback: &mut Worker<LineEcho, (), Nowhere> = &mut rounds;
    assert!(in_callback.finish_round() && in_callback.on_news());
}
