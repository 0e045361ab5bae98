//! Why a server of several workers does not start.

use crate::listener::ListenError;
use drywire_server::ConfigErrors;
use std::io;
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
