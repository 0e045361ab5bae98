//! What a driver must do, as tokens that cannot be misused.
//!
//! A token borrows the connection, so there is one at a time. The connection
//! counts as blocked from the moment a token is handed out until it is answered:
//! dropping or forgetting one loses nothing and waits for readiness.

use crate::close::CloseReport;
use crate::connection::{Io, WIRE_AHEAD};
use crate::error::{FileError, TransportError};
use crate::file::FileId;
use crate::output::{Buffers, FilePart, MAX_SLICES};
use crate::record::{self, Entry, Recorder};
use crate::time::Time;
use crate::workspace::Pool;
use alloc::vec::Vec;
use core::fmt;

/// The next thing to do for a connection. Repeat until [`Action::Wait`].
#[derive(Debug)]
pub enum Action<'a, Event, Error> {
    /// Offer these bytes to the transport.
    Write(Write<'a>),
    /// Send this part of a file to the transport.
    StreamFile(StreamFile<'a>),
    /// Read this part of a file: a layer has to see it before it is sent.
    ReadFile(ReadFile<'a>),
    /// Open a file and answer with [`Live::handle_file`](crate::Live::handle_file), now or later.
    OpenFile(OpenFile<'a>),
    /// Nobody needs this file any more.
    CloseFile(FileId),
    /// Hand this to the application.
    Event(Event),
    /// Stop asking for input; [`Wait::read`] carries the level.
    DisableRead,
    /// Ask for input again.
    EnableRead,
    /// End our direction of the transport (`shutdown(Write)`).
    HalfClose,
    /// Close the transport. Comes exactly once, last.
    Close(CloseReport<Error>),
    /// As many messages as [`Live::consume_at_most`](crate::Live::consume_at_most) said were consumed: end
    /// the turn and make another without waiting, behind those of other connections.
    /// Never without that call.
    Again,
    /// Nothing is left to do. Interest and deadline come from here and nowhere else.
    Wait(Wait),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Input is wanted.
    pub read: bool,
    /// The transport refused output; readiness to write is wanted.
    pub write: bool,
    /// Make another turn no later than this.
    pub deadline: Option<Time>,
}

/// What all tokens that move output need.
pub(crate) struct OutputSide<'a> {
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) pool: &'a mut Pool,
    pub(crate) io: &'a mut Io,
    pub(crate) now: Time,
    pub(crate) tape: Option<&'a mut Recorder>,
}

impl OutputSide<'_> {
    fn moved(&mut self, n: u64) {
        if n > 0 {
            self.io.on_sent(n, self.now);
        }
    }

    fn tap(&mut self, entry: Entry<'_>) {
        if let Some(tape) = &mut self.tape {
            tape.put(&entry);
        }
    }

    fn transport_failed(mut self, error: TransportError) {
        self.tap(Entry::OutputFailed(error));
        self.buffers.on_fault(Fault::Transport(error));
    }
}

/// Bytes that are due, in up to 16 pieces.
pub struct Write<'a> {
    pub(crate) side: OutputSide<'a>,
    /// The bytes come from the layers rather than from the queue.
    pub(crate) from_layers: bool,
}

impl Write<'_> {
    /// Most pieces one write has.
    pub const MAX_SLICES: usize = MAX_SLICES;

    /// Calls `offer` with the pieces, front first, and whether more follows right
    /// behind them (a hint for `MSG_MORE`).
    pub fn with_slices<R>(&self, offer: impl FnOnce(&[&[u8]], bool) -> R) -> R {
        let buffers = &*self.side.buffers;
        if self.from_layers {
            let wire = &buffers.wire[buffers.wire_start..];
            // What is queued may wait for the peer: for its part of a handshake.
            return offer(&[wire], wire.len() >= WIRE_AHEAD && !buffers.output.is_empty());
        }
        let mut slices: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
        let (count, more) = buffers.output.gather(&mut slices);
        offer(&slices[..count], more)
    }

    /// The transport took `n` bytes from the front.
    ///
    /// # Panics
    /// When that is more than was offered.
    pub fn wrote(mut self, n: usize) {
        let offered = self.with_slices(|slices, _| slices.iter().map(|s| s.len()).sum::<usize>());
        assert!(n <= offered, "the transport took {n} bytes of {offered}");
        if self.side.tape.is_some() {
            self.tap_wrote(n);
        }
        let side = &mut self.side;
        if self.from_layers {
            side.buffers.on_wire_taken(n);
        } else {
            side.buffers.output.wrote(n, side.pool);
            side.io.wrote |= n > 0;
        }
        side.moved(n as u64);
    }

    /// The transport took nothing and will signal readiness.
    pub fn blocked(self) {}

    /// The transport failed.
    pub fn failed(self, error: TransportError) {
        self.side.transport_failed(error);
    }

    /// Only what was taken is hashed: what is offered again and again would cost its
    /// square.
    #[cold]
    #[inline(never)]
    fn tap_wrote(&mut self, n: usize) {
        let is_masked = self.side.tape.as_ref().is_some_and(|tape| tape.is_masked());
        let crc =
            (!self.from_layers && !is_masked).then(|| self.with_slices(|slices, _| record::crc_of_front(slices, n)));
        self.side.tap(Entry::Wrote { n: n as u64, crc });
    }
}

