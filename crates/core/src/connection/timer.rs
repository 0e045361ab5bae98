//! Deadlines: when a turn must be made though nothing happened.

use super::phase::{InputEnd, Phase};
use super::{Connection, Live};
use crate::close::Reason;
use crate::context::FileGate;
use crate::error::Failure;
use crate::layer::Layer;
use crate::limits::Limit;
use crate::protocol::{Protocol, Timer};
use crate::time::Time;

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// The earliest time something is due. Only what a turn at that time would
    /// act on: a deadline that is passed and stays makes a driver spin.
    pub(super) fn deadline(&self) -> Time {
        match &self.phase {
            Phase::New => Time::ZERO,
            Phase::Active => self.timer_deadline().min(self.idle_deadline()).min(self.stall_deadline()),
            Phase::Flushing(end) if self.reading => end.until.min(self.stall_deadline()),
            Phase::Flushing(_) => self.stall_deadline(),
            Phase::Lingering(end) => end.until,
            Phase::Closing(_) | Phase::Closed => Time::NEVER,
        }
    }

    /// The earliest timer whose call could be made.
    fn timer_deadline(&self) -> Time {
        if self.blocked.is_some_and(|waiting| waiting.timers) {
            return Time::NEVER;
        }
        self.control.timers.iter().copied().min().unwrap_or(Time::NEVER)
    }

    /// Idle means the peer has nothing to say and takes nothing; while a file is
    /// being opened it is we who keep it waiting.
    fn idle_deadline(&self) -> Time {
        match self.control.gate {
            FileGate::Idle if self.input_end == InputEnd::Open => self.io.last_move.after_ms(self.limits.idle_ms),
            FileGate::Idle | FileGate::Asked(_) | FileGate::InFlight(_) | FileGate::Answered(_) => Time::NEVER,
        }
    }

    fn stall_deadline(&self) -> Time {
        if self.io.blocked_since == Time::NEVER {
            return Time::NEVER;
        }
        self.io.blocked_since.after_ms(self.limits.stall_ms)
    }
}

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    /// Calls the timer that is due longest. False when none is.
    pub(super) fn handle_timers(&mut self) -> bool {
        if self.now < self.conn.timer_deadline() {
            return false;
        }
        let due = (0..Timer::COUNT).min_by_key(|index| self.conn.control.timers[*index]);
        if let Some(index) = due {
            self.call_timer(index);
        }
        due.is_some()
    }

    /// Ends a connection on which nothing moved for too long. Asked last, when
    /// nothing can be moved: after a pause of the whole process, what waits in
    /// the transport counts (FAULTS 58). The end of a linger is not here:
    /// `wants_input` and `finish_output` look at the time themselves.
    pub(super) fn expire(&mut self) -> bool {
        if !matches!(self.conn.phase, Phase::Active | Phase::Flushing(_)) {
            return false;
        }
        if self.now >= self.conn.stall_deadline() {
            self.end_now(Reason::Stalled);
            return true;
        }
        if matches!(self.conn.phase, Phase::Active) && self.now >= self.conn.idle_deadline() {
            self.fail(Failure::Limit(Limit::Idle(self.conn.limits.idle_ms)));
            return true;
        }
        false
    }
}
