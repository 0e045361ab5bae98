//! The worker's part of the memory budget: who may grow, who waits for it, and who is
//! cut when waiting does not help.

use super::Worker;
use super::slot::{Entry, Slot};
use crate::admission::{KEPT_FOR_EMPTY_HANDED, Origin, Place, Refusal};
use crate::application::Application;
use crate::commons::Commons;
use crate::log_limit::{Log, LogLimiter};
use crate::net::Net;
use crate::table::{Id, Table};
use drywire_core::layer::Layer;
use drywire_core::{Budget, CloseReport, Connection, Protocol, Reason, Time, planted};
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::time::Duration;
use tracing::warn;

/// What a worker keeps for one connection outside of the table, in bytes: alarms, its
/// place in the ready list, its address among all.
const BESIDE_THE_TABLE: usize = 160;

/// How long connections wait for memory before one of them is cut for it. Long enough
/// for a burst to be over, short against what a person waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// From one cut to the next, while the pressure lasts.
const BETWEEN_CUTS: Duration = Duration::from_millis(50);

/// The same while somebody waits who holds nothing: those who hold something have had
/// more. Then so many are cut at once that this part of the budget becomes free.
const BETWEEN_URGENT_CUTS: Duration = Duration::from_millis(10);
const FREED_AT_ONCE: usize = 16;

/// How often those who wait look whether another worker has freed something.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a connection may move in one turn under pressure, in bytes: one read or so. Many small
/// steps leave room for those who need little.
const SMALL_TURN: usize = 16 * 1024;

/// Connections that ended while they waited and are not worth a search.
const STALE: usize = 1024;

/// A worker's account with the budget.
///
/// A turn is made only with `left == growth` bytes in hand, which is more than any
/// connection can grow by it; what it grew is taken from these, and they are filled up again from
/// [`Commons`] before the next turn. So bytes are counted before they are held, and a
/// connection that holds nothing before and after its turn touches nothing shared.
pub(super) struct Memory {
    commons: Commons,
    /// Bytes of the budget that this worker has taken: those in hand, and what its
    /// connections hold.
    taken: usize,
    /// The most one of its connections can grow in one turn.
    growth: usize,
    /// What is in hand of that.
    left: usize,
    starved: Starved,
    pressure: Pressure,
    /// When those who wait look again.
    look_at: Time,
    log: LogLimiter,
}

/// How long there has not been enough memory.
///
/// ```text
///        somebody had to wait          for PATIENCE
///  Calm ───────────────────▶ Waiting ──────────────▶ Cutting ──┐ who holds most,
///   ▲                           │                       │  ▲   │ again and again
///   └───────────────────────────┴───────────────────────┘  └───┘
///      everybody who waited        nobody had to wait
///      had a turn                  for PATIENCE
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressure {
    Calm,
    Waiting { until: Time },
    Cutting { next: Time, calm_at: Time },
}

/// Who waits for memory. Whoever holds nothing goes first: it may need little, and has
/// had less than the others.
#[derive(Debug, Default)]
struct Starved {
    empty_handed: VecDeque<Id>,
    holding: VecDeque<Id>,
}

/// Which of those who waited had a turn in which they could grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    /// Not even all who hold nothing.
    Nobody,
    /// All who hold nothing.
    EmptyHanded,
    Everybody,
}

impl Memory {
    pub(super) fn new(commons: Commons) -> Memory {
        Memory {
            commons,
            taken: 0,
            growth: 0,
            left: 0,
            starved: Starved::default(),
            pressure: Pressure::Calm,
            look_at: Time::NEVER,
            log: LogLimiter::new(),
        }
    }

    pub(super) fn commons(&self) -> &Commons {
        &self.commons
    }

    /// When to come by though nothing happens.
    pub(super) fn deadline(&self) -> Time {
        self.look_at
    }

    /// A connection comes that may grow by so much in one turn.
    fn make_room(&mut self, growth: usize) -> Result<(), Refusal> {
        let more = growth.saturating_sub(self.growth);
        if more > 0 {
            if !self.commons.try_hold(more) {
                return Err(Refusal::Memory { needed: more, budget: self.commons.memory_bytes() });
            }
            self.taken += more;
            self.left += more;
            self.growth = growth;
        }
        Ok(())
    }

    /// Whether a connection that holds so much may have a turn in which it grows.
    pub(super) fn may_grow(&mut self, held: usize) -> bool {
        if held > 0 {
            let budget = self.commons.memory_bytes();
            let free = budget - self.commons.held_bytes().min(budget) + self.left;
            let kept = (budget / KEPT_FOR_EMPTY_HANDED).min(budget.saturating_sub(self.growth) / 2);
            if free < self.growth + kept {
                return false;
            }
        }
        let missing = self.growth - self.left;
        if missing > 0 {
            if !self.commons.try_hold(missing) {
                return false;
            }
            self.taken += missing;
            self.left = self.growth;
        }
        true
    }

