//! The tick and the named timers of a world: never early, in the round that is due, and
//! none after the end.

use drywire_core::Time;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const NAMES: [&str; 3] = ["one", "two", "three"];

/// A repeating timer is cancelled after so many calls.
pub(crate) const CALLS: u32 = 4;

/// When each is due.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    pub(crate) tick: Option<Beat>,
    pub(crate) named: BTreeMap<&'static str, Beat>,
    pub(crate) has_started: bool,
    pub(crate) has_stopped: bool,
    /// Ticks in a row with nothing else between them, and how far the world was then.
    pub(crate) idle_ticks: u32,
    pub(crate) progress: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    pub(crate) due: Time,
    pub(crate) period: Option<Duration>,
    pub(crate) calls: u32,
}

impl Beat {
    /// It is called now: when it is due again. An error when it was not due.
    fn call(self, now: Time) -> Result<Option<Beat>, String> {
        if self.due > now {
            return Err(format!("at {now:?}, and it is due at {:?}", self.due));
        }
        let again = self.period.map(|period| {
            // The first beat that is still to come.
            let missed = now.saturating_since(self.due).as_nanos() / period.as_nanos();
            let ahead = period.as_nanos() * (missed + 1);
            let due = self.due + Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX));
            Beat { due, period: Some(period), calls: self.calls + 1 }
        });
        Ok(again)
    }
}

impl Beats {
    pub(crate) fn on_tick(&mut self, now: Time) -> Result<(), String> {
        let tick = self.tick.ok_or("and there is none")?;
        self.tick = tick.call(now)?;
        Ok(())
    }

    pub(crate) fn on_timer(&mut self, name: &'static str, now: Time) -> Result<(), String> {
        let timer = self.named.remove(name).ok_or("and it is not set")?;
        if let Some(again) = timer.call(now)? {
            self.named.insert(name, again);
        }
        Ok(())
    }

    /// One that was due before, and was not called.
    pub(crate) fn is_late(&self, before: Time) -> bool {
        let all = self.named.values().chain(&self.tick);
        self.has_started && !self.has_stopped && all.clone().any(|beat| beat.due < before)
    }
}
