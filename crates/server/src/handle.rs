//! What any thread may ask of a connection, or of a whole worker.
//!
//! Asking only queues and wakes: nothing of the application runs on the thread
//! that asks, and nothing of the connection is touched from there. The queue and
//! its lock are in [`inbox`](crate::inbox), the tests of both in `tests/handles/`.

use crate::address::Address;
use crate::gate::{Gate, Shared};
use crate::receipt::Receipt;
use crate::sync::Ordering;
use crate::table::Id;
use crate::target::Target;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// One connection, from any thread (W2, B2).
///
/// Cheap to clone, and safe to keep for longer than the connection lives: then
/// every call on it is a typed error or does nothing (FAULTS 63).
///
/// ```
/// use drywire_server::{Inbox, Order, Room, SendError, Table};
///
/// // The driver's side. A real `wake` interrupts the poller.
/// let mut inbox = Inbox::new(1024, || {});
/// let mut connections = Table::new();
/// let id = connections.insert_with(|id| inbox.link(id, Room::commands(16))).unwrap();
/// let handle = connections.get(id).unwrap().handle();
///
/// // Any thread, any time.
/// std::thread::spawn(move || {
///     handle.send("hello").unwrap();
///     handle.close();
///     assert_eq!(handle.send("late"), Err(SendError::Closed("late")));
/// }).join().unwrap();
///
/// // The driver again, woken up.
/// let mut orders = Vec::new();
/// inbox.take(&mut orders);
/// for order in orders.drain(..) {
///     match order {
///         Order::Command(posted) => assert_eq!(posted.into_command(), "hello"),
///         Order::Close(id) | Order::Abort(id) => drop(connections.remove(id)),
///         Order::Group(_) | Order::Connect(_) | Order::Shutdown | Order::Stop => unreachable!("nobody asked"),
///     }
/// }
/// ```
pub struct Handle<C> {
    pub(crate) gate: Arc<Gate<C>>,
}

impl<C> Handle<C> {
    /// Queues a command for the connection and wakes its worker.
    ///
    /// Room is reserved here, not on arrival: one command, and as many bytes as its
    /// protocol weighs it ([`Protocol::weigh`](drywire_core::Protocol::weigh)) and it
    /// costs to let it wait. `Ok` means that the connection's protocol will handle the
    /// command, or that it is dropped and counted by
    /// [`Inbox::dropped`](crate::Inbox::dropped) if the connection ends first; it
    /// is never lost otherwise (FAULTS 66).
    ///
    /// # Errors
    /// The command comes back. [`SendError::Full`] when a bound of the connection, of
    /// the worker or of the process is met (FAULTS 64), [`SendError::TooLarge`] when it
    /// alone is more than the connection's; [`SendError::Closed`] after the end of the
    /// connection, and after [`Handle::close`] or [`Handle::abort`] (FAULTS 63, 73).
    pub fn send(&self, command: C) -> Result<(), SendError<C>> {
        self.gate.post(command, None)
    }

    /// The same, with a receipt that says what became of it. It costs an allocation.
    ///
    /// # Errors
    /// As [`Handle::send`].
    pub fn send_tracked(&self, command: C) -> Result<Receipt, SendError<C>> {
        let (receipt, ticket) = Receipt::pair();
        self.gate.post(command, Some(ticket))?;
        Ok(receipt)
    }

    /// Asks for the end after all that was sent before, and its answers, are
    /// flushed. Idempotent, and never refused for lack of room (FAULTS 73).
    pub fn close(&self) {
        self.gate.close();
    }

    /// Asks for the end now; what is not written yet is discarded. Idempotent, and
    /// never refused for lack of room. Overtakes no [`Handle::send`] before it.
    pub fn abort(&self) {
        self.gate.abort();
    }

    /// Whether commands are still welcome. A hint: it may end the next moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// How the connection is doing, as its worker told at the end of its last turn.
    /// Waits for nobody. After the end of the connection it says how that left it.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        let seen = &self.gate.seen;
        let (age, quiet) = seen.age_and_quiet(self.gate.shared.now());
        let (waiting_commands, waiting_bytes) = self.gate.waiting();
        Inspection {
            standing: if self.gate.is_closed() {
                Standing::Closed
            } else if self.gate.is_open() && !seen.is_ending.load(Ordering::Relaxed) {
                Standing::Open
            } else {
                Standing::Closing
            },
            waiting_commands,
            waiting_bytes,
            held_bytes: seen.held_bytes.load(Ordering::Relaxed),
            age,
            quiet,
            peer: seen.peer.clone(),
            tag: seen.tag.load(Ordering::Relaxed),
        }
    }

    /// Marks the connection with a number of the user's own, for all its handles: 0
    /// until somebody does.
    pub fn set_tag(&self, tag: u64) {
        self.gate.seen.tag.store(tag, Ordering::Relaxed);
    }

    /// The connection. Ids are a worker's own: those of two workers may be equal.
    #[must_use]
    pub fn id(&self) -> Id {
        self.gate.id()
    }
}