    /// What was counted of a connection before its turn, and what it holds now. Says
    /// what is counted from here on: less than it holds when there was nothing in hand
    /// for the rest, which is counted as soon as there is.
    fn settle(&mut self, before: usize, now: usize) -> usize {
        if now >= before {
            let grown = (now - before).min(self.left);
            self.left -= grown;
            return before + grown;
        }
        let freed = before - now;
        let kept = freed.min(self.growth - self.left);
        self.left += kept;
        self.taken -= freed - kept;
        if freed > kept {
            self.commons.let_go(freed - kept);
        }
        now
    }
}

/// The worker is gone, and all its connections with it.
impl Drop for Memory {
    fn drop(&mut self) {
        self.commons.let_go(self.taken);
    }
}

impl Starved {
    fn len(&self) -> usize {
        self.empty_handed.len() + self.holding.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nobody is cut for one that waited and has ended. Those behind somebody who waits
    /// change nothing.
    fn forget_who_has_gone(&mut self, is_there: impl Fn(Id) -> bool) {
        for queue in [&mut self.empty_handed, &mut self.holding] {
            while queue.front().is_some_and(|id| !is_there(*id)) {
                queue.pop_front();
            }
        }
    }
}

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// What one connection costs before it holds anything, in bytes.
    const PLACE_BYTES: u32 = {
        let bytes = Table::<Slot<P, L, N>>::SLOT_BYTES + BESIDE_THE_TABLE + Connection::<P, L>::END_BYTES;
        assert!(bytes < u32::MAX as usize);
        bytes as u32
    };

    /// A place for one more connection, if there is one.
    pub(super) fn place(&self, origin: Origin) -> Result<Place, Refusal> {
        self.memory.commons.admit(origin, Self::PLACE_BYTES)
    }

    /// Makes sure that this connection can have turns.
    pub(super) fn prepare(&mut self, connection: &Connection<P, L>) -> Result<(), Refusal> {
        self.memory.make_room(connection.most_heap_bytes())
    }

    /// What one connection may move and consume in one turn.
    pub(super) fn turn_budget(&self) -> Budget {
        let bytes = self.config.budget_bytes.max(1);
        let bytes = match self.memory.pressure {
            Pressure::Calm => bytes,
            Pressure::Waiting { .. } | Pressure::Cutting { .. } => bytes.min(SMALL_TURN),
        };
        Budget::bytes(bytes).messages(self.config.budget_messages.max(1))
    }

    /// Adds what is new to what all workers counted.
    pub(super) fn publish_stats(&mut self) {
        let stats = self.stats();
        if stats != self.published {
            self.memory.commons.publish(&stats.since(&self.published));
            self.published = stats;
        }
    }

    /// A connection has ended: what it held is free, and why it ended is counted.
    pub(super) fn on_end(&mut self, entry: &Entry<P, L, N>, report: &mut CloseReport<P::Error>) {
        self.memory.settle(entry.held, 0);
        // Its last words may have been out already; then nothing was cut.
        if entry.is_shed && matches!(report.reason, Reason::Aborted) {
            report.reason = Reason::Shed;
        }
        self.stats.on_ended(report);
    }

    /// Somebody had a turn in which it could not grow; it has another as soon as there is
    /// memory for it.
    pub(super) fn starve(&mut self, id: Id) {
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        if std::mem::replace(&mut entry.is_starved, true) {
            return;
        }
        planted!(StarvedForgotten: return);
        let starved = &mut self.memory.starved;
        if entry.held == 0 {
            starved.empty_handed.push_back(id);
        } else {
            starved.holding.push_back(id);
        }
        if starved.len() > 2 * self.table.len() + STALE {
            let table = &self.table;
            starved.empty_handed.retain(|id| table.contains(*id));
            starved.holding.retain(|id| table.contains(*id));
        }
        self.memory.look_at = Time::ZERO;
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// Gives those a turn who wait for memory, as far as there is some, and makes
    /// some when they have waited for too long.
    pub(super) fn relieve<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.memory.starved.forget_who_has_gone(|id| self.table.contains(id));
        if self.memory.starved.is_empty() {
            self.memory.pressure = self.memory.pressure.when_nobody_waits(self.now);
            self.memory.look_at = Time::NEVER;
            return;
        }
        let mut fed = self.feed_starved(application);
        if let Some(bytes) = self.cut_is_due(fed) {
            self.cut_largest(bytes, application);
            fed = self.feed_starved(application);
        }
        if fed == Fed::Everybody {
            self.memory.pressure = self.memory.pressure.when_nobody_waits(self.now);
        }
        let again = if fed == Fed::Nobody { BETWEEN_URGENT_CUTS } else { LOOK_AGAIN };
        self.memory.look_at = if self.memory.starved.is_empty() { Time::NEVER } else { self.now + again };
    }

