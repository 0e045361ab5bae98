//! What an application hears and when, what it may do then, and what a panic in it ends
//! (row W4, FAULTS 57, 58, 59, 60, 61).

use crate::hands::{Hands, Heard};
use crate::pace::honest;
use crate::peer::{Peer, is_over, read_end, read_n, read_reset, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::Talk;
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_server::{Address, Id};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What was heard, in words and in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn look<T>(&self, look: impl FnOnce(&[String]) -> T) -> T {
        // A hook may panic, but not with the log in its hand.
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, front: &str) -> usize {
        self.look(|log| log.iter().filter(|told| told.starts_with(front)).count())
    }

    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }
}

/// A server whose callbacks are noted, and then do this.
#[track_caller]
fn serve<S: Subject>(
    options: Options,
    mut then: impl FnMut(&mut dyn Hands<Talk>, &Heard<'_, Talk>) + Send + 'static,
) -> (Stage<S, Talk>, Log) {
    let log = Log::default();
    let noted = log.clone();
    let hook = Box::new(move |hands: &mut dyn Hands<Talk>, heard: &Heard<'_, Talk>| {
        noted.note(format!("{heard:?}"));
        then(hands, heard);
    });
    // Longer than the kernel waits (200 ms) before it says again what was lost: narrow sockets that
    // are closed at both ends at once drop each other's end.
    let limits = Limits { output_bytes: 8 << 20, linger_ms: 1000, ..Talk::LIMITS };
    (Stage::serve_heard(options, move || Connection::new(Talk).with_limits(limits), hook), log)
}

/// The server still answers this peer.
#[track_caller]
fn still_answers(peer: &mut Peer) {
    send(peer, b"owe 5\n");
    assert_eq!(read_n(peer, 5), Talk::noise().bytes(5));
}

/// In a handler, with half an answer written: nothing of that is sent.
pub fn fault_59_panic_in_a_handler_ends_that_connection_alone<S: Subject>() {
    let (stage, log) = serve::<S>(Options::default(), |_, _| {});
    let (_, mut other) = stage.known_peer();
    still_answers(&mut other);
    for round in 1..=3 {
        let (number, mut peer) = stage.known_peer();
        still_answers(&mut peer);
        send(&mut peer, b"panic\n");
        assert_eq!(read_reset(&mut peer), b"", "nothing of the call that panicked");
        assert_eq!(stage.report(number).reason, Reason::Panicked);
        stage.wait("its end", |_| log.count("closed") == round);
        still_answers(&mut other);
    }
    assert_eq!(log.count("event"), 0, "what the call said is taken back");
}

/// In each callback that is about one connection.
pub fn fault_59_panic_in_a_callback_ends_the_connection_it_is_about<S: Subject>() {
    for what in ["opened", "event", "written out"] {
        let (mut armed, mut other) = (false, None);
        let (stage, log) = serve::<S>(Options::default(), move |_, heard| {
            let heard = format!("{heard:?}");
            // The first connection is the other one, and what it owed may be written out late.
            let id = heard.strip_prefix("opened ").map(str::to_owned);
            other = other.take().or(id);
            let is_other = heard.split(' ').any(|word| Some(word) == other.as_deref());
            armed |= heard.contains("from now on");
            assert!(!(armed && heard.starts_with(what) && !is_other), "on purpose");
        });
        let (_, mut other) = stage.known_peer();
        still_answers(&mut other);
        send(&mut other, b"from now on\n");
        stage.wait("the word", |_| log.count("event") == 1);
        // It may be cut before it has said anything, or knows that it is connected.
        if let Ok(stream) = TcpStream::connect(stage.tcp()) {
            let mut peer = Peer::connected::<S>(stream);
            let _ = peer.write_all(b"hello\nowe 5\n");
            // What was written before may have arrived.
            while !is_over(&mut peer) {}
        }
        stage.wait("the accept", |seen| seen.len() == 2);
        assert_eq!(stage.report(1).reason, Reason::Panicked, "{what}");
        stage.wait("the end", |_| log.count("closed") == 1);
        send(&mut other, b"bye\n");
        assert_eq!(read_end(&mut other), b"", "{what}: the other one is served");
    }
}

