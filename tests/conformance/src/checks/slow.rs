//! Slow peers: those that keep a message open for ever, and those that are slow and
//! honest (W5; FAULTS 1, 2, 3).

use super::deadlines::slow_reader_gets_all;
use crate::noise::assert_same;
use crate::peer::{Peer, read_end, read_line, read_n, read_reset, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::Talk;
use drywire_core::{Connection, Context, Failure, Limit, Limits, Protocol, Reason, Reply, Stop};
use drywire_protocols::LineEcho;
use std::convert::Infallible;
use std::io::Write as _;
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

/// Says `what` again and again until nobody listens, or for half a minute.
fn drip(peer: &Peer, what: &'static [u8], every: Duration) -> thread::JoinHandle<()> {
    let mut peer = peer.second();
    thread::spawn(move || {
        let give_up = Instant::now() + Duration::from_secs(30);
        while Instant::now() < give_up && peer.write_all(what).is_ok() {
            thread::sleep(every);
        }
    })
}

/// The last words arrive, though the peer goes on.
pub fn fault_1_line_that_never_ends_is_ended_at_its_deadline<S: Subject>() {
    let limits = Limits { message_ms: 700, linger_ms: 500, ..PATIENT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let start = Instant::now();
    let (number, mut peer) = stage.known_peer();
    let dripping = drip(&peer, b"x", Duration::from_millis(50));
    assert_same(&read_end(&mut peer), b"error: message not whole within 700 ms\n");
    assert!(start.elapsed() >= Duration::from_millis(690), "too early: {:?}", start.elapsed());
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Message(700)));
    dripping.join().expect("it only writes");
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
    let limits = Limits { min_rate: 2000, rate_ms: 600, linger_ms: 500, ..PATIENT };
    let stage = Stage::<S, Letter>::serve(move || Connection::new(Letter::default()).with_limits(limits));
    let start = Instant::now();
    let (number, mut peer) = stage.known_peer();
    let dripping = drip(&peer, b"x", Duration::from_millis(50));
    assert_same(&read_end(&mut peer), b"message slower than 2000 bytes per second\n");
    assert!(start.elapsed() >= Duration::from_millis(590), "too early: {:?}", start.elapsed());
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Rate(2000)));
    dripping.join().expect("it only writes");
}

/// It takes several times what it may fall behind, and is faster than it must be.
pub fn fault_2_body_above_the_rate_is_taken_however_long_it_takes<S: Subject>() {
    let limits = Limits { min_rate: 50, rate_ms: 1000, ..PATIENT };
    let stage = Stage::<S, Letter>::serve(move || Connection::new(Letter::default()).with_limits(limits));
    let mut peer = stage.peer();
    for _ in 0..60 {
        send(&mut peer, &[b'x'; 100]);
        thread::sleep(Duration::from_millis(50));
    }
    send(&mut peer, b".");
    assert_eq!(read_line(&mut peer), "6000\n");
}

/// A few bytes at a time are progress, and too little of it.
pub fn fault_2_slow_reader_of_a_big_answer_is_cut<S: Subject>() {
    const OWED: usize = 2 << 20;
    let limits = Limits { min_rate: 1 << 20, rate_ms: 600, output_bytes: 4 << 20, ..PATIENT };
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, move || Connection::new(Talk).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\n").as_bytes());
    let mut got = Vec::new();
    while stage.scene.look(|seen| seen[number].reports.is_empty()) {
        assert!(got.len() < OWED / 4, "nobody stops it");
        got.extend(read_n(&mut peer, 100));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stage.report(number).reason, Reason::Stalled);
    got.extend(read_reset(&mut peer));
    Talk::noise().assert_at(0, &got);
}

/// Fifty times the rate, for three times what it may fall behind.
pub fn fault_3_slow_reader_above_the_rate_is_not_cut<S: Subject>() {
    let limits = Limits { min_rate: 2000, rate_ms: 1000, output_bytes: 4 << 20, ..PATIENT };
    slow_reader_gets_all::<S>(limits, Duration::from_millis(3000));
}

/// The answer, a clean end, and the bound that was met in the report; not before time.
pub fn w5_peer_that_never_says_a_byte_is_told_so_and_closed<S: Subject>() {
    let limits = Limits { first_byte_ms: 300, ..PATIENT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let start = Instant::now();
    let (number, mut peer) = stage.known_peer();
    assert_same(&read_end(&mut peer), b"error: nothing said for 300 ms\n");
    assert!(start.elapsed() >= Duration::from_millis(290), "too early: {:?}", start.elapsed());
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::FirstByte(300)));
}

/// Between messages there is no deadline but the one for idling, which is off here.
pub fn w5_peer_that_has_said_a_line_may_be_silent<S: Subject>() {
    let limits = Limits { first_byte_ms: 1000, message_ms: 1000, min_rate: 50, rate_ms: 1000, ..PATIENT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let mut peer = stage.peer();
    send(&mut peer, b"one\n");
    assert_eq!(read_line(&mut peer), "one\n");
    thread::sleep(Duration::from_millis(2500));
    send(&mut peer, b"two\n");
    assert_eq!(read_line(&mut peer), "two\n");
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
