//! One connection as the network has it: two pipes, and the peer at their end. What
//! moves them is in `traffic`.

use drywire_core::{Time, TransportError, Wait};
use drywire_server::{Address, Connecting, Id, News};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Weak;

/// A peer on a stage, by the order of its coming.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(super) usize);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How the connection's direction has ended, as its peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// In order, behind all that was written.
    End,
    /// By a reset. When the connection was cut, or its peer has reset, what was not heard yet is
    /// lost; when it was closed before it had read all that its peer said, nothing is. Also when
    /// nobody listens.
    Reset,
}

/// What somebody does who is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection stands.
    Answers,
    /// Nobody listens there.
    Refuses,
    /// Nothing ever comes back.
    Silent,
}

/// Where a connection is in its life, as the network has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// On its way to a listener, or waiting there.
    Backlog,
    /// A stream that nobody has registered yet.
    Loose,
    /// It has an id.
    Open,
    /// Its stream was closed.
    Gone,
}

/// Our direction, as it was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Open,
    /// The end stands behind what was written.
    Ended,
    /// So does a reset: it was closed before all was read that had come.
    ResetBehind,
}

/// How much the peer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    All,
    /// So many bytes more.
    Only(usize),
}

/// The peer's direction, as it was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theirs {
    Open,
    /// Its end, or its reset, is under way.
    Ending,
    /// Its end is here.
    Ended,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) address: Address,
    pub(super) life: Life,
    pub(super) id: Option<Id>,
    pub(super) connecting: Connecting,
    /// A loose stream that is dropped is closed; nobody tells us.
    pub(super) held: Weak<()>,
    /// Towards us: said, and not read by the connection.
    pub(super) inbound: VecDeque<u8>,
    /// Of these, from the front: have come through the network; stand in our socket.
    pub(super) landed: usize,
    pub(super) arrived: usize,
    pub(super) theirs: Theirs,
    pub(super) end_read: bool,
    pub(super) fault: Option<TransportError>,
    /// No piece comes before this.
    pub(super) last_arrival: Time,
    /// Towards the peer: written, and not read by it.
    pub(super) outbound: VecDeque<u8>,
    pub(super) heard: Vec<u8>,
    pub(super) ours: Ours,
    pub(super) seen: Option<Seen>,
    pub(super) reads: Reads,
    pub(super) read_planned: bool,
    /// A write was refused: room is news.
    pub(super) write_blocked: bool,
    pub(super) pending: News,
    pub(super) due: Time,
    /// What the connection waits for since its last turn.
    pub(super) wait: Wait,
    /// A deadline has come: what is there is really read.
    pub(super) is_honest: bool,
    /// A control: the next news is lost.
    pub(super) loses_news: bool,
}

impl Line {
    pub(super) fn new(address: Address, life: Life) -> Line {
        Line {
            address,
            life,
            id: None,
            connecting: Connecting::Stands,
            held: Weak::new(),
            inbound: VecDeque::new(),
            landed: 0,
            arrived: 0,
            theirs: Theirs::Open,
            end_read: false,
            fault: None,
            last_arrival: Time::ZERO,
            outbound: VecDeque::new(),
            heard: Vec::new(),
            ours: Ours::Open,
            seen: None,
            reads: Reads::All,
            read_planned: false,
            write_blocked: false,
            pending: News::default(),
            due: Time::ZERO,
            wait: Wait::default(),
            is_honest: false,
            loses_news: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    pub(super) fn has_news(&self) -> bool {
        self.pending != News::default()
    }

    /// The peer's end stands behind the bytes in our socket.
    pub(super) fn has_hung_up(&self) -> bool {
        self.theirs == Theirs::Ended && self.arrived == self.inbound.len()
    }

    /// A read would not block.
    pub(super) fn is_readable(&self) -> bool {
        let there = self.arrived > 0 || self.has_hung_up() || self.fault.is_some();
        self.connecting == Connecting::Stands && there && !self.end_read || self.connecting == Connecting::Failed
    }

    /// A write would not block.
    pub(super) fn is_writable(&self, room_bytes: usize) -> bool {
        match self.connecting {
            Connecting::Pending => false,
            Connecting::Stands => self.fault.is_some() || self.outbound.len() < room_bytes,
            Connecting::Failed => true,
        }
    }

    /// An edge was lost: the connection waits for what is there, and no news of it is under way.
    pub(super) fn has_lost(&self, room_bytes: usize) -> Option<&'static str> {
        if !self.is_open() {
            return None;
        }
        let News { read, write, hang_up, urgent: _, failed } = self.pending;
        if self.wait.read && self.is_readable() && !(read || hang_up) {
            return Some("may be read, and nobody is told");
        }
        if self.wait.write && self.is_writable(room_bytes) && !(write || failed) {
            return Some("may be written, and nobody is told");
        }
        None
    }
}
