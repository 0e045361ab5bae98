//! One worker: its connections, listeners and descriptors of others, and when
//! each of them gets a turn. All of a driver that is not waiting.
//!
//! How a round goes is in `rounds` and `turns`, listening in `listening`, connecting in `outgoing`,
//! descriptors of others in `sources`, timers in `timers`, the end in `draining`; calls into other
//! people's code are made in `calls`. This file is what the application calls besides.

mod calls;
mod commands;
mod draining;
mod listening;
mod log;
mod memory;
mod outgoing;
mod rounds;
mod slot;
mod sources;
mod starved;
mod timers;
mod turns;

use crate::admission::{Origin, Place};
use crate::commons::Commons;
use crate::config::Config;
use crate::drain::{Drain, DrainReport};
use crate::gate::Setup;
use crate::inbox::{Inbox, Order};
use crate::log_limit::LogLimiter;
use crate::net::Net;
use crate::stats::Stats;
use crate::table::{Id, Table};
use commands::{Linked, Spare};
use draining::LastCall;
use drywire_core::layer::Layer;
use drywire_core::{Connection, Live, Protocol, Time, Workspace, planted};
use memory::Memory;
use outgoing::{Line, Lookups};
pub use rounds::Rounds;
use slot::{Entry, Slot};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io;
use std::time::Duration;
use timers::Timers;

/// Alarms without a purpose that are not worth a search.
const STALE_ALARMS: usize = 1024;

/// The connections of one protocol, their listeners, and descriptors of others, on
/// one thread or task.
///
/// This is what an [`Application`](crate::Application) gets to work with, on every
/// driver: the same code on each, over another [`Net`]. Nothing here waits, and
/// nothing here calls the application; what it does shows in the next round. Rounds
/// are made by a driver, with [`Rounds`].
pub struct Worker<P: Protocol, L: Layer, N: Net> {
    net: N,
    table: Table<Slot<P, L, N>>,
    connections: usize,
    /// Who gets a turn without waiting for the poller.
    ready: VecDeque<Id>,
    /// The same for connections whose last turn was a large one.
    busy: VecDeque<Id>,
    alarms: BinaryHeap<Reverse<(Time, Id)>>,
    workspace: Workspace,
    inbox: Inbox<P::Command>,
    orders: Vec<Order<P::Command>>,
    timers: Timers,
    stage: Stage,
    lookups: Lookups,
    spare: Spare<P::Command>,
    drain: Drain,
    /// When the shutdown was asked for.
    shutdown_at: Time,
    /// Since the drain has begun.
    last_call: Option<Box<LastCall>>,
    drain_report: Option<DrainReport>,
    /// Lines about panics that were caught.
    panics: LogLimiter,
    /// Rounds in a row that could not hear all news.
    full_rounds: usize,
    /// Turns in this round, but for those of busy connections.
    short_turns: usize,
    config: Config,
    memory: Memory,
    /// Bytes, both ways, of all turns.
    moved: u64,
    stats: Stats,
    /// What of them all workers' sum has already.
    published: Stats,
    /// Lines about peers that were refused.
    refusals: LogLimiter,
    now: Time,
}

/// What the application was told of the worker itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Started,
    Stopped,
}

/// What an application calls.
impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Serves a stream that is open already, whoever opened it. Its first turn
    /// comes with the next round.
    ///
    /// # Errors
    /// The poller's, a [`Refusal`](crate::Refusal), or the table is full.
    pub fn add(&mut self, stream: impl Into<N::Open>, connection: Connection<P, L>) -> io::Result<Id> {
        self.insert_own(connection, |net, id| net.register(id, stream.into()).map(Line::Stands))
    }

    /// Open connections.
    pub fn len(&self) -> usize {
        self.connections
    }

    /// No connection is open.
    pub fn is_empty(&self) -> bool {
        self.connections == 0
    }

    /// What was counted so far. Cheap: a copy.
    pub fn stats(&self) -> Stats {
        Stats { commands_dropped: self.inbox.dropped(), ..self.stats }
    }

    /// Bytes received and sent so far, on all connections, those that are open too.
    pub fn moved_bytes(&self) -> u64 {
        self.moved
    }

    /// What all workers of the server share.
    pub fn commons(&self) -> &Commons {
        self.memory.commons()
    }

    /// Files that are being sent or answered.
    pub fn open_files(&self) -> usize {
        self.net.open_files()
    }

    /// When to come by though nothing happens: zero when something is ready now,
    /// `None` when there is nothing to come by for.
    pub fn next_timeout(&self) -> Option<Duration> {
        match self.next_deadline()? {
            Time::ZERO => Some(Duration::ZERO),
            at => Some(at.saturating_since(self.net.now())),
        }
    }

    /// The same as a point in time, for a driver whose timer stays set:
    /// [`Time::ZERO`] when something is ready now.
    pub fn next_deadline(&self) -> Option<Time> {
        // A shutdown that a callback asked for begins with the next round.
        let drain_begins = !self.drain.is_running() && self.last_call.is_none();
        if !self.ready.is_empty() || !self.busy.is_empty() || !self.orders.is_empty() || drain_begins {
            return Some(Time::ZERO);
        }
        let alarm = self.alarms.peek().map_or(Time::NEVER, |Reverse((at, _))| *at);
        let alarm = alarm.min(self.timers.next()).min(self.memory.deadline());
        let next = match self.drain {
            Drain::Draining { deadline } if self.is_draining() => {
                alarm.min(deadline).min(self.last_call.as_deref().map_or(Time::NEVER, LastCall::next))
            }
            Drain::Stopped if self.is_draining() => return Some(Time::ZERO),
            Drain::Running | Drain::Draining { .. } | Drain::Stopped => alarm,
        };
        (next != Time::NEVER).then_some(next)
    }

    /// There is nothing left to wait for: a shutdown is through, or there is no
    /// connection, no listener, no source and no named timer.
    pub fn is_done(&self) -> bool {
        self.is_shut_down() || (self.table.is_empty() && self.timers.is_empty())
    }

    /// A shutdown is through.
    fn is_shut_down(&self) -> bool {
        !self.drain.is_running() && self.last_call.is_some() && !self.is_draining()
    }

    /// Connections are open, or wait to be accepted by a worker that stops.
    fn is_draining(&self) -> bool {
        self.connections > 0 || self.last_call.as_ref().is_some_and(|last_call| last_call.listeners > 0)
    }

    /// A connection, to look at.
    pub fn connection(&self, id: Id) -> Option<&Connection<P, L>> {
        match self.table.get(id)? {
            Slot::Connection(entry) => Some(&entry.connection),
            Slot::Listener(_) | Slot::Source(_) => None,
        }
    }
}

