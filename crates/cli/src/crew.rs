//! One server of several workers on the driver that was asked for. This is all that differs.

use crate::args::Driver;
use drywire_core::Protocol;
use drywire_core::layer::Layer;
use drywire_driver_mio::{Mio, StartError};
use drywire_server::{Address, Application, Config, Net, Worker, Workers};
use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::thread;

type Tokio = drywire_driver_tokio::Net;
type Smol = drywire_driver_smol::Net;

/// What a server is beside its configuration.
pub(crate) trait Crew<P: Protocol, L: Layer> {
    /// What each worker has.
    type Application: Application<Mio, P, L> + Application<Tokio, P, L> + Application<Smol, P, L> + Send + 'static;
    type Error: From<StartError> + From<io::Error>;

    /// It listens, and serves nobody yet. `first` is one of its workers.
    fn start<N: Net>(
        &mut self,
        first: &mut Worker<P, L, N>,
        addresses: &[Address],
        workers: Workers<P::Command>,
    ) -> Result<(), Self::Error>;

    fn application(&mut self) -> Self::Application;
}

/// Runs a server until it is shut down, and gives its applications back.
pub(crate) fn run<P, L, C>(driver: Driver, config: Config, crew: &mut C) -> Result<Vec<C::Application>, C::Error>
where
    P: Protocol<Event: Send, Command: Send, Error: fmt::Display + Send> + Send + 'static,
    L: Layer + Send + 'static,
    C: Crew<P, L>,
{
    match driver {
        Driver::Mio => {
            let mut server = drywire_driver_mio::Server::bind(config)?;
            let (addresses, workers) = (server.addresses(), server.workers());
            crew.start(server.worker(0), &addresses, workers)?;
            Ok(server.run(|_| crew.application())?)
        }
        Driver::Tokio => on_tokio(config, crew),
        Driver::Smol => on_smol(config, crew),
    }
}

/// With one worker on this thread alone.
fn on_tokio<P, L, C>(config: Config, crew: &mut C) -> Result<Vec<C::Application>, C::Error>
where
    P: Protocol<Event: Send, Command: Send, Error: fmt::Display + Send> + Send + 'static,
    L: Layer + Send + 'static,
    C: Crew<P, L>,
{
    let mut runtime = match config.workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(config.workers.max(1)).enable_all().build()?;
    let applications = runtime.block_on(async {
        let mut server = drywire_driver_tokio::Server::bind(config)?;
        let (addresses, workers) = (server.addresses(), server.workers());
        crew.start(server.worker(0), &addresses, workers)?;
        let tasks = server.into_workers().into_iter().map(|worker| tokio::spawn(worker.run(crew.application())));
        let tasks: Vec<_> = tasks.collect();
        let mut applications = Vec::new();
        for task in tasks {
            applications.push(task.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()))?);
        }
        Ok(applications)
    });
    // A thread that waits for a file or a name does not hold the end up.
    runtime.shutdown_background();
    applications
}

/// A thread for each worker but the first; async-io itself polls on one of them.
fn on_smol<P, L, C>(config: Config, crew: &mut C) -> Result<Vec<C::Application>, C::Error>
where
    P: Protocol<Event: Send, Command: Send, Error: fmt::Display + Send> + Send + 'static,
    L: Layer + Send + 'static,
    C: Crew<P, L>,
{
    let mut server = drywire_driver_smol::Server::bind(config)?;
    let (addresses, workers) = (server.addresses(), server.workers());
    crew.start(server.worker(0), &addresses, workers)?;
    let mut futures: Vec<_> = server.into_workers().into_iter().map(|worker| worker.run(crew.application())).collect();
    let others = futures.split_off(1);
    thread::scope(|scope| {
        let others: Vec<_> = others.into_iter().map(|other| scope.spawn(|| async_io::block_on(other))).collect();
        let mut applications: Vec<_> = futures.into_iter().map(async_io::block_on).collect::<io::Result<_>>()?;
        for thread in others {
            applications.push(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(applications)
    })
}
