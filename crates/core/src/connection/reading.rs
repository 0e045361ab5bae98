//! Reading: how much may come in, where it lands, and when none is wanted.

use super::phase::{InputEnd, OutputEnd, Phase};
use super::{Live, lent};
use crate::action::Fault;
use crate::context::Barrier;
use crate::error::Blocked;
use crate::layer::Layer;
use crate::protocol::Protocol;
use crate::record::{Entry, ReadAnswer, Tape, number};
use crate::time::Time;
use alloc::boxed::Box;

/// An unfinished message shorter than this moves back into the scratch for the
/// next read; a longer one grows where it is. Copying is cheap below, quadratic above.
pub(super) const MERGE_BELOW: usize = 4096;

/// One read asks for this many bytes at most.
pub(super) const READ_AT_MOST: usize = 64 * 1024;

/// What came of [`Live::read_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes came in.
    Bytes {
        /// How many; never 0.
        n: usize,
        /// They filled the slot, so there may be more.
        filled: bool,
    },
    /// The peer ended its direction.
    End,
    /// Nothing now.
    WouldBlock,
    /// The transport failed; the next poll closes.
    Failed,
    /// No input is wanted, so the transport was not asked.
    NotWanted,
}

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    /// Reads once from the transport, to where the bytes are parsed.
    ///
    /// `read` gets a slot that is already cut to what may be taken in, so nothing
    /// read is ever refused, and returns how many bytes it filled; 0 is the end of
    /// input. It is not called when no input is wanted. Nothing is parsed before
    /// the next [`Live::poll`].
    ///
    /// # Panics
    /// When `read` claims more bytes than the slot has.
    pub fn read_with(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize, Blocked>) -> Read {
        if matches!(self.conn.phase, Phase::New) {
            // The opening goes first, in the layers too.
            self.advance();
        }
        let quota = self.read_quota().min(READ_AT_MOST);
        if quota == 0 {
            self.conn.tap(|tape| tape.recorder.put(&Entry::NotWanted));
            return Read::NotWanted;
        }
        let n = match self.fill(quota, read) {
            Ok(n) => n,
            Err(Blocked::WouldBlock) => return Read::WouldBlock,
            Err(Blocked::Failed(error)) => {
                self.conn.buffers().on_fault(Fault::Transport(error));
                return Read::Failed;
            }
        };
        if n == 0 {
            self.on_input_end();
            return Read::End;
        }
        let io = &mut self.conn.io;
        io.counters.received += n as u64;
        io.last_move = self.now;
        io.unanswered = true;
        if L::TRANSPARENT {
            io.unheard_since = Time::NEVER;
        }
        Read::Bytes { n, filled: n == quota }
    }

    /// Bytes that may be read now.
    fn read_quota(&self) -> usize {
        let conn = &*self.conn;
        match &conn.phase {
            Phase::New => 0,
            Phase::Active if !self.wants_input() => 0,
            Phase::Active => (conn.limits.input_bytes as usize).saturating_sub(self.unread().len()),
            Phase::Flushing(end) | Phase::Lingering(end)
                if conn.input_end == InputEnd::Open
                    // A handshake is read until its deadline was judged, which is done last (FAULTS 58).
                    && (self.now < end.until || conn.waits_for_opening())
                    && !conn.wire_is_full()
                    && (L::TRANSPARENT || !self.flush_only) =>
            {
                end.discard_left as usize
            }
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => 0,
        }
    }

    pub(super) fn wants_input(&self) -> bool {
        let conn = &*self.conn;
        match &conn.phase {
            Phase::New | Phase::Active => {
                !self.flush_only
                    && conn.input_end == InputEnd::Open
                    && (self.protocol_wants_input() || (conn.layer.is_opening() && self.unread().is_empty()))
                    && !conn.layer.is_holding()
                    && !conn.wire_is_full()
            }
            Phase::Flushing(_) | Phase::Lingering(_) => self.read_quota() > 0,
            Phase::Closing(_) | Phase::Closed => false,
        }
    }

    /// A handshake is not the protocol's: what that waits for may wait for the handshake.
    fn protocol_wants_input(&self) -> bool {
        let conn = &*self.conn;
        conn.control.read_enabled
            && conn.control.barrier == Barrier::Clear
            && conn.blocked.is_none()
            && (conn.needs_more || self.unread().is_empty())
    }

    /// Input that no handler has taken yet.
    pub(super) fn unread(&self) -> &[u8] {
        let carried = self.conn.buffers.as_ref().map_or(&[][..], |buffers| buffers.carried());
        if carried.is_empty() { self.workspace.scratch.unread() } else { carried }
    }

    /// Lets `read` fill a slot of `quota` bytes behind what is unread.
    fn fill(&mut self, quota: usize, read: impl FnOnce(&mut [u8]) -> Result<usize, Blocked>) -> Result<usize, Blocked> {
        match self.conn.phase {
            Phase::New | Phase::Active => {}
            Phase::Flushing(_) if !L::TRANSPARENT && self.conn.output_end == OutputEnd::Asked => {
                return self.discard_layered(quota, read);
            }
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {
                let tape = &mut self.conn.tape;
                let n = ask(tape, Seen::Counted(ReadAnswer::Discarded), self.workspace.scratch.slot(quota), read)?;
                self.conn.discard_input(n);
                return Ok(n);
            }
        }
        if !L::TRANSPARENT {
            return self.fill_layered(quota, read);
        }
        let carried = self.conn.buffers().carried().len();
        if carried >= MERGE_BELOW {
            let buffers = lent(&mut self.conn.buffers);
            buffers.grow_carry(quota);
            buffers.carry.resize(carried + quota, 0);
            let result = ask(&mut self.conn.tape, Seen::InFull, &mut buffers.carry[carried..], read);
            let n = result.unwrap_or(0);
            buffers.carry.truncate(carried + n);
            self.conn.needs_more &= n == 0;
            return result;
        }
        self.merge_carry();
        let n = ask(&mut self.conn.tape, Seen::InFull, self.workspace.scratch.slot(quota), read)?;
        self.workspace.scratch.filled(n);
        self.conn.in_scratch = true;
        self.conn.needs_more &= n == 0;
        Ok(n)
    }

    /// Moves the unfinished message in front of what will be read.
    pub(super) fn merge_carry(&mut self) {
        let buffers = lent(&mut self.conn.buffers);
        if buffers.carry.capacity() > 0 {
            debug_assert!(self.workspace.scratch.is_empty());
            self.workspace.scratch.push(buffers.carried());
            self.conn.in_scratch = true;
            buffers.drop_carry(&mut self.workspace.pool);
        }
    }
}

