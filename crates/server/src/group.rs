//! Writing to many connections at once, whichever worker owns them (row W7).
//!
//! A group has its list of members to itself, behind a lock that only calls of this
//! group take. What it has for one member lies in a lane, which the group fills and
//! the member's worker empties; the worker's inbox is only told that there is something.
//! So a message costs no allocation for each member, and one that is out of date can be
//! taken back while it waits.

use crate::gate::{Gate, Place, Refusal};
use crate::handle::{Handle, SendError};
use crate::inbox::{Order, Posted};
use crate::sync::{Mutex, MutexGuard};
use crate::table::Id;
use drywire_core::planted;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::ops::AddAssign;
use std::sync::{Arc, PoisonError};

/// Members that are not worth a search for those that ended.
const FEW: usize = 16;

/// Connections that are written to together. Cheap to clone; each clone is the same group.
///
/// A command is cloned for each member, so it should be cheap to clone: bytes in a
/// `Bytes` are shared by all. What waits for one member is bounded by
/// the bytes the group was made with, each as its protocol weighs it and what it costs to
/// let it wait; what becomes of a member that is too slow for it says [`Slow`]. The
/// bounds of the connection itself hold too.
///
/// *Guaranteed*: every member gets the messages of a group in the same order, that of the
/// calls of [`Group::send`], with gaps only where the group was told so. No order is
/// promised between a group's messages and others, of a handle or of another group.
/// [`Handle::close`] ends a connection behind what groups sent before it.
///
/// A connection may be in many groups, and leaves them all when it ends: a member that
/// ended is noticed with the next message, or when the group has grown to twice its
/// size, so a group never holds more than twice the members it needs, and a few.
///
/// The list of members is behind a lock of the group's own, which its calls hold for as
/// long as they take: a join waits for a message to be with all members. Any thread may
/// call, callbacks of a worker too. The command's `clone` runs under that lock and must
/// not use the group; its `drop` may.
///
/// ```
/// use drywire_server::{Group, Inbox, Order, Room, Sent, Slow, Table};
///
/// let mut inbox = Inbox::new(1024, || {});
/// let mut connections = Table::new();
/// let group = Group::new(64 * 1024, Slow::Skip);
/// for _ in 0..3 {
///     let id = connections.insert_with(|id| inbox.link(id, Room::commands(16))).unwrap();
///     group.join(&connections.get(id).unwrap().handle());
/// }
/// assert_eq!(group.send("hello"), Ok(Sent { sent: 3, ..Sent::default() }));
///
/// let mut orders = Vec::new();
/// inbox.take(&mut orders);
/// for order in orders {
///     let Order::Group(share) = order else { panic!() };
///     let (posted, rest) = share.next();
///     assert_eq!(posted.unwrap().into_command(), "hello");
///     assert!(rest.is_none());
/// }
/// ```
pub struct Group<C> {
    inner: Arc<Inner<C>>,
}

/// What becomes of a member when a message does not fit into its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// It does not get this message.
    Skip,
    /// It gets this message, in place of those of the group that wait for it longest.
    /// What its connection has taken already is not taken back.
    DropOldest,
    /// It is closed ([`Handle::close`]): what waits for it is still sent, within the
    /// connection's own deadlines. So nobody has a gap.
    Close,
}

/// What became of a message, in members; `dropped` in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// It waits for them, and will be handled or be dropped with them.
    pub sent: usize,
    /// They do not get it.
    pub skipped: usize,
    /// Messages of before that were taken back to make room.
    pub dropped: usize,
    /// They were closed, and are members no more.
    pub closed: usize,
    /// They had ended, and are members no more.
    pub gone: usize,
}

/// Over several messages.
impl AddAssign for Sent {
    fn add_assign(&mut self, other: Sent) {
        self.sent += other.sent;
        self.skipped += other.skipped;
        self.dropped += other.dropped;
        self.closed += other.closed;
        self.gone += other.gone;
    }
}

impl<C> Group<C> {
    /// A group without members, in which at most `bytes` may wait for each.
    #[must_use]
    pub fn new(bytes: u32, slow: Slow) -> Group<C> {
        let members = Members { lanes: Vec::new(), places: HashMap::new(), swept: 0 };
        Group { inner: Arc::new(Inner { members: Mutex::new(members), bytes, slow }) }
    }

