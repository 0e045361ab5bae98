//! The way to the end: who is asked to finish, who is cut, and the report of it. When to
//! do which is decided in [`drain`](crate::drain).

use super::Worker;
use super::commands::Linked;
use super::slot::{Entry, Slot};
use crate::application::{Application, Notice};
use crate::drain::{Cut, DrainReport, DrainStep, Request};
use crate::escape::escaped;
use crate::net::Net;
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Protocol, planted};
use std::fmt;

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Begins to shut down: listeners close, connections handle the commands that have
    /// arrived and send what they owe, and those that are not done by the drain timeout are
    /// cut. Asked again, they are cut at once.
    pub fn shutdown(&mut self) {
        // Not the time of the last round: a program may ask long after it.
        match self.drain.begin(self.net.now(), self.config.drain_timeout) {
            Request::First { deadline: _ } => self.drain_report = Some(DrainReport::of(self.connections)),
            Request::Second => self.with_drain_report(|report| report.asked_again = true),
            Request::Late => {}
        }
    }

    /// Ends it all now.
    pub fn stop(&mut self) {
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
        let step = self.drain.on_tick(self.now, self.connections);
        if step == DrainStep::KeepServing {
            return;
        }
        if !std::mem::replace(&mut self.draining, true) {
            self.begin_drain(application);
        }
        if step == DrainStep::AbortRest {
            for id in self.connection_ids() {
                self.abort(id);
            }
        }
    }

    fn begin_drain<A: Application<N, P, L>>(&mut self, application: &mut A) {
        let listeners: Vec<Id> =
            self.table.iter().filter(|(_, slot)| matches!(slot, Slot::Listener(_))).map(|(id, _)| id).collect();
        for listener in listeners {
            self.stop_listening(listener);
        }
        let began = Notice::ShutdownBegan { open: self.connections, timeout: self.config.drain_timeout };
        self.call("notice", application, |worker, application| application.notice(worker, began));
        for id in self.connection_ids() {
            let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { continue };
            // When it breaks nobody can say any more whose it was.
            if entry.peer.is_none() {
                entry.peer = entry.line.stream().and_then(|stream| self.net.peer_address(stream)).map(Box::new);
            }
            self.with_live(id, |live, linked| {
                // Behind the commands that have arrived.
                if !linked.is_some_and(Linked::drain_behind) {
                    live.drain();
                }
            });
            if self.is_coming_in_vain(id) {
                self.abort(id);
            }
        }
    }

    /// A connection has ended, perhaps in a shutdown.
    pub(super) fn note_in_drain_report(&mut self, id: Id, entry: &Entry<P, L, N>, report: &CloseReport<P::Error>) {
        let Some(drain_report) = &mut self.drain_report else { return };
        let is_cut = report.is_abort();
        // Input that comes after our close is answered with a reset, and that takes away what
        // the peer's system has not acknowledged. A peer that has ended sends none.
        let is_certain = report.counters.sent == 0 || entry.connection.has_peer_ended();
        planted!(CutNotNamed: if !is_cut {
            drain_report.finished += 1;
            return;
        });
        if !is_cut && is_certain {
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
            sent: report.counters.sent,
            unsent: report.counters.unsent,
        });
    }
}
