//! Which faults a seed switches on, how often each of them strikes, and which of
//! its strikes are left out when a failure is shortened.
//!
//! Source: Groce et al., Swarm Testing (ISSTA 2012): a random subset of the faults in
//! each run finds more than all of them in every run.

use crate::Random;
use std::collections::BTreeSet;
use std::fmt;

/// Everything that can go wrong on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A read would block though there is something (FAULTS 15).
    ReadBlocks,
    /// A write would block though there is room (FAULTS 15).
    WriteBlocks,
    /// The transport takes less than it could (FAULTS 16).
    WritesLittle,
    /// The transport gives less than it could, where that means nothing (FAULTS 17).
    ReadsLittle,
    /// News of nothing.
    IdleNews,
    /// News of a connection that is gone (FAULTS 20).
    StaleNews,
    /// News that comes late.
    LateNews,
    /// The process stands still (FAULTS 58).
    Pause,
    /// The peer, or the kernel, resets (FAULTS 7, 12, 13).
    Reset,
    /// The peer has reset before it is accepted (FAULTS 8).
    ResetAtOnce,
    /// No descriptor left for `accept` (FAULTS 18, 19).
    NoDescriptors,
    /// `accept` reports the trouble of one connection (FAULTS 8).
    LostInBacklog,
    /// The poller does not take the stream.
    NoRegistration,
    /// The application turns a peer away.
    TurnedAway,
    /// The peer falls silent for ever (FAULTS 6).
    Vanishes,
    /// The peer reads nothing (FAULTS 4, 5).
    NeverReads,
    /// The peer reads little at a time (FAULTS 3).
    ReadsSlowly,
    /// A file is not there, or not to be had (FAULTS 49, 50).
    NoFile,
    /// The answer to an open comes later.
    LateFile,
    /// A file becomes shorter while it is sent (FAULTS 46).
    FileCut,
    /// A file fails while it is sent (FAULTS 49).
    FileBroken,
    /// Nobody answers where we connect.
    NoConnection,
    /// The server is shut down in the middle (FAULTS 57).
    Shutdown,
    /// It is asked to again, or to stop at once.
    Stop,
    /// The driver is dropped.
    Dropped,
    /// More commands than fit (FAULTS 64).
    Flood,
    /// Connections are closed and aborted by the application (FAULTS 60, 61, 63).
    Meddling,
    /// Connections are added by the application (FAULTS 61).
    Newcomers,
    /// A write is refused as if it did not fit (FAULTS 54, 55).
    Full,
    /// A handler of the protocol panics (FAULTS 59).
    HandlerPanics,
    /// A callback of the application panics (FAULTS 59).
    CallbackPanics,
    /// A name has no address.
    NoName,
    /// A name is looked up for a while.
    LateName,
    /// Nobody answers what address a name has.
    SilentName,
}

