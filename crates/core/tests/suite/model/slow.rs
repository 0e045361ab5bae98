//! Who is too slow, as the [`Reference`] sees it: not by deadlines that are put off,
//! but by the time that somebody has left.

use super::reference::{MS, Reference};
use super::state::{InputEnd, Phase};
use drywire_core::{Limit, Limits};

/// Time that is left, in nanoseconds, as of `at`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    nanos: u64,
    at: u64,
    /// Bytes that gave time, as they are counted in all.
    counted: u64,
}

impl Left {
    pub(super) fn until(&self) -> u64 {
        self.at + self.nanos
    }

    fn pass(&mut self, now: u64) {
        self.nanos = self.nanos.saturating_sub(now - self.at);
        self.at = now;
    }

    /// Each byte gives back what it is worth, and never more than there was at first.
    fn earn(&mut self, counter: u64, limits: &Limits) {
        let worth = (counter - self.counted) * 1_000 * MS / u64::from(limits.min_rate);
        self.counted = counter;
        self.nanos = (self.nanos + worth).min(u64::from(limits.rate_ms) * MS);
    }
}

/// A message that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    whole: Left,
    more: Left,
    in_parts: bool,
    held: bool,
}

impl Message {
    fn pass(&mut self, now: u64) {
        if self.held {
            (self.whole.at, self.more.at) = (now, now);
        } else {
            self.whole.pass(now);
            self.more.pass(now);
        }
    }
}

impl Reference {
    fn left(&self, ms: u32, counted: u64) -> Left {
        Left { nanos: u64::from(ms) * MS, at: self.now, counted }
    }

    fn begin(&self) -> Message {
        let Limits { message_ms, rate_ms, .. } = self.limits;
        let received = self.counters.received;
        let (whole, more) = (self.left(message_ms, received), self.left(rate_ms, received));
        Message { whole, more, in_parts: false, held: false }
    }

    /// A message was taken, or a part of one.
    pub(super) fn on_taken(&mut self, part: bool) {
        if !part {
            self.message = None;
            return;
        }
        let fresh = self.begin();
        let mut message = self.message.unwrap_or(fresh);
        message.pass(self.now);
        self.message = Some(Message { whole: fresh.whole, in_parts: true, held: false, ..message });
    }

    /// Time passes, bytes have come and gone.
    pub(super) fn follow(&mut self) {
        let Limits { rate_ms, .. } = self.limits;
        self.pace = self.blocked_since.map(|_| {
            let mut pace = self.pace.unwrap_or(self.left(rate_ms, self.counters.sent));
            pace.pass(self.now);
            pace.earn(self.counters.sent, &self.limits);
            pace
        });
        if self.phase != Phase::Active {
            return;
        }
        let begun = !self.unread.is_empty() && self.input_end == InputEnd::Open;
        let going = self.message.filter(|message| begun || message.in_parts);
        self.message = going.or(begun.then(|| self.begin())).map(|mut message| {
            message.pass(self.now);
            message.more.earn(self.counters.received, &self.limits);
            message
        });
    }

    pub(super) fn set_reading(&mut self, reading: bool) {
        if reading && !self.reading {
            self.unheard_since = self.unheard_since.map(|_| self.now);
        }
        self.reading = reading;
        if let Some(message) = &mut self.message {
            message.held = !reading;
        }
    }

    /// Until when the peer has time to speak, and what is said to it then.
    pub(super) fn too_slow(&self) -> [(Option<u64>, Limit); 3] {
        let Limits { first_byte_ms, message_ms, min_rate, .. } = self.limits;
        let heard =
            self.unheard_since.filter(|_| self.reading).and_then(|since| super::reference::after(first_byte_ms, since));
        let going = self.message.filter(|message| !message.held);
        [
            (heard, Limit::FirstByte(first_byte_ms)),
            (going.map(|message| message.whole.until()), Limit::Message(message_ms)),
            (going.map(|message| message.more.until()), Limit::Rate(min_rate)),
        ]
    }
}
