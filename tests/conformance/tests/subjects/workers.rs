//! drywire's own drivers under test. What differs is how each is run.

use drywire_conformance::{Capability, Options, Running, Scene, Staged, Subject, Testable, narrow_listener};
use drywire_driver_mio::Mio as MioNet;
use drywire_driver_smol::Net as SmolNet;
use drywire_driver_tokio::Net as TokioNet;
use drywire_server::{Address, Config, Net, ServerHandle, Worker};
use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

pub(crate) type Mio = On<MioLoop>;
pub(crate) type Tokio = On<TokioTask>;
pub(crate) type TokioThreads = On<TokioSpawned>;
pub(crate) type Smol = On<SmolTask>;

/// How one driver is run to its end.
pub(crate) trait Runs: 'static {
    const NAME: &'static str;
    type Net: Net<Bound: From<TcpListener>>;

    /// Makes a driver, lets `begin` set it up, and runs it with the application that
    /// makes. Blocks until it has ended.
    fn run<P: Testable>(config: Config, begin: impl Begin<P, Self::Net>) -> io::Result<()>;
}

/// What is done before the first round.
pub(crate) trait Begin<P: Testable, N: Net>:
    FnOnce(&mut Worker<P, (), N>) -> io::Result<Staged<P>> + Send + 'static
{
}
impl<P: Testable, N: Net, F> Begin<P, N> for F where
    F: FnOnce(&mut Worker<P, (), N>) -> io::Result<Staged<P>> + Send + 'static
{
}

pub(crate) struct MioLoop;

impl Runs for MioLoop {
    const NAME: &'static str = if cfg!(mio_unsupported_force_poll_poll) { "mio on poll(2)" } else { "mio" };
    type Net = MioNet;

    fn run<P: Testable>(config: Config, begin: impl Begin<P, MioNet>) -> io::Result<()> {
        let mut driver = drywire_driver_mio::Driver::new(config)?;
        let mut staged = begin(&mut driver)?;
        driver.run(&mut staged)
    }
}

pub(crate) struct TokioTask;

impl Runs for TokioTask {
    const NAME: &'static str = "tokio, one thread";
    type Net = TokioNet;

    fn run<P: Testable>(config: Config, begin: impl Begin<P, TokioNet>) -> io::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tokio_task(config, begin))
    }
}

/// On the threads of the runtime, where a task moves from one to another.
pub(crate) struct TokioSpawned;

impl Runs for TokioSpawned {
    const NAME: &'static str = "tokio, threads";
    type Net = TokioNet;

    fn run<P: Testable>(config: Config, begin: impl Begin<P, TokioNet>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(runtime.spawn(tokio_task(config, begin))).expect("the driver does not panic")
    }
}

async fn tokio_task<P: Testable>(config: Config, begin: impl Begin<P, TokioNet>) -> io::Result<()> {
    let mut driver = drywire_driver_tokio::Driver::new(config)?;
    let mut staged = begin(&mut driver)?;
    driver.run(&mut staged).await;
    Ok(())
}

pub(crate) struct SmolTask;

impl Runs for SmolTask {
    const NAME: &'static str = "smol";
    type Net = SmolNet;

    fn run<P: Testable>(config: Config, begin: impl Begin<P, SmolNet>) -> io::Result<()> {
        async_io::block_on(async {
            let mut driver = drywire_driver_smol::Driver::new(config)?;
            let mut staged = begin(&mut driver)?;
            driver.run(&mut staged).await;
            Ok(())
        })
    }
}

/// The subject that `R` runs.
pub(crate) struct On<R>(PhantomData<R>);

impl<R: Runs> Subject for On<R> {
    const NAME: &'static str = R::NAME;
    const CAN: &'static [Capability] = Capability::ALL;
    type Running<P: Testable> = Thread<P>;

    fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Thread<P>> {
        let (asked, narrow) = (address.clone(), options.narrow);
        Thread::start::<R>(&options, scene, move |worker, _| {
            let listener = match (&asked, narrow) {
                (Address::Tcp(address), true) => worker.listen_on(narrow_listener(*address)?)?,
                _ => worker.listen(&asked).map_err(io::Error::other)?,
            };
            Ok(worker.local_address(listener).expect("just made"))
        })
    }

    fn connect<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Thread<P>> {
        let asked = address.clone();
        Thread::start::<R>(&options, scene, move |worker, staged| {
            staged.connect(worker, &asked).map_err(io::Error::other)?;
            Ok(asked)
        })
    }
}

/// A driver on a thread of its own.
pub(crate) struct Thread<P: Testable> {
    address: Address,
    handle: ServerHandle<P::Command>,
    thread: JoinHandle<()>,
}

impl<P: Testable> Thread<P> {
    fn start<R: Runs>(
        options: &Options,
        scene: Scene<P>,
        open: impl FnOnce(&mut Worker<P, (), R::Net>, &mut Staged<P>) -> io::Result<Address> + Send + 'static,
    ) -> io::Result<Thread<P>> {
        let config = Config { root: options.root.clone(), drain_timeout: options.drain_timeout, ..Config::default() };
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let failed = tell.clone();
            let begin = move |worker: &mut Worker<P, (), R::Net>| {
                let mut staged = Staged::new(scene);
                let address = open(worker, &mut staged)?;
                tell.send(Ok((address, worker.server_handle()))).expect("the check waits");
                Ok(staged)
            };
            if let Err(error) = R::run(config, begin) {
                // Nobody waits any more when it failed later, and a thread that ends too
                // early fails the check.
                failed.send(Err(error)).expect("it failed at the start");
            }
        });
        let (address, handle) = told.recv().map_err(io::Error::other)??;
        Ok(Thread { address, handle, thread })
    }
}

impl<P: Testable> Running for Thread<P> {
    fn address(&self) -> Address {
        self.address.clone()
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
