//! A seed written out: which protocol, who comes, what they say, and how they behave.

use super::house::House;
use super::swarm::{Fault, Strike, Swarm};
use crate::Random;
use drywire_core::{Limits, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// What is left out of a seed's world: nothing at first, and more and more while a
/// failure is shortened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Faults that are off.
    pub faults: BTreeSet<Fault>,
    /// Peers that do not come.
    pub peers: BTreeSet<usize>,
    /// Peers that say only so many bytes.
    pub scripts: Vec<(usize, usize)>,
    /// Peers whose network is fast and wide.
    pub eased: BTreeSet<usize>,
    /// The only strikes of faults there are.
    pub strikes: Option<BTreeSet<Strike>>,
}

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Bytes,
    Lines,
    Dialog,
    Actor,
}

/// What the poller is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poller {
    /// News on a change, as epoll has it; `short`: a short read is an empty socket.
    Edges { short: bool },
    /// News when it was asked for, once, as async-io and poll(2) have it.
    Asked,
}

/// How a peer comes into the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It connects.
    Comes,
    /// We connect to it.
    Called,
    /// It is open already, and added.
    Added,
}

/// What a peer does when it has said everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Ends its direction, and reads on.
    HalfCloses,
    /// Waits for our end.
    Waits,
    /// Resets, after this many bytes of its script.
    Resets(usize),
}

/// How a peer takes what we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Fast,
    /// So many bytes at a time.
    Slowly(usize, Duration),
    Never,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) way: Way,
    pub(crate) at: Time,
    pub(crate) says: Vec<u8>,
    pub(crate) ends: Ends,
    pub(crate) reads: Reads,
    /// It falls silent after this many bytes.
    pub(crate) vanishes: Option<usize>,
    /// Bytes that are on their way to it at most.
    pub(crate) window: usize,
    /// Bytes of it that wait for us at most.
    pub(crate) backlog: usize,
    pub(crate) latency: Duration,
    /// Most that it waits between two pieces, and their largest size.
    pub(crate) gap: Duration,
    pub(crate) piece: usize,
    pub(crate) limits: Limits,
    /// The write that is refused as if it did not fit; 0 for none.
    pub(crate) full: u32,
    /// We connect to it by name, and wait for so long.
    pub(crate) named: Option<Duration>,
    /// The handler call that panics; 0 for none.
    pub(crate) panics: u32,
    pub(crate) random: Random,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) speech: Speech,
    /// There is a layer between the protocol and the network.
    pub(crate) is_veiled: bool,
    pub(crate) poller: Poller,
    pub(crate) scripts: Vec<Script>,
    pub(crate) swarm: Swarm,
    pub(crate) absent: BTreeSet<usize>,
    pub(crate) drain_timeout: Duration,
    pub(crate) commands: usize,
    pub(crate) commands_per_connection: u32,
    pub(crate) news_per_round: usize,
    pub(crate) budget: usize,
    pub(crate) house: House,
    pub(crate) files: Vec<Vec<u8>>,
    /// A polite peer whose transcript is compared with that of a world without the
    /// others (I5).
    pub(crate) victim: Option<usize>,
    pub(crate) random: Random,
}

/// Peers of a world that nobody meets unless the application adds them.
const SPARE: usize = 2;

