//! Connections of our own on a net that does as it is told: names, addresses, deadlines
//! (row W6).

#[path = "outgoing/town.rs"]
mod town;

use drywire_core::{CloseReport, Connection, Context, Protocol, Reason, Stop, TransportError};
use drywire_server::{
    Address, Application, Config, ConnectError, Connecting, Id, Net, News, Notice, Rounds, Target, Worker,
};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use town::{Town, at};

/// Hands up what comes, sends what it is told, behind a greeting.
struct Talk;

impl Protocol for Talk {
    type Event = Vec<u8>;
    type Command = Vec<u8>;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(b"hi ")
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(input.to_vec())?;
        Ok(input.len())
    }

    fn command(&mut self, command: &Vec<u8>, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(command)
    }
}

/// Everything that is told, in order.
#[derive(Default)]
struct Heard {
    all: Vec<String>,
    reasons: Vec<Reason<Infallible>>,
    errors: Vec<ConnectError>,
    /// Asked for in the callback that tells of the next failure.
    next: Option<Target>,
}

impl<N: Net> Application<N, Talk> for Heard {
    fn opened(&mut self, _: &mut Worker<Talk, (), N>, id: Id) {
        self.all.push(format!("{id} opened"));
    }

    fn event(&mut self, _: &mut Worker<Talk, (), N>, id: Id, event: Vec<u8>) {
        self.all.push(format!("{id} {}", event.escape_ascii()));
    }

    fn closed(&mut self, _: &mut Worker<Talk, (), N>, id: Id, report: CloseReport<Infallible>) {
        self.all.push(format!("{id} closed"));
        self.reasons.push(report.reason);
    }

    fn notice(&mut self, worker: &mut Worker<Talk, (), N>, notice: Notice<'_>) {
        if let Notice::ConnectFailed { id, error } = notice {
            self.all.push(format!("{id} failed"));
            self.errors.push(error.clone());
            if let Some(target) = self.next.take() {
                worker.connect(target, Connection::new(Talk)).unwrap();
            }
        }
    }
}

type Loop = Rounds<Talk, (), Town>;

fn worker() -> (Loop, Heard) {
    (Rounds::new(Town::default(), Config::default(), || {}), Heard::default())
}

/// Rounds until nothing is ready, at this time.
#[track_caller]
fn rounds(worker: &mut Loop, heard: &mut Heard, now: u64) {
    worker.net_mut().now = at(now);
    for _ in 0..100 {
        worker.wake_up();
        worker.finish_round(0, heard);
        if worker.next_deadline().is_none_or(|next| next > at(now)) {
            return;
        }
    }
    panic!("it spins: {:?} at {now} ms", worker.next_deadline());
}

/// The poller has news of everybody.
fn news(worker: &mut Loop, id: Id, heard: &mut Heard) {
    worker.on_news(id, News { write: true, ..News::default() }, heard);
}

fn name(host: &str) -> Target {
    Target::name(host, 25)
}

fn addresses(last: &[u8]) -> io::Result<Vec<SocketAddr>> {
    Ok(last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 25))).collect())
}

#[test]
fn w6_name_is_looked_up_once_and_then_the_connection_stands() {
    let (mut worker, mut heard) = worker();
    let id = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    worker.send(id, b"there".to_vec()).expect("its id is good at once");
    rounds(&mut worker, &mut heard, 0);
    assert_eq!(worker.net().asked, [(id, "a:25".to_owned())]);
    assert!(worker.is_coming(id) && heard.all.is_empty());

    worker.on_resolved(id, addresses(&[1]));
    rounds(&mut worker, &mut heard, 1);
    assert!(worker.is_coming(id) && heard.all.is_empty(), "it is being connected");
    worker.net_mut().set(1, Connecting::Stands);
    news(&mut worker, id, &mut heard);
    assert_eq!(heard.all, [format!("{id} opened")]);
    assert_eq!(worker.net().sent, b"hi there", "what was asked before it stood");
    assert!(!worker.is_coming(id));
}

#[test]
fn w6_addresses_are_tried_in_order_and_the_last_error_counts() {
    let (mut worker, mut heard) = worker();
    let id = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    for last in [1, 2] {
        worker.net_mut().set(last, Connecting::Failed);
    }
    worker.on_resolved(id, addresses(&[1, 2, 3]));
    rounds(&mut worker, &mut heard, 0);
    assert_eq!(worker.net().tried, [1, 2, 3]);
    worker.net_mut().set(3, Connecting::Stands);
    news(&mut worker, id, &mut heard);
    assert_eq!(heard.all, [format!("{id} opened")]);

    // The second time nobody answers.
    worker.net_mut().set(3, Connecting::Failed);
    let again = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    worker.on_resolved(again, addresses(&[1, 3]));
    rounds(&mut worker, &mut heard, 1);
    assert_eq!(heard.all[1..], [format!("{again} failed"), format!("{again} closed")]);
    assert_eq!(heard.reasons, [Reason::Transport(TransportError::Refused)]);
    assert!(heard.errors[0].to_string().contains("10.0.0.3:25: connection refused"), "{}", heard.errors[0]);
    assert_eq!(worker.net().released, 4, "every socket that was given up is closed");
}

