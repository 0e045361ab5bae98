//! A world for protocols in which every fault happens on demand, and repeats.
//!
//! - [`world`]: peers, a network and a disk from one seed, around the same worker that
//!   every driver runs; what is checked after every step; the shortest way to a failure.
//! - [`kit`] checks a protocol of your own in three lines.
//! - [`mock`] takes one connection through a script, wait by wait.
//! - [`stage`] puts an application of your own into a network from a seed.
//! - [`replay`] takes a recording through its protocol again.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or draws a number
//! that does not come from a seed.

pub mod kit;
mod ledger;
pub mod mock;
mod random;
pub mod replay;
pub mod stage;
pub mod world;

pub use random::Random;
