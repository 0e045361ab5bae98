//! Where entries are kept while a connection lives: whole blocks, within a bound.

use super::codec::{self, LONGEST};
use super::entry::{Ended, Entry};
use super::format::{self, HEAD, Header, Kind, MAGIC, NAME, NOTE, PAYLOAD};
use super::tape::Keep;
use super::value::put_number;
use crate::time::Time;
use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Longest head block, and the magic.
const FRONT: usize = MAGIC.len() + HEAD + NAME + NOTE + 128;
/// Longest block.
const BLOCK: usize = HEAD + PAYLOAD;
/// Kept free in a block, so that the end always fits.
const END: usize = 4;
/// What number and time take at the front of a block, at most, and a piece's tag and length.
const START: usize = 20;
const PIECE: usize = 4;

const _: () = assert!(START + LONGEST + END <= PAYLOAD, "every entry fits into a block");
const _: () = assert!(Keep::LEAST > FRONT + 2 * BLOCK, "the least bound keeps something");

/// A block that is full, and the number of its first entry.
#[derive(Debug)]
struct Sealed {
    first: u64,
    block: Vec<u8>,
}

/// The entries so far.
#[derive(Debug)]
pub(super) struct Store {
    keep: Keep,
    sealed: VecDeque<Sealed>,
    sealed_bytes: usize,
    /// The block that is being filled.
    open: Vec<u8>,
    open_first: u64,
    /// The number of the next entry.
    next: u64,
    /// The time of the turn.
    now: Time,
    /// An entry on its way into the block; kept for its memory.
    scratch: Vec<u8>,
    /// The end is written: of the connection, or of what fits.
    ended: bool,
}

impl Store {
    pub(super) fn new(keep: Keep) -> Store {
        Store::from(keep, 0, Time::ZERO)
    }

    /// The first entry has this number, and happened at this time.
    pub(super) fn from(keep: Keep, first: u64, now: Time) -> Store {
        let mut store = Store {
            keep,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
            open: Vec::with_capacity(BLOCK),
            open_first: first,
            next: first,
            now,
            scratch: Vec::new(),
            ended: false,
        };
        store.begin();
        store
    }

    pub(super) fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Appends `entry`, and what it announced in pieces: all of it or nothing.
    pub(super) fn put(&mut self, entry: &Entry<'_>, contents: &[u8]) {
        if self.ended {
            return;
        }
        if let Keep::First(bound) = self.keep
            && self.held() + self.most(contents.len()) > bound.max(Keep::LEAST)
        {
            self.end(Ended::Full);
            return;
        }
        self.append(entry);
        let mut rest = contents;
        while !rest.is_empty() {
            let mut room = self.room();
            if room <= 4 * PIECE {
                self.next_block();
                room = self.room();
            }
            let (piece, more) = rest.split_at(rest.len().min(room - PIECE));
            self.append(&Entry::Bytes(Cow::Borrowed(piece)));
            rest = more;
        }
    }

    /// The last entry. What follows is not recorded.
    pub(super) fn end(&mut self, ended: Ended) {
        if self.ended {
            return;
        }
        self.put_end(ended);
        self.ended = true;
    }

    /// The whole file. `header` lacks the number of the first entry.
    pub(super) fn into_file(mut self, mut header: Header<'_>) -> Vec<u8> {
        debug_assert!(self.ended, "a recording has an end");
        header.first = self.sealed.front().map_or(self.open_first, |sealed| sealed.first);
        let mut head = Vec::new();
        format::begin(&mut head);
        header.put(&mut head);
        format::seal(Kind::Header, &mut head);
        format::seal(Kind::Last, &mut self.open);
        let mut file = Vec::with_capacity(MAGIC.len() + head.len() + self.sealed_bytes + self.open.len());
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&head);
        for sealed in self.sealed.drain(..) {
            file.extend_from_slice(&sealed.block);
        }
        file.extend_from_slice(&self.open);
        file
    }

    /// Bytes the file would have now, at most.
    fn held(&self) -> usize {
        FRONT + self.sealed_bytes + self.open.len() + END
    }

    /// What an entry with so many bytes of contents takes, at most: it may leave
    /// the end of one block unused and begin others.
    fn most(&self, contents: usize) -> usize {
        const PER_BLOCK: usize = HEAD + START + END + 4 * PIECE;
        let blocks = contents / (PAYLOAD - PER_BLOCK) + 2;
        LONGEST + contents + blocks * PER_BLOCK
    }

    fn append(&mut self, entry: &Entry<'_>) {
        self.scratch.clear();
        codec::put(entry, self.now, &mut self.scratch);
        if self.scratch.len() > self.room() {
            self.next_block();
        }
        self.open.extend_from_slice(&self.scratch);
        self.next += 1;
        if let Entry::Lend { now, .. } = entry {
            self.now = *now;
        }
    }

    fn put_end(&mut self, ended: Ended) {
        codec::put(&Entry::End(ended), self.now, &mut self.open);
        self.next += 1;
    }

    fn room(&self) -> usize {
        BLOCK - END - self.open.len()
    }

    fn next_block(&mut self) {
        format::seal(Kind::Entries, &mut self.open);
        self.sealed_bytes += self.open.len();
        let mut free = Vec::new();
        if let Keep::Last(bound) = self.keep {
            while FRONT + self.sealed_bytes + BLOCK > bound.max(Keep::LEAST) {
                let Some(sealed) = self.sealed.pop_front() else { break };
                self.sealed_bytes -= sealed.block.len();
                free = sealed.block;
            }
        }
        // Exactly a block, or what is kept could take twice its bound.
        free.clear();
        free.reserve_exact(BLOCK);
        let block = core::mem::replace(&mut self.open, free);
        self.sealed.push_back(Sealed { first: self.open_first, block });
        self.begin();
    }

    fn begin(&mut self) {
        self.open_first = self.next;
        format::begin(&mut self.open);
        put_number(self.next, &mut self.open);
        put_number(self.now.as_nanos(), &mut self.open);
    }
}
