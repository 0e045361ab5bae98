//! One round of the loop: what the poller said, what other threads asked, what
//! came due, and who was not finished in the round before.

use crate::driver::{Driver, WAKER};
use crate::log::{log_close, report_unfinished};
use crate::slot::{Slot, Source, feed};
use crate::stream::POLL2;
use crate::transport::Wire;
use drywire_core::layer::Layer;
use drywire_core::{Budget, Protocol, Time, Turn, turn};
use drywire_server::{Application, DrainStep, Id, Order, SourceEvent};
use mio::event::Event;
use std::cmp::Reverse;
use std::fmt;
use std::io;
use std::time::Duration;
use thiserror::Error;
use tracing::trace;

/// Why a round was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DispatchError {
    /// It was called from inside one of its own callbacks (FAULTS 62).
    #[error("dispatch was called from inside a callback of dispatch")]
    Reentrant,
}

impl From<DispatchError> for io::Error {
    fn from(error: DispatchError) -> io::Error {
        io::Error::other(error)
    }
}

impl<P, L> Driver<P, L>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
{
    /// Waits until something happens, for `timeout` at most, or until
    /// [`Driver::next_timeout`]. Calls nobody. An interruption by a signal ends
    /// the wait early; so may a wake-up that turns out to be about nothing.
    ///
    /// # Errors
    /// The poller's; none that a correct program sees. From inside a callback,
    /// [`DispatchError::Reentrant`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if POLL2 {
            // mio's poll(2) loses a wake-up that falls together with a registration:
            // both clear the one eventfd. The order it was about is here by now.
            self.inbox.take(&mut self.orders);
        }
        let next = self.next_timeout();
        let timeout = match (timeout, next) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let events = self.events.as_mut().ok_or(DispatchError::Reentrant)?;
        // What was found and not dispatched yet would be forgotten: an edge comes once.
        if events.is_empty() {
            match self.poll.poll(events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
        }
        self.now = self.clock();
        Ok(())
    }

    /// Makes one round: everything the last [`Driver::wait`] found, and what is
    /// ready besides. Callbacks may do anything to the driver but wait and dispatch.
    ///
    /// # Errors
    /// [`DispatchError::Reentrant`] from inside a callback; nothing happened then.
    pub fn dispatch<A: Application<Self, P, L>>(&mut self, application: &mut A) -> Result<(), DispatchError> {
        let mut events = self.events.take().ok_or(DispatchError::Reentrant)?;
        let mut heard = 0;
        for event in &events {
            self.on_event(event, application);
            heard += 1;
        }
        // After a pause of the whole process there is more news than one list holds.
        // Deadlines wait until everybody's was heard, but not for ever (FAULTS 58).
        let rounds_for_all = self.table.len() / events.capacity().max(1);
        if heard == events.capacity() && self.full_lists < rounds_for_all {
            self.full_lists += 1;
        } else {
            self.full_lists = 0;
            self.ring_alarms(application);
        }
        events.clear();
        self.take_orders();
        self.tick_drain();
        // Last, so that who was not finished comes after everybody who has news.
        self.run_ready(application);
        self.events = Some(events);
        Ok(())
    }

    /// Waits and dispatches until a shutdown is through, or until there is no
    /// connection, listener or source left.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub fn run<A: Application<Self, P, L>>(&mut self, application: &mut A) -> io::Result<()> {
        while !self.is_done() {
            self.wait(None)?;
            self.dispatch(application)?;
        }
        Ok(())
    }

    /// There is nothing left to wait for: a shutdown is through, or nothing is
    /// registered.
    pub fn is_done(&self) -> bool {
        let shut_down = !self.drain.is_running() && self.connections == 0 && self.draining;
        shut_down || self.table.is_empty()
    }

    fn on_event<A: Application<Self, P, L>>(&mut self, event: &Event, application: &mut A) {
        if event.token() == WAKER {
            return; // the orders are taken in every round
        }
        let Some(id) = Id::from_token(event.token().0) else { return };
        match self.table.get_mut(id) {
            Some(Slot::Connection(entry)) => {
                let failed = event.is_error() || event.is_write_closed();
                let hang_up = event.is_read_closed() || failed;
                entry.ready.read |= event.is_readable() || hang_up;
                entry.ready.hang_up |= hang_up;
                // A peer that only ended its direction says nothing about ours. Under
                // poll(2) a write that would block arms everything again, and trying
                // one for each report of that end would go round for ever.
                let writable = event.is_writable() || failed;
                if writable && std::mem::take(&mut entry.connecting) && !event.is_error() {
                    application.opened(self, id);
                }
                self.run_turn(id, writable, application);
            }
            Some(Slot::Listener(_)) => self.accept(id, application),
            Some(Slot::Source(_)) => self.on_source_event(id, event, application),
            // Stale: it was removed in this very round (FAULTS 20).
            None => trace!(%id, "stale event dropped"),
        }
    }

    /// One connection's turn.
    fn run_turn<A: Application<Self, P, L>>(&mut self, id: Id, writable: bool, application: &mut A) {
        let mut budget = Budget::bytes(self.config.budget_bytes.max(1));
        let mut writable = writable;
        loop {
            let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
            let mut live = entry.connection.lend(&mut self.workspace, self.now);
            if std::mem::take(&mut writable) {
                live.handle_writable();
                if entry.ends_later {
                    entry.ends_later = !entry.stream.half_close(self.poll.registry());
                }
            }
            feed(&mut entry.linked, &mut live);
            let mut wire = Wire {
                id,
                stream: &mut entry.stream,
                files: &mut self.files,
                registry: self.poll.registry(),
                ends_later: &mut entry.ends_later,
            };
            let turn = loop {
                let turn = turn(&mut live, &mut wire, &mut entry.ready, &mut budget);
                if !matches!(turn, Turn::Wait(_)) || !feed(&mut entry.linked, &mut live) {
                    break turn;
                }
            };
            drop(live);
            match turn {
                Turn::Event(event) => application.event(self, id, event),
                Turn::Again => return self.make_ready(id),
                Turn::Wait(wait) => {
                    if let Some(deadline) = wait.deadline {
                        self.set_alarm(id, deadline);
                    }
                    return;
                }
                Turn::Closed(report) => {
                    if let Some(Slot::Connection(mut entry)) = self.table.remove(id) {
                        self.connections -= 1;
                        entry.stream.deregister(self.poll.registry());
                        if report.reason.is_abort() {
                            if !self.drain.is_running() {
                                report_unfinished(id, &entry.stream, &report);
                            }
                            entry.stream.reset_on_close();
                        }
                        log_close(id, entry.peer.as_deref(), &report);
                    }
                    return application.closed(self, id, report);
                }
            }
        }
    }

    /// Gives everybody whose alarm rang a turn. An alarm that is set meanwhile for a
    /// time that has passed (a timeout of zero) rings in the next round, so that a
    /// round ends.
    fn ring_alarms<A: Application<Self, P, L>>(&mut self, application: &mut A) {
        for _ in 0..self.alarms.len() {
            let Some(Reverse((at, id))) = self.alarms.peek().copied() else { return };
            if self.now < at {
                return;
            }
            self.alarms.pop();
            match self.table.get_mut(id) {
                Some(Slot::Connection(entry)) if entry.alarm == at => {
                    entry.alarm = Time::NEVER;
                    self.run_turn(id, false, application);
                }
                Some(Slot::Listener(_)) => self.accept(id, application),
                Some(Slot::Source(source)) if source.alarm == at => {
                    source.alarm = Time::NEVER;
                    let deadline = source.deadline;
                    if deadline <= self.now {
                        self.tell_source(id, SourceEvent::TimedOut, application);
                    } else {
                        self.set_alarm(id, deadline);
                    }
                }
                // Replaced by an earlier one that rang already, or gone.
                Some(Slot::Connection(_) | Slot::Source(_)) | None => {}
            }
        }
    }

    /// Gives the ready list its turns; who comes in meanwhile waits for the next
    /// round, so that a round ends.
    fn run_ready<A: Application<Self, P, L>>(&mut self, application: &mut A) {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { return };
            match self.table.get_mut(id) {
                Some(Slot::Connection(entry)) => {
                    entry.queued = false;
                    self.run_turn(id, false, application);
                }
                Some(Slot::Listener(listener)) => {
                    listener.queued = false;
                    self.accept(id, application);
                }
                Some(Slot::Source(source)) => {
                    source.queued = false;
                    let interest = source.interest;
                    if interest.is_readable() {
                        self.tell_source(id, SourceEvent::Readable, application);
                    }
                    if interest.is_writable() {
                        self.tell_source(id, SourceEvent::Writable, application);
                    }
                    if let Some(Slot::Source(Source { always_ready: true, .. })) = self.table.get(id) {
                        self.make_ready(id);
                    }
                }
                None => {}
            }
        }
    }

    /// What other threads asked, and callbacks of this round.
    fn take_orders(&mut self) {
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
                Order::Stop => self.drain.stop(),
            }
        }
        self.orders = orders;
    }

    fn tick_drain(&mut self) {
        let step = self.drain.on_tick(self.now, self.connections);
        if step == DrainStep::KeepServing {
            return;
        }
        if !std::mem::replace(&mut self.draining, true) {
            self.begin_drain();
        }
        if step == DrainStep::AbortRest {
            for id in self.connection_ids() {
                self.abort(id);
            }
        }
    }

    fn begin_drain(&mut self) {
        let listeners: Vec<Id> =
            self.table.iter().filter(|(_, slot)| matches!(slot, Slot::Listener(_))).map(|(id, _)| id).collect();
        for listener in listeners {
            self.stop_listening(listener);
        }
        for id in self.connection_ids() {
            let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { continue };
            entry.connection.lend(&mut self.workspace, self.now).drain();
            self.make_ready(id);
        }
    }

    fn connection_ids(&self) -> Vec<Id> {
        self.table.iter().filter(|(_, slot)| matches!(slot, Slot::Connection(_))).map(|(id, _)| id).collect()
    }
}
