//! The network as a poller and its sockets: what is told, and how often.

use super::network::Network;
use super::peer::{Life, Line, Reads, Seen, Theirs};
use super::setup::Setup;
use super::timeline::What;
use super::wire::Wire;
use drywire_core::{Blocked, Time, Transport, TransportError};
use drywire_server::{Address, Id, News};
use std::time::Duration;

const READ: News = News { read: true, write: false, hang_up: false, urgent: false, failed: false };
const WRITE: News = News { read: false, write: true, hang_up: false, urgent: false, failed: false };
const END: News = News { read: true, write: false, hang_up: true, urgent: false, failed: false };

/// A network with one connection, and nothing to tell of it any more.
fn network(seed: u64, setup: Setup) -> Network {
    let mut network = Network::new(seed, setup);
    network.lines.push(Line::new(Address::Pair, Life::Loose));
    network.begin(0, id());
    run(&mut network, 10);
    network
}

fn id() -> Id {
    Id::from_token((1 << 32) + 7).expect("it is an id's")
}

/// Lets so many milliseconds pass; what was told.
fn run(network: &mut Network, millis: u64) -> Vec<News> {
    network.now = network.now + Duration::from_millis(millis);
    let mut told = Vec::new();
    loop {
        network.come();
        let news = network.take_news(10);
        if news.is_empty() {
            return told;
        }
        told.extend(news.into_iter().map(|(_, news)| news));
    }
}

fn read(network: &mut Network, most: usize) -> Result<Vec<u8>, Blocked> {
    let mut slot = vec![0; most];
    let n = Wire::new(network, 0).try_read(&mut slot)?;
    slot.truncate(n);
    Ok(slot)
}

fn write(network: &mut Network, bytes: &[u8]) -> Result<usize, Blocked> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    Wire::new(network, 0).try_write_vectored(&[first, second], false)
}

#[test]
fn change_is_told_once_and_what_is_there_is_not() {
    let mut network = network(1, Setup::calm());
    assert_eq!(read(&mut network, 9), Err(Blocked::WouldBlock));
    network.say(0, b"one");
    network.say(0, b"two");
    assert_eq!(run(&mut network, 0), [READ]);
    assert_eq!(read(&mut network, 4).unwrap(), b"onet");
    assert_eq!(run(&mut network, 10), [], "two bytes were there before");
    network.say(0, b"!");
    assert_eq!(run(&mut network, 0), [READ]);
    assert_eq!(read(&mut network, 9).unwrap(), b"wo!");
    network.end_of_peer(0, false);
    assert_eq!(run(&mut network, 0), [END]);
    assert_eq!(read(&mut network, 9).unwrap(), b"");
    assert_eq!(run(&mut network, 10), []);
}

#[test]
fn end_is_told_when_it_stands_behind_the_bytes_in_the_socket() {
    let mut network = network(1, Setup { room_bytes: 4, ..Setup::calm() });
    network.say(0, b"onetwo");
    network.end_of_peer(0, false);
    assert_eq!(run(&mut network, 0), [READ]);
    assert_eq!(read(&mut network, 4).unwrap(), b"onet");
    assert_eq!(run(&mut network, 0), [END]);
    assert_eq!(read(&mut network, 4).unwrap(), b"wo");
    assert_eq!(run(&mut network, 10), []);
    assert_eq!(read(&mut network, 4).unwrap(), b"");
}

#[test]
fn room_is_told_once_to_who_was_refused() {
    let mut network = network(1, Setup { room_bytes: 4, ..Setup::calm() });
    network.lines[0].reads = Reads::Only(0);
    assert_eq!(write(&mut network, b"onetwo"), Ok(4));
    network.lines[0].reads = Reads::Only(1);
    network.go_out(0);
    assert_eq!(run(&mut network, 10), [], "nobody was refused");
    assert_eq!(write(&mut network, b"wo"), Ok(1));
    assert_eq!(write(&mut network, b"o"), Err(Blocked::WouldBlock));
    assert_eq!(run(&mut network, 10), []);
    network.lines[0].reads = Reads::All;
    network.go_out(0);
    assert_eq!(run(&mut network, 10), [WRITE]);
    assert_eq!(network.lines[0].heard, b"onetw");
}

