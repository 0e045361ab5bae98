//! Slow peers: those that keep a message open for ever, and those that are slow and
//! honest (W5; FAULTS 1, 2, 3).

use super::deadlines::slow_reader_gets_all;
use crate::noise::assert_same;
use crate::pace::honest;
use crate::peer::{Peer, read_end, read_line, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::Talk;
use drywire_core::{Connection, Context, Failure, Limit, Limits, Protocol, Reason, Reply, Stop};
use drywire_protocols::LineEcho;
use std::convert::Infallible;
use std::io::{ErrorKind, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing but what a check is about ends a connection.
const PATIENT: Limits = Limits {
    idle_ms: Limits::NEVER,
    stall_ms: Limits::NEVER,
    first_byte_ms: Limits::NEVER,
    message_ms: Limits::NEVER,
    min_rate: Limits::NEVER,
    ..Limits::DEFAULT
};

/// Says a byte again and again while it reads to a clean end, and for a while behind that.
#[track_caller]
fn read_end_while_dripping(peer: &mut Peer) -> Vec<u8> {
    let (mut dripping, stop) = (peer.second(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) && dripping.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        let got = catch_unwind(AssertUnwindSafe(|| read_end(peer)));
        stop.store(true, Ordering::Relaxed);
        got.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Lingering ends when the peer does: for one that reads the last words late, on a machine that has
/// no time for it, what it said after a shorter one would destroy them.
const LINGER_MS: u32 = 60_000;

/// The last words arrive, though the peer goes on.
pub fn fault_1_line_that_never_ends_is_ended_at_its_deadline<S: Subject>() {
    let limits = Limits { message_ms: 700, linger_ms: LINGER_MS, ..PATIENT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let start = Instant::now();
    let (number, mut peer) = stage.known_peer();
    assert_same(&read_end_while_dripping(&mut peer), b"error: message not whole within 700 ms\n");
    assert!(start.elapsed() >= Duration::from_millis(690), "too early: {:?}", start.elapsed());
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Message(700)));
}

/// The last byte does not come: of a line, or of the record that it is in.
pub fn fault_1_last_byte_of_a_message_is_not_waited_for<S: Subject>() {
    let limits = Limits { message_ms: 700, linger_ms: 500, ..PATIENT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let (number, mut peer) = stage.known_peer();
    send(&mut peer, b"a line\n");
    assert_eq!(read_line(&mut peer), "a line\n");
    peer.say_all_but_a_byte(b"another\n").expect("it is let in");
    assert_same(&read_end(&mut peer), b"error: message not whole within 700 ms\n");
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Message(700)));
}

/// Output waits for it, which is no stall; and the end is no reset.
pub fn fault_3_peer_that_makes_no_handshake_is_not_waited_for<S: Subject>() {
    let limits = Limits { first_byte_ms: 700, stall_ms: 300, linger_ms: 500, ..PATIENT };
    let stage = Stage::<S, Greeter>::serve(move || Connection::new(Greeter).with_limits(limits));
    let (number, peer) = stage.known_stranger();
    let said = peer.read_wire_to_end().expect("a clean end");
    let report = stage.report(number);
    if S::IS_TLS {
        assert_eq!((report.reason, report.counters.unsent), (Reason::Limit(Limit::Handshake(700)), 10));
        assert_eq!(said.first(), Some(&21), "an alert");
    } else {
        assert_eq!(report.reason, Reason::Limit(Limit::FirstByte(700)));
        assert!(said.starts_with(b"a greeting"));
    }
}

/// A second is nothing to a deadline of twenty, and each line has one of its own.
pub fn fault_1_slow_lines_within_their_deadline_are_served<S: Subject>() {
    let limits = Limits { message_ms: 20_000, ..PATIENT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let mut peer = stage.peer();
    for _ in 0..2 {
        for _ in 0..10 {
            send(&mut peer, b"x");
            thread::sleep(Duration::from_millis(50));
        }
        send(&mut peer, b"\n");
        assert_eq!(read_line(&mut peer), "xxxxxxxxxx\n");
    }
}

/// 20 bytes a second, where it has to be 2000.
pub fn fault_2_slow_body_is_cut<S: Subject>() {
    let limits = Limits { min_rate: 2000, rate_ms: 600, linger_ms: LINGER_MS, ..PATIENT };
    let stage = Stage::<S, Letter>::serve(move || Connection::new(Letter::default()).with_limits(limits));
    let start = Instant::now();
    let (number, mut peer) = stage.known_peer();
    assert_same(&read_end_while_dripping(&mut peer), b"message slower than 2000 bytes per second\n");
    assert!(start.elapsed() >= Duration::from_millis(590), "too early: {:?}", start.elapsed());
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Rate(2000)));
}

/// It takes several times what it may fall behind, and is faster than it must be.
pub fn fault_2_body_above_the_rate_is_taken_however_long_it_takes<S: Subject>() {
    honest(500, |pace| {
        let limits = Limits { min_rate: 50, rate_ms: pace.ms(1000), ..PATIENT };
        let stage = Stage::<S, Letter>::serve(move || Connection::new(Letter::default()).with_limits(limits));
        let mut peer = stage.peer();
        for _ in 0..60 {
            send(&mut peer, &[b'x'; 100]);
            thread::sleep(pace.time(50));
            pace.step();
        }
        send(&mut peer, b".");
        pace.rest();
        assert_eq!(read_line(&mut peer), "6000\n");
    });
}

/// A few bytes at a time are progress, and too little of it.
pub fn fault_2_slow_reader_of_a_big_answer_is_cut<S: Subject>() {
    const OWED: usize = 2 << 20;
    let limits = Limits { min_rate: 1 << 20, rate_ms: 600, output_bytes: 4 << 20, ..PATIENT };
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, move || Connection::new(Talk).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\n").as_bytes());
    let (mut got, mut slot) = (Vec::new(), [0; 100]);
    let error = loop {
        assert!(got.len() < OWED / 4, "nobody stops it");
        match peer.read(&mut slot) {
            Ok(n) => got.extend_from_slice(&slot[..n]),
            Err(error) => break error,
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert_eq!(stage.report(number).reason, Reason::Stalled);
    Talk::noise().assert_at(0, &got);
}

/// Fifty times the rate, for three times what it may fall behind.
pub fn fault_3_slow_reader_above_the_rate_is_not_cut<S: Subject>() {
    honest(100, |pace| {
        let limits = Limits { min_rate: 2000, rate_ms: pace.ms(1000), output_bytes: 4 << 20, ..PATIENT };
        slow_reader_gets_all::<S>(pace, limits, pace.time(3000));
    });
}

/// The answer, a clean end, and the bound that was met in the report; not before time.
pub fn w5_peer_that_never_says_a_byte_is_told_so_and_closed<S: Subject>() {
    honest(300, |pace| {
        let first_byte_ms = pace.ms(300);
        let limits = Limits { first_byte_ms, ..PATIENT };
        let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
        let start = Instant::now();
        // Silent as it is, it has to be in time with its handshake.
        let (number, mut peer) = stage.known_peer();
        pace.rest();
        assert_same(&read_end(&mut peer), format!("error: nothing said for {first_byte_ms} ms\n").as_bytes());
        assert!(start.elapsed() >= pace.time(290), "too early: {:?}", start.elapsed());
        drop(peer);
        assert_eq!(stage.report(number).reason, Reason::Limit(Limit::FirstByte(first_byte_ms)));
    });
}

/// Between messages there is no deadline but the one for idling, which is off here.
pub fn w5_peer_that_has_said_a_line_may_be_silent<S: Subject>() {
    honest(1000, |pace| {
        let all = pace.ms(1000);
        let limits = Limits { first_byte_ms: all, message_ms: all, min_rate: 50, rate_ms: all, ..PATIENT };
        let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
        let mut peer = stage.peer();
        send(&mut peer, b"one\n");
        assert_eq!(read_line(&mut peer), "one\n");
        pace.sleep(pace.time(2500));
        send(&mut peer, b"two\n");
        assert_eq!(read_line(&mut peer), "two\n");
    });
}

/// Speaks first, and hears nothing.
#[derive(Debug)]
struct Greeter;

impl Protocol for Greeter {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(b"a greeting")
    }

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }
}

/// A message of any length that ends with a full stop; the answer is its length in bytes.
/// It is taken as it comes, in parts.
#[derive(Debug, Default)]
struct Letter {
    bytes: usize,
}

impl Protocol for Letter {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'.') else {
            cx.unfinished();
            self.bytes += input.len();
            return Ok(input.len());
        };
        writeln!(cx, "{}", self.bytes + end)?;
        self.bytes = 0;
        Ok(end + 1)
    }

    fn error_reply(&self, why: &Failure<Infallible>, reply: &mut Reply<'_>) {
        writeln!(reply, "{why}");
    }
}
