//! Time that stands still, jumps, and passes.

use crate::echo::{Echo, framed, hub, listening, only_reason};
use drywire_core::{Limits, Time};
use drywire_protocols::Hub;
use drywire_server::{Config, Timeouts};
use drywire_sim::stage::{Seen, Setup, Stage};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn idle(secs: u64) -> Config {
    Config { timeouts: Timeouts { idle: Some(Duration::from_secs(secs)), ..Timeouts::default() }, ..Config::default() }
}

fn at(duration: Duration) -> Time {
    Time::ZERO + duration
}

#[test]
fn time_stands_still_while_a_stage_settles() {
    let (mut stage, listener) = listening(0, Config::default(), Setup::calm());
    let mut echo = Echo::default();
    assert!(!stage.round(&mut echo), "nothing was ready");
    assert_eq!(echo.started, 1);
    let peer = stage.arrives(listener);
    assert!(stage.round(&mut echo));
    stage.says(peer, framed([1; 1 << 19]));
    stage.settle(&mut echo);
    assert!(!stage.round(&mut echo), "it has settled");
    assert_eq!((stage.now(), stage.heard(peer).len()), (Time::ZERO, (1 << 19) + 8));
}

#[test]
fn time_jumps_to_the_end_of_an_idle_peer() {
    for setup in [Setup::calm(), Setup::rough()] {
        let (mut stage, listener) = listening(5, idle(30), setup);
        let mut echo = Echo::default();
        let peer = stage.arrives(listener);
        stage.says(peer, framed("hello"));
        assert!(!stage.run_until_idle(&mut echo, 10 * SECOND), "the deadline is to come");
        assert_eq!((stage.now(), echo.open.len()), (at(10 * SECOND), 1));
        stage.says(peer, framed("hello"));
        stage.run_until_quiet(&mut echo);
        let said = stage.now();
        assert!(said <= at(11 * SECOND));
        assert!(!stage.run_until_idle(&mut echo, 29 * SECOND));
        assert_eq!(echo.open.len(), 1);
        assert!(stage.run_until_idle(&mut echo, 60 * SECOND), "nothing is left to come");
        assert!(stage.now() >= at(40 * SECOND) && stage.now() <= said + 36 * SECOND, "{:?}", stage.now());
        assert_eq!(echo.open.len(), 0);
        assert_eq!(only_reason(&echo), "limit: nothing moved for 30000 ms");
    }
}

#[test]
fn what_came_in_a_pause_counts_before_every_deadline() {
    for seed in 0..100 {
        let setup = if seed == 0 { Setup::calm() } else { Setup::rough() };
        let (mut stage, listener) = listening(seed, idle(30), setup);
        let mut echo = Echo::default();
        let peer = stage.arrives(listener);
        stage.run_until_quiet(&mut echo);
        stage.says(peer, framed("hello"));
        stage.later(40 * SECOND);
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.heard(peer), framed("hello"), "seed {seed}");
        assert_eq!(stage.seen_end(peer), None, "seed {seed}");
        stage.later(40 * SECOND);
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.seen_end(peer), Some(Seen::End), "seed {seed}");
    }
}

#[test]
fn ticks_are_called_as_often_as_time_has_passed() {
    let (mut stage, _) = listening(0, Config { tick: Some(SECOND), ..Config::default() }, Setup::calm());
    let mut echo = Echo::default();
    assert!(!stage.run_until_idle(&mut echo, 10 * SECOND));
    assert_eq!((echo.ticks, stage.now()), (10, at(10 * SECOND)));
    stage.later(10 * SECOND);
    stage.settle(&mut echo);
    assert_eq!(echo.ticks, 11, "a pause is one tick");
}

#[test]
fn peer_that_takes_nothing_is_cut_at_its_deadline() {
    let mut stage: Stage<Hub> = Stage::new(0, Config::default());
    let mut echo = Echo::default();
    let limits = Limits { stall_ms: 2_000, ..Hub::limits(1 << 20) };
    let peer = stage.adds(hub().with_limits(limits)).unwrap();
    stage.stops_reading(peer);
    stage.says(peer, framed([1; 200_000]));
    assert!(stage.run_until_idle(&mut echo, 60 * SECOND));
    assert_eq!((only_reason(&echo).as_str(), stage.now()), ("the peer stopped taking output", at(2 * SECOND)));
}
