//! drywire's own drivers under test. What differs is how each is run.

use drywire_conformance::wire::Wire;
use drywire_conformance::{Begin, On, Runs, Testable};
use drywire_driver_mio::Mio as MioNet;
use drywire_driver_smol::Net as SmolNet;
use drywire_driver_tokio::Net as TokioNet;
use drywire_server::Config;
use std::io;

pub(crate) type Mio = On<MioLoop>;
pub(crate) type Tokio = On<TokioTask>;
pub(crate) type TokioThreads = On<TokioSpawned>;
pub(crate) type Smol = On<SmolTask>;

pub(crate) struct MioLoop;

impl Runs for MioLoop {
    const NAME: &'static str = if cfg!(mio_unsupported_force_poll_poll) { "mio on poll(2)" } else { "mio" };
    type Net = MioNet;

    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, MioNet>) -> io::Result<()> {
        let mut driver = drywire_driver_mio::Driver::new(config)?;
        let mut staged = begin(&mut driver)?;
        driver.run(&mut staged)
    }
}

pub(crate) struct TokioTask;

impl Runs for TokioTask {
    const NAME: &'static str = "tokio, one thread";
    type Net = TokioNet;

    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, TokioNet>) -> io::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tokio_task(config, begin))
    }
}

/// On the threads of the runtime, where a task moves from one to another.
pub(crate) struct TokioSpawned;

impl Runs for TokioSpawned {
    const NAME: &'static str = "tokio, threads";
    type Net = TokioNet;

    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, TokioNet>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(runtime.spawn(tokio_task(config, begin))).expect("the driver does not panic")
    }
}

async fn tokio_task<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, TokioNet>) -> io::Result<()> {
    let mut driver = drywire_driver_tokio::Driver::new(config)?;
    let mut staged = begin(&mut driver)?;
    driver.run(&mut staged).await
}

pub(crate) struct SmolTask;

impl Runs for SmolTask {
    const NAME: &'static str = "smol";
    type Net = SmolNet;

    fn run<P: Testable, W: Wire>(config: Config, begin: impl Begin<P, W, SmolNet>) -> io::Result<()> {
        async_io::block_on(async {
            let mut driver = drywire_driver_smol::Driver::new(config)?;
            let mut staged = begin(&mut driver)?;
            driver.run(&mut staged).await
        })
    }
}
