//! The application of a world: it lets peers in, compares what it is told with what
//! must be told, and meddles in its callbacks.

mod deeds;

use super::Sabotage;
use super::actor::Order;
use super::beats::{Beat, Beats};
use super::crowd::Lane;
use super::line::Life;
use super::looks::Marks;
use super::net::{SimNet, Stream, address_of, line_of};
use super::plan::{Speech, Way};
use super::receipts::Receipts;
use super::shutdown::Farewell;
use super::speak::Speak;
use super::state::Shared;
use super::swarm::Fault;
use super::veil::Between;
use super::violation::Invariant;
use drywire_core::{CloseReport, Connection, Reason};
use drywire_server::Order as Waiting;
use drywire_server::{
    Address, Application, Connecting, Dropped, Group, Handle, Id, Notice, Release, SendError, ServerHandle, Target,
    Worker,
};
use std::collections::BTreeMap;
use std::fmt;
use std::mem;

/// A budget with which one turn sends all that a connection can owe, in bytes.
const ONE_TURN: usize = 1 << 20;

pub(crate) struct Host<P: Speak> {
    pub(crate) state: Shared,
    pub(crate) handles: BTreeMap<usize, Handle<P::Command>>,
    /// Handles through which a close or an abort was asked.
    shut: Vec<usize>,
    pub(crate) server: ServerHandle<P::Command>,
    ids: BTreeMap<Id, usize>,
    opened: Vec<usize>,
    next_spare: usize,
    serial: u32,
    pub(crate) receipts: Receipts,
    group: Option<Group<P::Command>>,
    pub(crate) beats: Beats,
    pub(crate) farewell: Farewell,
    /// Connections of ours that will never stand, as we were told.
    fallen: Vec<Id>,
    /// Panics in callbacks.
    pub(crate) panics: u64,
    pub(crate) marks: BTreeMap<usize, Marks>,
    /// Commands that were sent through handles in this round and the one before: at least
    /// those that wait in the inbox.
    pub(crate) sent_lately: [usize; 2],
}

impl<P: Speak> Host<P> {
    pub(crate) fn new(state: Shared, server: ServerHandle<P::Command>) -> Host<P> {
        let next_spare = state.borrow().lines.iter().position(|line| line.script.way == Way::Added);
        let group = state.borrow().plan.house.group.map(|(bytes, slow)| Group::new(bytes, slow));
        Host {
            next_spare: next_spare.unwrap_or(usize::MAX),
            state,
            handles: BTreeMap::new(),
            shut: Vec::new(),
            server,
            ids: BTreeMap::new(),
            opened: Vec::new(),
            serial: 0,
            receipts: Receipts::default(),
            group,
            beats: Beats::default(),
            farewell: Farewell::default(),
            fallen: Vec::new(),
            panics: 0,
            marks: BTreeMap::new(),
            sent_lately: [0; 2],
        }
    }

    /// The connection for a peer.
    pub(crate) fn connection<L: Between>(&self, line: usize) -> Connection<P, L> {
        let state = self.state.borrow();
        let script = &state.lines[line].script;
        let protocol = P::new(&state.lines[line].record, &state.contents);
        let layer = L::new(&state.lines[line].record);
        let mut connection = Connection::with_layer(protocol, layer).with_limits(script.limits);
        connection.inject_full(script.full);
        connection
    }

