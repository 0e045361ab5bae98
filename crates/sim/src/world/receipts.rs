//! What became of each command that was sent with a receipt, against what the world knows
//! of it.

use super::record::Record;
use super::state::State;
use super::violation::{Invariant, Violation};
use drywire_server::{Dropped, Outcome, Receipt};

/// All receipts of a world.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    all: Vec<Tracked>,
}

#[derive(Debug)]
struct Tracked {
    line: usize,
    serial: u32,
    receipt: Receipt,
    /// The first word, which stands.
    outcome: Option<Outcome>,
}

impl Receipts {
    pub(crate) fn add(&mut self, line: usize, serial: u32, receipt: Receipt) {
        self.all.push(Tracked { line, serial, receipt, outcome: None });
    }

    /// What is said is true, and is said once. `waits`: the server has nothing left to do now.
    pub(crate) fn check(&mut self, state: &State, waits: bool) -> Result<(), Violation> {
        for tracked in &mut self.all {
            let (line, serial) = (tracked.line, tracked.serial);
            let said = tracked.receipt.try_get();
            let record = state.lines[line].record.borrow();
            let wrong = |text: String| Err(Violation::new(Invariant::Report, line, text));
            match (tracked.outcome, said) {
                (Some(before), said) if said != Some(before) => {
                    return wrong(format!("the receipt of command {serial} said {before:?}, and now {said:?}"));
                }
                (Some(_), _) => {}
                (None, Some(outcome)) => {
                    if let Err(text) = judge(&record, serial, outcome, state.lines[line].reports > 0) {
                        return wrong(format!("the receipt of command {serial} says {outcome:?}, {text}"));
                    }
                    tracked.outcome = Some(outcome);
                }
                (None, None) if !waits => {}
                (None, None) => {
                    let this = &state.lines[line];
                    let is_written = record.handled.contains_key(&serial) && record.owes_nothing();
                    let (_, opening) = state.disk.count(line);
                    // Last words may still be owed, which nobody knows beforehand.
                    let is_blocked = this.room() == 0 || this.write_spurious || this.has_news();
                    if this.reports > 0 || (is_written && opening == 0 && !is_blocked) {
                        return wrong(format!("the receipt of command {serial} was forgotten"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The worker is gone.
    pub(crate) fn check_complete(&self) -> Result<(), Violation> {
        let pending = self.all.iter().find(|tracked| tracked.receipt.try_get().is_none());
        pending.map_or(Ok(()), |tracked| {
            let text = format!("the receipt of command {} was never completed", tracked.serial);
            Err(Violation::new(Invariant::Baseline, tracked.line, text))
        })
    }
}

fn judge(record: &Record, serial: u32, outcome: Outcome, is_closed: bool) -> Result<(), String> {
    match outcome {
        Outcome::Written => match record.handled.get(&serial) {
            None => Err("and it was never handled".into()),
            Some(owed) if record.taken < *owed => {
                Err(format!("and of {owed} bytes that were owed then {} were taken", record.taken))
            }
            Some(_) => Ok(()),
        },
        Outcome::Dropped(Dropped::Displaced) => Err("and it was no group's".into()),
        Outcome::Dropped(_) if !is_closed => Err("and its connection has not ended".into()),
        Outcome::Dropped(why) if Some(why) != record.ended_as => Err(format!("it ended as {:?}", record.ended_as)),
        Outcome::Dropped(_) => Ok(()),
    }
}
