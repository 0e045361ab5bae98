//! What is recorded: one entry for each call into a connection, for each answer
//! out of it, and for each call of a layer. How they are written is in `codec`.

use super::format::cut;
use super::why::Why;
use crate::action::Wait;
use crate::close::{Counters, Reason};
use crate::error::{FileError, Misuse, TransportError};
use crate::file::FileId;
use crate::time::Time;
use alloc::borrow::Cow;
use core::fmt;

/// One thing that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A turn began. Everything up to the next one happened at this time.
    Lend {
        /// The time the driver passed in.
        now: Time,
        /// The turn before was forgotten (`mem::forget`), not ended.
        forgotten: bool,
    },
    /// [`Live::handle_writable`](crate::Live::handle_writable).
    Writable,
    /// [`Live::read_with`](crate::Live::read_with) asked the transport.
    Read {
        /// Bytes the transport could have filled.
        slot: u32,
        /// What it answered.
        answer: ReadAnswer,
    },
    /// [`Live::read_with`](crate::Live::read_with) while no input was wanted.
    NotWanted,
    /// [`Live::handle_command`](crate::Live::handle_command). The command follows as [`Entry::Bytes`].
    Command {
        /// Length of the recorded command, in bytes.
        len: u32,
        /// Why the connection did not take it.
        refused: Option<Misuse>,
    },
    /// [`Live::handle_file`](crate::Live::handle_file).
    File {
        /// Which file.
        id: FileId,
        /// Its length in bytes, or why it is not open.
        result: Result<u64, FileError>,
        /// Why the connection did not want the answer.
        refused: Option<Misuse>,
    },
    /// [`Live::handle_transport_error`](crate::Live::handle_transport_error).
    TransportError(TransportError),
    /// [`Live::drain`](crate::Live::drain).
    Drain,
    /// [`Live::close`](crate::Live::close).
    Close,
    /// [`Live::abort`](crate::Live::abort).
    Abort,
    /// [`Connection::inject_full`](crate::Connection::inject_full).
    InjectFull(u32),
    /// [`Live::flush_only`](crate::Live::flush_only).
    FlushOnly,
    /// As many messages were consumed as [`Live::consume_at_most`](crate::Live::consume_at_most) said.
    Cut {
        /// Messages that were consumed in this turn.
        messages: u32,
    },
    /// [`Live::queue_at_most`](crate::Live::queue_at_most).
    QueueAtMost(u32),

    /// A piece of what the entry before announced: input, a command, or what a
    /// layer made of input. Pieces follow each other until it is complete.
    Bytes(Cow<'a, [u8]>),

    /// [`Action::Write`](crate::Action::Write).
    Write {
        /// Bytes offered.
        offered: u64,
    },
    /// The transport took bytes. After a write that was blocked or dropped nothing follows.
    Wrote {
        /// How many.
        n: u64,
        /// Their CRC-32. Not with layers, whose bytes are not ours, nor with a mask.
        crc: Option<u32>,
    },
    /// [`Action::StreamFile`](crate::Action::StreamFile).
    StreamFile {
        /// Which file.
        id: FileId,
        /// Where the part starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: u64,
    },
    /// The transport took bytes of the file.
    Sent {
        /// How many.
        n: u64,
    },
    /// [`Action::ReadFile`](crate::Action::ReadFile).
    ReadFile {
        /// Which file.
        id: FileId,
        /// Where the part starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: u64,
    },
    /// The file was read, for a layer.
    FileRead {
        /// Bytes that came.
        n: u32,
    },
    /// The transport failed while it was offered bytes or a file.
    OutputFailed(TransportError),
    /// The file failed while it was sent or read.
    FileFailed(FileError),
    /// [`Action::OpenFile`](crate::Action::OpenFile).
    OpenFile {
        /// Which file.
        id: FileId,
        /// Its name: bytes from the peer, the first 256. Empty with a mask.
        name: Cow<'a, [u8]>,
        /// Length of the whole name, in bytes.
        len: u32,
        /// CRC-32 of the whole name. Not with a mask.
        crc: Option<u32>,
    },
    /// [`Action::CloseFile`](crate::Action::CloseFile).
    CloseFile {
        /// Which file.
        id: FileId,
    },
    /// [`Action::Event`](crate::Action::Event).
    Event(Text<'a>),
    /// [`Action::EnableRead`](crate::Action::EnableRead).
    EnableRead,
    /// [`Action::DisableRead`](crate::Action::DisableRead).
    DisableRead,
    /// [`Action::HalfClose`](crate::Action::HalfClose).
    HalfClose,
    /// [`Action::Close`](crate::Action::Close).
    Report {
        /// Why it ended.
        kind: ReasonKind,
        /// The reason as `Debug` writes it.
        text: Text<'a>,
        /// What went through the connection.
        counters: Counters,
    },
    /// [`Action::Again`](crate::Action::Again).
    Again,
    /// [`Action::Wait`](crate::Action::Wait).
    Wait {
        /// What for, as the driver is told.
        wait: Wait,
        /// What the connection holds meanwhile.
        levels: Levels,
        /// And why, in its own terms.
        why: Why,
    },

    /// A layer was called.
    Layer(LayerCall<'a>),

    /// The last entry of every recording.
    End(Ended),
}

/// What a transport answered to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// So many bytes, which follow as [`Entry::Bytes`].
    Bytes(u32),
    /// So many bytes for a layer; they are not recorded.
    Wire(u32),
    /// So many bytes behind a close: nobody sees them, so they are not recorded.
    Discarded(u32),
    /// The end of input.
    End,
    /// Nothing now.
    WouldBlock,
    /// The transport failed.
    Failed(TransportError),
}

impl ReadAnswer {
    /// How many bytes came.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            ReadAnswer::Bytes(n) | ReadAnswer::Wire(n) | ReadAnswer::Discarded(n) => n,
            ReadAnswer::End | ReadAnswer::WouldBlock | ReadAnswer::Failed(_) => 0,
        }
    }
}