    /// Connects to a peer.
    pub(crate) fn call<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, line: usize) {
        let connection = self.connection(line);
        let (named, now) = {
            let state = self.state.borrow();
            (state.lines[line].script.named, state.now)
        };
        let target = match named {
            Some(within) => Target::name(format!("peer-{line}"), line as u16 + 1).within(within),
            None => Target::from(address_of(line)),
        };
        let begun = worker.connect(target, connection).ok();
        self.state.borrow_mut().lines[line].given_up = named.map(|within| now + within);
        self.on_own(line, begun);
    }

    /// The connection that is meant by `id`, which must be one that is there.
    fn line(&mut self, id: Id, what: &str) -> Option<usize> {
        let line = self.ids.get(&id).copied();
        let state = &mut *self.state.borrow_mut();
        state.progress += 1;
        match line {
            Some(line) if state.lines[line].reports == 0 => Some(line),
            Some(line) => {
                state.violate(Invariant::Report, line, format!("{what} behind its report"));
                None
            }
            None => {
                state.violate(Invariant::Report, None, format!("{what} of {id}, which is none"));
                None
            }
        }
    }

    /// Something that an application might do just now.
    pub(crate) fn act<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, outside: bool) {
        self.crowd(worker, outside);
        self.beat(worker);
        let Some(line) = self.victim_of_meddling() else { return };
        let id = self.state.borrow().lines[line].id;
        let flood = self.state.borrow_mut().strikes(Fault::Flood, line);
        let orders = if flood { 30 } else { 1 };
        for _ in 0..orders {
            self.send(worker, line, outside);
        }
        let Some(id) = id else { return };
        if self.state.borrow_mut().strikes(Fault::Meddling, line) {
            self.meddle(worker, line, id, outside);
        }
        if !outside && self.state.borrow_mut().strikes(Fault::Newcomers, line) {
            self.add(worker);
        }
    }

    fn victim_of_meddling(&mut self) -> Option<usize> {
        let state = &mut *self.state.borrow_mut();
        let last = state.lines.len() - 1;
        let line = state.random.between(0, last);
        (state.plan.victim != Some(line) && state.lines[line].id.is_some()).then_some(line)
    }

    fn add<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>) {
        let line = self.next_spare;
        let absent = self.state.borrow().plan.absent.contains(&line);
        if line >= self.state.borrow().lines.len() || absent {
            return;
        }
        self.next_spare += 1;
        let connection = self.connection(line);
        let added = worker.add(Stream(line), connection).ok();
        self.on_own(line, added);
    }

    /// A connection of our own was let in, or was not.
    fn on_own(&mut self, line: usize, id: Option<Id>) {
        self.ids.extend(id.map(|id| (id, line)));
        let state = &mut *self.state.borrow_mut();
        let (places, most) = (state.places(), state.plan.house.max_connections);
        let was_tried = state.lines[line].life != Life::Absent;
        if id.is_some() && places > most {
            state.violate(Invariant::Bounds, line, format!("{places} connections are open, {most} may be"));
        }
        if id.is_some() {
            (state.lines[line].id, state.lines[line].has_place) = (id, true);
        }
        let places = places.max(state.places());
        let is_tight = state.plan.house.memory.is_some();
        if id.is_none() && !was_tried && !is_tight && places < most {
            state.violate(Invariant::Bounds, line, format!("it is refused, and {places} are connected"));
        }
    }

    fn send<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, line: usize, outside: bool) {
        let (id, codes) = {
            let state = &mut *self.state.borrow_mut();
            let Some(id) = state.lines[line].id else { return };
            let mut codes = [0; 3];
            codes.fill_with(|| super::actor::code(&mut state.random, false));
            (id, codes)
        };
        let serial = self.serial;
        let Some(order) = P::order(Order { serial, codes }) else { return };
        self.serial += 1;
        let through_handle = outside || serial.is_multiple_of(2);
        let weight = weight::<P>(&order);
        let sent = if through_handle {
            let Some(handle) = self.handle(worker, line, id, outside) else { return };
            if serial.is_multiple_of(3) {
                handle.send_tracked(order).map(Some)
            } else {
                handle.send(order).map(|()| None)
            }
        } else {
            self.mark(worker, line, id);
            worker.send(id, order).map(|()| None)
        };
        self.sent_lately[1] += usize::from(through_handle);
        let inbox_may_be_full =
            through_handle && self.sent_lately.iter().sum::<usize>() > self.state.borrow().plan.commands;
        let state = &mut *self.state.borrow_mut();
        let (cap, most) = (state.plan.commands_per_connection as usize, state.plan.house.command_bytes as usize);
        let (is_open, record) = (state.lines[line].has_place, state.lines[line].record.clone());
        let record = &mut *record.borrow_mut();
        let (waiting, bytes) = record.waiting();
        match sent {
            Ok(receipt) => {
                state.event(30, line, u64::from(serial), || format!("command {serial} is accepted"));
                record.orders[usize::from(through_handle)].push_back(serial);
                record.weights.insert(serial, weight);
                if let Some(receipt) = receipt {
                    self.receipts.add(line, serial, receipt);
                }
                if waiting.start() + 1 > cap {
                    record.break_it(Invariant::Bounds, format!("{} commands wait, {cap} may", waiting.start() + 1));
                }
                if bytes.start() + weight > most {
                    let waits = bytes.start() + weight;
                    record.break_it(Invariant::Bounds, format!("{waits} bytes of commands wait, {most} may"));
                }
                if !is_open || self.shut.contains(&line) {
                    record.break_it(Invariant::Report, format!("command {serial} was accepted behind the close"));
                }
            }
            Err(SendError::Full(_)) => {
                state.event(31, line, u64::from(serial), || format!("command {serial} does not fit"));
                let is_tight = state.plan.house.memory.is_some();
                if !inbox_may_be_full && !is_tight && *waiting.end() < cap && bytes.end() + weight <= most {
                    let text = format!("a command is refused though only {waiting:?} of {bytes:?} bytes wait");
                    record.break_it(Invariant::Bounds, text);
                }
            }
            Err(SendError::TooLarge(_)) if weight > most => {
                state.event(38, line, u64::from(serial), || format!("command {serial} is too large"));
            }
            Err(SendError::TooLarge(_)) => record.break_it(Invariant::Bounds, "a command is called too large"),
            Err(SendError::Closed(_)) => {
                state.event(32, line, u64::from(serial), || format!("command {serial} is too late"));
                if is_open && !record.facts.close_asked && !record.facts.abort_asked {
                    record.break_it(Invariant::Report, "a command is refused as if the connection were closed");
                }
            }
        }
    }

    /// The first handle is about to be made, or what stands behind it.
    fn mark<L: Between>(&mut self, worker: &Worker<P, L, SimNet>, line: usize, id: Id) {
        let made = self.state.borrow().round_at;
        if worker.connection(id).is_some() {
            self.marks.entry(line).or_insert(Marks { made, is_known: !worker.is_coming(id) });
        }
    }

    /// From outside, only one that was asked for in a callback.
    pub(super) fn handle<L: Between>(
        &mut self,
        worker: &mut Worker<P, L, SimNet>,
        line: usize,
        id: Id,
        outside: bool,
    ) -> Option<&Handle<P::Command>> {
        if !outside && !self.handles.contains_key(&line) {
            self.mark(worker, line, id);
            let handle = worker.handle(id)?;
            handle.set_tag(line as u64 + 7);
            self.handles.insert(line, handle);
        }
        self.handles.get(&line)
    }

    /// Its end was asked for through a handle.
    pub(crate) fn is_shut(&self, line: usize) -> bool {
        self.shut.contains(&line)
    }

    fn meddle<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, line: usize, id: Id, outside: bool) {
        let n = self.state.borrow_mut().random.between(0, 3);
        let aborts = n == 0;
        let through_handle = outside || n == 1;
        if through_handle && self.handle(worker, line, id, outside).is_none() {
            return;
        }
        {
            let state = &mut *self.state.borrow_mut();
            state.event(33, line, n as u64, || {
                format!("the application {}s it", if aborts { "abort" } else { "close" })
            });
            let mut record = state.lines[line].record.borrow_mut();
            let serial = self.serial;
            if aborts {
                record.facts.abort_asked = true;
            } else {
                record.last_order.get_or_insert(serial);
                record.facts.close_asked = true;
            }
        }
        // A close goes the way of the handle once there is one.
        if through_handle || (!aborts && self.handles.contains_key(&line)) {
            self.shut.push(line);
        }
        match (through_handle, aborts) {
            (true, true) => self.handles[&line].abort(),
            (true, false) => self.handles[&line].close(),
            (false, true) => worker.abort(id),
            (false, false) => worker.close(id),
        }
    }
}