#[test]
fn reset_loses_what_was_not_heard_and_fails_reads_and_writes() {
    let mut network = network(1, Setup::calm());
    network.lines[0].reads = Reads::Only(0);
    assert_eq!(write(&mut network, b"lost"), Ok(4));
    network.say(0, b"kept");
    network.end_of_peer(0, true);
    let all = News { read: true, write: true, hang_up: true, urgent: false, failed: true };
    assert_eq!(run(&mut network, 0), [all]);
    assert_eq!(read(&mut network, 9).unwrap(), b"kept");
    assert_eq!(read(&mut network, 9), Err(Blocked::Failed(TransportError::Reset)));
    assert_eq!(write(&mut network, b"more"), Err(Blocked::Failed(TransportError::Reset)));
    assert_eq!((network.lines[0].seen, &network.lines[0].heard[..]), (Some(Seen::Reset), &b""[..]));
}

#[test]
fn stream_that_is_closed_unread_ends_in_a_reset_behind_what_was_written() {
    for unread in [false, true] {
        let mut network = network(1, Setup::calm());
        network.lines[0].reads = Reads::Only(0);
        assert_eq!(write(&mut network, b"answer"), Ok(6));
        if unread {
            network.say(0, b"more");
            network.come();
        }
        network.close(0, false);
        assert_eq!(network.lines[0].seen, None, "it does not look");
        network.lines[0].reads = Reads::All;
        network.go_out(0);
        assert_eq!(network.lines[0].heard, b"answer");
        assert_eq!(network.lines[0].seen, Some(if unread { Seen::Reset } else { Seen::End }));
        assert_eq!(run(&mut network, 10), [], "nothing is told of what is gone");
    }
}

#[test]
fn peer_that_has_ended_and_resets_breaks_the_pipe() {
    let mut network = network(1, Setup::calm());
    network.end_of_peer(0, false);
    assert_eq!(run(&mut network, 0), [END]);
    network.end_of_peer(0, true);
    assert_eq!(read(&mut network, 9).unwrap(), b"", "the reset is under way");
    run(&mut network, 0);
    assert_eq!(write(&mut network, b"more"), Err(Blocked::Failed(TransportError::BrokenPipe)));
}

#[test]
fn what_comes_to_a_stream_that_is_gone_is_answered_with_a_reset() {
    let mut network = network(1, Setup::calm());
    network.lines[0].reads = Reads::Only(0);
    assert_eq!(write(&mut network, b"answer"), Ok(6));
    network.close(0, false);
    network.say(0, b"more");
    assert_eq!(run(&mut network, 0), []);
    network.lines[0].reads = Reads::All;
    network.go_out(0);
    assert_eq!((&network.lines[0].heard[..], network.lines[0].seen), (&b"answer"[..], Some(Seen::Reset)));
    network.say(0, b"and more");
    assert_eq!(run(&mut network, 0), []);
    assert_eq!(network.lines[0].inbound.len(), 0);
}

#[test]
fn who_does_not_read_sees_no_end() {
    let mut network = network(1, Setup::calm());
    network.lines[0].reads = Reads::Only(1);
    assert_eq!(write(&mut network, b"x"), Ok(1));
    network.end_ours(0);
    assert_eq!((&network.lines[0].heard[..], network.lines[0].seen), (&b"x"[..], None));
    network.lines[0].reads = Reads::Only(1);
    network.go_out(0);
    assert_eq!(network.lines[0].seen, Some(Seen::End));
}

#[test]
fn nothing_is_left_of_what_was_cut() {
    let mut network = network(1, Setup::calm());
    network.lines[0].reads = Reads::Only(0);
    assert_eq!(write(&mut network, b"answer"), Ok(6));
    network.close(0, true);
    assert_eq!((network.lines[0].outbound.len(), network.lines[0].seen), (0, Some(Seen::Reset)));
}

#[test]
fn late_reset_does_not_overtake_what_was_said() {
    for seed in 0..100 {
        let mut network = network(seed, Setup { late: true, ..Setup::calm() });
        network.say(0, b"one");
        network.say(0, b"two");
        network.end_of_peer(0, true);
        run(&mut network, 100);
        assert_eq!(read(&mut network, 9).unwrap(), b"onetwo", "seed {seed}\n{}", network.timeline);
        assert_eq!(read(&mut network, 9), Err(Blocked::Failed(TransportError::Reset)), "seed {seed}");
    }
}

/// Room that nobody is told of would be an edge that was lost.
#[test]
fn late_reset_leaves_no_room_before_it_arrives() {
    let mut network = network(1, Setup { room_bytes: 4, ..Setup::calm() });
    network.lines[0].reads = Reads::Only(0);
    assert_eq!(write(&mut network, b"full"), Ok(4));
    network.end_of_peer(0, true);
    assert_eq!(write(&mut network, b"more"), Err(Blocked::WouldBlock));
    let all = News { read: true, write: true, hang_up: true, urgent: false, failed: true };
    assert_eq!(run(&mut network, 0), [all]);
}