/// That one is never let in; the next is.
pub fn fault_59_panic_in_accept_turns_that_peer_away<S: Subject>() {
    let mut first = true;
    let (stage, log) = serve::<S>(Options::default(), move |_, heard| {
        let panics = matches!(heard, Heard::Accept) && std::mem::take(&mut first);
        assert!(!panics, "on purpose");
    });
    let mut turned_away = stage.peer();
    while !is_over(&mut turned_away) {}
    let (_, mut peer) = stage.known_peer();
    still_answers(&mut peer);
    assert_eq!((log.count("accept"), log.count("opened"), log.count("closed")), (2, 1, 0));
}

/// In `closed` the connection has gone already; in the others there is none.
pub fn fault_59_panic_in_another_callback_ends_that_call_alone<S: Subject>() {
    let options = Options { tick: Some(Duration::from_millis(5)), ..Options::default() };
    let (mut stage, log) = serve::<S>(options, |hands, heard| {
        if matches!(heard, Heard::Started) {
            hands.repeat_timer("beat", Duration::from_millis(5));
        }
        let is_about_one = matches!(heard, Heard::Accept | Heard::Opened(_) | Heard::Event(..) | Heard::WrittenOut(_));
        assert!(is_about_one, "on purpose");
    });
    stage.wait("two ticks and two beats", |_| log.count("tick") > 1 && log.count("timer") > 1);
    let (_, mut first) = stage.known_peer();
    send(&mut first, b"bye\n");
    assert_eq!(read_end(&mut first), b"");
    drop(first);
    stage.wait("the end of the first", |_| log.count("closed") == 1);
    let (_, mut second) = stage.known_peer();
    still_answers(&mut second);
    drop(second);
    stage.shutdown();
    stage.join();
    assert_eq!((log.count("started"), log.count("stopped"), log.count("closed")), (1, 1, 2));
}

/// Twice, with more input behind; what was sent before arrives.
pub fn fault_60_connection_that_closes_itself_in_a_callback_flushes_and_ends_once<S: Subject>() {
    let (stage, log) = serve::<S>(Options::default(), |hands, heard| match heard {
        Heard::Event(id, word) if *word == "bye-bye" => {
            assert_eq!(hands.send(*id, b"you are heard\n".into()), Ok(()));
            hands.close(*id);
            hands.close(*id);
            assert!(hands.send(*id, b"late".into()).is_err());
            assert!(hands.has(*id), "deferred");
        }
        Heard::Closed(id, _) => {
            assert!(hands.send(*id, b"late".into()).is_err() && !hands.has(*id));
            hands.close(*id);
            hands.abort(*id);
        }
        Heard::Started
        | Heard::Stopped
        | Heard::Accept
        | Heard::Opened(_)
        | Heard::Event(..)
        | Heard::WrittenOut(_)
        | Heard::Notice(_)
        | Heard::Tick
        | Heard::Timer(_) => {}
    });
    let (number, mut peer) = stage.known_peer();
    send(&mut peer, b"bye-bye\nin the same breath\n");
    assert_eq!(read_end(&mut peer), b"you are heard\n");
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Requested);
    stage.wait("its end", |_| log.count("closed") == 1);
}

/// Those that are closed have news in the same round.
pub fn fault_61_closing_all_others_in_a_callback_is_safe<S: Subject>() {
    const PEERS: usize = 20;
    let mut ids: Vec<Id> = Vec::new();
    let (stage, log) = serve::<S>(Options::default(), move |hands, heard| match heard {
        Heard::Opened(id) => ids.push(*id),
        Heard::Event(id, _) => ids.iter().filter(|other| *other != id).for_each(|other| hands.abort(*other)),
        Heard::Started
        | Heard::Stopped
        | Heard::Accept
        | Heard::Closed(..)
        | Heard::WrittenOut(_)
        | Heard::Notice(_)
        | Heard::Tick
        | Heard::Timer(_) => {}
    });
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| stage.known_peer().1).collect();
    for peer in &mut peers {
        // One that is cut already hears of it here.
        let _ = peer.write_all(b"only one\n");
    }
    stage.wait("all others", |_| log.count("closed") >= PEERS - 1);
    stage.scene.look(|seen| {
        for report in seen.iter().flat_map(|seen| &seen.reports) {
            assert_eq!(report.reason, Reason::Aborted);
        }
    });
    let (_, mut late) = stage.known_peer();
    still_answers(&mut late);
}