impl<P: Speak, L: Between> Application<SimNet, P, L> for Host<P> {
    fn accept(&mut self, _: &mut Worker<P, L, SimNet>, _: Id, peer: &Address) -> Option<Connection<P, L>> {
        let line = line_of(peer);
        self.state.borrow_mut().check_welcome(line);
        if self.state.borrow_mut().strikes(Fault::TurnedAway, line) {
            let state = &mut *self.state.borrow_mut();
            state.event(34, line, 0, || "is turned away".into());
            state.end(line);
            return None;
        }
        if self.state.borrow_mut().strikes(Fault::CallbackPanics, line) {
            self.state.borrow_mut().end(line);
            self.panic("accept");
        }
        Some(self.connection(line))
    }

    fn opened(&mut self, worker: &mut Worker<P, L, SimNet>, id: Id) {
        let found = self.state.borrow().lines.iter().position(|line| line.id == Some(id));
        if let Some(line) = found {
            self.ids.insert(id, line);
        }
        let Some(line) = self.line(id, "opened") else { return };
        self.state.borrow_mut().event(35, line, 0, || "is open".into());
        if self.opened.contains(&line) {
            self.state.borrow_mut().violate(Invariant::Report, line, "opened twice");
        }
        self.opened.push(line);
        if self.state.borrow_mut().random.one_in(2) {
            self.act(worker, false);
        }
        self.may_panic(line);
    }

