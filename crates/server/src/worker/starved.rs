//! Which connections wait for memory, in which order they have it, and which are cut when waiting does
//! not help.

use super::Worker;
use super::memory::Grant;
use super::slot::{Entry, Slot};
use crate::application::Application;
use crate::log_limit::Log;
use crate::net::Net;
use crate::reserve::Look;
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Protocol, Time, planted};
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::time::Duration;
use tracing::warn;

/// How long connections wait for memory before others are cut for it, and how long one of these
/// has to have moved nothing. Long enough for a burst to be over, short against what a person waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// From one cut to the next, while the pressure lasts.
const BETWEEN_CUTS: Duration = Duration::from_millis(50);

/// The same while somebody waits who holds nothing: those who hold something have had
/// more. Then so many are cut at once that this part of the budget becomes free.
const BETWEEN_URGENT_CUTS: Duration = Duration::from_millis(10);
const FREED_AT_ONCE: usize = 16;

/// How often those who wait look whether another worker has freed something.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How often a worker looks whether others wait for what one of its connections has borrowed, while
/// none of its own does.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// How long nobody has had to wait when a burst is over.
const BURST_IS_OVER: Duration = Duration::from_millis(500);
const _: () = assert!(LOOK_AROUND.as_millis() < BURST_IS_OVER.as_millis());

/// Bytes that a connection that has the reserve moves at least in [`PATIENCE`], or it counts as one
/// that moves nothing.
const PROGRESS: u64 = 4096;

/// How long a connection has moved nothing that is cut, once one was that had moved nothing for
/// [`PATIENCE`]: longer than a step takes between a peer that takes part and us.
const SHORT_REST: Duration = Duration::from_millis(100);

/// Connections that ended while they waited and are not worth a search.
const STALE: usize = 1024;

/// How long there has not been enough memory.
///
/// ```text
///        somebody had to wait          for PATIENCE
///  Calm ───────────────────▶ Waiting ──────────────▶ Cutting ──┐ who holds most and rests,
///   ▲                           │                       │  ▲   │ again and again
///   └───────────────────────────┴───────────────────────┘  └───┘
///      nobody had to wait          nobody had to wait
///      for BURST_IS_OVER           for PATIENCE
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressure {
    Calm,
    Waiting { until: Time, calm_at: Time },
    Cutting { next: Time, calm_at: Time },
}

/// Connections that wait for memory. One that holds nothing goes first: it may need little, and has
/// had less than the others.
#[derive(Debug, Default)]
pub(super) struct Starved {
    empty_handed: VecDeque<Id>,
    holding: VecDeque<Id>,
}

/// What this worker has seen of the reserve.
#[derive(Debug)]
pub(super) struct Watch {
    /// It waits for the reserve, behind others.
    pub(super) stands_in_line: bool,
    /// Workers wait for it.
    is_wanted: bool,
    served: u64,
    /// When that changed.
    served_at: Time,
}

/// Which of the connections that waited had a turn in which they could grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    /// Not even all that hold nothing.
    None,
    /// All that hold nothing.
    EmptyHanded,
    All,
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