/// A connection to ourselves, made when another one ends, and used at once.
pub fn fault_61_connection_added_in_a_callback_is_served<S: Subject>() {
    let target: Arc<Mutex<Option<Address>>> = Arc::default();
    let known = target.clone();
    let (stage, log) = serve::<S>(Options::default(), move |hands, heard| {
        if let Heard::Closed(..) = heard
            && let Some(address) = known.lock().expect("nobody panics with it").take()
        {
            let id = hands.connect(&address, Connection::new(Talk)).expect("it begins");
            assert_eq!(hands.send(id, b"hello from inside\n".into()), Ok(()));
        }
    });
    *target.lock().expect("nobody panics with it") = Some(stage.address.clone());
    drop(stage.peer());
    stage.wait("its words", |_| log.look(|log| log.iter().any(|told| told.contains("hello from inside"))));
    // Both ends of it are ours, and go when we go.
    stage.shutdown();
}

/// Once each, first and last, whatever else there is.
pub fn w4_started_comes_first_and_stopped_last<S: Subject>() {
    let (mut stage, log) = serve::<S>(Options::default(), |_, _| {});
    let (_, mut peer) = stage.known_peer();
    send(&mut peer, b"hello\n");
    stage.wait("the word", |_| log.count("event") == 1);
    stage.shutdown();
    assert_eq!(read_end(&mut peer), b"");
    drop(peer);
    stage.join();
    let words = log.look(<[String]>::to_vec);
    let order: Vec<&str> = words.iter().map(|told| told.split(' ').next().expect("a word")).collect();
    assert_eq!(order, ["started", "accept", "opened", "event", "ShutdownBegan", "closed", "stopped"], "{words:?}");
}

/// The tick and a beat go on; a timer that is set again moves, a cancelled one is silent.
pub fn w4_tick_and_named_timers_come_when_they_are_due<S: Subject>() {
    let options = Options { tick: Some(Duration::from_millis(2)), ..Options::default() };
    let mut beats = 0;
    let (stage, log) = serve::<S>(options, move |hands, heard| match heard {
        Heard::Started => {
            hands.set_timer("late", Duration::from_millis(60));
            hands.set_timer("soon", Duration::from_millis(10));
            hands.set_timer("moved", Duration::ZERO);
            hands.set_timer("moved", Duration::from_millis(30));
            hands.set_timer("cancelled", Duration::from_millis(20));
            assert!(hands.cancel_timer("cancelled") && !hands.cancel_timer("cancelled"));
            hands.repeat_timer("beat", Duration::from_millis(3));
        }
        Heard::Timer("beat") => {
            beats += 1;
            if beats == 5 {
                assert!(hands.cancel_timer("beat"));
            }
        }
        Heard::Stopped
        | Heard::Accept
        | Heard::Opened(_)
        | Heard::Event(..)
        | Heard::WrittenOut(_)
        | Heard::Closed(..)
        | Heard::Notice(_)
        | Heard::Tick
        | Heard::Timer(_) => {}
    });
    stage.wait("the last timer, and the beats", |_| log.count("timer late") == 1 && log.count("timer beat") == 5);
    let ticks = log.count("tick");
    stage.wait("more ticks", |_| log.count("tick") >= ticks + 5);
    let named = log.look(|log| {
        let named = log.iter().filter(|told| told.starts_with("timer ") && *told != "timer beat");
        named.cloned().collect::<Vec<_>>()
    });
    assert_eq!(named, ["timer soon", "timer moved", "timer late"]);
    assert_eq!(log.count("timer beat"), 5, "a cancelled beat is silent");
}

