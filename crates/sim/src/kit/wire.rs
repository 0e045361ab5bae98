//! The transport of a run: bytes in and out in the sizes of its manner, and files
//! that are vectors.

use super::manner::Sizes;
use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport, TransportError};
use std::collections::{BTreeMap, VecDeque};

/// Files of a kit, by name.
pub(super) type Disk = BTreeMap<Vec<u8>, Vec<u8>>;

/// How the peer's direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Open,
    Ended,
    /// It is told once what is in flight was read, and at every write.
    Reset,
}

pub(super) struct Wire<'k> {
    pub(super) incoming: VecDeque<u8>,
    pub(super) peer: Peer,
    /// The connection was told the end or the reset.
    pub(super) told: bool,
    pub(super) reads: Sizes,
    pub(super) writes: Sizes,
    /// Everything it took, file bytes included.
    pub(super) taken: Vec<u8>,
    pub(super) disk: &'k Disk,
    pub(super) opens_later: bool,
    /// Asked for, not answered.
    pub(super) asked: VecDeque<(FileId, Vec<u8>)>,
    pub(super) open: BTreeMap<FileId, &'k [u8]>,
    /// A rule that the connection broke: what, in words.
    pub(super) broken: Option<String>,
    half_closed: bool,
}

impl<'k> Wire<'k> {
    pub(super) fn new(disk: &'k Disk, reads: Sizes, writes: Sizes, opens_later: bool) -> Wire<'k> {
        Wire {
            incoming: VecDeque::new(),
            peer: Peer::Open,
            told: false,
            reads,
            writes,
            taken: Vec::new(),
            disk,
            opens_later,
            asked: VecDeque::new(),
            open: BTreeMap::new(),
            broken: None,
            half_closed: false,
        }
    }

    /// A read would bring something.
    pub(super) fn is_readable(&self) -> bool {
        !self.incoming.is_empty() || (self.peer != Peer::Open && !self.told)
    }

    /// What the disk says about a name.
    pub(super) fn answer(&mut self, id: FileId, name: &[u8]) -> Result<u64, FileError> {
        let contents = self.disk.get(name).ok_or(FileError::NotFound)?;
        if self.open.insert(id, contents).is_some() {
            self.break_rule(format!("{id:?} was opened twice"));
        }
        Ok(contents.len() as u64)
    }

    fn break_rule(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    fn admit(&mut self, n: usize) -> Result<usize, Blocked> {
        if self.half_closed {
            self.break_rule("a write after the half-close".to_owned());
        }
        if self.peer == Peer::Reset {
            return Err(Blocked::Failed(TransportError::BrokenPipe));
        }
        match n.min(self.writes.next()) {
            0 => Err(Blocked::WouldBlock),
            n => Ok(n),
        }
    }

    fn part(&self, id: FileId, offset: u64, len: u64) -> &'k [u8] {
        let Some(contents) = self.open.get(&id) else { return &[] };
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(contents.len());
        &contents[at(offset)..at(offset.saturating_add(len))]
    }
}

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        if self.incoming.is_empty() {
            return match self.peer {
                Peer::Open => Err(Blocked::WouldBlock),
                Peer::Ended => {
                    self.told = true;
                    Ok(0)
                }
                Peer::Reset => {
                    self.told = true;
                    Err(Blocked::Failed(TransportError::Reset))
                }
            };
        }
        let n = slot.len().min(self.incoming.len()).min(self.reads.next());
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        for (place, byte) in slot.iter_mut().zip(self.incoming.drain(..n)) {
            *place = byte;
        }
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        let n = self.admit(slices.iter().map(|slice| slice.len()).sum())?;
        let end = self.taken.len() + n;
        for slice in slices {
            let left = end - self.taken.len();
            self.taken.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let part = self.part(id, offset, len);
        if part.is_empty() {
            self.break_rule(format!("{id:?} is not open, or sent beyond its end"));
            return Ok(0);
        }
        let n = self.admit(part.len()).map_err(SendFileError::Output)?;
        self.taken.extend_from_slice(&part[..n]);
        Ok(n as u64)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        let part = self.part(id, offset, slot.len() as u64);
        slot[..part.len()].copy_from_slice(part);
        Ok(part.len())
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        if self.opens_later {
            self.asked.push_back((request.id(), request.name().to_vec()));
            return Opening::Later;
        }
        Opening::Done(self.answer(request.id(), request.name()))
    }

    fn close_file(&mut self, id: FileId) {
        if self.open.remove(&id).is_none() {
            self.break_rule(format!("{id:?} was closed twice, or never open"));
        }
    }

    fn half_close(&mut self) {
        if self.half_closed {
            self.break_rule("two half-closes".to_owned());
        }
        self.half_closed = true;
    }
}
