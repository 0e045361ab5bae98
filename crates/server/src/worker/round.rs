//! One round of the loop: what the poller said, what other threads asked, what
//! came due, and who was not finished in the round before.

use super::Worker;
use super::log::{log_close, report_unfinished};
use super::slot::{Slot, feed};
use crate::application::{Application, SourceEvent};
use crate::config::Config;
use crate::drain::DrainStep;
use crate::inbox::Order;
use crate::net::{Connecting, Net, News, Release};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Budget, FileError, FileId, Protocol, Time, Turn, turn};
use std::cmp::Reverse;
use std::fmt;
use std::ops::{Deref, DerefMut};
use tracing::trace;

/// A worker in the hands of its driver, which alone makes rounds.
///
/// Call [`Rounds::on_news`] for what the poller found, then [`Rounds::finish_round`];
/// wait until [`Worker::next_timeout`], and call [`Rounds::wake_up`] after that.
/// Callbacks get the [`Worker`] without this, so none of them makes a round inside of
/// one:
///
/// ```compile_fail,E0599
/// # use drywire_server::{Net, Quiet, Worker};
/// # use drywire_core::Protocol;
/// fn inside_a_callback<P: Protocol, N: Net>(worker: &mut Worker<P, (), N>) {
///     worker.finish_round(0, &mut Quiet);
/// }
/// ```
pub struct Rounds<P: Protocol, L: Layer, N: Net> {
    worker: Worker<P, L, N>,
}

/// How often the application may answer the end of its connections with new ones.
const LAST_WORDS: usize = 8;

impl<P: Protocol, L: Layer, N: Net> Rounds<P, L, N> {
    /// A worker without connections. `wake` ends the driver's wait, from any thread.
    pub fn new(net: N, config: Config, wake: impl Fn() + Send + Sync + 'static) -> Rounds<P, L, N> {
        Rounds { worker: Worker::new(net, config, wake) }
    }

    /// The driver's own part.
    pub fn net(&self) -> &N {
        &self.worker.net
    }

    /// The driver's own part, to work with.
    pub fn net_mut(&mut self) -> &mut N {
        &mut self.worker.net
    }

    /// The wait is over: what happens from now on happens now.
    pub fn wake_up(&mut self) {
        self.worker.now = self.worker.net.now();
    }

    /// Takes what was asked through handles. A round does so itself; a driver whose
    /// wake-ups can be lost does it before it waits.
    pub fn take_orders(&mut self) {
        self.worker.inbox.take(&mut self.worker.orders);
    }

    /// The answer to a file that was being opened: its length in bytes, or why not.
    /// One that nobody waits for any more is closed.
    pub fn on_file(&mut self, id: Id, file: FileId, result: Result<u64, FileError>) {
        let worker = &mut self.worker;
        let answered = match worker.table.get_mut(id) {
            Some(Slot::Connection(entry)) => {
                entry.connection.lend(&mut worker.workspace, worker.now).handle_file(file, result).is_ok()
            }
            Some(Slot::Listener(_) | Slot::Source(_)) | None => false,
        };
        if answered {
            worker.make_ready(id);
        } else {
            worker.net.close_file(id, file);
        }
    }
}

impl<P, L, N> Rounds<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// The poller has news of `id`. Callbacks may do anything to the worker.
    pub fn on_news<A: Application<N, P, L>>(&mut self, id: Id, news: News, application: &mut A) {
        let worker = &mut self.worker;
        match worker.table.get_mut(id) {
            Some(Slot::Connection(entry)) => {
                entry.note(news);
                worker.run_turn(id, application);
            }
            Some(Slot::Listener(_)) => worker.accept(id, application),
            Some(Slot::Source(_)) => worker.on_source_news(id, news, application),
            // Stale: it was removed in this very round (FAULTS 20).
            None => trace!(%id, "stale event dropped"),
        }
    }

    /// News of `heard` was told; if that is as much as a round hears there may be
    /// more. Then come deadlines, orders, and those who were not finished in the round
    /// before.
    pub fn finish_round<A: Application<N, P, L>>(&mut self, heard: usize, application: &mut A) {
        let worker = &mut self.worker;
        // After a pause of the whole process there is more news than one round hears.
        // Deadlines wait until everybody's was heard, but not for ever (FAULTS 58).
        let most = worker.config.events.max(1);
        if heard >= most && worker.full_rounds < worker.table.len() / most {
            worker.full_rounds += 1;
        } else {
            worker.full_rounds = 0;
            worker.ring_alarms(application);
        }
        worker.handle_orders();
        worker.tick_drain();
        // Last, so that who was not finished comes after everybody who has news.
        worker.run_ready(application);
    }

    /// The driver is being dropped with connections open: each gets one turn to be rid
    /// of what its transport takes at once, and is closed and reported.
    pub fn end<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.wake_up();
        let worker = &mut self.worker;
        for _ in 0..LAST_WORDS {
            if worker.is_empty() {
                return;
            }
            for id in worker.connection_ids() {
                worker.with_live(id, |live, _| live.close());
                worker.run_turn(id, application);
                worker.abort(id);
                // Events that were not told yet may be many, bytes there are none.
                let budget = std::mem::replace(&mut worker.config.budget_bytes, usize::MAX);
                worker.run_turn(id, application);
                worker.config.budget_bytes = budget;
            }
        }
    }
}

impl<P: Protocol, L: Layer, N: Net> Deref for Rounds<P, L, N> {
    type Target = Worker<P, L, N>;

    fn deref(&self) -> &Worker<P, L, N> {
        &self.worker
    }
}

impl<P: Protocol, L: Layer, N: Net> DerefMut for Rounds<P, L, N> {
    fn deref_mut(&mut self) -> &mut Worker<P, L, N> {
        &mut self.worker
    }
}

impl<P: Protocol, L: Layer, N: Net> fmt::Debug for Rounds<P, L, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rounds").field(&self.worker).finish()
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// One connection's turn.
    fn run_turn<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        let mut budget = Budget::bytes(self.config.budget_bytes.max(1));
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
                    return application.closed(self, id, report);
                }
            }
        }
    }

    /// Gives everybody whose alarm rang a turn. An alarm that is set meanwhile for a
    /// time that has passed (a timeout of zero) rings in the next round, so that a
    /// round ends.
    fn ring_alarms<A: Application<N, P, L>>(&mut self, application: &mut A) {
        for _ in 0..self.alarms.len() {
            let Some(Reverse((at, id))) = self.alarms.peek().copied() else { return };
            if self.now < at {
                return;
            }
            self.alarms.pop();
            match self.table.get_mut(id) {
                Some(Slot::Connection(entry)) if entry.alarm == at => {
                    entry.alarm = Time::NEVER;
                    // After a pause of the whole process the clock knows before the
                    // poller does. What is in the socket counts (FAULTS 58).
                    self.net.on_alarm(&mut entry.stream);
                    entry.note(News { read: true, write: true, ..News::default() });
                    self.run_turn(id, application);
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
    fn run_ready<A: Application<N, P, L>>(&mut self, application: &mut A) {
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

    /// What other threads asked, and callbacks of this round.
    fn handle_orders(&mut self) {
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