/// Not while anything is owed, and once when nothing is any more.
pub fn w4_written_out_comes_when_the_last_owed_byte_is_taken<S: Subject>() {
    const OWED: usize = 4 << 20;
    let (stage, log) = serve::<S>(Options::NARROW, |_, _| {});
    let (_, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\nhello\n").as_bytes());
    stage.wait("the word behind it", |_| log.count("event") == 1);
    read_n(&mut peer, OWED / 2);
    assert_eq!(log.count("written out"), 0, "half of it is still ours");
    read_n(&mut peer, OWED / 2);
    stage.wait("that all is taken", |_| log.count("written out") == 1);
    // One answer at a time, one call at a time.
    still_answers(&mut peer);
    stage.wait("the next one", |_| log.count("written out") == 2);
}

/// A connection of ours that nobody takes: a notice in words, then its end.
pub fn w4_connection_of_ours_that_never_stood_is_a_notice<S: Subject>() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (stage, log) = serve::<S>(Options::default(), move |hands, heard| {
        if matches!(heard, Heard::Started) {
            hands.connect(&Address::Tcp(free), Connection::new(Talk)).expect("it begins");
        }
    });
    stage.wait("its end", |_| log.count("closed") == 1);
    log.look(|log| {
        let [started, notice, closed] = log else { panic!("{log:?}") };
        assert_eq!(started, "started");
        assert!(notice.contains("ConnectFailed") && notice.contains(&free.to_string()), "{notice}");
        assert!(notice.contains("refused") && closed.contains("Refused"), "{notice}, {closed}");
    });
}

/// The report of a shutdown names who was cut, and nobody else.
pub fn fault_57_drain_report_names_who_was_cut<S: Subject>() {
    const OWED: u64 = 4 << 20;
    honest(1500, |pace| {
        pace.rest();
        let options = Options { drain_timeout: pace.time(1500), ..Options::NARROW };
        let report = Arc::new(Mutex::new(None));
        let kept = report.clone();
        let (mut stage, _) = serve::<S>(options, move |hands, heard| {
            if matches!(heard, Heard::Stopped) {
                *kept.lock().expect("nobody panics with it") = hands.drain_report().cloned();
            }
        });
        let (_, mut idle) = stage.known_peer();
        let (deaf, mut deaf_peer) = stage.known_narrow_peer();
        still_answers(&mut idle);
        send(&mut deaf_peer, format!("owe {OWED}\nhello\n").as_bytes());
        stage.wait("the word behind it", |seen| seen[deaf].events.len() == 1);
        pace.step();
        stage.shutdown();
        assert_eq!(read_end(&mut idle), b"");
        drop(idle);
        pace.rest();
        stage.join();
        let report = report.lock().expect("nobody panicked with it").take().expect("there was a shutdown");
        let [cut] = &report.cut[..] else { panic!("{report:?}") };
        assert_eq!((report.open, report.finished, report.unnamed), (2, 1, 0));
        assert_eq!(cut.peer, deaf_peer.local_address());
        Stage::<S, Talk>::assert_counted(cut.sent + cut.unsent, OWED);
        assert_eq!(cut.reason, "aborted");
        let counters = stage.report(deaf).counters;
        assert_eq!((cut.sent, cut.unsent), (counters.sent, counters.unsent));
        read_reset(&mut deaf_peer);
    });
}

/// No poller was asked since it came.
pub fn fault_57_connection_that_comes_while_a_callback_shuts_down_is_answered<S: Subject>() {
    let (address, late) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(None)));
    let (to, came) = (address.clone(), late.clone());
    let (mut stage, _) = serve::<S>(Options::default(), move |hands, heard| {
        if matches!(heard, Heard::Event(_, event) if *event == "stop") {
            let mut peer = TcpStream::connect(to.get().expect("told before")).expect("the server listens");
            peer.write_all(b"owe 5\n").expect("its buffer is empty");
            *came.lock().expect("no test panics with it") = Some(peer);
            hands.shutdown();
        }
    });
    address.set(stage.tcp()).expect("told once");
    let (_, mut peer) = stage.known_peer();
    send(&mut peer, b"stop\n");
    assert_eq!(read_end(&mut peer), b"");
    drop(peer);
    let mut late = late.lock().expect("no callback panicked with it").take().expect("it came before the end");
    late.set_read_timeout(Some(S::PATIENCE)).expect("a socket");
    let mut answer = Vec::new();
    late.read_to_end(&mut answer).expect("the end, and no reset");
    // Where TLS is spoken these are no words, and the answer is an alert.
    assert!(!answer.is_empty(), "it was not read");
    drop(late);
    stage.join();
}
