//! The way from "serving" to "stopped".
//!
//! Here: when to wait, when to cut. What it means to cut, and the report that
//! names each connection that was cut (FAULTS 57), belong to the driver.

use drywire_core::Time;
use std::time::Duration;

/// How far the shutdown of one worker has come.
///
/// ```text
///            begin                    deadline · begin · stop · nobody left
///   Running ───────▶ Draining { deadline } ───────────────────────▶ Stopped
///      │                                                               ▲
///      └──────────────────────────── stop ─────────────────────────────┘
/// ```
///
/// It only ever moves to the right. New connections are accepted in `Running`
/// alone; in `Draining` open ones get rid of what they owe; in `Stopped` those
/// still open are aborted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Serving; nobody asked to stop.
    #[default]
    Running,
    /// No new connections; open ones flush until the deadline.
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
}
