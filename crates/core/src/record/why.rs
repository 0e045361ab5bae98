//! Why a connection waits, in its own terms: for a timeline.

use core::fmt;

/// A small set of reasons to wait. [`Wait`](crate::Wait) says what a driver does
/// about it; this says what stands behind it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Why(u8);

impl Why {
    /// Nothing: it is closed.
    pub const NOTHING: Why = Why(0);
    /// For input from the peer.
    pub const INPUT: Why = Why(1);
    /// For the transport to take output.
    pub const TRANSPORT: Why = Why(2);
    /// For the answer to a file that was asked for.
    pub const FILE: Why = Why(4);
    /// A call was refused for want of room in the output; it waits until all of it is sent.
    pub const FULL_OF_BYTES: Why = Why(8);
    /// A call was refused because too many events wait.
    pub const FULL_OF_EVENTS: Why = Why(16);
    /// A call was refused because too many parts of files are queued.
    pub const FULL_OF_FILES: Why = Why(32);
    /// The protocol asked for room.
    pub const ROOM: Why = Why(64);
    /// The protocol has disabled reading.
    pub const READING_DISABLED: Why = Why(128);

    const NAMES: [(Why, &'static str); 8] = [
        (Why::INPUT, "input"),
        (Why::TRANSPORT, "the transport to take output"),
        (Why::FILE, "the answer to a file"),
        (Why::FULL_OF_BYTES, "room: full of bytes"),
        (Why::FULL_OF_EVENTS, "room: full of events"),
        (Why::FULL_OF_FILES, "room: full of files"),
        (Why::ROOM, "room the protocol asked for"),
        (Why::READING_DISABLED, "the protocol to enable reading"),
    ];

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Why) -> Why {
        Why(self.0 | other.0)
    }

    /// These, and those too if `is_so`.
    #[must_use]
    pub const fn and_if(self, is_so: bool, other: Why) -> Why {
        if is_so { self.and(other) } else { self }
    }

    /// All of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Why) -> bool {
        self.0 & other.0 == other.0
    }

    /// Each in words, in the order of the constants.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Why::NAMES.into_iter().filter(move |(why, _)| self.contains(*why)).map(|(_, name)| name)
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn from_bits(bits: u8) -> Why {
        Why(bits)
    }
}

/// `input, the transport to take output`; `nothing` for the empty set.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.words();
        f.write_str(words.next().unwrap_or("nothing"))?;
        words.try_for_each(|word| write!(f, ", {word}"))
    }
}

impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.words()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn reasons_are_listed_in_words() {
        let why = Why::TRANSPORT.and(Why::INPUT).and_if(false, Why::ROOM).and_if(true, Why::FULL_OF_BYTES);
        assert_eq!(why.to_string(), "input, the transport to take output, room: full of bytes");
        assert_eq!(Why::NOTHING.to_string(), "nothing");
        assert_eq!(Why::from_bits(u8::MAX).words().count(), 8);
    }
}
