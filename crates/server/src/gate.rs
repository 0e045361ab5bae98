//! What the two ends of a handle share: here what belongs to one connection, its bounds
//! and what is seen of it; in `shared` what belongs to its worker, the one queue and its
//! lock; in `life` how far either has come towards its end.
//!
//! What a thread may ask is in [`handle`](crate::handle), what a driver finds in
//! [`inbox`](crate::inbox).
//!
//! Locks, in the order in which they may be held together: a group's list of members,
//! what a group has for one member, a worker's queue. Never two of a kind, and none
//! while code of the application runs, but for the `clone` of a group's command
//! (FAULTS 65).

mod life;
mod shared;

use crate::address::Address;
use crate::handle::SendError;
use crate::inbox::{Order, Posted, Room};
use crate::receipt::{Dropped, Outcome, Ticket};
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::table::Id;
use drywire_core::{Time, planted};
use life::{Life, Stage};
use shared::Queue;
pub(crate) use shared::{Setup, Shared};
use std::sync::Arc;
use std::time::Duration;

/// What all handles of one connection share with its link.
pub(crate) struct Gate<C> {
    pub(crate) shared: Arc<Shared<C>>,
    id: Id,
    life: Life,
    /// A [`Dropped`]; it counts once the link is gone.
    why: AtomicU8,
    room: Room,
    /// Both grow under the lock only, so they never pass `room`; they shrink anywhere.
    waiting: AtomicU32,
    waiting_bytes: AtomicU32,
    pub(crate) seen: Seen,
}

/// What the worker tells of a connection, and nobody waits for. Each is true by itself,
/// not all of them at the same moment.
pub(crate) struct Seen {
    pub(crate) is_ending: AtomicBool,
    pub(crate) held_bytes: AtomicU32,
    pub(crate) tag: AtomicU64,
    /// Both in milliseconds since it opened, which is enough for seven weeks.
    last_move_ms: AtomicU32,
    ended_ms: AtomicU32,
    opened: Time,
    pub(crate) peer: Option<Address>,
}

/// Of a connection that has not ended.
const NOT_ENDED: u32 = u32::MAX;

impl Seen {
    pub(crate) fn set_last_move(&self, at: Time) {
        self.last_move_ms.store(self.ms_until(at), Ordering::Relaxed);
    }

    pub(crate) fn set_ended(&self, at: Time) {
        self.ended_ms.store(self.ms_until(at).min(NOT_ENDED - 1), Ordering::Relaxed);
    }

    /// For how long it is there, and for how long no byte has moved; of one that ended,
    /// how that was then.
    pub(crate) fn age_and_quiet(&self, now: Time) -> (Duration, Duration) {
        let age = match self.ended_ms.load(Ordering::Relaxed) {
            NOT_ENDED => now.saturating_since(self.opened),
            ms => Duration::from_millis(ms.into()),
        };
        let last_move = Duration::from_millis(self.last_move_ms.load(Ordering::Relaxed).into());
        (age, age.saturating_sub(last_move))
    }

    fn ms_until(&self, at: Time) -> u32 {
        u32::try_from(at.saturating_since(self.opened).as_millis()).unwrap_or(u32::MAX)
    }
}

impl<C> Gate<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>, id: Id, room: Room, peer: Option<Address>, opened: Time) -> Gate<C> {
        let seen = Seen {
            is_ending: AtomicBool::new(false),
            held_bytes: AtomicU32::new(0),
            tag: AtomicU64::new(0),
            last_move_ms: AtomicU32::new(0),
            ended_ms: AtomicU32::new(NOT_ENDED),
            opened,
            peer,
        };
        let (waiting, waiting_bytes) = (AtomicU32::new(0), AtomicU32::new(0));
        let why = AtomicU8::new(Dropped::WorkerGone as u8);
        Gate { shared, id, life: Life::new(), why, room, waiting, waiting_bytes, seen }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn is_open(&self) -> bool {
        self.life.is_open() && !self.shared.life.is_closed()
    }

