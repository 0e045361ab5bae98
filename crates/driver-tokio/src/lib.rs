//! Runs drywire protocols on [tokio](https://docs.rs/tokio): one task for each worker, no
//! polling, no spinning, no timer while no deadline is open.
//!
//! This crate only waits. How a worker gives connections their turns is in
//! `drywire-server`, what a driver does with sockets and files on any runtime of
//! futures in [drywire_unix]; here is what tokio knows of readiness, timers and threads
//! that may block.
//!
//! - [`serve`]: a server on an address, until it is shut down.
//! - [`connect`]: a client, until its connection ends.
//! - [`drive`]: one stream that is open already, client or server.
//! - [`Server`]: the same with several workers, a task each.
//! - [`Driver`]: all of that in pieces.
//!
//! ```no_run
//! # use drywire_protocols::LineEcho;
//! use drywire_driver_tokio::{Accept, Config, serve};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! serve(&"127.0.0.1:2525".parse()?, Config::default(), &mut Accept(|| LineEcho)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! *Guaranteed*: any future here may be dropped at any await. Those of a [`Driver`] lose
//! nothing by it and can be made again. [`serve`], [`connect`] and [`drive`] own their
//! connections, and close them: each gets one turn to write what its socket takes at
//! once, ends (with a reset when something is still owed), and is reported to
//! [`Application::closed`]. While a panic unwinds they are closed only.
//!
//! *When the runtime ends* its own tasks are dropped, with any of these futures in them. One that
//! runs elsewhere ([`Handle::block_on`](tokio::runtime::Handle::block_on) on another thread) is an
//! error that says so; [`serve`], [`connect`] and [`drive`] close and report their connections then,
//! too, and so does each worker of a [`Server`]. Receipts are completed and handles closed when the
//! [`Driver`] is gone.
//!
//! A read stops in front of urgent data (`MSG_OOB`); tokio tells of it on Linux, and each mark costs one
//! system call more. On other systems each read that does not fill its slot is followed by another.
//!
//! Runs on a current-thread runtime and on a multi-thread one; both need their I/O and
//! time drivers (`enable_all`). One worker is one task, and moves between threads as
//! tasks do; to use more cores, run several.

mod reactor;
mod stream;

pub use reactor::Tokio;

drywire_unix::driver_on!(Tokio);
