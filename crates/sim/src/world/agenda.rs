//! What is going to happen, in order. Time goes from one entry to the next.

use drywire_core::{FileId, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that is going to happen, to the connection with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coming {
    /// The peer connects, or we to it.
    Arrival(usize),
    /// The peer sends the next piece of its script.
    Send(usize),
    /// So many bytes are here.
    Bytes(usize, usize),
    /// The peer's end is here.
    End(usize),
    /// The peer, or the kernel, resets.
    Reset(usize),
    /// The peer reads.
    Read(usize),
    /// The peer sees our end.
    OurEnd(usize),
    /// A connection of ours stands, or does not.
    Established(usize),
    /// The address of a name, or that it has none.
    Resolved(usize, bool),
    /// News that is late.
    News(usize),
    /// A file was opened.
    File(usize, FileId),
    /// Somebody outside uses a handle.
    Outside(u32),
    /// The process stands still for so many nanoseconds.
    Pause(u64),
    /// The server is told to shut down; again; the driver is dropped.
    Shutdown,
    Stop,
    Drop,
}

/// A heap of them. What comes at the same time comes in the order of its making.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Time, u64, Coming)>>,
    made: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Time, coming: Coming) {
        self.made += 1;
        self.heap.push(Reverse((at, self.made, coming)));
    }

    pub(crate) fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next entry, if it is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Coming> {
        if self.next_time()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((.., coming))| coming)
    }
}
