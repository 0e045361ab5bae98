//! The way to the end: which connections are still accepted and heard, which are asked to finish,
//! which are cut, and the report of it. When to do which is decided in [`drain`](crate::drain).

use super::Worker;
use super::commands::Linked;
use super::slot::{Entry, Slot};
use crate::application::{Application, Notice};
use crate::drain::{Cut, DrainReport, DrainStep, IDLE_BEFORE, LAST_CALL, Request};
use crate::escape::escaped;
use crate::net::{Net, Queue};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Counters, Protocol, Time, planted};
use std::collections::BTreeMap;
use std::fmt;

/// What a drain knows of those that are not done yet.
#[derive(Debug)]
pub(super) struct LastCall {
    /// Listeners whose queues may not be empty; by when those are closed all the same.
    pub(super) listeners: usize,
    listeners_until: Time,
    /// Connections whose peers have said nothing yet, and by when they have to.
    unheard: BTreeMap<Id, Time>,
    /// Connections that were idle when the drain began, and the bytes that each had received.
    idle: BTreeMap<Id, u64>,
}

impl LastCall {
    fn begin(now: Time) -> LastCall {
        LastCall { listeners: 0, listeners_until: now + LAST_CALL, unheard: BTreeMap::new(), idle: BTreeMap::new() }
    }