#[test]
fn w6_each_address_has_an_equal_share_of_the_time_that_is_left() {
    let (mut worker, mut heard) = worker();
    let target = name("a").within(Duration::from_millis(1000));
    let id = worker.connect(target, Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 100);
    worker.on_resolved(id, addresses(&[1, 2, 3]));
    rounds(&mut worker, &mut heard, 100);
    for (now, tried) in
        [(399, vec![1]), (400, vec![1, 2]), (699, vec![1, 2]), (700, vec![1, 2, 3]), (999, vec![1, 2, 3])]
    {
        rounds(&mut worker, &mut heard, now);
        assert_eq!(worker.net().tried, tried, "at {now} ms");
        assert!(heard.all.is_empty());
    }
    rounds(&mut worker, &mut heard, 1000);
    assert_eq!(heard.all, [format!("{id} failed"), format!("{id} closed")]);
    assert_eq!(heard.reasons, [Reason::Transport(TransportError::TimedOut)]);
    assert!(heard.errors[0].to_string().contains("a:25: nobody answered within 1s"), "{}", heard.errors[0]);
    assert!(worker.is_done());
}

#[test]
fn w6_look_up_that_never_answers_ends_at_the_deadline() {
    let (mut worker, mut heard) = worker();
    let names = ["a", "b", "c", "d", "waits for one of these"];
    for host in names {
        worker.connect(name(host).within(Duration::from_millis(50)), Connection::new(Talk)).unwrap();
    }
    rounds(&mut worker, &mut heard, 49);
    assert_eq!((worker.len(), worker.net().asked.len()), (5, 4));
    rounds(&mut worker, &mut heard, 50);
    assert_eq!(heard.reasons, vec![Reason::Transport(TransportError::TimedOut); 5]);
    assert!(worker.is_done(), "answers that may still come keep nobody alive");
}

#[test]
fn w6_deadline_of_the_configuration_holds_for_an_address_too() {
    let config = Config { connect_timeout: Duration::from_millis(50), ..Config::default() };
    let (mut worker, mut heard): (Loop, _) = (Rounds::new(Town::default(), config, || {}), Heard::default());
    let id = worker.connect(town::address(1), Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 49);
    assert!(worker.is_coming(id));
    rounds(&mut worker, &mut heard, 50);
    assert_eq!(heard.reasons, [Reason::Transport(TransportError::TimedOut)]);
}

#[test]
fn fault_58_connection_that_stands_counts_though_its_deadline_is_over() {
    let (mut worker, mut heard) = worker();
    let id = worker.connect(town::address(1), Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 0);
    // A pause of the whole process; the poller has not said so yet.
    worker.net_mut().set(1, Connecting::Stands);
    rounds(&mut worker, &mut heard, 3_600_000);
    assert_eq!(heard.all, [format!("{id} opened")]);
}

#[test]
fn w6_late_answer_for_nobody_is_dropped_and_makes_room_for_others() {
    let (mut worker, mut heard) = worker();
    let ids: Vec<Id> = (0..6).map(|n| worker.connect(name(&n.to_string()), Connection::new(Talk)).unwrap()).collect();
    assert_eq!(worker.net().asked.len(), 4, "so many at a time");
    worker.abort(ids[0]);
    worker.abort(ids[4]);
    rounds(&mut worker, &mut heard, 0);
    assert_eq!(heard.reasons, [Reason::Aborted, Reason::Aborted]);
    assert!(heard.errors.is_empty(), "nothing has failed: it was asked for");
    assert_eq!(worker.net().asked.len(), 4, "what hangs in a resolver still holds its thread");

    // Its place in the table has been taken meanwhile.
    let stranger = worker.connect(town::address(9), Connection::new(Talk)).unwrap();
    worker.on_resolved(ids[0], addresses(&[1]));
    rounds(&mut worker, &mut heard, 1);
    assert_eq!(worker.net().tried, [9], "for the stranger alone");
    assert_eq!(worker.net().asked.last(), Some(&(ids[5], "5:25".to_owned())), "the one before was aborted");
    assert!(worker.is_coming(stranger));
}

