//! A point in time, as the driver tells it. Nothing here reads a clock.

use crate::limits::Limits;
use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// Nanoseconds since an epoch the driver picks, usually its own start.
///
/// Time is an input like bytes are: every call that needs it is handed one, so
/// the same inputs give the same actions. Drivers feed a monotonic clock; a wall
/// clock that jumps has no way in (FAULTS 68). Arithmetic saturates (FAULTS 69).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The epoch itself.
    pub const ZERO: Time = Time(0);
    /// Later than every time a clock reaches: a deadline that is not set.
    pub const NEVER: Time = Time(u64::MAX);

    /// The time `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time moved by whole milliseconds; [`Time::NEVER`] when they are 0 or
    /// [`Limits::NEVER`], which is how [`Limits`] spells "no limit".
    pub(crate) const fn after_ms(self, ms: u32) -> Time {
        if ms == 0 || ms == Limits::NEVER {
            return Time::NEVER;
        }
        Time(self.0.saturating_add(ms as u64 * 1_000_000))
    }

    /// `None` for [`Time::NEVER`].
    pub(crate) fn or_none(self) -> Option<Time> {
        (self != Time::NEVER).then_some(self)
    }
}

/// Saturates at [`Time::NEVER`].
impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, timeout: Duration) -> Time {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Time::NEVER {
            return f.write_str("never");
        }
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_69_arithmetic_saturates() {
        let late = Time::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::MAX, Time::NEVER);
        assert_eq!(late.after_ms(u32::MAX - 1), Time::NEVER);
        assert_eq!(Time::ZERO.saturating_since(late), Duration::ZERO);
        assert_eq!((Time::ZERO + Duration::from_millis(3)).as_nanos(), 3_000_000);
    }

    #[test]
    fn zero_milliseconds_mean_no_deadline_and_so_does_never() {
        assert_eq!(Time::ZERO.after_ms(0), Time::NEVER);
        assert_eq!(Time::ZERO.after_ms(Limits::NEVER), Time::NEVER);
        assert_eq!(Time::ZERO.after_ms(0).or_none(), None);
    }
}
