//! What belongs to a worker as a whole: the queue that its handles fill, its lock, and
//! the wake.

use super::life::{Life, Stage};
use crate::commons::Commons;
use crate::handle::AskError;
use crate::inbox::Order;
use crate::net::Clock;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::target::Target;
use drywire_core::Time;
use std::mem;
use std::sync::PoisonError;

/// What all handles of one worker share with its inbox.
pub(crate) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    pub(super) life: Life,
    pub(super) capacity: usize,
    pub(super) weigh: fn(&C) -> usize,
    commons: Option<Commons>,
    clock: Option<Clock>,
    /// Commands that wait anywhere in this worker, and their weight.
    commands: AtomicUsize,
    command_bytes: AtomicUsize,
    /// Commands that were accepted and will never be handled.
    pub(super) dropped: AtomicU64,
    /// As of the last round.
    connections: AtomicUsize,
    now: AtomicU64,
    wake: Box<dyn Fn() + Send + Sync>,
}

pub(crate) struct Queue<C> {
    pub(crate) orders: Vec<Order<C>>,
    /// How many of the orders are commands. The others are bounded by their kind.
    pub(crate) commands: usize,
    /// Whether a wake was made, or is about to be, that no `take` has answered.
    pub(crate) woken: bool,
}

/// What an inbox is made of, beside its wake.
pub(crate) struct Setup<C> {
    pub(crate) capacity: usize,
    pub(crate) weigh: fn(&C) -> usize,
    pub(crate) commons: Option<Commons>,
    pub(crate) clock: Option<Clock>,
}

impl<C> Shared<C> {
    pub(crate) fn new(setup: Setup<C>, wake: impl Fn() + Send + Sync + 'static) -> Shared<C> {
        let Setup { capacity, weigh, commons, clock } = setup;
        Shared {
            queue: Mutex::new(Queue { orders: Vec::new(), commands: 0, woken: false }),
            life: Life::new(),
            capacity,
            weigh,
            commons,
            clock,
            commands: AtomicUsize::new(0),
            command_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            now: AtomicU64::new(0),
            wake: Box::new(wake),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Commands that wait anywhere in this worker, and their weight in bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.commands.load(Ordering::Relaxed), self.command_bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What the worker's time is, on any thread; without a clock, what it was in its
    /// last round.
    pub(crate) fn now(&self) -> Time {
        match &self.clock {
            Some(clock) => clock(),
            None => Time::from_nanos(self.now.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn publish(&self, now: Time, connections: usize) {
        self.now.store(now.as_nanos(), Ordering::Relaxed);
        self.connections.store(connections, Ordering::Relaxed);
    }

    /// Counts what is about to wait, where the process has room for it.
    pub(super) fn hold(&self, weight: u32) -> bool {
        if self.commons.as_ref().is_some_and(|commons| !commons.try_hold(weight as usize)) {
            return false;
        }
        self.commands.fetch_add(1, Ordering::Relaxed);
        self.command_bytes.fetch_add(weight as usize, Ordering::Relaxed);
        true
    }

    pub(super) fn let_go(&self, weight: u32) {
        self.commands.fetch_sub(1, Ordering::Relaxed);
        self.command_bytes.fetch_sub(weight as usize, Ordering::Relaxed);
        if let Some(commons) = &self.commons {
            commons.let_go(weight as usize);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.life.is_closed()
    }

    /// Asks for a connection. That takes a command's place in the queue.
    pub(crate) fn ask(&self, target: Target) -> Result<(), AskError> {
        let order = Order::Connect(Box::new(target));
        let mut queue = self.lock();
        if !self.life.is_open() {
            return Err(AskError::Closed);
        }
        if queue.commands >= self.capacity {
            return Err(AskError::Full);
        }
        queue.commands += 1;
        self.push(queue, order);
        Ok(())
    }

    pub(crate) fn shutdown(&self) {
        self.order_once(&self.life, Stage::Closing, Order::Shutdown);
    }

    pub(crate) fn stop(&self) {
        self.order_once(&self.life, Stage::Aborting, Order::Stop);
    }

    /// The worker is gone; what waited is for the caller to drop, without the lock: that
    /// takes it to count, and may run a command's own `Drop`.
    pub(crate) fn end(&self) -> Vec<Order<C>> {
        let mut queue = self.lock();
        self.life.advance(Stage::Closed);
        mem::take(&mut queue.orders)
    }

    /// Never refused for lack of room: each stage is passed once.
    pub(super) fn order_once(&self, life: &Life, stage: Stage, order: Order<C>) {
        let queue = self.lock();
        if life.advance(stage) && !self.life.is_closed() {
            self.push(queue, order);
        }
    }

    /// Wakes for the first order only (FAULTS 67), and after the lock is free: the
    /// worker that wakes up wants it next.
    pub(super) fn push(&self, mut queue: MutexGuard<'_, Queue<C>>, order: Order<C>) {
        queue.orders.push(order);
        let must_wake = !mem::replace(&mut queue.woken, true);
        drop(queue);
        if must_wake {
            (self.wake)();
        }
    }

    /// A poisoned lock is as good as a sound one: what is done under it is a few
    /// assignments and one `push`, and none of them can panic half-way.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
