//! What the server of a world is told beside its peers: caps, bounds, a group, a tick.
//! Drawn from numbers of their own, so that all else is as it is without them.

use super::plan::{Script, Way};
use super::swarm::{Fault, Swarm};
use crate::Random;
use drywire_server::{Config, OnPanic, Slow};
use std::time::Duration;

/// What a peer hears that is refused.
pub(crate) const REFUSAL: &str = "421 too many\r\n";

/// Addresses that peers share.
pub(crate) const ADDRESSES: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(crate) struct House {
    pub(crate) max_connections: usize,
    pub(crate) max_per_address: usize,
    pub(crate) command_bytes: u32,
    /// A budget in which connections have to wait for memory: so many tenths of what one turn
    /// may take, and so many bytes.
    pub(crate) memory: Option<(usize, usize)>,
    pub(crate) tick: Option<Duration>,
    /// How much of a group may wait for a member, and what becomes of a slow one.
    pub(crate) group: Option<(u32, Slow)>,
    /// A panic in a callback or a handler is part of the world. Where it is not, one is found
    /// and named at once.
    pub(crate) on_panic: OnPanic,
}

impl House {
    pub(crate) fn new(seed: u64, scripts: &[Script], swarm: &Swarm, has_victim: bool) -> House {
        let mut random = Random::new(seed ^ 0x484f_5553_4500);
        let defaults = Config::default();
        let come = scripts.iter().filter(|script| script.way == Way::Comes).count().max(1);
        let caps = random.one_in(4).then(|| random.between(1, come + 1));
        let shares = random.one_in(4).then(|| random.between(1, 1 + come / 2));
        let command_bytes = random.pick(&[defaults.command_bytes_per_connection, 2000, 700, 150]);
        let tick = random.one_in(3).then(|| Duration::from_micros(random.pick(&[5000, 7300, 90_000, 2_000_000])));
        let bound = random.pick(&[150, 400, 1000, 100_000]);
        let slow = random.pick(&[Slow::Skip, Slow::DropOldest, Slow::DropOldest, Slow::Close]);
        let group = random.one_in(2).then_some((bound, slow));
        let memory = random.one_in(5).then(|| (random.pick(&[11, 20, 30, 30]), random.between(2500, 12_000)));
        let memory = memory.filter(|_| !has_victim);
        let panics = [Fault::HandlerPanics, Fault::CallbackPanics].iter().any(|fault| swarm.is_on(*fault));
        // Whoever is spared is not refused.
        let unless_spared = |cap: Option<usize>, default| cap.filter(|_| !has_victim).unwrap_or(default);
        House {
            max_connections: unless_spared(caps, defaults.max_connections),
            max_per_address: unless_spared(shares, defaults.max_connections_per_address),
            command_bytes,
            memory,
            tick,
            // What becomes of a message is to follow from the group alone.
            group: group.filter(|_| memory.is_none()),
            on_panic: if panics { OnPanic::Isolate } else { OnPanic::Stop },
        }
    }
}
