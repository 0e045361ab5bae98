//! Where a worker finds what other threads asked: the receiving side.
//!
//! The queue, its bounds and its one lock are in `gate`; what a thread may ask is in
//! [`handle`](crate::handle). What a command means is up to the protocol, and what
//! waking means is up to the driver.

use crate::address::Address;
use crate::gate::{Gate, Place, Setup, Shared};
use crate::group::Share;
use crate::handle::{Handle, SendError, ServerHandle};
use crate::receipt::{Dropped, Outcome};
use crate::sync::Ordering;
use crate::table::Id;
use crate::target::Target;
use drywire_core::Time;
use std::fmt;
use std::mem;
use std::sync::Arc;

/// The one receiver of a worker. A driver takes what has come, once per turn.
///
/// Each command that a [`Handle::send`] accepted is completed exactly once: either
/// the driver opens it for its connection ([`Posted::into_command`]), or it is
/// dropped and counted here (FAULTS 66). Orders for one connection come in the
/// order in which they were given.
///
/// Dropping the inbox ends every handle of it; what was still waiting is dropped.
pub struct Inbox<C> {
    shared: Arc<Shared<C>>,
}

/// What a worker is asked to do.
#[derive(Debug)]
pub enum Order<C> {
    /// Hand this to the connection it names, or drop it when that one is gone.
    Command(Posted<C>),
    /// A group has messages for the connection it names: take them out one by one as
    /// that one can take them, or drop it when that one is gone. At most one per
    /// member of a group that is not spent.
    Group(Share<C>),
    /// Close this connection after the flush. At most one per [`Link`].
    Close(Id),
    /// Discard this connection now. At most one per [`Link`].
    Abort(Id),
    /// Tell the application that a connection to this is asked for. Bounded like commands.
    Connect(Box<Target>),
    /// Shut down gracefully. At most one per inbox.
    Shutdown,
    /// Stop now. At most one per inbox.
    Stop,
}

impl<C> Inbox<C> {
    /// An inbox for at most `capacity` commands between two calls of
    /// [`Inbox::take`]. It allocates as they come.
    ///
    /// `wake` must make the worker call [`Inbox::take`] soon, and should do no more:
    /// it runs on the thread that uses a handle, without a lock held. However many
    /// orders come, it is called at most once per take, and once before the first
    /// (FAULTS 67).
    ///
    /// Choose the capacity of one connection ([`Inbox::link`]) well below this one:
    /// then a flood for one connection leaves room for the others (FAULTS 64).
    pub fn new(capacity: usize, wake: impl Fn() + Send + Sync + 'static) -> Inbox<C> {
        Inbox::weighing(capacity, |_| size_of::<C>(), wake)
    }

    /// The same for commands that weigh more than their size, in bytes: see
    /// [`Protocol::weigh`](drywire_core::Protocol::weigh). Called on threads that send.
    pub fn weighing(capacity: usize, weigh: fn(&C) -> usize, wake: impl Fn() + Send + Sync + 'static) -> Inbox<C> {
        Inbox::set_up(Setup { capacity, weigh, commons: None, clock: None }, wake)
    }

    pub(crate) fn set_up(setup: Setup<C>, wake: impl Fn() + Send + Sync + 'static) -> Inbox<C> {
        Inbox { shared: Arc::new(Shared::new(setup, wake)) }
    }

    /// Opens a connection to other threads. The driver keeps the link in the
    /// connection's entry, and makes it when the application first asks.
    ///
    /// Bound: `room`, for commands that were accepted and are not yet handed over
    /// or dropped, wherever they wait.
    #[must_use]
    pub fn link(&self, id: Id, room: Room) -> Link<C> {
        self.introduce(id, room, None, Time::ZERO)
    }

    /// The same, with what [`Handle::inspect`] says of it: who the peer is, and since
    /// when it is there.
    #[must_use]
    pub fn introduce(&self, id: Id, room: Room, peer: Option<Address>, opened: Time) -> Link<C> {
        Link { gate: Arc::new(Gate::new(self.shared.clone(), id, room, peer, opened)) }
    }

    /// A handle on the worker as a whole.
    #[must_use]
    pub fn server_handle(&self) -> ServerHandle<C> {
        ServerHandle { shared: self.shared.clone() }
    }

