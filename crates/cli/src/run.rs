//! One service on the driver that was asked for. This is all that differs.

use crate::args::Driver;
use drywire_core::Protocol;
use drywire_driver_mio::Mio;
use drywire_server::{Application, Config, Net, Worker};
use std::fmt;
use std::io;

/// An application that sets itself up first.
pub(crate) trait Service<N: Net, P: Protocol>: Application<N, P> {
    type Error: From<io::Error>;

    /// Listens, and whatever else comes before the first round.
    fn start(&mut self, worker: &mut Worker<P, (), N>) -> Result<(), Self::Error>;
}

/// Runs `service` until its worker is shut down.
pub(crate) fn run<P, S, E>(driver: Driver, config: Config, service: &mut S) -> Result<(), E>
where
    P: Protocol<Error: fmt::Display>,
    S: Service<Mio, P, Error = E>
        + Service<drywire_driver_tokio::Net, P, Error = E>
        + Service<drywire_driver_smol::Net, P, Error = E>,
    E: From<io::Error>,
{
    match driver {
        Driver::Mio => {
            let mut driver = drywire_driver_mio::Driver::new(config)?;
            service.start(&mut driver)?;
            Ok(driver.run(service)?)
        }
        Driver::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(async {
                let mut driver = drywire_driver_tokio::Driver::new(config)?;
                service.start(&mut driver)?;
                Ok(driver.run(service).await?)
            });
            // A thread that waits for a file or a name does not hold the end up.
            runtime.shutdown_background();
            result
        }
        Driver::Smol => async_io::block_on(async {
            let mut driver = drywire_driver_smol::Driver::new(config)?;
            service.start(&mut driver)?;
            Ok(driver.run(service).await?)
        }),
    }
}
