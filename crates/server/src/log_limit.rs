//! Whether something that repeats is worth a line in the log.
//!
//! The words of the line and the logger are the driver's.

use drywire_core::Time;
use std::mem;
use std::time::Duration;

/// At most one line per [`LogLimiter::INTERVAL`], for what a peer or a shortage
/// can repeat at will (FAULTS 18).
#[derive(Clone, Debug, Default)]
pub struct LogLimiter {
    next: Time,
    suppressed: u64,
}

/// Whether to write a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Write it, and say how many of its kind were not written since the last one.
    Write {
        /// Lines not written since the last one.
        suppressed: u64,
    },
    /// Do not; it was counted.
    Suppress,
}

impl LogLimiter {
    /// Longer than [`LONGEST_PAUSE`](crate::Backoff::LONGEST_PAUSE), or every
    /// refusal of a lasting shortage would be a line.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// A limiter that writes its first line.
    #[must_use]
    pub fn new() -> LogLimiter {
        LogLimiter::default()
    }

    /// Something happened that might be worth a line.
    #[must_use]
    pub fn on_event(&mut self, now: Time) -> Log {
        if now < self.next {
            self.suppressed = self.suppressed.saturating_add(1);
            return Log::Suppress;
        }
        self.next = now + LogLimiter::INTERVAL;
        Log::Write { suppressed: mem::take(&mut self.suppressed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_18_flood_is_one_line_per_interval_with_its_number() {
        let mut limiter = LogLimiter::new();
        let mut lines = Vec::new();
        let per_second = 50;
        for n in 0..30 * per_second {
            let now = Time::ZERO + Duration::from_secs(1) * n / per_second;
            if let Log::Write { suppressed } = limiter.on_event(now) {
                lines.push(suppressed);
            }
        }
        assert_eq!(lines, [0, 499, 499]);
    }

    #[test]
    fn rare_events_are_all_written() {
        let mut limiter = LogLimiter::new();
        let mut now = Time::from_nanos(7);
        for _ in 0..3 {
            assert_eq!(limiter.on_event(now), Log::Write { suppressed: 0 });
            now = now + LogLimiter::INTERVAL;
        }
    }
}