    fn event(&mut self, worker: &mut Worker<P, L, SimNet>, id: Id, event: P::Event) {
        let Some(line) = self.line(id, "an event") else { return };
        let serial = P::serial(&event);
        {
            let state = &mut *self.state.borrow_mut();
            state.event(36, line, u64::from(serial), || format!("event {serial} is told"));
            state.spend(line, 0);
            let due = state.lines[line].record.borrow_mut().untold.pop_front();
            if due != Some(serial) {
                state.violate(Invariant::Output, line, format!("event {serial} is told, {due:?} was due"));
            }
        }
        if self.state.borrow_mut().random.one_in(4) {
            self.act(worker, false);
        }
        self.may_panic(line);
    }

    fn closed(&mut self, worker: &mut Worker<P, L, SimNet>, id: Id, report: CloseReport<P::Error>) {
        self.check_fall(id, &report);
        if !self.ids.contains_key(&id) {
            let found = self.state.borrow().lines.iter().position(|line| line.id == Some(id));
            self.ids.extend(found.map(|line| (id, line)));
        }
        let Some(line) = self.line(id, "a report") else { return };
        let reason = in_words(&report.reason);
        if worker.drain_report().is_some() {
            self.on_farewell(worker, line, id, &report);
        }
        {
            let state = &mut *self.state.borrow_mut();
            state.lines[line].has_place = false;
            {
                let mut record = state.lines[line].record.borrow_mut();
                record.ended_as = Some(Dropped::from(&report.reason));
                record.lanes.iter_mut().for_each(Lane::on_end);
            }
            state.event(37, line, report.counters.sent, || format!("closed: {}", report.reason));
            state.lines[line].reports += 1;
            if state.sabotage == Some(Sabotage::ReportsTwice) {
                state.lines[line].reports += 1;
            }
            if reason == Reason::Shed {
                state.note_shed();
            }
            let (open, in_flight) = state.disk.count(line);
            let record = state.lines[line].record.clone();
            let record = record.borrow();
            if let Err(violation) = record.check_report(&reason, report.counters, in_flight, state.now) {
                state.violate(violation.invariant, line, violation.text);
            }
            let spare =
                state.lines[line].room() > 0 && !state.lines[line].write_spurious && state.lines[line].fault.is_none();
            let spare = spare && state.lines[line].connecting == Connecting::Stands;
            if reason == Reason::Stalled && spare {
                state.violate(Invariant::Report, line, "stalled, and the transport would take more");
            }
            let whole = state.plan.budget >= ONE_TURN;
            let owed = report.counters.unsent > 0 && reason == Reason::Aborted;
            if state.dropped && whole && owed && spare && record.may_flush(state.now) {
                state.violate(Invariant::Output, line, "cut off by a drop, and the transport would take more");
            }
            let due = if report.is_abort() { Release::Reset } else { Release::Close };
            let had_stream = state.lines[line].has_begun || state.lines[line].released.is_some();
            if had_stream && state.lines[line].released != Some(due) {
                let how = state.lines[line].released;
                state.violate(
                    Invariant::Report,
                    line,
                    format!("the stream was closed as {how:?}; {reason:?} is {due:?}"),
                );
            }
            if open > 0 {
                state.violate(Invariant::Baseline, line, format!("{open} of its files are still open"));
            }
            if state.lines[line].reports > 1 {
                state.violate(Invariant::Report, line, "two reports");
            }
        }
        if worker.connection(id).is_some() {
            self.state.borrow_mut().violate(Invariant::Report, line, "its id still leads somewhere");
        }
        if self.state.borrow_mut().random.one_in(2) {
            self.act(worker, false);
        }
        if self.state.borrow_mut().strikes(Fault::CallbackPanics, line) {
            self.panic("closed");
        }
    }

