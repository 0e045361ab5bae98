//! Where a worker finds what other threads asked: the receiving side.
//!
//! The queue, its bounds and its one lock live here; what a thread may ask is in
//! [`handle`](crate::handle). What a command means is up to the protocol, and what
//! waking means is up to the driver.

use crate::handle::{Handle, SendError, ServerHandle};
use crate::sync::{AtomicU8, AtomicU32, Mutex, MutexGuard, Ordering};
use crate::table::Id;
use std::fmt;
use std::mem;
use std::sync::{Arc, PoisonError};

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
    /// Close this connection after the flush. At most one per [`Link`].
    Close(Id),
    /// Discard this connection now. At most one per [`Link`].
    Abort(Id),
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
        let queue = Queue { orders: Vec::new(), commands: 0, woken: false, dropped: 0 };
        let (queue, life, wake) = (Mutex::new(queue), Life::new(), Box::new(wake));
        Inbox { shared: Arc::new(Shared { queue, life, capacity, wake }) }
    }

    /// Opens a connection to other threads. The driver keeps the link in the
    /// connection's entry, and makes it when the application first asks.
    ///
    /// Bound: `capacity` commands that were accepted and are not yet handed over
    /// or dropped, wherever they wait.
    #[must_use]
    pub fn link(&self, id: Id, capacity: u32) -> Link<C> {
        let (shared, life, reserved) = (self.shared.clone(), Life::new(), AtomicU32::new(0));
        Link { gate: Arc::new(Gate { shared, life, id, capacity, reserved }) }
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
    /// Bound: the inbox's capacity, two orders per link and two per inbox.
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
        self.shared.lock().dropped
    }
}

impl<C> Drop for Inbox<C> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        self.shared.life.advance(Stage::Closed);
        let orders = mem::take(&mut queue.orders);
        // Dropping an order takes the lock to count it, and may run the command's
        // own `Drop`.
        drop(queue);
        drop(orders);
    }
}

/// A driver's end of the handles of one connection: 8 bytes with or without an
/// `Option` around it.
///
/// Dropping it closes them. *Guaranteed*: a [`Handle::send`] that begins after the
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
        self.gate.reserve(&self.gate.shared.lock(), command)
    }

    /// The connection.
    #[must_use]
    pub fn id(&self) -> Id {
        self.gate.id
    }
}

impl<C> Drop for Link<C> {
    fn drop(&mut self) {
        // Under the lock, so that a send is wholly before this or wholly after it.
        let _queue = self.gate.shared.lock();
        self.gate.life.advance(Stage::Closed);
    }
}

/// A command on its way, with the place it takes in its connection's bound.
///
/// A driver holds on to it while the connection cannot take a command; the place
/// is held as long. Dropping it frees the place and counts the command as dropped.
pub struct Posted<C> {
    command: C,
    place: Place<C>,
}

impl<C> Posted<C> {
    /// The connection it is for.
    #[must_use]
    pub fn id(&self) -> Id {
        self.place.gate.id
    }

    /// The command, for a connection that takes it now: it counts as delivered.
    #[must_use]
    pub fn into_command(mut self) -> C {
        self.place.delivered = true;
        self.command
    }
}

struct Place<C> {
    gate: Arc<Gate<C>>,
    delivered: bool,
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        self.gate.reserved.fetch_sub(1, Ordering::Relaxed);
        if !self.delivered {
            // Cannot deadlock: no order is ever dropped with the lock held.
            self.gate.shared.lock().dropped += 1;
        }
    }
}

/// What all handles of one connection share with its link.
pub(crate) struct Gate<C> {
    shared: Arc<Shared<C>>,
    life: Life,
    id: Id,
    capacity: u32,
    /// Grows under the lock only, so it never passes `capacity`; shrinks anywhere.
    reserved: AtomicU32,
}

impl<C> Gate<C> {
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn is_open(&self) -> bool {
        self.life.is_open() && !self.shared.life.is_closed()
    }

    pub(crate) fn post(self: &Arc<Self>, command: C) -> Result<(), SendError<C>> {
        let mut queue = self.shared.lock();
        if self.is_open() && queue.commands >= self.shared.capacity {
            return Err(SendError::Full(command));
        }
        let posted = self.reserve(&queue, command)?;
        queue.commands += 1;
        self.shared.push(queue, Order::Command(posted));
        Ok(())
    }

    /// Takes a place in the connection's bound. The queue stands for its lock.
    fn reserve(self: &Arc<Self>, _: &Queue<C>, command: C) -> Result<Posted<C>, SendError<C>> {
        if !self.is_open() {
            return Err(SendError::Closed(command));
        }
        if self.reserved.load(Ordering::Relaxed) >= self.capacity {
            return Err(SendError::Full(command));
        }
        self.reserved.fetch_add(1, Ordering::Relaxed);
        Ok(Posted { command, place: Place { gate: self.clone(), delivered: false } })
    }

    pub(crate) fn close(&self) {
        self.shared.order_once(&self.life, Stage::Closing, Order::Close(self.id));
    }

    pub(crate) fn abort(&self) {
        self.shared.order_once(&self.life, Stage::Aborting, Order::Abort(self.id));
    }
}

/// What all handles of one worker share with its inbox.
pub(crate) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    life: Life,
    capacity: usize,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Queue<C> {
    orders: Vec<Order<C>>,
    /// How many of the orders are commands. The others are bounded by their kind.
    commands: usize,
    /// Whether a wake was made, or is about to be, that no `take` has answered.
    woken: bool,
    dropped: u64,
}

impl<C> Shared<C> {
    pub(crate) fn shutdown(&self) {
        self.order_once(&self.life, Stage::Closing, Order::Shutdown);
    }

    pub(crate) fn stop(&self) {
        self.order_once(&self.life, Stage::Aborting, Order::Stop);
    }

    /// Never refused for lack of room: each stage is passed once.
    fn order_once(&self, life: &Life, stage: Stage, order: Order<C>) {
        let queue = self.lock();
        if life.advance(stage) && !self.life.is_closed() {
            self.push(queue, order);
        }
    }

    /// Wakes for the first order only (FAULTS 67), and after the lock is free: the
    /// worker that wakes up wants it next.
    fn push(&self, mut queue: MutexGuard<'_, Queue<C>>, order: Order<C>) {
        queue.orders.push(order);
        let must_wake = !mem::replace(&mut queue.woken, true);
        drop(queue);
        if must_wake {
            (self.wake)();
        }
    }

    /// A poisoned lock is as good as a sound one: what is done under it is a few
    /// assignments and one `push`, and none of them can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far something has come towards its end.
///
/// ```text
///   Open ──▶ Closing ──▶ Aborting ──▶ Closed      (any may be skipped, none repeated)
/// ```
#[derive(Clone, Copy)]
enum Stage {
    Open,
    /// The graceful end was ordered.
    Closing,
    /// The immediate end was ordered.
    Aborting,
    /// The owner is gone.
    Closed,
}

/// A [`Stage`] that changes under the lock only, and can be looked at without it.
struct Life(AtomicU8);

impl Life {
    fn new() -> Life {
        Life(AtomicU8::new(Stage::Open as u8))
    }

    /// Whether this is news.
    fn advance(&self, to: Stage) -> bool {
        self.0.fetch_max(to as u8, Ordering::Relaxed) < to as u8
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Stage::Open as u8
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Stage::Closed as u8
    }
}

impl<C> fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.lock();
        f.debug_struct("Inbox")
            .field("capacity", &self.shared.capacity)
            .field("commands", &queue.commands)
            .field("dropped", &queue.dropped)
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
