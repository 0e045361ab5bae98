//! What an application hands to a connection to have it recorded.

use super::crc::crc_of_front;
use super::entry::{Ended, Entry, LayerCall, ReadAnswer, ReasonKind, Text};
use super::format::{Header, NAME, NOTE, cut};
use super::mask::Mask;
use super::store::Store;
use super::value::Record;
use crate::close::Reason;
use crate::file::FileId;
use crate::limits::Limits;
use crate::protocol::Protocol;
use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// How much of a recording is kept. Both bound the whole file, in bytes; a bound
/// below [`Keep::LEAST`] is taken for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The beginning. At the bound it stops, says so, and can be replayed up to there.
    First(usize),
    /// The end: what came first is dropped, whole entries at a time. Once something
    /// was dropped the recording can be read, but not replayed.
    Last(usize),
}

impl Keep {
    /// The least bound there is, in bytes.
    pub const LEAST: usize = 4096;
    /// What a tape keeps unless it is told otherwise: the first 16 MiB.
    pub const DEFAULT: Keep = Keep::First(16 << 20);
}

/// A recording in the making, for [`Connection::recorded`](crate::Connection::recorded).
///
/// ```
/// # use drywire_core::{Connection, Context, Protocol, Stop, Time, Workspace};
/// # use core::convert::Infallible;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     type Event = Infallible;
/// #     type Command = Infallible;
/// #     type Error = Infallible;
/// #     fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
/// #         cx.write(input)?;
/// #         Ok(input.len())
/// #     }
/// # }
/// use drywire_core::record::{Keep, Reader, Tape};
/// use std::sync::mpsc;
///
/// let (send, receive) = mpsc::channel();
/// let tape = Tape::new("echo", move |file| drop(send.send(file)))
///     .note("peer 127.0.0.1:99")
///     .keeping(Keep::First(1 << 20));
/// let connection = Connection::new(Echo).recorded(tape);
/// drop(connection);
///
/// let file: Vec<u8> = receive.recv().expect("a dropped connection ends its recording");
/// assert_eq!(Reader::new(&file).expect("it is whole").header().protocol, "echo");
/// ```
pub struct Tape<P: Protocol> {
    pub(crate) recorder: Recorder,
    /// Pointers, so that what they need of a protocol binds nobody but the maker of a tape.
    record: fn(&P::Command, &mut Vec<u8>),
    describe_event: fn(&P::Event, &mut Bounded<'_>) -> fmt::Result,
    describe_reason: fn(&Reason<P::Error>, &mut Bounded<'_>) -> fmt::Result,
}

impl<P> Tape<P>
where
    P: Protocol<Event: fmt::Debug, Command: Record, Error: fmt::Debug>,
{
    /// A tape that becomes a file. `done` gets the finished file, exactly once: when
    /// the close report was taken, or when the connection is dropped without one,
    /// in a panic too (a panic of `done` itself aborts then). It runs inside of that
    /// call, so it should not take long.
    ///
    /// `protocol` names the protocol for whoever replays it; its first 64 bytes are kept.
    pub fn new(protocol: &str, done: impl FnOnce(Vec<u8>) + Send + Sync + 'static) -> Tape<P> {
        Tape::onto(protocol, Sink::File { store: Store::new(Keep::DEFAULT), done: Box::new(done) })
    }

    /// No file: each entry is told to `hear` when it happens, with its contents in
    /// one piece.
    pub fn listening(hear: impl FnMut(Entry<'_>) + Send + Sync + 'static) -> Tape<P> {
        Tape::onto("", Sink::Listener(Box::new(hear)))
    }

    fn onto(protocol: &str, sink: Sink) -> Tape<P> {
        Tape {
            recorder: Recorder {
                sink,
                mask: None,
                protocol: cut(protocol, NAME).to_owned(),
                note: String::new(),
                limits: P::LIMITS,
                layered: false,
                text: String::new(),
                bytes: Vec::new(),
            },
            record: Record::record,
            describe_event: |event, text| write!(text, "{event:?}"),
            describe_reason: |reason, text| write!(text, "{reason:?}"),
        }
    }
}

impl<P: Protocol> Tape<P> {
    /// A note for whoever reads the recording; its first 512 bytes are kept.
    #[must_use]
    pub fn note(mut self, note: &str) -> Tape<P> {
        self.recorder.note = cut(note, NOTE).to_owned();
        self
    }

    /// How much is kept; [`Keep::DEFAULT`] unless said. Means nothing to a listener.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Tape<P> {
        match &mut self.recorder.sink {
            Sink::File { store, .. } => store.keep(keep),
            Sink::Listener(_) | Sink::Done => {}
        }
        self
    }

    /// Blanks secrets in input; see [`Mask`] for what else is left out then.
    #[must_use]
    pub fn masked_by(mut self, mask: Mask) -> Tape<P> {
        self.recorder.mask = Some(mask);
        self
    }

    pub(crate) fn on_attached(&mut self, limits: Limits, layered: bool) {
        self.recorder.limits = limits;
        self.recorder.layered = layered;
    }

    /// Writes a command down before the connection takes it.
    pub(crate) fn keep_command(&mut self, command: &P::Command) {
        self.recorder.bytes.clear();
        (self.record)(command, &mut self.recorder.bytes);
    }

    pub(crate) fn on_event(&mut self, event: &P::Event) {
        let mut text = core::mem::take(&mut self.recorder.text);
        let text_of = self.recorder.describe(&mut text, |bounded| (self.describe_event)(event, bounded));
        self.recorder.put(&Entry::Event(text_of));
        self.recorder.text = text;
    }

    pub(crate) fn on_report(&mut self, report: &crate::CloseReport<P::Error>) {
        let mut text = core::mem::take(&mut self.recorder.text);
        let kind = ReasonKind::of(&report.reason);
        let text_of = match report.reason {
            // Our own reasons hold nothing of the peer's.
            Reason::Finished
            | Reason::Requested
            | Reason::Limit(_)
            | Reason::Misuse(_)
            | Reason::Transport(_)
            | Reason::File(_)
            | Reason::Layer(_)
            | Reason::Stalled
            | Reason::Aborted
            | Reason::Panicked
            | Reason::Shed => bounded(&mut text, |bounded| (self.describe_reason)(&report.reason, bounded)),
            Reason::Peer(_) => {
                self.recorder.describe(&mut text, |bounded| (self.describe_reason)(&report.reason, bounded))
            }
        };
        self.recorder.put(&Entry::Report { kind, text: text_of, counters: report.counters });
        self.recorder.finish(Ended::Closed);
    }
}

impl<P: Protocol> fmt::Debug for Tape<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

/// The part of a tape that does not know the protocol: what tokens and layers need.
#[derive(Debug)]
pub(crate) struct Recorder {
    sink: Sink,
    mask: Option<Mask>,
    protocol: String,
    note: String,
    limits: Limits,
    layered: bool,
    /// Kept for their memory.
    text: String,
    bytes: Vec<u8>,
}

enum Sink {
    File { store: Store, done: Box<dyn FnOnce(Vec<u8>) + Send + Sync> },
    Listener(Box<dyn FnMut(Entry<'_>) + Send + Sync>),
    Done,
}

impl Recorder {
    /// No digests and no texts, only what the mask lets through.
    pub(crate) fn is_masked(&self) -> bool {
        self.mask.is_some()
    }

    pub(crate) fn put(&mut self, entry: &Entry<'_>) {
        self.put_all(entry, &[]);
    }

    /// Input that came, `bytes` long; masked on its way.
    pub(crate) fn on_input(&mut self, slot: usize, bytes: &[u8]) {
        let answer = ReadAnswer::Bytes(number(bytes.len()));
        self.put_masked(&Entry::Read { slot: number(slot), answer }, bytes);
    }

    /// What a layer did; `plain` is what it made of input.
    pub(crate) fn on_layer(&mut self, call: LayerCall<'_>, plain: &[u8]) {
        self.put_masked(&Entry::Layer(call), plain);
    }

    /// A file is asked for by this name.
    pub(crate) fn on_name(&mut self, id: FileId, name: &[u8]) {
        let is_masked = self.is_masked();
        let front = if is_masked { &[] } else { &name[..name.len().min(Text::MAX)] };
        let crc = (!is_masked).then(|| crc_of_front(&[name], name.len()));
        self.put(&Entry::OpenFile { id, name: Cow::Borrowed(front), len: number(name.len()), crc });
    }

    /// The command kept by [`Tape::keep_command`], now that its fate is known.
    pub(crate) fn on_command(&mut self, refused: Option<crate::Misuse>) {
        let bytes = core::mem::take(&mut self.bytes);
        self.put_all(&Entry::Command { len: number(bytes.len()), refused }, &bytes);
        self.bytes = bytes;
    }

    fn put_masked(&mut self, entry: &Entry<'_>, input: &[u8]) {
        let Some(mask) = &mut self.mask else { return self.put_all(entry, input) };
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.extend_from_slice(input);
        mask.apply(&mut bytes);
        self.put_all(entry, &bytes);
        self.bytes = bytes;
    }

    fn put_all(&mut self, entry: &Entry<'_>, contents: &[u8]) {
        match &mut self.sink {
            Sink::File { store, .. } => store.put(entry, contents),
            Sink::Listener(hear) => {
                hear(entry.clone());
                if !contents.is_empty() {
                    hear(Entry::Bytes(Cow::Borrowed(contents)));
                }
            }
            Sink::Done => {}
        }
    }

    fn describe<'t>(&self, kept: &'t mut String, write: impl FnOnce(&mut Bounded<'_>) -> fmt::Result) -> Text<'t> {
        if self.is_masked() { Text::default() } else { bounded(kept, write) }
    }

    fn finish(&mut self, ended: Ended) {
        match core::mem::replace(&mut self.sink, Sink::Done) {
            Sink::File { mut store, done } => {
                store.end(ended);
                done(store.into_file(Header {
                    protocol: &self.protocol,
                    note: &self.note,
                    limits: self.limits,
                    masked: self.mask.is_some(),
                    layered: self.layered,
                    first: 0,
                }));
            }
            Sink::Listener(mut hear) => hear(Entry::End(ended)),
            Sink::Done => {}
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish(Ended::Dropped);
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::File { store, .. } => f.debug_struct("File").field("store", store).finish_non_exhaustive(),
            Sink::Listener(_) => f.debug_struct("Listener").finish_non_exhaustive(),
            Sink::Done => f.write_str("Done"),
        }
    }
}

/// Takes a text of any length and keeps its front, its length and its checksum.
pub(crate) struct Bounded<'a> {
    kept: &'a mut String,
    hasher: crc32fast::Hasher,
    len: usize,
}

fn bounded<'t>(kept: &'t mut String, write: impl FnOnce(&mut Bounded<'_>) -> fmt::Result) -> Text<'t> {
    kept.clear();
    let mut bounded = Bounded { kept, hasher: crc32fast::Hasher::new(), len: 0 };
    // A `Debug` that fails has written what it could.
    let _ = write(&mut bounded);
    let (len, crc) = (number(bounded.len), bounded.hasher.finalize());
    Text { front: Cow::Borrowed(kept), len, crc }
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.kept.len() == self.len {
            self.kept.push_str(cut(text, Text::MAX - self.len));
        }
        self.hasher.update(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// A length as it is recorded. All of them are bounded by a slot or a limit.
pub(crate) fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
