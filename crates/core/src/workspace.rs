//! What a worker lends a connection for one turn: the input scratch, and a pool
//! of blocks and queues. An idle connection owns none of it.

use crate::output::Buffers;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Memory one worker thread shares between all its connections.
///
/// A turn is synchronous, so one per thread is enough; a thread-local serves
/// runtimes that move tasks between threads.
///
/// Bound: keeps at most [`Workspace::POOL_BYTES`] of unused blocks and queues; what comes
/// back beyond that is freed, so pools do not drift as tasks migrate. So is a queue that
/// was long: it has kept the room for it.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Input of the connection whose turn it is lies in `start..end`.
    pub(crate) scratch: Scratch,
    /// What came from the transport and is to go through the layers.
    pub(crate) wire: Vec<u8>,
    /// What the layers made of it.
    pub(crate) plain: Vec<u8>,
    /// A piece of a file on its way to the layers; empty between turns.
    pub(crate) file: Vec<u8>,
    pub(crate) pool: Pool,
}

impl Workspace {
    /// Unused blocks and queues kept for the next connection, in bytes.
    pub const POOL_BYTES: usize = 4 << 20;

    /// An empty workspace: it grows to what its connections need and stays there.
    #[must_use]
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// Bytes of unused blocks and queues that wait in the pool.
    #[must_use]
    pub fn pooled_bytes(&self) -> usize {
        self.pool.bytes()
    }
}

/// The input buffer of the turn: bytes land here and are parsed here.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Scratch {
    #[inline]
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// A place for `n` more bytes behind the unread ones. What is filled in
    /// counts after [`Scratch::filled`].
    pub(crate) fn slot(&mut self, n: usize) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < self.end + n {
            self.bytes.resize(self.end + n, 0);
        }
        &mut self.bytes[self.end..self.end + n]
    }

    pub(crate) fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.slot(data.len()).copy_from_slice(data);
        self.filled(data.len());
    }
}

/// Blocks by size class, and the queues that use them.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    blocks: [Vec<Vec<u8>>; Pool::CLASSES.len()],
    block_bytes: usize,
    /// Not counted one by one, which each turn would pay for: so many at most, and none
    /// over its bound.
    #[expect(clippy::vec_box, reason = "the boxes move between the pool and connections")]
    queues: Vec<Box<Buffers>>,
}

impl Pool {
    const CLASSES: [usize; 5] = [256, 1024, 4096, 16 * 1024, 64 * 1024];
    /// The least a block takes.
    pub(crate) const SMALLEST: usize = Pool::CLASSES[0];
    /// A burst of busy connections should find a queue each.
    const QUEUES: usize = 512;
    /// Room for some thirty segments and a name.
    const QUEUE_BYTES: usize = 2048;
    const BLOCK_BYTES: usize = Workspace::POOL_BYTES - Pool::QUEUES * Pool::QUEUE_BYTES;

    /// What [`Pool::take`] gives for `n` bytes at least, for so many at most.
    pub(crate) fn block_bytes(n: usize) -> usize {
        Pool::CLASSES.into_iter().find(|size| *size >= n).unwrap_or(n)
    }

    /// An empty block with room for `n` bytes or more.
    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        let Some(class) = Pool::CLASSES.iter().position(|size| *size >= n) else {
            return Vec::with_capacity(n);
        };
        match self.blocks[class].pop() {
            Some(block) => {
                self.block_bytes -= Pool::CLASSES[class];
                block
            }
            None => Vec::with_capacity(Pool::CLASSES[class]),
        }
    }

    /// Keeps a block for the next [`Pool::take`], or frees it.
    pub(crate) fn give(&mut self, mut block: Vec<u8>) {
        // An exact match only: a block that grew outside of the classes is not ours to keep.
        let Some(class) = Pool::CLASSES.iter().position(|size| *size == block.capacity()) else {
            return;
        };
        if self.block_bytes + Pool::CLASSES[class] > Pool::BLOCK_BYTES {
            return;
        }
        block.clear();
        self.block_bytes += Pool::CLASSES[class];
        self.blocks[class].push(block);
    }

    pub(crate) fn take_queue(&mut self) -> Box<Buffers> {
        self.queues.pop().unwrap_or_default()
    }

    pub(crate) fn give_queue(&mut self, queue: Box<Buffers>) {
        debug_assert!(queue.is_empty());
        if queue.room() <= Pool::QUEUE_BYTES && self.queues.len() < Pool::QUEUES {
            self.queues.push(queue);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.block_bytes + self.queues.iter().map(|queue| queue.room()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_by_size_class() {
        let mut pool = Pool::default();
        let block = pool.take(300);
        assert_eq!(block.capacity(), 1024);
        pool.give(block);
        assert_eq!(pool.bytes(), 1024);
        assert_eq!(pool.take(1024).capacity(), 1024);
        assert_eq!(pool.bytes(), 0);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..200 {
            pool.give(Vec::with_capacity(64 * 1024));
        }
        assert_eq!(pool.bytes(), Pool::BLOCK_BYTES);
        for _ in 0..2000 {
            pool.give_queue(Box::new(Buffers { name: Vec::with_capacity(1000), ..Buffers::default() }));
        }
        let queue = size_of::<Buffers>() + 1000;
        assert_eq!(pool.bytes(), Pool::BLOCK_BYTES + Pool::QUEUES * queue);
        assert!(queue < Pool::QUEUE_BYTES && pool.bytes() <= Workspace::POOL_BYTES);
    }

    #[test]
    fn queue_that_was_long_is_not_kept() {
        let mut pool = Pool::default();
        pool.give_queue(Box::new(Buffers { name: Vec::with_capacity(Pool::QUEUE_BYTES), ..Buffers::default() }));
        assert_eq!(pool.bytes(), 0);
    }

    #[test]
    fn scratch_moves_what_is_unread_to_the_front() {
        let mut scratch = Scratch::default();
        scratch.push(b"abcdef");
        scratch.consume(4);
        scratch.push(b"gh");
        assert_eq!(scratch.unread(), b"efgh");
        scratch.consume(4);
        assert!(scratch.is_empty());
    }
}