    fn feed_starved<A: Application<N, P, L>>(&mut self, application: &mut A) -> Fed {
        for _ in 0..self.memory.starved.empty_handed.len() {
            if !self.memory.may_grow(0) {
                return Fed::Nobody;
            }
            let next = self.memory.starved.empty_handed.pop_front();
            self.feed_one(next, application);
        }
        for _ in 0..self.memory.starved.holding.len() {
            if !self.memory.may_grow(1) {
                return Fed::EmptyHanded;
            }
            let next = self.memory.starved.holding.pop_front();
            self.feed_one(next, application);
        }
        Fed::Everybody
    }

    fn feed_one<A: Application<N, P, L>>(&mut self, next: Option<Id>, application: &mut A) {
        let Some(id) = next else { return };
        if let Some(Slot::Connection(entry)) = self.table.get_mut(id) {
            entry.is_starved = false;
            self.run_turn(id, application);
        }
    }

    /// How many bytes are to become free now, if there has been too little for so long
    /// that somebody is cut for it.
    fn cut_is_due(&mut self, fed: Fed) -> Option<usize> {
        let (bytes, pause) = match fed {
            Fed::Everybody => return None,
            Fed::Nobody => (self.memory.commons.memory_bytes() / FREED_AT_ONCE, BETWEEN_URGENT_CUTS),
            Fed::EmptyHanded => (1, BETWEEN_CUTS),
        };
        let now = self.now;
        let due = match self.memory.pressure {
            Pressure::Calm => {
                self.memory.pressure = Pressure::Waiting { until: now + PATIENCE };
                return None;
            }
            Pressure::Waiting { until } => {
                if now < until {
                    return None;
                }
                now
            }
            Pressure::Cutting { next, .. } => next,
        };
        let next = if due <= now { now + pause } else { due };
        self.memory.pressure = Pressure::Cutting { next, calm_at: now + PATIENCE };
        (due <= now).then_some(bytes)
    }

    /// Ends the connections of this worker that hold most, until they held so many bytes.
    fn cut_largest<A: Application<N, P, L>>(&mut self, bytes: usize, application: &mut A) {
        let mut holding: BinaryHeap<(usize, Id)> = self.table.iter().filter_map(|(id, slot)| slot.held(id)).collect();
        let mut freed = 0;
        while freed < bytes
            && let Some((held, id)) = holding.pop()
        {
            freed += held;
            if let Log::Write { suppressed } = self.memory.log.on_event(self.now) {
                let budget = self.memory.commons.memory_bytes();
                warn!(%id, held, budget, suppressed, "cut to stay within the memory budget");
            }
            self.abort(id);
            if let Some(Slot::Connection(entry)) = self.table.get_mut(id) {
                entry.is_shed = true;
            }
            self.run_turn(id, application);
        }
    }
}

impl<P: Protocol, L: Layer, N: Net> Entry<P, L, N> {
    /// A turn has ended: counts what the connection holds now.
    pub(super) fn settle(&mut self, memory: &mut Memory) {
        let now = self.connection.heap_bytes();
        if now != self.held {
            self.held = memory.settle(self.held, now);
        }
    }
}

impl Pressure {
    /// A burst is over when everybody had a turn; an attack when nobody has had to wait for some time.
    fn when_nobody_waits(self, now: Time) -> Pressure {
        match self {
            Pressure::Calm | Pressure::Waiting { .. } => Pressure::Calm,
            Pressure::Cutting { calm_at, .. } if calm_at <= now => Pressure::Calm,
            Pressure::Cutting { .. } => self,
        }
    }
}

impl<P: Protocol, L: Layer, N: Net> Slot<P, L, N> {
    /// A connection that holds something, and how much.
    fn held(&self, id: Id) -> Option<(usize, Id)> {
        match self {
            Slot::Connection(entry) => (entry.held > 0).then_some((entry.held, id)),
            Slot::Listener(_) | Slot::Source(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::least_memory_bytes;
    use crate::config::Config;

    #[test]
    fn connection_that_is_alone_may_grow_in_the_smallest_budget() {
        for growth in [1 << 10, 1 << 20, 1 << 26] {
            let config = Config { memory_bytes: least_memory_bytes(1, growth), ..Config::default() };
            let mut memory = Memory::new(Commons::new(&config));
            memory.make_room(growth).unwrap();
            assert!(memory.may_grow(0) && memory.may_grow(100), "{growth} bytes");
        }
    }

    #[test]
    fn whoever_is_gone_waits_for_memory_no_more() {
        let mut table = Table::new();
        let ids: Vec<Id> = (0..3).filter_map(|_| table.insert_with(|id| id)).collect();
        let mut starved = Starved { empty_handed: [ids[0]].into(), holding: [ids[1], ids[2]].into() };
        starved.forget_who_has_gone(|id| id == ids[2]);
        assert_eq!((starved.empty_handed.len(), &starved.holding), (0, &VecDeque::from([ids[2]])));
        starved.forget_who_has_gone(|_| false);
        assert!(starved.is_empty());
    }
}
