//! What every drywire server needs and no driver writes twice.
//!
//! This crate never opens a socket, never reads a clock and never starts a
//! thread. Time comes in as input and decisions go out as values, so a
//! simulation runs the same code as the drivers. It logs nothing either: it says
//! whether something is worth a line.
//!
//! - [`application`]: what a server's own code implements.
//! - [`address`]: where to listen and whom to connect to.
//! - [`table`]: who is connected, under ids that are never reused.
//! - [`accept`]: what an accept error means, and how long to stop accepting.
//! - [`log_limit`]: whether something that repeats is worth a line.
//! - [`drain`]: the way from "serving" to "stopped".
//! - [`mod@escape`]: bytes from a peer, fit for a log line.
//! - [`handle`]: what any thread may ask of a connection or of the whole worker.
//! - [`inbox`]: where a worker finds what was asked.

pub mod accept;
pub mod address;
pub mod application;
pub mod drain;
pub mod escape;
pub mod handle;
pub mod inbox;
pub mod log_limit;
pub mod table;

pub use accept::{ACCEPTS_PER_TURN, Backoff, Pause, Verdict, classify};
pub use address::{Address, AddressError};
pub use application::{Accept, Application, SourceEvent};
pub use drain::{Drain, DrainStep, Request};
pub use escape::{Escaped, escaped};
pub use handle::{Handle, SendError, ServerHandle};
pub use inbox::{Inbox, Link, Order, Posted};
pub use log_limit::{Log, LogLimiter};
pub use table::{Id, Table};
