//! The end of a worker: what still waits to be accepted, to be heard or to go, for how long, and what
//! the report of it says (FAULTS 57).

use super::{Crowd, Peer, STEP, Says, Stage, config};
use drywire_core::Limits;
use drywire_server::{ACCEPTS_PER_TURN, Address, Config, DrainReport, News};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

impl Stage {
    /// Rounds until so much time has passed.
    fn steps(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.step();
        }
    }

    /// No round is made meanwhile.
    fn sleep(&mut self, time: Duration) {
        let net: &mut Crowd = self.rounds.net_mut();
        net.now = net.now + time;
        self.rounds.wake_up();
    }

    fn shut_down(&mut self) {
        self.rounds.shutdown();
        self.step();
        self.step();
    }

    /// Rounds until the worker is done, and how long that took.
    #[track_caller]
    fn until_done(&mut self) -> Duration {
        let start = self.rounds.net().now;
        while !self.rounds.is_done() {
            self.step();
            assert!(self.rounds.net().now < start + 60 * SECOND, "it never ends");
        }
        self.rounds.net().now.saturating_since(start)
    }

    fn report(&self) -> &DrainReport {
        self.rounds.drain_report().expect("there was a shutdown")
    }
}

fn patient() -> Config {
    Config { drain_timeout: Duration::MAX, ..config(64 << 20) }
}

fn saying(bytes: &[u8]) -> Peer {
    let peer = Peer::honest();
    peer.say(bytes);
    peer
}

#[test]
fn fault_57_connections_in_the_queue_are_accepted_and_answered_before_the_listener_closes() {
    let mut stage = Stage::new(patient());
    let peers: Vec<Peer> = (0..3 * ACCEPTS_PER_TURN).map(|_| saying(b"hello\n")).collect();
    for peer in &peers {
        stage.rounds.net_mut().backlog.push_back((peer.clone(), Address::Pair));
    }
    stage.rounds.shutdown();
    stage.step();
    assert_eq!(stage.rounds.len(), ACCEPTS_PER_TURN as usize, "one turn");
    assert!(!stage.rounds.net().is_released);
    stage.steps(5 * STEP);
    assert!(stage.rounds.net().is_released);
    for peer in &peers {
        assert_eq!(peer.state().taken, b"hello\n");
        assert!(peer.state().is_half_closed, "it was answered, and is owed nothing");
        peer.state().says = Says::Goodbye;
    }
    for id in stage.host.opened.clone() {
        stage.rounds.on_news(id, News { read: true, ..News::default() }, &mut stage.host);
    }
    stage.until_done();
    assert_eq!((stage.report().finished, stage.report().cut_in_all()), (peers.len() as u64, 0));
    stage.assert_nothing_left();
}

#[test]
fn queue_of_a_socket_that_is_held_elsewhere_is_left_alone() {
    let mut stage = Stage::new(patient());
    stage.rounds.net_mut().is_shared = true;
    stage.rounds.net_mut().backlog.push_back((saying(b"hello\n"), Address::Pair));
    stage.shut_down();
    assert!(stage.rounds.is_done() && stage.rounds.net().is_released);
    assert_eq!((stage.rounds.net().asked, stage.rounds.net().backlog.len()), (0, 1));
}

#[test]
fn fault_25_cap_holds_for_the_queue_of_a_stop() {
    let mut stage = Stage::new(Config { max_connections: 1, ..patient() });
    let peers = [saying(b"hello\n"), saying(b"hello\n")];
    for peer in &peers {
        stage.rounds.net_mut().backlog.push_back((peer.clone(), Address::Pair));
    }
    stage.shut_down();
    assert_eq!(peers[0].state().taken, b"hello\n");
    assert_eq!(stage.rounds.net().refused, [b"too busy\n"]);
}

#[test]
fn fault_18_queue_that_cannot_be_accepted_is_waited_for_a_second_and_no_longer() {
    for lasts in [SECOND / 2, 10 * SECOND] {
        let mut stage = Stage::new(patient());
        let peer = saying(b"hello\n");
        stage.rounds.net_mut().shortage = Some(Errno::MFILE);
        stage.rounds.net_mut().backlog.push_back((peer.clone(), Address::Pair));
        stage.shut_down();
        stage.steps(SECOND / 2);
        assert!(!stage.rounds.is_done());
        if lasts < SECOND {
            stage.rounds.net_mut().shortage = None;
        }
        stage.steps(SECOND / 2 + STEP);
        assert!(stage.rounds.net().is_released);
        assert_eq!(peer.state().taken.is_empty(), lasts > SECOND);
        assert_eq!(stage.rounds.is_done(), lasts > SECOND);
    }
}

#[test]
fn stop_without_a_drain_accepts_no_connection() {
    let mut stage = Stage::new(Config { drain_timeout: Duration::ZERO, ..patient() });
    stage.rounds.net_mut().backlog.push_back((saying(b"hello\n"), Address::Pair));
    stage.shut_down();
    assert!(stage.rounds.is_done() && stage.rounds.net().is_released);
    assert_eq!(stage.rounds.net().asked, 0);
}

