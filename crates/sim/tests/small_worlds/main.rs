//! Small worlds, exhaustively: all inputs, all cuts, all interleavings up to a bound,
//! not a sample. Each is compared with a model that knows no queue and no phase.
//!
//! `cargo test` goes to a smaller depth than `cargo test --release`; both numbers of
//! worlds are asserted, so that none goes missing. Bounds in a release build: inputs of 8
//! bytes over 3, under every cut, with 4 ways to make room; 8 things that happen out of
//! 12, in every order that makes a difference, with and without files.

mod files;
mod model;
mod tiny;
mod world;
mod worlds;
