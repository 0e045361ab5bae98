//! One handler call, one transaction: a mark in the queue before the call, and
//! the way back to it.

use super::{Output, Segment};
use crate::planted;
use crate::workspace::Pool;

/// Where the queue ended before a handler call.
///
/// Nothing leaves the front of the queue during a call, so positions stay valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    pub(super) sealed: usize,
    pub(super) tail: usize,
    pub(super) bytes: usize,
    pub(super) files: usize,
}

impl Output {
    #[inline]
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint { sealed: self.sealed.len(), tail: self.tail.len(), bytes: self.bytes, files: self.files }
    }

    /// Removes everything that came after `mark`.
    #[cold]
    pub(crate) fn roll_back(&mut self, mark: Savepoint, pool: &mut Pool) {
        while self.sealed.len() > mark.sealed {
            let segment = self.sealed.pop_back();
            // The first thing sealed after the mark is the block that was open then,
            // unless that was empty: an empty block is never sealed.
            let was_open = mark.tail > 0 && self.sealed.len() == mark.sealed;
            match segment {
                Some(Segment::Block(block)) if was_open => pool.give(core::mem::replace(&mut self.tail, block)),
                Some(Segment::Block(block)) => pool.give(block),
                Some(Segment::Shared(_) | Segment::File { .. }) | None => {}
            }
        }
        self.tail.truncate(mark.tail);
        self.bytes = mark.bytes;
        planted!(FileNotRolledBack: return);
        self.files = mark.files;
    }
}
