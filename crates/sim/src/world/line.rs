//! One connection as the network sees it: two pipes with a peer at their end.

use super::plan::Script;
use super::record::Record;
use super::swarm::Fault;
use drywire_core::{Time, TransportError};
use drywire_server::{Connecting, Id, News, Release};
use std::cell::RefCell;
use std::rc::Rc;

/// Where a connection is in its life, as the network has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its peer has not come.
    Absent,
    /// It waits to be accepted.
    Backlog,
    /// Out of the backlog, not registered yet.
    Accepted,
    /// It has an id.
    Open,
    /// Its stream was closed.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) script: Script,
    pub(crate) record: Rc<RefCell<Record>>,
    pub(crate) life: Life,
    pub(crate) id: Option<Id>,
    pub(crate) connecting: Connecting,
    pub(crate) chances: [u32; Fault::COUNT],
    /// Towards us, in bytes of the script: read by us, arrived, sent.
    pub(crate) read: usize,
    pub(crate) arrived: usize,
    pub(crate) sent: usize,
    pub(crate) last_arrival: Time,
    pub(crate) end_sent: bool,
    pub(crate) end_arrived: bool,
    /// We have read it.
    pub(crate) end_read: bool,
    pub(crate) fault: Option<TransportError>,
    /// The peer waits for room before it sends more.
    pub(crate) send_waits: bool,
    pub(crate) send_planned: bool,
    pub(crate) silent: bool,
    /// Towards the peer, in bytes: taken by the network, read by the peer.
    pub(crate) taken: usize,
    pub(crate) peer_read: usize,
    pub(crate) read_planned: bool,
    /// Our end was announced to the peer.
    pub(crate) end_announced: bool,
    pub(crate) peer_saw_end: bool,
    /// A write was refused: room is news.
    pub(crate) write_blocked: bool,
    /// We asked to end before it stood.
    pub(crate) ends_later: bool,
    pub(crate) pending: News,
    pub(crate) due: Time,
    /// A poller that is asked: what for.
    pub(crate) asked: (bool, bool),
    pub(crate) wait_deadline: Option<Time>,
    /// A write found no room though there was some, since the last that worked.
    pub(crate) write_spurious: bool,
    pub(crate) released: Option<Release>,
    pub(crate) reports: u32,
    /// It counts among the connections that are open.
    pub(crate) has_place: bool,
    /// It has had a stream.
    pub(crate) has_begun: bool,
    /// When we give up on it, if it does not stand by then.
    pub(crate) given_up: Option<Time>,
    /// Moved in the news of this round, for the budget.
    pub(crate) spent: usize,
}

impl Line {
    pub(crate) fn new(script: Script, record: Rc<RefCell<Record>>) -> Line {
        Line {
            script,
            record,
            life: Life::Absent,
            id: None,
            connecting: Connecting::Stands,
            chances: [0; Fault::COUNT],
            read: 0,
            arrived: 0,
            sent: 0,
            last_arrival: Time::ZERO,
            end_sent: false,
            end_arrived: false,
            end_read: false,
            fault: None,
            send_waits: false,
            send_planned: false,
            silent: false,
            taken: 0,
            peer_read: 0,
            read_planned: false,
            end_announced: false,
            peer_saw_end: false,
            write_blocked: false,
            ends_later: false,
            pending: News::default(),
            due: Time::ZERO,
            asked: (false, false),
            wait_deadline: None,
            write_spurious: false,
            released: None,
            reports: 0,
            has_place: false,
            has_begun: false,
            given_up: None,
            spent: 0,
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        self.pending != News::default()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// A read would not block.
    pub(crate) fn is_readable(&self) -> bool {
        let there = self.arrived > self.read || self.end_arrived || self.fault.is_some();
        self.connecting != Connecting::Pending && there && !self.end_read
    }

    /// Bytes that a write could put in.
    pub(crate) fn room(&self) -> usize {
        self.script.window - (self.taken - self.peer_read)
    }

    /// A write would not block.
    pub(crate) fn is_writable(&self) -> bool {
        self.connecting != Connecting::Pending && (self.room() > 0 || self.fault.is_some())
    }
}
