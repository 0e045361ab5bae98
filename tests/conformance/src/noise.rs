//! Random bytes from a seed, at any place without what is before it: a lost, doubled
//! or swapped byte shows, and no copy of what was sent has to be kept.

use std::env;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The variable that sets the seed.
pub(crate) const SEED: &str = "DRYWIRE_SEED";

/// The seed of this process: the variable's, or the time. A child process gets its
/// parent's.
pub(crate) fn seed() -> u64 {
    static CHOSEN: OnceLock<u64> = OnceLock::new();
    *CHOSEN.get_or_init(|| match env::var(SEED) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED}={text} is no number")),
        Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64),
    })
}

/// An endless row of random bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    /// Another row for each `number`.
    pub(crate) fn new(number: u64) -> Noise {
        Noise(mix(seed() ^ mix(number)))
    }

    /// Eight bytes of the row, by number.
    pub(crate) fn word(self, n: u64) -> u64 {
        mix(self.0.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Fills `slot` with the bytes from `offset` on.
    pub(crate) fn fill(self, offset: u64, slot: &mut [u8]) {
        let (mut at, mut rest) = (offset, slot);
        while !rest.is_empty() {
            let skip = (at % 8) as usize;
            let n = rest.len().min(8 - skip);
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&self.word(at / 8).to_le_bytes()[skip..skip + n]);
            (at, rest) = (at + n as u64, later);
        }
    }

    /// The first `n` bytes.
    pub(crate) fn bytes(self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.fill(0, &mut bytes);
        bytes
    }

    /// These are the bytes from `offset` on.
    #[track_caller]
    pub(crate) fn assert_at(self, offset: u64, got: &[u8]) {
        let mut expected = [0; 4096];
        for (piece, at) in got.chunks(expected.len()).zip((offset..).step_by(expected.len())) {
            let expected = &mut expected[..piece.len()];
            self.fill(at, expected);
            if let Some(wrong) = first_difference(piece, expected) {
                let at = at + wrong as u64;
                let (got, expected) = (&piece[wrong..], &expected[wrong..]);
                let show = |bytes: &[u8]| bytes[..bytes.len().min(16)].to_vec();
                panic!("I1: byte {at} is wrong: {:?} instead of {:?} (seed {})", show(got), show(expected), seed());
            }
        }
    }
}

/// The finaliser of splitmix64: every bit depends on every bit.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// Compares without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    if let Some(at) = first_difference(got, expected) {
        let around = |bytes: &[u8]| bytes[at.min(bytes.len())..(at + 32).min(bytes.len())].escape_ascii().to_string();
        panic!(
            "I1: {} bytes instead of {}, different from {at} on: \"{}\" instead of \"{}\" (seed {})",
            got.len(),
            expected.len(),
            around(got),
            around(expected),
            seed()
        );
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    if a == b {
        return None;
    }
    let common = a.len().min(b.len());
    Some(a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(common))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_in_pieces() {
        let noise = Noise::new(1);
        let whole = noise.bytes(1000);
        for piece in [1, 3, 7, 8, 9, 64] {
            let mut got = vec![0; 1000];
            for (slot, at) in got.chunks_mut(piece).zip((0..).step_by(piece)) {
                noise.fill(at, slot);
            }
            assert_eq!(got, whole);
        }
        noise.assert_at(123, &whole[123..]);
    }

    #[test]
    fn control_a_moved_a_lost_and_a_missing_byte_are_seen() {
        let good = Noise::new(2).bytes(10_000);
        assert_eq!(first_difference(&good, &good), None);
        let mut bad = good.clone();
        bad.remove(7_000);
        assert!(first_difference(&bad, &good).is_some_and(|at| (7_000..7_100).contains(&at)), "a lost byte");
        assert_eq!(first_difference(&good[..9_999], &good), Some(9_999), "a missing end");
        assert!(std::panic::catch_unwind(|| Noise::new(2).assert_at(1, &good)).is_err(), "a moved one");
    }
}
