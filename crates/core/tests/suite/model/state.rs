//! What the [`Reference`](super::reference::Reference) is made of: what goes in, what
//! is kept, what there is to be seen. What it does with them is in `reference` and `calls`.

use super::rich::Bad;
use drywire_core::{Counters, FileError, Reason, TransportError};
use std::collections::VecDeque;

/// One thing that happens to a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// The peer sends.
    Feed(Vec<u8>),
    PeerEnds,
    PeerResets,
    /// The transport takes so many bytes more.
    Room(usize),
    Command(Vec<u8>),
    /// The file that is being opened is there, or not.
    FileAnswer(Result<(), FileError>),
    TransportFails(TransportError),
    Drain,
    Close,
    Abort,
    /// Milliseconds pass.
    Later(u64),
    /// The nth write from now is refused as if it did not fit.
    FullAt(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Owed {
    Byte(u8),
    File { id: u32, name: u8, offset: u64, left: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gate {
    Idle,
    Asked,
    InFlight,
    Answered(Result<u64, FileError>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RoomFor {
    Nothing,
    Bytes(usize),
    Everything,
}

/// What a call may change and an undone one has not.
#[derive(Clone, Debug)]
pub(super) struct Undoable {
    pub(super) owed: VecDeque<Owed>,
    pub(super) told: Vec<u32>,
    /// Milliseconds, or rather nanoseconds: see [`Reference::now`].
    pub(super) timers: [Option<u64>; 4],
    pub(super) gate: Gate,
    pub(super) asked_name: u8,
    pub(super) next_file: u32,
    pub(super) room: RoomFor,
    pub(super) read_enabled: bool,
    pub(super) ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Ending {
    Not,
    Half,
    Close,
    Abort,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    New,
    Active,
    Flushing(End),
    Lingering(End),
    Closing(Reason<Bad>),
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub(super) reason: Reason<Bad>,
    pub(super) left: u64,
    pub(super) until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OutputEnd {
    Open,
    Asked,
    Sealed,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InputEnd {
    Open,
    Ended,
    Delivered,
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Asked {
    Nothing,
    Drain,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Full {
    Bytes,
    Files,
    /// Free as soon as the call is over: the application takes what it is told.
    Events,
}

/// Why a call will be undone; the first one counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    Full(Full),
    Failed(Reason<Bad>),
}

/// A call in the making.
pub(super) struct Call {
    pub(super) refusal: Option<Refusal>,
    pub(super) ended: bool,
    /// Bytes, events and file parts that it added.
    pub(super) bytes: usize,
    pub(super) events: usize,
    pub(super) parts: usize,
    pub(super) stay: bool,
    pub(super) again: Option<u8>,
    pub(super) too_much: bool,
    pub(super) part: bool,
    /// It asked for more than output and events, so what follows is a batch of its own.
    pub(super) changed: bool,
}

/// How a call, or an operation in it, did not go well. What it is is in the refusal
/// or, when the protocol itself gave up, here.
pub(super) enum Undo {
    Refused,
    Gave(Reason<Bad>),
}

/// What there is to compare after each input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Everything the peer got, fit to be printed.
    pub(crate) got: String,
    /// Everything the application was told.
    pub(crate) told: Vec<u32>,
    pub(crate) files_open: Vec<u32>,
    pub(crate) files_asked: u32,
    pub(crate) half_closed: bool,
    pub(crate) closes: Vec<Reason<Bad>>,
    pub(crate) counters: Counters,
    /// What it waits for; the deadline in nanoseconds.
    pub(crate) wait: (bool, bool, Option<u64>),
    pub(crate) takes_command: bool,
}