/// The beginning of a text, and what is left of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a> {
    /// Up to [`Text::MAX`] bytes of it. Empty with a mask.
    pub front: Cow<'a, str>,
    /// Length of the whole text, in bytes; 0 with a mask.
    pub len: u32,
    /// CRC-32 of the whole text; 0 with a mask.
    pub crc: u32,
}

impl Text<'_> {
    /// Bytes of a text, or of a file's name, that are recorded.
    pub const MAX: usize = 256;
}

impl<'a> Text<'a> {
    /// As much of `text` as is recorded.
    pub(crate) fn front_of(text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(cut(text, Text::MAX))
    }
}

/// [`Reason`] without what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the variants of `Reason`")]
pub enum ReasonKind {
    Finished,
    Requested,
    Peer,
    Limit,
    Misuse,
    Transport,
    File,
    Layer,
    Stalled,
    Aborted,
}

impl ReasonKind {
    /// The kind of this reason.
    pub fn of<E>(reason: &Reason<E>) -> ReasonKind {
        match reason {
            Reason::Finished => ReasonKind::Finished,
            Reason::Requested => ReasonKind::Requested,
            Reason::Peer(_) => ReasonKind::Peer,
            Reason::Limit(_) => ReasonKind::Limit,
            Reason::Misuse(_) => ReasonKind::Misuse,
            Reason::Transport(_) => ReasonKind::Transport,
            Reason::File(_) => ReasonKind::File,
            Reason::Layer(_) => ReasonKind::Layer,
            Reason::Stalled => ReasonKind::Stalled,
            // Whoever runs a connection says the last two; the connection itself was aborted.
            Reason::Aborted | Reason::Panicked | Reason::Shed => ReasonKind::Aborted,
        }
    }
}

/// What a connection holds while it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Bytes of input no handler has taken.
    pub input: u64,
    /// Bytes of output the transport has not taken.
    pub output: u64,
    /// Parts of files in the output.
    pub files: u32,
    /// Bytes layers have encoded and the transport has not taken.
    pub wire: u64,
}

/// One call of a layer, and what came of it. Wire bytes are counted, never recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerCall<'a> {
    /// Which call.
    pub kind: LayerCallKind,
    /// Bytes it took: wire bytes in `receive`, plain ones in `send`.
    pub taken: u32,
    /// CRC-32 of the plain bytes `send` took; 0 with a mask, for files and for other calls.
    pub crc: u32,
    /// Plain bytes `receive` made, which follow as [`Entry::Bytes`].
    pub plain: u32,
    /// Wire bytes it made.
    pub wire: u32,
    /// The layer that failed, and why.
    pub error: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// [`Layer::is_holding`](crate::layer::Layer::is_holding) afterwards.
    pub holding: bool,
    /// [`Layer::is_owing`](crate::layer::Layer::is_owing) afterwards.
    pub owing: bool,
    /// [`Layer::has_ended`](crate::layer::Layer::has_ended) afterwards.
    pub ended: bool,
    /// [`Layer::is_opening`](crate::layer::Layer::is_opening) afterwards.
    pub opening: bool,
    /// [`Layer::is_partial`](crate::layer::Layer::is_partial) afterwards.
    pub partial: bool,
}

