//! What a world can find wrong, and which promise that breaks.

use std::fmt;

/// The promises that are checked after every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// I1: every byte in its place, and a typed reason for what is missing.
    Output,
    /// I2: what is held stays within its bounds.
    Bounds,
    /// I3: no loop without progress, and no wait while there is something to do.
    Progress,
    /// I4: one close report, true, and nothing after it.
    Report,
    /// I5: what others do changes nothing for a connection.
    Neighbours,
    /// I6: in the end nothing is left, and nothing was closed twice.
    Baseline,
    /// The code under test did not panic.
    Panic,
    /// The same seed gave the same world.
    Repeats,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Invariant::Output => "I1 output",
            Invariant::Bounds => "I2 bounds",
            Invariant::Progress => "I3 progress",
            Invariant::Report => "I4 report",
            Invariant::Neighbours => "I5 neighbours",
            Invariant::Baseline => "I6 baseline",
            Invariant::Panic => "panic",
            Invariant::Repeats => "repeats",
        })
    }
}

/// A promise that was broken, on which connection, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {}{text}", Line(*line))]
pub struct Violation {
    /// Which promise.
    pub invariant: Invariant,
    /// The connection, by the number of its peer.
    pub line: Option<usize>,
    /// What happened, in words.
    pub text: String,
}

impl Violation {
    pub(crate) fn new(invariant: Invariant, line: impl Into<Option<usize>>, text: impl Into<String>) -> Violation {
        Violation { invariant, line: line.into(), text: text.into() }
    }
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "peer {line}: "))
    }
}
