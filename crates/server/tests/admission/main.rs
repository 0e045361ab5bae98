//! Who is let in, and how memory is shared, in a worker whose peers and time are the
//! test's. On real sockets it is in the conformance suite.

mod accepting;
mod crowd;
mod sharing;
mod stopping;

use crowd::{Crowd, Peer, Says};
use drywire_core::{CloseReport, Connection, Limit, Limits, Reason};
use drywire_protocols::LineEcho;
use drywire_server::{
    Address, Application, Commons, Config, Ended, Id, News, Refusal, Release, Rounds, Worker, least_memory_bytes,
};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One round of the simulated time.
const STEP: Duration = Duration::from_millis(10);

/// Lets in whoever comes, or nobody; remembers how they ended.
struct Host {
    limits: Limits,
    lets_in: bool,
    opened: Vec<Id>,
    ended: Vec<(Id, Reason<Infallible>)>,
}

impl Application<Crowd, LineEcho> for Host {
    fn accept(&mut self, _: &mut Worker<LineEcho, (), Crowd>, _: Id, _: &Address) -> Option<Connection<LineEcho>> {
        self.lets_in.then(|| Connection::new(LineEcho).with_limits(self.limits))
    }

    fn opened(&mut self, _: &mut Worker<LineEcho, (), Crowd>, id: Id) {
        self.opened.push(id);
    }

    fn closed(&mut self, _: &mut Worker<LineEcho, (), Crowd>, id: Id, report: CloseReport<Infallible>) {
        self.ended.push((id, report.reason));
    }
}

struct Stage {
    rounds: Rounds<LineEcho, (), Crowd>,
    host: Host,
    listener: Id,
    commons: Commons,
    next_peer: u32,
}

impl Stage {
    fn new(config: Config) -> Stage {
        let never = Limits::NEVER;
        let patient =
            Limits { idle_ms: never, first_byte_ms: never, message_ms: never, min_rate: never, ..Limits::DEFAULT };
        Stage::with_limits(config, patient)
    }

    fn with_limits(config: Config, limits: Limits) -> Stage {
        let commons = Commons::new(&config);
        let mut rounds = Rounds::sharing(Crowd::default(), config, commons.clone(), || {});
        let listener = rounds.listen(&Address::Pair).unwrap();
        let host = Host { limits, lets_in: true, opened: Vec::new(), ended: Vec::new() };
        Stage { rounds, host, listener, commons, next_peer: 0 }
    }

    fn come_from(&mut self, peer: &Peer, ip: Ipv4Addr) -> Option<Id> {
        let before = self.host.opened.len();
        let address = Address::Tcp(SocketAddr::new(IpAddr::V4(ip), 1));
        self.rounds.net_mut().backlog.push_back((peer.clone(), address));
        self.rounds.on_news(self.listener, News { read: true, ..News::default() }, &mut self.host);
        self.host.opened.get(before).copied()
    }

    /// From an address of its own.
    fn come(&mut self, peer: &Peer) -> Option<Id> {
        self.next_peer += 1;
        self.come_from(peer, Ipv4Addr::from_bits(self.next_peer))
    }

    fn say(&mut self, id: Id, peer: &Peer, bytes: &[u8]) {
        peer.say(bytes);
        self.rounds.on_news(id, News { read: true, ..News::default() }, &mut self.host);
    }

    /// Takes what is left of the memory, to the last byte.
    fn take_all(&self) -> usize {
        let mut taken = 0;
        for bytes in (0..24).rev().map(|bit| 1 << bit) {
            while self.commons.try_hold(bytes) {
                taken += bytes;
            }
        }
        taken
    }

    /// The same, and two peers with half a line have what is in hand, and the reserve. How much was
    /// taken, and who the two are.
    fn take_the_reserve_too(&mut self) -> (usize, [Id; 2]) {
        let halves = [Peer::honest(), Peer::honest()];
        let ids = [0, 1].map(|n| self.come(&halves[n]).unwrap());
        self.step();
        let taken = self.take_all();
        (0..2).for_each(|n| self.say(ids[n], &halves[n], b"half a line"));
        self.step();
        (taken, ids)
    }

