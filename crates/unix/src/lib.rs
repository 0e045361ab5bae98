//! What every driver on Unix needs of the system, and none writes twice.
//!
//! No poller and no runtime is known here: those are the drivers' own.
//!
//! - [`files`]: opening beneath a root, sending.
//! - [`futures`]: a driver for any runtime of futures.
//! - [`socket`]: the calls on a stream.
//! - [`listener`]: sockets that others connect to.
//! - [`lookup`]: names, by the system's resolver.
//! - [`start`]: why a server does not start.

#[cfg(not(unix))]
compile_error!("drywire-unix serves Unix descriptors; it does not build for other systems");

pub mod files;
pub mod futures;
pub mod listener;
pub mod lookup;
pub mod socket;
pub mod start;

pub use files::Files;
pub use listener::{ListenError, Listener};
pub use lookup::Lookup;
pub use start::StartError;
