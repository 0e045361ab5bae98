//! A world for protocols in which every fault happens on demand, and repeats.
//!
//! [`kit`] checks a protocol of your own in three lines; [`mock`] takes one connection
//! through a script, wait by wait.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or draws a number
//! that does not come from a seed.

pub mod kit;
pub mod mock;
mod random;
pub mod replay;

pub use random::Random;