    /// Its link, or its worker, is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.life.is_closed() || self.shared.life.is_closed()
    }

    /// Commands that were accepted and not yet handed over, and their weight in bytes.
    pub(crate) fn waiting(&self) -> (u32, u32) {
        (self.waiting.load(Ordering::Relaxed), self.waiting_bytes.load(Ordering::Relaxed))
    }

    /// What a command takes of the bounds, in bytes: its own weight, and what it costs
    /// to let it wait.
    pub(crate) fn weigh(&self, command: &C) -> u32 {
        let overhead = size_of::<Order<C>>() - size_of::<C>();
        u32::try_from((self.shared.weigh)(command).saturating_add(overhead)).unwrap_or(u32::MAX)
    }

    pub(crate) fn post(self: &Arc<Self>, command: C, ticket: Option<Ticket>) -> Result<(), SendError<C>> {
        let weight = self.weigh(&command);
        let mut queue = self.shared.lock();
        if self.is_open() && queue.commands >= self.shared.capacity {
            return Err(SendError::Full(command));
        }
        let mut place = match self.reserve(&queue, weight) {
            Ok(place) => place,
            Err(refusal) => return Err(refusal.of(command)),
        };
        place.ticket = ticket;
        queue.commands += 1;
        self.shared.push(queue, Order::Command(Posted { command, place }));
        Ok(())
    }

    /// The same without the queue, for the worker's own thread.
    pub(crate) fn post_here(self: &Arc<Self>, command: C) -> Result<Posted<C>, SendError<C>> {
        let weight = self.weigh(&command);
        match self.reserve(&self.shared.lock(), weight) {
            Ok(place) => Ok(Posted { command, place }),
            Err(refusal) => Err(refusal.of(command)),
        }
    }

    /// A place for a command that waits somewhere else, and the order to look there,
    /// when there is one to give, in the same step. Such an order is not counted: its
    /// giver sees to it that there is one of a kind.
    pub(crate) fn post_elsewhere(
        self: &Arc<Self>,
        weight: u32,
        order: Option<impl FnOnce() -> Order<C>>,
    ) -> Result<Place<C>, Refusal> {
        let queue = self.shared.lock();
        let place = self.reserve(&queue, weight)?;
        if let Some(order) = order {
            self.shared.push(queue, order());
        }
        Ok(place)
    }

    /// Takes a place in the connection's bounds. The queue stands for its lock.
    fn reserve(self: &Arc<Self>, _: &Queue<C>, weight: u32) -> Result<Place<C>, Refusal> {
        let (waiting, bytes) = self.waiting();
        if !self.is_open() {
            return Err(Refusal::Closed);
        }
        if weight > self.room.bytes {
            return Err(Refusal::TooLarge);
        }
        planted!(BytesUncounted: if waiting < self.room.commands && self.shared.hold(weight) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            self.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
            return Ok(Place { gate: self.clone(), weight, delivered: false, ticket: None });
        });
        if waiting >= self.room.commands || bytes > self.room.bytes - weight || !self.shared.hold(weight) {
            return Err(Refusal::Full);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        Ok(Place { gate: self.clone(), weight, delivered: false, ticket: None })
    }

    pub(crate) fn close(&self) {
        self.shared.order_once(&self.life, Stage::Closing, Order::Close(self.id));
    }

    pub(crate) fn abort(&self) {
        self.shared.order_once(&self.life, Stage::Aborting, Order::Abort(self.id));
    }

    /// The connection is gone. The first reason stands.
    pub(crate) fn end(&self, why: Dropped) {
        // Under the lock, so that a send is wholly before this or wholly after it.
        let _queue = self.shared.lock();
        if !self.life.is_closed() {
            self.why.store(why as u8, Ordering::Relaxed);
        }
        self.life.advance(Stage::Closed);
    }

    /// Why a command that is dropped now is dropped.
    fn why(&self) -> Dropped {
        if self.life.is_closed() {
            Dropped::from_code(self.why.load(Ordering::Relaxed))
        } else if self.shared.life.is_closed() {
            Dropped::WorkerGone
        } else {
            Dropped::Displaced
        }
    }
}

/// Why no place was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    TooLarge,
    Closed,
}

impl Refusal {
    fn of<C>(self, command: C) -> SendError<C> {
        match self {
            Refusal::Full => SendError::Full(command),
            Refusal::TooLarge => SendError::TooLarge(command),
            Refusal::Closed => SendError::Closed(command),
        }
    }
}

/// What one command takes of its connection's bounds, wherever it waits.
///
/// Dropping it gives that back, and counts the command as dropped.
pub(crate) struct Place<C> {
    gate: Arc<Gate<C>>,
    weight: u32,
    delivered: bool,
    ticket: Option<Ticket>,
}

impl<C> Place<C> {
    pub(crate) fn id(&self) -> Id {
        self.gate.id
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// The connection has handled the command. Who asked for a receipt is still to hear.
    pub(crate) fn delivered(mut self) -> Option<Ticket> {
        self.delivered = true;
        self.ticket.take()
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        let gate = &*self.gate;
        gate.waiting.fetch_sub(1, Ordering::Relaxed);
        gate.waiting_bytes.fetch_sub(self.weight, Ordering::Relaxed);
        gate.shared.let_go(self.weight);
        if self.delivered {
            return;
        }
        gate.shared.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(ticket) = self.ticket.take() {
            // Under the lock: an end and the reason for it are one step.
            let queue = gate.shared.lock();
            let why = gate.why();
            drop(queue);
            ticket.complete(Outcome::Dropped(why));
        }
    }
}
