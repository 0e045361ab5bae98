//! Who comes: to listeners, by connecting, by a stream of one's own.

use crate::echo::{Echo, framed, here, hub, listening, only_reason, stranger};
use drywire_protocols::{Hub, HubCommand};
use drywire_server::{Address, Config, Target};
use drywire_sim::stage::{Answer, Seen, Setup, Stage};
use std::io::ErrorKind;
use std::time::Duration;

const SEEDS: u64 = 60;

fn rough(seed: u64) -> Setup {
    if seed == 0 { Setup::calm() } else { Setup::rough() }
}

#[test]
fn listeners_have_addresses_and_free_ports() {
    let (mut stage, listener) = listening(0, Config::default(), Setup::calm());
    let worker = stage.worker();
    assert_eq!(worker.local_address(listener), Some(here()));
    assert_eq!(worker.listen(&here()).unwrap_err().source.kind(), ErrorKind::AddrInUse);
    let any: Address = "127.0.0.1:0".parse().unwrap();
    let (one, other) = (worker.listen(&any).unwrap(), worker.listen_on(any.clone()).unwrap());
    let (one, other) = (worker.local_address(one).unwrap(), worker.local_address(other).unwrap());
    assert!(one != other && one != any && other != any, "{one} and {other}");
    worker.stop_listening(listener);
    worker.listen(&here()).unwrap();
}

#[test]
fn who_comes_too_late_or_from_the_wrong_place_is_not_let_in() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let unwanted = stage.arrives_from(listener, stranger());
        let wanted = stage.arrives(listener);
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.seen_end(unwanted), Some(Seen::End), "seed {seed}");
        assert_eq!(stage.seen_end(wanted), None, "seed {seed}");
        assert_eq!(stage.peer_of(echo.open[0]), Some(wanted), "seed {seed}");
        assert_eq!(stage.id_of(wanted), Some(echo.open[0]), "seed {seed}");
        let waiting = stage.arrives(listener);
        stage.worker().stop_listening(listener);
        let late = stage.arrives(listener);
        stage.run_until_quiet(&mut echo);
        for peer in [waiting, late] {
            assert_eq!(stage.seen_end(peer), Some(Seen::Reset), "seed {seed}, {peer}");
        }
        stage.says(wanted, framed("still here"));
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.heard(wanted), framed("still here"), "seed {seed}");
    }
}

#[test]
fn who_finds_no_room_hears_so() {
    for seed in 0..SEEDS {
        let config = Config { max_connections: 2, refusal: "full\n".into(), ..Config::default() };
        let (mut stage, listener) = listening(seed, config, rough(seed));
        let mut echo = Echo::default();
        let peers = [(); 5].map(|()| stage.arrives(listener));
        stage.run_until_quiet(&mut echo);
        let refused: Vec<_> = peers.iter().filter(|peer| stage.heard(**peer) == b"full\n").collect();
        assert!(refused.iter().all(|peer| stage.seen_end(**peer) == Some(Seen::End)), "seed {seed}");
        assert_eq!((refused.len(), echo.open.len()), (3, 2), "seed {seed}");
    }
}

#[test]
fn accept_errors_go_away_and_nobody_is_forgotten() {
    for seed in 0..SEEDS {
        let (mut stage, listener) = listening(seed, Config::default(), Setup { accept_errors: true, ..Setup::calm() });
        let mut echo = Echo::default();
        let peers = [(); 100].map(|()| stage.arrives(listener));
        stage.run_until_quiet(&mut echo);
        assert!(peers.iter().all(|peer| stage.id_of(*peer).is_some()), "seed {seed}");
    }
}

#[test]
fn streams_that_no_poller_takes_are_closed_and_the_others_served() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let (mut stage, listener) =
            listening(seed, Config::default(), Setup { no_registration: true, ..Setup::calm() });
        let mut echo = Echo::default();
        let peers = [(); 10].map(|()| stage.arrives(listener));
        stage.settle(&mut echo);
        for peer in peers {
            stage.says(peer, framed("x"));
        }
        stage.settle(&mut echo);
        for peer in peers {
            let is_served = stage.id_of(peer).is_some();
            refused += usize::from(!is_served);
            assert_eq!(stage.heard(peer).is_empty(), !is_served, "seed {seed}, {peer}");
            assert_eq!(stage.seen_end(peer).is_some(), !is_served, "seed {seed}, {peer}");
        }
    }
    assert!(refused > 20, "{refused} were refused");
}

