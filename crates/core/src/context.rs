//! What a handler may do: one transaction on one connection.

use crate::error::{Misuse, Stop};
use crate::file::{FileId, Opened};
use crate::limits::{Limit, Limits};
use crate::output::{Refusal, Refused, Reserved, Resource, Writer, integers};
use crate::protocol::{Protocol, Timer};
use crate::time::Time;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

/// Everything a handler can ask for besides output and events. Plain data, so
/// undoing a call is putting a copy back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) timers: [Time; Timer::COUNT],
    pub(crate) barrier: Barrier,
    pub(crate) room: RoomRequest,
    pub(crate) next_file: u32,
    pub(crate) ending: Ending,
    pub(crate) read_enabled: bool,
}

impl Control {
    pub(crate) const NEW: Control = Control {
        timers: [Time::NEVER; Timer::COUNT],
        barrier: Barrier::Clear,
        room: RoomRequest::None,
        next_file: 0,
        ending: Ending::Open,
        read_enabled: true,
    };
}

/// What stands between the handlers and their input: until it is clear again, no input and
/// no command is handled.
///
/// ```text
///         open_file            poll: OpenFile         handle_file         file() commits
///  Clear ───────────▶ OpenAsked ─────────────▶ Opening ──────────▶ Opened ──────────────▶ Clear
///         upgrade                all written is encoded          upgraded() commits
///  Clear ───────────▶ UpgradeAsked ────────────────────▶ Upgraded ─────────────────▶ Clear
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    Clear,
    OpenAsked(FileId),
    Opening(FileId),
    /// The answer lies in the buffers.
    Opened,
    /// No handler at all is called: what it wrote would go out as it is.
    UpgradeAsked(Leftovers),
    Upgraded,
}

/// What becomes of input that came behind the words that asked for an upgrade. The protocol
/// never gets it: whoever could put it there was not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// The call that asks for the upgrade fails, with [`Limit::Leftovers`] (FAULTS 32).
    Refuse,
    /// The layer receives it, as if it had come afterwards: for handshakes that the other side
    /// begins without waiting for us.
    Receive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomRequest {
    None,
    /// When this many bytes fit; at most the output bound.
    Bytes(u32),
    /// When nothing is owed.
    Flushed,
}

/// How far the protocol itself wants the connection to end. Ordered: it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Open,
    /// No more output from us, input goes on.
    HalfClose,
    /// Close after the flush.
    Close,
    /// Close now.
    Abort,
}

/// The handler's side of a connection, for the length of one call.
///
/// Everything done here is undone when the call fails. After the first refusal
/// (no room, a limit) every further request is refused as well, and the call is
/// undone even when the handler ignores it and returns `Ok`.
pub struct Context<'a, P: Protocol> {
    pub(crate) writer: Writer<'a>,
    pub(crate) events: &'a mut VecDeque<P::Event>,
    pub(crate) events_cap: usize,
    pub(crate) files_cap: usize,
    pub(crate) events_mark: usize,
    pub(crate) control: &'a mut Control,
    /// The control as it was before this call first touched it.
    pub(crate) saved: Option<Control>,
    pub(crate) name: &'a mut Vec<u8>,
    /// The file this call may stream.
    pub(crate) opened: Option<Opened>,
    /// What this call of `consume` takes is part of a message that goes on.
    pub(crate) unfinished: bool,
    /// How many messages `consume` may still take in this turn.
    pub(crate) messages_left: u32,
    pub(crate) now: Time,
}

