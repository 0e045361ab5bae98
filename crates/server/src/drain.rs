//! The way from "serving" to "stopped".
//!
//! Here: when to wait, when to cut, and the report that names each connection that was
//! cut (FAULTS 57). What it means to cut is the worker's.

use crate::address::Address;
use crate::escape::escaped;
use crate::table::Id;
use drywire_core::Time;
use std::fmt;
use std::time::Duration;

/// How long a drain waits for the first bytes of a connection whose peer has said nothing, and for
/// connections that cannot be accepted yet, for want of descriptors.
///
/// Units: a second is three round trips around the world, and what an operator hardly notices.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection on which nothing has moved for this long before a shutdown is idle, and is not
/// named for what was written before, unless more of its peer comes.
pub(crate) const IDLE_BEFORE: Duration = Duration::from_secs(5);

/// How far the shutdown of one worker has come.
///
/// ```text
///            begin                    deadline · begin · stop · nobody left
///   Running ───────▶ Draining { deadline } ───────────────────────▶ Stopped
///      │                                                               ▲
///      └──────────────────────────── stop ─────────────────────────────┘
/// ```
///
/// It only ever moves to the right. In `Draining` those connections are accepted that wait
/// already, and open ones get rid of what they owe; in `Stopped` those still open are aborted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Serving; nobody asked to stop.
    #[default]
    Running,
    /// No new connections but those that wait; open ones flush until the deadline.
    Draining {
        /// When what is still open is cut.
        deadline: Time,
    },
    /// The end, as soon as the last connection is aborted.
    Stopped,
}

/// What a call of [`Drain::begin`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stop accepting, ask every connection to drain.
    First {
        /// When the wait ends.
        deadline: Time,
    },
    /// Asked again: the wait is over.
    Second,
    /// It had ended before; nothing changed.
    Late,
}

/// What a driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStep {
    /// As ever.
    KeepServing,
    /// Serve what is open; ask again by then, and when a connection has closed.
    Waiting {
        /// The deadline.
        until: Time,
    },
    /// Abort and report every connection that is still open, then ask again.
    AbortRest,
    /// Nothing is open: leave the loop.
    Done,
}

impl Drain {
    /// Somebody wants the worker to end.
    ///
    /// The first time it begins to drain, for `timeout` at most; the second time,
    /// which is a person pressing Ctrl-C again, it stops at once. A timeout of zero
    /// cuts at the next tick; one that passes the end of time waits for ever.
    pub fn begin(&mut self, now: Time, timeout: Duration) -> Request {
        match *self {
            Drain::Running => {
                let deadline = now + timeout;
                *self = Drain::Draining { deadline };
                Request::First { deadline }
            }
            Drain::Draining { deadline: _ } => {
                *self = Drain::Stopped;
                Request::Second
            }
            Drain::Stopped => Request::Late,
        }
    }

    /// Ends the wait, or the service, now. Idempotent.
    pub fn stop(&mut self) {
        *self = Drain::Stopped;
    }

    /// The wait is over, or there never was one.
    #[must_use]
    pub(crate) fn is_over(&self, now: Time) -> bool {
        match *self {
            Drain::Running => false,
            Drain::Draining { deadline } => now >= deadline,
            Drain::Stopped => true,
        }
    }

    /// Whether new connections are welcome.
    #[must_use]
    pub fn is_running(&self) -> bool {
        *self == Drain::Running
    }

    /// Asks what to do, with the number of connections that are open now.
    ///
    /// Call it once per turn, it costs nothing. *Guaranteed*: once it has said
    /// [`DrainStep::AbortRest`], it says only that or [`DrainStep::Done`].
    #[must_use]
    pub fn on_tick(&mut self, now: Time, open_connections: usize) -> DrainStep {
        match *self {
            Drain::Running => return DrainStep::KeepServing,
            Drain::Draining { deadline } if open_connections > 0 && now < deadline => {
                return DrainStep::Waiting { until: deadline };
            }
            Drain::Draining { deadline: _ } => *self = Drain::Stopped,
            Drain::Stopped => {}
        }
        if open_connections > 0 { DrainStep::AbortRest } else { DrainStep::Done }
    }
}

/// What became of the connections that were open when a shutdown was asked for, or came
/// during it (FAULTS 57): [`Worker::drain_report`](crate::Worker::drain_report).
///
/// *Guaranteed*: each of them is counted once, as finished or as cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were open when the shutdown was asked for.
    pub open: usize,
    /// Ended since then, with all that was owed taken by the transport, and with the peer's
    /// end seen: nothing can take it away any more but the network. Or idle: nothing had moved for
    /// five seconds when the shutdown was asked for, the last word was ours, and no byte of the
    /// peer came after that; or nothing was said on it at all.
    pub finished: u64,
    /// Ended since then in any other way: the peer may not have all that we wrote, or an answer to
    /// all that it said. That is so too when we have waited in vain for its end: what it sends then is
    /// answered with a reset. At most [`DrainReport::NAMED`].
    pub cut: Vec<Cut>,
    /// Cut like these, but not named, for want of room.
    pub unnamed: u64,
    /// There was no wait, or it was ended before its deadline: somebody asked a second time,
    /// or for the end at once.
    pub asked_again: bool,
}

/// One connection that was cut, or broke, in a shutdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which.
    pub id: Id,
    /// Whose, if it was known when the shutdown began.
    pub peer: Option<Address>,
    /// Why it ended; fit for a log line.
    pub reason: String,
    /// Bytes the transport has taken.
    pub sent: u64,
    /// Bytes that were owed besides.
    pub unsent: u64,
}

impl DrainReport {
    /// Connections named at most.
    pub const NAMED: usize = 4096;