#[test]
fn connections_of_ours_stand_where_somebody_answers() {
    for seed in 0..SEEDS {
        let mut stage = Stage::set_up(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let name: Target = "hub.example:4711".parse().unwrap();
        stage.answers(here(), Answer::Answers);
        stage.answers(&name, Answer::Answers);
        for target in [here().into(), name] {
            let id = stage.worker().connect(&target, hub()).unwrap();
            stage.worker().send(id, HubCommand::Send("hello".into())).unwrap();
            stage.run_until_quiet(&mut echo);
            assert_eq!(echo.open, [id], "seed {seed}, {target}");
            let peer = stage.peer_of(id).expect("it was connected to");
            assert_eq!(stage.take_heard(peer), framed("hello"), "seed {seed}, {target}");
            stage.says(peer, framed("and back"));
            stage.ends(peer);
            stage.run_until_quiet(&mut echo);
            assert_eq!(stage.heard(peer), framed("and back"), "seed {seed}, {target}");
            assert_eq!((stage.seen_end(peer), stage.id_of(peer)), (Some(Seen::End), None), "seed {seed}, {target}");
        }
        assert_eq!((echo.open.len(), echo.reports.len()), (0, 2), "seed {seed}");
    }
}

#[test]
fn connections_of_ours_that_nobody_answers_are_told_of_in_time() {
    let silent: Target = "silent.example:1".parse().unwrap();
    let refusing: Target = "refusing.example:1".parse().unwrap();
    let unknown: Target = "unknown.example:1".parse().unwrap();
    let cases = [
        (here().into(), "refused", 0),
        (refusing.clone(), "refused", 0),
        (unknown, "check the name", 0),
        (silent.clone(), "nobody answered within 7s", 7),
        ("127.0.0.1:9".parse().unwrap(), "nobody answered within 7s", 7),
    ];
    for seed in 0..SEEDS {
        for (target, words, secs) in &cases {
            let config = Config { connect_timeout: Duration::from_secs(7), ..Config::default() };
            let mut stage: Stage<Hub> = Stage::set_up(seed, config, rough(seed));
            let mut echo = Echo::default();
            stage.answers(&silent, Answer::Silent);
            stage.answers(&refusing, Answer::Refuses);
            stage.answers("127.0.0.1:9".parse::<Target>().unwrap(), Answer::Silent);
            let id = stage.worker().connect(target, hub()).unwrap();
            stage.run_until_quiet(&mut echo);
            assert!(stage.now().as_nanos() < 10_000_000, "seed {seed}, {target}: {:?}", stage.now());
            assert_eq!(echo.reports.is_empty(), *secs > 0, "seed {seed}, {target}");
            assert!(stage.run_until_idle(&mut echo, Duration::from_secs(60)), "seed {seed}, {target}");
            // An alarm rings though what it was set for is over: so time comes to the deadline anyway.
            assert_eq!(stage.now().as_nanos() / 1_000_000_000, 7, "seed {seed}, {target}");
            let [notice] = &echo.notices[..] else { panic!("seed {seed}, {target}: {:?}", echo.notices) };
            assert!(notice.contains(words), "seed {seed}, {target}: {notice}");
            assert!(only_reason(&echo).starts_with("transport: "), "seed {seed}, {target}");
            assert_eq!((echo.reports[0].0, echo.open.len()), (id, 0), "seed {seed}, {target}");
        }
    }
}

#[test]
fn what_is_answered_may_change() {
    let mut stage: Stage<Hub> = Stage::new(1, Config::default());
    let mut echo = Echo::default();
    let name: Target = "hub.example:4711".parse().unwrap();
    for (answer, open) in [(Answer::Refuses, 0), (Answer::Answers, 1), (Answer::Refuses, 1), (Answer::Answers, 2)] {
        stage.answers(&name, answer);
        stage.worker().connect(&name, hub()).unwrap();
        stage.settle(&mut echo);
        assert_eq!(echo.open.len(), open, "{answer:?}");
    }
}

#[test]
fn streams_of_ones_own_are_served_or_closed() {
    for seed in 0..SEEDS {
        let mut stage = Stage::set_up(seed, Config::default(), rough(seed));
        let mut echo = Echo::default();
        let peer = stage.adds(hub()).unwrap();
        let (stream, other) = stage.pair();
        let (loose, nobodys) = stage.pair();
        let id = stage.worker().add(stream, hub()).unwrap();
        assert_eq!(stage.id_of(other), Some(id));
        for peer in [peer, other, nobodys] {
            stage.says(peer, framed("hello"));
        }
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.seen_end(nobodys), None, "seed {seed}");
        drop(loose);
        stage.run_until_quiet(&mut echo);
        assert_eq!(stage.seen_end(nobodys), Some(Seen::Reset), "seed {seed}: what it said was not read");
        for peer in [peer, other] {
            assert_eq!(stage.heard(peer), framed("hello"), "seed {seed}, {peer}");
        }
    }
}
