//! What must hold between two rounds, while the server waits, and at the end.

use super::World;
use crate::world::agenda::Coming;
use crate::world::host::is_between;
use crate::world::line::Life;
use crate::world::plan::Speech;
use crate::world::record::{Call, Ending, is_limited};
use crate::world::speak::Speak;
use crate::world::state::State;
use crate::world::state::admission::PATIENCE;
use crate::world::veil::Between;
use crate::world::violation::{Invariant, Violation};
use drywire_core::{Limits, Time};
use drywire_server::{Commons, Connecting};
use std::time::Duration;

/// What a deadline may be late by: rounds take a few microseconds each.
const LATE: Duration = Duration::from_millis(3);

/// What was due before this time can only be late.
fn excused(state: &State) -> Time {
    let late = state.now.saturating_since(Time::ZERO + LATE);
    // Behind a pause everything is late.
    if state.excused_until + LATE < state.now { Time::ZERO + late } else { Time::ZERO }
}

/// How often those who wait for memory look whether there is some.
const LOOKS: Duration = Duration::from_millis(20);

/// I6: nothing is counted of what is gone.
pub(super) fn nothing_left(commons: &Commons) -> Result<(), Violation> {
    let left = (commons.connections(), commons.addresses(), commons.held_bytes());
    if left == (0, 0, 0) {
        return Ok(());
    }
    let text = format!("connections, addresses and bytes are counted that are gone: {left:?}");
    Err(Violation::new(Invariant::Baseline, None, text))
}

impl<P: Speak, L: Between> World<P, L> {
    /// I2: what is held.
    pub(super) fn check_bounds(&self) -> Result<(), Violation> {
        let state = self.state.borrow();
        for (number, line) in state.lines.iter().enumerate().filter(|(_, line)| line.is_open()) {
            let Some(connection) = line.id.and_then(|id| self.rounds.connection(id)) else {
                return Err(Violation::new(Invariant::Report, number, "it is gone without a report"));
            };
            let limits = &line.script.limits;
            let most = limits.input_bytes as usize + limits.output_bytes as usize + drywire_core::ERROR_REPLY_BYTES;
            let most = most + line.record.borrow().veiled_ahead();
            if connection.held_bytes() > most {
                let held = connection.held_bytes();
                return Err(Violation::new(Invariant::Bounds, number, format!("{held} bytes are held, {most} may be")));
            }
        }
        Ok(())
    }

    /// What connections and commands hold fits into the budget; and pressure begins when
    /// they hold something.
    pub(super) fn check_memory(&self) -> Result<(), Violation> {
        let state = &mut *self.state.borrow_mut();
        if state.plan.house.memory.is_none() {
            return Ok(());
        }
        let (mut held, mut there, mut is_calm) = (0, 0, true);
        for line in state.lines.iter().filter(|line| line.is_open()) {
            let connection = line.id.and_then(|id| self.rounds.connection(id));
            held += connection.map_or(0, |connection| connection.held_bytes());
            there += connection.map_or(0, |connection| connection.heap_bytes());
            is_calm &= connection.is_none_or(|connection| connection.heap_bytes() == 0);
            held += line.record.borrow().weights.values().sum::<usize>();
        }
        let counted = self.commons.held_bytes();
        if there > counted {
            let text = format!("{there} bytes are there, and {counted} are counted");
            return Err(Violation::new(Invariant::Bounds, None, text));
        }
        let budget = self.commons.memory_bytes();
        if held > budget {
            let text = format!("{held} bytes are held by all, and the budget is {budget}");
            return Err(Violation::new(Invariant::Bounds, None, text));
        }
        if is_calm && state.now > state.hard_until {
            let at = state.now + PATIENCE;
            state.set_shed_from(at);
        }
        Ok(())
    }

    /// It may have to wait for memory; then somebody looks again soon (FAULTS 25).
    fn may_be_starved(&self, state: &State) -> bool {
        let budget = self.commons.memory_bytes();
        let free = budget - self.commons.held_bytes().min(budget);
        let is_short = state.plan.house.memory.is_some() && free < self.growth + budget / 8;
        let looks = self.rounds.next_deadline().is_some_and(|at| at <= state.now + LOOKS + LATE);
        is_short && looks
    }