/// The calls of [`Layer`](crate::layer::Layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the methods of `Layer`")]
pub enum LayerCallKind {
    Open,
    Receive,
    Send,
    Flush,
    ReceiveEnd,
    SendEnd,
    Upgrade,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the close report.
    Closed,
    /// The connection was dropped without one; maybe a handler panicked.
    Dropped,
    /// The bound of [`Keep::First`](super::Keep::First) was met; the connection went on.
    Full,
}

impl Entry<'_> {
    /// The same entry, on its own.
    #[must_use]
    pub fn into_owned(self) -> Entry<'static> {
        match self {
            Entry::Bytes(bytes) => Entry::Bytes(Cow::Owned(bytes.into_owned())),
            Entry::OpenFile { id, name, len, crc } => {
                Entry::OpenFile { id, name: Cow::Owned(name.into_owned()), len, crc }
            }
            Entry::Event(text) => Entry::Event(text.into_owned()),
            Entry::Report { kind, text, counters } => Entry::Report { kind, text: text.into_owned(), counters },
            Entry::Layer(call) => Entry::Layer(call.into_owned()),
            Entry::Lend { now, forgotten } => Entry::Lend { now, forgotten },
            Entry::Writable => Entry::Writable,
            Entry::Read { slot, answer } => Entry::Read { slot, answer },
            Entry::NotWanted => Entry::NotWanted,
            Entry::Command { len, refused } => Entry::Command { len, refused },
            Entry::File { id, result, refused } => Entry::File { id, result, refused },
            Entry::TransportError(error) => Entry::TransportError(error),
            Entry::Drain => Entry::Drain,
            Entry::Close => Entry::Close,
            Entry::Abort => Entry::Abort,
            Entry::InjectFull(nth) => Entry::InjectFull(nth),
            Entry::FlushOnly => Entry::FlushOnly,
            Entry::QueueAtMost(bytes) => Entry::QueueAtMost(bytes),
            Entry::Write { offered } => Entry::Write { offered },
            Entry::Wrote { n, crc } => Entry::Wrote { n, crc },
            Entry::StreamFile { id, offset, len } => Entry::StreamFile { id, offset, len },
            Entry::Sent { n } => Entry::Sent { n },
            Entry::ReadFile { id, offset, len } => Entry::ReadFile { id, offset, len },
            Entry::FileRead { n } => Entry::FileRead { n },
            Entry::OutputFailed(error) => Entry::OutputFailed(error),
            Entry::FileFailed(error) => Entry::FileFailed(error),
            Entry::CloseFile { id } => Entry::CloseFile { id },
            Entry::EnableRead => Entry::EnableRead,
            Entry::DisableRead => Entry::DisableRead,
            Entry::HalfClose => Entry::HalfClose,
            Entry::Cut { messages } => Entry::Cut { messages },
            Entry::Again => Entry::Again,
            Entry::Wait { wait, levels, why } => Entry::Wait { wait, levels, why },
            Entry::End(ended) => Entry::End(ended),
        }
    }
}

impl Text<'_> {
    fn into_owned(self) -> Text<'static> {
        Text { front: Cow::Owned(self.front.into_owned()), len: self.len, crc: self.crc }
    }
}

impl LayerCall<'_> {
    fn into_owned(self) -> LayerCall<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let LayerCall { kind, taken, crc, plain, wire, error, holding, owing, ended, opening, partial } = self;
        let error = error.map(|(layer, reason)| (owned(layer), owned(reason)));
        LayerCall { kind, taken, crc, plain, wire, error, holding, owing, ended, opening, partial }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.front)?;
        match (self.len as usize).saturating_sub(self.front.len()) {
            0 => Ok(()),
            more => write!(f, "… ({more} bytes more)"),
        }
    }
}
