//! Who is let in, and what those notice who are in already (FAULTS 24, 25, 26, 83).

use super::line_echo;
use crate::halt::Halt;
use crate::measure::descriptors;
use crate::peer::{Peer, connect, connect_from, read_end, read_line, read_rest, reset, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::suite::say;
use drywire_core::{Connection, Context, Protocol, Stop};
use drywire_protocols::LineEcho;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const REFUSAL: &str = "too busy\n";

fn options() -> Options {
    Options { refusal: REFUSAL, ..Options::default() }
}

#[track_caller]
fn assert_served(peer: &mut Peer) {
    send(peer, b"hello\n");
    assert_eq!(read_line(peer), "hello\n");
}

/// The words come though the peer has said something nobody will read, behind them is
/// an end and not a reset, and who is in notices nothing.
pub fn fault_25_peer_beyond_the_cap_hears_why_and_the_next_is_let_in_when_one_has_gone<S: Subject>() {
    const MOST: usize = 8;
    let stage = Stage::<S, LineEcho>::serve_with(Options { max_connections: MOST, ..options() }, line_echo);
    let mut inside: Vec<_> = (0..MOST).map(|_| stage.known_peer().1).collect();
    for _ in 0..20 {
        assert_refused::<S>(stage.peer());
    }
    inside.iter_mut().for_each(assert_served);
    assert_eq!(stage.commons().connections(), MOST);
    drop(inside.pop());
    stage.wait_for_ends(1);
    inside.push(stage.known_peer().1);
    inside.iter_mut().for_each(assert_served);
    assert_refused::<S>(stage.peer());
    stage.wait("everybody was counted", |_| {
        let stats = stage.commons().stats();
        (stats.accepted, stats.refused_by_connections) == (MOST as u64 + 1, 21)
    });
}

/// It hears why; under TLS, where words would be a broken record, it is only cut off.
#[track_caller]
fn assert_refused<S: Subject>(mut peer: Peer) {
    if S::IS_TLS {
        let (words, error) = read_rest(&mut peer);
        assert!(words.is_empty() && error.is_some(), "{words:?}");
        assert!(error.is_some_and(|error| error.kind() != ErrorKind::InvalidData), "no TLS was spoken");
    } else {
        assert_eq!(read_end(&mut peer), REFUSAL.as_bytes());
    }
}

/// One address has as many as it may have; another one has as many again.
pub fn fault_26_address_that_has_its_share_leaves_the_others_theirs<S: Subject>() {
    const MOST: usize = 4;
    let options = Options { max_connections_per_address: MOST, ..options() };
    let stage = Stage::<S, LineEcho>::serve_with(options, line_echo);
    let from = |last: u8| connect_from::<S>(Ipv4Addr::new(127, 0, 0, last), stage.tcp());
    let mut first: Vec<_> = (0..MOST).map(|_| from(1)).collect();
    first.iter_mut().for_each(assert_served);
    for _ in 0..20 {
        assert_refused::<S>(from(1));
    }
    let mut second: Vec<_> = (0..MOST).map(|_| from(2)).collect();
    second.iter_mut().for_each(assert_served);
    assert_refused::<S>(from(2));
    assert_eq!(stage.commons().addresses(), 2);
    drop(first.pop());
    stage.wait_for_ends(1);
    assert_served(&mut from(1));
    drop((first, second));
    stage.wait("all places came back", |_| (stage.commons().connections(), stage.commons().addresses()) == (0, 0));
    assert_eq!(stage.commons().stats().refused_by_address, 21);
}

/// The line echo, which notes how many had been let in when a line was handled.
struct Noted(Arc<Counts>);

#[derive(Default)]
struct Counts {
    let_in: AtomicUsize,
    at_the_line: AtomicUsize,
    halt: Halt,
}

impl Protocol for Noted {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        cx.write(&input[..=end])?;
        self.0.at_the_line.store(self.0.let_in.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(end + 1)
    }
}

/// Hundreds stand in the queue of the listener, and a line of one that is in stands in its socket:
/// it is handled before most of the others are let in.
pub fn fault_24_peers_are_served_beside_a_flood_of_connections<S: Subject>() {
    const FLOOD: usize = 600;
    /// Two turns of a listener ([`ACCEPTS_PER_TURN`](drywire_server::ACCEPTS_PER_TURN)), as a poller may tell of
    /// the line only behind the next one, and as much again.
    const FAIR: usize = 4 * 64;
    let counts = Arc::new(Counts::default());
    let theirs = counts.clone();
    let make = move || {
        theirs.let_in.fetch_add(1, Ordering::Relaxed);
        theirs.halt.pass();
        Connection::new(Noted(theirs.clone()))
    };
    let stage = Stage::<S, Noted>::serve_with(options(), make);
    let (mut honest, address) = (stage.peer(), stage.tcp());
    assert_served(&mut honest);
    for round in 1..=3 {
        counts.halt.arm();
        let first = connect::<S>(address);
        let stopped = counts.halt.stopped::<S>();
        let flood: Vec<_> = (1..FLOOD).map(|_| connect::<S>(address)).collect();
        send(&mut honest, b"hello\n");
        stage.wait_for_delivery(&[honest.local_port()]);
        let before = counts.let_in.load(Ordering::Relaxed);
        drop(stopped);
        assert_eq!(read_line(&mut honest), "hello\n");
        let between = counts.at_the_line.load(Ordering::Relaxed) - before;
        say(&format!("note: {}: {between} of {FLOOD} were let in before a line was handled", S::NAME));
        assert!(between <= FAIR, "FAULTS 24: {between} were let in before the line of one that is in was handled");
        stage.wait("all are let in", |seen| seen.len() > round * FLOOD);
        flood.into_iter().chain([first]).for_each(reset);
    }
    stage.wait("all are gone but one", |_| stage.commons().connections() == 1);
}

/// Connect, and reset at once: the others are served meanwhile, and what it leaves is nothing.
pub fn fault_83_twenty_thousand_opens_with_resets_leave_nothing_and_cost_the_others_little<S: Subject>() {
    const COUNT: usize = 20_000;
    let stage = Stage::<S, LineEcho>::serve_with(options(), line_echo);
    let (mut lasting, address) = (stage.peer(), stage.tcp());
    assert_served(&mut lasting);
    let (fds, held) = (descriptors(), stage.commons().held_bytes());
    thread::scope(|scope| {
        let flood = scope.spawn(|| (0..COUNT).for_each(|_| reset(connect::<S>(address))));
        while !flood.is_finished() {
            assert_served(&mut lasting);
            thread::sleep(Duration::from_millis(1));
        }
    });
    let commons = stage.commons();
    stage.wait("all are gone but one", |_| commons.connections() == 1 && descriptors() <= fds);
    assert_served(&mut lasting);
    // A worker says what it holds at the end of a round.
    stage.wait("I6: what they held is given back", |_| (commons.held_bytes(), commons.addresses()) == (held, 1));
    let stats = commons.stats();
    assert!(stats.ended.all() < stats.accepted && stats.ended.transport > 0, "{stats:?}");
}
