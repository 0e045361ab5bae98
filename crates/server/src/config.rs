//! What a driver can be told.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of a driver. Bounds of a connection are its own, in
/// [`Limits`](drywire_core::Limits).
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory files are opened beneath; without one every file is forbidden.
    pub root: Option<PathBuf>,
    /// How long a shutdown waits for connections that owe something.
    pub drain_timeout: Duration,
    /// Commands that may wait for one connection, sent through handles.
    pub commands_per_connection: u32,
    /// Commands that may wait for the worker between two rounds.
    pub commands: usize,
    /// News that is heard in one round; what there is besides is heard in the next.
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

/// Which system calls may be used where a slower one does the same work.
///
/// For tests: a call that is missing is noticed by itself, so production has no
/// reason to turn one off. Off means exactly what a kernel without it means
/// (row A11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCalls {
    /// openat2(2), Linux 5.6. Without it no symlink beneath the root is followed.
    pub openat2: bool,
    /// sendfile(2). Without it a file is read and then written.
    pub sendfile: bool,
}

/// All of them.
impl Default for SystemCalls {
    fn default() -> SystemCalls {
        SystemCalls { openat2: true, sendfile: true }
    }
}
