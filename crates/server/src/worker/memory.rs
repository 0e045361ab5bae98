//! The worker's account with the memory budget: what is in hand for the next turn, and what
//! becomes of it. Which connections wait when there is not enough, and which are cut, is in `starved`.

use super::Worker;
use super::slot::{Entry, Slot};
use super::starved::{Pressure, Starved, Watch};
use crate::admission::{Origin, Place, Refusal};
use crate::application::Application;
use crate::commons::Commons;
use crate::config::Config;
use crate::log_limit::LogLimiter;
use crate::net::Net;
use crate::reserve::Member;
use crate::table::{Id, Table};
use drywire_core::layer::Layer;
use drywire_core::{Budget, CloseReport, Connection, Protocol, Reason, Time};
use std::fmt;

/// What a worker keeps for one connection outside of the table, in bytes: alarms, its
/// place in the ready list, its address among all.
const BESIDE_THE_TABLE: usize = 160;

/// What a connection may move in one turn under pressure, in bytes: one read or so. Many small
/// steps leave room for those who need little.
const SMALL_TURN: usize = 16 * 1024;

/// What a connection may move, and queue, in one step: the default bound of the output, so that for
/// most protocols a step is a whole turn. A smaller budget has smaller steps.
const STEP: u32 = 256 * 1024;
const LEAST_STEP: u32 = 1024;

/// Of the budget, what has to be free for a connection to grow that holds something already: a
/// sixteenth is for those that hold nothing, but not more than half of what there is. So many
/// large ones leave small ones alone.
const KEPT_FOR_EMPTY_HANDED: usize = 16;

/// A worker's account with the budget.
///
/// A turn is a step, made only with `left == hand` bytes in hand, which is more than any
/// connection can grow by it ([`Connection::step_bytes`]); or it is a whole one, made with all
/// that the connection can ever hold ([`Connection::most_heap_bytes`]): taken for this turn, or
/// borrowed from the reserve. What a connection grew is taken from these, and the hand is filled up
/// again from [`Commons`] before the next turn. So bytes are counted before they are held, and a
/// connection that holds nothing before and after its step touches nothing shared.
pub(super) struct Memory {
    commons: Commons,
    member: Member,
    /// Bytes of the budget that this worker has taken: those in hand, and what its
    /// connections hold, without what is borrowed.
    taken: usize,
    /// The most that one of its connections can hold.
    most: usize,
    /// Bytes that a step moves and queues at most.
    step: u32,
    /// The most that one of its connections can grow by in a step. 0: the budget is too small for
    /// one on each worker, and all turns are whole ones.
    hand: usize,
    /// What is in hand of that; more, in a whole turn.
    left: usize,
    pub(super) loan: Option<Loan>,
    pub(super) starved: Starved,
    pub(super) pressure: Pressure,
    pub(super) watch: Watch,
    /// When those who wait look again.
    pub(super) look_at: Time,
    pub(super) log: LogLimiter,
}

/// The reserve, while a connection of this worker has it.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) id: Id,
    bytes: usize,
    /// What the connection holds of it.
    used: usize,
    /// Bytes that had moved when that was last looked at.
    pub(super) moved: u64,
}

/// What there is memory for in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// To write, and to judge deadlines.
    Nothing,
    /// To move and to queue so many bytes.
    Step(u32),
    /// For all that the connection's bounds allow.
    Whole,
}