    /// Makes a connection a member. False when it is one already, or has ended.
    pub fn join(&self, handle: &Handle<C>) -> bool {
        handle.is_open() && self.inner.members().join(&handle.gate)
    }

    /// The connection is a member no more; what was sent before still comes. False when
    /// it was none.
    ///
    /// When it joins again, what it gets then may overtake what it was sent before.
    pub fn leave(&self, handle: &Handle<C>) -> bool {
        let mut members = self.inner.members();
        let Some(place) = members.places.get(&key(&handle.gate)).copied() else { return false };
        let lane = members.remove(place);
        drop(members);
        drop(lane);
        true
    }

    /// Members, those that ended unnoticed included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.members().lanes.len()
    }

    /// Nobody is a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<C: Clone> Group<C> {
    /// Sends a command to all members.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] when it is heavier than what may wait for one member.
    /// Nobody gets it then.
    pub fn send(&self, command: C) -> Result<Sent, SendError<C>> {
        let (mut report, mut at) = (Sent::default(), 0);
        // Their drop is code of the application's, so it waits until no lock is held.
        let (mut back, mut lanes) = (Vec::new(), Vec::new());
        let mut members = self.inner.members();
        let weight = members.lanes.first().map_or(0, |lane| lane.gate.weigh(&command));
        if weight > self.inner.bytes {
            return Err(SendError::TooLarge(command));
        }
        while let Some(lane) = members.lanes.get(at) {
            let offered = lane.offer(command.clone(), self.inner.bytes, self.inner.slow, &mut back);
            report.dropped += offered.dropped;
            match offered.end {
                End::Sent => report.sent += 1,
                End::Skipped => report.skipped += 1,
                End::Closed => {
                    lane.gate.close();
                    report.closed += 1;
                }
                End::Gone => report.gone += 1,
            }
            match offered.end {
                End::Sent | End::Skipped => at += 1,
                // The last one takes its place, and its turn.
                End::Closed | End::Gone => lanes.push(members.remove(at)),
            }
        }
        drop(members);
        Ok(report)
    }
}

struct Inner<C> {
    members: Mutex<Members<C>>,
    bytes: u32,
    slow: Slow,
}

impl<C> Inner<C> {
    /// A poisoned lock is as good as a sound one: a `clone` that panics under it has
    /// changed nothing yet.
    fn members(&self) -> MutexGuard<'_, Members<C>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Members<C> {
    lanes: Vec<Arc<Lane<C>>>,
    /// Where each stands in `lanes`, by its gate: ids are a worker's own.
    places: HashMap<usize, usize>,
    /// Members that were left when it was last searched for those that ended.
    swept: usize,
}

/// A gate is alive as long as it is the key of a lane, so its address is its own.
fn key<C>(gate: &Arc<Gate<C>>) -> usize {
    Arc::as_ptr(gate).addr()
}

impl<C> Members<C> {
    fn join(&mut self, gate: &Arc<Gate<C>>) -> bool {
        if self.places.contains_key(&key(gate)) {
            return false;
        }
        if self.lanes.len() >= 2 * self.swept.max(FEW) {
            self.sweep();
        }
        self.places.insert(key(gate), self.lanes.len());
        self.lanes.push(Arc::new(Lane { gate: gate.clone(), queue: Mutex::new(Queue::default()) }));
        true
    }

    fn remove(&mut self, place: usize) -> Arc<Lane<C>> {
        let lane = self.lanes.swap_remove(place);
        self.places.remove(&key(&lane.gate));
        if let Some(moved) = self.lanes.get(place) {
            self.places.insert(key(&moved.gate), place);
        }
        lane
    }

    /// Each member is looked at once for each that has joined since the last time.
    fn sweep(&mut self) {
        let mut at = 0;
        while let Some(lane) = self.lanes.get(at) {
            if lane.gate.is_closed() {
                self.remove(at);
            } else {
                at += 1;
            }
        }
        self.swept = self.lanes.len();
    }
}

/// What one group has for one member.
struct Lane<C> {
    gate: Arc<Gate<C>>,
    queue: Mutex<Queue<C>>,
}

struct Queue<C> {
    messages: VecDeque<(C, Place<C>)>,
    bytes: u32,
    /// There is a [`Share`] on its way or with the worker. Without one it is empty.
    announced: bool,
}

