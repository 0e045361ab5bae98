//! What an accept error means, and how long to stop accepting after one.
//!
//! The call to `accept` is the driver's, and so are the caps on connections.
//! Here: one table of error numbers, and one small state machine per listener.

use crate::log_limit::{Log, LogLimiter};
use drywire_core::Time;
use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// Calls to `accept` per listener and turn, failed ones included, before the
/// connections that are already open get their share (FAULTS 24).
///
/// A listener that spent them goes to the ready list: on an edge-triggered poller
/// no new event comes. Not measured: large enough to make the cost of a turn
/// small, small enough for 64 greetings to be unnoticed by the others.
pub const ACCEPTS_PER_TURN: u32 = 64;

/// What to do after `accept` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody waits: sleep until the listener is readable.
    WouldBlock,
    /// One connection was lost before we had it, or the call was interrupted: tell
    /// [`Backoff::on_lost`] and call again (FAULTS 8, 14).
    GoOn,
    /// No descriptor or no memory left: ask [`Backoff::on_refused`] (FAULTS 18, 19).
    Resources,
    /// The listener itself is of no use any more: report it and let go of it.
    Fatal,
}

/// Sorts the error of an `accept` call.
///
/// An error without a number of the operating system, as a simulated listener
/// makes it, is sorted by its [`io::ErrorKind`].
///
/// Source: accept(2): Linux passes errors that were pending on the new socket, and
/// asks to treat them like `EAGAIN` by retrying.
#[must_use]
pub fn classify(error: &io::Error) -> Verdict {
    match Errno::from_io_error(error) {
        Some(errno) => by_number(errno),
        None => by_kind(error.kind()),
    }
}

fn by_number(errno: Errno) -> Verdict {
    // Its own `if`: on some systems the two are one number, on some they are not.
    if errno == Errno::AGAIN || errno == Errno::WOULDBLOCK {
        return Verdict::WouldBlock;
    }
    // Only Linux reports this one, and not every system has its number.
    #[cfg(target_os = "linux")]
    if errno == Errno::NONET {
        return Verdict::GoOn;
    }
    match errno {
        // The new connection was aborted, or the network took it away again.
        Errno::CONNABORTED
        | Errno::CONNREFUSED
        | Errno::CONNRESET
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::NOPROTOOPT
        | Errno::OPNOTSUPP
        | Errno::PROTO
        | Errno::TIMEDOUT
        // A firewall rule forbids it.
        | Errno::PERM
        | Errno::INTR => Verdict::GoOn,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Verdict::Resources,
        // BADF, INVAL, NOTSOCK, FAULT, and what nobody has heard of yet: a wrong
        // "fatal" is one clear report, a wrong "go on" is a loop.
        _ => Verdict::Fatal,
    }
}

fn by_kind(kind: io::ErrorKind) -> Verdict {
    use io::ErrorKind as Kind;
    if kind == Kind::WouldBlock {
        Verdict::WouldBlock
    } else if matches!(kind, Kind::Interrupted | Kind::ConnectionAborted | Kind::ConnectionReset) {
        Verdict::GoOn
    } else if kind == Kind::OutOfMemory {
        Verdict::Resources
    } else {
        Verdict::Fatal
    }
}

/// When a listener may accept again. One per listener.
///
/// ```text
///          on_refused, on_lost
///   Open ──────────────────────▶ Troubled { until, pause } ──┐ on_refused: the pause
///    ▲                              │               ▲        │ doubles, 100 ms to 1 s
///    └──────────────────────────────┘               └────────┘
///              on_accepted
/// ```
///
/// `Troubled` is paused before `until` and trying after it. While it is paused the
/// listener is not asked at all: no busy loop, whatever the poller reports
/// (FAULTS 18). Connections wait in the kernel's backlog meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    phase: Phase,
    /// Connections lost since one was accepted or a pause began.
    lost: u32,
    log: LogLimiter,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Open,
    Troubled {
        until: Time,
        pause: Duration,
    },
}

/// Stop accepting for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the listener must not be asked before `until`"]
pub struct Pause {
    /// When to ask again.
    pub until: Time,
    /// Whether this is worth a line in the log.
    pub log: Log,
}

impl Backoff {
    /// The pause after the first refusal.
    pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
    /// The pause after many. Short enough that service is back soon after the
    /// resources are.
    pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    /// This many lost connections without an accepted one are a pause too.
    ///
    /// A security module or a borrowed descriptor that is no listener may answer
    /// every call with an error that looks like one connection's, for ever, and
    /// `accept` would spin (invariant I3). Longer than a usual backlog, so that a
    /// burst of resets costs honest peers nothing (FAULTS 8, 83).
    pub const LOST_IN_A_ROW: u32 = 4096;

    /// A listener that may accept.
    #[must_use]
    pub fn new() -> Backoff {
        Backoff::default()
    }

    /// A connection was accepted: the trouble, if there was one, is over.
    pub fn on_accepted(&mut self) {
        self.phase = Phase::Open;
        self.lost = 0;
    }

    /// The verdict was [`Verdict::Resources`].
    ///
    /// Units: 100 ms after a success, doubling with each further refusal.
    /// Bound: 1 s.
    pub fn on_refused(&mut self, now: Time) -> Pause {
        let pause = match self.phase {
            Phase::Open => Backoff::FIRST_PAUSE,
            Phase::Troubled { pause, until: _ } => (pause * 2).min(Backoff::LONGEST_PAUSE),
        };
        let until = now + pause;
        self.phase = Phase::Troubled { until, pause };
        self.lost = 0;
        Pause { until, log: self.log.on_event(now) }
    }

