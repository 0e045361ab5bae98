//! Many seeds: what peers hear in the end is the same in every network.

use crate::echo::{Echo, framed, listening};
use drywire_protocols::Hub;
use drywire_server::Config;
use drywire_sim::Random;
use drywire_sim::stage::{PeerId, Seen, Setup, Stage};

/// How it ended, and what each peer has said.
struct Talk {
    stage: Stage<Hub>,
    echo: Echo,
    peers: Vec<(PeerId, Vec<u8>)>,
}

/// Eight peers that say a few messages each, in pieces, and end.
fn talk(seed: u64, setup: Setup) -> Talk {
    let (mut stage, listener) = listening(seed, Config { events: 3, ..Config::default() }, setup);
    let (mut random, mut echo) = (Random::new(seed ^ 1), Echo::default());
    let mut peers: Vec<(PeerId, Vec<u8>)> = (0..8).map(|_| (stage.arrives(listener), Vec::new())).collect();
    for _ in 0..40 {
        let at = random.between(0, 7);
        let len = random.pick(&[0, 1, 255, 256, 5_000, 100_000]);
        let message = framed(random.bytes(len));
        let (peer, said) = &mut peers[at];
        let cut = random.between(0, message.len());
        stage.says(*peer, &message[..cut]);
        if random.one_in(3) {
            stage.settle(&mut echo);
        }
        stage.says(*peer, &message[cut..]);
        said.extend_from_slice(&message);
    }
    for (peer, _) in &peers {
        stage.ends(*peer);
    }
    stage.run_until_quiet(&mut echo);
    Talk { stage, echo, peers }
}

#[test]
fn every_network_brings_everything_back() {
    for seed in 0..300 {
        let rough = Setup::rough();
        let setup = match seed % 7 {
            0 => Setup::calm(),
            1 => Setup { cuts: true, ..Setup::calm() },
            2 => Setup { short_reads_exhaust: false, ..rough },
            3 => Setup { room_bytes: 100, ..rough },
            4 => Setup { room_bytes: 4096, ..Setup::calm() },
            5 => Setup { room_bytes: 1 << 20, ..rough },
            _ => rough,
        };
        let Talk { stage, echo, peers } = talk(seed, setup);
        for (peer, said) in &peers {
            assert!(stage.heard(*peer) == &said[..], "seed {seed}, {peer}: other bytes came back");
            assert_eq!(stage.seen_end(*peer), Some(Seen::End), "seed {seed}, {peer}");
            assert_eq!((stage.unread(*peer), stage.unheard(*peer)), (0, 0), "seed {seed}, {peer}");
        }
        assert!(echo.open.is_empty() && echo.reports.len() == 8, "seed {seed}");
    }
}

#[test]
fn the_same_seed_and_calls_are_the_same_world() {
    let mut hashes = Vec::new();
    for seed in 0..40 {
        let setup = Setup { resets: true, no_registration: true, ..Setup::rough() };
        let one = talk(seed, setup);
        let other = talk(seed, setup);
        assert_eq!((one.stage.hash(), one.stage.now()), (other.stage.hash(), other.stage.now()), "seed {seed}");
        for ((peer, _), (same, _)) in one.peers.iter().zip(&other.peers) {
            assert!(one.stage.heard(*peer) == other.stage.heard(*same), "seed {seed}, {peer}");
        }
        hashes.push(one.stage.hash());
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 40, "some seeds are alike");
}

#[test]
fn peers_that_reset_take_only_their_own_with_them() {
    let (mut hurt, mut whole) = (0, 0);
    for seed in 0..200 {
        let Talk { stage, echo, peers } = talk(seed, Setup { resets: true, ..Setup::rough() });
        for (peer, said) in &peers {
            assert!(said.starts_with(stage.heard(*peer)), "seed {seed}, {peer}: bytes were made up");
            match stage.seen_end(*peer) {
                Some(Seen::End) => {
                    assert!(stage.heard(*peer) == &said[..], "seed {seed}, {peer}: it lost bytes without a reset");
                    whole += 1;
                }
                Some(Seen::Reset) => hurt += 1,
                None => panic!("seed {seed}, {peer}: it was forgotten"),
            }
        }
        assert!(echo.open.is_empty(), "seed {seed}: {:?} are left", echo.open);
    }
    assert!(hurt > 100 && whole > 100, "{hurt} were reset, {whole} were not");
}