// By hand, because a derived one would ask the same of `C`.
impl<C> Default for Queue<C> {
    fn default() -> Queue<C> {
        Queue { messages: VecDeque::new(), bytes: 0, announced: false }
    }
}

/// What became of a message for one member.
struct Offered {
    end: End,
    dropped: usize,
}

#[derive(Clone, Copy)]
enum End {
    Sent,
    Skipped,
    Closed,
    Gone,
}

impl<C> Lane<C> {
    /// What is not sent, or not sent after all, goes to `back`.
    fn offer(self: &Arc<Self>, command: C, bytes: u32, slow: Slow, back: &mut Vec<C>) -> Offered {
        let weight = self.gate.weigh(&command);
        let mut dropped = 0;
        let mut queue = self.lock();
        let end = loop {
            let refused = if weight > bytes || queue.bytes > bytes - weight {
                Refusal::Full
            } else {
                let news = || Order::Group(Share { id: self.gate.id(), lane: Some(self.clone()) });
                match self.gate.post_elsewhere(weight, (!queue.announced).then_some(news)) {
                    Ok(place) => {
                        queue.announced = true;
                        queue.bytes += weight;
                        queue.messages.push_back((command, place));
                        return Offered { end: End::Sent, dropped };
                    }
                    Err(refusal) => refusal,
                }
            };
            match (refused, slow) {
                (Refusal::Closed, Slow::Skip | Slow::DropOldest | Slow::Close) => break End::Gone,
                (Refusal::Full | Refusal::TooLarge, Slow::Close) => break End::Closed,
                (Refusal::Full | Refusal::TooLarge, Slow::Skip) | (Refusal::TooLarge, Slow::DropOldest) => {
                    break End::Skipped;
                }
                (Refusal::Full, Slow::DropOldest) => match queue.take_back() {
                    // Its place is free, and it is counted, when the next one is asked for.
                    Some((oldest, place)) => {
                        drop(place);
                        back.push(oldest);
                        dropped += 1;
                    }
                    None => break End::Skipped,
                },
            }
        };
        back.push(command);
        Offered { end, dropped }
    }

    /// Nothing done under it runs code of the application's.
    fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Queue<C> {
    /// What is out of date.
    fn take_back(&mut self) -> Option<(C, Place<C>)> {
        planted!(NewestTakenBack: if let Some((command, place)) = self.messages.pop_back() {
            self.bytes -= place.weight();
            return Some((command, place));
        });
        self.pop()
    }

    fn pop(&mut self) -> Option<(C, Place<C>)> {
        let (command, place) = self.messages.pop_front()?;
        self.bytes -= place.weight();
        Some((command, place))
    }
}

/// What a group has for one connection, in the hands of its worker.
///
/// It is spent when it has nothing more; a message that comes after that comes with
/// a new one. Dropping it drops and counts what it still has.
pub struct Share<C> {
    id: Id,
    lane: Option<Arc<Lane<C>>>,
}

impl<C> Share<C> {
    /// The connection it is for.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The message that waits longest, and the share again if it is not spent. There may
    /// be none left: a group takes back what is out of date.
    ///
    /// To be fair to others who send to the connection, let them go first with the rest.
    #[must_use]
    pub fn next(mut self) -> (Option<Posted<C>>, Option<Share<C>>) {
        let Some(lane) = &self.lane else { return (None, None) };
        let mut queue = lane.lock();
        let next = queue.pop().map(|(command, place)| Posted { command, place });
        let is_spent = queue.messages.is_empty();
        // In the same step, so that a message that comes now is announced.
        queue.announced = !is_spent;
        drop(queue);
        if is_spent {
            self.lane = None;
        }
        (next, (!is_spent).then_some(self))
    }
}

impl<C> Drop for Share<C> {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        let left = mem::take(&mut *lane.lock());
        // Without the lock: it may run code of the application's.
        drop(left);
    }
}

// By hand, because derived ones would ask the same of `C`.

impl<C> Clone for Group<C> {
    fn clone(&self) -> Group<C> {
        Group { inner: self.inner.clone() }
    }
}

impl<C> fmt::Debug for Group<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("bytes", &self.inner.bytes)
            .field("slow", &self.inner.slow)
            .field("members", &self.len())
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Share<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("id", &self.id).finish_non_exhaustive()
    }
}