    /// The verdict was [`Verdict::GoOn`]: `None` means just that; a pause comes
    /// after [`Backoff::LOST_IN_A_ROW`] of them.
    #[must_use]
    pub fn on_lost(&mut self, now: Time) -> Option<Pause> {
        self.lost += 1;
        (self.lost >= Backoff::LOST_IN_A_ROW).then(|| self.on_refused(now))
    }

    /// Until when not to accept; `None` when accepting is fine.
    #[must_use]
    pub fn paused_until(&self, now: Time) -> Option<Time> {
        match self.phase {
            Phase::Open => None,
            Phase::Troubled { until, pause: _ } => (now < until).then_some(until),
        }
    }
}

const _: () = assert!(Backoff::FIRST_PAUSE.as_millis() < Backoff::LONGEST_PAUSE.as_millis());
const _: () = assert!(Backoff::LONGEST_PAUSE.as_millis() < LogLimiter::INTERVAL.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn all(errnos: &[Errno], verdict: Verdict) {
        for errno in errnos {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(classify(&error), verdict, "{error}");
        }
    }

    fn ms(n: u64) -> Time {
        Time::ZERO + Duration::from_millis(n)
    }

    #[test]
    fn fault_8_14_trouble_of_one_connection_keeps_the_listener() {
        #[cfg(target_os = "linux")]
        all(&[Errno::NONET], Verdict::GoOn);
        all(&[Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN], Verdict::GoOn);
        all(&[Errno::NOPROTOOPT, Errno::HOSTDOWN, Errno::HOSTUNREACH], Verdict::GoOn);
        all(&[Errno::OPNOTSUPP, Errno::NETUNREACH, Errno::PERM], Verdict::GoOn);
        all(&[Errno::INTR, Errno::TIMEDOUT, Errno::CONNRESET], Verdict::GoOn);
    }

    #[test]
    fn fault_18_19_shortages_are_told_apart_from_the_end() {
        all(&[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM], Verdict::Resources);
        all(&[Errno::AGAIN, Errno::WOULDBLOCK], Verdict::WouldBlock);
        all(&[Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::FAULT], Verdict::Fatal);
        all(&[Errno::from_raw_os_error(4000)], Verdict::Fatal);
    }

    #[test]
    fn error_without_a_number_is_sorted_by_its_kind() {
        use io::ErrorKind as Kind;
        assert_eq!(classify(&Kind::WouldBlock.into()), Verdict::WouldBlock);
        assert_eq!(classify(&Kind::ConnectionAborted.into()), Verdict::GoOn);
        assert_eq!(classify(&Kind::OutOfMemory.into()), Verdict::Resources);
        assert_eq!(classify(&io::Error::other("strange")), Verdict::Fatal);
    }

    #[test]
    fn fault_18_pause_doubles_to_a_second_and_starts_over_after_a_success() {
        let mut backoff = Backoff::new();
        let mut now = Time::ZERO;
        for pause_ms in [100, 200, 400, 800, 1000, 1000] {
            assert_eq!(backoff.paused_until(now), None);
            let pause = backoff.on_refused(now);
            assert_eq!(pause.until, now + Duration::from_millis(pause_ms));
            assert_eq!(backoff.paused_until(now), Some(pause.until));
            now = pause.until;
        }
        backoff.on_accepted();
        assert_eq!(backoff.paused_until(now), None);
        assert_eq!(backoff.on_refused(now).until, now + Backoff::FIRST_PAUSE);
    }

    #[test]
    fn fault_18_lasting_shortage_is_one_line_per_interval() {
        let mut backoff = Backoff::new();
        let mut now = Time::ZERO;
        let mut lines = Vec::new();
        let mut refusals = 0;
        while now < Time::ZERO + LogLimiter::INTERVAL * 2 {
            refusals += 1;
            let pause = backoff.on_refused(now);
            if let Log::Write { suppressed } = pause.log {
                lines.push(suppressed);
            }
            now = pause.until;
        }
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], 0);
        assert!(refusals < 30, "{refusals} refusals in 20 s");
        assert!((10..=15).contains(&lines[1]), "{lines:?}");
    }

    #[test]
    fn fault_18_flapping_shortage_does_not_flood_the_log() {
        let mut backoff = Backoff::new();
        let lines = (0..1000).filter(|n| {
            backoff.on_accepted();
            backoff.on_refused(ms(*n)).log != Log::Suppress
        });
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn error_that_repeats_for_ever_does_not_spin() {
        let mut backoff = Backoff::new();
        for round in 0..3 {
            let calls = (1..).find(|_| backoff.on_lost(ms(round)).is_some());
            assert_eq!(calls, Some(Backoff::LOST_IN_A_ROW));
        }
        for _ in 0..3 * Backoff::LOST_IN_A_ROW {
            backoff.on_accepted();
            assert_eq!(backoff.on_lost(ms(9)), None, "one in two is an honest peer");
        }
    }

    #[test]
    fn fault_69_end_of_time_is_a_pause_like_any_other() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.on_refused(Time::NEVER).until, Time::NEVER);
    }
}
