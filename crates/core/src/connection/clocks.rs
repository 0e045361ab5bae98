//! Clocks that go only while something is under way: a message that comes in, output
//! that the transport does not take. They lie in the buffers, which a connection has
//! only then. What they mean for it is in `timer`.

use crate::limits::Limits;
use crate::planted;
use crate::time::Time;
use core::time::Duration;

/// By when more bytes have to move, or the peer is too slow.
///
/// A bucket that leaks: each byte puts it off by what it is worth, to `rate_ms` from
/// now at most. So what went fast is no credit for a pause later.
#[derive(Clone, Copy, Debug)]
struct Pace {
    due: Time,
    /// Bytes that moved so far, as they are counted in all.
    counted: u64,
}

impl Pace {
    fn new(limits: &Limits, counter: u64, now: Time) -> Pace {
        Pace { due: furthest(limits, now), counted: counter }
    }

    /// `counter` bytes have moved by now. A turn may be late: whoever moves something in it
    /// was in time (FAULTS 58), for as much as that is worth.
    fn follow(&mut self, limits: &Limits, counter: u64, now: Time) {
        let moved = counter - self.counted;
        self.counted = counter;
        let furthest = furthest(limits, now);
        if moved > 0 && furthest != Time::NEVER {
            let worth = moved.saturating_mul(NANOS) / u64::from(limits.min_rate);
            self.due = (self.due.max(now) + Duration::from_nanos(worth)).min(furthest);
        }
    }
}

const NANOS: u64 = 1_000_000_000;

/// The latest that a peer may be due; [`Time::NEVER`] when its rate is not watched.
fn furthest(limits: &Limits, now: Time) -> Time {
    match limits.min_rate {
        0 | Limits::NEVER => Time::NEVER,
        _ => now.after_ms(limits.rate_ms),
    }
}

/// Output that is owed and that the transport, or a layer, does not take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debt {
    /// When some of it was taken last.
    since: Time,
    pace: Pace,
}

impl Debt {
    pub(super) fn begin(limits: &Limits, sent: u64, now: Time) -> Debt {
        Debt { since: now, pace: Pace::new(limits, sent, now) }
    }

    pub(super) fn follow(&mut self, limits: &Limits, sent: u64, now: Time) {
        let has_moved = sent > self.pace.counted;
        self.pace.follow(limits, sent, now);
        planted!(StallNotMoved: return);
        if has_moved {
            self.since = now;
        }
    }

    /// By when some of it has to be taken, and enough of it.
    pub(super) fn due(&self, limits: &Limits) -> Time {
        self.since.after_ms(limits.stall_ms).min(self.pace.due)
    }
}

/// A message that has begun and has not ended.
///
/// ```text
///                     a byte is not taken          it is taken
///  no message ──────────────────────────▶ going ───────────────▶ no message
///                                         ▲   │
///                         reading goes on │   │ we do not read
///                                         │   ▼
///                                         held
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// By when it has to be whole; taken in parts, its next part.
    whole: Time,
    pace: Pace,
    in_parts: bool,
    /// Since when we keep the peer waiting; [`Time::NEVER`] while it is the peer.
    held_since: Time,
}

impl Message {
    /// `None` when no limit of ours is about messages.
    pub(super) fn begin(limits: &Limits, received: u64, now: Time) -> Option<Message> {
        let (whole, pace) = (now.after_ms(limits.message_ms), Pace::new(limits, received, now));
        let is_watched = whole != Time::NEVER || pace.due != Time::NEVER;
        is_watched.then_some(Message { whole, pace, in_parts: false, held_since: Time::NEVER })
    }

    /// A part of it was taken, and it goes on.
    pub(super) fn on_part(&mut self, limits: &Limits, now: Time) {
        self.go_on(now);
        self.whole = now.after_ms(limits.message_ms);
        self.in_parts = true;
    }

    /// It has not ended with the bytes that were taken.
    pub(super) fn is_in_parts(&self) -> bool {
        self.in_parts
    }

    pub(super) fn follow(&mut self, limits: &Limits, received: u64, now: Time) {
        self.pace.follow(limits, received, now);
    }

    /// We do not read, so the peer is not late.
    pub(super) fn hold(&mut self, now: Time) {
        self.held_since = self.held_since.min(now);
    }

    /// We read again; what the peer had left, it has again.
    pub(super) fn go_on(&mut self, now: Time) {
        let held = now.saturating_since(self.held_since);
        self.whole = self.whole + held;
        self.pace.due = self.pace.due + held;
        self.held_since = Time::NEVER;
    }

    /// By when it has to be whole, and by when more of it has to come.
    pub(super) fn due(&self) -> (Time, Time) {
        if self.held_since != Time::NEVER {
            return (Time::NEVER, Time::NEVER);
        }
        (self.whole, self.pace.due)
    }
}
