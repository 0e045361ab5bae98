//! What every drywire server needs and no driver writes twice.
//!
//! This crate never opens a socket, never reads a clock and never starts a
//! thread. Time comes in as input, and sockets are behind a trait, so a
//! simulation runs the same code as the drivers.
//!
//! - [`worker`]: connections and listeners, and when each of them gets a turn: all
//!   of a driver that is not waiting.
//! - [`net`]: what a driver adds to it.
//! - [`application`]: what a server's own code implements.
//! - [`admission`]: who is let in, and why somebody is not.
//! - [`stats`]: what is counted.
//! - [`commons`]: what the workers of one server share.
//! - [`config`]: what a driver can be told.
//! - [`secrets`]: what is never served, by whatever name.
//! - [`address`]: where to listen and whom to connect to.
//! - [`target`]: whom to connect to, by name too, and why that failed.
//! - [`table`]: who is connected, under ids that are never reused.
//! - [`io_error`]: what an error of the system means, and in words.
//! - [`accept`]: what an accept error means, and how long to stop accepting.
//! - [`log_limit`]: whether something that repeats is worth a line.
//! - [`drain`]: the way from "serving" to "stopped".
//! - [`mod@escape`]: bytes from a peer, fit for a log line (the core's).
//! - [`handle`]: what any thread may ask of a connection or of the whole worker.
//! - [`receipt`]: what became of one command.
//! - [`group`]: many connections that are written to at once.
//! - [`workers`]: all workers of one server, from any thread.
//! - [`inbox`]: where a worker finds what was asked.

pub mod accept;
pub mod address;
pub mod admission;
pub mod application;
pub mod commons;
pub mod config;
pub mod drain;
mod gate;
pub mod group;
pub mod handle;
pub mod inbox;
pub mod io_error;
pub mod log_limit;
pub mod net;
pub mod receipt;
mod reserve;
pub mod secrets;
pub mod stats;
mod sync;
pub mod table;
pub mod target;
pub mod worker;
pub mod workers;

pub use accept::{ACCEPTS_PER_TURN, Backoff, Pause, Verdict, classify};
pub use address::{Address, ParseAddressError};
pub use admission::{Refusal, least_memory_bytes};
pub use application::{Accept, Application, Notice, Quiet, SourceEvent, Watch};
pub use commons::Commons;
pub use config::{
    Config, ConfigError, ConfigErrors, Listen, OnPanic, ParseListenError, PortReuse, Position, SystemCalls, Timeouts,
    TlsFiles,
};
pub use drain::{Cut, Drain, DrainReport, DrainStep, Request};
pub use drywire_core::escape::{self, Escaped, escaped};
pub use group::{Group, Sent, Share, Slow};
pub use handle::{AskError, Handle, Inspection, SendError, ServerHandle, Standing, WorkerInspection};
pub use inbox::{Inbox, Link, Order, Posted, Room};
pub use io_error::AddressError;
pub use log_limit::{Log, LogLimiter};
pub use net::{Clock, Connecting, Interest, Net, News, Queue, Release};
pub use receipt::{Dropped, Outcome, Receipt};
pub use secrets::Secrets;
pub use stats::{Ended, Stats};
pub use table::{Id, Table};
pub use target::{ConnectError, Target, Whom};
pub use worker::{Rounds, Worker};
pub use workers::{WorkerGuard, Workers};
