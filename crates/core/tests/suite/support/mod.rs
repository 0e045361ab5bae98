//! What the tests share: a simulated transport, a connection on it, two of them
//! joined, protocols that do as they are told, and layers that change lengths.

pub(crate) mod layers;
pub(crate) mod net;
pub(crate) mod pair;
pub(crate) mod probe;
pub(crate) mod rig;
pub(crate) mod scenario;
pub(crate) mod script;

use drywire_core::Time;
use proptest::test_runner::Config;

/// A time by its milliseconds from zero.
pub(crate) const fn ms(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

/// `PROPTEST_CASES` overrides `cases`; miri gets by with few. No regression files:
/// a failure prints its seed, and what it found becomes a test with a name.
pub(crate) fn cases(cases: u32) -> Config {
    let from_env = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = match (cfg!(miri), from_env) {
        (_, true) => Config::default().cases,
        (true, false) => 2,
        (false, false) => cases,
    };
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Bytes that tell where they came from: no two neighbours at a block's distance are equal.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + u8::try_from((i + i / 251) % 26).expect("below 26")).collect()
}
