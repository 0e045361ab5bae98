//! Commands and orders: what callbacks and other threads ask, on its way into a
//! connection.

use super::Worker;
use super::slot::{Entry, Slot};
use crate::application::{Application, Notice};
use crate::gate::Place;
use crate::group::Share;
use crate::handle::{Handle, SendError, ServerHandle};
use crate::inbox::{Link, Order, Posted, Room};
use crate::net::Net;
use crate::receipt::{Dropped, Outcome, Ticket};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Connection, Live, Mark, Protocol, Reason, Time, planted};
use std::collections::VecDeque;
use std::fmt;

/// Queues that are kept warm for connections to come. More than that many
/// connections with commands on their way at once, and some are made anew.
const SPARE: usize = 1024;

/// The way for commands into a connection.
pub(super) struct Linked<C> {
    link: Link<C>,
    /// Lent by the worker while there is something on its way.
    busy: Option<Box<Busy<C>>>,
}

/// Commands on their way. Bound: the link's, and as many receipts that wait for a
/// transport.
pub(super) struct Busy<C> {
    /// The connection could not take them yet.
    waiting: VecDeque<Next<C>>,
    /// The connection has it, and has not handled it yet.
    held: Option<Place<C>>,
    /// Handled; somebody wants to know when what it caused is written.
    unwritten: VecDeque<(Mark, Ticket)>,
    /// Close when the last of them is handled.
    close: bool,
}

