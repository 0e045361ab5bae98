//! What no driver's tests can see from outside; everything else is in theirs.

use super::*;
use crate::address::Address;
use crate::application::{Application, Notice, Quiet, SourceEvent, Watch};
use crate::config::OnPanic;
use crate::net::{Connecting, Interest, News, Release};
use drywire_core::{
    Blocked, CloseReport, Context, FileError, FileId, Limits, OpenFile, Opening, Reason, SendFileError, Stop,
    Transport, TransportError,
};
use drywire_protocols::LineEcho;
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::OwnedFd;

/// A net of peers that do one thing.
struct Nowhere {
    now: Time,
    /// Bytes all peers have taken.
    taken: usize,
    resets: usize,
}

impl Nowhere {
    fn at(now: Time) -> Nowhere {
        Nowhere { now, taken: 0, resets: 0 }
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
}

struct Wire<'a>(&'a mut Peer, &'a mut usize);

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
            Peer::Silent | Peer::Takes => Err(Blocked::WouldBlock),
        }
    }
    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        match *self.0 {
            Peer::Takes => {
                let taken = slices.iter().map(|slice| slice.len()).sum();
                *self.1 += taken;
                Ok(taken)
            }
            Peer::Silent | Peer::Gone | Peer::Says(_) => Err(Blocked::WouldBlock),
        }
    }
    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        unreachable!("nothing is sent")
    }
    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("nothing is sent")
    }
    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        unreachable!("nothing is opened")
    }
    fn close_file(&mut self, _: FileId) {}
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
        Wire(stream, &mut self.taken)
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

/// Panics where its input says so: `1` in the handler, `2` in the event, …
struct Fragile;

impl Protocol for Fragile {
    type Event = u8;
    type Command = u8;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(input[0])?;
        assert_ne!(input[0], b'1', "on purpose");
        Ok(1)
    }

    fn command(&mut self, command: &u8, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        assert_ne!(*command, b'1', "on purpose");
        cx.write(&[*command])
    }
}

/// What an application was told, in words; it panics where `panics` says so.
#[derive(Default)]
struct Diary {
    told: Vec<String>,
    panics: &'static str,
    ids: Vec<Id>,
}

impl Diary {
    fn panicking(panics: &'static str) -> Diary {
        Diary { panics, ..Diary::default() }
    }

    fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        let panics = !self.panics.is_empty() && what.starts_with(self.panics);
        self.told.push(what);
        assert!(!panics, "on purpose");
    }
}

impl Application<Nowhere, Fragile> for Diary {
    fn started(&mut self, _: &mut Worker<Fragile, (), Nowhere>) {
        self.note("started");
    }
    fn stopped(&mut self, _: &mut Worker<Fragile, (), Nowhere>) {
        self.note("stopped");
    }
    fn event(&mut self, _: &mut Worker<Fragile, (), Nowhere>, _: Id, event: u8) {
        self.note(format!("event {}", char::from(event)));
    }
    fn closed(&mut self, worker: &mut Worker<Fragile, (), Nowhere>, id: Id, report: CloseReport<Infallible>) {
        assert!(worker.connection(id).is_none());
        self.ids.push(id);
        self.note(format!("closed: {:?}", report.reason));
    }
    fn notice(&mut self, _: &mut Worker<Fragile, (), Nowhere>, notice: Notice<'_>) {
        self.note(format!("{notice:?}"));
    }
    fn tick(&mut self, _: &mut Worker<Fragile, (), Nowhere>) {
        self.note("tick");
    }
    fn timer(&mut self, _: &mut Worker<Fragile, (), Nowhere>, name: &'static str) {
        self.note(format!("timer {name}"));
    }
}

type FragileRounds = Rounds<Fragile, (), Nowhere>;

fn fragile(config: Config) -> FragileRounds {
    Rounds::new(Nowhere::at(Time::ZERO), config, || {})
}

fn says(text: &'static str) -> Peer {
    Peer::Says(text.as_bytes())
}

#[test]
fn w4_started_is_first_and_stopped_last_and_each_comes_once() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    worker.add(says("x"), Connection::new(Fragile)).unwrap();
    worker.finish_round(0, &mut diary);
    worker.shutdown();
    worker.shutdown();
    for _ in 0..3 {
        worker.finish_round(0, &mut diary);
    }
    worker.finish(&mut diary);
    worker.end(&mut diary);
    let began = "ShutdownBegan { open: 1, timeout: 10s }";
    assert_eq!(diary.told, ["started", "event x", began, "closed: Aborted", "stopped"]);
}

