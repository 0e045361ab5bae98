//! Deadlines that an honest peer has to keep to, on a machine that may have no time for it.

use crate::suite::say;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// How many times as long an attempt takes as the first one. The last one's deadlines are those of
/// real servers, seconds and more.
const FACTORS: [u32; 3] = [1, 4, 16];

/// Calls `attempt`, and once more with longer times when it failed although the peer itself was
/// late: when it took `allowed_ms`, by which it should have moved on.
///
/// A peer that was in time settles it at once, and so does the last attempt: a driver that cuts
/// honest peers cuts them whatever their deadline is.
pub(crate) fn honest(allowed_ms: u32, mut attempt: impl FnMut(&mut Pace)) {
    for factor in FACTORS {
        let mut pace = Pace { factor, moved: Some(Instant::now()), longest: Duration::ZERO };
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| attempt(&mut pace))) else { return };
        pace.step();
        let is_last = factor == FACTORS[FACTORS.len() - 1];
        if is_last || pace.longest < pace.time(allowed_ms) {
            resume_unwind(panic);
        }
        say(&format!("note: the peer itself was late by {:.1?}: again, with longer times", pace.longest));
    }
}

/// The times of an attempt, and how its peer kept to them.
pub(crate) struct Pace {
    factor: u32,
    /// `None`: it is not the peer's turn.
    moved: Option<Instant>,
    longest: Duration,
}

impl Pace {
    /// A limit of the attempt.
    pub(crate) fn ms(&self, ms: u32) -> u32 {
        ms * self.factor
    }

    /// The same as a duration.
    pub(crate) fn time(&self, ms: u32) -> Duration {
        Duration::from_millis(self.ms(ms).into())
    }

    /// The peer has moved on.
    pub(crate) fn step(&mut self) {
        if let Some(moved) = self.moved.replace(Instant::now()) {
            self.took(moved.elapsed());
        }
    }

    /// The peer has moved on, and from here on it is late for nothing.
    pub(crate) fn rest(&mut self) {
        self.step();
        self.moved = None;
    }

    /// The peer has moved on, and pauses on purpose.
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.rest();
        thread::sleep(time);
        self.step();
    }

    /// Something of the peer's, measured elsewhere.
    pub(crate) fn took(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(mut peer: impl FnMut(&mut Pace), fails: impl Fn(usize) -> bool) -> (usize, bool) {
        let mut count = 0;
        let result = catch_unwind(AssertUnwindSafe(|| {
            honest(10, |pace| {
                count += 1;
                peer(pace);
                assert!(!fails(count), "on purpose");
            });
        }));
        (count, result.is_ok())
    }

    #[test]
    fn failure_counts_unless_the_peer_was_late() {
        let in_time: fn(&mut Pace) = |pace| pace.moved = None;
        assert_eq!(attempts(in_time, |_| false), (1, true));
        assert_eq!(attempts(in_time, |n| n == 1), (1, false), "a peer in time settles it");
        let late: fn(&mut Pace) = |pace| pace.took(pace.time(10));
        assert_eq!(attempts(late, |n| n == 1), (2, true));
        assert_eq!(attempts(late, |_| true), (3, false), "and so does the last attempt");
    }

    #[test]
    fn pauses_on_purpose_are_not_late() {
        let mut pace = Pace { factor: 4, moved: None, longest: Duration::ZERO };
        pace.sleep(Duration::from_millis(20));
        assert_eq!(pace.longest, Duration::ZERO);
        assert!(pace.moved.is_some(), "what comes behind the pause counts again");
        assert_eq!((pace.ms(5), pace.time(5)), (20, Duration::from_millis(20)));
    }
}
