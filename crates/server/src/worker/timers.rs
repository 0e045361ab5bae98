//! The named timers of a worker, and its tick. What a connection waits for is the
//! core's; here are those that belong to nobody.

use super::Worker;
use crate::application::Application;
use crate::net::Net;
use drywire_core::layer::Layer;
use drywire_core::{Protocol, Time, planted};
use std::fmt;
use std::time::Duration;

/// Timers by name, and the tick.
///
/// ```text
///          set                      due
///   none ───────▶ Once { at } ────────────▶ called, none
///                                    due
///   none ───────▶ Every { at, period } ───▶ called, Every { at + period, or more }
///         repeat
/// ```
///
/// Setting one that is there moves it, and cancelling leaves none. One that is late by
/// several periods is called once, and keeps its beat: a pause of the whole process is not
/// made up for by a storm of calls (FAULTS 58).
///
/// Bound: one for each name, and names are part of the program's text.
#[derive(Debug, Default)]
pub(super) struct Timers {
    named: Vec<(&'static str, Alarm)>,
    tick: Option<Alarm>,
}

#[derive(Clone, Copy, Debug)]
enum Alarm {
    Once { at: Time },
    Every { at: Time, period: Duration },
}

impl Alarm {
    fn every(period: Duration, now: Time) -> Alarm {
        let period = period.max(Timers::SHORTEST_PERIOD);
        Alarm::Every { at: now + period, period }
    }

    fn at(self) -> Time {
        match self {
            Alarm::Once { at } | Alarm::Every { at, period: _ } => at,
        }
    }

    /// What is left of one that is due.
    fn after(self, now: Time) -> Option<Alarm> {
        let Alarm::Every { at, period } = self else { return None };
        let late_ns = now.saturating_since(at).as_nanos() % period.as_nanos();
        planted!(LateTimerForgotten: if now.saturating_since(at) >= period {
            return None;
        });
        // Below the period, which a `Duration` holds.
        let late = Duration::from_nanos(u64::try_from(late_ns).unwrap_or(u64::MAX));
        Some(Alarm::Every { at: now + (period - late.min(period)), period })
    }
}

impl Timers {
    /// A period below this one is taken for it: a timer without a pause would be a loop.
    const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

    fn set(&mut self, name: &'static str, alarm: Alarm) {
        match self.named.iter_mut().find(|(other, _)| *other == name) {
            Some((_, there)) => *there = alarm,
            None => self.named.push((name, alarm)),
        }
    }

    fn cancel(&mut self, name: &str) -> bool {
        let place = self.named.iter().position(|(other, _)| *other == name);
        place.map(|place| self.named.remove(place)).is_some()
    }

    /// When the next of them is due; [`Time::NEVER`] without one.
    pub(super) fn next(&self) -> Time {
        let tick = self.tick.map_or(Time::NEVER, Alarm::at);
        self.named.iter().fold(tick, |next, (_, alarm)| next.min(alarm.at()))
    }

    /// Nobody waits for one; the tick does not count.
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// How many names are due.
    fn due(&self, now: Time) -> usize {
        self.named.iter().filter(|(_, alarm)| alarm.at() <= now).count()
    }

    /// The name that was due first, if one is; it is called once for all it is late.
    fn take_due(&mut self, now: Time) -> Option<&'static str> {
        let due = self.named.iter().enumerate().filter(|(_, (_, alarm))| alarm.at() <= now);
        let (place, (name, alarm)) = due.min_by_key(|(_, (_, alarm))| alarm.at())?;
        let name = *name;
        match alarm.after(now) {
            Some(alarm) => self.named[place].1 = alarm,
            None => drop(self.named.remove(place)),
        }
        Some(name)
    }

    fn take_tick(&mut self, now: Time) -> bool {
        match self.tick {
            Some(alarm) if alarm.at() <= now => {
                self.tick = alarm.after(now);
                true
            }
            Some(_) | None => false,
        }
    }
}

