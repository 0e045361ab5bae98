//! Numbers from a seed: the same on every machine, for ever.

/// SplitMix64. Worlds and scripts are drawn with it, so a change here changes all of
/// them.
///
/// Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The row of numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        // Neighbouring seeds would share most of their sequence otherwise.
        let mut random = Random(seed);
        Random(random.word())
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is above `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        assert!(low <= high, "no number lies between {low} and {high}");
        match ((high - low) as u64).checked_add(1) {
            Some(span) => low + usize::try_from(self.word() % span).expect("below a usize"),
            None => usize::try_from(self.word()).expect("a span of 64 bits is a usize's"),
        }
    }

    /// True once in `n` times.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.between(1, n) == 1
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.between(0, from.len() - 1)]
    }

    /// So many bytes of any value.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.word().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds stand in issues and commit messages: they must keep their meaning.
    #[test]
    fn numbers_of_a_seed_are_the_same_for_ever() {
        let mut random = Random::new(1);
        assert_eq!([random.word(), random.word()], [6_791_897_765_849_424_158, 17_405_687_883_870_564_846]);
        assert!((0..100).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.bytes(11).len(), 11);
    }
}
