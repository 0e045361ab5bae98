//! A subject over a [`Worker`](drywire_server::Worker), on a thread of its own: for
//! drivers that run one. What differs is how each is run; [`Runs`] asks for that.

use crate::peer::narrow_listener;
use crate::staged::Staged;
use crate::subject::{Capability, Options, Running, Scene, Subject, Testable};
use crate::wire::{Plain, Wire};
use drywire_server::{Address, Commons, Config, Net, ServerHandle, Target, Worker};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How one driver is run to its end.
pub trait Runs: 'static {
    /// What the driver is called in tables and failures.
    const NAME: &'static str;

    /// What it can do.
    const CAN: &'static [Capability] = Capability::ALL;

    /// How long a check waits for anything, as in [`Subject::PATIENCE`].
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Its sockets.
    type Net: Net<Bound: From<TcpListener>>;

    /// Makes a driver, lets `begin` set it up, and runs it with the application that
    /// makes. Blocks until it has ended.
    ///
    /// # Errors
    /// What `begin` says, or why there is no driver.
    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, Self::Net>) -> io::Result<()>;
}

/// What is done before the first round.
pub trait Begin<P: Testable, W: Wire, N: Net>:
    FnOnce(&mut Worker<P, W::Layer, N>) -> io::Result<Staged<P, W>> + Send + 'static
{
}
impl<P: Testable, W: Wire, N: Net, F> Begin<P, W, N> for F where
    F: FnOnce(&mut Worker<P, W::Layer, N>) -> io::Result<Staged<P, W>> + Send + 'static
{
}

/// The [`Subject`] that `R` runs, over a wire.
#[derive(Debug)]
pub struct On<R, W = Plain>(PhantomData<(R, W)>);

impl<R: Runs, W: Wire> Subject for On<R, W> {
    const NAME: &'static str = R::NAME;
    const CAN: &'static [Capability] = R::CAN;
    const PATIENCE: Duration = R::PATIENCE;
    const IS_TLS: bool = W::IS_TLS;
    type Running<P: Testable> = Thread<P>;

    fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Thread<P>> {
        let (asked, narrow) = (address.clone(), options.narrow);
        Thread::start::<R, W>(&options, scene, move |worker, _| {
            let listener = match (&asked, narrow) {
                (Address::Tcp(address), true) => worker.listen_on(narrow_listener(*address)?)?,
                _ => worker.listen(&asked).map_err(io::Error::other)?,
            };
            Ok(worker.local_address(listener).expect("just made"))
        })
    }

    fn connect<P: Testable>(target: &Target, options: Options, scene: Scene<P>) -> io::Result<Thread<P>> {
        let target = target.clone();
        Thread::start::<R, W>(&options, scene, move |worker, staged| {
            staged.connect(worker, &target).map_err(io::Error::other)?;
            Ok(Address::Unix(None))
        })
    }
}

/// A driver that runs on a thread of its own.
pub struct Thread<P: Testable> {
    address: Address,
    handle: ServerHandle<P::Command>,
    commons: Commons,
    thread: JoinHandle<()>,
}

impl<P: Testable> fmt::Debug for Thread<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<P: Testable> Thread<P> {
    fn start<R: Runs, W: Wire>(
        options: &Options,
        scene: Scene<P>,
        open: impl FnOnce(&mut Worker<P, W::Layer, R::Net>, &mut Staged<P, W>) -> io::Result<Address> + Send + 'static,
    ) -> io::Result<Thread<P>> {
        let config = options.to_config();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let failed = tell.clone();
            let begin = move |worker: &mut Worker<P, W::Layer, R::Net>| {
                let mut staged = Staged::new(scene);
                let address = open(worker, &mut staged)?;
                let told = (address, worker.server_handle(), worker.commons().clone());
                tell.send(Ok(told)).expect("the check waits");
                Ok(staged)
            };
            if let Err(error) = R::run(config, begin) {
                // Nobody waits any more when it failed later, and a thread that ends too
                // early fails the check.
                failed.send(Err(error)).expect("it failed at the start");
            }
        });
        let (address, handle, commons) = told.recv().map_err(io::Error::other)??;
        Ok(Thread { address, handle, commons, thread })
    }
}

impl<P: Testable> Running for Thread<P> {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn commons(&self) -> Option<Commons> {
        Some(self.commons.clone())
    }

    fn shutdown(&self) {
        self.handle.shutdown();
    }

    fn join(self) {
        self.thread.join().expect("the driver does not panic");
    }

    fn stop(self) {
        self.handle.abort();
        self.join();
    }
}
