//! The number of a connection.

use std::fmt;
use std::num::NonZeroU64;

/// Names one connection of a hub, from 1 on; of another hub it names another (row H1).
///
/// *Guaranteed*: never given out twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(NonZeroU64);

impl Number {
    pub(crate) const FIRST: Number = Number(NonZeroU64::MIN);

    pub(crate) fn next(self) -> Number {
        // At a connection each nanosecond that is six hundred years from now.
        Number(self.0.checked_add(1).expect("64 bits of connections"))
    }

    /// As a plain number, positive.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({self})")
    }
}