    /// What is counted is what the world counts (FAULTS 25, 26).
    pub(super) fn check_counts(&self) -> Result<(), Violation> {
        let state = self.state.borrow();
        let panics = self.host.panics + state.lines.iter().map(|line| line.record.borrow().panics).sum::<u64>();
        if self.rounds.panics() != panics {
            let caught = self.rounds.panics();
            return Err(Violation::new(
                Invariant::Panic,
                None,
                format!("{caught} panics were caught, {panics} were on purpose"),
            ));
        }
        let hosts = state.shares().iter().filter(|share| **share > 0).count();
        let due = (state.places(), hosts);
        let counted = (self.commons.connections(), self.commons.addresses());
        if counted != due || self.rounds.len() != due.0 {
            let len = self.rounds.len();
            let text =
                format!("{counted:?} connections and addresses are counted, {len} by the worker; there are {due:?}");
            return Err(Violation::new(Invariant::Baseline, None, text));
        }
        Ok(())
    }

    fn is_active(&self, line: usize) -> bool {
        self.phase(line).contains("\"active\"")
    }

    /// The phase of a connection, which only its description tells.
    fn phase(&self, line: usize) -> String {
        let id = self.state.borrow().lines[line].id;
        id.and_then(|id| self.rounds.connection(id)).map_or_else(String::new, |connection| format!("{connection:?}"))
    }

    /// The server waits: nobody may have something to do, and no deadline may be over (I3).
    pub(super) fn check_wait(&self) -> Result<(), Violation> {
        let state = self.state.borrow();
        if self.host.beats.is_late(excused(&state)) {
            let text = format!("a timer was forgotten: {:?}", self.host.beats);
            return Err(Violation::new(Invariant::Progress, None, text));
        }
        if let Some(line) = self.host.late_call(LATE) {
            return Err(Violation::new(Invariant::Progress, line, "it does not stand in time, and was not given up"));
        }
        if self.stopped && !self.rounds.is_empty() {
            let left = self.rounds.len();
            let text = format!("it was told to stop at once, and waits with {left} connections");
            return Err(Violation::new(Invariant::Progress, None, text));
        }
        let may_be_starved = self.may_be_starved(&state);
        for (number, line) in state.lines.iter().enumerate() {
            if line.is_open()
                && !may_be_starved
                && !line.has_news()
                && !state.answers.iter().any(|(line, _)| *line == number)
            {
                self.check_idle(&state, number)?;
                self.check_deadlines(&state, number)?;
            }
        }
        Ok(())
    }

    /// Whoever could do something does it.
    fn check_idle(&self, state: &State, number: usize) -> Result<(), Violation> {
        let line = &state.lines[number];
        let record = line.record.borrow();
        let found = |text: String| Err(Violation::new(Invariant::Progress, number, format!("it waits, and {text}")));
        if !record.untold.is_empty() {
            return found(format!("{} events are not told", record.untold.len()));
        }
        if line.connecting != Connecting::Stands {
            return match line.connecting {
                Connecting::Failed => found("it will never stand".into()),
                Connecting::Pending | Connecting::Stands => Ok(()),
            };
        }
        let (open, in_flight) = state.disk.count(number);
        if line.fault.is_some() && line.is_readable() && line.room() > 0 && record.reading && in_flight == 0 {
            return found("the transport has failed".into());
        }
        if line.room() == 0 || line.fault.is_some() {
            return Ok(());
        }
        // The transport would take more, so nothing can be blocked by it.
        if in_flight == 0 && line.is_readable() && (record.reading || !self.is_active(number)) {
            return found(format!("{} bytes of input are there", line.arrived - line.read));
        }
        if record.owes_nothing() && in_flight == 0 && open > 0 {
            return Err(Violation::new(
                Invariant::Baseline,
                number,
                format!("{open} files are open that nobody needs"),
            ));
        }
        let is_due = |at: Time| at == Time::ZERO || at.max(state.excused_until) + LATE < state.now;
        if record.facts.drain_due.is_some_and(is_due) && in_flight == 0 && self.is_active(number) {
            return found("it was never told of the shutdown".into());
        }
        let has_messages = record.lanes.iter().any(|lane| *lane.waiting().0.start() > 0);
        let quiet = record.owes_nothing()
            && !has_messages
            && record.refused.is_none()
            && record.room.is_none()
            && record.orders.iter().all(|orders| orders.is_empty())
            && !record.has_ended();
        if quiet {
            return Ok(());
        }
        let phase = self.phase(number);
        if phase.contains("\"active\"") {
            if !record.owes_nothing() {
                return found(format!("{} bytes are owed", record.expected.len() - record.taken));
            }
            if let Some(call) = record.refused {
                return found(format!("a call was refused and not made again: {call:?}"));
            }
            if in_flight == 0 && record.room.is_some() {
                return found("there is the room that was asked for".into());
            }
            if in_flight == 0 && (has_messages || record.orders.iter().any(|orders| !orders.is_empty())) {
                return found("a command was not handed over".into());
            }
            if record.ending == Ending::HalfClose && !record.half_closed {
                return found("its half-close was forgotten".into());
            }
            let ended = record.has_ended() && (record.speech != Speech::Actor || record.ending > Ending::HalfClose);
            if ended && in_flight == 0 {
                return found("it has ended".into());
            }
        } else if phase.contains("\"flushing\"") {
            return found("all is flushed, and the close goes no further".into());
        } else if phase.contains("\"lingering\"") && !record.half_closed {
            return found("its peer was never told of the end".into());
        }
        Ok(())
    }

