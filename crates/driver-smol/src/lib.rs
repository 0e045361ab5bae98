//! Runs drywire protocols on [async-io](https://docs.rs/async-io): one task for each worker, no
//! polling, no spinning, no timer while no deadline is open.
//!
//! This crate only waits. How a worker gives connections their turns is in
//! `drywire-server`, what a driver does with sockets and files on any runtime of
//! futures in [drywire_unix]; here is what async-io knows of readiness and timers, and
//! `blocking` of threads.
//!
//! - [`serve`]: a server on an address, until it is shut down.
//! - [`connect`]: a client, until its connection ends.
//! - [`drive`]: one stream that is open already, client or server.
//! - [`Server`]: the same with several workers, a task each.
//! - [`Driver`]: all of that in pieces.
//!
//! ```no_run
//! # use drywire_protocols::LineEcho;
//! use drywire_driver_smol::{Accept, Config, serve};
//!
//! let mut application = Accept(|| LineEcho);
//! async_io::block_on(serve(&"127.0.0.1:2525".parse()?, Config::default(), &mut application))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Guaranteed*: any future here may be dropped at any await. Those of a [`Driver`] lose
//! nothing by it and can be made again. [`serve`], [`connect`] and [`drive`] own their
//! connections, and close them: each gets one turn to write what its socket takes at
//! once, ends (with a reset when something is still owed), and is reported to
//! [`Application::closed`]. While a panic unwinds they are closed only.
//!
//! *When the executor ends* it drops its tasks, with any of these futures in them. The reactor is the
//! process's and has no end.
//!
//! A read stops in front of urgent data (`MSG_OOB`). async-io looks at the socket each time it is asked,
//! so what is behind is read in the next round, at no cost.
//!
//! Runs on any executor, `async_io::block_on` among them. One worker is one task; to use
//! more cores, run several.

mod reactor;
mod stream;

pub use reactor::Smol;

drywire_unix::driver_on!(Smol);