#[test]
fn w4_worker_that_is_dropped_says_stopped_if_it_had_started() {
    let mut diary = Diary::default();
    fragile(Config::default()).end(&mut diary);
    assert!(diary.told.is_empty(), "it never began");
    let mut worker = fragile(Config::default());
    worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
    worker.end(&mut diary);
    assert_eq!(diary.told, ["started", "closed: Requested", "stopped"]);
}

#[test]
fn commands_that_wait_are_handled_when_a_worker_is_dropped() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Takes, Connection::new(Fragile)).unwrap();
    let handle = worker.handle(id).unwrap();
    for _ in 0..10 {
        worker.send(id, b'x').unwrap();
        handle.send(b'y').unwrap();
    }
    worker.end(&mut diary);
    assert_eq!(diary.told, ["started", "closed: Requested", "stopped"]);
    assert_eq!(worker.net().taken, 20);
}

#[test]
fn w4_tick_comes_every_period_and_a_late_one_once() {
    let mut worker = fragile(Config { tick: Some(Duration::from_millis(10)), ..Config::default() });
    let mut diary = Diary::default();
    worker.finish_round(0, &mut diary);
    assert_eq!(worker.next_timeout(), Some(Duration::from_millis(10)));
    for (at, ticks) in [(9, 0), (10, 1), (20, 2), (1005, 3), (1009, 3), (1010, 4)] {
        worker.net_mut().now = ms(at);
        worker.wake_up();
        worker.finish_round(0, &mut diary);
        assert_eq!(diary.told.iter().filter(|told| *told == "tick").count(), ticks, "at {at} ms");
    }
    assert!(worker.is_done(), "a tick alone keeps nobody up");
}

#[test]
fn w4_timer_that_sets_itself_again_for_now_comes_once_a_round() {
    struct Again(usize);
    impl Application<Nowhere, Fragile> for Again {
        fn timer(&mut self, worker: &mut Worker<Fragile, (), Nowhere>, name: &'static str) {
            self.0 += 1;
            worker.set_timer(name, Duration::ZERO);
        }
    }
    let mut worker = fragile(Config::default());
    let mut again = Again(0);
    worker.set_timer("again", Duration::ZERO);
    for rounds in 1..10 {
        assert_eq!(worker.next_timeout(), Some(Duration::ZERO));
        assert!(!worker.is_done());
        worker.finish_round(0, &mut again);
        assert_eq!(again.0, rounds);
    }
    assert!(worker.cancel_timer("again"));
    assert!(worker.is_done());
}

#[test]
fn fault_59_panic_in_a_handler_or_a_callback_ends_that_connection_alone() {
    for (input, panics, events) in [("x1y", "", 0), ("xyz", "event y", 2), ("xyz", "closed", 3)] {
        let mut worker = fragile(Config::default());
        let mut diary = Diary::panicking(panics);
        let other = worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
        let id = worker.add(says(input), Connection::new(Fragile)).unwrap();
        let handle = worker.handle(id).unwrap();
        worker.finish_round(0, &mut diary);
        if panics == "closed" {
            worker.abort(id);
            worker.finish_round(0, &mut diary);
        }
        assert_eq!((worker.len(), worker.panics()), (1, 1), "{:?}", diary.told);
        assert!(worker.connection(id).is_none() && worker.connection(other).is_some());
        assert!(handle.send(b'x').is_err(), "its handle says so");
        assert_eq!(diary.ids, [id], "exactly one report");
        assert_eq!(worker.net().resets, 1);
        let told = diary.told.iter().filter(|told| told.starts_with("event")).count();
        assert_eq!(told, events, "nothing is told after a panic: {:?}", diary.told);
        let reason = if panics == "closed" { "closed: Aborted" } else { "closed: Panicked" };
        assert_eq!(diary.told.last().map(String::as_str), Some(reason));
    }
}

#[test]
fn fault_59_command_whose_handler_panics_ends_its_connection_and_the_rest_is_counted() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Takes, Connection::new(Fragile)).unwrap();
    for command in *b"x1yz" {
        worker.send(id, command).unwrap();
    }
    worker.finish_round(0, &mut diary);
    assert_eq!(diary.told, ["started", "closed: Panicked"]);
    assert_eq!(worker.inbox.dropped(), 2, "those that waited behind it");
}

