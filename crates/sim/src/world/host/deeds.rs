//! What the application of a world does besides: groups, timers, panics; and what it
//! notes for the end.

use super::{Host, Speak, weight};
use crate::world::actor::{Order, code};
use crate::world::beats::{Beat, CALLS, NAMES};
use crate::world::crowd::{GROUP, Lane, Member, Message, Tally};
use crate::world::line::Line;
use crate::world::net::{SimNet, address_of};
use crate::world::plan::{Speech, Way};
use crate::world::record::Call;
use crate::world::run::IDLE_BEFORE;
use crate::world::shutdown::{Idle, Lost};
use crate::world::swarm::Fault;
use crate::world::veil::Between;
use crate::world::violation::Invariant;
use drywire_core::{CloseReport, Reason, Time};
use drywire_server::{Id, SendError, Sent, Slow, Worker};
use std::panic::resume_unwind;
use std::time::Duration;

impl<P: Speak> Host<P> {
    // Groups.

    /// Somebody joins or leaves the group, or a message is sent to it.
    pub(super) fn crowd<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, outside: bool) {
        let Some(group) = self.group.clone() else { return };
        let (what, line) = {
            let state = &mut *self.state.borrow_mut();
            let last = state.lines.len() - 1;
            (state.luck.between(0, 9), state.luck.between(0, last))
        };
        match what {
            0..=3 => self.join_or_leave(worker, line, what == 0, outside),
            4..=5 => {
                for _ in 0..what - 3 {
                    self.send_to_all(worker, &group);
                }
            }
            _ => {}
        }
    }

    fn join_or_leave<L: Between>(
        &mut self,
        worker: &mut Worker<P, L, SimNet>,
        line: usize,
        leaves: bool,
        outside: bool,
    ) {
        let (id, is_spared) = {
            let state = self.state.borrow();
            (state.lines[line].id, state.plan.victim == Some(line))
        };
        let (Some(id), false) = (id, is_spared) else { return };
        let Some(handle) = self.handle(worker, line, id, outside).cloned() else { return };
        let Some(group) = &self.group else { return };
        let state = &mut *self.state.borrow_mut();
        let has_ended = state.lines[line].reports > 0;
        let record = state.lines[line].record.clone();
        let lanes = &mut record.borrow_mut().lanes;
        let was_member = lanes.last().is_some_and(|lane| lane.is_member);
        let is_unsure = lanes.last().is_some_and(|lane| lane.is_unsure);
        let (done, due) = if leaves {
            (group.leave(&handle), was_member)
        } else {
            (group.join(&handle), handle.is_open() && !was_member)
        };
        state.event(52, line, u64::from(leaves) + 2 * u64::from(done), || {
            format!("{} the group: {done}", if leaves { "leaves" } else { "joins" })
        });
        // Who has ended may have been found out.
        if done != due && !has_ended && !is_unsure {
            state.violate(Invariant::Report, line, format!("joining or leaving the group says {done}, not {due}"));
        }
        match (done, leaves) {
            (true, true) => lanes.iter_mut().for_each(|lane| lane.is_member = false),
            (true, false) => lanes.push(Lane::new()),
            (false, _) => {}
        }
    }

    fn send_to_all<L: Between>(&mut self, worker: &Worker<P, L, SimNet>, group: &drywire_server::Group<P::Command>) {
        let (serial, codes) = {
            let state = &mut *self.state.borrow_mut();
            let mut codes = [0; 3];
            codes.fill_with(|| code(&mut state.luck, false));
            (self.serial, codes)
        };
        let Some(order) = P::order(Order { serial: serial | GROUP, codes }) else { return };
        self.serial += 1;
        let message = Message { serial: serial | GROUP, weight: weight::<P>(&order) };
        let Some((bytes, slow)) = self.state.borrow().plan.house.group else { return };
        let members = self.members(worker);
        let was_open: Vec<(usize, bool)> =
            members.iter().map(|(line, _)| (*line, self.handles[line].is_open())).collect();
        let sent = group.send(order);
        let state = &mut *self.state.borrow_mut();
        state.event(53, usize::MAX, u64::from(serial), || format!("message {serial} to the group: {sent:?}"));
        let is_large = message.weight > bytes as usize && !members.is_empty();
        let sent = match sent {
            Ok(sent) if !is_large => sent,
            Err(SendError::TooLarge(_)) if is_large => return,
            // Those that had ended may all be gone.
            Ok(sent) if sent == Sent::default() => sent,
            Ok(_) | Err(_) => {
                return state.violate(Invariant::Bounds, None, format!("message {serial} is {message:?}"));
            }
        };
        let mut tally = Tally { least: Sent::default(), most: Sent::default() };
        for (line, member) in members {
            let record = state.lines[line].record.clone();
            let lanes = &mut record.borrow_mut().lanes;
            let lane = lanes.last_mut().expect("it is a member");
            tally.add(lane.on_sent(message, member, bytes as usize, slow));
        }
        if !tally.contains(&sent) {
            state.violate(
                Invariant::Output,
                None,
                format!("message {serial} of the group: {sent:?}, and not {tally:?}"),
            );
        }
        for (line, was_open) in was_open {
            if slow == Slow::Close && was_open && !self.handles[&line].is_open() {
                self.shut.push(line);
                let mut record = state.lines[line].record.borrow_mut();
                let serial = self.serial;
                record.last_order.get_or_insert(serial);
                record.facts.close_asked = true;
            }
        }
    }

    /// The members, and what decides about a message for each.
    fn members<L: Between>(&self, worker: &Worker<P, L, SimNet>) -> Vec<(usize, Member)> {
        let state = self.state.borrow();
        let mut members = Vec::new();
        for (number, line) in state.lines.iter().enumerate() {
            let record = line.record.borrow();
            let Some((lane, before)) = record.lanes.split_last().filter(|(lane, _)| lane.is_member) else { continue };
            debug_assert!(lane.is_member);
            let holds =
                line.id.and_then(|id| worker.connection(id)).is_some_and(|connection| connection.holds_command());
            let held = match record.refused {
                Some(Call::Command(serial)) if holds => Some(serial),
                Some(_) | None => None,
            };
            let (mut count, mut bytes) = record.ordered();
            for lane in before {
                count += lane.waiting().0.start();
                bytes += lane.waiting().1.start();
            }
            members.push((
                number,
                Member {
                    is_open: self.handles[&number].is_open(),
                    has_ended: line.reports > 0,
                    holds,
                    held,
                    count,
                    bytes,
                    most: state.plan.commands_per_connection as usize,
                    most_bytes: state.plan.house.command_bytes as usize,
                },
            ));
        }
        members
    }

    // Timers.

    /// A timer is set, or cancelled.
    pub(super) fn beat<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>) {
        let (what, name, micros, now) = {
            let state = &mut *self.state.borrow_mut();
            let luck = &mut state.luck;
            (luck.between(0, 19), luck.pick(&NAMES), luck.pick(&[0, 200, 1000, 3300, 25_000, 80_000]), state.now)
        };
        let after = Duration::from_micros(micros);
        match what {
            0 | 1 => {
                worker.set_timer(name, after);
                self.beats.named.insert(name, Beat { due: now + after, period: None, calls: 0 });
            }
            2 => {
                let period = after.max(Duration::from_millis(1));
                worker.repeat_timer(name, after);
                self.beats.named.insert(name, Beat { due: now + period, period: Some(period), calls: 0 });
            }
            3 => self.cancel(worker, name),
            _ => {}
        }
    }

    fn cancel<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, name: &'static str) {
        let (was_set, due) = (worker.cancel_timer(name), self.beats.named.remove(name).is_some());
        if was_set != due {
            let text = format!("timer {name:?} is cancelled: {was_set}, not {due}");
            self.state.borrow_mut().violate(Invariant::Report, None, text);
        }
    }

    pub(super) fn on_tick<L: Between>(&mut self, _: &mut Worker<P, L, SimNet>) {
        let now = self.begin_beat("the tick");
        let result = self.beats.on_tick(now);
        self.end_beat("the tick", result);
        let progress = self.state.borrow().progress;
        let is_idle = progress == self.beats.progress + 1;
        self.beats.idle_ticks = if is_idle { self.beats.idle_ticks + 1 } else { 0 };
        self.beats.progress = progress;
        if self.state.borrow_mut().plan.swarm.strikes_all(Fault::CallbackPanics) {
            self.panic("tick");
        }
    }

    pub(super) fn on_timer<L: Between>(&mut self, worker: &mut Worker<P, L, SimNet>, name: &'static str) {
        let now = self.begin_beat(name);
        let result = self.beats.on_timer(name, now);
        self.end_beat(name, result);
        if self.beats.named.get(name).is_some_and(|beat| beat.calls >= CALLS) {
            self.cancel(worker, name);
        }
        if self.state.borrow_mut().plan.swarm.strikes_all(Fault::CallbackPanics) {
            self.panic(name);
        }
        let acts = self.state.borrow_mut().luck.one_in(3);
        if acts {
            self.act(worker, false);
        }
    }

    fn begin_beat(&mut self, what: &str) -> Time {
        let state = &mut *self.state.borrow_mut();
        state.progress += 1;
        state.event(54, usize::MAX, what.len() as u64, || format!("{what} is called"));
        // A driver that is dropped makes no rounds any more; the world does.
        if (self.beats.has_stopped && !state.dropped) || !self.beats.has_started {
            state.violate(Invariant::Report, None, format!("{what} outside of the worker's life"));
        }
        state.round_at
    }

    fn end_beat(&mut self, what: &str, result: Result<(), String>) {
        if let Err(text) = result {
            self.state.borrow_mut().violate(Invariant::Progress, None, format!("{what} is called {text}"));
        }
    }

    // Connections of ours.

    pub(super) fn on_connect_failed(&mut self, id: Id) {
        let Some(line) = self.ids.get(&id).copied() else { return };
        let state = &mut *self.state.borrow_mut();
        state.progress += 1;
        state.event(56, line, 0, || "will never stand".into());
        if self.fallen.contains(&id) || self.opened.contains(&line) || state.lines[line].reports > 0 {
            state.violate(Invariant::Report, line, "told again that it will never stand, or too late");
        }
        // Given up in time, or in vain.
        state.lines[line].record.borrow_mut().facts.refused = true;
        let early = state.lines[line].given_up.is_some_and(|at| at > state.now);
        let may_fail = state.plan.swarm.is_on(Fault::NoName)
            || state.plan.swarm.is_on(Fault::NoConnection)
            || state.plan.swarm.is_on(Fault::NoRegistration);
        if early && !may_fail {
            state.violate(Invariant::Progress, line, "it is given up before its time");
        }
        self.fallen.push(id);
    }

    /// Whoever never stood ends behind a notice of it, unless somebody has ended it.
    pub(super) fn check_fall(&mut self, id: Id, report: &CloseReport<P::Error>) {
        let Some(line) = self.ids.get(&id).copied() else { return };
        let state = &mut *self.state.borrow_mut();
        let never_stood = state.lines[line].script.way == Way::Called && !self.opened.contains(&line);
        if never_stood && matches!(report.reason, Reason::Transport(_)) && !self.fallen.contains(&id) {
            state.violate(Invariant::Report, line, "it never stood, and nobody was told");
        }
    }

    /// Nobody waits for longer than was said. Answers whose line it is.
    pub(crate) fn late_call(&self, late: Duration) -> Option<usize> {
        let state = self.state.borrow();
        let is_late = |(number, line): (usize, &Line)| {
            let waits = line.has_place && !self.opened.contains(&number);
            let over = line.given_up.is_some_and(|at| at.max(state.excused_until) + late < state.now);
            (waits && over).then_some(number)
        };
        state.lines.iter().enumerate().find_map(is_late)
    }

    // Panics.

    /// A callback about one connection may panic: that ends the connection.
    pub(super) fn may_panic(&mut self, line: usize) {
        if self.state.borrow_mut().strikes(Fault::CallbackPanics, line) {
            self.state.borrow().lines[line].record.borrow_mut().facts.panicked = true;
            self.panic("a callback");
        }
    }

    /// Without the hook, which is for panics that nobody planned.
    pub(super) fn panic(&mut self, what: &str) -> ! {
        self.panics += 1;
        self.state.borrow_mut().event(55, usize::MAX, 0, || format!("{what} panics"));
        resume_unwind(Box::new("on purpose"))
    }

    // The end.

    /// A shutdown is asked for, or begins.
    pub(crate) fn on_shutdown(&mut self) {
        let state = self.state.borrow();
        let open = self.ids.values().filter(|line| state.lines[**line].reports == 0).count();
        self.farewell.open.get_or_insert(open);
        self.farewell.asked_at.get_or_insert(state.now);
    }

    /// It begins: which connections are idle.
    pub(super) fn on_drain(&mut self) {
        let state = self.state.borrow();
        let Some(asked_at) = self.farewell.asked_at else { return };
        for line in self.ids.values() {
            let record = state.lines[*line].record.borrow();
            if record.last_move + IDLE_BEFORE <= asked_at && !record.is_unanswered && record.owes_nothing() {
                let is_sure = !record.has_ended() && !record.may_be_late();
                self.farewell.idle.insert(*line, Idle { is_sure, fed: record.fed.len() });
            }
        }
    }

    /// A connection has ended in a shutdown.
    pub(super) fn on_farewell<L: Between>(
        &mut self,
        worker: &Worker<P, L, SimNet>,
        line: usize,
        id: Id,
        report: &CloseReport<P::Error>,
    ) {
        let state = self.state.borrow();
        let (record, way) = (state.lines[line].record.borrow(), state.lines[line].script.way);
        let is_silent = record.fed.is_empty() && report.counters.sent == 0;
        let idle = self.farewell.idle.get(&line).filter(|idle| idle.fed == record.fed.len());
        let may_be_idle = report.counters.unsent == 0 && (is_silent || idle.is_some());
        // Commands that wait, and last words, are written behind the beginning of the shutdown.
        let is_idle = record.speech != Speech::Actor && way != Way::Called && idle.is_none_or(|idle| idle.is_sure);
        let is_finished = if !report.is_abort() && record.fed_end {
            true
        } else if may_be_idle && !is_idle {
            let named = worker.drain_report().and_then(|report| report.cut.last());
            named.is_none_or(|cut| cut.id != id)
        } else {
            may_be_idle
        };
        if is_finished {
            self.farewell.finished += 1;
            return;
        }
        let stood = way != Way::Called || self.opened.contains(&line);
        let peer = stood.then(|| address_of(line));
        let (sent, unsent) = (report.counters.sent, report.counters.unsent);
        self.farewell.cut.push(Lost { id, peer, sent, unsent });
    }
}