    /// When to come by for the listeners. Connections have alarms.
    pub(super) fn next(&self) -> Time {
        if self.listeners > 0 { self.listeners_until } else { Time::NEVER }
    }
}

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Begins to shut down. Connections that wait to be accepted are, where the socket is ours
    /// alone, and then the listeners close. A connection whose peer has said nothing has one second
    /// for its first message. Connections handle the commands that have arrived and send what they
    /// owe, and those that are not done by the drain timeout are cut. Asked again, they are cut at
    /// once.
    pub fn shutdown(&mut self) {
        // Not the time of the last round: a program may ask long after it.
        let now = self.net.now();
        match self.drain.begin(now, self.config.drain_timeout) {
            Request::First { deadline: _ } => {
                self.shutdown_at = now;
                self.drain_report = Some(DrainReport::of(self.connections));
            }
            Request::Second => self.with_drain_report(|report| report.asked_again = true),
            Request::Late => {}
        }
    }

    /// Ends it all now.
    pub fn stop(&mut self) {
        if self.drain.is_running() {
            self.shutdown_at = self.net.now();
        }
        self.drain.stop();
        let connections = self.connections;
        self.drain_report.get_or_insert_with(|| DrainReport::of(connections)).asked_again = true;
    }

    /// What has become of the connections since a shutdown was asked for; `None` before.
    /// Complete when [`Application::stopped`] is called, and after the driver's `run`.
    pub fn drain_report(&self) -> Option<&DrainReport> {
        self.drain_report.as_ref()
    }

    fn with_drain_report(&mut self, change: impl FnOnce(&mut DrainReport)) {
        if let Some(report) = &mut self.drain_report {
            change(report);
        }
    }

    pub(super) fn connection_ids(&self) -> Vec<Id> {
        self.table.iter().filter(|(_, slot)| matches!(slot, Slot::Connection(_))).map(|(id, _)| id).collect()
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    pub(super) fn tick_drain<A: Application<N, P, L>>(&mut self, application: &mut A) {
        if self.drain.is_running() {
            return;
        }
        if self.last_call.is_none() {
            self.begin_drain(application);
        }
        let Some(LastCall { listeners, listeners_until, .. }) = self.last_call.as_deref() else { return };
        let are_late = self.now >= *listeners_until;
        match self.drain.on_tick(self.now, self.connections + listeners) {
            DrainStep::KeepServing | DrainStep::Done => {}
            DrainStep::Waiting { until: _ } if are_late => self.close_listeners(),
            DrainStep::Waiting { until: _ } => {}
            DrainStep::AbortRest => {
                self.close_listeners();
                for id in self.connection_ids() {
                    self.abort(id);
                }
            }
        }
    }

    fn begin_drain<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.last_call = Some(Box::new(LastCall::begin(self.now)));
        if self.drain.is_over(self.now) {
            self.close_listeners();
        } else {
            self.close_queues();
        }
        let began = Notice::ShutdownBegan { open: self.connections, timeout: self.config.drain_timeout };
        self.call("notice", application, |worker, application| application.notice(worker, began));
        for id in self.connection_ids() {
            self.note_idle(id);
            let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { continue };
            // When it breaks nobody can say any more whose it was.
            if entry.peer.is_none() {
                entry.peer = entry.line.stream().and_then(|stream| self.net.peer_address(stream)).map(Box::new);
            }
            self.await_first_bytes(id);
        }
    }

    fn listener_ids(&self) -> Vec<Id> {
        self.table.iter().filter(|(_, slot)| matches!(slot, Slot::Listener(_))).map(|(id, _)| id).collect()
    }

    fn close_listeners(&mut self) {
        for listener in self.listener_ids() {
            self.stop_listening(listener);
        }
    }

    /// A listener closes when its queue is empty, and at once where its socket is held elsewhere.
    fn close_queues(&mut self) {
        for id in self.listener_ids() {
            let Some(Slot::Listener(listening)) = self.table.get_mut(id) else { continue };
            planted!(QueueForgotten: {
                self.stop_listening(id);
                continue;
            });
            match self.net.close_queue(&mut listening.socket) {
                Queue::Ours => {
                    listening.is_closing = true;
                    if let Some(last_call) = &mut self.last_call {
                        last_call.listeners += 1;
                    }
                    self.make_ready(id);
                }
                Queue::Shared => self.stop_listening(id),
            }
        }
    }

    /// The exception to "received or named": what was written to an idle connection has arrived
    /// long ago, as far as a server can know.
    fn note_idle(&mut self, id: Id) {
        let Some(Slot::Connection(entry)) = self.table.get(id) else { return };
        let (connection, has_waiting) = (&entry.connection, entry.linked.as_ref().is_some_and(Linked::has_waiting));
        let is_idle = connection.last_move() + IDLE_BEFORE <= self.shutdown_at
            && !(connection.is_unanswered() || connection.is_owing() || has_waiting);
        if let Some(last_call) = self.last_call.as_mut().filter(|_| is_idle) {
            last_call.idle.insert(id, connection.counters().received);
        }
    }

    /// Asks a connection to finish, in a drain: at once if its peer was heard, else behind the
    /// first that it says.
    pub(super) fn await_first_bytes(&mut self, id: Id) {
        let Some(last_call) = self.last_call.as_mut().filter(|_| !self.drain.is_over(self.now)) else {
            return self.ask_to_finish(id);
        };
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let has_waiting = entry.linked.as_ref().is_some_and(Linked::has_waiting);
        if !entry.connection.is_unheard() || entry.line.stream().is_none() || has_waiting {
            return self.ask_to_finish(id);
        }
        last_call.unheard.insert(id, self.now + LAST_CALL);
        self.make_ready(id);
    }

    /// A connection had a turn in a drain: if it waits for the first message of its peer, that may
    /// have come, or its time is over.
    #[cold]
    pub(super) fn hear_before_drain(&mut self, id: Id) {
        let Some(last_call) = &mut self.last_call else { return };
        let Some(until) = last_call.unheard.get(&id).copied() else { return };
        if let Some(Slot::Connection(Entry { connection, .. })) = self.table.get(id) {
            // Half a message, or one that the connection has no room to answer yet.
            let is_awaited = connection.has_unread() || (connection.is_unheard() && !connection.has_peer_ended());
            if is_awaited && !connection.is_ending() && self.now < until {
                return self.set_alarm(id, until);
            }
        }
        last_call.unheard.remove(&id);
        self.ask_to_finish(id);
    }

    /// Behind the commands that have arrived.
    fn ask_to_finish(&mut self, id: Id) {
        self.with_live(id, |live, linked| {
            if !linked.is_some_and(Linked::drain_behind) {
                live.drain();
            }
        });
        if self.is_coming_in_vain(id) {
            self.abort(id);
        }
    }

    /// A connection has ended, perhaps in a shutdown.
    pub(super) fn note_in_drain_report(&mut self, id: Id, entry: &Entry<P, L, N>, report: &CloseReport<P::Error>) {
        let Some(drain_report) = &mut self.drain_report else { return };
        let is_cut = report.is_abort();
        let Counters { received, sent, unsent, .. } = report.counters;
        // Input that comes after our close is answered with a reset, and that takes away what
        // the peer's system has not acknowledged. A peer that has ended sends none.
        let is_certain = !is_cut && entry.connection.has_peer_ended();
        let was_idle = self.last_call.as_ref().is_some_and(|last_call| last_call.idle.get(&id) == Some(&received));
        // A connection of ours that does not stand has said nothing because it could not.
        let stood = entry.line.stream().is_some() && !entry.linked.as_ref().is_some_and(Linked::has_waiting);
        let is_idle = stood && unsent == 0 && (was_idle || (sent, received) == (0, 0));
        planted!(CutNotNamed: if !is_cut {
            drain_report.finished += 1;
            return;
        });
        if is_certain || is_idle {
            drain_report.finished += 1;
            return;
        }
        let peer = entry.peer.as_deref().cloned();
        let peer = peer.or_else(|| entry.line.stream().and_then(|stream| self.net.peer_address(stream)));
        drain_report.cut(|| Cut {
            id,
            peer,
            reason: match is_cut {
                true => escaped(&report.reason),
                false => format!("{}, but the peer did not end its side", escaped(&report.reason)),
            },
            sent,
            unsent,
        });
    }
}