    fn written_out(&mut self, _: &mut Worker<P, L, SimNet>, id: Id) {
        let Some(line) = self.line(id, "written out") else { return };
        {
            let state = &mut *self.state.borrow_mut();
            state.event(51, line, 0, || "is written out".into());
            let owed = {
                let record = state.lines[line].record.borrow();
                if record.speech == Speech::Actor { record.expected.len() - record.taken } else { 0 }
            };
            if owed > 0 {
                state.violate(Invariant::Report, line, format!("it is written out, and {owed} bytes are owed"));
            }
        }
        self.may_panic(line);
    }

    fn started(&mut self, _: &mut Worker<P, L, SimNet>) {
        let state = self.state.borrow();
        self.beats.has_started = true;
        self.beats.tick =
            state.plan.house.tick.map(|period| Beat { due: state.now + period, period: Some(period), calls: 0 });
    }

    fn stopped(&mut self, _: &mut Worker<P, L, SimNet>) {
        if mem::replace(&mut self.beats.has_stopped, true) {
            self.state.borrow_mut().violate(Invariant::Report, None, "the worker stopped twice");
        }
    }

    fn notice(&mut self, _: &mut Worker<P, L, SimNet>, notice: Notice<'_>) {
        if let Notice::ShutdownBegan { .. } = notice {
            self.on_shutdown();
            self.on_drain();
        } else if let Notice::ConnectFailed { id, .. } = notice {
            self.on_connect_failed(id);
        }
    }

    fn tick(&mut self, worker: &mut Worker<P, L, SimNet>) {
        self.on_tick(worker);
    }

    fn timer(&mut self, worker: &mut Worker<P, L, SimNet>, name: &'static str) {
        self.on_timer(worker, name);
    }
}

/// What a command takes of the bounds: its own weight, and what it costs to let it wait.
fn weight<P: Speak>(command: &P::Command) -> usize {
    P::weigh(command) + size_of::<Waiting<P::Command>>() - size_of::<P::Command>()
}

/// The reason, with the protocol's own error in words.
fn in_words<E: fmt::Display>(reason: &Reason<E>) -> Reason<String> {
    match reason {
        Reason::Finished => Reason::Finished,
        Reason::Requested => Reason::Requested,
        Reason::Peer(error) => Reason::Peer(error.to_string()),
        Reason::Limit(limit) => Reason::Limit(*limit),
        Reason::Misuse(misuse) => Reason::Misuse(*misuse),
        Reason::Transport(error) => Reason::Transport(*error),
        Reason::File(error) => Reason::File(*error),
        Reason::Layer(error) => Reason::Layer(*error),
        Reason::Stalled => Reason::Stalled,
        Reason::Aborted => Reason::Aborted,
        Reason::Panicked => Reason::Panicked,
        Reason::Shed => Reason::Shed,
    }
}

/// Whether a connection has been accepted and not closed.
pub(crate) fn is_between(life: Life) -> bool {
    matches!(life, Life::Accepted | Life::Open)
}
