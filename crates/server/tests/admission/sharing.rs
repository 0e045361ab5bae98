//! Several workers and one budget: none has so much in hand that others have nothing, and
//! connections that each hold a part of a long message do not wait for each other for ever.

use super::STEP;
use super::crowd::{Crowd, Peer, Says};
use drywire_core::{CloseReport, Connection, Context, Limits, Protocol, Stop, Time};
use drywire_protocols::{BadMessage, Hub, HubEcho};
use drywire_server::{Application, Commons, Config, Id, News, Rounds, Worker, least_memory_bytes};
use std::convert::Infallible;

type Worked = Worker<HubEcho, (), Crowd>;

/// How connections of one worker ended.
#[derive(Default)]
struct Ends(Vec<CloseReport<BadMessage>>);

impl Application<Crowd, HubEcho> for Ends {
    fn closed(&mut self, _: &mut Worked, _: Id, report: CloseReport<BadMessage>) {
        self.0.push(report);
    }
}

struct Workshop {
    longest: u32,
    workers: Vec<(Rounds<HubEcho, (), Crowd>, Ends)>,
    peers: Vec<(usize, Id, Peer)>,
    commons: Commons,
}

fn most(longest: u32) -> usize {
    Connection::<HubEcho>::most_heap_bytes_by(&Hub::limits(longest))
}

impl Workshop {
    fn new(workers: usize, longest: u32, config: Config) -> Workshop {
        let config = Config { workers, ..config };
        let commons = Commons::new(&config);
        let worker = |_| (Rounds::sharing(Crowd::default(), config.clone(), commons.clone(), || {}), Ends::default());
        Workshop { longest, workers: (0..workers).map(worker).collect(), peers: Vec::new(), commons }
    }

    /// One more connection, on the next worker.
    fn add(&mut self) -> Peer {
        let (peer, worker) = (Peer::new(Says::Bytes([].into()), true), self.peers.len() % self.workers.len());
        let connection = Connection::new(HubEcho::with_longest(self.longest)).with_limits(Hub::limits(self.longest));
        let id = self.workers[worker].0.add(peer.clone(), connection).unwrap();
        self.peers.push((worker, id, peer.clone()));
        peer
    }

    /// Time goes on; who has said something is heard.
    fn step(&mut self) {
        for (worker, id, peer) in &self.peers {
            let has_said = matches!(&peer.state().says, Says::Bytes(said) if !said.is_empty());
            let (rounds, ends) = &mut self.workers[*worker];
            if has_said {
                rounds.on_news(*id, News { read: true, ..News::default() }, ends);
            }
        }
        for (rounds, ends) in &mut self.workers {
            rounds.net_mut().now = rounds.net().now + STEP;
            rounds.wake_up();
            rounds.finish_round(0, ends);
        }
        self.check();
    }

    /// I2, asked of the connections one by one.
    fn check(&self) {
        let there: usize = self.peers.iter().filter_map(|(worker, id, _)| self.heap_bytes(*worker, *id)).sum();
        let (held, budget) = (self.commons.held_bytes(), self.commons.memory_bytes());
        assert!(there <= held, "I2: {there} bytes are there, {held} counted");
        assert!(self.commons.most_held_bytes() <= budget, "I2: {} of {budget}", self.commons.most_held_bytes());
    }

    fn heap_bytes(&self, worker: usize, id: Id) -> Option<usize> {
        self.workers[worker].0.connection(id).map(Connection::heap_bytes)
    }

    fn ends(&self) -> usize {
        self.workers.iter().map(|(_, ends)| ends.0.len()).sum()
    }

    fn now(&self) -> Time {
        self.workers[0].0.net().now
    }

    /// A message of the longest size, in pieces of 32 KiB to all peers in turns, so that every one is
    /// in the middle of its own when memory is short.
    fn all_say_the_longest(&mut self) {
        let begins = u64::from(self.longest).to_le_bytes();
        self.peers.iter().for_each(|(.., peer)| peer.say(&begins));
        for _ in 0..self.longest.div_ceil(PIECE) {
            self.peers.iter().for_each(|(.., peer)| peer.say(&[7; PIECE as usize]));
            self.step();
        }
    }

    #[track_caller]
    fn assert_all_answered_within(&mut self, steps: u32) {
        let whole = self.longest as usize + 8;
        for _ in 0..steps {
            self.step();
            assert_eq!(self.ends(), 0, "a connection is cut that was in the middle of its message");
            if self.peers.iter().all(|(.., peer)| peer.state().taken.len() == whole) {
                return;
            }
        }
        let taken: Vec<_> = self.peers.iter().map(|(.., peer)| peer.state().taken.len()).collect();
        panic!("not answered after {steps} steps: {taken:?}");
    }
}

