//! What the fuzzer and the tests of the core have in common, from one source.

#[path = "../../crates/core/tests/suite/support/layers.rs"]
#[expect(dead_code, reason = "the tests of the core use more of it")]
pub(crate) mod layers;
#[path = "../../crates/core/tests/suite/model/rich.rs"]
pub(crate) mod rich;
