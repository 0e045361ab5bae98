//! A simulated peer with its own clock, and a directory that is a table of lengths.

use crate::sent::Sent;
use drywire_core::{
    Blocked, Budget, CloseReport, Connection, FileError, FileId, Limits, OpenFile, Opening, Protocol, Ready,
    SendFileError, Time, Transport, TransportError, Turn, Wait, Workspace, turn,
};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

/// More turns than any test needs (I3: no loop without progress).
const TURNS: usize = 500_000;

/// Linux sends at most this many bytes of a file per call.
const SENDFILE_AT_MOST: u64 = 0x7fff_f000;

/// What a peer does, and in which portions.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Sent in this order, one portion per turn.
    pub(crate) says: Vec<Vec<u8>>,
    /// After the last portion: end our input, or stay silent.
    pub(crate) ends: bool,
    /// Bytes taken per write. 0: never takes anything.
    pub(crate) takes: usize,
    /// Every second write or send finds the transport full.
    pub(crate) stutters: bool,
    /// Files are opened at once, or answered in a later turn.
    pub(crate) opens_late: bool,
    /// What there is to open.
    pub(crate) files: BTreeMap<Vec<u8>, Result<u64, FileError>>,
    /// Per turn, the write that is refused as if it did not fit, counted from 1; 0: none.
    pub(crate) refuse: Vec<u32>,
    /// Reading fails with this after the last portion.
    pub(crate) read_fails: Option<TransportError>,
    /// Writing fails with this, always.
    pub(crate) write_fails: Option<TransportError>,
}

impl Peer {
    /// Says all of `input` at once, ends, and takes everything.
    pub(crate) fn says(input: &[u8]) -> Peer {
        Peer {
            says: vec![input.to_vec()],
            ends: true,
            takes: usize::MAX,
            stutters: false,
            opens_late: false,
            files: BTreeMap::new(),
            refuse: Vec::new(),
            read_fails: None,
            write_fails: None,
        }
    }

    pub(crate) fn byte_by_byte(mut self) -> Peer {
        self.says = self.says.concat().chunks(1).map(<[u8]>::to_vec).collect();
        self
    }

    /// Portions of these sizes, over and over.
    pub(crate) fn cut(mut self, sizes: &[usize]) -> Peer {
        let whole = self.says.concat();
        self.says.clear();
        let mut rest = &whole[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (portion, behind) = rest.split_at(rest.len().min(*size));
            self.says.push(portion.to_vec());
            rest = behind;
        }
        self
    }

    pub(crate) fn stays(mut self) -> Peer {
        self.ends = false;
        self
    }

    #[track_caller]
    pub(crate) fn meets<P: Protocol<Event = Infallible>>(self, protocol: P) -> Seen<P::Error> {
        self.meets_with(protocol, P::LIMITS)
    }

    /// Runs until the connection is closed, or waits for a peer who does nothing more.
    #[track_caller]
    pub(crate) fn meets_with<P: Protocol<Event = Infallible>>(self, protocol: P, limits: Limits) -> Seen<P::Error> {
        let mut connection = Connection::new(protocol).with_limits(limits);
        let mut workspace = Workspace::new();
        let mut refuse = self.refuse.clone().into_iter();
        let mut wire = Wire::new(self);
        let mut ready = Ready::UNKNOWN;
        let mut now = Time::ZERO;
        let mut seen = Seen { sent: Sent::new(), report: None, peak_bytes: 0, peak_files: 0, received: 0 };
        for _ in 0..TURNS {
            wire.begin_turn();
            ready.read = true;
            if let Some(nth) = refuse.next() {
                connection.inject_full(nth);
            }
            let mut live = connection.lend(&mut workspace, now);
            live.handle_writable();
            if let Some((id, result)) = wire.late.take() {
                live.handle_file(id, result).expect("it was asked for, and nothing else answered");
            }
            let end = turn(&mut live, &mut wire, &mut ready, &mut { Budget::DEFAULT });
            drop(live);
            let held = connection.held_bytes();
            let cap = (limits.input_bytes + limits.output_bytes) as usize + drywire_core::ERROR_REPLY_BYTES;
            assert!(held <= cap, "{held} bytes held, {cap} allowed (I2)");
            seen.peak_bytes = seen.peak_bytes.max(held);
            seen.peak_files = seen.peak_files.max(wire.open.len());
            match end {
                Turn::Event(never) => match never {},
                Turn::Again => {}
                Turn::Wait(wait) => {
                    if wire.moved || wire.late.is_some() || (wait.read && !wire.is_silent()) {
                        continue;
                    }
                    let Some(deadline) = wait.deadline else { break };
                    now = now.max(deadline);
                }
                Turn::Closed(report) => {
                    seen.report = Some(report);
                    break;
                }
            }
        }
        if let Some((id, Ok(_))) = wire.late.take() {
            wire.open.remove(&id);
        }
        if let Some(report) = &seen.report {
            assert!(connection.is_closed());
            assert_eq!(connection.held_bytes(), 0, "held after the close (I2)");
            assert_eq!(wire.open, BTreeMap::new(), "open after the close (I6)");
            assert_eq!(report.counters.sent, wire.sent.len(), "counted against received (I1)");
            let mut live = connection.lend(&mut workspace, now);
            let after = turn(&mut live, &mut wire, &mut ready, &mut { Budget::DEFAULT });
            assert!(matches!(after, Turn::Wait(wait) if wait == Wait::default()), "something followed the close (I4)");
        } else {
            assert!(wire.is_silent() || wire.peer.takes == 0, "neither closed nor waiting after {TURNS} turns (I3)");
        }
        seen.received = connection.counters().received;
        seen.sent = wire.sent;
        seen
    }
}

