//! Several workers, a thread each. They share what [`Commons`] counts and, where the system has no
//! other way, who accepts; nothing else.

use crate::driver::{Driver, Worker};
use crate::net::Mio;
use drywire_core::Protocol;
use drywire_core::layer::Layer;
use drywire_server::{Address, Application, Commons, Config, Id, WorkerGuard, Workers};
use drywire_unix::StartError;
use drywire_unix::start::{Started, start};
use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::thread;

/// A server of [`Config::workers`] workers, each with an event loop, a thread, and an application of
/// its own (W1). A connection lives on one of them, in a table that nobody else sees (W9).
///
/// ```no_run
/// # use drywire_protocols::LineEcho;
/// use drywire_driver_mio::{Accept, Config, Listen, Server};
///
/// let config = Config::new().listen("127.0.0.1:2525".parse::<Listen>()?).workers(4);
/// let server: Server<LineEcho> = Server::bind(config)?;
/// let workers = server.workers(); // shuts it down, from any thread
/// server.run(|_| Accept(|| LineEcho))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// *Guaranteed*: half a server is none. When one worker ends, whatever the reason, the
/// others are asked for a graceful end.
pub struct Server<P: Protocol, L: Layer = ()> {
    drivers: Vec<Driver<P, L>>,
    /// The same on every worker.
    listeners: Vec<Id>,
    workers: Workers<P::Command>,
    commons: Commons,
}

impl<P: Protocol, L: Layer> Server<P, L> {
    /// Listens where `config` says, for each worker; who connects waits until the server is run.
    ///
    /// # Errors
    /// All that is wrong with the settings, or the first thing the system refuses.
    pub fn bind(config: Config) -> Result<Server<P, L>, StartError> {
        let Started { drivers, listeners, commons } = start(&config, Driver::sharing)?;
        let workers = Workers::new(drivers.iter().map(|driver: &Driver<P, L>| driver.server_handle()));
        Ok(Server { drivers, listeners, workers, commons })
    }

    /// Where it listens, in the order of [`Config::listen`].
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let first = self.drivers.first().expect("there is a worker");
        self.listeners.iter().map(|id| first.local_address(*id).expect("it listens")).collect()
    }

    /// All workers, for any thread: shut down, stop.
    #[must_use]
    pub fn workers(&self) -> Workers<P::Command> {
        self.workers.clone()
    }

    /// What the workers share.
    #[must_use]
    pub fn commons(&self) -> &Commons {
        &self.commons
    }

    /// One of the workers before it runs, to register something there.
    ///
    /// # Panics
    /// There are not as many.
    pub fn worker(&mut self, n: usize) -> &mut Worker<P, L> {
        &mut self.drivers[n]
    }
}

impl<P, L> Server<P, L>
where
    P: Protocol<Event: Send, Command: Send, Error: fmt::Display + Send> + Send,
    L: Layer + Send,
{
    /// Serves until it is shut down. `make` makes each worker's application; they are returned, worker by
    /// worker. The first worker runs on this thread, the others on threads of their own, which are
    /// gone when this returns.
    ///
    /// # Errors
    /// The first that a worker met, after all have ended: the poller's, or no thread was to be had.
    ///
    /// # Panics
    /// With the panic of a worker, after all have ended.
    pub fn run<A>(self, mut make: impl FnMut(usize) -> A) -> io::Result<Vec<A>>
    where
        A: Application<Mio, P, L> + Send,
    {
        let Server { drivers, workers, .. } = self;
        let made = drivers.into_iter().enumerate();
        let made = made.map(|(n, driver)| Running { driver, application: make(n), guard: workers.guard() });
        let mut made: Vec<_> = made.collect();
        let others = made.split_off(1);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (n, worker) in (1..).zip(others) {
                let thread = thread::Builder::new().name(format!("drywire-{n}"));
                // One that does not start has dropped its guard, and the rest ends as well.
                threads.push(thread.spawn_scoped(scope, || worker.run()));
            }
            let first = made.pop().expect("there is a worker").run();
            let mut ended = vec![first];
            for thread in threads {
                ended.push(thread.and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))));
            }
            ended.into_iter().collect()
        })
    }
}

struct Running<P: Protocol, L: Layer, A> {
    driver: Driver<P, L>,
    application: A,
    guard: WorkerGuard<P::Command>,
}

impl<P: Protocol<Error: fmt::Display>, L: Layer, A: Application<Mio, P, L>> Running<P, L, A> {
    fn run(self) -> io::Result<A> {
        let Running { mut driver, mut application, guard } = self;
        let ended = driver.run_to_end(&mut application);
        drop(guard);
        ended.map(|()| application)
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Server<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("workers", &self.drivers.len()).finish_non_exhaustive()
    }
}