    pub(crate) fn of(open: usize) -> DrainReport {
        DrainReport { open, ..DrainReport::default() }
    }

    pub(crate) fn cut(&mut self, cut: impl FnOnce() -> Cut) {
        if self.cut.len() < DrainReport::NAMED {
            self.cut.push(cut());
        } else {
            self.unnamed += 1;
        }
    }

    /// Connections that were cut, named or not.
    #[must_use]
    pub fn cut_in_all(&self) -> u64 {
        self.cut.len() as u64 + self.unnamed
    }

    /// Adds what another worker of the same server has to say.
    pub fn absorb(&mut self, other: DrainReport) {
        self.open += other.open;
        self.finished += other.finished;
        self.unnamed += other.unnamed;
        self.asked_again |= other.asked_again;
        for cut in other.cut {
            self.cut(|| cut);
        }
    }
}

/// As `127.0.0.1:2525: aborted, 10 bytes sent, 20 not sent`.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            Some(peer) => f.write_str(&escaped(peer))?,
            None => write!(f, "connection {}", self.id)?,
        }
        write!(f, ": {}, {} bytes sent, {} not sent", self.reason, self.sent, self.unsent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn secs(n: u64) -> Time {
        Time::ZERO + Duration::from_secs(n)
    }

    #[track_caller]
    fn draining() -> Drain {
        let mut drain = Drain::default();
        assert_eq!(drain.begin(secs(1), TIMEOUT), Request::First { deadline: secs(6) });
        drain
    }

    #[test]
    fn nothing_ends_without_a_request() {
        let mut drain = Drain::default();
        for open in [0, 1, 1000] {
            assert_eq!(drain.on_tick(Time::NEVER, open), DrainStep::KeepServing);
        }
        assert!(drain.is_running());
    }

    #[test]
    fn drain_is_done_when_the_last_connection_has_closed() {
        let mut drain = draining();
        assert!(!drain.is_running());
        assert_eq!(drain.on_tick(secs(1), 2), DrainStep::Waiting { until: secs(6) });
        assert_eq!(drain.on_tick(secs(2), 1), DrainStep::Waiting { until: secs(6) });
        assert_eq!(drain.on_tick(secs(3), 0), DrainStep::Done);
        assert_eq!(drain, Drain::Stopped);
        assert_eq!(drain.on_tick(secs(3), 0), DrainStep::Done);
    }

    #[test]
    fn drain_without_connections_is_done_at_once() {
        assert_eq!(draining().on_tick(secs(1), 0), DrainStep::Done);
    }

    #[test]
    fn fault_57_deadline_cuts_the_rest() {
        let mut drain = draining();
        assert_eq!(drain.on_tick(secs(6), 3), DrainStep::AbortRest);
        assert_eq!(drain.on_tick(secs(6), 1), DrainStep::AbortRest, "one has not let go yet");
        assert_eq!(drain.on_tick(secs(6), 0), DrainStep::Done);
    }

    #[test]
    fn second_request_does_not_wait() {
        let mut drain = draining();
        assert_eq!(drain.begin(secs(2), TIMEOUT), Request::Second);
        assert_eq!(drain.on_tick(secs(2), 3), DrainStep::AbortRest);
        assert_eq!(drain.begin(secs(2), TIMEOUT), Request::Late);
        assert_eq!(drain.on_tick(secs(2), 0), DrainStep::Done);
    }

    #[test]
    fn stop_skips_the_wait_from_anywhere() {
        for mut drain in [Drain::Running, draining(), Drain::Stopped] {
            drain.stop();
            assert_eq!(drain.on_tick(Time::ZERO, 1), DrainStep::AbortRest);
            assert_eq!(drain.on_tick(Time::ZERO, 0), DrainStep::Done);
        }
    }

    #[test]
    fn timeout_of_zero_cuts_and_an_endless_one_waits() {
        let mut drain = Drain::default();
        assert_eq!(drain.begin(secs(1), Duration::ZERO), Request::First { deadline: secs(1) });
        assert_eq!(drain.on_tick(secs(1), 1), DrainStep::AbortRest);

        let mut drain = Drain::default();
        assert_eq!(drain.begin(secs(1), Duration::MAX), Request::First { deadline: Time::NEVER });
        assert_eq!(drain.on_tick(secs(99), 1), DrainStep::Waiting { until: Time::NEVER });
    }

    fn cut(n: u64) -> Cut {
        let id = crate::Table::new().insert(()).unwrap();
        Cut { id, peer: None, reason: "aborted".into(), sent: n, unsent: 1 }
    }

    #[test]
    fn fault_57_report_says_how_many_it_does_not_name() {
        let mut report = DrainReport::of(5000);
        (0..5000).for_each(|n| report.cut(|| cut(n)));
        assert_eq!((report.cut.len(), report.unnamed), (DrainReport::NAMED, 5000 - DrainReport::NAMED as u64));
        assert_eq!(report.cut_in_all(), 5000);
        let mut both = DrainReport { finished: 2, asked_again: true, ..DrainReport::of(3) };
        both.cut(|| cut(7));
        both.absorb(report);
        assert_eq!((both.open, both.finished, both.cut_in_all()), (5003, 2, 5001));
        assert_eq!((both.cut.len(), both.cut[0].sent, both.asked_again), (DrainReport::NAMED, 7, true));
    }

    #[test]
    fn cut_connection_is_one_line_with_its_peer() {
        assert_eq!(cut(3).to_string(), "connection 0.1: aborted, 3 bytes sent, 1 not sent");
        let named = Cut { peer: Some(Address::Unix(Some("/a\nb".into()))), ..cut(3) };
        assert_eq!(named.to_string(), "unix:/a\\nb: aborted, 3 bytes sent, 1 not sent");
    }
}