/// What both need.
impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    fn new(net: N, config: Config, commons: Commons, wake: impl Fn() + Send + Sync + 'static) -> Worker<P, L, N> {
        let setup =
            Setup { capacity: config.commands, weigh: P::weigh, commons: Some(commons.clone()), clock: net.clock() };
        Worker {
            now: net.now(),
            net,
            table: Table::new(),
            connections: 0,
            ready: VecDeque::new(),
            busy: VecDeque::new(),
            alarms: BinaryHeap::new(),
            workspace: Workspace::new(),
            inbox: Inbox::set_up(setup, wake),
            orders: Vec::new(),
            timers: Timers::default(),
            stage: Stage::New,
            lookups: Lookups::default(),
            spare: Spare::new(),
            drain: Drain::default(),
            shutdown_at: Time::ZERO,
            last_call: None,
            drain_report: None,
            panics: LogLimiter::new(),
            full_rounds: 0,
            short_turns: 0,
            config,
            memory: Memory::new(commons),
            moved: 0,
            stats: Stats::default(),
            published: Stats::default(),
            refusals: LogLimiter::new(),
        }
    }

    /// A connection that came by no listener of ours.
    fn insert_own(
        &mut self,
        connection: Connection<P, L>,
        open: impl FnOnce(&mut N, Id) -> io::Result<Line<N>>,
    ) -> io::Result<Id> {
        let place = self.place(Origin::Nowhere)?;
        self.insert(connection, place, open)
    }

    fn insert(
        &mut self,
        connection: Connection<P, L>,
        place: Place,
        open: impl FnOnce(&mut N, Id) -> io::Result<Line<N>>,
    ) -> io::Result<Id> {
        self.prepare(&connection)?;
        let net = &mut self.net;
        let make = |id| open(net, id).map(|line| Slot::Connection(Entry::new(connection, line, place)));
        let id = self.table.try_insert_with(make).unwrap_or_else(|| Err(table_is_full()))?;
        self.connections += 1;
        self.make_ready(id);
        Ok(id)
    }

    /// A turn without the transport, to put something in; the rest of the turn
    /// comes with the next round.
    fn with_live(&mut self, id: Id, input: impl FnOnce(&mut Live<'_, P, L>, Option<&mut Linked<P::Command>>)) {
        let now = self.now;
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let mut live = entry.connection.lend(&mut self.workspace, now);
        input(&mut live, entry.linked.as_mut());
        drop(live);
        self.make_ready(id);
    }

    /// Gives `id` a turn without waiting for the poller.
    fn make_ready(&mut self, id: Id) {
        let (queued, list) = match self.table.get_mut(id) {
            Some(Slot::Connection(entry)) if entry.is_busy => (&mut entry.queued, &mut self.busy),
            Some(Slot::Connection(entry)) => (&mut entry.queued, &mut self.ready),
            Some(Slot::Listener(listening)) => (&mut listening.queued, &mut self.ready),
            Some(Slot::Source(source)) => (&mut source.queued, &mut self.ready),
            None => return,
        };
        if !std::mem::replace(queued, true) {
            list.push_back(id);
        }
    }

    fn set_alarm(&mut self, id: Id, deadline: Time) {
        let alarm = match self.table.get_mut(id) {
            Some(Slot::Connection(entry)) => &mut entry.alarm,
            Some(Slot::Source(source)) => &mut source.alarm,
            Some(Slot::Listener(_)) | None => return,
        };
        // An alarm that is too early finds that out when it rings and is set
        // again; so moving a deadline back, as every byte does with the idle one, is free.
        planted!(AlarmNotMoved: if *alarm != Time::NEVER {
            return;
        });
        if deadline < *alarm {
            *alarm = deadline;
            self.push_alarm(deadline, id);
        }
    }

    /// Bound: alarms that nobody waits for any more, of connections that ended and
    /// of deadlines that came earlier, make up half of the heap at most.
    fn push_alarm(&mut self, at: Time, id: Id) {
        if self.alarms.len() > 2 * self.table.len() + STALE_ALARMS {
            let table = &self.table;
            self.alarms.retain(|Reverse((at, id))| match table.get(*id) {
                Some(Slot::Connection(entry)) => entry.alarm == *at,
                Some(Slot::Source(source)) => source.alarm == *at,
                Some(Slot::Listener(_)) => true,
                None => false,
            });
        }
        self.alarms.push(Reverse((at, id)));
    }
}

fn table_is_full() -> io::Error {
    io::Error::other("the table of connections is full")
}

impl<P: Protocol, L: Layer, N: Net> fmt::Debug for Worker<P, L, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("connections", &self.connections)
            .field("ready", &self.ready.len())
            .field("busy", &self.busy.len())
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
