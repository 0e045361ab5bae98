//! What happens in a run, and in which manner: the steps are what two runs have in
//! common, the manner is what must make no difference.

use super::finding::Check;
use std::fmt;

/// One thing that happens to a connection, once it has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// These bytes arrive.
    Bytes(&'a [u8]),
    /// The command that was made known as the nth.
    Command(usize),
    /// Time passes until so many deadlines were met.
    Deadlines(usize),
    /// Nothing: the connection is looked at. It must be waiting for something.
    Rest,
    /// The peer ends its direction.
    End,
    /// The peer resets.
    Reset,
    /// The server shuts down.
    Drain,
    /// The application closes.
    Close,
    /// The application aborts.
    Abort,
}

/// Sizes of successive reads or writes; 0 is a would-block. After the last one they
/// begin anew, or everything goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    sizes: Vec<usize>,
    repeats: bool,
    at: usize,
}

impl Sizes {
    pub(super) const ALL: Sizes = Sizes { sizes: Vec::new(), repeats: false, at: 0 };

    /// These, then all.
    pub(super) fn then_all(sizes: &[usize]) -> Sizes {
        Sizes { sizes: sizes.to_vec(), repeats: false, at: 0 }
    }

    /// These, again and again.
    ///
    /// # Panics
    /// When none of them lets anything through.
    pub(super) fn again_and_again(sizes: &[usize]) -> Sizes {
        assert!(sizes.iter().any(|size| *size > 0), "nothing would ever move");
        Sizes { sizes: sizes.to_vec(), repeats: true, at: 0 }
    }

    pub(super) fn next(&mut self) -> usize {
        let index = if self.repeats { self.at % self.sizes.len() } else { self.at };
        self.at += 1;
        self.sizes.get(index).copied().unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        if self.sizes.is_empty() {
            return f.write_str("all at once");
        }
        for (i, size) in self.sizes.iter().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match size {
                0 => write!(f, "{comma}would-block")?,
                1 => write!(f, "{comma}1 byte")?,
                n => write!(f, "{comma}{n} bytes")?,
            }
        }
        let rest = if self.sizes.len() > SHOWN { ", …" } else { "" };
        write!(f, "{rest}, then {}", if self.repeats { "the same again" } else { "all" })
    }
}

/// How a run goes. None of it may show in what the peer and the application see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// How the input is cut.
    pub(super) reads: Sizes,
    /// How the transport takes output.
    pub(super) writes: Sizes,
    /// The write, counted from 1, that is refused as if it did not fit; 0: none.
    pub(super) full_at: u32,
    /// Other bounds for what waits: of output in bytes, of events.
    pub(super) tight: Option<(u32, u16)>,
    /// A turn ends after this many bytes or so, and the next goes on.
    pub(super) budget: usize,
    /// Files are opened in a later turn.
    pub(super) opens_later: bool,
}

impl Manner {
    /// Everything at once, nothing refused: what the others are compared with.
    pub(super) const PLAIN: Manner = Manner {
        reads: Sizes::ALL,
        writes: Sizes::ALL,
        full_at: 0,
        tight: None,
        budget: usize::MAX,
        opens_later: false,
    };

    /// First one thing at a time, so that a difference has a name; then all of it.
    pub(super) fn apart(&self) -> [(Check, Manner); 4] {
        let Manner { reads, writes, full_at, .. } = self.clone();
        [
            (Check::Split, Manner { reads, ..Manner::PLAIN }),
            (Check::Full, Manner { full_at, ..Manner::PLAIN }),
            (Check::SlowPeer, Manner { writes, ..Manner::PLAIN }),
            (Check::SlowPeer, self.clone()),
        ]
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {}", self.reads)?;
        if self.writes != Sizes::ALL {
            write!(f, "; written {}", self.writes)?;
        }
        if self.full_at > 0 {
            write!(f, "; write {} refused as full", self.full_at)?;
        }
        if let Some((bytes, events)) = self.tight {
            write!(f, "; bounds of {bytes} bytes of output and {events} events")?;
        }
        if self.budget != usize::MAX {
            write!(f, "; turns of {} bytes or messages", self.budget)?;
        }
        if self.opens_later {
            f.write_str("; files opened in a later turn")?;
        }
        Ok(())
    }
}
