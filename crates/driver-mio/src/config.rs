//! What a driver can be told.

use crate::files::SystemCalls;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a [`Driver`](crate::Driver). Bounds of a connection are its
/// own, in [`Limits`](drywire_core::Limits).
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory files are opened beneath; without one every file is forbidden.
    pub root: Option<PathBuf>,
    /// How long a shutdown waits for connections that owe something.
    pub drain_timeout: Duration,
    /// Commands that may wait for one connection, sent through handles.
    pub commands_per_connection: u32,
    /// Commands that may wait for the driver between two dispatches.
    pub commands: usize,
    /// Events taken from the poller at a time.
    pub events: usize,
    /// Bytes one connection may move before the others get their turn.
    pub budget_bytes: usize,
    /// For tests: system calls that may be used.
    pub system_calls: SystemCalls,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            root: None,
            drain_timeout: Duration::from_secs(10),
            commands_per_connection: 64,
            commands: 16 * 1024,
            events: 1024,
            budget_bytes: 1 << 20,
            system_calls: SystemCalls::default(),
        }
    }
}
