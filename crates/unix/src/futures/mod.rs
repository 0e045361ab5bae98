//! A driver for any runtime of futures: one task, one worker, and readiness from
//! whoever polls for the runtime.
//!
//! What a runtime adds is a [`Reactor`]: about a hundred lines, and one call of
//! [`driver_on!`](crate::driver_on) for the functions users know. Everything else is
//! here, once: how streams are registered ([`Sockets`]), how a wake-up finds the
//! connection it is about ([`Bell`]), and the task itself ([`Driver`]).

#[doc(hidden)]
pub mod api;
mod bell;
mod driver;
mod reactor;
mod server;
mod sockets;
mod wire;

pub use bell::Bell;
pub use driver::{Driver, connect, drive, serve};
pub use drywire_server::Clock;
pub use reactor::{Direction, Reactor};
pub use server::{Server, ServerWorker};
pub use sockets::{Listening, Socket, Sockets, Watched};
