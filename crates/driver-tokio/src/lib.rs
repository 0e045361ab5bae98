//! Runs drywire protocols on [tokio](https://docs.rs/tokio): one task for each worker, no polling, no
//! spinning, no timer while no deadline is open.
//!
//! This crate only waits. How a worker gives connections their turns is in
//! [drywire_server], what a driver does with sockets and files on any runtime of
//! futures in [drywire_unix]; here is
//! what tokio knows of readiness, timers and threads that may block.
//!
//! - [`serve`]: a server on an address, until it is shut down.
//! - [`connect`]: a client, until its connection ends.
//! - [`drive`]: one stream that is open already, client or server.
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
//! connections, and close them: each writes what its socket takes at once, ends
//! (with a reset when something is still owed), and is reported to
//! [`Application::closed`].
//!
//! Runs on a current-thread runtime and on a multi-thread one; both need their I/O and
//! time drivers (`enable_all`). One worker is one task, and moves between threads as
//! tasks do; to use more cores, run several.

mod reactor;
mod stream;

pub use drywire_server::{
    Accept, Address, AddressError, Application, Config, Handle, Id, Interest, Quiet, SendError, ServerHandle,
    SourceEvent, SystemCalls,
};
pub use reactor::Tokio;
pub use stream::Stream;

use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Connection, Protocol};
use drywire_unix::futures::{self, Sockets};
use std::fmt;
use std::io;

/// Sockets, descriptors and files on tokio: what an application for this driver
/// alone is written for.
pub type Net = Sockets<Tokio>;

/// What callbacks get: connections, listeners and descriptors on tokio.
pub type Worker<P, L = ()> = drywire_server::Worker<P, L, Net>;

/// Runs connections of one protocol in one task.
pub type Driver<P, L = ()> = futures::Driver<P, L, Tokio>;

/// Listens on `address` and serves whoever connects, until the worker is shut down.
///
/// For a free port, a handle to shut it down, or more than one listener, make a
/// [`Driver`].
///
/// # Errors
/// The address cannot be listened on, or as [`Driver::new`].
pub async fn serve<P, L, A>(address: &Address, config: Config, application: &mut A) -> io::Result<()>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Net, P, L>,
{
    futures::serve::<_, _, Tokio, _>(address, config, application).await
}

/// Connects to `address` and runs the connection to its end. That end is what is
/// returned; the application's `closed` is not called for it, unless the future is
/// dropped before.
///
/// # Errors
/// As [`serve`]. That nobody answers is not an error here but the reason in the report.
pub async fn connect<P, L, A>(
    address: &Address,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Net, P, L>,
{
    futures::connect::<_, _, Tokio, _>(address, connection, config, application).await
}

/// Runs one connection on a stream that is open already, to its end, which is what
/// is returned, as in [`connect`]. Who opened the stream makes no difference.
///
/// # Errors
/// The poller's, or as [`Driver::new`].
pub async fn drive<P, L, A>(
    stream: impl Into<Stream>,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Net, P, L>,
{
    futures::drive::<_, _, Tokio, _>(stream.into(), connection, config, application).await
}
