//! Runs drywire protocols on [mio]: one thread, edge-triggered, nothing allocated
//! per message.
//!
//! This crate knows sockets and files and nothing about any protocol; what to do
//! with them the core's actions say. It starts no thread and installs no signal
//! handler.
//!
//! - [`serve`]: a server on an address, until it is shut down.
//! - [`connect`]: a client, until its connection ends.
//! - [`drive`]: one stream that is open already, client or server.
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
//! Certified on Linux, on epoll, and on poll(2) as mio can be built to use it.
//! Other Unix systems are expected to work.

#[cfg(not(unix))]
compile_error!("drywire-driver-mio serves Unix descriptors; it does not build for other systems");

mod accept;
mod config;
mod dispatch;
mod driver;
pub mod files;
mod io_error;
mod listener;
mod log;
mod slot;
mod sources;
mod stream;
mod transport;

pub use accept::ListenSocket;
pub use config::Config;
pub use dispatch::DispatchError;
pub use driver::Driver;
pub use drywire_server::{Accept, Address, Application, Handle, Id, SendError, ServerHandle, SourceEvent};
pub use io_error::AddressError;
pub use mio::Interest;
pub use stream::{Descriptor, Stream};

use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Connection, Protocol};
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
    A: Application<Driver<P, L>, P, L>,
{
    let mut driver = Driver::new(config)?;
    driver.listen(address).map_err(io::Error::other)?;
    driver.run(application)
}

/// Connects to `address` and runs the connection to its end. That end is what is
/// returned; the application's `closed` is not called for it.
///
/// # Errors
/// As [`serve`]. That nobody answers is not an error here but the reason in the report.
pub fn connect<P, L, A>(
    address: &Address,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Driver<P, L>, P, L>,
{
    let mut driver = Driver::new(config)?;
    let id = driver.connect(address, connection).map_err(io::Error::other)?;
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
    A: Application<Driver<P, L>, P, L>,
{
    let mut driver = Driver::new(config)?;
    let id = driver.add(stream, connection)?;
    finish(driver, id, application)
}

/// An application that lets nobody in and hears nothing: for [`connect`] and
/// [`drive`] with a protocol that needs no application.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl<D: ?Sized, P: Protocol, L: Layer> Application<D, P, L> for Quiet {
    fn accept(&mut self, _: &mut D, _: Id, _: &Address) -> Option<Connection<P, L>> {
        None
    }
}

fn finish<P, L, A>(mut driver: Driver<P, L>, id: Id, application: &mut A) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    A: Application<Driver<P, L>, P, L>,
{
    let mut watch = Watch { application, id, report: None };
    loop {
        driver.wait(None)?;
        driver.dispatch(&mut watch)?;
        if let Some(report) = watch.report.take() {
            return Ok(report);
        }
    }
}

/// Passes everything on, and keeps the report of one connection.
struct Watch<'a, A, E> {
    application: &'a mut A,
    id: Id,
    report: Option<CloseReport<E>>,
}

impl<P, L, A> Application<Driver<P, L>, P, L> for Watch<'_, A, P::Error>
where
    P: Protocol,
    L: Layer,
    A: Application<Driver<P, L>, P, L>,
{
    fn accept(&mut self, driver: &mut Driver<P, L>, listener: Id, peer: &Address) -> Option<Connection<P, L>> {
        self.application.accept(driver, listener, peer)
    }

    fn opened(&mut self, driver: &mut Driver<P, L>, id: Id) {
        self.application.opened(driver, id);
    }

    fn event(&mut self, driver: &mut Driver<P, L>, id: Id, event: P::Event) {
        self.application.event(driver, id, event);
    }

    fn closed(&mut self, driver: &mut Driver<P, L>, id: Id, report: CloseReport<P::Error>) {
        if id == self.id {
            self.report = Some(report);
        } else {
            self.application.closed(driver, id, report);
        }
    }

    fn source(&mut self, driver: &mut Driver<P, L>, id: Id, event: SourceEvent) {
        self.application.source(driver, id, event);
    }

    fn listener_failed(&mut self, driver: &mut Driver<P, L>, listener: Id, error: &io::Error) {
        self.application.listener_failed(driver, listener, error);
    }
}
