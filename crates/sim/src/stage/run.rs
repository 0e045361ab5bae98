//! Rounds of the worker, and time that jumps from one to the next.

use super::{Stage, StageNet};
use drywire_core::layer::Layer;
use drywire_core::{Protocol, Time};
use drywire_server::Application;
use std::fmt;
use std::time::Duration;

/// Rounds at one point in time beyond which a stage will not settle.
const ROUNDS: usize = 100_000;

/// Points in time beyond which a stage will not come to rest.
const STEPS: usize = 1_000_000;

/// Rounds, and time.
impl<P, L> Stage<P, L>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
{
    /// One round of the worker: what is due in the network, news of it, alarms, commands. False when
    /// nothing at all was ready.
    pub fn round<A: Application<StageNet, P, L>>(&mut self, application: &mut A) -> bool {
        self.rounds.begin(application);
        self.rounds.take_orders();
        let most = self.most;
        let network = self.network_mut();
        network.sweep();
        network.come();
        let (now, resolved) = (network.now, std::mem::take(&mut network.resolved));
        let mut news = network.take_news(most);
        let is_due = self.rounds.next_deadline().is_some_and(|at| at <= now);
        if news.is_empty() && resolved.is_empty() && !is_due {
            return false;
        }
        news.extend(self.network_mut().spurious_news());
        self.rounds.wake_up();
        let heard = news.len();
        for (id, news) in news {
            self.rounds.on_news(id, news, application);
        }
        for (id, answer) in resolved {
            self.rounds.on_resolved(id, answer);
        }
        self.rounds.finish_round(heard, application);
        self.network_mut().sweep();
        true
    }

    /// Rounds until nothing is ready now. What is late stays under way: see
    /// [`Stage::run_until_quiet`].
    ///
    /// # Panics
    /// With the seed, when that takes more than 100,000 rounds; when an edge was lost, so that
    /// bytes are there which nobody will ever read or write.
    #[track_caller]
    pub fn settle<A: Application<StageNet, P, L>>(&mut self, application: &mut A) {
        for _ in 0..ROUNDS {
            if !self.round(application) {
                if let Some(lost) = self.network().lost_edge() {
                    self.fail(format_args!("an edge was lost: {lost}"));
                }
                return;
            }
        }
        self.fail(format_args!("{ROUNDS} rounds at {:?}, and something is ready still", self.now()))
    }

    /// The process stands still for so long; what happened meanwhile shows in the next round.
    pub fn later(&mut self, wait: Duration) {
        self.move_to(self.now() + wait);
    }

    /// Settles, and lets time pass as long as anything is under way in the network or waits to be
    /// accepted. Deadlines and timers ring on the way, but nobody waits for them.
    ///
    /// # Panics
    /// As [`Stage::settle`]; when there is no end of it.
    #[track_caller]
    pub fn run_until_quiet<A: Application<StageNet, P, L>>(&mut self, application: &mut A) {
        for _ in 0..STEPS {
            self.settle(application);
            let deadline = self.rounds.next_deadline();
            let is_waited_for = self.network().doors.iter().any(|door| !door.backlog.is_empty());
            let next = match (self.network().next_time(), deadline) {
                (Some(at), deadline) => at.min(deadline.unwrap_or(at)),
                (None, Some(deadline)) if is_waited_for => deadline,
                (None, _) => return,
            };
            self.move_to(next);
        }
        self.fail(format_args!("{STEPS} points in time, and something is to come still"))
    }

    /// Settles, and lets time jump from one arrival, deadline or timer to the next until there is
    /// nothing to come at all: true. Or until `limit` has passed, to the nanosecond: false.
    ///
    /// # Panics
    /// As [`Stage::run_until_quiet`].
    #[track_caller]
    pub fn run_until_idle<A: Application<StageNet, P, L>>(&mut self, application: &mut A, limit: Duration) -> bool {
        let end = self.now() + limit;
        for _ in 0..STEPS {
            self.settle(application);
            let deadline = self.rounds.next_deadline();
            let Some(next) = [self.network().next_time(), deadline].into_iter().flatten().min() else { return true };
            if next > end {
                self.move_to(end);
                return false;
            }
            self.move_to(next);
        }
        self.fail(format_args!("{STEPS} points in time, and something is to come still"))
    }

    /// The driver is dropped with connections open: each is rid of what the network takes at once,
    /// and closed; [`Application::stopped`] is last.
    pub fn drops_driver<A: Application<StageNet, P, L>>(&mut self, application: &mut A) {
        self.rounds.end(application);
        self.network_mut().sweep();
    }

    #[track_caller]
    fn fail(&self, what: fmt::Arguments<'_>) -> ! {
        panic!("seed {}: {what}\n{}", self.network().seed, self.timeline())
    }
}

impl<P: Protocol, L: Layer> Stage<P, L> {
    fn move_to(&mut self, at: Time) {
        self.network_mut().now = at;
        self.rounds.wake_up();
    }
}