/// How a connection is doing. Each field is true by itself; a turn may have been made
/// between two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Whether it is coming to its end.
    pub standing: Standing,
    /// Commands that were accepted and that it has not handled yet.
    pub waiting_commands: u32,
    /// Their weight in bytes, what it costs to let them wait included.
    pub waiting_bytes: u32,
    /// Bytes of input and output that it holds.
    pub held_bytes: u32,
    /// How long it has been there, or was: since its first handle was made.
    pub age: Duration,
    /// For how long not a byte has moved in either direction.
    pub quiet: Duration,
    /// Who is at the other end, where that was known when its first handle was made.
    pub peer: Option<Address>,
    /// What [`Handle::set_tag`] set.
    pub tag: u64,
}

/// Whether a connection is coming to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes commands.
    Open,
    /// Its end was asked for or has begun, and it is not over.
    Closing,
    /// It is over, or its worker is.
    Closed,
}

/// Why a command was not taken; it is in here.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError<C> {
    /// Too many commands wait. Try again when the connection has taken some.
    #[error("too many commands wait for the connection or its worker")]
    Full(C),
    /// This one alone is more than may ever wait for the connection, by bytes.
    #[error("the command is larger than all that may wait for the connection")]
    TooLarge(C),
    /// The connection has ended or is ending; it will never take the command.
    #[error("the connection is closed")]
    Closed(C),
}

impl<C> SendError<C> {
    /// The command that was not taken.
    pub fn into_command(self) -> C {
        match self {
            SendError::Full(command) | SendError::TooLarge(command) | SendError::Closed(command) => command,
        }
    }
}

/// Why nobody is asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// Too much waits for it already.
    #[error("too much waits for the worker; ask again when it has had a round")]
    Full,
    /// It takes no more orders.
    #[error("the worker has ended or is ending")]
    Closed,
}

/// One worker, from any thread (W6). Nothing happens once it has ended.
pub struct ServerHandle<C> {
    pub(crate) shared: Arc<Shared<C>>,
}

impl<C> ServerHandle<C> {
    /// Asks for a graceful end. Idempotent: several parts of a program may ask, and
    /// none of them cuts the drain short.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    /// Asks for the end now, also in the middle of a graceful one. Idempotent.
    pub fn abort(&self) {
        self.shared.stop();
    }

    /// Asks the application for a connection to `target`: it hears
    /// [`Notice::ConnectAsked`](crate::Notice::ConnectAsked) on the worker's thread, and makes
    /// one with [`Worker::connect`](crate::Worker::connect), or none. Waits for nobody.
    ///
    /// *Guaranteed*: the notice comes exactly once, unless the worker ends before its next
    /// round.
    ///
    /// # Errors
    /// The worker has ended or is asked to, or too much waits for it.
    pub fn connect(&self, target: impl Into<Target>) -> Result<(), AskError> {
        self.shared.ask(target.into())
    }

    /// How the worker is doing, as of its last round. Waits for nobody.
    #[must_use]
    pub fn inspect(&self) -> WorkerInspection {
        let (commands, command_bytes) = self.shared.waiting();
        let is_running = !self.shared.is_closed();
        let connections = if is_running { self.shared.connections() } else { 0 };
        WorkerInspection { is_running, connections, commands, command_bytes }
    }
}

/// How a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerInspection {
    /// It has not ended.
    pub is_running: bool,
    /// Connections it had at its last round.
    pub connections: usize,
    /// Commands that were accepted and that no connection has handled yet.
    pub commands: usize,
    /// Their weight in bytes, what it costs to let them wait included.
    pub command_bytes: usize,
}

// By hand, because derived ones would ask the same of `C`.

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Handle<C> {
        Handle { gate: self.gate.clone() }
    }
}

impl<C> Clone for ServerHandle<C> {
    fn clone(&self) -> ServerHandle<C> {
        ServerHandle { shared: self.shared.clone() }
    }
}

impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.id()).finish()
    }
}

impl<C> fmt::Debug for ServerHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for SendError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Full(_) => f.write_str("Full(..)"),
            SendError::TooLarge(_) => f.write_str("TooLarge(..)"),
            SendError::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}