const PIECE: u32 = 32 * 1024;

#[test]
fn each_worker_serves_its_connections_however_many_there_are_and_however_long_messages_may_be() {
    for (workers, memory_bytes) in [(8, 1 << 30), (16, 1 << 30), (64, 1 << 30), (1, 128 << 20), (16, 128 << 20)] {
        let mut shop = Workshop::new(workers, 16 << 20, Config { memory_bytes, ..Config::default() });
        let peers: Vec<_> = (0..200).map(|_| shop.add()).collect();
        peers.iter().for_each(|peer| peer.say(&[0; 8]));
        for _ in 0..5 {
            shop.step();
        }
        let answered = peers.iter().filter(|peer| peer.state().taken == [0; 8]).count();
        assert_eq!(answered, 200, "{workers} workers, {memory_bytes} bytes");
        assert_eq!(shop.ends(), 0);
    }
}

#[test]
fn longest_messages_of_sixteen_peers_at_once_are_all_answered_in_the_smallest_budget() {
    for workers in [1, 3, 16] {
        let longest = 1 << 20;
        let memory_bytes = least_memory_bytes(workers, most(longest));
        let mut shop = Workshop::new(workers, longest, Config { memory_bytes, ..Config::default() });
        (0..16).for_each(|_| drop(shop.add()));
        shop.all_say_the_longest();
        shop.assert_all_answered_within(5000);
        for (rounds, _) in &shop.workers {
            let next = rounds.next_deadline();
            assert!(next.is_none_or(|at| at > shop.now() + STEP * 10), "nobody waits for anything: {next:?}");
        }
        let Workshop { workers, commons, .. } = shop;
        drop(workers);
        assert_eq!(commons.held_bytes(), 0, "I6");
    }
}

/// The one that has the reserve says no more: it is cut, because the others wait, and they are served.
#[test]
fn peer_that_stops_in_the_middle_does_not_hold_up_those_of_other_workers() {
    let longest = 1 << 20;
    let memory_bytes = least_memory_bytes(3, most(longest));
    let mut shop = Workshop::new(3, longest, Config { memory_bytes, ..Config::default() });
    // As many as have all there is, one with the reserve among them.
    let silent: Vec<_> = (0..12).map(|_| shop.add()).collect();
    for peer in &silent {
        peer.say(&u64::from(longest).to_le_bytes());
        peer.say(&vec![7; longest as usize - 1]);
    }
    (0..30).for_each(|_| shop.step());
    let honest = shop.add();
    honest.say(&u64::from(longest).to_le_bytes());
    honest.say(&vec![8; longest as usize]);
    let mut steps = 0;
    while honest.state().taken.len() < longest as usize + 8 {
        shop.step();
        steps += 1;
        assert!(steps < 3000, "it waits for those who say no more");
    }
    assert!(shop.ends() > 0 && shop.ends() < 12, "{} were cut", shop.ends());
}

/// A mebibyte for each byte.
struct Generous;

impl Protocol for Generous {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;
    const LIMITS: Limits = Limits { output_bytes: 4 << 20, files: 0, ..Limits::DEFAULT };

    fn consume(&mut self, _: &[u8], cx: &mut Context<'_, Generous>) -> Result<usize, Stop<Infallible>> {
        cx.write(&vec![0; 1 << 20])?;
        Ok(1)
    }
}

struct Nothing;

impl Application<Crowd, Generous> for Nothing {}

/// What is queued at once is more than is in hand.
#[test]
fn answers_larger_than_a_step_are_counted_before_they_are_queued() {
    let config = Config { memory_bytes: 128 << 20, ..Config::default() };
    let commons = Commons::new(&config);
    let mut rounds = Rounds::sharing(Crowd::default(), config, commons.clone(), || {});
    let ids: Vec<_> = (0..24)
        .map(|_| rounds.add(Peer::new(Says::Bytes([1; 4].into()), false), Connection::new(Generous)).unwrap())
        .collect();
    for _ in 0..20 {
        rounds.net_mut().now = rounds.net().now + STEP;
        rounds.wake_up();
        rounds.finish_round(0, &mut Nothing);
        let there: usize = ids.iter().map(|id| rounds.connection(*id).unwrap().heap_bytes()).sum();
        assert!(there <= commons.held_bytes(), "I2: {there} bytes are there, {} counted", commons.held_bytes());
    }
    let full = ids.iter().filter(|id| rounds.connection(**id).unwrap().held_bytes() == 4 << 20).count();
    assert!(full > 12, "{full} have all that they asked for");
    assert!(commons.most_held_bytes() <= commons.memory_bytes());
}
