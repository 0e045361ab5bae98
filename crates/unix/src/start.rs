//! How a server of several workers starts, on every driver, and why it does not.

use crate::listener::{ListenError, Listener};
use drywire_core::Protocol;
use drywire_core::layer::Layer;
use drywire_server::{Commons, Config, ConfigErrors, Id, Net, Worker};
use std::io;
use std::ops::DerefMut;
use thiserror::Error;

/// Why a server does not start. Nothing listens then.
#[derive(Debug, Error)]
pub enum StartError {
    /// Settings that cannot be.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// Somewhere to listen that there is not.
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// It is to listen nowhere.
    #[error("there is nowhere to listen; name a place with listen")]
    Nowhere,
    /// The system gives no poller or no thread, or the root is no directory.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// The drivers of a server's workers, before they run.
#[derive(Debug)]
pub struct Started<D> {
    /// One for each worker.
    pub drivers: Vec<D>,
    /// What each of them listens on, in the order of [`Config::listen`].
    pub listeners: Vec<Id>,
    /// What they share.
    pub commons: Commons,
}

/// Listens where `config` says, for each worker; `make` makes a driver.
///
/// # Errors
/// All that is wrong with the settings, or the first thing the system refuses.
pub fn start<D, P, L, N>(
    config: &Config,
    mut make: impl FnMut(Config, Commons) -> io::Result<D>,
) -> Result<Started<D>, StartError>
where
    D: DerefMut<Target = Worker<P, L, N>>,
    P: Protocol,
    L: Layer,
    N: Net<Bound: From<Listener>>,
{
    config.validate()?;
    if config.listen.is_empty() {
        return Err(StartError::Nowhere);
    }
    let commons = Commons::new(config);
    let (mut drivers, mut listeners) = (Vec::new(), Vec::new());
    for sockets in Listener::for_workers(config)? {
        let mut driver = make(config.clone(), commons.clone())?;
        listeners = sockets.into_iter().map(|socket| driver.listen_on(socket)).collect::<io::Result<_>>()?;
        drivers.push(driver);
    }
    Ok(Started { drivers, listeners, commons })
}
