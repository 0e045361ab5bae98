//! Who may be let in, counted from outside: a peer is refused exactly when a cap is met at
//! that moment (FAULTS 25, 26).

use super::State;
use crate::world::house::ADDRESSES;
use crate::world::plan::Way;
use crate::world::violation::Invariant;
use drywire_core::Time;
use std::time::Duration;

/// How long somebody has to have waited for memory before anybody is cut for it.
pub(in crate::world) const PATIENCE: Duration = Duration::from_secs(1);

impl State {
    /// Connections that are open.
    pub(in crate::world) fn places(&self) -> usize {
        self.lines.iter().filter(|line| line.has_place).count()
    }

    /// Hosts with connections that were accepted from them, and how many those are.
    pub(in crate::world) fn shares(&self) -> [usize; ADDRESSES] {
        let mut shares = [0; ADDRESSES];
        for (number, line) in self.lines.iter().enumerate() {
            if line.has_place && line.script.way == Way::Comes {
                shares[number % ADDRESSES] += 1;
            }
        }
        shares
    }

    /// One more connection of our own would be one too many.
    pub(in crate::world) fn is_full(&self) -> bool {
        self.places() >= self.plan.house.max_connections
    }

    /// One more of this peer's would be.
    fn is_full_for(&self, line: usize) -> bool {
        self.is_full() || self.shares()[line % ADDRESSES] >= self.plan.house.max_per_address
    }

    pub(in crate::world) fn check_refused(&mut self, line: usize) {
        if !self.is_full_for(line) && self.plan.house.memory.is_none() {
            let places = self.places();
            self.violate(Invariant::Bounds, line, format!("it is refused, and {places} are connected"));
        }
    }

    /// What is counted never passes the budget, not for a moment.
    pub(super) fn check_budget(&mut self) {
        let Some(commons) = &self.commons else { return };
        let (held, budget) = (commons.held_bytes(), commons.memory_bytes());
        if held > budget {
            self.violate(Invariant::Bounds, None, format!("{held} bytes are held, and the budget is {budget}"));
        }
    }

    /// Pressure that has lasted: from this moment on a connection may be cut for it.
    pub(in crate::world) fn set_shed_from(&mut self, at: Time) {
        for line in &self.lines {
            let facts = &mut line.record.borrow_mut().facts;
            facts.shed_from = facts.shed_from.max(at);
        }
    }

    /// One was cut: while the pressure lasts others are, without waiting for so long again.
    pub(in crate::world) fn note_shed(&mut self) {
        self.hard_until = self.now + PATIENCE;
    }

    pub(in crate::world) fn check_welcome(&mut self, line: usize) {
        if self.is_full_for(line) {
            let places = self.places();
            self.violate(Invariant::Bounds, line, format!("it is let in, and {places} are connected"));
        }
    }
}
