//! The mock's transport: it answers what was written down, and notes what should
//! not have been asked.

use crate::ledger::{Ledger, part};
use core::panic::Location;
use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport, TransportError};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// An entry of a script, and where it stands.
#[derive(Debug)]
pub(super) struct Written<T> {
    pub(super) what: T,
    pub(super) at: &'static Location<'static>,
}

/// What the transport answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Bytes(Vec<u8>),
    Takes(usize),
    WouldBlock,
    End,
    Fails(TransportError),
    FileFails(FileError),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Answer::Takes(n) => write!(f, "takes {n} bytes"),
            Answer::WouldBlock => f.write_str("would block"),
            Answer::End => f.write_str("the end of input"),
            Answer::Fails(error) => write!(f, "fails: {error}"),
            Answer::FileFails(error) => write!(f, "the file fails: {error}"),
        }
    }
}

/// The transport of a [`Mock`](super::Mock), for a loop of your own.
#[derive(Debug)]
pub struct Wire {
    pub(super) reads: VecDeque<Written<Answer>>,
    pub(super) writes: VecDeque<Written<Answer>>,
    /// The answer after which nobody may read, or write, again: in this wait when it
    /// was a would-block, else for ever.
    last_read: Option<Written<Answer>>,
    last_write: Option<Written<Answer>>,
    pub(super) disk: Disk,
    /// Of files, our end, and what the loop, or the connection, should not have done.
    pub(super) ledger: Ledger<Vec<u8>>,
    /// Not expected yet.
    pub(super) sent: Vec<u8>,
    pub(super) short_read_exhausts: bool,
}

impl Wire {
    pub(super) fn new() -> Wire {
        Wire {
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            last_read: None,
            last_write: None,
            disk: BTreeMap::new(),
            ledger: Ledger::new(false),
            sent: Vec::new(),
            short_read_exhausts: false,
        }
    }

    /// A would-block is over when the next wait begins.
    pub(super) fn begin_wait(&mut self) {
        for last in [&mut self.last_read, &mut self.last_write] {
            if matches!(last, Some(Written { what: Answer::WouldBlock, .. })) {
                *last = None;
            }
        }
    }

    pub(super) fn answer(&mut self, id: FileId, name: &[u8]) -> Result<u64, FileError> {
        self.ledger.answer(id, look(&self.disk, name))
    }

    /// What the next write gets, of `n` bytes that are offered.
    fn admit(&mut self, n: usize, is_file: bool) -> Result<usize, SendFileError> {
        let would_block = SendFileError::Output(Blocked::WouldBlock);
        self.ledger.on_write();
        if let Some(Written { what, at }) = &self.last_write {
            let broken = format!("used twice: a write after the one that was told \"{what}\", written at {at}");
            self.ledger.break_rule(broken);
            return Err(would_block);
        }
        let Some(entry) = self.writes.pop_front() else { return Ok(n) };
        let outcome = match entry.what {
            Answer::Takes(most) if most > 0 => return Ok(n.min(most)),
            Answer::FileFails(error) if is_file => Err(SendFileError::File(error)),
            Answer::Fails(error) => Err(SendFileError::Output(Blocked::Failed(error))),
            Answer::FileFails(_) => {
                self.ledger.break_rule(format!("a file was to fail, written at {}, but bytes are written", entry.at));
                Err(would_block)
            }
            Answer::Takes(_) | Answer::WouldBlock | Answer::Bytes(_) | Answer::End => Err(would_block),
        };
        self.last_write = Some(entry);
        outcome
    }
}

type Disk = BTreeMap<Vec<u8>, Result<Vec<u8>, FileError>>;

fn look(disk: &Disk, name: &[u8]) -> Result<Vec<u8>, FileError> {
    disk.get(name).cloned().unwrap_or(Err(FileError::NotFound))
}

impl Transport for Wire {
    fn short_read_exhausts(&self) -> bool {
        self.short_read_exhausts
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        if let Some(Written { what, at }) = &self.last_read {
            let broken = format!("used twice: a read after the one that was told \"{what}\", written at {at}");
            self.ledger.break_rule(broken);
            return Err(Blocked::WouldBlock);
        }
        let Some(entry) = self.reads.front_mut() else { return Err(Blocked::WouldBlock) };
        if let Answer::Bytes(bytes) = &mut entry.what {
            let n = bytes.len().min(slot.len());
            slot[..n].copy_from_slice(&bytes[..n]);
            bytes.drain(..n);
            if bytes.is_empty() {
                self.reads.pop_front();
            }
            return Ok(n);
        }
        self.last_read = self.reads.pop_front();
        match self.last_read.as_ref().map(|entry| &entry.what) {
            Some(Answer::End) => Ok(0),
            Some(Answer::Fails(error)) => Err(Blocked::Failed(*error)),
            Some(Answer::WouldBlock | Answer::Bytes(_) | Answer::Takes(_) | Answer::FileFails(_)) | None => {
                Err(Blocked::WouldBlock)
            }
        }
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        let offered = slices.concat();
        match self.admit(offered.len(), false) {
            Ok(n) => {
                self.sent.extend_from_slice(&offered[..n]);
                Ok(n)
            }
            Err(SendFileError::Output(blocked)) => Err(blocked),
            Err(SendFileError::File(_)) => unreachable!("only a file's write is told of a file's failure"),
        }
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let Some(contents) = self.ledger.open.get(&id) else {
            self.ledger.break_rule(format!("{id:?} is sent and not open"));
            return Ok(0);
        };
        let part = part(contents, offset, len).to_vec();
        let n = match self.admit(part.len(), true) {
            Err(SendFileError::File(FileError::Truncated)) => return Ok(0),
            outcome => outcome?,
        };
        self.sent.extend_from_slice(&part[..n]);
        Ok(n as u64)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        let Some(contents) = self.ledger.open.get(&id) else {
            self.ledger.break_rule(format!("{id:?} is read and not open"));
            return Ok(0);
        };
        let part = part(contents, offset, slot.len() as u64);
        slot[..part.len()].copy_from_slice(part);
        Ok(part.len())
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        self.ledger.ask(request, |name| look(&self.disk, name))
    }

    fn close_file(&mut self, id: FileId) {
        self.ledger.close_file(id);
    }

    fn half_close(&mut self) {
        self.ledger.half_close();
    }
}