impl Plan {
    pub(crate) fn new(seed: u64, cut: &Cut) -> Plan {
        let mut random = Random::new(seed);
        let mut swarm = Swarm::new(seed, &cut.faults, cut.strikes.clone());
        let speech =
            random.pick(&[Speech::Bytes, Speech::Lines, Speech::Dialog, Speech::Actor, Speech::Actor, Speech::Actor]);
        let poller = random.pick(&[
            Poller::Edges { short: true },
            Poller::Edges { short: true },
            Poller::Edges { short: false },
            Poller::Asked,
        ]);
        let victim = random.one_in(8).then_some(0);
        if victim.is_some() {
            swarm.spared = victim;
            for fault in [Fault::Shutdown, Fault::Stop, Fault::Dropped] {
                swarm.switch_off(fault);
            }
        }
        let files = (0..6).map(|_| {
            let len = random.pick(&[0, 1, 30, 200, 3000, 9000]);
            random.bytes(len)
        });
        let files = files.collect();
        // More than one turn accepts (FAULTS 24).
        let is_crowd = random.one_in(100);
        let peers = if is_crowd { random.between(66, 80) } else { random.between(1, 6) };
        let mut scripts: Vec<Script> =
            (0..peers + SPARE).map(|line| Script::new(seed, line, speech, victim == Some(line), &mut swarm)).collect();
        for (line, len) in &cut.scripts {
            scripts[*line].says.truncate(*len);
        }
        for line in &cut.eased {
            scripts[*line].ease();
        }
        for script in scripts.iter_mut().filter(|_| is_crowd) {
            (script.way, script.at) = (Way::Comes, Time::ZERO);
            script.says.truncate(20);
        }
        for script in &mut scripts[peers..] {
            script.way = Way::Added;
        }
        let house = House::new(seed, &scripts, &swarm, victim.is_some());
        Plan {
            seed,
            speech,
            // A number of its own: all else is as it was before there was a layer.
            is_veiled: Random::new(seed ^ 0x5eed_0000_0000_0007).one_in(3),
            poller,
            scripts,
            swarm,
            absent: cut.peers.clone(),
            drain_timeout: Duration::from_millis(random.pick(&[0, 1, 20, 500, 10_000])),
            commands: random.pick(&[2, 16, 1024]),
            commands_per_connection: random.pick(&[1, 2, 8, 64]),
            news_per_round: random.pick(&[1, 2, 3, 1024, 1024]),
            budget: random.pick(&[1, 200, 1000, 8192, 1 << 20, 1 << 20]),
            house,
            files,
            victim,
            random,
        }
    }
}

impl Script {
    fn new(seed: u64, line: usize, speech: Speech, polite: bool, swarm: &mut Swarm) -> Script {
        let mut random = Random::new(seed ^ (line as u64 + 1).wrapping_mul(0x5eed_0000_0000_0003));
        let mut chances = [0; Fault::COUNT];
        let mut befalls = |fault| swarm.strikes(fault, line, &mut chances);
        let ms = |n| Duration::from_millis(n);
        // Numbers of their own, so that all else is as it was before there were these limits.
        let mut haste = Random::new(seed ^ (line as u64 + 1).wrapping_mul(0x5eed_0000_0000_0005));
        let mut limits = Limits {
            input_bytes: random.pick(&[32, 64, 200, 1024, 10_240]),
            output_bytes: random.pick(&[64, 100, 300, 1200, 20_000]),
            linger_bytes: random.pick(&[0, 50, 1 << 20, 1 << 20]),
            linger_ms: random.pick(&[0, 3, 200, 5000]),
            stall_ms: random.pick(&[0, 5, 80, 2000]),
            idle_ms: random.pick(&[Limits::NEVER, Limits::NEVER, 10, 150, 3000]),
            first_byte_ms: haste.pick(&[Limits::NEVER, Limits::NEVER, Limits::NEVER, 5, 90]),
            message_ms: haste.pick(&[Limits::NEVER, Limits::NEVER, Limits::NEVER, 8, 120]),
            min_rate: haste.pick(&[Limits::NEVER, Limits::NEVER, 20, 1000, 100_000]),
            rate_ms: haste.pick(&[3, 40, 600]),
            events: random.pick(&[1, 2, 4, 64]),
            files: random.pick(&[1, 2, 3, 8]),
        };
        if polite {
            let never = Limits::NEVER;
            (limits.stall_ms, limits.idle_ms) = (never, never);
            (limits.first_byte_ms, limits.message_ms, limits.min_rate) = (never, never, never);
        }
        let says = match speech {
            Speech::Bytes => {
                let len = random.pick(&[0, 5, 60, 300, 2000]);
                random.bytes(len)
            }
            Speech::Lines => lines(&mut random),
            Speech::Dialog => requests(&mut random),
            Speech::Actor => frames(&mut random, polite),
        };
        let reads = if befalls(Fault::NeverReads) {
            Reads::Never
        } else if befalls(Fault::ReadsSlowly) {
            Reads::Slowly(random.pick(&[7, 40, 300]), ms(random.pick(&[1, 4, 12])))
        } else {
            Reads::Fast
        };
        let vanishes = befalls(Fault::Vanishes).then(|| random.between(0, says.len()));
        let resets = befalls(Fault::Reset).then(|| random.between(0, says.len()));
        let ends = match resets {
            Some(at) => Ends::Resets(at),
            None if polite || !random.one_in(4) => Ends::HalfCloses,
            None => Ends::Waits,
        };
        Script {
            way: if !polite && random.one_in(4) { Way::Called } else { Way::Comes },
            at: Time::from_nanos(random.between(0, 3_000_000) as u64),
            says,
            ends,
            reads,
            vanishes,
            window: random.pick(&[3, 30, 200, 1000, 4096, 65_536]),
            backlog: random.pick(&[2, 50, 700, 4096, 65_536]),
            latency: Duration::from_micros(random.pick(&[1, 40, 300, 4000])),
            gap: Duration::from_micros(random.pick(&[0, 10, 500, 6000, 40_000])),
            piece: random.pick(&[1, 3, 20, 100, 600, 4096]),
            limits,
            full: if befalls(Fault::Full) { random.between(1, 12) as u32 } else { 0 },
            named: haste.one_in(2).then(|| ms(haste.pick(&[0, 3, 30, 900]))),
            panics: if befalls(Fault::HandlerPanics) { haste.between(1, 25) as u32 } else { 0 },
            random,
        }
    }
}

