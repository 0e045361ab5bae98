//! The bounded queue of what is owed to the peer: bytes, shared bytes, files.
//!
//! There is one way in ([`Writer`], inside a transaction) and one accounting:
//! `bytes` counts every byte of memory that is owed, whichever kind of segment
//! holds it. File contents are not memory and do not count.

mod transaction;
mod writer;

pub(crate) use transaction::Savepoint;
use writer::SHARE_FROM;
pub(crate) use writer::{Refusal, Resource, integers};
pub use writer::{Refused, Reserved, Writer};

use crate::action::Fault;
use crate::connection::{Debt, Message};
use crate::file::{FileId, Opened};
use crate::layer::LayerError;
use crate::workspace::Pool;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Size of one block of output, in bytes. One write of a typical burst; a
/// quarter of the largest pool class. Smaller costs more iovecs, larger more
/// cache. Not measured beyond the line echo.
const BLOCK: usize = 16 * 1024;

/// Segments handed to one vectored write. Sixteen blocks are the default output bound.
pub(crate) const MAX_SLICES: usize = 16;

/// What a connection holds while it is not idle; lent by the pool.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) output: Output,
    /// An unfinished message, from `carry_start` on.
    pub(crate) carry: Vec<u8>,
    pub(crate) carry_start: usize,
    /// The name of the file that is being asked for.
    pub(crate) name: Vec<u8>,
    /// What came of it, until the protocol has heard.
    pub(crate) answer: Option<Opened>,
    /// Files nobody needs any more.
    pub(crate) to_close: VecDeque<FileId>,
    /// Encoded by the layers, not yet written, from `wire_start` on.
    pub(crate) wire: Vec<u8>,
    pub(crate) wire_start: usize,
    /// The message that comes in.
    pub(crate) message: Option<Message>,
    /// What is owed and is not taken.
    pub(crate) debt: Option<Debt>,
    /// What the transport or a file has come to; the next poll acts on it.
    pub(crate) fault: Option<Fault>,
    /// Why the peer's stream is not whole, for the report.
    pub(crate) cut: Option<LayerError>,
}

/// Encoded bytes that are worth moving to a smaller block, while they wait.
const WIRE_SMALL: usize = 2048;

impl Buffers {
    pub(crate) fn is_empty(&self) -> bool {
        self.output.is_empty()
            && self.carry.capacity() == 0
            && self.name.is_empty()
            && self.answer.is_none()
            && self.to_close.is_empty()
            && self.wire.capacity() == 0
            && self.message.is_none()
            && self.debt.is_none()
            && self.fault.is_none()
            && self.cut.is_none()
    }

    /// Bytes wait for the transport, or a file does.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        !self.output.is_empty() || self.wire_start < self.wire.len()
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Bytes of memory this takes, what is unused in it included.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.room() + self.output.queued_bytes()
    }

    /// The same while nothing is queued.
    pub(crate) fn room(&self) -> usize {
        size_of::<Buffers>()
            + self.output.room()
            + self.carry.capacity()
            + self.name.capacity()
            + self.to_close.capacity() * size_of::<FileId>()
            + self.wire.capacity()
    }

    /// Gives back what is not needed until the next turn.
    pub(crate) fn settle(&mut self, pool: &mut Pool) {
        self.output.settle(pool);
        if self.carry.capacity() > 0 && self.carry_start == self.carry.len() {
            self.drop_carry(pool);
        }
        let unsent = self.wire.len() - self.wire_start;
        if self.wire.capacity() > 0 && unsent == 0 {
            pool.give(core::mem::take(&mut self.wire));
            self.wire_start = 0;
        } else if unsent <= WIRE_SMALL && self.wire.capacity() > 4 * WIRE_SMALL {
            // Who does not take a handshake, or a line, does not hold the room for three records.
            let mut fits = pool.take(unsent);
            fits.extend_from_slice(&self.wire[self.wire_start..]);
            pool.give(core::mem::replace(&mut self.wire, fits));
            self.wire_start = 0;
        }
    }

    /// The transport took `n` encoded bytes. Written bytes go once they are the larger
    /// part: layers may answer again and again in one turn.
    pub(crate) fn on_wire_taken(&mut self, n: usize) {
        self.wire_start += n;
        if self.wire_start >= self.wire.len() - self.wire_start {
            self.wire.drain(..self.wire_start);
            self.wire_start = 0;
        }
    }

    pub(crate) fn drop_carry(&mut self, pool: &mut Pool) {
        pool.give(core::mem::take(&mut self.carry));
        self.carry_start = 0;
    }

    #[inline]
    pub(crate) fn carried(&self) -> &[u8] {
        &self.carry[self.carry_start..]
    }

    /// Makes room behind what is carried: no more than the bound of the input, whatever a vector
    /// would add.
    pub(crate) fn grow_carry(&mut self, by: usize) {
        self.carry.drain(..self.carry_start);
        self.carry_start = 0;
        self.carry.reserve_exact(by);
    }
}

