//! What an application is told of a worker, in which order, and what a panic ends.

use super::super::outgoing::Line;
use super::{Nowhere, Peer, ms};
use crate::application::{Application, Notice, Quiet, SourceEvent, Watch};
use crate::config::{Config, OnPanic};
use crate::group::{Group, Slow};
use crate::net::{Interest, News};
use crate::receipt::{Dropped, Outcome};
use crate::table::Id;
use crate::worker::slot::Slot;
use crate::worker::{Rounds, Worker};
use drywire_core::{CloseReport, Connection, Context, Opened, Protocol, Reason, Stop, Time};
use std::convert::Infallible;
use std::fs::File;
use std::time::Duration;

/// Panics where its input or a command says so (`1`); writes a command back, a file (`f`), or
/// more than there may be room for (`!`).
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

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.stream_file(opened.id, 0, 5)
    }

    fn command(&mut self, command: &u8, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        assert_ne!(*command, b'1', "on purpose");
        if *command == b'f' {
            return cx.open_file(b"f").map(|_| ());
        }
        if *command == b'!' {
            return cx.write(&vec![b'!'; 1 << 20]);
        }
        cx.write(&[*command])
    }
}

/// What an application was told, in words; it panics where `panics` says so.
#[derive(Default)]
struct Diary {
    told: Vec<String>,
    panics: &'static str,
    ids: Vec<Id>,
    unsent: u64,
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
    fn written_out(&mut self, _: &mut Worker<Fragile, (), Nowhere>, _: Id) {
        self.note("written out");
    }
    fn closed(&mut self, worker: &mut Worker<Fragile, (), Nowhere>, id: Id, report: CloseReport<Infallible>) {
        self.unsent = report.counters.unsent;
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
    let began = "ShutdownBegan { open: 1, timeout: 8s }";
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
    assert_eq!(diary.told, ["started", "written out", "closed: Requested", "stopped"]);
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
    worker.set_timer("far", Duration::from_secs(1));
    for rounds in 1..10 {
        assert_eq!(worker.next_timeout(), Some(Duration::ZERO));
        assert!(!worker.is_done());
        worker.finish_round(0, &mut again);
        assert_eq!(again.0, rounds);
    }
    assert!(worker.cancel_timer("again") && worker.cancel_timer("far"));
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
fn fault_59_command_whose_handler_panics_ends_its_connection_and_is_counted_with_the_rest() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Takes, Connection::new(Fragile)).unwrap();
    let handle = worker.handle(id).unwrap();
    let before = handle.send_tracked(b'x').unwrap();
    worker.finish_round(0, &mut diary);
    assert_eq!(before.try_get(), Some(Outcome::Written));
    let receipts = (*b"1yz").map(|command| handle.send_tracked(command).unwrap());
    worker.finish_round(0, &mut diary);
    assert_eq!(diary.told, ["started", "written out", "closed: Panicked"]);
    for receipt in receipts {
        assert_eq!(receipt.try_get(), Some(Outcome::Dropped(Dropped::Panicked)));
    }
    assert_eq!(worker.inbox.dropped(), 3);
    assert_eq!(worker.inbox.waiting_bytes(), 0);
}

#[test]
fn fault_66_command_that_its_handler_could_not_do_is_never_called_written() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Takes, Connection::new(Fragile)).unwrap();
    let handle = worker.handle(id).unwrap();
    let [done, too_much, behind] = (*b"x!y").map(|command| handle.send_tracked(command).unwrap());
    worker.finish_round(0, &mut diary);
    worker.abort(id);
    worker.finish_round(0, &mut diary);
    assert_eq!(worker.net().taken, 1);
    assert_eq!(done.try_get(), Some(Outcome::Written));
    for receipt in [too_much, behind] {
        assert_eq!(receipt.try_get(), Some(Outcome::Dropped(Dropped::Closed)));
    }
    assert_eq!(worker.inbox.dropped(), 2);
}

