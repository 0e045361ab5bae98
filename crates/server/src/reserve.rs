//! The reserve: memory for one connection at a time, so that there is always one that can
//! finish. Which workers wait for it, in which order, and whether it is of use.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many bytes of the budget as the largest connection of the server can ever hold, lent to
/// one connection at a time.
///
/// ```text
///          the first in the line borrows
///   Free ─────────────────────────────────▶ Lent
///    ▲                                        │
///    └────────────────────────────────────────┘
///      the connection holds no more than is counted elsewhere, or is gone
/// ```
///
/// A connection that it is lent to can take any turn, whatever the others hold, up to the end
/// of what it is doing: it waits for its peer and for no memory. So connections that each hold a
/// part and wait for more do not wait for each other for ever (the banker's rule, with a bank
/// that knows one safe customer).
///
/// Bound: each worker stands in the line once. Locked only where memory is short, and
/// when a connection with larger bounds than any before comes.
#[derive(Debug, Default)]
pub(crate) struct Reserve(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    members: usize,
    last: u64,
    lent_to: Option<Member>,
    line: VecDeque<Member>,
    served: u64,
}

/// A worker, as the reserve knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member(u64);

/// What a worker that waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Changes whenever the connection that has the reserve moves bytes, and when another one gets it.
    pub(crate) served: u64,
    /// A worker stands in the line.
    pub(crate) is_wanted: bool,
}

impl Reserve {
    /// One more worker.
    pub(crate) fn join(&self) -> Member {
        let mut state = self.lock();
        state.members += 1;
        state.last += 1;
        Member(state.last)
    }

    /// A worker is gone; with the last of them, so is the reserve. Says how many bytes are free.
    pub(crate) fn leave(&self, member: Member) -> usize {
        let mut state = self.lock();
        state.line.retain(|other| *other != member);
        if state.lent_to == Some(member) {
            state.lent_to = None;
        }
        state.members -= 1;
        if state.members == 0 { std::mem::take(&mut state.bytes) } else { 0 }
    }

    /// Makes it so large at least. `hold` takes what is missing from the budget, or does not.
    ///
    /// # Errors
    /// How many bytes that were.
    pub(crate) fn raise(&self, to: usize, hold: impl FnOnce(usize) -> bool) -> Result<(), usize> {
        let mut state = self.lock();
        let missing = to.saturating_sub(state.bytes);
        if missing > 0 && !hold(missing) {
            return Err(missing);
        }
        state.bytes += missing;
        Ok(())
    }

    /// Lends it to a connection of `member`, if it is there and its turn has come: how many bytes
    /// it has. Otherwise the worker stands in the line from now on.
    pub(crate) fn borrow(&self, member: Member) -> Option<usize> {
        let mut state = self.lock();
        let is_next = state.line.front().is_none_or(|first| *first == member);
        if state.lent_to.is_none() && is_next {
            state.line.pop_front();
            state.lent_to = Some(member);
            state.served += 1;
            return Some(state.bytes);
        }
        if !state.line.contains(&member) {
            state.line.push_back(member);
        }
        None
    }

    /// It is free again.
    pub(crate) fn give_back(&self, member: Member) {
        let mut state = self.lock();
        debug_assert_eq!(state.lent_to, Some(member), "only what was lent comes back");
        state.lent_to = None;
    }

    /// None of the worker's connections waits any more.
    pub(crate) fn step_back(&self, member: Member) {
        self.lock().line.retain(|other| *other != member);
    }

    /// The connection that has it has moved bytes.
    pub(crate) fn note_progress(&self) {
        self.lock().served += 1;
    }

    pub(crate) fn look(&self) -> Look {
        let state = self.lock();
        Look { served: state.served, is_wanted: !state.line.is_empty() }
    }

    /// Nothing in here is half-changed by a panic: there is none.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_have_it_one_after_the_other_in_the_order_in_which_they_asked() {
        let reserve = Reserve::default();
        let [a, b, c] = [(); 3].map(|()| reserve.join());
        reserve.raise(100, |missing| missing == 100).unwrap();
        assert_eq!(reserve.borrow(a), Some(100));
        assert_eq!([b, c, a, b].map(|member| reserve.borrow(member)), [None; 4]);
        assert!(reserve.look().is_wanted);
        reserve.give_back(a);
        assert_eq!([c, a].map(|member| reserve.borrow(member)), [None; 2], "b was there first");
        assert_eq!(reserve.borrow(b), Some(100));
        reserve.step_back(c);
        reserve.give_back(b);
        assert_eq!(reserve.borrow(a), Some(100));
        assert!(!reserve.look().is_wanted);
    }

    #[test]
    fn worker_that_is_gone_neither_keeps_it_nor_stands_in_the_line() {
        let reserve = Reserve::default();
        let [a, b, c] = [(); 3].map(|()| reserve.join());
        reserve.raise(100, |_| true).unwrap();
        assert_eq!(reserve.borrow(a), Some(100));
        assert_eq!([b, c].map(|member| reserve.borrow(member)), [None; 2]);
        assert_eq!([a, b].map(|member| reserve.leave(member)), [0, 0]);
        assert_eq!(reserve.borrow(c), Some(100));
        assert_eq!(reserve.leave(c), 100, "with the last worker it goes back to the budget");
    }

    #[test]
    fn it_grows_by_what_is_missing_and_not_beyond_the_budget() {
        let reserve = Reserve::default();
        reserve.raise(100, |missing| missing == 100).unwrap();
        reserve.raise(80, |_| panic!("there is enough")).unwrap();
        assert_eq!(reserve.raise(130, |_| false), Err(30));
        reserve.raise(130, |missing| missing == 30).unwrap();
        assert_eq!(reserve.borrow(reserve.join()), Some(130));
    }
}
