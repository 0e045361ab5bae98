//! The parts of a round: a connection's turn and its end, alarms, the ready list.

use super::Worker;
use super::commands::{feed, settle};
use super::log::log_close;
use super::memory::Grant;
use super::outgoing::Line;
use super::slot::Slot;
use crate::application::{Application, SourceEvent};
use crate::net::{Net, News};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Protocol, Time, Turn, planted, turn};
use std::cmp::Reverse;
use std::fmt;

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// One connection's turn. A panic in it, of the protocol or of a callback, ends that
    /// connection.
    pub(super) fn run_turn<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        self.make_turn(id, None, application);
    }

    /// The same, with memory that was found for it.
    pub(super) fn run_turn_with<A: Application<N, P, L>>(&mut self, id: Id, grant: Grant, application: &mut A) {
        self.make_turn(id, Some(grant), application);
    }

    fn make_turn<A: Application<N, P, L>>(&mut self, id: Id, grant: Option<Grant>, application: &mut A) {
        self.call_about(id, application, |worker, application| worker.take_turn(id, grant, application));
        if self.last_call.is_some() {
            self.hear_before_drain(id);
        }
    }

    fn take_turn<A: Application<N, P, L>>(&mut self, id: Id, grant: Option<Grant>, application: &mut A) {
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        if let Line::Coming(_) = entry.line {
            return self.come(id, application);
        }
        let grant = grant.unwrap_or_else(|| self.memory.grant(id, entry.held));
        let may_grow = grant != Grant::Nothing;
        let whole = self.memory.turn_budget(&self.config, grant);
        let mut budget = whole;
        let mut counted = entry.connection.counters();
        if entry.alarm <= self.now
            && let Some(stream) = entry.line.stream_mut()
        {
            // After a pause of the whole process the clock knows before the poller
            // does. What is in the socket counts, whatever the turn is for (FAULTS 58).
            entry.alarm = Time::NEVER;
            self.net.on_alarm(stream);
            entry.note(News { read: true, write: true, ..News::default() });
        }
        loop {
            let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
            let Some(stream) = entry.line.stream_mut() else { return };
            if entry.writable {
                self.net.on_writable(stream);
            }
            let mut live = entry.connection.lend(&mut self.workspace, self.now);
            live.consume_at_most(budget.messages_left());
            if std::mem::take(&mut entry.writable) {
                live.handle_writable();
            }
            match grant {
                Grant::Nothing => live.flush_only(),
                Grant::Step(bytes) => live.queue_at_most(bytes),
                Grant::Whole => {}
            }
            if may_grow {
                feed(&mut entry.linked, &mut live);
            }
            let mut wire = self.net.wire(id, stream);
            let turn = loop {
                let turn = turn(&mut live, &mut wire, &mut entry.ready, &mut budget);
                if !matches!(turn, Turn::Wait(_)) || !may_grow || !feed(&mut entry.linked, &mut live) {
                    break turn;
                }
            };
            drop(wire);
            drop(live);
            settle(&mut entry.linked, &entry.connection, &mut self.spare);
            let counters = entry.connection.counters();
            self.moved += (counters.received - counted.received) + (counters.sent - counted.sent);
            counted = counters;
            entry.is_busy = budget.is_much_of(whole);
            match turn {
                Turn::Event(event) => application.event(self, id, event),
                Turn::Again => {
                    let written_out = entry.connection.take_written_out();
                    entry.settle(id, &mut self.memory);
                    self.make_ready(id);
                    if written_out {
                        application.written_out(self, id);
                    }
                    return;
                }
                Turn::Wait(mut wait) => {
                    wait.read &= !entry.ready.read;
                    let is_short = entry.connection.wants_memory();
                    let news = self.net.arm(stream, &wait);
                    let written_out = entry.connection.take_written_out();
                    entry.settle(id, &mut self.memory);
                    if news != News::default() {
                        entry.note(news);
                        self.make_ready(id);
                    }
                    if let Some(deadline) = wait.deadline {
                        self.set_alarm(id, deadline);
                    }
                    if !may_grow || is_short {
                        self.starve(id);
                    }
                    if written_out {
                        application.written_out(self, id);
                    }
                    return;
                }
                Turn::Closed(report) => return self.part_with(id, report, application),
            }
        }
    }

    /// A connection has ended, whatever ended it: lets go of all that belongs to it, and
    /// says so. The one place where that happens.
    pub(super) fn part_with<A: Application<N, P, L>>(
        &mut self,
        id: Id,
        mut report: CloseReport<P::Error>,
        application: &mut A,
    ) {
        let Some(Slot::Connection(entry)) = self.table.remove(id) else { return };
        self.connections -= 1;
        self.on_end(id, &entry, &mut report);
        self.note_in_drain_report(id, &entry, &report);
        log_close(id, entry.peer.as_deref(), &report);
        self.let_go(id, entry, &report);
        planted!(ReportedTwice: if let drywire_core::Reason::Aborted = report.reason {
            let reason = drywire_core::Reason::Aborted;
            let again = CloseReport { reason, counters: report.counters };
            application.closed(self, id, again);
        });
        self.call_about(id, application, |worker, application| application.closed(worker, id, report));
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

    /// Gives the ready list its turns; connections that come in meanwhile wait for the next
    /// round, so that a round ends.
    pub(super) fn run_ready<A: Application<N, P, L>>(&mut self, application: &mut A) {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { return };
            match self.table.get_mut(id) {
                Some(Slot::Connection(entry)) => {
                    entry.queued = false;
                    self.short_turns += 1;
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

    /// Gives busy connections their turns: as many as other connections had in this round, and
    /// one at least. So a short request waits for one of them and not for all (FAULTS 44).
    pub(super) fn run_busy<A: Application<N, P, L>>(&mut self, application: &mut A) {
        let turns = std::mem::take(&mut self.short_turns).max(1);
        for _ in 0..turns.min(self.busy.len()) {
            let Some(id) = self.busy.pop_front() else { return };
            if let Some(Slot::Connection(entry)) = self.table.get_mut(id) {
                entry.queued = false;
                self.run_turn(id, application);
            }
        }
    }
}