#[test]
fn fault_57_commands_that_wait_when_a_shutdown_begins_go_before_it() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Takes, Connection::new(Fragile)).unwrap();
    let group = Group::new(1 << 20, Slow::Skip);
    worker.finish_round(0, &mut diary);
    group.join(&worker.handle(id).unwrap());
    for command in *b"xyz" {
        worker.send(id, command).unwrap();
        group.send(command).unwrap();
    }
    worker.shutdown();
    worker.finish_round(0, &mut diary);
    assert_eq!((worker.net().taken, worker.inbox.dropped()), (6, 0));
    assert!(worker.connection(id).is_none_or(|connection| connection.is_ending()), "then it was asked to finish");
}

#[test]
fn what_a_worker_counts_is_told_to_all_whatever_the_round_is_about() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
    worker.finish_round(0, &mut diary);
    let group = Group::new(200, Slow::DropOldest);
    group.join(&worker.handle(id).unwrap());
    (0..50).for_each(|_| assert_eq!(group.send(b'x').unwrap().sent, 1));
    worker.finish_round(0, &mut diary);
    let commons = worker.commons().clone();
    assert!(worker.stats().commands_dropped > 0);
    assert_eq!(commons.stats(), worker.stats());
    worker.end(&mut diary);
    assert_eq!((commons.stats().ended.all(), commons.stats()), (1, worker.stats()));
}

#[test]
fn fault_59_what_a_connection_holds_when_its_handler_panics_is_let_go() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
    for command in *b"xfy" {
        worker.send(id, command).unwrap();
    }
    worker.finish_round(0, &mut diary);
    assert_eq!(worker.net().files, 1);
    worker.send(id, b'1').unwrap();
    worker.finish_round(0, &mut diary);
    assert_eq!(diary.told, ["started", "closed: Panicked"]);
    assert_eq!((worker.net().files, diary.unsent), (0, 1 + 5 + 1));
}

#[test]
fn w4_written_out_comes_once_for_all_that_was_owed() {
    let mut worker = fragile(Config::default());
    let mut diary = Diary::default();
    let id = worker.add(Peer::Silent, Connection::new(Fragile)).unwrap();
    for command in *b"xyz" {
        worker.send(id, command).unwrap();
        worker.finish_round(0, &mut diary);
    }
    assert_eq!(diary.told, ["started"]);
    let Some(Slot::Connection(entry)) = worker.table.get_mut(id) else { panic!("it is there") };
    entry.line = Line::Stands(Peer::Takes);
    for _ in 0..3 {
        worker.on_news(id, News { write: true, ..News::default() }, &mut diary);
        worker.finish_round(1, &mut diary);
    }
    assert_eq!(diary.told, ["started", "written out"]);
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
        let began = "ShutdownBegan { open: 1, timeout: 8s }";
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
fn fault_59_command_that_panics_when_it_is_dropped_ends_nobody() {
    struct Sore;
    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    struct Taker;
    impl Protocol for Taker {
        type Event = Infallible;
        type Command = Sore;
        type Error = Infallible;
        fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
            Ok(input.len())
        }
    }
    let mut worker: Rounds<Taker, (), Nowhere> = Rounds::new(Nowhere::at(Time::ZERO), Config::default(), || {});
    let gone = worker.add(Peer::Gone, Connection::new(Taker)).unwrap();
    let other = worker.add(Peer::Silent, Connection::new(Taker)).unwrap();
    worker.handle(gone).unwrap().send(Sore).unwrap();
    worker.on_news(gone, News { read: true, ..News::default() }, &mut Quiet);
    assert!(worker.connection(gone).is_none(), "before its command was looked at");
    worker.finish_round(0, &mut Quiet);
    assert!(worker.connection(other).is_some());
    assert_eq!((worker.panics(), worker.inbox.dropped(), worker.inbox.waiting_bytes()), (1, 1, 0));
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
