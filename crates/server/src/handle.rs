//! What any thread may ask of a connection, or of a whole worker.
//!
//! Asking only queues and wakes: nothing of the application runs on the thread
//! that asks, and nothing of the connection is touched from there. The queue and
//! its lock are in [`inbox`](crate::inbox), the tests of both in `tests/handles.rs`.

use crate::inbox::{Gate, Shared};
use crate::table::Id;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// One connection, from any thread (W2, B2).
///
/// Cheap to clone, and safe to keep for longer than the connection lives: then
/// every call on it is a typed error or does nothing (FAULTS 63).
///
/// ```
/// use drywire_server::{Inbox, Order, SendError, Table};
///
/// // The driver's side. A real `wake` interrupts the poller.
/// let mut inbox = Inbox::new(1024, || {});
/// let mut connections = Table::new();
/// let id = connections.insert_with(|id| inbox.link(id, 16)).unwrap();
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
///         Order::Shutdown | Order::Stop => unreachable!("nobody asked"),
///     }
/// }
/// ```
pub struct Handle<C> {
    pub(crate) gate: Arc<Gate<C>>,
}

impl<C> Handle<C> {
    /// Queues a command for the connection and wakes its worker.
    ///
    /// Room is reserved here, not on arrival. `Ok` means that the command will be
    /// handed to the connection, or dropped and counted by
    /// [`Inbox::dropped`](crate::Inbox::dropped) if the connection ends first; it
    /// is never lost otherwise (FAULTS 66).
    ///
    /// # Errors
    /// The command comes back. [`SendError::Full`] when the connection's bound or the
    /// worker's is met (FAULTS 64); [`SendError::Closed`] after the end of the
    /// connection, and after [`Handle::close`] or [`Handle::abort`] (FAULTS 63, 73).
    pub fn send(&self, command: C) -> Result<(), SendError<C>> {
        self.gate.post(command)
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

    /// The connection.
    #[must_use]
    pub fn id(&self) -> Id {
        self.gate.id()
    }
}

/// Why a command was not taken; it is in here.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError<C> {
    /// Too many commands wait. Try again when the connection has taken some.
    #[error("too many commands wait for the connection or its worker")]
    Full(C),
    /// The connection has ended or is ending; it will never take the command.
    #[error("the connection is closed")]
    Closed(C),
}

impl<C> SendError<C> {
    /// The command that was not taken.
    pub fn into_command(self) -> C {
        match self {
            SendError::Full(command) | SendError::Closed(command) => command,
        }
    }
}

/// One worker, from any thread (W6). Both calls do nothing once it has ended.
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
            SendError::Closed(_) => f.write_str("Closed(..)"),
        }
    }
}
