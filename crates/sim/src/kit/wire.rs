//! The transport of a run: bytes in and out in the sizes of its manner, and files
//! that are vectors.

use super::manner::Sizes;
use crate::ledger::{Ledger, part};
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
    pub(super) ledger: Ledger<&'k [u8]>,
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
            ledger: Ledger::new(opens_later),
        }
    }

    /// A read would bring something.
    pub(super) fn is_readable(&self) -> bool {
        !self.incoming.is_empty() || (self.peer != Peer::Open && !self.told)
    }

    /// What the disk says about a name.
    pub(super) fn answer(&mut self, id: FileId, name: &[u8]) -> Result<u64, FileError> {
        self.ledger.answer(id, look(self.disk, name))
    }

    fn admit(&mut self, n: usize) -> Result<usize, Blocked> {
        self.ledger.on_write();
        if self.peer == Peer::Reset {
            return Err(Blocked::Failed(TransportError::BrokenPipe));
        }
        match n.min(self.writes.next()) {
            0 => Err(Blocked::WouldBlock),
            n => Ok(n),
        }
    }

    fn part(&self, id: FileId, offset: u64, len: u64) -> &'k [u8] {
        self.ledger.open.get(&id).map_or(&[], |contents| part(contents, offset, len))
    }
}

fn look<'k>(disk: &'k Disk, name: &[u8]) -> Result<&'k [u8], FileError> {
    disk.get(name).map(Vec::as_slice).ok_or(FileError::NotFound)
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
            self.ledger.break_rule(format!("{id:?} is not open, or sent beyond its end"));
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
        self.ledger.ask(request, |name| look(self.disk, name))
    }

    fn close_file(&mut self, id: FileId) {
        self.ledger.close_file(id);
    }

    fn half_close(&mut self) {
        self.ledger.half_close();
    }
}
