//! A transport in which the nth operation of a kind goes wrong.

use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport, TransportError};
use std::collections::{BTreeMap, VecDeque};

/// What a transport is asked for, and what a driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Read,
    Write,
    SendFile,
    ReadFile,
    Open,
    HalfClose,
    /// A whole turn.
    Turn,
}

/// What becomes of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    WouldBlock,
    OneByte,
    /// One byte less than there is.
    OneLess,
    Fails(TransportError),
    FileFails(FileError),
    /// The file has ended already.
    EndsEarly,
    /// A file is answered in a later turn.
    Later,
    /// The peer is gone behind it: the next read or write fails.
    ThenReset,
    /// The budget of the turn is one byte.
    Spent,
}

const TRANSPORT: [TransportError; 5] = [
    TransportError::Reset,
    TransportError::BrokenPipe,
    TransportError::TimedOut,
    TransportError::Refused,
    TransportError::Other(5),
];

const FILE: [FileError; 6] = [
    FileError::NotFound,
    FileError::Forbidden,
    FileError::NotRegular,
    FileError::TooMany,
    FileError::Truncated,
    FileError::Io(5),
];

impl Op {
    pub(crate) const ALL: [Op; 7] =
        [Op::Read, Op::Write, Op::SendFile, Op::ReadFile, Op::Open, Op::HalfClose, Op::Turn];

    /// What can become of it.
    pub(crate) fn oddities(self) -> Vec<Oddity> {
        let sizes = [Oddity::OneByte, Oddity::OneLess];
        let mut oddities = Vec::new();
        match self {
            Op::Read | Op::Write => {
                oddities.extend(sizes);
                oddities.push(Oddity::WouldBlock);
                oddities.extend(TRANSPORT.map(Oddity::Fails));
            }
            Op::SendFile => {
                oddities.extend(sizes);
                oddities.extend([Oddity::WouldBlock, Oddity::EndsEarly]);
                oddities.extend(TRANSPORT.map(Oddity::Fails));
                oddities.extend(FILE.map(Oddity::FileFails));
            }
            Op::ReadFile => {
                oddities.extend(sizes);
                oddities.push(Oddity::EndsEarly);
                oddities.extend(FILE.map(Oddity::FileFails));
            }
            Op::Open => {
                oddities.push(Oddity::Later);
                oddities.extend(FILE.map(Oddity::FileFails));
            }
            Op::HalfClose => oddities.push(Oddity::ThenReset),
            Op::Turn => oddities.push(Oddity::Spent),
        }
        oddities
    }
}

/// The nth operation of this kind, counted from 1, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) op: Op,
    pub(crate) nth: usize,
    pub(crate) oddity: Oddity,
}

/// Something a transport does not do, for controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    /// A short write loses a byte.
    LosesByte,
    /// The rest behind a short part of a file starts a byte later.
    SkipsFileByte,
    /// A failed file stays open.
    KeepsFile,
    /// What a would-block left unread is never signalled.
    LosesEdge,
}

#[derive(Debug)]
pub(crate) struct Wire<'s> {
    pub(crate) incoming: VecDeque<u8>,
    pub(crate) end: bool,
    /// A read said so.
    pub(crate) end_told: bool,
    reset: bool,
    pub(crate) taken: Vec<u8>,
    disk: &'s BTreeMap<&'static [u8], Vec<u8>>,
    pub(crate) asked: Vec<FileId>,
    pub(crate) open: BTreeMap<FileId, Vec<u8>>,
    faults: &'s [Fault],
    counts: BTreeMap<Op, usize>,
    /// What went wrong, in its order; for a file, which in the order of asking.
    pub(crate) hits: Vec<Fault>,
    pub(crate) half_closed: bool,
    /// A rule that was broken.
    pub(crate) broken: Option<&'static str>,
    fatal: bool,
    lie: Lie,
    exhausts: bool,
    pieces: usize,
}

impl<'s> Wire<'s> {
    pub(crate) fn new(
        disk: &'s BTreeMap<&'static [u8], Vec<u8>>,
        faults: &'s [Fault],
        lie: Lie,
        exhausts: bool,
        pieces: usize,
    ) -> Wire<'s> {
        Wire {
            incoming: VecDeque::new(),
            end: false,
            end_told: false,
            reset: false,
            taken: Vec::new(),
            disk,
            asked: Vec::new(),
            open: BTreeMap::new(),
            faults,
            counts: BTreeMap::new(),
            hits: Vec::new(),
            half_closed: false,
            broken: None,
            fatal: false,
            lie,
            exhausts,
            pieces,
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        let is_lost = self.lie == Lie::LosesEdge && self.hits.iter().any(|hit| hit.op == Op::Read);
        !is_lost && (!self.incoming.is_empty() || (self.end || self.reset) && !self.end_told && !self.fatal)
    }

    /// Counts the operation, and says what becomes of it.
    pub(crate) fn next(&mut self, op: Op) -> Option<Oddity> {
        let count = self.counts.entry(op).or_default();
        *count += 1;
        let hit = self.faults.iter().find(|fault| fault.op == op && fault.nth == *count)?;
        self.hits.push(*hit);
        self.fatal |= hit.is_fatal();
        Some(hit.oddity)
    }

    pub(crate) fn counted(&self, op: Op) -> usize {
        self.counts.get(&op).copied().unwrap_or(0)
    }

    pub(crate) fn answer(&mut self, id: FileId, name: &[u8]) -> Result<u64, FileError> {
        let contents = self.disk.get(name).cloned().ok_or(FileError::NotFound)?;
        let len = contents.len() as u64;
        self.open.insert(id, contents);
        Ok(len)
    }