    /// Time goes on, and a round is made.
    #[track_caller]
    fn step(&mut self) {
        self.rounds.net_mut().now = self.rounds.net().now + STEP;
        self.rounds.wake_up();
        self.rounds.finish_round(0, &mut self.host);
        self.check();
    }

    /// What is counted is within the budget, and no less than what is there, which is asked of
    /// the connections one by one.
    #[track_caller]
    fn check(&self) {
        let (held, budget) = (self.commons.held_bytes(), self.commons.memory_bytes());
        assert!(self.commons.most_held_bytes() <= budget, "I2: {} of {budget}", self.commons.most_held_bytes());
        let there: usize =
            self.host.opened.iter().filter_map(|id| Some(self.rounds.connection(*id)?.heap_bytes())).sum();
        assert!(there <= held, "{there} bytes are there, {held} counted");
    }

    #[track_caller]
    fn assert_nothing_left(self) {
        let Stage { rounds, commons, .. } = self;
        assert_eq!((commons.connections(), commons.addresses()), (rounds.len(), commons.addresses()));
        drop(rounds);
        assert_eq!((commons.connections(), commons.addresses(), commons.held_bytes()), (0, 0, 0), "I6");
    }
}

fn config(memory_bytes: usize) -> Config {
    Config { memory_bytes, refusal: "too busy\n".into(), ..Config::default() }
}

#[test]
fn fault_25_peer_beyond_the_cap_is_refused_with_words_and_let_in_when_one_has_gone() {
    let mut stage = Stage::new(Config { max_connections: 3, ..config(64 << 20) });
    let peers: Vec<_> = (0..3).map(|_| Peer::honest()).collect();
    let ids: Vec<_> = peers.iter().map(|peer| stage.come(peer).unwrap()).collect();
    let fourth = Peer::honest();
    assert_eq!(stage.come(&fourth), None);
    assert_eq!(fourth.state().ended, Some(Release::Close), "not a reset");
    assert_eq!(stage.rounds.net().refused, [b"too busy\n"]);
    // Connections of our own count like any other.
    let refused = stage.rounds.add(Peer::honest(), Connection::new(LineEcho)).unwrap_err();
    assert_eq!(refused.downcast::<Refusal>().unwrap(), Refusal::Connections { most: 3 });
    let refused = stage.rounds.connect(&Address::Pair, Connection::new(LineEcho)).unwrap_err();
    assert!(refused.to_string().contains("3 connections are open"), "{refused}");
    // Those who are in notice nothing.
    stage.say(ids[0], &peers[0], b"hello\n");
    assert_eq!(peers[0].state().taken, b"hello\n");
    stage.rounds.abort(ids[1]);
    stage.step();
    assert!(stage.come(&Peer::honest()).is_some());
    assert_eq!(stage.come(&Peer::honest()), None);
    let stats = stage.rounds.stats();
    assert_eq!((stats.accepted, stats.refused_by_connections), (4, 2));
    assert_eq!(stats.ended, Ended { aborted: 1, ..Ended::default() });
    stage.step();
    assert_eq!(stage.commons.stats(), stats, "what one worker counted is what all did");
    stage.assert_nothing_left();
}

