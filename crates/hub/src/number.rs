//! The number of a connection, and what is looked up by numbers.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
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

/// By names that are given out here, one after the other: nobody else chooses them, so
/// no secret is needed to spread them, and the same calls give the same map.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Fibonacci hashing (Knuth, TAOCP 3, 6.4).
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(32) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The table takes low bits and the highest; the middle ones are best.
        self.0.rotate_right(26)
    }
}