impl fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.with_slices(|slices, _| slices.iter().map(|s| s.len()).collect::<Vec<_>>()))
            .finish()
    }
}

/// A part of a file that is due.
pub struct StreamFile<'a> {
    pub(crate) side: OutputSide<'a>,
    pub(crate) part: FilePart,
}

impl StreamFile<'_> {
    /// Which file.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.part.id
    }

    /// Where the part starts, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.part.offset
    }

    /// How long it is, in bytes; never 0. A driver may send less at a time.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.part.len
    }

    /// Never: an empty part is not queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.len == 0
    }

    /// The transport took `n` bytes of it.
    ///
    /// # Panics
    /// When that is more than the part has.
    pub fn sent(mut self, n: u64) {
        assert!(n <= self.part.len, "the transport took {n} bytes of {}", self.part.len);
        self.side.tap(Entry::Sent { n });
        let done = self.side.buffers.output.sent(n);
        self.side.buffers.to_close.extend(done);
        self.side.io.wrote |= n > 0;
        self.side.moved(n);
    }

    /// The transport took nothing and will signal readiness.
    pub fn blocked(self) {}

    /// The transport failed.
    pub fn failed(self, error: TransportError) {
        self.side.transport_failed(error);
    }

    /// The file failed, or turned out shorter: the connection is aborted, bytes
    /// are never made up (FAULTS 46, 49).
    pub fn file_failed(mut self, error: FileError) {
        self.side.tap(Entry::FileFailed(error));
        self.side.buffers.on_fault(Fault::File(error));
    }
}

impl fmt::Debug for StreamFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(f)
    }
}

/// A part of a file that a layer has to see.
pub struct ReadFile<'a> {
    pub(crate) part: FilePart,
    pub(crate) slot: &'a mut Vec<u8>,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) io: &'a mut Io,
    pub(crate) tape: Option<&'a mut Recorder>,
}

impl ReadFile<'_> {
    /// Which file.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.part.id
    }

    /// Where the part starts, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.part.offset
    }

    /// Reads the part, or a piece from its front, through `read`.
    ///
    /// `read` returns how many bytes it filled; 0 means the file ended, which
    /// aborts the connection like any other failure of the file.
    ///
    /// # Panics
    /// When `read` claims more bytes than the slot has.
    pub fn read_with(self, read: impl FnOnce(&mut [u8]) -> Result<usize, FileError>) {
        let len = self.slot.capacity().min(usize::try_from(self.part.len).unwrap_or(usize::MAX));
        self.io.write_blocked = false;
        self.slot.resize(len, 0);
        let result = match read(self.slot) {
            Ok(0) => Err(FileError::Truncated),
            Ok(n) => {
                assert!(n <= len, "the file filled {n} bytes of a slot of {len}");
                Ok(n)
            }
            Err(error) => Err(error),
        };
        if let Some(tape) = self.tape {
            tape.put(&result.map_or_else(Entry::FileFailed, |n| Entry::FileRead { n: record::number(n) }));
        }
        match result {
            Ok(n) => self.slot.truncate(n),
            Err(error) => {
                self.slot.clear();
                self.buffers.on_fault(Fault::File(error));
            }
        }
    }
}

impl fmt::Debug for ReadFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(f)
    }
}

/// A file somebody asked for.
#[derive(Debug)]
pub struct OpenFile<'a> {
    pub(crate) id: FileId,
    pub(crate) name: &'a [u8],
}

impl OpenFile<'_> {
    /// The number to answer with.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Its name: bytes from the peer, not checked in any way.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name
    }
}

/// What went wrong while a token was answered; the next poll acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Transport(TransportError),
    File(FileError),
}