#[test]
fn fault_59_panic_in_a_callback_about_no_connection_ends_that_call_alone() {
    for panics in ["started", "tick", "timer", "ShutdownBegan", "stopped"] {
        let mut worker = fragile(Config { tick: Some(Duration::from_millis(1)), ..Config::default() });
        let mut diary = Diary::panicking(panics);
        worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
        worker.repeat_timer("beat", Duration::from_millis(1));
        worker.finish_round(0, &mut diary);
        worker.net_mut().now = ms(1);
        worker.wake_up();
        worker.finish_round(0, &mut diary);
        assert_eq!(worker.len(), 1, "{panics}");
        worker.shutdown();
        worker.shutdown();
        for _ in 0..3 {
            worker.finish_round(0, &mut diary);
        }
        assert_eq!(worker.panics(), 1, "{panics}");
        let began = "ShutdownBegan { open: 1, timeout: 10s }";
        assert_eq!(diary.told, ["started", "tick", "timer beat", began, "closed: Aborted", "stopped"], "{panics}");
    }
}

#[test]
#[should_panic(expected = "on purpose")]
fn fault_59_panic_goes_on_where_it_is_to_stop_the_worker() {
    let mut worker = fragile(Config { on_panic: OnPanic::Stop, ..Config::default() });
    worker.add(says("1"), Connection::new(Fragile)).unwrap();
    worker.finish_round(0, &mut Diary::default());
}

#[test]
fn fault_59_protocol_that_panics_when_it_is_dropped_ends_nobody_else() {
    struct Sore;
    impl Protocol for Sore {
        type Event = Infallible;
        type Command = Infallible;
        type Error = Infallible;
        fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
            Ok(input.len())
        }
    }
    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let mut worker: Rounds<Sore, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), Config::default(), || {});
    let id = worker.add(Peer::Gone, Connection::new(Sore)).unwrap();
    let mut quiet = Quiet;
    let mut watch = Watch::new(&mut quiet, id);
    worker.finish_round(0, &mut watch);
    assert_eq!(watch.take_report().map(|report| report.reason), Some(Reason::Finished));
    assert_eq!((worker.len(), worker.panics()), (0, 1));
}

#[test]
fn fault_57_drain_report_counts_each_connection_once() {
    let mut worker = fragile(Config { drain_timeout: Duration::from_millis(5), ..Config::default() });
    let mut diary = Diary::default();
    assert!(worker.drain_report().is_none());
    // Ends before anybody asks: none of the report's business.
    worker.add(Peer::Gone, Connection::new(Fragile)).unwrap();
    worker.finish_round(0, &mut diary);
    let owing = worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
    worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
    worker.send(owing, b'x').unwrap();
    worker.finish_round(0, &mut diary);
    worker.shutdown();
    worker.finish_round(0, &mut diary);
    assert_eq!(worker.drain_report().map(|report| (report.open, report.finished)), Some((2, 0)));
    worker.net_mut().now = ms(5);
    worker.wake_up();
    worker.finish_round(0, &mut diary);
    let report = worker.drain_report().unwrap();
    assert_eq!((report.open, report.finished, report.cut_in_all(), report.asked_again), (2, 1, 1, false));
    let [cut] = &report.cut[..] else { panic!("{report:?}") };
    assert_eq!((cut.id, cut.sent, cut.unsent, cut.reason.as_str()), (owing, 0, 1, "aborted"));
    assert_eq!(diary.told.last().map(String::as_str), Some("stopped"));
}

#[test]
fn fault_59_source_whose_callback_panics_is_removed_and_nobody_else() {
    struct Sore;
    impl Application<Nowhere, Fragile> for Sore {
        fn source(&mut self, _: &mut Worker<Fragile, (), Nowhere>, _: Id, _: SourceEvent) {
            panic!("on purpose");
        }
    }
    let mut worker = fragile(Config::default());
    let mut register = || worker.register(File::open("/dev/null").unwrap().into(), Interest::READABLE, None).unwrap();
    let (sore, other) = (register(), register());
    worker.on_news(sore, News { read: true, ..News::default() }, &mut Sore);
    assert!(worker.source(sore).is_none() && worker.source(other).is_some());
    assert_eq!(worker.panics(), 1);
}
