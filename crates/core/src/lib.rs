//! Network protocols as pure state machines: bytes and time in, actions out.
//!
//! This crate never opens a socket, never reads a clock, never starts a thread,
//! never draws a random number and never allocates per message once it is warm.
//! It needs no operating system. The same inputs give the same actions, always.
//!
//! ```text
//!          ┌──────── driver (mio · tokio · smol · your own loop · a test) ─────┐
//!  socket ─▶ read_with ─▶ layers ─▶ Protocol::consume ──────────events──▶ application
//!          │                                │ one transaction                  │
//!  socket ◀─ Action ◀─ poll ◀─ layers ◀─ output queue (bytes · files) ◀─commands
//!          └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - Protocol authors implement [`Protocol`] and work with a [`Context`]: each
//!   handler call is one transaction, and a full output queue is back-pressure
//!   that `?` takes care of.
//! - [`framing`] finds where messages end and makes protocols of codecs;
//!   [`layer`] is what stands between transport and protocol; [`mod@record`] keeps
//!   what happened, so that it can happen again.
//! - Driver authors hold a [`Connection`] per stream and a [`Workspace`] per
//!   thread, and let [`turn()`] perform the actions on their [`Transport`].
//!
//! What [`turn()`] does is no secret. By hand, with two `Vec`s for a socket:
//!
//! ```
//! use core::convert::Infallible;
//! use drywire_core::{Action, Connection, Context, Protocol, Stop, Time, Workspace};
//!
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     type Event = Infallible;
//!     type Command = Infallible;
//!     type Error = Infallible;
//!
//!     fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
//!         cx.write(&input.to_ascii_uppercase())?;
//!         Ok(input.len())
//!     }
//! }
//!
//! let (mut incoming, mut outgoing) = (vec![&b"hello "[..], b"there"], Vec::new());
//! let mut workspace = Workspace::new(); // one per thread
//! let mut connection = Connection::new(Shout); // one per stream
//!
//! let mut live = connection.lend(&mut workspace, Time::ZERO);
//! loop {
//!     match live.poll() {
//!         Action::Write(write) => {
//!             let n = write.with_slices(|slices, _| {
//!                 outgoing.extend_from_slice(slices[0]);
//!                 slices[0].len()
//!             });
//!             write.wrote(n);
//!         }
//!         Action::Wait(wait) if wait.read && !incoming.is_empty() => {
//!             live.read_with(|slot| {
//!                 let bytes = incoming.remove(0);
//!                 slot[..bytes.len()].copy_from_slice(bytes);
//!                 Ok(bytes.len())
//!             });
//!         }
//!         Action::Wait(_) => break, // here a driver would wait for its poller
//!         action => unreachable!("nobody asked for {action:?}"),
//!     }
//! }
//! assert_eq!(outgoing, b"HELLO THERE");
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod close;
mod connection;
mod context;
mod error;
pub mod escape;
mod file;
pub mod framing;
pub mod layer;
mod limits;
mod output;
#[doc(hidden)]
pub mod planted;
mod protocol;
pub mod record;
mod reply;
mod time;
mod turn;
mod workspace;

pub use action::{Action, OpenFile, ReadFile, StreamFile, Wait, Write};
pub use close::{CloseReport, Counters, Reason};
pub use connection::{Connection, Live, Mark, Read};
pub use context::{Context, Leftovers};
pub use error::{Blocked, Failure, FileError, Full, Misuse, Stop, TransportError};
pub use file::{FileId, Opened};
pub use limits::{DRAIN_LINGER_MS, ERROR_REPLY_BYTES, Limit, Limits};
pub use output::{Refused, Reserved, Writer};
pub use protocol::{Protocol, Timer};
pub use reply::Reply;
pub use time::Time;
pub use turn::{Budget, Opening, Ready, SendFileError, Transport, Turn, turn};
pub use workspace::Workspace;