/// A run of output that cannot be appended to any more.
#[derive(Debug)]
enum Segment {
    Block(Vec<u8>),
    Shared(Bytes),
    File { id: FileId, offset: u64, left: u64 },
}

/// The part of a file that is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilePart {
    pub(crate) id: FileId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// The queue itself. Order: `sealed` front to back, then `tail`.
#[derive(Debug, Default)]
pub(crate) struct Output {
    sealed: VecDeque<Segment>,
    /// The open block; empty and without capacity when nothing is queued.
    tail: Vec<u8>,
    /// How much of the front segment is gone already.
    front_sent: usize,
    /// Bytes of memory owed to the peer.
    bytes: usize,
    /// File segments in `sealed`.
    files: usize,
}

impl Output {
    /// Nothing is owed: no byte and no file.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.files == 0
    }

    /// Bytes of memory owed to the peer.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything owed to the peer, in bytes, contents of files included.
    pub(crate) fn owed(&self) -> u64 {
        let left = |segment: &Segment| match segment {
            Segment::File { left, .. } => *left,
            Segment::Block(_) | Segment::Shared(_) => 0,
        };
        let files = if self.files == 0 { 0 } else { self.sealed.iter().map(left).sum() };
        self.bytes as u64 + files
    }

    /// File segments that stand in the queue.
    #[inline]
    pub(crate) fn files(&self) -> usize {
        self.files
    }

    /// Bytes of memory in the queue, what is unused in them included; shared bytes
    /// count as if they were not.
    fn queued_bytes(&self) -> usize {
        let segments = self.sealed.iter().map(|segment| match segment {
            Segment::Block(block) => block.capacity(),
            Segment::Shared(shared) => shared.len(),
            Segment::File { .. } => 0,
        });
        segments.sum()
    }

    /// What it takes besides.
    #[inline]
    fn room(&self) -> usize {
        self.tail.capacity() + self.sealed.capacity() * size_of::<Segment>()
    }

    /// What is written next is the last: a long queue does not grow twofold for it. It is written
    /// in turns that have memory for a small step, too.
    pub(crate) fn expect_last_write(&mut self) {
        if !self.sealed.is_empty() {
            self.sealed.reserve_exact(2);
        }
    }

    /// What queue and room of it can come to.
    ///
    /// A block is sealed when it is full, or before shared bytes or a file; then more
    /// than a quarter of it is used, or it moves to the smallest class that takes it.
    pub(crate) const fn most_heap_bytes(bytes: usize, files: usize) -> usize {
        let small_blocks = bytes / SHARE_FROM + 2 * files + 2;
        let segments = 2 * small_blocks + bytes / (BLOCK / 4);
        4 * bytes + BLOCK + small_blocks * Pool::SMALLEST + 2 * segments * size_of::<Segment>()
    }

    pub(crate) fn holds(&self, id: FileId) -> bool {
        self.sealed.iter().any(|s| matches!(s, Segment::File { id: other, .. } if *other == id))
    }

    /// The file part at the very front, if that is what is due next.
    #[inline]
    pub(crate) fn front_file(&self) -> Option<FilePart> {
        match self.sealed.front() {
            Some(Segment::File { id, offset, left }) => Some(FilePart { id: *id, offset: *offset, len: *left }),
            Some(Segment::Block(_) | Segment::Shared(_)) | None => None,
        }
    }

    /// Fills `slices` with the bytes due next, up to the next file.
    /// Returns how many were filled, and whether anything is queued behind them.
    #[inline]
    pub(crate) fn gather<'a>(&'a self, slices: &mut [&'a [u8]; MAX_SLICES]) -> (usize, bool) {
        let mut count = 0;
        let mut skip = self.front_sent;
        for segment in &self.sealed {
            let bytes: &[u8] = match segment {
                Segment::Block(block) => block,
                Segment::Shared(shared) => shared,
                Segment::File { .. } => return (count, true),
            };
            if count == MAX_SLICES {
                return (count, true);
            }
            slices[count] = &bytes[skip..];
            skip = 0;
            count += 1;
        }
        if self.tail.len() > skip {
            if count == MAX_SLICES {
                return (count, true);
            }
            slices[count] = &self.tail[skip..];
            count += 1;
        }
        (count, false)
    }

    /// The peer's side took `n` bytes from the front.
    pub(crate) fn wrote(&mut self, mut n: usize, pool: &mut Pool) {
        debug_assert!(n <= self.bytes);
        self.bytes -= n;
        while n > 0 {
            let len = match self.sealed.front() {
                None => {
                    self.front_sent += n;
                    break;
                }
                Some(Segment::Block(block)) => block.len(),
                Some(Segment::Shared(shared)) => shared.len(),
                Some(Segment::File { .. }) => unreachable!("bytes behind a file are never offered"),
            };
            let left = len - self.front_sent;
            if n < left {
                self.front_sent += n;
                return;
            }
            n -= left;
            self.front_sent = 0;
            if let Some(Segment::Block(block)) = self.sealed.pop_front() {
                pool.give(block);
            }
        }
        if self.front_sent == self.tail.len() && self.sealed.is_empty() {
            self.tail.clear();
            self.front_sent = 0;
        }
    }

    /// The peer's side took `n` bytes of the file at the front. Returns the file
    /// when the queue needs it no more.
    pub(crate) fn sent(&mut self, n: u64) -> Option<FileId> {
        let Some(Segment::File { id, offset, left }) = self.sealed.front_mut() else {
            unreachable!("a file was offered, so one is in front");
        };
        debug_assert!(n <= *left);
        *offset += n;
        *left -= n;
        if *left > 0 {
            return None;
        }
        let id = *id;
        self.sealed.pop_front();
        self.files -= 1;
        (!self.holds(id)).then_some(id)
    }

    /// Drops everything that is owed and says how many bytes that were, file
    /// bytes included. Files go to `to_close`, once each.
    pub(crate) fn discard(&mut self, to_close: &mut VecDeque<FileId>, pool: &mut Pool) -> u64 {
        let mut owed = self.bytes as u64;
        for segment in self.sealed.drain(..) {
            match segment {
                Segment::Block(block) => pool.give(block),
                Segment::Shared(_) => {}
                Segment::File { id, left, .. } => {
                    owed += left;
                    if !to_close.contains(&id) {
                        to_close.push_back(id);
                    }
                }
            }
        }
        pool.give(core::mem::take(&mut self.tail));
        self.front_sent = 0;
        self.bytes = 0;
        self.files = 0;
        owed
    }

    /// Between turns a block is either gone or well filled: a slow peer that owes
    /// us one read does not pin a whole block.
    fn settle(&mut self, pool: &mut Pool) {
        let sent = if self.sealed.is_empty() { self.front_sent } else { 0 };
        let owed = self.tail.len() - sent;
        if owed == 0 {
            pool.give(core::mem::take(&mut self.tail));
        } else if owed < self.tail.capacity() / 4 {
            let mut small = pool.take(owed);
            if small.capacity() < self.tail.capacity() {
                small.extend_from_slice(&self.tail[sent..]);
                pool.give(core::mem::replace(&mut self.tail, small));
                if self.sealed.is_empty() {
                    self.front_sent = 0;
                }
            } else {
                pool.give(small);
            }
        }
        if owed == 0 && self.sealed.is_empty() {
            self.front_sent = 0;
        }
    }

    /// Closes the open block; the next byte goes into a new one.
    fn seal(&mut self, pool: &mut Pool) {
        if self.tail.is_empty() {
            return;
        }
        let sealed = if self.tail.len() <= self.tail.capacity() / 4 {
            // Small pieces between shared ones and files must not cost a block each.
            let mut small = pool.take(self.tail.len());
            small.extend_from_slice(&self.tail);
            self.tail.clear();
            small
        } else {
            core::mem::replace(&mut self.tail, pool.take(BLOCK))
        };
        self.sealed.push_back(Segment::Block(sealed));
    }
}

#[cfg(test)]
mod tests;
