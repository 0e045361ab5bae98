//! What a server or a driver can be told: the settings and their defaults. A method for
//! each of them is in `config/build.rs`, what they may be in `config/validate.rs`, the same as a
//! file in `config/file.rs`.

mod build;
#[cfg(feature = "toml")]
mod file;
mod listen;
mod validate;

use crate::secrets::Secrets;
use drywire_core::Limits;
pub use listen::{Listen, ParseListenError};
use std::path::PathBuf;
use std::time::Duration;
pub use validate::{ConfigError, ConfigErrors, Position};

/// The settings of a server, or of one driver. Bounds of a connection are its own, in
/// [`Limits`]; [`Timeouts`] adds to them.
///
/// ```
/// use drywire_server::{Config, Listen};
/// use std::time::Duration;
///
/// let config = Config::new()
///     .listen("127.0.0.1:2525".parse::<Listen>()?)
///     .workers(4)
///     .drain_timeout(Duration::from_secs(30));
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With the feature `toml`, `Config::from_toml` reads the same from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where a driver's `Server` listens. A `Driver` alone listens where it is told.
    pub listen: Vec<Listen>,
    /// Event loops of a driver's `Server`; each connection lives on one of them.
    pub workers: usize,
    /// Whether each worker has a listening socket of its own.
    pub port_reuse: PortReuse,
    /// Connections that may wait to be accepted, for each listening socket. The system cuts it
    /// to its own bound.
    pub backlog: u32,
    /// How long a connection is silent before the system asks whether its peer is still there
    /// (TCP keep-alive); `None` never asks. Of connections that are accepted. Units: whole seconds.
    pub keep_alive: Option<Duration>,
    /// Nothing written waits for the peer's acknowledgement of what went before (`TCP_NODELAY`).
    /// Of connections that are accepted; those of ours never wait.
    pub no_delay: bool,
    /// The directory files are opened beneath; without one every file is forbidden.
    pub root: Option<PathBuf>,
    /// What is not opened beneath it, by whatever name; [`TlsFiles::key`] is one without being
    /// named here.
    pub secrets: Secrets,
    /// What is added to the bounds of connections that are accepted.
    pub timeouts: Timeouts,
    /// The certificate that peers are shown. For whoever makes the connections: a worker knows
    /// nothing of TLS, `drywire_tls::Server` makes layers from it.
    pub tls: TlsFiles,
    /// Connections that may be open at once, in all workers, whoever opened them: FAULTS 25.
    pub max_connections: usize,
    /// Connections from one address that may be open at once, in all workers: FAULTS 26.
    /// A network of 64 bits is one address of IPv6. Unix sockets are not counted by address.
    pub max_connections_per_address: usize,
    /// What a peer hears that is refused for one of these, before the close: a line its
    /// protocol has for it, such as `421 too busy` and its end of line. Best effort; not
    /// where TLS is spoken from the first byte, where words would be a broken record.
    pub refusal: String,
    /// Bytes that all connections and what waits for them may hold together, in all
    /// workers: a hard bound on what [`Commons`](crate::Commons) counts. With less than
    /// [`least_memory_bytes`](crate::least_memory_bytes) connections are refused.
    pub memory_bytes: usize,
    /// How often [`Application::tick`](crate::Application::tick) is called.
    pub tick: Option<Duration>,
    /// How long a connection of ours may take to stand, finding its address included.
    pub connect_timeout: Duration,
    /// How long a shutdown waits for connections that owe something; default: 8 s. Container runtimes
    /// kill a process 10 s after they have asked for its end.
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
    /// Messages one connection may have consumed before the others get their turn: calls of
    /// [`Protocol::consume`](drywire_core::Protocol::consume) that take something.
    pub budget_messages: u32,
    /// For tests: system calls that may be used.
    pub system_calls: SystemCalls,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Vec::new(),
            workers: 1,
            port_reuse: PortReuse::Auto,
            backlog: 4096,
            keep_alive: Some(Duration::from_secs(60)),
            no_delay: true,
            root: None,
            secrets: Secrets::default(),
            timeouts: Timeouts::default(),
            tls: TlsFiles::default(),
            max_connections: 65_536,
            max_connections_per_address: 16_384,
            refusal: String::new(),
            memory_bytes: 1 << 30,
            tick: None,
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(8),
            commands_per_connection: 64,
            command_bytes_per_connection: 1 << 20,
            commands: 16 * 1024,
            on_panic: OnPanic::Isolate,
            events: 1024,
            budget_bytes: 1 << 20,
            budget_messages: 16 * 1024,
            system_calls: SystemCalls::default(),
        }
    }
}

/// A certificate and its private key, as files in PEM. Both, or neither: then connections are plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those that vouch for it.
    pub cert: Option<PathBuf>,
    /// Its private key, not encrypted.
    pub key: Option<PathBuf>,
}

/// How long a peer that connected to us may take. Each is the operator's word: what is
/// `Some` replaces what the connection's own [`Limits`] say, and
/// `Some(0)` means never. `None` leaves it to the connection, and where that leaves it
/// open (0) there is a default. For `close`, `Some(0)` means not at all.
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