    /// Nothing is asked of a transport that has failed.
    fn still_works(&mut self) -> bool {
        if self.fatal {
            self.broken.get_or_insert("an operation after the failure");
        }
        !self.fatal
    }

    /// How many of `n` bytes are moved.
    fn sized(&self, n: usize, oddity: Option<Oddity>) -> Result<usize, Blocked> {
        let n = n.min(self.pieces);
        match oddity {
            Some(Oddity::WouldBlock) => Err(Blocked::WouldBlock),
            Some(Oddity::Fails(error)) => Err(Blocked::Failed(error)),
            Some(Oddity::OneByte) => Ok(n.min(1)),
            // A short write of nothing would be a would-block, and a short read the end.
            Some(Oddity::OneLess) => Ok(n.saturating_sub(1).max(n.min(1))),
            Some(Oddity::FileFails(_) | Oddity::EndsEarly | Oddity::Later | Oddity::ThenReset | Oddity::Spent)
            | None => Ok(n),
        }
    }

    fn admit(&mut self, n: usize, oddity: Option<Oddity>) -> Result<usize, Blocked> {
        if self.half_closed {
            self.broken.get_or_insert("a write after the half-close");
        }
        if self.reset {
            self.fatal = true;
            return Err(Blocked::Failed(TransportError::BrokenPipe));
        }
        self.sized(n, oddity)
    }

    fn part(&self, id: FileId, offset: u64, len: usize, oddity: Option<Oddity>) -> Result<&[u8], FileError> {
        let Some(contents) = self.open.get(&id) else { return Err(FileError::Io(-1)) };
        if let Some(Oddity::FileFails(error)) = oddity {
            return Err(error);
        }
        if let Some(Oddity::EndsEarly) = oddity {
            return Ok(&[]);
        }
        let mut offset = usize::try_from(offset).expect("files here are small");
        offset += usize::from(self.lie == Lie::SkipsFileByte && offset > 0 && offset + 1 < contents.len());
        Ok(&contents[offset..contents.len().min(offset + len)])
    }
}

impl Fault {
    /// Nothing goes on after it.
    pub(crate) fn is_fatal(&self) -> bool {
        match self.oddity {
            Oddity::Fails(_) | Oddity::EndsEarly => true,
            Oddity::FileFails(_) => self.op != Op::Open,
            // It shows in the next read or write.
            Oddity::ThenReset => false,
            Oddity::WouldBlock | Oddity::OneByte | Oddity::OneLess | Oddity::Later | Oddity::Spent => false,
        }
    }
}

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        self.exhausts
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        if !self.still_works() {
            return Err(Blocked::WouldBlock);
        }
        if self.end_told {
            self.broken.get_or_insert("a read after the end");
        }
        if self.reset {
            self.fatal = true;
            return Err(Blocked::Failed(TransportError::Reset));
        }
        if self.incoming.is_empty() && !self.end {
            // Not an operation of the script: whether it is made at all depends on the poller.
            return Err(Blocked::WouldBlock);
        }
        let oddity = self.next(Op::Read);
        let n = self.sized(slot.len().min(self.incoming.len()), oddity)?;
        for (place, byte) in slot.iter_mut().zip(self.incoming.drain(..n)) {
            *place = byte;
        }
        self.end_told |= n == 0;
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        if !self.still_works() {
            return Err(Blocked::WouldBlock);
        }
        let oddity = self.next(Op::Write);
        let mut offered = slices.concat();
        let n = self.admit(offered.len(), oddity)?;
        let lost = self.lie == Lie::LosesByte && n < offered.len();
        offered.truncate(n - usize::from(lost));
        self.taken.extend(offered);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        if !self.still_works() {
            return Err(SendFileError::Output(Blocked::WouldBlock));
        }
        let oddity = self.next(Op::SendFile);
        let len = usize::try_from(len).expect("files here are small");
        let part = self.part(id, offset, len, oddity).map_err(SendFileError::File)?.to_vec();
        if part.is_empty() {
            return Ok(0);
        }
        let n = self.admit(part.len(), oddity).map_err(SendFileError::Output)?;
        self.taken.extend_from_slice(&part[..n]);
        Ok(n as u64)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        let oddity = self.next(Op::ReadFile);
        let part = self.part(id, offset, slot.len(), oddity)?.to_vec();
        let n = self.sized(part.len(), oddity).expect("a file never blocks");
        slot[..n].copy_from_slice(&part[..n]);
        Ok(n)
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        match self.next(Op::Open) {
            Some(Oddity::FileFails(error)) => Opening::Done(Err(error)),
            Some(Oddity::Later) => {
                // The disk knows already; only the answer takes its time.
                match self.answer(request.id(), request.name()) {
                    Ok(_) => {
                        self.asked.push(request.id());
                        Opening::Later
                    }
                    Err(error) => Opening::Done(Err(error)),
                }
            }
            Some(_) | None => Opening::Done(self.answer(request.id(), request.name())),
        }
    }

    fn close_file(&mut self, id: FileId) {
        if self.open.remove(&id).is_none() {
            self.broken.get_or_insert("a file was closed twice, or never open");
        }
        if self.lie == Lie::KeepsFile && self.fatal {
            self.open.insert(id, Vec::new());
        }
    }

    fn half_close(&mut self) {
        if self.half_closed {
            self.broken.get_or_insert("two half-closes");
        }
        self.half_closed = true;
        self.reset |= self.next(Op::HalfClose) == Some(Oddity::ThenReset);
    }
}