/// What became of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen<E> {
    pub(crate) sent: Sent,
    /// `None`: it is still open.
    pub(crate) report: Option<CloseReport<E>>,
    /// The most bytes the connection held between two turns.
    pub(crate) peak_bytes: usize,
    /// The most files that were open between two turns.
    pub(crate) peak_files: usize,
    /// Bytes the connection took from the peer.
    pub(crate) received: u64,
}

struct Wire {
    peer: Peer,
    says: VecDeque<Vec<u8>>,
    sent: Sent,
    open: BTreeMap<FileId, Vec<u8>>,
    late: Option<(FileId, Result<u64, FileError>)>,
    /// This turn's portion was read.
    has_read: bool,
    end_was_read: bool,
    /// The write before was taken, so this one is not.
    stutter: bool,
    /// Bytes moved in this turn.
    moved: bool,
}

impl Wire {
    fn new(mut peer: Peer) -> Wire {
        Wire {
            says: peer.says.drain(..).filter(|portion| !portion.is_empty()).collect(),
            peer,
            sent: Sent::new(),
            open: BTreeMap::new(),
            late: None,
            has_read: false,
            end_was_read: false,
            stutter: false,
            moved: false,
        }
    }

    fn begin_turn(&mut self) {
        self.has_read = false;
        self.moved = false;
    }

    /// The peer will send nothing that it has not sent.
    fn is_silent(&self) -> bool {
        self.says.is_empty() && (!self.peer.ends || self.end_was_read) && self.peer.read_fails.is_none()
    }

    /// How many of `n` bytes the peer takes now.
    fn take(&mut self, n: u64) -> Result<u64, Blocked> {
        if let Some(error) = self.peer.write_fails {
            return Err(Blocked::Failed(error));
        }
        self.stutter = self.peer.stutters && !self.stutter;
        if self.stutter || self.peer.takes == 0 {
            self.moved |= self.stutter && self.peer.takes > 0;
            return Err(Blocked::WouldBlock);
        }
        self.moved = true;
        Ok(n.min(self.peer.takes as u64))
    }
}

impl Transport for Wire {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        if self.has_read {
            return Err(Blocked::WouldBlock);
        }
        self.has_read = true;
        let Some(portion) = self.says.front_mut() else {
            if let Some(error) = self.peer.read_fails {
                return Err(Blocked::Failed(error));
            }
            if !self.peer.ends {
                return Err(Blocked::WouldBlock);
            }
            self.end_was_read = true;
            return Ok(0);
        };
        self.moved = true;
        let n = portion.len().min(slot.len());
        slot[..n].copy_from_slice(&portion[..n]);
        portion.drain(..n);
        if portion.is_empty() {
            self.says.pop_front();
        }
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        let bytes = slices.concat();
        let n = usize::try_from(self.take(bytes.len() as u64)?).expect("at most what was offered");
        self.sent.push_bytes(&bytes[..n]);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let n = self.take(len.min(SENDFILE_AT_MOST)).map_err(SendFileError::Output)?;
        self.sent.push_file(&self.open[&id], offset, n);
        Ok(n)
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("no layer is here to see the file")
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        let result = self.peer.files.get(request.name()).copied().unwrap_or(Err(FileError::NotFound));
        if result.is_ok() {
            self.open.insert(request.id(), request.name().to_vec());
        }
        if self.peer.opens_late {
            self.late = Some((request.id(), result));
            return Opening::Later;
        }
        Opening::Done(result)
    }

    fn close_file(&mut self, id: FileId) {
        self.open.remove(&id).expect("closed once, and only if it was opened");
    }

    fn half_close(&mut self) {}
}