impl Timeouts {
    const FIRST_BYTE_MS: u32 = 60_000;
    const MESSAGE_MS: u32 = 60_000;
    const IDLE_MS: u32 = 600_000;
    const MIN_RATE: u32 = 64;

    /// What a connection that was accepted goes by. Durations below a millisecond count as
    /// one, those beyond what [`Limits`] can say as never.
    pub fn apply(&self, limits: &mut Limits) {
        decide(&mut limits.first_byte_ms, self.first_byte.map(millis), Timeouts::FIRST_BYTE_MS);
        decide(&mut limits.message_ms, self.message.map(millis), Timeouts::MESSAGE_MS);
        decide(&mut limits.idle_ms, self.idle.map(millis), Timeouts::IDLE_MS);
        decide(&mut limits.stall_ms, self.stall.map(millis), 0);
        decide(&mut limits.min_rate, self.min_rate.map(or_never), Timeouts::MIN_RATE);
        if let Some(close) = self.close {
            // Not at all is a time like any other here.
            limits.linger_ms = if close.is_zero() { 0 } else { millis(close) };
        }
    }
}

/// The operator's word, or the connection's, or else ours.
fn decide(limit: &mut u32, said: Option<u32>, default: u32) {
    *limit = match (said, *limit) {
        (Some(said), _) => said,
        (None, 0) => default,
        (None, own) => own,
    };
}

fn millis(timeout: Duration) -> u32 {
    match u32::try_from(timeout.as_nanos().div_ceil(1_000_000)) {
        Ok(ms) => or_never(ms),
        Err(_) => Limits::NEVER,
    }
}

/// An operator's 0 is a decision.
fn or_never(n: u32) -> u32 {
    if n == 0 { Limits::NEVER } else { n }
}

/// Whether each worker listens with a socket of its own on the same port (`SO_REUSEPORT`).
///
/// With it the system deals out connections as they come, and a worker wakes up for its own
/// only (FAULTS 23). But those in the queue of a busy worker wait for that worker, and are
/// reset when it ends. Without it the first worker accepts, and deals connections out in turns,
/// to the next one when one takes no more: each costs two more system calls, and wakes the first
/// worker and the one it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortReuse {
    /// Where the system has it: for TCP. Not for Unix sockets, nor for those that were inherited.
    #[default]
    Auto,
    /// As `Auto`, and what cannot be reused is an error.
    On,
    /// Never.
    Off,
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

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Limits = Limits { stall_ms: 0, ..Limits::DEFAULT };

    fn applied(timeouts: Timeouts, mut limits: Limits) -> Limits {
        timeouts.apply(&mut limits);
        limits
    }

    #[test]
    fn w5_what_nobody_decided_has_a_default_that_is_on() {
        let limits = applied(Timeouts::default(), OPEN);
        assert_eq!((limits.first_byte_ms, limits.message_ms, limits.idle_ms), (60_000, 60_000, 600_000));
        assert_eq!((limits.min_rate, limits.rate_ms), (64, 60_000));
        assert_eq!((limits.stall_ms, limits.linger_ms), (0, 5_000), "left to the connection");
    }

    #[test]
    fn w5_what_a_connection_decided_stands_and_never_is_a_decision() {
        let never = Limits {
            first_byte_ms: Limits::NEVER,
            message_ms: Limits::NEVER,
            idle_ms: Limits::NEVER,
            min_rate: Limits::NEVER,
            ..OPEN
        };
        let own =
            Limits { first_byte_ms: 1, message_ms: 2, idle_ms: 3, stall_ms: 4, min_rate: 5, linger_ms: 6, ..OPEN };
        for limits in [never, own] {
            assert_eq!(applied(Timeouts::default(), limits), limits);
        }
    }

    #[test]
    fn w5_the_operators_word_goes_before_all() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let own =
            Limits { first_byte_ms: 9, message_ms: 9, idle_ms: 9, stall_ms: 9, min_rate: 9, linger_ms: 9, ..OPEN };
        let said =
            Timeouts { first_byte: ms(1), message: ms(2), idle: ms(3), stall: ms(4), min_rate: Some(5), close: ms(6) };
        let limits =
            Limits { first_byte_ms: 1, message_ms: 2, idle_ms: 3, stall_ms: 4, min_rate: 5, linger_ms: 6, ..own };
        assert_eq!(applied(said, own), limits);

        let zero =
            Timeouts { first_byte: ms(0), message: ms(0), idle: ms(0), stall: ms(0), min_rate: Some(0), close: ms(0) };
        let never = Limits::NEVER;
        let limits = Limits {
            first_byte_ms: never,
            message_ms: never,
            idle_ms: never,
            stall_ms: never,
            min_rate: never,
            linger_ms: 0,
            ..own
        };
        assert_eq!(applied(zero, own), limits);
    }

    #[test]
    fn w5_times_that_limits_cannot_say_are_the_nearest_they_can() {
        let idle = |timeout| applied(Timeouts { idle: Some(timeout), ..Timeouts::default() }, OPEN).idle_ms;
        assert_eq!(idle(Duration::from_nanos(1)), 1);
        assert_eq!(idle(Duration::MAX), Limits::NEVER);
        assert_eq!(idle(Duration::from_millis(u64::from(u32::MAX) - 1)), u32::MAX - 1);
    }
}