#[test]
fn connection_that_has_not_spoken_has_a_second_for_its_first_message() {
    let mut stage = Stage::new(patient());
    let (silent, late, slow) = (Peer::honest(), Peer::honest(), Peer::honest());
    stage.come(&silent).unwrap();
    let [late_id, slow_id] = [&late, &slow].map(|peer| stage.come(peer).unwrap());
    stage.step();
    stage.shut_down();
    stage.say(slow_id, &slow, b"hel");
    stage.steps(SECOND / 2);
    assert!([&silent, &late, &slow].iter().all(|peer| !peer.state().is_half_closed));
    stage.say(late_id, &late, b"hello\n");
    stage.say(slow_id, &slow, b"lo\n");
    stage.step();
    for peer in [&late, &slow] {
        assert_eq!(peer.state().taken, b"hello\n");
        assert!(peer.state().is_half_closed, "it has its answer");
    }
    assert!(!silent.state().is_half_closed);
    stage.steps(SECOND / 2);
    assert!(silent.state().is_half_closed);
    assert!(stage.until_done() <= SECOND + STEP, "a silent peer's end is waited for as briefly");
    assert_eq!(stage.report().finished, 1, "nothing was said to it that it could miss");
    assert_eq!(stage.report().cut_in_all(), 2);
}

/// FAULTS 58: the bytes came in time, and the deadline was seen first.
#[test]
fn fault_58_first_bytes_that_came_during_a_pause_of_the_process_count() {
    let mut stage = Stage::new(patient());
    let peer = Peer::honest();
    stage.come(&peer).unwrap();
    stage.step();
    stage.shut_down();
    peer.say(b"hello\n");
    stage.sleep(10 * SECOND);
    stage.step();
    stage.step();
    assert_eq!(peer.state().taken, b"hello\n");
}

#[test]
fn answered_connection_holds_a_stop_up_for_a_second() {
    let mut stage = Stage::new(patient());
    let peer = Peer::honest();
    let id = stage.come(&peer).unwrap();
    stage.say(id, &peer, b"hello\n");
    stage.shut_down();
    assert!(peer.state().is_half_closed);
    let took = stage.until_done();
    assert!(took > SECOND - 3 * STEP && took <= SECOND, "{took:?}");
}

/// What is said of a connection at the end of a stop, by what was before it.
#[test]
fn fault_57_connection_is_named_unless_it_was_idle_or_its_peer_has_ended() {
    const IDLE: Duration = Duration::from_secs(5);
    let is_named = |said: &[u8], before: Duration, more: &[u8], ends: bool, timeout: Duration| {
        let limits = Limits { linger_ms: 5000, ..Limits::DEFAULT };
        let mut stage = Stage::with_limits(Config { drain_timeout: timeout, ..patient() }, limits);
        let peer = Peer::honest();
        let id = stage.come(&peer).unwrap();
        stage.say(id, &peer, said);
        stage.sleep(before);
        stage.shut_down();
        peer.say(more);
        if ends {
            peer.state().says = Says::Goodbye;
        }
        stage.rounds.on_news(id, News { read: true, ..News::default() }, &mut stage.host);
        stage.until_done();
        assert_eq!(stage.report().finished + stage.report().cut_in_all(), 1);
        stage.report().cut_in_all() == 1
    };
    for timeout in [Duration::MAX, Duration::ZERO] {
        let named = |said, before, more| is_named(said, before, more, false, timeout);
        assert!(named(b"hello\n", Duration::ZERO, b""), "it was answered just now");
        assert!(named(b"hello\n", IDLE - STEP, b""));
        assert!(!named(b"hello\n", IDLE, b""), "it was idle");
        assert!(!named(b"hello\nhel", 2 * IDLE, b""), "half a message came before the answer");
        assert!(named(b"hel", 2 * IDLE, b""), "it was never answered");
        assert!(!named(b"", Duration::ZERO, b""), "nothing was ever said");
    }
    assert!(is_named(b"hello\n", 2 * IDLE, b"more\n", false, Duration::MAX), "more came");
    assert!(!is_named(b"hello\n", Duration::ZERO, b"", true, Duration::MAX), "its peer has ended");
}

#[test]
fn fault_57_connection_that_is_owed_something_is_not_idle_however_long_it_takes_nothing() {
    let mut stage = Stage::new(Config { drain_timeout: SECOND, ..patient() });
    let deaf = Peer::new(Says::Bytes(VecDeque::from(*b"hello\n")), false);
    stage.come(&deaf).unwrap();
    stage.step();
    stage.sleep(20 * SECOND);
    stage.shut_down();
    stage.until_done();
    let [cut] = &stage.report().cut[..] else { panic!("{:?}", stage.report()) };
    assert_eq!((cut.sent, cut.unsent), (0, 6));
}
