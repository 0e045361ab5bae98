//! What a world may look like from outside, from what happened in it alone.

use super::tiny::LIMITS;
use drywire_core::{CloseReport, Limit, Reason};
use std::convert::Infallible;

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// Bytes that were sent to the connection.
    pub(crate) delivered: Vec<u8>,
    /// Commands that it took.
    pub(crate) commands: usize,
    pub(crate) ended: bool,
    pub(crate) reset: bool,
    pub(crate) drained: bool,
    pub(crate) closed: bool,
    pub(crate) aborted: bool,
    /// Time passed at least once while output was owed and the transport had no room.
    pub(crate) late: bool,
    /// A turn was made when nothing had moved for the idle time, and nothing could move.
    pub(crate) idled: bool,
}

/// What the delivered bytes mean.
struct Meaning {
    /// All that may ever come back of them.
    echo: Vec<u8>,
    /// They end it: by `q`, or by a line that is too long.
    quits: bool,
    too_long: bool,
}

impl Model {
    fn meaning(&self) -> Meaning {
        let mut meaning = Meaning { echo: Vec::new(), quits: false, too_long: false };
        let mut rest = &self.delivered[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if end >= LIMITS.input_bytes as usize {
                break;
            }
            meaning.echo.extend_from_slice(&rest[..=end]);
            if &rest[..end] == b"q" {
                meaning.quits = true;
                return meaning;
            }
            rest = &rest[end + 1..];
        }
        if rest.len() >= LIMITS.input_bytes as usize {
            meaning.too_long = true;
            meaning.echo.push(b'!');
        } else if self.ended {
            meaning.echo.extend_from_slice(rest);
        }
        meaning
    }

    /// Nothing has happened that ends it.
    pub(crate) fn is_going_on(&self) -> bool {
        let meaning = self.meaning();
        let asked = self.drained || self.closed || self.aborted;
        !(asked || self.ended || self.reset || self.idled || meaning.quits || meaning.too_long)
    }

    /// While it is open, after a turn.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn open(&self, taken: &[u8], room: usize, wait: drywire_core::Wait) -> Result<(), String> {
        let meaning = self.meaning();
        let echoed = self.projected(taken, &meaning)?;
        if !self.is_going_on() {
            return Ok(());
        }
        let commands = taken.iter().filter(|byte| **byte == b'c').count();
        let owes = echoed < meaning.echo.len() || commands < self.commands;
        match (owes, room) {
            (true, 1..) => Err("something is owed though there was room".to_owned()),
            (true, 0) if !wait.write => Err("something is owed, and nobody waits to write it".to_owned()),
            (false, _) if !wait.read => Err("nothing is owed, and nobody waits for input".to_owned()),
            (true | false, _) => Ok(()),
        }
    }

    /// At the close.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn end(&self, taken: &[u8], report: &CloseReport<Infallible>) -> Result<(), String> {
        let meaning = self.meaning();
        let echoed = self.projected(taken, &meaning)?;
        let commands = taken.iter().filter(|byte| **byte == b'c').count();
        let happened = match report.reason {
            Reason::Finished => self.ended || self.drained || meaning.quits,
            Reason::Requested => self.closed,
            Reason::Panicked | Reason::Shed => false,
            Reason::Aborted => self.aborted,
            Reason::Transport(_) => self.reset,
            Reason::Stalled => self.late,
            Reason::Limit(Limit::Input(4)) => meaning.too_long,
            Reason::Limit(Limit::Idle(50)) => self.idled,
            Reason::Limit(_) | Reason::Misuse(_) | Reason::File(_) | Reason::Layer(_) | Reason::Peer(_) => false,
        };
        if !happened {
            return Err(format!("closed for {:?}, which has not happened", report.reason));
        }
        if report.counters.sent != taken.len() as u64 {
            return Err(format!("{} bytes counted, {} taken", report.counters.sent, taken.len()));
        }
        if report.reason.is_abort() {
            return Ok(());
        }
        if report.counters.unsent > 0 {
            return Err(format!("{} bytes dropped in a close that is no abort", report.counters.unsent));
        }
        // These may come before the rest was handled.
        let is_cut = self.drained || self.closed || self.idled;
        let is_between = echoed == 0 || meaning.echo[echoed - 1] == b'\n';
        let is_short = echoed < meaning.echo.len();
        if is_short && !is_cut {
            return Err(format!("only {echoed} bytes were echoed"));
        }
        if is_short && !is_between {
            return Err("a line was cut in two".to_owned());
        }
        // Other ends may overtake a command that waits for room; this one says it does not.
        if report.reason == Reason::Requested && commands < self.commands {
            return Err("a command that was taken was not handled before the close".to_owned());
        }
        Ok(())
    }

    /// How many bytes of the echo were taken: beside `c`, `t` and `d`, which stand between
    /// lines and are no more than there were.
    fn projected(&self, taken: &[u8], meaning: &Meaning) -> Result<usize, String> {
        let mut echoed = 0;
        let (mut commands, mut timers, mut drained) = (0, 0, false);
        for byte in taken {
            if drained {
                return Err("something follows the last answer of a shutdown".to_owned());
            }
            match byte {
                b'c' => commands += 1,
                b't' => timers += 1,
                b'd' if self.drained && !drained => drained = true,
                byte if meaning.echo.get(echoed) == Some(byte) => {
                    echoed += 1;
                    continue;
                }
                byte => return Err(format!("{byte:#x} after {echoed} bytes of the echo was never owed")),
            }
            if echoed > 0 && meaning.echo[echoed - 1] != b'\n' {
                return Err("an answer within a line".to_owned());
            }
        }
        if commands > self.commands || timers > commands {
            return Err(format!("{commands} answers and {timers} timers of {} commands", self.commands));
        }
        Ok(echoed)
    }
}