/// Queues that nobody needs now, warm and empty: lending one moves a pointer.
pub(super) struct Spare<C>(#[expect(clippy::vec_box, reason = "a connection holds the box")] Vec<Box<Busy<C>>>);

impl<C> Spare<C> {
    pub(super) const fn new() -> Spare<C> {
        Spare(Vec::new())
    }

    fn take(&mut self) -> Box<Busy<C>> {
        self.0.pop().unwrap_or_default()
    }

    fn give(&mut self, busy: Box<Busy<C>>) {
        if self.0.len() < SPARE {
            self.0.push(busy);
        }
    }
}

enum Next<C> {
    Command(Posted<C>),
    Group(Share<C>),
    /// A shutdown began: what was asked before it goes first.
    Drain,
}

/// What a connection is given next.
enum Given<C> {
    Command(Posted<C>),
    Drain,
}

/// Hands over all that waits and that the connection can take, so that what it makes of
/// them goes out together. False when there was nothing to do.
pub(super) fn feed<P: Protocol, L: Layer>(linked: &mut Option<Linked<P::Command>>, live: &mut Live<'_, P, L>) -> bool {
    let mut any = false;
    while feed_one(linked, live) {
        any = true;
    }
    any
}

fn feed_one<P: Protocol, L: Layer>(linked: &mut Option<Linked<P::Command>>, live: &mut Live<'_, P, L>) -> bool {
    let Some(busy) = linked.as_mut().and_then(|linked| linked.busy.as_deref_mut()) else { return false };
    busy.note_handled(live.connection());
    if !busy.waiting.is_empty() {
        if !live.can_take_command() {
            return false;
        }
        match busy.next() {
            Some(Given::Command(posted)) => {
                // First, because the handler may panic.
                busy.held = Some(posted.place);
                let is_taken = live.handle_command(posted.command).is_ok();
                if !is_taken {
                    busy.held = None;
                }
                return is_taken;
            }
            Some(Given::Drain) => {
                live.drain();
                return true;
            }
            None => {}
        }
    }
    std::mem::take(&mut busy.close) && {
        live.close();
        true
    }
}

/// A turn is over: completes receipts, and tells those who look from other threads.
pub(super) fn settle<P: Protocol, L: Layer>(
    linked: &mut Option<Linked<P::Command>>,
    connection: &Connection<P, L>,
    spare: &mut Spare<P::Command>,
) {
    let Some(linked) = linked else { return };
    if let Some(mut busy) = linked.busy.take() {
        busy.note_handled(connection);
        busy.note_written(connection);
        if busy.is_idle() {
            spare.give(busy);
        } else {
            linked.busy = Some(busy);
        }
    }
    planted!(LookStale: return);
    linked.link.publish(connection.held_bytes(), connection.last_move(), connection.is_ending());
}

/// The connection is gone, and with it what still waits.
pub(super) fn end<C, E>(linked: Option<Linked<C>>, reason: &Reason<E>, now: Time) {
    let Some(Linked { link, busy }) = linked else { return };
    let why = Dropped::from(reason);
    // First, so that all that is dropped after it knows why.
    link.end(why, now);
    let Some(busy) = busy else { return };
    for (_, ticket) in busy.unwritten {
        planted!(ReceiptForgotten: { std::mem::forget(ticket); continue; });
        ticket.complete(Outcome::Dropped(why));
    }
}

impl<C> Linked<C> {
    fn wait(&mut self, next: Next<C>, spare: &mut Spare<C>) {
        let busy = self.busy.get_or_insert_with(|| spare.take());
        busy.waiting.push_back(next);
    }

    /// Commands wait that the connection could not take yet.
    pub(super) fn has_waiting(&self) -> bool {
        self.busy.as_deref().is_some_and(|busy| !busy.waiting.is_empty())
    }

    /// Asks for the drain behind what waits; false when nothing does.
    pub(super) fn drain_behind(&mut self) -> bool {
        let Some(busy) = self.busy.as_deref_mut().filter(|busy| !busy.waiting.is_empty()) else { return false };
        busy.waiting.push_back(Next::Drain);
        true
    }

    /// Closes behind what waits; false when nothing does.
    fn close_behind(&mut self) -> bool {
        let Some(busy) = self.busy.as_deref_mut().filter(|busy| !busy.waiting.is_empty()) else { return false };
        busy.close = true;
        true
    }
}

impl<C> Busy<C> {
    fn next(&mut self) -> Option<Given<C>> {
        loop {
            match self.waiting.pop_front()? {
                Next::Command(posted) => return Some(Given::Command(posted)),
                Next::Group(share) => {
                    let (next, rest) = share.next();
                    if let Some(rest) = rest {
                        // Others first, but for a drain.
                        let drain = self.waiting.iter().position(|next| matches!(next, Next::Drain));
                        self.waiting.insert(drain.unwrap_or(self.waiting.len()), Next::Group(rest));
                    }
                    if let Some(posted) = next {
                        return Some(Given::Command(posted));
                    }
                }
                Next::Drain => return Some(Given::Drain),
            }
        }
    }

    fn note_handled<P: Protocol, L: Layer>(&mut self, connection: &Connection<P, L>) {
        if connection.holds_command() {
            return;
        }
        if let Some(ticket) = self.held.take().and_then(Place::delivered) {
            self.unwritten.push_back((connection.mark(), ticket));
        }
    }

    fn note_written<P: Protocol, L: Layer>(&mut self, connection: &Connection<P, L>) {
        while let Some((mark, _)) = self.unwritten.front_mut()
            && connection.is_past(mark)
            && let Some((_, ticket)) = self.unwritten.pop_front()
        {
            ticket.complete(Outcome::Written);
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.held.is_none() && self.unwritten.is_empty() && !self.close
    }
}

// By hand, because a derived one would ask the same of `C`.
impl<C> Default for Busy<C> {
    fn default() -> Busy<C> {
        Busy { waiting: VecDeque::new(), held: None, unwritten: VecDeque::new(), close: false }
    }
}

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Hands a command to a connection's protocol, in this or the next round.
    /// From other threads: [`Worker::handle`]. What came through a handle is taken
    /// once a round, so this may overtake it; among themselves both keep their order.
    ///
    /// # Errors
    /// The command comes back when too many wait, or the connection is gone.
    pub fn send(&mut self, id: Id, command: P::Command) -> Result<(), SendError<P::Command>> {
        let Some(linked) = self.linked(id) else { return Err(SendError::Closed(command)) };
        let posted = linked.link.post(command)?;
        self.put(id, Next::Command(posted));
        Ok(())
    }

    /// Closes a connection once everything it owes is sent, commands that wait
    /// included. What is not there is closed already.
    pub fn close(&mut self, id: Id) {
        match self.table.get(id) {
            // Behind the commands that are still on their way.
            Some(Slot::Connection(Entry { linked: Some(linked), .. })) => linked.link.handle().close(),
            Some(Slot::Connection(_) | Slot::Listener(_) | Slot::Source(_)) | None => self.close_now(id),
        }
    }

    /// Closes behind the commands that have arrived.
    pub(super) fn close_now(&mut self, id: Id) {
        self.with_live(id, |live, linked| {
            if !linked.is_some_and(Linked::close_behind) {
                live.close();
            }
        });
    }

    /// Ends a connection now; what it owes is dropped. Its report comes with this
    /// or the next round, never from inside this call.
    pub fn abort(&mut self, id: Id) {
        self.with_live(id, |live, _| live.abort());
    }

    /// A handle on a connection, for any thread (rows W2, B2).
    pub fn handle(&mut self, id: Id) -> Option<Handle<P::Command>> {
        self.linked(id).map(|linked| linked.link.handle())
    }

    /// A handle on the whole worker, for any thread: shut down, stop.
    pub fn server_handle(&self) -> ServerHandle<P::Command> {
        self.inbox.server_handle()
    }

    /// Lets it wait for its connection; where that is gone, it is dropped.
    fn put(&mut self, id: Id, next: Next<P::Command>) {
        if let Some(Slot::Connection(Entry { linked: Some(linked), .. })) = self.table.get_mut(id) {
            linked.wait(next, &mut self.spare);
            self.make_ready(id);
        } else if let Err(payload) = self.caught(|_| drop(next)) {
            // A command's own drop is the application's code.
            self.note_panic(&id, payload);
        }
    }

    /// The way for commands into a connection, made when it is first used.
    fn linked(&mut self, id: Id) -> Option<&mut Linked<P::Command>> {
        let room =
            Room { commands: self.config.commands_per_connection, bytes: self.config.command_bytes_per_connection };
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return None };
        let Entry { linked, peer, line, .. } = entry;
        Some(linked.get_or_insert_with(|| {
            let peer = peer.as_deref().cloned();
            let peer = peer.or_else(|| line.stream().and_then(|stream| self.net.peer_address(stream)));
            Linked { link: self.inbox.introduce(id, room, peer, self.now), busy: None }
        }))
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// What other threads asked, and callbacks of this round.
    pub(super) fn handle_orders<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.inbox.publish(self.now, self.connections);
        let mut orders = std::mem::take(&mut self.orders);
        self.inbox.take(&mut orders);
        for order in orders.drain(..) {
            match order {
                Order::Command(posted) => self.put(posted.id(), Next::Command(posted)),
                Order::Group(share) => self.put(share.id(), Next::Group(share)),
                Order::Close(id) => self.close_now(id),
                Order::Abort(id) => self.abort(id),
                Order::Connect(target) => {
                    let asked = Notice::ConnectAsked { target: &target };
                    self.call("notice", application, |worker, application| application.notice(worker, asked));
                }
                Order::Shutdown => {
                    if self.drain.is_running() {
                        self.shutdown();
                    }
                }
                Order::Stop => self.stop(),
            }
        }
        self.orders = orders;
    }
}
