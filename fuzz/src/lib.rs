//! What the fuzzer runs: one function for each target, from bytes to nothing or a
//! panic that says what is wrong.
//!
//! The programs that cargo-fuzz builds call these functions and add nothing; the
//! test of this crate calls them for every file of every corpus, with a stable
//! compiler. What is checked is written against models of its own, never against the
//! code that is being tested.

mod byte_echo;
mod connection;
mod dialog;
mod framing;
mod kit;
mod layers;
mod line_echo;
mod recording;
mod shared;
mod split;
mod wire;

pub use byte_echo::byte_echo;
pub use connection::connection;
pub use dialog::dialog;
pub use framing::framing;
pub use kit::kit;
pub use layers::layers;
pub use line_echo::line_echo;
pub use recording::recording;
pub use split::split;

/// What is fuzzed.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its program and of its corpus too.
pub const TARGETS: [(&str, Target); 9] = [
    ("byte_echo", byte_echo),
    ("connection", connection),
    ("dialog", dialog),
    ("framing", framing),
    ("kit", kit),
    ("layers", layers),
    ("line_echo", line_echo),
    ("recording", recording),
    ("split", split),
];