/// Named timers (row W4). Each ends in [`Application::timer`].
impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Calls back under this name once, no earlier than after this time. A timer of that
    /// name that is set already moves.
    ///
    /// *Guaranteed*: a worker with a timer has something to wait for, so a driver's `run`
    /// goes on. Bound: one for each name.
    pub fn set_timer(&mut self, name: &'static str, after: Duration) {
        let at = self.net.now() + after;
        self.timers.set(name, Alarm::Once { at });
    }

    /// Calls back under this name again and again, first after one period, until the timer
    /// is cancelled. It keeps its beat: being late does not move the calls after it, and
    /// periods that passed unheard are one call. A period below a millisecond is taken
    /// for one.
    pub fn repeat_timer(&mut self, name: &'static str, period: Duration) {
        let now = self.net.now();
        self.timers.set(name, Alarm::every(period, now));
    }

    /// Forgets a timer. Whether there was one.
    pub fn cancel_timer(&mut self, name: &str) -> bool {
        self.timers.cancel(name)
    }

    /// The worker begins to serve.
    pub(super) fn start_tick(&mut self) {
        let now = self.net.now();
        self.timers.tick = self.config.tick.map(|period| Alarm::every(period, now));
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// Calls everybody who is due, the earliest first. One that is set meanwhile waits for
    /// the next round, so that a round ends.
    pub(super) fn ring_timers<A: Application<N, P, L>>(&mut self, application: &mut A) {
        if self.now < self.timers.next() {
            return;
        }
        if self.timers.take_tick(self.now) {
            self.call("tick", application, |worker, application| application.tick(worker));
        }
        for _ in 0..self.timers.due(self.now) {
            let Some(name) = self.timers.take_due(self.now) else { return };
            self.call(name, application, |worker, application| application.timer(worker, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time::from_nanos(n * 1_000_000)
    }

    fn once(n: u64) -> Alarm {
        Alarm::Once { at: ms(n) }
    }

    fn due(timers: &mut Timers, now: Time) -> Vec<&'static str> {
        std::iter::from_fn(|| timers.take_due(now)).take(10).collect()
    }

    #[test]
    fn w4_timers_come_in_the_order_of_their_times_and_once() {
        let mut timers = Timers::default();
        timers.set("late", once(30));
        timers.set("soon", once(10));
        timers.set("then", once(20));
        assert_eq!(timers.next(), ms(10));
        assert_eq!(due(&mut timers, ms(9)), [""; 0]);
        assert_eq!(due(&mut timers, ms(20)), ["soon", "then"]);
        assert_eq!(due(&mut timers, ms(99)), ["late"]);
        assert!(timers.is_empty());
        assert_eq!(timers.next(), Time::NEVER);
    }

    #[test]
    fn w4_timer_that_is_set_again_moves_and_a_cancelled_one_is_gone() {
        let mut timers = Timers::default();
        timers.set("a", once(10));
        timers.set("a", once(50));
        timers.set("b", once(20));
        assert!(timers.cancel("b") && !timers.cancel("b") && !timers.cancel("c"));
        assert_eq!(due(&mut timers, ms(49)), [""; 0]);
        assert_eq!(due(&mut timers, ms(50)), ["a"]);
    }

    #[test]
    fn fault_58_repeating_timer_that_missed_many_periods_is_called_once_and_keeps_its_beat() {
        let mut timers = Timers::default();
        timers.set("beat", Alarm::every(Duration::from_millis(10), ms(3)));
        assert_eq!(due(&mut timers, ms(13)), ["beat"]);
        assert_eq!(timers.next(), ms(23));
        assert_eq!(due(&mut timers, ms(1_000_000)), ["beat"]);
        assert_eq!(timers.next(), ms(1_000_003));
        assert_eq!(due(&mut timers, ms(1_000_003)), ["beat"]);
        assert_eq!(timers.next(), ms(1_000_013));
    }

    #[test]
    fn fault_69_times_at_the_end_of_time_are_never_due_and_do_not_overflow() {
        let mut timers = Timers::default();
        timers.set("endless", Alarm::every(Duration::MAX, ms(1)));
        timers.set("never", Alarm::Once { at: ms(1) + Duration::MAX });
        assert_eq!(timers.next(), Time::NEVER);
        assert_eq!(due(&mut timers, ms(u64::MAX / 1_000_000)), [""; 0]);
        // Even if time itself ended.
        assert_eq!(due(&mut timers, Time::NEVER).len(), 10);
        timers.set("endless", Alarm::every(Duration::ZERO, Time::NEVER));
        assert_eq!(timers.next(), Time::NEVER);
    }

    #[test]
    fn period_of_zero_is_a_millisecond_and_no_loop() {
        let mut timers = Timers::default();
        timers.set("zero", Alarm::every(Duration::ZERO, ms(0)));
        assert_eq!(due(&mut timers, ms(5)), ["zero"]);
        assert_eq!(timers.next(), ms(6));
    }
}
