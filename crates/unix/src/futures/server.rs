//! Several workers, a task each. They share what [`Commons`] counts and, where the system has no
//! other way, who accepts; nothing else.

use super::driver::{Driver, Ending};
use super::reactor::Reactor;
use super::sockets::Sockets;
use crate::start::{StartError, Started, start};
use drywire_core::Protocol;
use drywire_core::layer::Layer;
use drywire_server::{Address, Application, Commons, Config, Id, Worker, WorkerGuard, Workers};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A server of [`Config::workers`] workers, each with a task and an application of its own (W1). A
/// connection lives on one of them, in a table that nobody else sees (W9).
///
/// *Guaranteed*: half a server is none. When one worker ends, whatever the reason, a panic and a future
/// that is dropped among them, the others are asked for a graceful end.
pub struct Server<P: Protocol, L: Layer, R: Reactor> {
    drivers: Vec<Driver<P, L, R>>,
    /// The same on every worker.
    listeners: Vec<Id>,
    workers: Workers<P::Command>,
    commons: Commons,
}

impl<P: Protocol, L: Layer, R: Reactor> Server<P, L, R> {
    /// Listens where `config` says, for each worker, on the runtime this is called from; who
    /// connects waits until the server is run.
    ///
    /// # Errors
    /// All that is wrong with the settings, or the first thing the system refuses.
    pub fn bind(config: Config) -> Result<Server<P, L, R>, StartError> {
        let Started { drivers, listeners, commons } = start(&config, Driver::sharing)?;
        let workers = Workers::new(drivers.iter().map(|driver: &Driver<P, L, R>| driver.server_handle()));
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
    pub fn worker(&mut self, n: usize) -> &mut Worker<P, L, Sockets<R>> {
        &mut self.drivers[n]
    }
}

impl<P, L, R> Server<P, L, R>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
{
    /// The workers, to run each in a task of its own, so that each is on a core of its own.
    #[must_use = "a worker that is dropped ends the others"]
    pub fn into_workers(self) -> Vec<ServerWorker<P, L, R>> {
        let Server { drivers, workers, .. } = self;
        drivers.into_iter().map(|driver| ServerWorker { driver, guard: workers.guard() }).collect()
    }

    /// Serves until it is shut down, all workers in this one task, so on one core. `make` makes each
    /// worker's application; they are returned, worker by worker.
    ///
    /// # Errors
    /// The first that a worker met, after all have ended.
    pub async fn run<A>(self, mut make: impl FnMut(usize) -> A) -> io::Result<Vec<A>>
    where
        A: Application<Sockets<R>, P, L>,
    {
        let workers = self.into_workers().into_iter().enumerate();
        let mut workers: Vec<_> = workers.map(|(n, worker)| One::Runs(Box::pin(worker.run(make(n))))).collect();
        poll_fn(|cx| {
            let pending = workers.iter_mut().map(|worker| worker.poll(cx)).filter(Poll::is_pending).count();
            if pending == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        workers.into_iter().filter_map(One::ended).collect()
    }
}

/// One worker of a [`Server`].
#[derive(Debug)]
pub struct ServerWorker<P: Protocol, L: Layer, R: Reactor> {
    driver: Driver<P, L, R>,
    guard: WorkerGuard<P::Command>,
}

impl<P, L, R> ServerWorker<P, L, R>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
{
    /// Serves until it is shut down, and gives the application back.
    ///
    /// The future is `Send` when the protocol and its types, layer and application are. Dropped, it closes and
    /// reports its connections.
    ///
    /// # Errors
    /// The runtime has shut down; connections are closed and reported first.
    pub async fn run<A>(self, mut application: A) -> io::Result<A>
    where
        A: Application<Sockets<R>, P, L>,
    {
        let ServerWorker { driver, guard } = self;
        let mut ending = Ending { driver, application: &mut application };
        let ended = ending.driver.run(ending.application).await;
        drop(ending);
        drop(guard);
        ended.map(|()| application)
    }
}

/// One of several futures that are waited for.
enum One<F: Future> {
    Runs(Pin<Box<F>>),
    Ended(F::Output),
}

impl<F: Future> One<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let One::Runs(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => *self = One::Ended(output),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn ended(self) -> Option<F::Output> {
        match self {
            One::Runs(_) => None,
            One::Ended(output) => Some(output),
        }
    }
}

impl<P: Protocol, L: Layer, R: Reactor> fmt::Debug for Server<P, L, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("workers", &self.drivers.len()).finish_non_exhaustive()
    }
}