#[test]
fn fault_26_address_that_has_its_share_is_refused_and_others_are_not() {
    let mut stage = Stage::new(Config { max_connections_per_address: 2, ..config(64 << 20) });
    let (one, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let first = stage.come_from(&Peer::honest(), one).unwrap();
    stage.come_from(&Peer::honest(), one).unwrap();
    assert_eq!(stage.come_from(&Peer::honest(), one), None);
    stage.come_from(&Peer::honest(), other).unwrap();
    // Nothing of ours is from an address.
    for _ in 0..3 {
        stage.rounds.add(Peer::honest(), Connection::new(LineEcho)).unwrap();
    }
    stage.rounds.abort(first);
    stage.step();
    stage.come_from(&Peer::honest(), one).unwrap();
    assert_eq!(stage.rounds.stats().refused_by_address, 1);
    stage.assert_nothing_left();
}

#[test]
fn i6_place_comes_back_whatever_way_it_ends() {
    let mut stage = Stage::new(Config { max_connections: 1, ..config(64 << 20) });
    stage.host.lets_in = false;
    for _ in 0..3 {
        assert_eq!(stage.come(&Peer::honest()), None);
    }
    stage.host.lets_in = true;
    stage.rounds.net_mut().is_full = true;
    for _ in 0..3 {
        assert_eq!(stage.come(&Peer::honest()), None);
        stage.rounds.add(Peer::honest(), Connection::new(LineEcho)).unwrap_err();
    }
    stage.rounds.net_mut().is_full = false;
    for n in 0..3 {
        let peer = if n == 0 { Peer::new(Says::Goodbye, true) } else { Peer::honest() };
        let id = stage.come(&peer).unwrap();
        stage.step();
        stage.rounds.close(id);
        stage.rounds.abort(id);
        stage.step();
    }
    let stats = stage.rounds.stats();
    assert_eq!((stats.turned_away, stats.accepted, stats.ended.all()), (3, 3, 3));
    assert_eq!((stats.refused_by_connections, stage.commons.connections()), (0, 0));
    stage.assert_nothing_left();
}

#[test]
fn connection_whose_bounds_no_budget_has_room_for_is_refused() {
    let growth = Connection::new(LineEcho).most_heap_bytes();
    let mut stage = Stage::new(config(growth));
    let refused = stage.rounds.add(Peer::honest(), Connection::new(LineEcho)).unwrap_err();
    assert!(matches!(refused.downcast::<Refusal>().unwrap(), Refusal::Memory { needed, .. } if needed == growth));
    assert_eq!(stage.come(&Peer::honest()), None);
    assert_eq!((stage.rounds.stats().refused_by_memory, stage.rounds.net().refused.len()), (1, 1));
    stage.assert_nothing_left();

    let mut stage = Stage::new(config(least_memory_bytes(1, growth)));
    let (peer, other) = (Peer::honest(), Peer::honest());
    let (id, _) = (stage.come(&peer).unwrap(), stage.come(&other).unwrap());
    stage.say(id, &peer, b"it works\n");
    assert_eq!(peer.state().taken, b"it works\n");
    // Nobody else wants anything, so nobody is cut for want of memory.
    stage.say(id, &peer, b"slo");
    for byte in b"wly\n" {
        (0..50).for_each(|_| stage.step());
        stage.say(id, &peer, &[*byte]);
    }
    assert_eq!(stage.host.ended, []);
    assert_eq!(peer.state().taken, b"it works\nslowly\n");
    stage.assert_nothing_left();
}

#[test]
fn who_waits_for_memory_goes_on_where_it_stood_and_nothing_spins_meanwhile() {
    let mut stage = Stage::new(config(8 << 20));
    let (holder, peer) = (Peer::honest(), Peer::honest());
    let (holding, id) = (stage.come(&holder).unwrap(), stage.come(&peer).unwrap());
    stage.say(holding, &holder, b"half a line");
    assert!(stage.rounds.connection(holding).unwrap().heap_bytes() > 0);
    // Somebody else takes all the memory there is.
    let (taken, _) = stage.take_the_reserve_too();
    stage.say(id, &peer, b"a whole line\n");
    for _ in 0..50 {
        stage.step();
        let now = stage.rounds.net().now;
        let at = stage.rounds.next_deadline().expect("it looks again by itself");
        assert!(now < at && at <= now + Duration::from_millis(50), "I3: now is {now:?}, and it waits until {at:?}");
        assert_eq!(peer.state().taken, b"");
    }
    stage.commons.let_go(taken);
    for _ in 0..3 {
        stage.step();
    }
    assert_eq!(peer.state().taken, b"a whole line\n");
    stage.say(holding, &holder, b", and the rest\n");
    assert_eq!(holder.state().taken, b"half a line, and the rest\n");
    assert_eq!(stage.rounds.next_deadline(), None, "nobody waits for anything");
    assert_eq!(stage.host.ended, []);
    stage.assert_nothing_left();
}

#[test]
fn nobody_is_cut_for_one_that_waited_and_has_gone() {
    let mut stage = Stage::new(config(8 << 20));
    let (holder, peer) = (Peer::honest(), Peer::honest());
    let (holding, id) = (stage.come(&holder).unwrap(), stage.come(&peer).unwrap());
    stage.say(holding, &holder, b"half a line");
    let (taken, [hand, _]) = stage.take_the_reserve_too();
    stage.say(id, &peer, b"a whole line\n");
    stage.step();
    assert_eq!(peer.state().taken, b"");
    stage.rounds.abort(id);
    stage.rounds.abort(hand);
    for _ in 0..300 {
        stage.step();
    }
    assert_eq!(stage.host.ended.len(), 2, "{:?}", stage.host.ended);
    stage.commons.let_go(taken);
    (0..50).for_each(|_| stage.step());
    assert_eq!(stage.rounds.next_deadline(), None, "nobody waits for anything");
    stage.assert_nothing_left();
}

#[test]
fn pressure_that_lasts_cuts_those_that_rest_the_largest_first_and_none_that_waits() {
    let mut stage = Stage::new(config(8 << 20));
    let halves: Vec<_> = (1..=4).map(|_| Peer::honest()).collect();
    let ids: Vec<_> = halves.iter().map(|peer| stage.come(peer).unwrap()).collect();
    for (n, (id, peer)) in ids.iter().zip(&halves).enumerate() {
        stage.say(*id, peer, &vec![b'x'; [100, 9000, 100, 2000][n]]);
    }
    let (taken, _) = stage.take_the_reserve_too();
    let peer = Peer::honest();
    let id = stage.come(&peer).unwrap();
    stage.say(ids[0], &halves[0], b"some more");
    stage.say(id, &peer, b"hello\n");
    let mut steps = 0;
    while stage.host.ended.is_empty() {
        stage.step();
        steps += 1;
        assert!(steps < 1000, "nobody is cut");
    }
    assert!(steps >= 100, "a burst is given a second, not {steps} steps of 10 ms");
    assert_eq!(stage.host.ended[..2], [(ids[1], Reason::Shed), (ids[3], Reason::Shed)], "the largest first");
    assert_eq!(halves[1].state().ended, Some(Release::Reset));
    assert_eq!(peer.state().taken, b"hello\n", "what became free is for those who waited");
    stage.step();
    let cut = stage.host.ended.clone();
    assert!(cut.iter().all(|(id, _)| *id != ids[0]), "it waited itself: {cut:?}");
    stage.commons.let_go(taken);
    stage.say(ids[0], &halves[0], b", and the end\n");
    (0..3).for_each(|_| stage.step());
    assert!(halves[0].state().taken.ends_with(b"some more, and the end\n"));
    assert_eq!((stage.host.ended.len(), stage.rounds.stats().ended.shed), (cut.len(), cut.len() as u64));
    stage.assert_nothing_left();
}

#[test]
fn fault_1_half_messages_time_out_though_there_is_no_memory() {
    let mut stage = Stage::with_limits(config(8 << 20), Limits { idle_ms: 500, linger_ms: 0, ..Limits::DEFAULT });
    let (slow, other) = (Peer::honest(), Peer::honest());
    let (id, waiting) = (stage.come(&slow).unwrap(), stage.come(&other).unwrap());
    stage.say(id, &slow, b"half a li");
    let (_, halves) = stage.take_the_reserve_too();
    stage.say(waiting, &other, b"hello\n");
    assert_eq!(other.state().taken, b"");
    for _ in 0..60 {
        stage.step();
    }
    for id in [id, halves[0], halves[1]] {
        assert!(stage.host.ended.contains(&(id, Reason::Limit(Limit::Idle(500)))), "{:?}", stage.host.ended);
    }
    assert!(other.state().taken.starts_with(b"hello\n"));
}

/// Four hundred peers that ask for ever and never read, four hundred with half a line,
/// and ten that talk: the budget holds at every step, the ten are served during
/// the attack, and nothing is left after it.
#[test]
fn memory_under_attack_stays_under_the_budget_and_honest_peers_are_served() {
    let mut stage = Stage::new(Config { budget_bytes: 256 * 1024, ..config(8 << 20) });
    let mut honest: Vec<_> = (0..10).map(|_| Peer::honest()).collect();
    let ids: Vec<_> = honest.iter().map(|peer| stage.come(peer).unwrap()).collect();
    let mut attackers = Vec::new();
    for n in 0..800 {
        let peer = if n % 2 == 0 {
            Peer::new(Says::Endlessly(b"0123456789 again and again\n"), false)
        } else {
            let peer = Peer::honest();
            peer.say(&[b'x'; 9000]);
            peer
        };
        stage.come(&peer);
        attackers.push(peer);
    }
    let (mut asked, mut answers, mut longest) = ([0_u32; 10], 0, 0);
    for step in 0..3000_u32 {
        stage.step();
        for n in 0..honest.len() {
            if !honest[n].state().taken.is_empty() {
                assert_eq!(honest[n].state().taken, b"an honest line\n", "I1");
                honest[n].state().taken.clear();
                longest = longest.max(step - asked[n]);
                answers += 1;
                asked[n] = 0;
            }
            if asked[n] == 0 {
                asked[n] = step + 1;
                stage.say(ids[n], &honest[n], b"an honest line\n");
            }
        }
    }
    let waiting = asked.iter().map(|asked| 3000 - asked).max().unwrap_or(0);
    assert!(longest.max(waiting) <= 300, "an honest peer waited for {longest} or {waiting} steps of 10 ms");
    assert!(answers > 10_000, "{answers} answers in 3000 steps");
    let stats = stage.rounds.stats();
    assert!(stats.ended.shed > 0, "without a cut the never-readers have it all: {stats:?}");
    assert_eq!(stats.ended.all(), stats.ended.shed, "nobody ended otherwise");
    assert!(ids.iter().all(|id| stage.rounds.connection(*id).is_some()), "nobody who talks was cut");
    // The attack is over.
    for attacker in &attackers {
        attacker.state().says = Says::Goodbye;
        attacker.state().takes = true;
    }
    let open: Vec<_> = stage.host.opened.clone();
    for id in open {
        stage.rounds.on_news(id, News { read: true, write: true, ..News::default() }, &mut stage.host);
    }
    // Those with half a line all want to end at once, and may have to wait until one is cut.
    for _ in 0..300 {
        stage.step();
    }
    assert_eq!(stage.rounds.len(), 10);
    let (now, next) = (stage.rounds.net().now, stage.rounds.next_deadline());
    assert!(next.is_none_or(|at| at > now + Duration::from_secs(1)), "nobody waits for memory: {next:?}");
    honest.truncate(0);
    stage.assert_nothing_left();
}

/// The last sixteenth is for those who come.
#[test]
fn newcomers_are_let_in_while_the_others_hold_all_they_may() {
    let mut stage = Stage::new(config(8 << 20));
    stage.come(&Peer::honest()).unwrap();
    stage.take_all();
    let come = (0..5000).take_while(|_| stage.come(&Peer::honest()).is_some()).count();
    assert!(come > 500, "{come} were let in");
    assert!(come < 5000, "and then no more");
    assert_eq!(stage.rounds.stats().refused_by_memory, 1);
    assert!(stage.commons.most_held_bytes() <= stage.commons.memory_bytes());
}
