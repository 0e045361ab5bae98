//! What a handle says of its connection, against what the world knows.

use super::host::Host;
use super::net::address_of;
use super::speak::Speak;
use super::violation::{Invariant, Violation};
use drywire_core::Time;
use drywire_server::{Inspection, Standing};
use std::time::Duration;

/// When the first handle was made, and whether its peer was known then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) made: Time,
    pub(crate) is_known: bool,
}

/// Ages are kept in milliseconds, and a round has one time.
const BLUR: Duration = Duration::from_millis(3);

impl<P: Speak> Host<P> {
    /// Between two rounds.
    pub(crate) fn check_looks(&self) -> Result<(), Violation> {
        for (line, handle) in &self.handles {
            let seen = handle.inspect();
            let marks = self.marks[line];
            self.check_look(*line, marks, &seen).map_err(|what| {
                let text = format!("a look through its handle says {seen:?}, {what}");
                Violation::new(Invariant::Report, *line, text)
            })?;
        }
        Ok(())
    }

    fn check_look(&self, line: usize, marks: Marks, seen: &Inspection) -> Result<(), String> {
        let state = self.state.borrow();
        let this = &state.lines[line];
        let record = this.record.borrow();
        let (waiting, bytes) = record.waiting();
        let is_gone = this.reports > 0;
        if (seen.standing == Standing::Closed) != is_gone {
            return Err(format!("and it has had {} reports", this.reports));
        }
        if seen.tag != line as u64 + 7 {
            return Err("and that is not its tag".into());
        }
        let peer = marks.is_known.then(|| address_of(line));
        if seen.peer != peer {
            return Err(format!("and its peer is {peer:?}"));
        }
        if is_gone {
            return Ok(());
        }
        if seen.standing == Standing::Open && self.is_shut(line) {
            return Err("and its end was asked for".into());
        }
        if !waiting.contains(&(seen.waiting_commands as usize)) || !bytes.contains(&(seen.waiting_bytes as usize)) {
            return Err(format!("and {waiting:?} commands of {bytes:?} bytes wait"));
        }
        let age = state.round_at.saturating_since(marks.made);
        let quiet = state.round_at.saturating_since(marks.made.max(record.last_move));
        // Without memory it may not have opened yet, whenever its first turn was.
        let is_known = state.plan.house.memory.is_none() || !record.fed.is_empty() || !record.output.is_empty();
        if seen.age.abs_diff(age) > BLUR || (is_known && seen.quiet.abs_diff(quiet) > BLUR) {
            return Err(format!("and its age is {age:?}, its last move was {quiet:?} ago"));
        }
        Ok(())
    }

    /// The worker is gone.
    pub(crate) fn check_last_looks(&self) -> Result<(), Violation> {
        for (line, handle) in &self.handles {
            let seen = handle.inspect();
            if seen.standing != Standing::Closed || seen.waiting_commands > 0 || seen.waiting_bytes > 0 {
                let text = format!("the worker is gone, and a look through its handle says {seen:?}");
                return Err(Violation::new(Invariant::Baseline, *line, text));
            }
        }
        Ok(())
    }
}