    /// Appends all that was asked to `orders`; the next order wakes again.
    ///
    /// An empty `orders` is swapped with the queue: no lock is held while orders
    /// are handled, and two buffers that have grown warm serve for ever. Orders that
    /// are dropped unhandled, by a panic for instance, are counted like any other.
    ///
    /// Bound: the inbox's capacity, two orders per link, one per member of a group and
    /// two per inbox.
    pub fn take(&mut self, orders: &mut Vec<Order<C>>) {
        let mut queue = self.shared.lock();
        queue.woken = false;
        queue.commands = 0;
        if orders.is_empty() {
            mem::swap(&mut queue.orders, orders);
        } else {
            orders.append(&mut queue.orders);
        }
    }

    /// Commands that were accepted and then dropped, because their connection had
    /// closed before they reached it.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Bytes of commands that wait: accepted, and not yet handed over or dropped, with
    /// what it costs to let them wait.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.shared.waiting().1
    }

    /// Tells [`ServerHandle::inspect`] how the worker is doing. Once a round.
    pub fn publish(&self, now: Time, connections: usize) {
        self.shared.publish(now, connections);
    }
}

impl<C> Drop for Inbox<C> {
    fn drop(&mut self) {
        drop(self.shared.end());
    }
}

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Commands.
    pub commands: u32,
    /// Their weight in bytes, what it costs to let them wait included.
    pub bytes: u32,
}

impl Room {
    /// A bound by number alone.
    #[must_use]
    pub const fn commands(commands: u32) -> Room {
        Room { commands, bytes: u32::MAX }
    }
}

/// A driver's end of the handles of one connection: 8 bytes with or without an
/// `Option` around it.
///
/// Dropping it closes them, as if the worker were gone; [`Link::end`] says better why. *Guaranteed*: a [`Handle::send`] that begins after the
/// drop gives the command back as [`SendError::Closed`]; one that was accepted
/// before it is in the inbox or on its way to the connection (FAULTS 63, 66). Drop
/// it as soon as the connection takes no more commands.
pub struct Link<C> {
    gate: Arc<Gate<C>>,
}

impl<C> Link<C> {
    /// One more handle on the connection.
    #[must_use]
    pub fn handle(&self) -> Handle<C> {
        Handle { gate: self.gate.clone() }
    }

    /// A command from the worker's own thread: the same bound and the same
    /// refusals as [`Handle::send`], but no detour through the inbox and no wake.
    ///
    /// # Errors
    /// As [`Handle::send`], except that the inbox's bound does not count.
    pub fn post(&self, command: C) -> Result<Posted<C>, SendError<C>> {
        self.gate.post_here(command)
    }

    /// Tells [`Handle::inspect`] how the connection is doing. At the end of a turn.
    pub fn publish(&self, held_bytes: usize, last_move: Time, is_ending: bool) {
        let seen = &self.gate.seen;
        seen.held_bytes.store(u32::try_from(held_bytes).unwrap_or(u32::MAX), Ordering::Relaxed);
        seen.set_last_move(last_move);
        seen.is_ending.store(is_ending, Ordering::Relaxed);
    }

    /// Drops it, and says why: what still waits is dropped for that reason.
    pub fn end(self, why: Dropped, now: Time) {
        let seen = &self.gate.seen;
        seen.held_bytes.store(0, Ordering::Relaxed);
        seen.set_ended(now);
        self.gate.end(why);
    }

    /// The connection.
    #[must_use]
    pub fn id(&self) -> Id {
        self.gate.id()
    }
}

impl<C> Drop for Link<C> {
    fn drop(&mut self) {
        self.gate.end(Dropped::WorkerGone);
    }
}

/// A command on its way, with the place it takes in its connection's bound.
///
/// A driver holds on to it while the connection cannot take a command; the place
/// is held as long. Dropping it frees the place and counts the command as dropped.
pub struct Posted<C> {
    pub(crate) command: C,
    pub(crate) place: Place<C>,
}

impl<C> Posted<C> {
    /// The connection it is for.
    #[must_use]
    pub fn id(&self) -> Id {
        self.place.id()
    }

    /// The command, for a connection that takes it now: it counts as delivered, and
    /// as written for whoever holds its [`Receipt`](crate::Receipt).
    #[must_use]
    pub fn into_command(self) -> C {
        if let Some(ticket) = self.place.delivered() {
            ticket.complete(Outcome::Written);
        }
        self.command
    }
}

impl<C> fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.lock();
        f.debug_struct("Inbox")
            .field("capacity", &self.shared.capacity())
            .field("commands", &queue.commands)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Link<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.id()).finish()
    }
}

impl<C> fmt::Debug for Posted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posted").field("id", &self.id()).finish_non_exhaustive()
    }
}