/// Whoever reads and writes until it would block, and again when it is told to, gets all
/// and is rid of all, in every network.
#[test]
fn every_refusal_is_followed_by_an_edge() {
    for seed in 0..500 {
        let room_bytes = if seed % 2 == 0 { 10 } else { 100 };
        let mut network = network(seed, Setup { room_bytes, ..Setup::rough() });
        let said: Vec<u8> = (0..=255).collect();
        let (mut got, mut left) = (Vec::new(), &said[..]);
        network.say(0, &said);
        network.end_of_peer(0, false);
        let (mut may_read, mut may_write) = (true, true);
        for _ in 0..10_000 {
            if may_read {
                may_read = match read(&mut network, 30) {
                    Ok(bytes) => {
                        // Short reads exhaust: the rest is told of.
                        got.extend_from_slice(&bytes);
                        bytes.len() == 30
                    }
                    Err(Blocked::WouldBlock) => false,
                    Err(Blocked::Failed(error)) => panic!("seed {seed}: {error}"),
                };
            }
            if may_write && !left.is_empty() {
                match write(&mut network, left) {
                    Ok(n) => left = &left[n..],
                    Err(Blocked::WouldBlock) => may_write = false,
                    Err(Blocked::Failed(error)) => panic!("seed {seed}: {error}"),
                }
            }
            if may_read || may_write && !left.is_empty() {
                continue;
            }
            network.come();
            let news = network.take_news(10);
            for (_, news) in &news {
                may_read |= news.read || news.hang_up;
                may_write |= news.write;
            }
            match network.next_time() {
                None if news.is_empty() => break,
                Some(at) if news.is_empty() => network.now = at,
                Some(_) | None => {}
            }
        }
        assert_eq!((got.len(), left.len()), (256, 0), "seed {seed}\n{}", network.timeline);
        assert!(got == said, "seed {seed}: other bytes\n{}", network.timeline);
        while let Some(at) = network.next_time() {
            network.now = network.now.max(at);
            network.come();
        }
        assert!(network.lines[0].heard == said, "seed {seed}: other bytes were heard\n{}", network.timeline);
        assert_eq!(network.lines[0].theirs, Theirs::Ended);
    }
}

/// A fault that is on and never strikes tests nothing.
#[test]
fn every_fault_strikes_and_none_that_is_off() {
    let off = Setup::calm();
    let faults: [(What, Setup); 4] = [
        (What::ReadBlocksForNothing, Setup { blocks: true, ..off }),
        (What::WriteBlocksForNothing, Setup { blocks: true, ..off }),
        (What::TheirReset, Setup { resets: true, ..off }),
        (What::Spurious, Setup { spurious: true, ..off }),
    ];
    for (what, setup) in faults {
        let count = |setup| {
            let seeds = 0..50;
            let happened = seeds.filter(|seed| {
                let mut network = network(*seed, setup);
                for _ in 0..20 {
                    network.say(0, b"x");
                    run(&mut network, 1);
                    let _ = (read(&mut network, 1), write(&mut network, b"x"));
                    network.spurious_news();
                }
                network.timeline.has(what)
            });
            happened.count()
        };
        assert!(count(setup) > 20, "{what:?} strikes in {} of 50 seeds", count(setup));
        assert_eq!(count(off), 0, "{what:?} is off");
    }
}

#[test]
fn late_and_cut_take_time_and_pieces() {
    let (mut late, mut pieces) = (0, 0);
    for seed in 0..50 {
        let mut network = network(seed, Setup { cuts: true, late: true, ..Setup::calm() });
        let before = network.now;
        network.say(0, &[1; 100]);
        while let Some(at) = network.next_time() {
            network.now = network.now.max(at);
            network.come();
        }
        late += usize::from(network.now > before);
        pieces += usize::from(read(&mut network, 100).unwrap().len() < 100);
    }
    assert!(late > 5 && pieces > 5, "{late} were late, {pieces} were cut");
    let mut network = network(3, Setup::calm());
    let before: Time = network.now;
    network.say(0, &[1; 100]);
    run(&mut network, 0);
    assert_eq!((network.now, read(&mut network, 100).unwrap().len()), (before, 100));
}
