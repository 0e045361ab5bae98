//! The shortest way to a failure: what can be left out of a world that still fails in
//! the same way.

use super::swarm::{Fault, Strike};
use super::{Cut, Outcome, Setup};
use std::collections::BTreeSet;

/// A failure, and what was left out around it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The world that is left.
    pub setup: Setup,
    /// What comes of it, with its timeline.
    pub outcome: Outcome,
    /// Worlds that were run on the way.
    pub runs: usize,
}

/// Leaves out what it can: faults, peers, slow networks, the ends of scripts, single strikes. Runs at
/// most `runs` worlds. A world without a failure comes back as it is.
#[must_use]
pub fn shrink(setup: &Setup, runs: usize) -> Shrunk {
    let mut search = Search { best: setup.clone(), outcome: setup.run_and_compare(), left: runs, runs: 1 };
    if search.outcome.violation.is_some() {
        search.faults();
        search.peers();
        search.networks();
        search.scripts();
        search.strikes();
    }
    let setup = Setup { trace: true, ..search.best };
    let mut outcome = setup.run_and_compare();
    if outcome.violation.is_none() {
        outcome.violation = search.outcome.violation;
    }
    Shrunk { setup, outcome, runs: search.runs + 1 }
}

struct Search {
    best: Setup,
    outcome: Outcome,
    left: usize,
    runs: usize,
}

impl Search {
    /// Keeps `cut` if the world fails in the same way without it.
    fn keeps(&mut self, cut: Cut) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.runs += 1;
        let setup = Setup { cut, ..self.best.clone() };
        let outcome = setup.run_and_compare();
        let same = is_same(&outcome, &self.outcome);
        if same {
            (self.best, self.outcome) = (setup, outcome);
        }
        same
    }

    fn faults(&mut self) {
        for fault in Fault::ALL {
            if self.outcome.stats.faults[fault as usize] > 0 {
                let mut cut = self.best.cut.clone();
                cut.faults.insert(fault);
                self.keeps(cut);
            }
        }
    }

    fn peers(&mut self) {
        for peer in (0..self.outcome.scripts.len()).rev() {
            let mut cut = self.best.cut.clone();
            cut.peers.insert(peer);
            self.keeps(cut);
        }
    }

    fn networks(&mut self) {
        for peer in 0..self.outcome.scripts.len() {
            if !self.best.cut.peers.contains(&peer) {
                let mut cut = self.best.cut.clone();
                cut.eased.insert(peer);
                self.keeps(cut);
            }
        }
    }

    fn scripts(&mut self) {
        for peer in 0..self.outcome.scripts.len() {
            let mut step = self.outcome.scripts[peer];
            while step > 0 && !self.best.cut.peers.contains(&peer) {
                let len = self.outcome.scripts[peer];
                step = step.min(len);
                let mut cut = self.best.cut.clone();
                cut.scripts.retain(|(line, _)| *line != peer);
                cut.scripts.push((peer, len - step));
                if step == 0 || !self.keeps(cut) {
                    step /= 2;
                }
                if self.left == 0 {
                    return;
                }
            }
        }
    }

    /// Delta debugging: halves, then quarters, and so on, of the strikes that are left.
    fn strikes(&mut self) {
        let mut piece = self.outcome.strikes.len().div_ceil(2);
        while piece > 0 && self.left > 0 {
            let mut at = 0;
            while at < self.outcome.strikes.len() && self.left > 0 {
                let strikes = self.outcome.strikes.clone();
                let end = (at + piece).min(strikes.len());
                let kept: BTreeSet<Strike> = strikes[..at].iter().chain(&strikes[end..]).copied().collect();
                let mut cut = self.best.cut.clone();
                cut.strikes = Some(kept);
                if !self.keeps(cut) {
                    at += piece;
                }
            }
            piece /= 2;
        }
    }
}

/// The same promise, broken in the same words; numbers, and what a report says behind
/// them, may differ.
fn is_same(a: &Outcome, b: &Outcome) -> bool {
    let of = |outcome: &Outcome| {
        let violation = outcome.violation.as_ref()?;
        let words = violation.text.split(';').next().unwrap_or_default();
        Some((violation.invariant, words.replace(|c: char| c.is_ascii_digit(), "")))
    };
    of(a) == of(b)
}