#[test]
fn w6_names_that_wait_are_bounded_and_who_gave_up_takes_no_place() {
    let (mut worker, mut heard) = worker();
    let ids: Vec<Id> = (0..4 + 1024).map(|_| worker.connect(name("a"), Connection::new(Talk)).unwrap()).collect();
    let late = worker.connect(name("late"), Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 0);
    assert_eq!(heard.all, [format!("{late} failed"), format!("{late} closed")]);
    assert!(matches!(&heard.errors[..], [ConnectError::TooManyNames { .. }]), "{:?}", heard.errors);
    worker.abort(ids[1000]);
    rounds(&mut worker, &mut heard, 1);
    let next = worker.connect(name("next"), Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 2);
    assert!(worker.is_coming(next));
}

#[test]
fn w6_name_that_is_not_found_is_told_in_words_and_a_callback_may_try_another() {
    let (mut worker, mut heard) = worker();
    let id = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    heard.next = Some(name("b"));
    worker.on_resolved(id, Err(io::Error::other("Name or service not known")));
    rounds(&mut worker, &mut heard, 0);
    assert_eq!(heard.all, [format!("{id} failed"), format!("{id} closed")]);
    assert_eq!(heard.reasons, [Reason::Transport(TransportError::Unresolved)]);
    let words = heard.errors[0].to_string();
    assert!(words.contains("a:25") && words.contains("check the name"), "{words}");
    let (other, host) = worker.net().asked[1].clone();
    assert_eq!(host, "b:25");
    worker.on_resolved(other, addresses(&[]));
    rounds(&mut worker, &mut heard, 1);
    assert!(heard.errors[1].to_string().contains("it has no address"), "{}", heard.errors[1]);
}

#[test]
fn w6_others_are_served_while_a_name_is_looked_up() {
    let (mut worker, mut heard) = worker();
    let slow = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    let other = worker.add(town::address(1), Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 0);
    worker.net_mut().input = b"tick".to_vec();
    worker.on_news(other, News { read: true, ..News::default() }, &mut heard);
    assert_eq!(heard.all, [format!("{other} tick")]);
    assert!(worker.is_coming(slow));
}

#[test]
fn w6_close_waits_for_the_connection_and_abort_does_not() {
    let (mut worker, mut heard) = worker();
    let closed = worker.connect(town::address(1), Connection::new(Talk)).unwrap();
    let aborted = worker.connect(town::address(2), Connection::new(Talk)).unwrap();
    worker.handle(closed).expect("it is there").close();
    worker.handle(aborted).expect("it is there").abort();
    rounds(&mut worker, &mut heard, 0);
    assert_eq!(heard.all, [format!("{aborted} closed")]);
    worker.net_mut().set(1, Connecting::Stands);
    news(&mut worker, closed, &mut heard);
    assert_eq!(worker.net().sent, b"hi ", "it is owed to the peer before the close");
}

#[test]
fn w6_shutdown_gives_up_on_what_does_not_stand_unless_something_waits_for_it() {
    let (mut worker, mut heard) = worker();
    let idle = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    let busy = worker.connect(name("b"), Connection::new(Talk)).unwrap();
    worker.send(busy, b"x".to_vec()).unwrap();
    rounds(&mut worker, &mut heard, 0);
    worker.shutdown();
    rounds(&mut worker, &mut heard, 1);
    assert_eq!(heard.all, [format!("{idle} closed")]);
    assert!(worker.is_coming(busy));
    worker.net_mut().set(1, Connecting::Stands);
    worker.on_resolved(busy, addresses(&[1]));
    rounds(&mut worker, &mut heard, 2);
    assert_eq!(worker.net().sent, b"hi x", "what it was kept for is done");
}

#[test]
fn w6_driver_that_is_dropped_reports_what_does_not_stand() {
    let (mut worker, mut heard) = worker();
    let id = worker.connect(name("a"), Connection::new(Talk)).unwrap();
    let trying = worker.connect(town::address(1), Connection::new(Talk)).unwrap();
    rounds(&mut worker, &mut heard, 0);
    worker.end(&mut heard);
    assert_eq!(heard.all, [format!("{id} closed"), format!("{trying} closed")]);
    assert_eq!(worker.net().released, 1);
}

#[test]
fn w6_address_that_cannot_be_tried_at_all_is_an_error_of_the_call() {
    let (mut worker, _) = worker();
    let error = worker.connect(Address::Unix(None), Connection::new(Talk)).unwrap_err();
    assert!(error.to_string().contains("unix:(unnamed)"), "{error}");
    assert!(worker.is_empty());
}
