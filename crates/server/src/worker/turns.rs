//! The parts of a round: a connection's turn and its end, alarms, the ready list.

use super::Worker;
use super::commands::feed;
use super::log::log_close;
use super::slot::Slot;
use crate::address::Address;
use crate::application::{Application, Notice, SourceEvent};
use crate::io_error::AddressError;
use crate::net::{Connecting, Net, News, Release};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Budget, CloseReport, Counters, Protocol, Reason, Time, Turn, planted, turn};
use std::cmp::Reverse;
use std::fmt;
use std::io;

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// One connection's turn. A panic in it, of the protocol or of a callback, ends that
    /// connection.
    pub(super) fn run_turn<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        self.call_about(id, application, |worker, application| worker.take_turn(id, application));
    }

    fn take_turn<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        let mut budget = Budget::bytes(self.config.budget_bytes.max(1));
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let sent_before = entry.connection.counters().sent;
        if entry.alarm <= self.now {
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
                Turn::Again => {
                    let written_out = entry.is_written_out(sent_before);
                    self.make_ready(id);
                    if written_out {
                        application.written_out(self, id);
                    }
                    return;
                }
                Turn::Wait(mut wait) => {
                    if entry.connecting && self.net.connecting(&entry.stream) == Connecting::Failed {
                        // It wants neither to read nor to write, or it would have met that.
                        let error = self.net.take_error(&entry.stream);
                        entry.connection.lend(&mut self.workspace, self.now).handle_transport_error(error);
                        continue;
                    }
                    wait.read &= !entry.ready.read;
                    wait.write |= entry.connecting;
                    let written_out = entry.is_written_out(sent_before);
                    let news = self.net.arm(&mut entry.stream, &wait);
                    if news != News::default() {
                        entry.note(news);
                        self.make_ready(id);
                    }
                    if let Some(deadline) = wait.deadline {
                        self.set_alarm(id, deadline);
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
        report: CloseReport<P::Error>,
        application: &mut A,
    ) {
        let Some(Slot::Connection(mut entry)) = self.table.remove(id) else { return };
        self.connections -= 1;
        self.note_in_drain_report(id, &entry, &report);
        log_close(id, entry.peer.as_deref(), &report);
        let never_stood = entry.connecting.then(|| entry.peer.take()).flatten();
        let never_stood = never_stood.and_then(|address| why_it_never_stood(*address, &report));
        self.let_go(id, entry, if report.reason.is_abort() { Release::Reset } else { Release::Close });
        if let Some(error) = never_stood {
            self.call("notice", application, |worker, application| {
                application.notice(worker, Notice::ConnectFailed { id, error: &error });
            });
        }
        planted!(ReportedTwice: if let drywire_core::Reason::Aborted = report.reason {
            let reason = drywire_core::Reason::Aborted;
            let again = drywire_core::CloseReport { reason, counters: report.counters };
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
}

/// `None` when it did stand, or when we did not want it any more ourselves.
fn why_it_never_stood<E>(address: Address, report: &CloseReport<E>) -> Option<AddressError> {
    let Counters { received: 0, sent: 0, .. } = report.counters else { return None };
    match report.reason {
        Reason::Transport(error) => Some(AddressError::connecting(address, error)),
        // A deadline of its own came first.
        Reason::Limit(_) | Reason::Stalled => {
            Some(AddressError { what: "connect to", address, source: io::ErrorKind::TimedOut.into() })
        }
        Reason::Finished
        | Reason::Requested
        | Reason::Peer(_)
        | Reason::Misuse(_)
        | Reason::File(_)
        | Reason::Layer(_)
        | Reason::Aborted
        | Reason::Panicked
        | Reason::Shed => None,
    }
}
