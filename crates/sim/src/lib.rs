//! A world for protocols in which every fault happens on demand, and repeats.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or draws a number
//! that does not come from a seed.

mod random;

pub use random::Random;