    /// No deadline is over by more than a pause explains.
    fn check_deadlines(&self, state: &State, number: usize) -> Result<(), Violation> {
        let line = &state.lines[number];
        let record = line.record.borrow();
        let is_over = |from: Time, ms: u32| {
            let at = from + Duration::from_millis(u64::from(ms));
            is_limited(ms) && at.max(state.excused_until) + LATE < state.now
        };
        let late =
            |what: &str| Err(Violation::new(Invariant::Progress, number, format!("{what} is over and was not kept")));
        if record.facts.drain_ends.is_some_and(|at| at.max(state.excused_until) + LATE < state.now) {
            return late("the end of the shutdown");
        }
        let (_, in_flight) = state.disk.count(number);
        let idle = record.opened && in_flight == 0 && !record.is_opening() && !record.fed_end && record.owes_nothing();
        if idle && is_over(record.last_move, record.limits.idle_ms) && self.is_active(number) {
            return late("the idle deadline");
        }
        let Limits { first_byte_ms, message_ms, .. } = record.limits;
        let waits = idle && record.reading && record.refused.is_none() && self.is_active(number);
        // An actor may not have read for a while, nor may who waits for memory, and its peer has its
        // time from then on.
        let asked_since = record.last_move.max(record.reads_since);
        if waits && record.speech != Speech::Actor && record.fed.is_empty() && is_over(asked_since, first_byte_ms) {
            return late("the deadline of the first byte");
        }
        // What else may keep a peer of the echo waiting ends with a byte that is taken.
        if let Some(since) = record.unfinished_since.filter(|_| waits && record.speech == Speech::Lines)
            && is_over(since.max(record.taken_at).max(record.reads_since), message_ms)
        {
            return late(&format!("the deadline of a message that began at {since:?}, {message_ms} ms,"));
        }
        if let Some(since) = record.blocked_since
            && is_over(since, record.limits.stall_ms)
            && !self.phase(number).contains("\"lingering\"")
        {
            return late("the stall deadline");
        }
        if let Some(since) = record.half_closed_at.filter(|_| record.speech != Speech::Actor)
            && is_over(since, record.limits.linger_ms)
            && self.phase(number).contains("\"lingering\"")
        {
            return late("the linger deadline");
        }
        let timer = record.timers.iter().copied().min().unwrap_or(Time::NEVER);
        let waits = matches!(record.refused, Some(Call::Timer(_)));
        if timer.max(state.excused_until) + LATE < state.now && !waits && self.is_active(number) {
            return late("a timer");
        }
        Ok(())
    }

    /// I4, I6: what is left behind the end.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        // Answers that come behind the end are closed, too.
        loop {
            let state = &mut *self.state.borrow_mut();
            match state.agenda.take_due(Time::NEVER) {
                Some(Coming::File(line, id)) => state.answers.push((line, id)),
                Some(_) => {}
                None => break,
            }
        }
        self.answer_files();
        self.whole()?;
        let state = self.state.borrow();
        if let Some(file) = state.disk.open.first() {
            let text = format!("{:?} was never closed", file.id);
            return Err(Violation::new(Invariant::Baseline, file.line, text));
        }
        if state.listeners > 0 && self.ending {
            return Err(Violation::new(Invariant::Baseline, None, "a listener was never closed"));
        }
        for (number, line) in state.lines.iter().enumerate() {
            if is_between(line.life) {
                return Err(Violation::new(Invariant::Baseline, number, "its stream was never closed"));
            }
            let due = u32::from(line.id.is_some());
            if line.reports != due && line.life == Life::Gone {
                let reports = line.reports;
                return Err(Violation::new(Invariant::Report, number, format!("{reports} reports, {due} due")));
            }
        }
        self.host.farewell.check(self.rounds.drain_report(), state.dropped)?;
        if !self.rounds.is_empty() {
            return Err(Violation::new(
                Invariant::Baseline,
                None,
                format!("{} connections are left", self.rounds.len()),
            ));
        }
        Ok(())
    }
}
