//! Runs drywire protocols on [mio]: one thread, edge-triggered, nothing allocated
//! per message.
//!
//! This crate knows sockets and files and nothing about any protocol; what to do
//! with them the core's actions say. It installs no signal handler, and starts a thread only
//! for the second worker of a [`Server`] and those after it, and for each name that is being
//! looked up, four at most.
//!
//! - [`serve`]: a server on an address, until it is shut down.
//! - [`connect`]: a client, until its connection ends.
//! - [`drive`]: one stream that is open already, client or server.
//! - [`Server`]: the same with several workers, a thread each.
//! - [`Driver`]: all of that in pieces, for a loop of one's own.
//!
//! ```no_run
//! # use drywire_protocols::LineEcho;
//! use drywire_driver_mio::{Accept, Config, serve};
//!
//! serve(&"127.0.0.1:2525".parse()?, Config::default(), &mut Accept(|| LineEcho))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *When the poller fails*, which no correct program sees, [`serve`], [`connect`], [`drive`] and
//! [`Server::run`] close and report their connections and return the error. There is no runtime whose end
//! could come before; handles may outlive a driver, and are closed with it.
//!
//! A read stops in front of urgent data (`MSG_OOB`); epoll tells of it, and each mark costs one system
//! call more. On poll(2) and kqueue each read that does not fill its slot is followed by another anyway.
//!
//! Certified on Linux, on epoll, and on poll(2) as mio can be built to use it.
//! Other Unix systems are not tested.

#[cfg(not(unix))]
compile_error!("drywire-driver-mio serves Unix descriptors; it does not build for other systems");

mod driver;
mod names;
mod net;
mod server;
mod stream;

pub use driver::{Driver, Worker};
pub use drywire_server::{
    Accept, Address, AddressError, Application, Commons, Config, ConfigError, ConfigErrors, ConnectError, Cut,
    DrainReport, Dropped, Ended, Group, Handle, Id, Inspection, Interest, Listen, Notice, OnPanic, Outcome,
    ParseAddressError, ParseListenError, PortReuse, Quiet, Receipt, Refusal, SendError, Sent, ServerHandle, Slow,
    SourceEvent, Standing, Stats, SystemCalls, Target, Timeouts, TlsFiles, WorkerGuard, WorkerInspection, Workers,
    least_memory_bytes,
};
pub use drywire_unix::{ListenError, StartError};
pub use net::{Listening, Mio, Watched};
pub use server::Server;
pub use stream::{Descriptor, Stream};

use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Connection, Protocol};
use drywire_server::Watch;
use std::fmt;
use std::io;

/// Listens on `address` and serves whoever connects, until the driver is shut down.
///
/// For a free port, a handle to shut it down, or more than one listener, make a
/// [`Driver`].
///
/// # Errors
/// The address cannot be listened on, or the poller failed.
pub fn serve<P, L, A>(address: &Address, config: Config, application: &mut A) -> io::Result<()>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Mio, P, L>,
{
    let mut driver = Driver::new(config)?;
    driver.listen(address).map_err(io::Error::other)?;
    driver.run_to_end(application)
}

/// Connects to an address, or to a name and a port ([`Target`]), and runs the connection
/// to its end. That end is what is returned; the application's `closed` is not called for
/// it.
///
/// # Errors
/// As [`serve`]. That nobody answers, or that there is no such name, is not an error here
/// but the reason in the report; [`Notice::ConnectFailed`] has the words.
pub fn connect<P, L, A>(
    to: impl Into<Target>,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Mio, P, L>,
{
    let mut driver = Driver::new(config)?;
    let id = driver.connect(to, connection).map_err(io::Error::other)?;
    finish(driver, id, application)
}

/// Runs one connection on a stream that is open already, to its end, which is what
/// is returned; the application's `closed` is not called for it. Who opened the
/// stream makes no difference.
///
/// # Errors
/// The poller's.
pub fn drive<P, L, A>(
    stream: impl Into<Stream>,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Mio, P, L>,
{
    let mut driver = Driver::new(config)?;
    let id = driver.add(stream, connection)?;
    finish(driver, id, application)
}

fn finish<P, L, A>(mut driver: Driver<P, L>, id: Id, application: &mut A) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Mio, P, L>,
{
    let ended = loop {
        let mut watch = Watch::new(application, id);
        if let Err(error) = driver.wait(None) {
            break Err(error);
        }
        driver.dispatch(&mut watch);
        if let Some(report) = watch.take_report() {
            break Ok(report);
        }
    };
    // Those that callbacks have made meanwhile, and its own after an error.
    driver.end(application);
    ended
}