impl Fault {
    /// All of them, in the order of the enum.
    pub const ALL: [Fault; 34] = [
        Fault::ReadBlocks,
        Fault::WriteBlocks,
        Fault::WritesLittle,
        Fault::ReadsLittle,
        Fault::IdleNews,
        Fault::StaleNews,
        Fault::LateNews,
        Fault::Pause,
        Fault::Reset,
        Fault::ResetAtOnce,
        Fault::NoDescriptors,
        Fault::LostInBacklog,
        Fault::NoRegistration,
        Fault::TurnedAway,
        Fault::Vanishes,
        Fault::NeverReads,
        Fault::ReadsSlowly,
        Fault::NoFile,
        Fault::LateFile,
        Fault::FileCut,
        Fault::FileBroken,
        Fault::NoConnection,
        Fault::Shutdown,
        Fault::Stop,
        Fault::Dropped,
        Fault::Flood,
        Fault::Meddling,
        Fault::Newcomers,
        Fault::Full,
        Fault::HandlerPanics,
        Fault::CallbackPanics,
        Fault::NoName,
        Fault::LateName,
        Fault::SilentName,
    ];
    /// How many kinds there are.
    pub const COUNT: usize = Fault::ALL.len();

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// One in how many chances it strikes, when it is on: a range to draw from. What
    /// has few chances in a world strikes at many of them.
    const fn odds(self) -> (usize, usize) {
        match self {
            Fault::ReadBlocks | Fault::WriteBlocks | Fault::IdleNews | Fault::LateNews => (2, 20),
            Fault::WritesLittle | Fault::ReadsLittle | Fault::LateFile => (1, 5),
            Fault::StaleNews => (2, 10),
            Fault::Pause => (5, 60),
            Fault::Vanishes | Fault::NeverReads | Fault::ReadsSlowly | Fault::Reset => (1, 6),
            Fault::ResetAtOnce | Fault::NoRegistration | Fault::TurnedAway => (2, 8),
            Fault::NoDescriptors | Fault::LostInBacklog | Fault::NoConnection => (2, 6),
            Fault::NoFile | Fault::FileCut | Fault::FileBroken => (2, 10),
            Fault::Shutdown | Fault::Stop | Fault::Dropped => (1, 3),
            Fault::Flood | Fault::Meddling | Fault::Newcomers => (2, 10),
            Fault::Full => (1, 4),
            Fault::HandlerPanics => (1, 4),
            Fault::CallbackPanics => (4, 40),
            Fault::NoName | Fault::LateName | Fault::SilentName => (1, 4),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One strike: which fault, on which connection, at which of its chances. It keeps
/// its name when other strikes are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strike {
    /// The fault.
    pub fault: Fault,
    /// The number of the peer; [`Strike::NOBODY`] for what befalls all.
    pub line: usize,
    /// The how many-th chance it took, from 0.
    pub chance: u32,
}

/// In words, for a report.
impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Strike::NOBODY => write!(f, "{}, chance {}", self.fault, self.chance),
            line => write!(f, "{} on peer {line}, chance {}", self.fault, self.chance),
        }
    }
}

impl Strike {
    /// Stands for no peer in particular.
    pub const NOBODY: usize = usize::MAX;
}

/// Decides at every chance whether a fault strikes.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    seed: u64,
    /// 0: off; else one in so many chances.
    odds: [usize; Fault::COUNT],
    /// When a failure is shortened: nothing else strikes.
    only: Option<BTreeSet<Strike>>,
    /// Nothing befalls this one.
    pub(crate) spared: Option<usize>,
    pub(crate) struck: Vec<Strike>,
    global: [u32; Fault::COUNT],
}

impl Swarm {
    pub(crate) fn new(seed: u64, off: &BTreeSet<Fault>, only: Option<BTreeSet<Strike>>) -> Swarm {
        let mut random = Random::new(seed ^ 0x5357_4152_4d00);
        // A few seeds have none: what fails there needs no fault at all.
        let share = random.pick(&[0, 2, 3, 3, 5, 8]);
        let odds = Fault::ALL.map(|fault| {
            let (low, high) = fault.odds();
            let (on, odds) = (share > 0 && random.one_in(share), random.between(low, high));
            if on && !off.contains(&fault) { odds } else { 0 }
        });
        Swarm { seed, odds, only, spared: None, struck: Vec::new(), global: [0; Fault::COUNT] }
    }

    pub(crate) fn is_on(&self, fault: Fault) -> bool {
        self.odds[fault.index()] > 0
    }

    pub(crate) fn switch_off(&mut self, fault: Fault) {
        self.odds[fault.index()] = 0;
    }

    /// A chance of `fault` on one connection, which counts its own.
    pub(crate) fn strikes(&mut self, fault: Fault, line: usize, chances: &mut [u32; Fault::COUNT]) -> bool {
        let chance = chances[fault.index()];
        chances[fault.index()] += 1;
        self.decide(Strike { fault, line, chance })
    }

    /// A chance of `fault` on all of it.
    pub(crate) fn strikes_all(&mut self, fault: Fault) -> bool {
        let chance = self.global[fault.index()];
        self.global[fault.index()] += 1;
        self.decide(Strike { fault, line: Strike::NOBODY, chance })
    }

    fn decide(&mut self, strike: Strike) -> bool {
        let odds = self.odds[strike.fault.index()];
        if odds == 0 || (self.spared.is_some() && self.spared == Some(strike.line)) {
            return false;
        }
        // Not from a row of numbers: a strike left out must not move the others.
        let name = (strike.fault.index() as u64) << 56 ^ (strike.line as u64) << 32 ^ u64::from(strike.chance);
        let strikes = Random::new(self.seed ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15)).one_in(odds)
            && self.only.as_ref().is_none_or(|only| only.contains(&strike));
        if strikes {
            self.struck.push(strike);
        }
        strikes
    }
}