impl Script {
    /// Nothing is slow, and nothing is cut more often than it must be.
    fn ease(&mut self) {
        (self.window, self.backlog, self.piece) = (65_536, 65_536, 4096);
        (self.latency, self.gap) = (Duration::from_micros(1), Duration::ZERO);
    }
}

fn lines(random: &mut Random) -> Vec<u8> {
    let mut says = Vec::new();
    for _ in 0..random.between(0, 30) {
        let len = random.pick(&[0, 1, 5, 20, 31, 60, 150]);
        let mut line = random.bytes(len);
        line.retain(|byte| *byte != b'\n');
        says.extend_from_slice(&line);
        if !random.one_in(30) {
            says.extend_from_slice(random.pick(&[&b"\n"[..], b"\r\n", b"\n"]));
        }
        if random.one_in(40) {
            says.extend_from_slice(random.pick(&[&b"quit\n"[..], b"quit\r\n"]));
        }
    }
    says
}

fn requests(random: &mut Random) -> Vec<u8> {
    let mut says = Vec::new();
    for _ in 0..random.between(0, 25) {
        let name = random.between(0, 6);
        match random.between(0, 20) {
            0..=7 => says.extend_from_slice(format!("GET f{name}\n").as_bytes()),
            8..=11 => says.extend_from_slice(format!("SIZE f{name}\r\n").as_bytes()),
            12..=17 => says.extend_from_slice(b"NOOP\n"),
            18 => says.extend_from_slice(b"GET nowhere\n"),
            _ if random.one_in(4) => {
                says.extend_from_slice(random.pick(&[&b"QUIT\n"[..], b"HELO\n", b"\n", b"GET \n"]))
            }
            _ if random.one_in(6) => says.extend_from_slice(&[b'x'; 300]),
            _ => {}
        }
    }
    says
}

/// Frames of the actor: a length, and that many codes.
fn frames(random: &mut Random, polite: bool) -> Vec<u8> {
    let mut says = Vec::new();
    for _ in 0..random.between(0, 40) {
        let len = random.between(0, 6);
        says.push(len as u8);
        for _ in 0..len {
            says.push(super::actor::code(random, polite));
        }
    }
    says
}
