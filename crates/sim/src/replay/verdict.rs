//! What a replay comes to, in values and in words.

use drywire_core::Time;
use drywire_core::record::Ended;
use std::fmt;

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Everything came out as recorded.
    Identical(Identical),
    /// Something did not.
    Different(Box<Difference>),
}

/// What was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identical {
    /// Entries, the last one included.
    pub entries: u64,
    /// Turns.
    pub turns: u64,
    /// Bytes received from the transport, or for a layer.
    pub received: u64,
    /// Bytes the transport took, files included.
    pub sent: u64,
    /// How the recording ended.
    pub ended: Ended,
    /// The connection was dropped in the middle of a turn, and the call that follows
    /// panics: with these words.
    pub panicked: Option<String>,
    /// Secrets were blanked, so contents were not compared.
    pub masked: bool,
}

/// The first thing that is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the entry, from 0.
    pub number: u64,
    /// Where it is in the file, in bytes.
    pub offset: usize,
    /// The time of its turn.
    pub time: Time,
    /// What was recorded.
    pub recorded: String,
    /// What came now.
    pub now: String,
    /// The byte of output that differs, when one alone explains the difference.
    pub byte: Option<OutputByte>,
}

/// A byte of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputByte {
    /// Where in all the protocol sent, files included, counted from 0.
    pub at: u64,
    /// What it was, as its checksum says.
    pub recorded: u8,
    /// What it is now.
    pub now: u8,
}

impl Replayed {
    /// Everything came out as recorded.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        matches!(self, Replayed::Identical(_))
    }
}

/// One line when it is identical, a few when not; without a line end.
impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Replayed::Identical(identical) => identical.fmt(f),
            Replayed::Different(difference) => difference.fmt(f),
        }
    }
}

impl fmt::Display for Identical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identical { entries, turns, received, sent, .. } = self;
        write!(f, "identical: {entries} entries in {turns} turns, {received} bytes received, {sent} sent")?;
        f.write_str(match self.ended {
            Ended::Closed => "",
            Ended::Dropped => "; dropped without a close",
            Ended::Full => "; the recording ends at its bound",
        })?;
        if let Some(message) = &self.panicked {
            write!(f, "; the next call panics: {message}")?;
        }
        if self.masked {
            f.write_str("; masked, so contents were not compared")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { number, offset, time, recorded, now, byte } = self;
        writeln!(f, "different at entry {number} (offset {offset} in the file, {time:?})")?;
        writeln!(f, "  recorded: {recorded}")?;
        write!(f, "  now:      {now}")?;
        match byte {
            Some(byte) => write!(f, "\n  {byte}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for OutputByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutputByte { at, recorded, now } = self;
        let (was, is) = ([*recorded], [*now]);
        let (was, is) = (was.escape_ascii(), is.escape_ascii());
        write!(f, "output byte {at}: recorded 0x{recorded:02x} '{was}', now 0x{now:02x} '{is}'")
    }
}
