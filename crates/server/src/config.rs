//! What a driver can be told.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of a server, or of one driver. Bounds of a connection are its own, in
/// [`Limits`](drywire_core::Limits); [`Timeouts`] adds to them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory files are opened beneath; without one every file is forbidden.
    pub root: Option<PathBuf>,
    /// What is added to the bounds of connections that are accepted.
    pub timeouts: Timeouts,
    /// Connections that may be open at once, in all workers: FAULTS 25.
    pub max_connections: usize,
    /// Connections from one address that may be open at once, in all workers: FAULTS 26.
    pub max_connections_per_address: usize,
    /// Bytes that all connections and what waits for them may hold together, in all workers.
    pub memory_bytes: usize,
    /// How often [`Application::tick`](crate::Application::tick) is called.
    pub tick: Option<Duration>,
    /// How long a connection of ours may take to stand, finding its address included.
    pub connect_timeout: Duration,
    /// How long a shutdown waits for connections that owe something.
    pub drain_timeout: Duration,
    /// Commands that may wait for one connection, sent through handles.
    pub commands_per_connection: u32,
    /// Bytes of commands that may wait for one connection, as their protocol weighs them.
    pub command_bytes_per_connection: u32,
    /// Commands that may wait for the worker between two rounds.
    pub commands: usize,
    /// What a panic in a protocol or in a callback ends.
    pub on_panic: OnPanic,
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
            timeouts: Timeouts::default(),
            max_connections: 65_536,
            max_connections_per_address: 16_384,
            memory_bytes: 1 << 30,
            tick: None,
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            commands_per_connection: 64,
            command_bytes_per_connection: 1 << 20,
            commands: 16 * 1024,
            on_panic: OnPanic::Isolate,
            events: 1024,
            budget_bytes: 1 << 20,
            system_calls: SystemCalls::default(),
        }
    }
}

/// How long a peer that connected to us may take. Each is the operator's word: what is
/// `Some` replaces what the connection's own [`Limits`](drywire_core::Limits) say, and
/// `Some(0)` means never. `None` leaves it to the connection, and where that leaves it
/// open (0) there is a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the first byte comes. Default: 60 s.
    pub first_byte: Option<Duration>,
    /// From a message's first byte to its last (FAULTS 1). Default: 60 s.
    pub message: Option<Duration>,
    /// Without a byte in either direction. Default: 10 minutes.
    pub idle: Option<Duration>,
    /// Without a byte taken, while we owe some. Default: the connection's own.
    pub stall: Option<Duration>,
    /// Bytes per second, in either direction, while a message is under way or output
    /// is owed (FAULTS 2). Default: 64.
    pub min_rate: Option<u32>,
    /// For the peer's end, after ours. Default: the connection's own.
    pub close: Option<Duration>,
}

/// What a panic in a protocol or in a callback ends (FAULTS 59).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The connection it was about, with [`Reason::Panicked`](drywire_core::Reason::Panicked);
    /// nothing, where it was about none. It is logged and counted.
    #[default]
    Isolate,
    /// The worker: the panic goes on through the driver, to whoever runs it.
    Stop,
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