impl Memory {
    pub(super) fn new(commons: Commons) -> Memory {
        Memory {
            member: commons.reserve().join(),
            commons,
            taken: 0,
            most: 0,
            step: STEP,
            hand: 0,
            left: 0,
            loan: None,
            starved: Starved::default(),
            pressure: Pressure::Calm,
            watch: Watch::default(),
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

    /// A connection comes that may hold `most` bytes, and grow by so many in a step of so many.
    /// Once the largest has come, all others cost a comparison.
    fn make_room(&mut self, workers: usize, most: usize, growth: impl Fn(u32) -> usize) -> Result<(), Refusal> {
        if most > self.most {
            let raised = self.commons.reserve().raise(most, |missing| self.commons.try_hold(missing));
            raised.map_err(|needed| Refusal::Memory { needed, budget: self.commons.memory_bytes() })?;
            self.most = most;
        } else if self.hand == 0 || growth(self.step) <= self.hand {
            // 0: of a step that would do for this one, the largest could grow by more.
            return Ok(());
        }
        // All hands together take no more than half of what the reserve leaves; but one does not become
        // smaller, because it is for those that are there already, too.
        let share = self.commons.most_to_hold().saturating_sub(self.most) / (2 * workers.max(1));
        let mut steps = std::iter::successors(Some(self.step), |step| (*step > LEAST_STEP).then_some(step / 2));
        match steps.find(|step| growth(*step) <= share) {
            Some(step) => (self.step, self.hand) = (step, growth(step).max(self.hand)),
            None => (self.step, self.hand) = (LEAST_STEP, 0),
        }
        self.trim();
        Ok(())
    }

    /// What a connection that holds so much has memory for in its next turn.
    pub(super) fn grant(&mut self, id: Id, held: usize) -> Grant {
        if self.loan.as_ref().is_some_and(|loan| loan.id == id) {
            return Grant::Whole;
        }
        let missing = self.hand.saturating_sub(self.left);
        if self.hand == 0 || (held > 0 && !self.has_room_to_grow(missing)) {
            return Grant::Nothing;
        }
        if missing > 0 && !self.take(missing) {
            return Grant::Nothing;
        }
        if self.hand < self.most { Grant::Step(self.step) } else { Grant::Whole }
    }

    /// Takes what is missing for a whole turn of a connection that holds `held` bytes, and may
    /// hold `most`. What is left of it goes back with [`Memory::trim`].
    pub(super) fn grant_whole(&mut self, held: usize, most: usize) -> bool {
        let missing = most.saturating_sub(held).saturating_sub(self.left);
        (held == 0 || self.has_room_to_grow(missing)) && self.take(missing)
    }

    /// What a connection may move and consume in a turn, of what the configuration allows.
    pub(super) fn turn_budget(&self, config: &Config, grant: Grant) -> Budget {
        let most = match grant {
            Grant::Step(bytes) => bytes as usize,
            Grant::Nothing | Grant::Whole => usize::MAX,
        };
        let bytes = config.budget_bytes.clamp(1, most);
        let bytes = match self.pressure {
            Pressure::Calm => bytes,
            Pressure::Waiting { .. } | Pressure::Cutting { .. } => bytes.min(SMALL_TURN),
        };
        Budget::bytes(bytes).messages(config.budget_messages.max(1))
    }

    /// Borrows the reserve for a whole turn, and for those to come until it is paid back.
    pub(super) fn borrow(&mut self, id: Id, moved: u64) -> bool {
        if self.loan.is_some() {
            return false;
        }
        let bytes = self.commons.reserve().borrow(self.member);
        self.watch.stands_in_line = bytes.is_none();
        self.loan = bytes.map(|bytes| Loan { id, bytes, used: 0, moved });
        self.loan.is_some()
    }

    /// Counts elsewhere what is held of the reserve, if there is room for that, and gives the
    /// reserve back.
    pub(super) fn pay_back(&mut self) {
        let Some(Loan { used, .. }) = self.loan else { return };
        if used == 0 || (self.has_room_to_grow(used) && self.commons.try_hold(used)) {
            self.taken += used;
            self.loan = None;
            self.commons.reserve().give_back(self.member);
        }
    }

    /// What was in hand for a whole turn and was not needed is free again.
    pub(super) fn trim(&mut self) {
        let surplus = self.left.saturating_sub(self.hand);
        if surplus > 0 {
            self.left -= surplus;
            self.taken -= surplus;
            self.commons.let_go(surplus);
        }
    }

    /// None of its connections waits.
    pub(super) fn step_back(&mut self) {
        if std::mem::take(&mut self.watch.stands_in_line) {
            self.commons.reserve().step_back(self.member);
        }
    }

    /// Whether so many bytes are there for a connection that holds something already.
    fn has_room_to_grow(&self, bytes: usize) -> bool {
        let spare = self.commons.most_to_hold().saturating_sub(self.most).saturating_sub(self.hand);
        let kept = (self.commons.memory_bytes() / KEPT_FOR_EMPTY_HANDED).min(spare / 2);
        bytes.saturating_add(kept) <= self.commons.room()
    }

    fn take(&mut self, bytes: usize) -> bool {
        let taken = self.commons.try_hold(bytes);
        if taken {
            self.taken += bytes;
            self.left += bytes;
        }
        taken
    }

    /// What was counted of a connection before its turn, and what it holds now. Says
    /// what is counted from here on: less than it holds when there was nothing in hand
    /// for the rest, which is counted as soon as there is.
    fn settle(&mut self, id: Id, before: usize, now: usize) -> usize {
        let loan = self.loan.as_mut().filter(|loan| loan.id == id);
        if now >= before {
            let left = loan.as_ref().map_or(self.left, |loan| loan.bytes - loan.used);
            let grown = (now - before).min(left);
            match loan {
                Some(loan) => loan.used += grown,
                None => self.left -= grown,
            }
            return before + grown;
        }
        let mut freed = before - now;
        if let Some(loan) = loan {
            let repaid = freed.min(loan.used);
            loan.used -= repaid;
            freed -= repaid;
        }
        let kept = freed.min(self.hand.saturating_sub(self.left));
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
        let reserve = self.commons.reserve().leave(self.member);
        self.commons.let_go(self.taken + reserve);
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
        let growth = |step| connection.step_bytes(step);
        self.memory.make_room(self.config.workers, connection.most_heap_bytes(), growth)
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
    pub(super) fn on_end(&mut self, id: Id, entry: &Entry<P, L, N>, report: &mut CloseReport<P::Error>) {
        self.memory.settle(id, entry.held, 0);
        if self.memory.loan.as_ref().is_some_and(|loan| loan.id == id) {
            self.memory.pay_back();
        }
        // Its last words may have been out already; then nothing was cut.
        if entry.is_shed && matches!(report.reason, Reason::Aborted) {
            report.reason = Reason::Shed;
        }
        self.stats.on_ended(report);
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// A connection that waited for memory has its turn, if there is some for it. With a call
    /// that was undone for want of it, it needs all that its bounds allow.
    pub(super) fn feed<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) -> bool {
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return true };
        let memory = &mut self.memory;
        let mut grant = Grant::Nothing;
        if !entry.connection.wants_memory() {
            grant = memory.grant(id, entry.held);
        }
        if grant == Grant::Nothing {
            let counters = entry.connection.counters();
            let has_it = memory.loan.as_ref().is_some_and(|loan| loan.id == id);
            let is_whole = has_it
                || memory.grant_whole(entry.held, entry.connection.most_heap_bytes())
                || memory.borrow(id, counters.received + counters.sent);
            if !is_whole {
                return false;
            }
            grant = Grant::Whole;
        }
        entry.is_starved = false;
        self.run_turn_with(id, grant, application);
        self.memory.trim();
        self.memory.pay_back();
        true
    }
}

impl<P: Protocol, L: Layer, N: Net> Entry<P, L, N> {
    /// A turn has ended: counts what the connection holds now.
    pub(super) fn settle(&mut self, id: Id, memory: &mut Memory) {
        let now = self.connection.heap_bytes();
        if now != self.held {
            self.held = memory.settle(id, self.held, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::least_memory_bytes;
    use crate::config::Config;

    fn commons(memory_bytes: usize) -> Commons {
        Commons::new(&Config { memory_bytes, ..Config::default() })
    }

    fn ids<const N: usize>() -> [Id; N] {
        let mut table = Table::new();
        [(); N].map(|()| table.insert_with(|id| id).unwrap())
    }

    /// Like a connection's: by what it moves, and something besides.
    fn grows(most: usize) -> impl Fn(u32) -> usize {
        move |step| (6 * step as usize + 20_000).min(most)
    }

    #[test]
    fn largest_connection_has_a_whole_turn_in_the_smallest_budget_whatever_the_others_hold() {
        for (workers, most) in [(1, 1 << 10), (1, 1 << 20), (16, 1 << 20), (16, 1 << 26)] {
            let commons = commons(least_memory_bytes(workers, most));
            let mut all: Vec<_> = (0..workers).map(|_| Memory::new(commons.clone())).collect();
            let [first, second] = ids();
            for memory in &mut all {
                memory.make_room(workers, most, grows(most)).unwrap();
                // Whoever comes first takes all there is.
                while memory.take(64) {}
            }
            assert!(all[0].borrow(first, 0), "{workers} workers, {most} bytes");
            assert_eq!(all[0].settle(first, 0, most), most);
            all[0].pay_back();
            assert_eq!(all[0].grant(first, most), Grant::Whole, "it has the reserve until it is done");
            assert!(all.iter_mut().all(|memory| !memory.borrow(second, 0)));
            assert_eq!(all[0].settle(first, most, 0), 0);
            all[0].pay_back();
            let last = workers - 1;
            assert!(all[usize::from(last > 0)].borrow(second, 0));
            assert!(commons.most_held_bytes() <= commons.memory_bytes(), "I2");
            drop(all);
            assert_eq!(commons.held_bytes(), 0, "I6");
        }
    }

    #[test]
    fn hands_of_all_workers_leave_half_of_the_budget_however_many_they_are() {
        for workers in [1, 8, 16, 1024] {
            let (most, commons) = (100 << 20, commons(128 << 20));
            let mut all: Vec<_> = (0..workers).map(|_| Memory::new(commons.clone())).collect();
            let [id] = ids();
            for memory in &mut all {
                memory.make_room(workers, most, grows(most)).unwrap();
                memory.grant(id, 0);
            }
            let spare = commons.most_to_hold() - most;
            assert!(commons.room() >= spare / 2, "{workers} workers leave {} of {spare}", commons.room());
            assert!(workers > 16 || all.iter().all(|memory| memory.left > 0 && memory.left == memory.hand));
        }
    }

    #[test]
    fn step_that_grows_nothing_leaves_what_is_shared_alone() {
        let commons = commons(64 << 20);
        let mut memory = Memory::new(commons.clone());
        let [id] = ids();
        memory.make_room(1, 1 << 20, grows(1 << 20)).unwrap();
        memory.grant(id, 0);
        let held = commons.held_bytes();
        let taken = std::iter::from_fn(|| commons.try_hold(1 << 16).then_some(1 << 16)).sum();
        for _ in 0..3 {
            assert_ne!(memory.grant(id, 0), Grant::Nothing, "nothing is asked of the budget");
            assert_eq!(memory.settle(id, 0, 0), 0);
        }
        commons.let_go(taken);
        assert_eq!(commons.held_bytes(), held);
    }

    #[test]
    fn what_a_whole_turn_did_not_need_is_free_again() {
        let commons = commons(64 << 20);
        let mut memory = Memory::new(commons.clone());
        let [id] = ids();
        memory.make_room(1, 20 << 20, grows(20 << 20)).unwrap();
        assert!(matches!(memory.grant(id, 0), Grant::Step(_)));
        let held = commons.held_bytes();
        assert!(memory.grant_whole(0, 20 << 20));
        assert_eq!(memory.settle(id, 0, 1 << 20), 1 << 20);
        memory.trim();
        assert_eq!(commons.held_bytes(), held + (1 << 20));
        memory.settle(id, 1 << 20, 0);
        assert_eq!(commons.held_bytes(), held);
    }
}
