//! Commands and orders: what callbacks and other threads ask, on its way into a
//! connection.

use super::Worker;
use super::slot::{Entry, Slot};
use crate::handle::{Handle, SendError, ServerHandle};
use crate::inbox::{Link, Order, Posted};
use crate::net::Net;
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Live, Protocol};
use std::collections::VecDeque;

/// The way for commands into a connection.
pub(super) struct Linked<C> {
    pub(super) link: Link<C>,
    /// Commands the connection could not take yet. Bound: the link's.
    pub(super) waiting: VecDeque<Posted<C>>,
    /// Close when the last of them is handled.
    pub(super) close: bool,
}

/// Hands over the next command that waits, if the connection can take one.
/// False when there was nothing to do.
pub(super) fn feed<P: Protocol, L: Layer>(
    linked: &mut Option<Box<Linked<P::Command>>>,
    live: &mut Live<'_, P, L>,
) -> bool {
    let Some(linked) = linked else { return false };
    if linked.waiting.is_empty() {
        return std::mem::take(&mut linked.close) && {
            live.close();
            true
        };
    }
    if !live.can_take_command() {
        return false;
    }
    linked.waiting.pop_front().is_some_and(|posted| live.handle_command(posted.into_command()).is_ok())
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
        linked.waiting.push_back(posted);
        self.make_ready(id);
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
        self.with_live(id, |live, linked| match linked {
            Some(linked) if !linked.waiting.is_empty() => linked.close = true,
            Some(_) | None => live.close(),
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

    /// What other threads asked, and callbacks of this round.
    pub(super) fn handle_orders(&mut self) {
        let mut orders = std::mem::take(&mut self.orders);
        self.inbox.take(&mut orders);
        for order in orders.drain(..) {
            match order {
                Order::Command(posted) => {
                    let id = posted.id();
                    if let Some(Slot::Connection(entry)) = self.table.get_mut(id)
                        && let Some(linked) = &mut entry.linked
                    {
                        linked.waiting.push_back(posted);
                        self.make_ready(id);
                    }
                }
                Order::Close(id) => self.close_now(id),
                Order::Abort(id) => self.abort(id),
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

    /// The way for commands into a connection, made when it is first used.
    fn linked(&mut self, id: Id) -> Option<&mut Linked<P::Command>> {
        let capacity = self.config.commands_per_connection;
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return None };
        Some(entry.linked.get_or_insert_with(|| {
            Box::new(Linked { link: self.inbox.link(id, capacity), waiting: VecDeque::new(), close: false })
        }))
    }
}