impl<'a, P: Protocol> Context<'a, P> {
    #[inline]
    pub(crate) fn new(
        writer: Writer<'a>,
        events: &'a mut VecDeque<P::Event>,
        control: &'a mut Control,
        name: &'a mut Vec<u8>,
        limits: &Limits,
        opened: Option<Opened>,
        now: Time,
    ) -> Context<'a, P> {
        Context {
            events_mark: events.len(),
            events_cap: limits.events as usize,
            files_cap: limits.files as usize,
            writer,
            events,
            control,
            saved: None,
            name,
            opened,
            unfinished: false,
            messages_left: 0,
            now,
        }
    }

    /// The time of this turn, as the driver told it.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Appends `data` to the output.
    ///
    /// # Errors
    /// [`Stop::Full`] when it does not fit now (back-pressure; hand it on with
    /// `?`), [`Stop::Limit`] when it could never fit.
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> Result<(), Stop<P::Error>> {
        self.writer.write(data).map_err(Refused::into_stop)
    }

    /// Appends bytes without copying them, if they are long enough for that to pay.
    ///
    /// # Errors
    /// As [`Context::write`]; shared bytes count like any others.
    pub fn write_shared(&mut self, data: Bytes) -> Result<(), Stop<P::Error>> {
        self.writer.write_shared(data).map_err(Refused::into_stop)
    }

    /// Appends formatted text: what `write!(cx, …)` calls (row W10).
    ///
    /// # Errors
    /// As [`Context::write`].
    ///
    /// # Panics
    /// When a `Display` implementation returns an error of its own.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> Result<(), Stop<P::Error>> {
        self.writer.write_fmt(args).map_err(Refused::into_stop)
    }

    /// Appends an integer in decimal, without going through `fmt`.
    ///
    /// # Errors
    /// As [`Context::write`].
    #[inline]
    pub fn decimal(&mut self, n: impl itoa::Integer) -> Result<(), Stop<P::Error>> {
        self.writer.decimal(n).map_err(Refused::into_stop)
    }

    integers!(Stop<P::Error>);

    /// Leaves room for `n` bytes that are known only later in this call.
    ///
    /// # Errors
    /// As [`Context::write`].
    ///
    /// # Panics
    /// When `n` is over 8.
    pub fn reserve(&mut self, n: usize) -> Result<Reserved, Stop<P::Error>> {
        self.writer.reserve(n).map_err(Refused::into_stop)
    }

    /// The bare output of this call, for a codec that knows no protocol.
    pub fn writer(&mut self) -> &mut Writer<'a> {
        &mut self.writer
    }

    /// Bytes that fit now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.writer.room()
    }

    /// Asks for a call of [`Protocol::room`] when `bytes` fit, or, with `None`,
    /// when nothing is owed any more ("I want to write n", n optional; row B12).
    /// A later request replaces an earlier one. More than the output bound is
    /// taken as the bound. A `room` call that asks again without having queued
    /// anything is made again after the next other call, or in a later turn.
    pub fn request_room(&mut self, bytes: Option<usize>) {
        let cap = u32::try_from(self.writer.cap).expect("a bound of `Limits` is a u32");
        let at_most = |n| u32::try_from(n).map_or(cap, |n| n.min(cap));
        self.change().room = bytes.map_or(RoomRequest::Flushed, |n| RoomRequest::Bytes(at_most(n)));
    }

    /// Tells the application something.
    ///
    /// # Errors
    /// [`Stop::Full`] while [`Limits::events`](crate::Limits::events) are waiting,
    /// [`Stop::Limit`] when one call emits more than that.
    pub fn emit(&mut self, event: P::Event) -> Result<(), Stop<P::Error>> {
        self.still_going()?;
        if self.events.len() < self.events_cap {
            self.events.push_back(event);
            return Ok(());
        }
        // Nothing was waiting before this call, so waiting would not help it.
        let refusal = if self.events_mark == 0 {
            Refusal::Limit(Limit::Events(self.events_cap))
        } else {
            Refusal::Full(Resource::Events)
        };
        Err(self.writer.refuse(refusal).into_stop())
    }

    /// Asks for a file by name; [`Protocol::file`] brings the answer.
    ///
    /// Until then no input and no command is handled. What a name means (below
    /// which root it lies) is up to the driver; it is bytes here.
    ///
    /// # Errors
    /// [`Stop::Full`] while [`Limits::files`](crate::Limits::files) are queued,
    /// [`Stop::Limit`] for a second file at a time, or when none is allowed.
    pub fn open_file(&mut self, name: &[u8]) -> Result<FileId, Stop<P::Error>> {
        self.still_going()?;
        let next_file = self.control.next_file.checked_add(1);
        let (Barrier::Clear, 1.., Some(next_file)) = (self.control.barrier, self.files_cap, next_file) else {
            return Err(self.writer.refuse(Refusal::Limit(Limit::Opens)).into_stop());
        };
        if name.len() > self.writer.memory {
            return Err(self.writer.refuse(Refusal::Full(Resource::Memory)).into_stop());
        }
        if self.writer.output.files() >= self.files_cap {
            return Err(self.writer.refuse(Refusal::Full(Resource::Files)).into_stop());
        }
        self.name.clear();
        self.name.extend_from_slice(name);
        let control = self.change();
        let id = FileId(control.next_file);
        control.next_file = next_file;
        control.barrier = Barrier::OpenAsked(id);
        Ok(id)
    }

    /// Queues `len` bytes of the file from `offset` on, behind what was written so
    /// far. Only inside the [`Protocol::file`] call that brought the file; more
    /// than one part may be queued. The file is never read into memory (row B11).
    ///
    /// # Errors
    /// [`Stop::Limit`] when one call queues more than
    /// [`Limits::files`](crate::Limits::files) parts; [`Stop::Misuse`] when the file
    /// is not the one at hand, or ends before the range.
    pub fn stream_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<(), Stop<P::Error>> {
        let whole = match self.opened {
            Some(Opened { id: at_hand, result: Ok(whole) }) if at_hand == id => whole,
            Some(_) | None => return Err(self.writer.refuse(Refusal::Misuse(Misuse::FileRange)).into_stop()),
        };
        if offset.checked_add(len).is_none_or(|end| end > whole) {
            return Err(self.writer.refuse(Refusal::Misuse(Misuse::FileRange)).into_stop());
        }
        if self.writer.parts() >= self.files_cap {
            return Err(self.writer.refuse(Refusal::Limit(Limit::Parts(self.files_cap))).into_stop());
        }
        self.writer.push_file(id, offset, len).map_err(Refused::into_stop)
    }

    /// Upgrades the layer: what was written so far still goes out as before, and from there
    /// on, in both directions, it does what it was made for (STARTTLS). Until all that was
    /// written is on its way nothing is read and no handler is called; then
    /// [`Protocol::upgraded`] is.
    ///
    /// A layer that cannot be upgraded ends the connection with
    /// [`Reason::Layer`](crate::Reason::Layer); see [`Layer::upgrade`](crate::layer::Layer::upgrade).
    ///
    /// # Errors
    /// [`Stop::Misuse`] when a file was asked for that did not come yet, when an upgrade is
    /// under way, or after [`Context::half_close`]. And this call fails with [`Limit::Leftovers`]
    /// when there is input behind what it takes, unless `leftovers` says otherwise.
    pub fn upgrade(&mut self, leftovers: Leftovers) -> Result<(), Stop<P::Error>> {
        self.still_going()?;
        if self.writer.ended {
            return Err(self.writer.refuse(Refusal::Misuse(Misuse::WriteAfterEnd)).into_stop());
        }
        if self.control.barrier != Barrier::Clear {
            return Err(self.writer.refuse(Refusal::Misuse(Misuse::Upgrade)).into_stop());
        }
        self.change().barrier = Barrier::UpgradeAsked(leftovers);
        Ok(())
    }

    /// The call is through. Input that is left may forbid what it did.
    #[inline]
    pub(crate) fn check_leftovers(&self, any: bool) -> Result<(), Stop<P::Error>> {
        if any && self.control.barrier == Barrier::UpgradeAsked(Leftovers::Refuse) {
            return Err(Stop::Limit(Limit::Leftovers));
        }
        Ok(())
    }

    /// Arms a timer, or moves it. [`Time::NEVER`] disarms it.
    ///
    /// A deadline that has passed already is due right after this turn, not within
    /// it: timers that set each other do not keep other connections waiting.
    pub fn set_timer(&mut self, timer: Timer, deadline: Time) {
        let deadline = deadline.max(self.now + Duration::from_nanos(1));
        if self.control.timers[timer.index()] != deadline {
            self.change().timers[timer.index()] = deadline;
        }
    }

    /// Disarms a timer.
    pub fn clear_timer(&mut self, timer: Timer) {
        self.set_timer(timer, Time::NEVER);
    }

    /// Says that the message goes on behind what this call of [`Protocol::consume`]
    /// takes: a body that is taken in parts.
    ///
    /// Without it, what a call takes is a whole message, and nothing is under way behind it.
    /// With it, [`Limits::min_rate`](crate::Limits::min_rate) is watched for all parts
    /// together, and [`Limits::message_ms`](crate::Limits::message_ms) for each of them. The
    /// first call that takes something and does not say it ends the message. Elsewhere than in
    /// `consume` it says nothing.
    ///
    /// *True today:* in the middle of such a message a connection holds its queues, about 300
    /// bytes, though nothing is in them.
    pub fn unfinished(&mut self) {
        self.unfinished = true;
    }

    /// Stops handling input, and reading it: the kernel slows the peer down (row A6).
    pub fn disable_read(&mut self) {
        self.change().read_enabled = false;
    }

    /// Takes back [`Context::disable_read`].
    pub fn enable_read(&mut self) {
        self.change().read_enabled = true;
    }

    /// Ends our direction once everything written so far is sent; input goes on.
    /// A later write is [`Misuse::WriteAfterEnd`].
    pub fn half_close(&mut self) {
        self.end(Ending::HalfClose);
        self.writer.ended = true;
    }

    /// Closes the connection once everything written so far is sent. Input that
    /// was not handled yet is discarded; no handler is called any more.
    pub fn close(&mut self) {
        self.end(Ending::Close);
    }

    /// Ends the connection now. What is owed is dropped, this call's output too.
    pub fn abort(&mut self) {
        self.end(Ending::Abort);
    }

    /// Makes a limit that a framing found into the error of this call.
    ///
    /// # Errors
    /// The limit, as [`Stop::Limit`].
    pub fn check<T>(&self, found: Result<T, Limit>) -> Result<T, Stop<P::Error>> {
        found.map_err(Stop::Limit)
    }

    /// Makes the result of a codec's writing into the result of this call.
    ///
    /// # Errors
    /// As [`Context::write`].
    pub fn wrote(&self, result: Result<(), Refused>) -> Result<(), Stop<P::Error>> {
        result.map_err(Refused::into_stop)
    }

    fn end(&mut self, ending: Ending) {
        if self.control.ending < ending {
            self.change().ending = ending;
        }
    }

    #[inline]
    pub(crate) fn change(&mut self) -> &mut Control {
        self.saved.get_or_insert(*self.control);
        self.control
    }

    /// An earlier refusal of this call refuses everything after it.
    fn still_going(&self) -> Result<(), Stop<P::Error>> {
        match self.writer.refusal {
            Some(refusal) => Err(Refused(refusal).into_stop()),
            None => Ok(()),
        }
    }

    /// Starts the next transaction.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.writer.begin();
        self.events_mark = self.events.len();
        self.saved = None;
        self.unfinished = false;
    }

    /// Did the call since [`Context::begin`] change more than output and events?
    #[inline]
    pub(crate) fn is_changed(&self) -> bool {
        self.saved.is_some()
    }

    #[cold]
    pub(crate) fn roll_back(&mut self) {
        self.writer.roll_back();
        self.events.truncate(self.events_mark);
        if let Some(control) = self.saved.take() {
            *self.control = control;
        }
        if !matches!(self.control.barrier, Barrier::OpenAsked(_)) {
            self.name.clear();
        }
    }
}

impl<P: Protocol> fmt::Debug for Context<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("now", &self.now).field("writer", &self.writer).finish_non_exhaustive()
    }
}