impl Default for Watch {
    fn default() -> Watch {
        Watch { stands_in_line: false, is_wanted: false, served: 0, served_at: Time::ZERO }
    }
}

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
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
        if self.memory.starved.is_empty() && self.memory.loan.is_none() {
            self.memory.pressure = self.memory.pressure.when_nobody_waits(self.now);
            self.memory.look_at = Time::NEVER;
            self.memory.step_back();
            return;
        }
        self.memory.pay_back();
        let mut fed = self.feed_starved(application);
        self.look_at_reserve();
        if self.cut_if_due(fed, application) {
            self.memory.pay_back();
            fed = self.feed_starved(application);
        }
        if fed == Fed::All {
            self.memory.step_back();
        }
        let again = match fed {
            Fed::None => BETWEEN_URGENT_CUTS,
            Fed::EmptyHanded => LOOK_AGAIN,
            Fed::All => LOOK_AROUND,
        };
        self.memory.look_at = self.now + again;
    }

    fn feed_starved<A: Application<N, P, L>>(&mut self, application: &mut A) -> Fed {
        for _ in 0..self.memory.starved.empty_handed.len() {
            let Some(id) = self.memory.starved.empty_handed.pop_front() else { break };
            if !self.feed(id, application) {
                self.memory.starved.empty_handed.push_front(id);
                return Fed::None;
            }
        }
        for _ in 0..self.memory.starved.holding.len() {
            let Some(id) = self.memory.starved.holding.pop_front() else { break };
            if !self.feed(id, application) {
                self.memory.starved.holding.push_front(id);
                return Fed::EmptyHanded;
            }
        }
        Fed::All
    }

    /// How the connection is doing that has the reserve, here or elsewhere.
    fn look_at_reserve(&mut self) {
        let commons = self.memory.commons().clone();
        let reserve = commons.reserve();
        if let Some(loan) = &mut self.memory.loan
            && let Some(Slot::Connection(entry)) = self.table.get_mut(loan.id)
        {
            let counters = entry.connection.counters();
            let moved = counters.received + counters.sent;
            if moved - loan.moved >= PROGRESS {
                loan.moved = moved;
                reserve.note_progress();
            }
        }
        let Look { served, is_wanted } = reserve.look();
        let watch = &mut self.memory.watch;
        watch.is_wanted = is_wanted;
        if watch.served != served {
            (watch.served, watch.served_at) = (served, self.now);
        }
    }

    /// Ends connections, if there has been too little memory for so long: those that hold most,
    /// until they held as much as is to become free.
    fn cut_if_due<A: Application<N, P, L>>(&mut self, fed: Fed, application: &mut A) -> bool {
        let now = self.now;
        let pressure = self.memory.pressure.when_nobody_waits(now);
        let (bytes, pause) = match fed {
            // Those of other workers wait for what one of ours has.
            Fed::All if self.memory.loan.is_some() && self.memory.watch.is_wanted => (1, BETWEEN_CUTS),
            Fed::All => {
                self.memory.pressure = pressure;
                return false;
            }
            Fed::None => (self.memory.commons().memory_bytes() / FREED_AT_ONCE, BETWEEN_URGENT_CUTS),
            Fed::EmptyHanded => (1, BETWEEN_CUTS),
        };
        let (is_due, rest) = match pressure {
            Pressure::Calm | Pressure::Waiting { .. } => {
                let until = if let Pressure::Waiting { until, .. } = pressure { until } else { now + PATIENCE };
                self.memory.pressure = Pressure::Waiting { until, calm_at: now + BURST_IS_OVER };
                (until <= now, PATIENCE)
            }
            Pressure::Cutting { next, .. } => {
                self.memory.pressure = Pressure::Cutting { next, calm_at: now + PATIENCE };
                (next <= now, SHORT_REST)
            }
        };
        if !is_due {
            return false;
        }
        let mut victims = self.victims(rest);
        let mut freed = 0;
        while freed < bytes
            && let Some((held, id)) = victims.pop()
        {
            freed += held;
            self.memory.pressure = Pressure::Cutting { next: now + pause, calm_at: now + PATIENCE };
            self.cut(id, held, application);
        }
        freed > 0
    }

    /// Which may be cut: connections that rest. If none does, and the connection that has the reserve is
    /// not served either, those that do not wait for memory themselves; and then all.
    fn victims(&self, rest: Duration) -> BinaryHeap<(usize, Id)> {
        let now = self.now;
        let resting = self.holders(|entry| entry.is_resting(now, rest));
        // The worker whose connection has the reserve sees first that it is not served.
        let margin = if self.memory.loan.is_some() { Duration::ZERO } else { LOOK_AROUND + LOOK_AGAIN };
        if !resting.is_empty() || now < self.memory.watch.served_at + PATIENCE + margin {
            return resting;
        }
        let content = self.holders(|entry| !entry.is_starved);
        if content.is_empty() { self.holders(|_| true) } else { content }
    }

    /// Connections that hold something, by how much.
    fn holders(&self, which: impl Fn(&Entry<P, L, N>) -> bool) -> BinaryHeap<(usize, Id)> {
        let holder = |(id, slot): (Id, &Slot<P, L, N>)| match slot {
            Slot::Connection(entry) => (entry.held > 0 && which(entry)).then_some((entry.held, id)),
            Slot::Listener(_) | Slot::Source(_) => None,
        };
        self.table.iter().filter_map(holder).collect()
    }

    fn cut<A: Application<N, P, L>>(&mut self, id: Id, held: usize, application: &mut A) {
        if let Log::Write { suppressed } = self.memory.log.on_event(self.now) {
            let budget = self.memory.commons().memory_bytes();
            warn!(%id, held, budget, suppressed, "cut to stay within the memory budget");
        }
        self.abort(id);
        if let Some(Slot::Connection(entry)) = self.table.get_mut(id) {
            entry.is_shed = true;
        }
        self.run_turn_with(id, Grant::Nothing, application);
    }
}

impl Pressure {
    /// Pressure is over when no connection has had to wait for some time.
    fn when_nobody_waits(self, now: Time) -> Pressure {
        match self {
            Pressure::Waiting { calm_at, .. } | Pressure::Cutting { calm_at, .. } if calm_at <= now => Pressure::Calm,
            Pressure::Calm | Pressure::Waiting { .. } | Pressure::Cutting { .. } => self,
        }
    }
}

impl<P: Protocol, L: Layer, N: Net> Entry<P, L, N> {
    /// No byte has moved for so long, and that is not because it waits for memory: it waits for none,
    /// or its peer does not take what it is owed.
    fn is_resting(&self, now: Time, rest: Duration) -> bool {
        self.connection.last_move() + rest <= now && (!self.is_starved || self.connection.is_owing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

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
