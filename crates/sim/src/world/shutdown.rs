//! Who was cut in a shutdown, as the world saw it, against the report of it (FAULTS 57).

use super::violation::{Invariant, Violation};
use drywire_core::Time;
use drywire_server::{Address, DrainReport, Id};
use std::collections::BTreeMap;

/// What must be in the report.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    /// Connections that were open when the shutdown was asked for.
    pub(crate) open: Option<usize>,
    pub(crate) asked_at: Option<Time>,
    /// Connections that were idle when it began.
    pub(crate) idle: BTreeMap<usize, Idle>,
    pub(crate) finished: u64,
    pub(crate) cut: Vec<Lost>,
    /// It was asked for again, or to stop.
    pub(crate) asked_again: bool,
}

/// A connection on which nothing had moved for long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// It had no last words to say, as far as the world knows.
    pub(crate) is_sure: bool,
    /// Bytes of its peer.
    pub(crate) fed: usize,
}

/// One that may not have all that was written for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) id: Id,
    pub(crate) peer: Option<Address>,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
}

impl Farewell {
    /// All connections have ended.
    pub(crate) fn check(&self, report: Option<&DrainReport>, is_dropped: bool) -> Result<(), Violation> {
        let wrong = |text: String| Err(Violation::new(Invariant::Report, None, text));
        let Some(report) = report else {
            let is_empty = self.cut.is_empty() && self.finished == 0;
            return if is_empty { Ok(()) } else { wrong("a shutdown without a report".into()) };
        };
        let named = report.cut.iter().map(|cut| Lost {
            id: cut.id,
            peer: cut.peer.clone(),
            sent: cut.sent,
            unsent: cut.unsent,
        });
        let named: Vec<Lost> = named.collect();
        if named != self.cut || report.unnamed > 0 {
            return wrong(format!("the report of the shutdown names {named:?}; cut were {:?}", self.cut));
        }
        // A driver that is dropped makes no rounds any more; the world does, and lets some in.
        let open = self.open.filter(|_| !is_dropped);
        if report.finished != self.finished || open.is_some_and(|open| open != report.open) {
            let finished = self.finished;
            return wrong(format!("the report of the shutdown: {report:?}; {open:?} were open, {finished} finished"));
        }
        if report.asked_again && !self.asked_again {
            return wrong("the report of the shutdown says that it was asked for again, and it was not".into());
        }
        Ok(())
    }
}