/// What is recorded of the bytes a transport fills in.
pub(super) enum Seen {
    /// The bytes.
    InFull,
    /// How many they are.
    Counted(fn(u32) -> ReadAnswer),
}

/// Asks the transport.
pub(super) fn ask<P: Protocol>(
    tape: &mut Option<Box<Tape<P>>>,
    seen: Seen,
    slot: &mut [u8],
    read: impl FnOnce(&mut [u8]) -> Result<usize, Blocked>,
) -> Result<usize, Blocked> {
    let result = read(slot);
    if let Ok(n) = result {
        assert!(n <= slot.len(), "the transport filled {n} bytes of a slot of {}", slot.len());
    }
    if let Some(tape) = tape {
        tap_read(tape, &seen, slot, result);
    }
    result
}

#[cold]
#[inline(never)]
fn tap_read<P: Protocol>(tape: &mut Tape<P>, seen: &Seen, slot: &[u8], result: Result<usize, Blocked>) {
    let answer = match (result, seen) {
        (Ok(0), _) => ReadAnswer::End,
        (Ok(n), Seen::InFull) => return tape.recorder.on_input(slot.len(), &slot[..n]),
        (Ok(n), Seen::Counted(answer)) => answer(number(n)),
        (Err(Blocked::WouldBlock), _) => ReadAnswer::WouldBlock,
        (Err(Blocked::Failed(error)), _) => ReadAnswer::Failed(error),
    };
    tape.recorder.put(&Entry::Read { slot: number(slot.len()), answer });
}
