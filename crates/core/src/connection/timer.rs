//! Deadlines: when a turn must be made though nothing happened.

use super::clocks::{Debt, Message};
use super::phase::{End, InputEnd, OutputEnd, Phase};
use super::{Connection, Delayed, Live, lent};
use crate::close::Reason;
use crate::context::Barrier;
use crate::error::Failure;
use crate::layer::{Layer, LayerError};
use crate::limits::{Limit, Limits};
use crate::protocol::{Protocol, Timer};
use crate::time::Time;

/// For a layer that does not say so itself.
pub(super) const UNOPENED: LayerError =
    LayerError { layer: "opening", reason: "no more is read, and the handshake is not through" };

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// The earliest time something is due, beside the clocks of what is under way. Only
    /// what a turn at that time would act on: a deadline that is passed and stays makes a
    /// driver spin.
    pub(super) fn deadline(&self) -> Time {
        match &self.phase {
            Phase::New => Time::ZERO,
            Phase::Active => self.timer_deadline().min(self.idle_deadline()).min(self.first_byte_deadline()),
            Phase::Flushing(end) if self.waits_for_opening() => self.opening_deadline(end).0,
            Phase::Flushing(end) if self.reading => end.until,
            Phase::Lingering(end) => end.until,
            Phase::Flushing(_) | Phase::Closing(_) | Phase::Closed => Time::NEVER,
        }
    }

    /// The same for a turn that calls nobody: a timer would have come, and stay.
    #[cold]
    pub(super) fn flush_deadline(&self) -> Time {
        match &self.phase {
            Phase::New => Time::NEVER,
            Phase::Active => self.idle_deadline(),
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => self.deadline(),
        }
    }

    /// The earliest timer whose call could be made.
    fn timer_deadline(&self) -> Time {
        let upgrades = matches!(self.control.barrier, Barrier::UpgradeAsked(_));
        if upgrades || self.blocked.is_some_and(|waiting| waiting.call == Delayed::Timer) {
            return Time::NEVER;
        }
        self.control.timers.iter().copied().min().unwrap_or(Time::NEVER)
    }

    /// Idle means the peer has nothing to say and takes nothing; while a file is
    /// being opened it is we who keep it waiting.
    fn idle_deadline(&self) -> Time {
        match self.control.barrier {
            Barrier::Clear | Barrier::UpgradeAsked(_) | Barrier::Upgraded if self.input_end == InputEnd::Open => {
                self.io.last_move.after_ms(self.limits.idle_ms)
            }
            Barrier::Clear
            | Barrier::OpenAsked(_)
            | Barrier::Opening(_)
            | Barrier::Opened
            | Barrier::UpgradeAsked(_)
            | Barrier::Upgraded => Time::NEVER,
        }
    }

    fn first_byte_deadline(&self) -> Time {
        // Behind the handshake a part of something is the first byte, and has a message's clock.
        let has_begun = self.layer.is_partial() && !self.layer.is_opening();
        if self.io.unheard_since == Time::NEVER || !self.reading || has_begun {
            return Time::NEVER;
        }
        self.io.unheard_since.after_ms(self.unheard_ms())
    }

    /// How long the peer may be unheard. A handshake has a deadline of its own where the first byte
    /// has none, or output would wait for it for ever.
    fn unheard_ms(&self) -> u32 {
        let Limits { first_byte_ms, stall_ms, .. } = self.limits;
        if first_byte_ms == 0 && self.layer.is_opening() { stall_ms } else { first_byte_ms }
    }

    /// In a close: by when a layer has to be open for the output that waits for it, and what the
    /// connection ends by otherwise. At once when nothing more is read that could open it.
    fn opening_deadline(&self, end: &End<P::Error>) -> (Time, Reason<P::Error>) {
        if self.input_end != InputEnd::Open || end.discard_left == 0 {
            return (Time::ZERO, Reason::Layer(UNOPENED));
        }
        let first_byte = self.first_byte_deadline();
        let ms = if first_byte <= end.until { self.unheard_ms() } else { self.limits.linger_ms };
        (first_byte.min(end.until), Reason::Limit(Limit::Handshake(ms)))
    }

    /// By when the message under way has to be whole, and by when more of it has to come.
    fn message_deadlines(&self) -> (Time, Time) {
        let message = self.buffers.as_ref().and_then(|buffers| buffers.message);
        message.map_or((Time::NEVER, Time::NEVER), |message| message.due())
    }

    /// By when some of what is owed has to be taken, and enough of it.
    fn stall_deadline(&self) -> Time {
        let debt = self.buffers.as_ref().and_then(|buffers| buffers.debt);
        debt.map_or(Time::NEVER, |debt| debt.due(&self.limits))
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

    /// Counts what moved in this turn, where a clock goes, and says which is the first to
    /// be over. Asked when nothing more can be moved.
    #[inline]
    pub(super) fn follow_clocks(&mut self, reading: bool) -> Time {
        if self.is_under_way() { self.follow(reading) } else { Time::NEVER }
    }

    /// A message that comes in, or output that is refused.
    fn is_under_way(&self) -> bool {
        let Some(buffers) = &self.conn.buffers else { return false };
        let input = !self.workspace.scratch.is_empty() || !buffers.carry.is_empty() || buffers.message.is_some();
        input || self.conn.io.write_blocked || buffers.debt.is_some() || !L::TRANSPARENT
    }

    #[cold]
    fn follow(&mut self, reading: bool) -> Time {
        self.follow_output();
        self.follow_message(reading);
        match self.conn.phase {
            Phase::New | Phase::Active | Phase::Flushing(_) => {
                let (whole, more) = self.conn.message_deadlines();
                self.conn.stall_deadline().min(whole).min(more)
            }
            Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => Time::NEVER,
        }
    }

    /// What is owed here is refused: by the transport, or by a layer that waits for the peer.
    /// The clock stops when all of it is taken.
    fn follow_output(&mut self) {
        let owes_wire = self.conn.owes_wire();
        let Connection { buffers, limits, layer, output_end, io, .. } = &mut *self.conn;
        let buffers = lent(buffers);
        // What layers were not given, for want of memory, waits for us and not for the peer; what waits
        // for a handshake has the deadline of that.
        let is_offered = L::TRANSPARENT || !(self.flush_only || layer.is_opening());
        let is_owed = owes_wire
            || (is_offered
                && (buffers.owes() || (!L::TRANSPARENT && *output_end == OutputEnd::Asked && layer.is_owing())));
        match &mut buffers.debt {
            None if is_owed => buffers.debt = Some(Debt::begin(limits, io.counters.sent, self.now)),
            Some(debt) if is_owed => debt.follow(limits, io.counters.sent, self.now),
            None | Some(_) => buffers.debt = None,
        }
    }

    /// The clock of a message starts with its first byte that was not taken, by the protocol or
    /// by a layer. While we do not read, the peer cannot be late.
    fn follow_message(&mut self, reading: bool) {
        let may_go_on = matches!(self.conn.phase, Phase::Active) && self.conn.input_end == InputEnd::Open;
        let has_begun = may_go_on && (!self.unread().is_empty() || self.conn.layer.is_partial());
        let (now, Connection { buffers, limits, io, .. }) = (self.now, &mut *self.conn);
        let message = &mut lent(buffers).message;
        *message = match message.take() {
            None if has_begun => Message::begin(limits, io.counters.received, now),
            Some(going) if has_begun || (may_go_on && going.is_in_parts()) => Some(going),
            Some(_) | None => None,
        };
        if let Some(going) = message {
            going.follow(limits, io.counters.received, now);
            if reading { going.go_on(now) } else { going.hold(now) }
        }
    }

    /// Reading is enabled, or disabled. From when it is, the peer has time for its first byte.
    pub(super) fn on_reading(&mut self, reading: bool) {
        self.conn.reading = reading;
        let io = &mut self.conn.io;
        if !reading {
            // A turn without memory is followed by one with it, in which the transport is asked first:
            // a clock that began anew in each of them would never be over.
            io.is_short = self.flush_only;
        } else if io.unheard_since != Time::NEVER && !io.is_short {
            io.unheard_since = self.now;
        }
    }

    /// Ends a connection on which too little moved for too long. Asked last, when
    /// nothing can be moved: after a pause of the whole process, what waits in
    /// the transport counts (FAULTS 58). The end of a linger is not here:
    /// `wants_input` and `finish_output` look at the time themselves.
    #[cold]
    pub(super) fn expire(&mut self) -> bool {
        if !matches!(self.conn.phase, Phase::Active | Phase::Flushing(_)) {
            return false;
        }
        if self.now >= self.conn.stall_deadline() {
            self.end_now(Reason::Stalled);
            return true;
        }
        if let Phase::Flushing(end) = &self.conn.phase {
            if !self.conn.waits_for_opening() {
                return false;
            }
            let (deadline, reason) = self.conn.opening_deadline(end);
            let is_over = self.now >= deadline;
            if is_over {
                self.give_up_opening(reason);
            }
            return is_over;
        }
        let Connection { limits, .. } = &*self.conn;
        let is_opening = self.conn.layer.is_opening();
        let (whole, more) = self.conn.message_deadlines();
        let deadlines = [
            (self.conn.first_byte_deadline(), Limit::FirstByte(self.conn.unheard_ms()), self.conn.unheard_ms()),
            (whole, Limit::Message(limits.message_ms), limits.message_ms),
            (more, Limit::Rate(limits.min_rate), limits.rate_ms),
            (self.conn.idle_deadline(), Limit::Idle(limits.idle_ms), limits.idle_ms),
        ];
        let over = deadlines.into_iter().find(|(deadline, ..)| self.now >= *deadline);
        let Some((_, limit, ms)) = over else { return false };
        if is_opening {
            self.give_up_opening(Reason::Limit(Limit::Handshake(ms)))
        } else {
            self.fail(Failure::Limit(limit))
        }
        true
    }
}
