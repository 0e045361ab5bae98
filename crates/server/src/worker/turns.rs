//! The parts of a round: a connection's turn, alarms, the ready list, orders, and the
//! way to the end.

use super::Worker;
use super::commands::feed;
use super::log::{log_close, report_unfinished};
use super::slot::Slot;
use crate::application::{Application, SourceEvent};
use crate::drain::DrainStep;
use crate::net::{Connecting, Net, News, Release};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Budget, Protocol, Time, Turn, planted, turn};
use std::cmp::Reverse;
use std::fmt;

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// One connection's turn.
    pub(super) fn run_turn<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        let mut budget = Budget::bytes(self.config.budget_bytes.max(1));
        if let Some(Slot::Connection(entry)) = self.table.get_mut(id)
            && entry.alarm <= self.now
        {
            // After a pause of the whole process the clock knows before the poller
            // does. What is in the socket counts, whatever the turn is for (FAULTS 58).
            entry.alarm = Time::NEVER;
            self.net.on_alarm(&mut entry.stream);
            entry.note(News { read: true, write: true, ..News::default() });
        }
        loop {
            let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
            // Before anything its peer says is heard.
            if entry.connecting && self.net.connecting(&entry.stream) == Connecting::Stands {
                entry.connecting = false;
                application.opened(self, id);
                continue;
            }
            if entry.writable {
                self.net.on_writable(&mut entry.stream);
            }
            let mut live = entry.connection.lend(&mut self.workspace, self.now);
            if std::mem::take(&mut entry.writable) {
                live.handle_writable();
            }
            feed(&mut entry.linked, &mut live);
            let mut wire = self.net.wire(id, &mut entry.stream);
            let turn = loop {
                let turn = turn(&mut live, &mut wire, &mut entry.ready, &mut budget);
                if !matches!(turn, Turn::Wait(_)) || !feed(&mut entry.linked, &mut live) {
                    break turn;
                }
            };
            drop(wire);
            drop(live);
            match turn {
                Turn::Event(event) => application.event(self, id, event),
                Turn::Again => return self.make_ready(id),
                Turn::Wait(mut wait) => {
                    if entry.connecting && self.net.connecting(&entry.stream) == Connecting::Failed {
                        // It wants neither to read nor to write, or it would have met that.
                        entry.connecting = false;
                        let error = self.net.take_error(&entry.stream);
                        entry.connection.lend(&mut self.workspace, self.now).handle_transport_error(error);
                        continue;
                    }
                    wait.read &= !entry.ready.read;
                    wait.write |= entry.connecting;
                    let news = self.net.arm(&mut entry.stream, &wait);
                    if news != News::default() {
                        entry.note(news);
                        self.make_ready(id);
                    }
                    if let Some(deadline) = wait.deadline {
                        self.set_alarm(id, deadline);
                    }
                    return;
                }
                Turn::Closed(report) => {
                    if let Some(Slot::Connection(entry)) = self.table.remove(id) {
                        self.connections -= 1;
                        let mut release = Release::Close;
                        if report.reason.is_abort() {
                            release = Release::Reset;
                            if !self.drain.is_running() {
                                report_unfinished(id, self.net.peer_address(&entry.stream).as_ref(), &report);
                            }
                        }
                        self.net.release(entry.stream, release);
                        log_close(id, entry.peer.as_deref(), &report);
                    }
                    planted!(ReportedTwice: if let drywire_core::Reason::Aborted = report.reason {
                        let reason = drywire_core::Reason::Aborted;
                        let again = drywire_core::CloseReport { reason, counters: report.counters };
                        application.closed(self, id, again);
                    });
                    return application.closed(self, id, report);
                }
            }
        }
    }

    /// Gives everybody whose alarm rang a turn. An alarm that is set meanwhile for a
    /// time that has passed (a timeout of zero) rings in the next round, so that a
    /// round ends.
    pub(super) fn ring_alarms<A: Application<N, P, L>>(&mut self, application: &mut A) {
        for _ in 0..self.alarms.len() {
            let Some(Reverse((at, id))) = self.alarms.peek().copied() else { return };
            if self.now < at {
                return;
            }
            self.alarms.pop();
            match self.table.get_mut(id) {
                Some(Slot::Connection(entry)) if entry.alarm == at => self.run_turn(id, application),
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
    pub(super) fn run_ready<A: Application<N, P, L>>(&mut self, application: &mut A) {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { return };
            match self.table.get_mut(id) {
                Some(Slot::Connection(entry)) => {
                    entry.queued = false;
                    self.run_turn(id, application);
                }
                Some(Slot::Listener(listening)) => {
                    listening.queued = false;
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
                    self.requeue_if_always_ready(id);
                }
                None => {}
            }
        }
    }

    pub(super) fn tick_drain(&mut self) {
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

    pub(super) fn connection_ids(&self) -> Vec<Id> {
        self.table.iter().filter(|(_, slot)| matches!(slot, Slot::Connection(_))).map(|(id, _)| id).collect()
    }
}
