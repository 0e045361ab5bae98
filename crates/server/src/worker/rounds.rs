//! One round of the loop: what the poller said, what came due, what other threads
//! asked, and who was not finished in the round before. How each of these goes is in
//! `turns`.

use super::Worker;
use super::memory::Grant;
use super::slot::Slot;
use crate::application::Application;
use crate::commons::Commons;
use crate::config::Config;
use crate::net::{Net, News};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{FileError, FileId, Protocol};
use std::fmt;
use std::io;
use std::net::SocketAddr;
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
        let commons = Commons::new(&config);
        Rounds::sharing(net, config, commons, wake)
    }

    /// The same for one of several workers of a server.
    pub fn sharing(
        net: N,
        config: Config,
        commons: Commons,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Rounds<P, L, N> {
        Rounds { worker: Worker::new(net, config, commons, wake) }
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

    /// The answer to a name that was being looked up, to what [`Net::resolve`] asked
    /// for `id`.
    pub fn on_resolved(&mut self, id: Id, result: io::Result<Vec<SocketAddr>>) {
        self.worker.on_resolved(id, result);
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
        worker.begin(application);
        match worker.table.get_mut(id) {
            Some(Slot::Connection(entry)) => {
                entry.note(news);
                if entry.is_busy {
                    worker.make_ready(id);
                } else {
                    worker.short_turns += 1;
                    worker.run_turn(id, application);
                }
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
        worker.begin(application);
        // After a pause of the whole process there is more news than one round hears.
        // Deadlines wait until everybody's was heard, but not for ever (FAULTS 58).
        let most = worker.config.events.max(1);
        if heard >= most && worker.full_rounds < worker.table.len() / most {
            worker.full_rounds += 1;
        } else {
            worker.full_rounds = 0;
            worker.ring_alarms(application);
        }
        worker.ring_timers(application);
        worker.handle_orders(application);
        worker.tick_drain(application);
        // Last, so that who was not finished comes after everybody who has news.
        worker.run_ready(application);
        worker.run_busy(application);
        worker.relieve(application);
        if worker.is_shut_down() {
            worker.finish(application);
        }
        worker.publish_stats();
    }

    /// Calls [`Application::started`], if it was not called yet. A round does so itself; a
    /// driver that runs does it before it asks whether there is anything to wait for.
    pub fn begin<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.worker.begin(application);
    }

    /// There is nothing left to wait for, and there will be no more rounds: calls
    /// [`Application::stopped`], if it was not called yet.
    pub fn finish<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.worker.finish(application);
    }

    /// The driver is being dropped with connections open: each gets one turn to handle the
    /// commands that wait for it and to be rid of what its transport takes at once, and is
    /// closed and reported.
    pub fn end<A: Application<N, P, L>>(&mut self, application: &mut A) {
        self.wake_up();
        let worker = &mut self.worker;
        if !worker.is_empty() {
            worker.begin(application);
            worker.handle_orders(application);
        }
        for _ in 0..LAST_WORDS {
            if worker.is_empty() {
                break;
            }
            for id in worker.connection_ids() {
                if let Some(Slot::Connection(entry)) = worker.table.get_mut(id) {
                    // No poller will be heard again, so what it has not said yet is tried.
                    if let Some(stream) = entry.line.stream_mut() {
                        worker.net.on_alarm(stream);
                    }
                    entry.note(News { read: true, write: true, ..News::default() });
                }
                worker.close_now(id);
                worker.run_turn(id, application);
                worker.abort(id);
                // Events that were not told yet may be many, bytes there are none.
                let budget = std::mem::replace(&mut worker.config.budget_bytes, usize::MAX);
                worker.run_turn_with(id, Grant::Nothing, application);
                worker.config.budget_bytes = budget;
            }
        }
        worker.finish(application);
        worker.publish_stats();
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
