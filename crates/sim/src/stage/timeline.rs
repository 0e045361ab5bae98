//! What has happened on a stage: all of it as a number, the last of it in words.

use drywire_core::Time;
use std::collections::VecDeque;
use std::fmt;

/// Things that are remembered in words.
const LAST: usize = 256;

/// What happens. A number belongs to those whose words end in a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Told,
    Spurious,
    Arrived,
    TheirEnd,
    TheirReset,
    Says,
    Ends,
    Resets,
    Reads,
    OurEnd,
    Closed,
    Cut,
    Comes,
    AcceptFails,
    Accepted,
    Listens,
    StopsListening,
    Registered,
    Stands,
    NeverStands,
    LookedUp,
    ReadBlocks,
    ReadBlocksForNothing,
    ReadFails,
    EndRead,
    Read,
    WriteFails,
    WriteBlocks,
    WriteBlocksForNothing,
    Written,
}

impl What {
    fn words(self) -> &'static str {
        match self {
            What::Told => "news is told; the id:",
            What::Spurious => "news that means nothing is told; the id:",
            What::Arrived => "so many bytes more can be read:",
            What::TheirEnd => "the peer's end arrives",
            What::TheirReset => "it is reset; bytes that were not read and are left:",
            What::Says => "the peer says so many bytes:",
            What::Ends => "the peer ends",
            What::Resets => "the peer resets",
            What::Reads => "the peer reads so many bytes:",
            What::OurEnd => "our end",
            What::Closed => "our stream is closed",
            What::Cut => "our stream is closed with a reset",
            What::Comes => "the peer comes to a listener",
            What::AcceptFails => "accepting fails; the id:",
            What::Accepted => "accepted",
            What::Listens => "somebody listens; the id:",
            What::StopsListening => "nobody listens any more; the id:",
            What::Registered => "registered; the id:",
            What::Stands => "it stands",
            What::NeverStands => "it will never stand",
            What::LookedUp => "a name is looked up; the id:",
            What::ReadBlocks => "read: would block",
            What::ReadBlocksForNothing => "read: would block, for no reason",
            What::ReadFails => "read: fails",
            What::EndRead => "read: the end",
            What::Read => "read, in bytes:",
            What::WriteFails => "write: fails",
            What::WriteBlocks => "write: would block",
            What::WriteBlocksForNothing => "write: would block, for no reason",
            What::Written => "written, in bytes:",
        }
    }
}

#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) hash: u64,
    last: VecDeque<(Time, Option<usize>, What, u64)>,
}

impl Timeline {
    pub(super) fn new(seed: u64) -> Timeline {
        Timeline { hash: seed, last: VecDeque::new() }
    }

    pub(super) fn add(&mut self, now: Time, line: Option<usize>, what: What, number: u64) {
        let who = line.map_or(0, |line| line as u64 + 1) << 40;
        let word = (what as u64).wrapping_mul(0x0100_0000_01b3) ^ who ^ number ^ now.as_nanos().rotate_left(17);
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back((now, line, what, number));
    }

    #[cfg(test)]
    pub(super) fn has(&self, what: What) -> bool {
        self.last.iter().any(|(_, _, happened, _)| *happened == what)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line, what, number) in &self.last {
            write!(f, "{:>12.6} ms  ", at.as_nanos() as f64 / 1e6)?;
            if let Some(line) = line {
                write!(f, "peer {line}: ")?;
            }
            f.write_str(what.words())?;
            if what.words().ends_with(':') {
                write!(f, " {number}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
