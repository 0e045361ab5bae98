//! Slow peers, commands, and how connections end.

use crate::echo::{Echo, framed, listening, only_reason};
use drywire_protocols::HubCommand;
use drywire_server::Config;
use drywire_sim::stage::{Seen, Setup};

const SEEDS: u64 = 60;

fn rough(seed: u64) -> Setup {
    if seed == 0 { Setup::calm() } else { Setup::rough() }
}

#[test]
fn slow_reader_stalls_nobody_else() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let (slow, fast) = (stage.arrives(listener), stage.arrives(listener));
        stage.stops_reading(slow);
        let message = framed([7; 50_000]);
        for _ in 0..10 {
            stage.says(slow, &message);
            stage.says(fast, &message);
            stage.run_until_quiet(&mut echo);
        }
        assert_eq!(stage.heard(fast), message.repeat(10), "seed {seed}");
        assert_eq!(stage.heard(slow), b"", "seed {seed}");
        assert_eq!(stage.unheard(slow), Setup::calm().room_bytes, "seed {seed}");
        stage.reads(slow, 30_000);
        stage.reads(slow, 40_000);
        stage.run_until_quiet(&mut echo);
        assert!(stage.heard(slow) == &message.repeat(2)[..70_000], "seed {seed}");
        stage.reads_all(slow);
        stage.ends(slow);
        stage.run_until_quiet(&mut echo);
        assert!(stage.heard(slow) == message.repeat(10), "seed {seed}");
        assert_eq!(stage.seen_end(slow), Some(Seen::End), "seed {seed}");
    }
}

#[test]
fn connection_that_reads_nothing_holds_its_peer_back() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let peer = stage.arrives(listener);
        stage.run_until_quiet(&mut echo);
        let id = echo.open[0];
        stage.worker().send(id, HubCommand::DisableRead).unwrap();
        stage.run_until_quiet(&mut echo);
        let message = framed([7; 100_000]);
        stage.says(peer, &message);
        stage.run_until_quiet(&mut echo);
        assert_eq!((stage.unread(peer), stage.heard(peer).len()), (message.len(), 0), "seed {seed}");
        stage.worker().send(id, HubCommand::EnableRead).unwrap();
        stage.run_until_quiet(&mut echo);
        assert!(stage.heard(peer) == message, "seed {seed}");
    }
}

#[test]
fn callbacks_and_calls_from_outside_end_connections_alike() {
    for seed in 0..SEEDS {
        for (says, seen, reason) in
            [("close", Seen::End, "closed by the application"), ("abort", Seen::Reset, "aborted")]
        {
            for from_outside in [false, true] {
                let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
                let mut echo = Echo::default();
                let peer = stage.arrives(listener);
                stage.says(peer, framed("first"));
                stage.run_until_quiet(&mut echo);
                let id = stage.id_of(peer).expect("it was let in");
                match (from_outside, seen) {
                    (false, _) => stage.says(peer, framed(says)),
                    (true, Seen::End) => stage.worker().close(id),
                    (true, Seen::Reset) => stage.worker().abort(id),
                }
                stage.run_until_quiet(&mut echo);
                assert_eq!(stage.heard(peer), framed("first"), "seed {seed}, {says}");
                assert_eq!(stage.seen_end(peer), Some(seen), "seed {seed}, {says}");
                if seen == Seen::End {
                    stage.ends(peer);
                    stage.run_until_quiet(&mut echo);
                }
                assert_eq!(only_reason(&echo), reason, "seed {seed}");
                assert_eq!(stage.id_of(peer), None, "seed {seed}");
            }
        }
    }
}

#[test]
fn peer_that_resets_is_told_of_as_broken() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let (peer, other) = (stage.arrives(listener), stage.arrives(listener));
        stage.says(peer, framed("hello"));
        stage.run_until_quiet(&mut echo);
        stage.resets(peer);
        stage.says(other, framed("all"));
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.seen_end(peer), Some(Seen::Reset), "seed {seed}");
        assert_eq!(only_reason(&echo), "transport: reset by the peer", "seed {seed}");
        assert_eq!(stage.heard(other), framed("all"), "seed {seed}");
    }
}

#[test]
fn shutdown_lets_out_what_is_owed_and_stops_once() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let peers = [(); 6].map(|()| stage.arrives(listener));
        stage.run_until_quiet(&mut echo);
        for peer in &peers[1..] {
            stage.stops_reading(*peer);
            stage.says(*peer, framed([1; 100_000]));
        }
        stage.run_until_quiet(&mut echo);
        stage.says(peers[0], framed("stop"));
        stage.run_until_quiet(&mut echo);
        for peer in peers {
            stage.reads_all(peer);
        }
        stage.run_until_quiet(&mut echo);
        for peer in peers {
            assert_eq!(stage.seen_end(peer), Some(Seen::End), "seed {seed}, {peer}");
            stage.ends(peer);
        }
        assert!(!stage.worker().is_done() && echo.stopped == 0, "seed {seed}");
        stage.run_until_quiet(&mut echo);
        for peer in &peers[1..] {
            assert!(stage.heard(*peer) == framed([1; 100_000]), "seed {seed}, {peer}");
        }
        let report = stage.worker().drain_report().expect("it was shut down").clone();
        assert_eq!((report.open, report.finished, report.cut.len()), (6, 6, 0), "seed {seed}");
        assert!(stage.worker().is_done(), "seed {seed}");
        assert_eq!((echo.started, echo.stopped, echo.reports.len()), (1, 1, 6), "seed {seed}");
    }
}

#[test]
fn driver_that_is_dropped_reports_everybody() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let peers = [(); 6].map(|()| stage.arrives(listener));
        stage.run_until_quiet(&mut echo);
        stage.drops_driver(&mut echo);
        stage.run_until_quiet(&mut echo);
        assert_eq!((echo.started, echo.stopped, echo.reports.len()), (1, 1, 6), "seed {seed}");
        assert!(peers.iter().all(|peer| stage.seen_end(*peer).is_some()), "seed {seed}");
    }
}
