//! A connection: what goes in, and [`Live::poll`], which says what to do.
//!
//! How the phases follow each other is in `phase`, how handlers are called in
//! `handlers`, what layers do to the bytes in `layered`, deadlines in `timer`.

mod handlers;
mod layered;
mod phase;
mod timer;

use crate::action::{Action, Fault, OpenFile, OutputSide, ReadFile, StreamFile, Wait, Write};
use crate::close::{CloseReport, Counters};
use crate::context::{Control, FileGate};
use crate::error::{Blocked, FileError, Misuse};
use crate::file::{FileId, Opened};
use crate::layer::Layer;
use crate::limits::Limits;
use crate::output::{Buffers, FilePart, Resource};
use crate::protocol::Protocol;
use crate::time::Time;
use crate::workspace::Workspace;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use phase::{Asked, InputEnd, OutputEnd, Phase};

/// An unfinished message shorter than this moves back into the scratch for the
/// next read; a longer one grows where it is. Copying is cheap below, quadratic above.
const MERGE_BELOW: usize = 4096;

/// One read asks for this many bytes at most.
const READ_AT_MOST: usize = 64 * 1024;

/// Our state for one byte stream.
///
/// A plain value: embed it anywhere (row A1). It holds no buffer while nothing
/// waits in either direction. To work with it, [`lend`](Connection::lend) it a
/// [`Workspace`] for one turn.
pub struct Connection<P: Protocol, L: Layer = ()> {
    protocol: P,
    layer: L,
    phase: Phase<P::Error>,
    events: VecDeque<P::Event>,
    /// Accepted, but not handled yet.
    command: Option<P::Command>,
    control: Control,
    limits: Limits,
    io: Io,
    buffers: Option<Box<Buffers>>,
    /// What refused the last call, until it is free again.
    blocked: Option<Waiting>,
    input_end: InputEnd,
    output_end: OutputEnd,
    asked: Asked,
    /// The protocol has seen all there is and wants more.
    needs_more: bool,
    /// What the driver was told last: reading is enabled.
    reading: bool,
    /// Input of ours lies in the scratch of a turn.
    in_scratch: bool,
    fuse: u32,
}

/// A call was undone; what it waits for.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    on: Resource,
    /// It was a timer's call, so timers wait too. Otherwise they go on.
    timers: bool,
}

/// What happened between the connection and its transport.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) counters: Counters,
    /// When a byte last moved, in either direction.
    last_move: Time,
    /// Since when the transport takes nothing though we owe it something.
    blocked_since: Time,
    pub(crate) write_blocked: bool,
    fault: Option<Fault>,
}

impl Io {
    pub(crate) fn on_sent(&mut self, n: u64, now: Time) {
        self.counters.sent += n;
        self.last_move = now;
        self.write_blocked = false;
        self.blocked_since = Time::NEVER;
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Blocked until answered otherwise.
    fn offer(&mut self, now: Time) {
        self.write_blocked = true;
        self.stuck(now);
    }

    fn stuck(&mut self, now: Time) {
        self.blocked_since = self.blocked_since.min(now);
    }
}

impl<P: Protocol> Connection<P> {
    /// A connection for `protocol`, straight on the transport.
    pub fn new(protocol: P) -> Connection<P> {
        Connection::with_layer(protocol, ())
    }
}

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// A connection for `protocol` on top of `layer`.
    pub fn with_layer(protocol: P, layer: L) -> Connection<P, L> {
        Connection {
            protocol,
            layer,
            phase: Phase::New,
            events: VecDeque::new(),
            command: None,
            control: Control::NEW,
            limits: P::LIMITS,
            io: Io {
                counters: Counters::default(),
                last_move: Time::ZERO,
                blocked_since: Time::NEVER,
                write_blocked: false,
                fault: None,
            },
            buffers: None,
            blocked: None,
            input_end: InputEnd::Open,
            output_end: OutputEnd::Open,
            asked: Asked::Nothing,
            needs_more: false,
            reading: true,
            in_scratch: false,
            fuse: 0,
        }
    }

    /// The same connection with other bounds than [`Protocol::LIMITS`].
    ///
    /// # Panics
    /// When no byte of input may be held: nothing could ever be read.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Connection<P, L> {
        assert!(limits.input_bytes > 0, "an input bound of 0 bytes would read nothing");
        self.limits = limits;
        self
    }

    /// The protocol, to look at.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The bounds of this connection.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What went through so far.
    pub fn counters(&self) -> Counters {
        self.io.counters
    }

    /// [`Action::Close`] was handed out; the connection is inert.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Bytes of data held between turns. Bound: see [`Limits`].
    pub fn held_bytes(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| {
            buffers.carried().len() + buffers.output.bytes() + buffers.wire.len() - buffers.wire_start
        })
    }

    /// For tests: refuses the `nth` write from now, counted from 1, as if it did
    /// not fit. 0 takes it back. Error replies do not count. A protocol that
    /// changes itself before it writes is found out this way.
    pub fn inject_full(&mut self, nth: u32) {
        self.fuse = nth;
    }

    /// Starts a turn: everything is done through the [`Live`] connection.
    ///
    /// `now` must not be earlier than in the turn before.
    pub fn lend<'a>(&'a mut self, workspace: &'a mut Workspace, now: Time) -> Live<'a, P, L> {
        workspace.scratch.clear();
        workspace.file.clear();
        if self.buffers.is_none() {
            self.buffers = Some(workspace.pool.take_buffers());
        }
        let mut live = Live { conn: self, workspace, now, room_in_vain: false };
        if live.conn.in_scratch {
            live.conn.in_scratch = false;
            live.end_now(crate::close::Reason::Misuse(Misuse::ForgottenTurn));
        }
        live
    }

    fn buffers(&mut self) -> &mut Buffers {
        lent(&mut self.buffers)
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Connection<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &self.phase.name())
            .field("held_bytes", &self.held_bytes())
            .field("counters", &self.io.counters)
            .finish_non_exhaustive()
    }
}

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

/// A connection during one turn.
///
/// Inputs, in any order: [`read_with`](Live::read_with),
/// [`handle_writable`](Live::handle_writable), [`handle_command`](Live::handle_command),
/// [`handle_file`](Live::handle_file), [`drain`](Live::drain), [`close`](Live::close),
/// [`abort`](Live::abort). Time is an input too: a turn made later handles the
/// timers that came due. Then [`poll`](Live::poll) until it says
/// [`Action::Wait`]. [`turn`](crate::turn()) does all of it.
///
/// Dropping it ends the turn: an unfinished message goes into the connection,
/// the rest of the memory back to the workspace.
pub struct Live<'a, P: Protocol, L: Layer = ()> {
    conn: &'a mut Connection<P, L>,
    workspace: &'a mut Workspace,
    now: Time,
    /// The last call was of `room`, and it queued nothing: asking again at once
    /// would never end.
    room_in_vain: bool,
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
            return Read::NotWanted;
        }
        let n = match self.fill(quota, read) {
            Ok(n) => n,
            Err(Blocked::WouldBlock) => return Read::WouldBlock,
            Err(Blocked::Failed(error)) => {
                self.conn.io.on_fault(Fault::Transport(error));
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
        Read::Bytes { n, filled: n == quota }
    }

    /// The transport can take output again.
    pub fn handle_writable(&mut self) {
        self.conn.io.write_blocked = false;
    }

    /// A command can be handed over now: the one before was handled, and nothing
    /// stands in the way of the next.
    pub fn can_take_command(&self) -> bool {
        let conn = &*self.conn;
        matches!(conn.phase, Phase::New | Phase::Active)
            && conn.command.is_none()
            && conn.asked == Asked::Nothing
            && conn.blocked.is_none()
            && conn.control.gate == FileGate::Idle
            && conn.control.ending < crate::context::Ending::Close
    }

    /// Hands a command to the protocol. It is kept until the protocol could
    /// handle it, so the next one has to wait.
    ///
    /// Bound: one.
    ///
    /// # Errors
    /// The command, when [`Live::can_take_command`] is false, and why.
    pub fn handle_command(&mut self, command: P::Command) -> Result<(), (P::Command, Misuse)> {
        if self.can_take_command() {
            self.conn.command = Some(command);
            return Ok(());
        }
        match self.conn.phase {
            Phase::New | Phase::Active => Err((command, Misuse::CommandWaiting)),
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {
                Err((command, Misuse::Closed))
            }
        }
    }

    /// Answers [`Action::OpenFile`]: the file's length in bytes, or why not.
    ///
    /// # Errors
    /// [`Misuse::UnknownFile`] when nobody asked, [`Misuse::Closed`] after the
    /// close. In both cases the driver keeps the file and closes it.
    pub fn handle_file(&mut self, id: FileId, result: Result<u64, FileError>) -> Result<(), Misuse> {
        if self.conn.is_closed() {
            return Err(Misuse::Closed);
        }
        if self.conn.control.gate != FileGate::InFlight(id) {
            return Err(Misuse::UnknownFile);
        }
        self.on_file_answer(Opened { id, result });
        Ok(())
    }

    /// The server shuts down: [`Protocol::drain`] is called as soon as the
    /// protocol is between two messages.
    pub fn drain(&mut self) {
        self.conn.asked = self.conn.asked.max(Asked::Drain);
    }

    /// Closes once everything that was accepted is sent: commands too.
    pub fn close(&mut self) {
        self.conn.asked = self.conn.asked.max(Asked::Close);
    }

    /// Ends the connection now; what is owed is dropped, and counted as unsent.
    /// A close that waits for nothing but the peer's end keeps its own reason.
    pub fn abort(&mut self) {
        self.cut_short(crate::close::Reason::Aborted);
    }

    /// The connection itself, to look at.
    pub fn connection(&self) -> &Connection<P, L> {
        self.conn
    }

    /// The next thing to do. Repeat until [`Action::Wait`].
    pub fn poll(&mut self) -> Action<'_, P::Event, P::Error> {
        match self.next_step() {
            Step::Event(event) => Action::Event(event),
            Step::CloseFile(id) => Action::CloseFile(id),
            Step::OpenFile(id) => Action::OpenFile(OpenFile { id, name: &self.conn.buffers().name }),
            Step::Write { from_layers } => {
                self.conn.io.offer(self.now);
                Action::Write(Write { side: self.output_side(), from_layers })
            }
            Step::StreamFile(part) => {
                self.conn.io.offer(self.now);
                Action::StreamFile(StreamFile { side: self.output_side(), part })
            }
            Step::ReadFile(part) => {
                self.conn.io.offer(self.now);
                let slot = &mut self.workspace.file;
                slot.reserve_exact(layered::FILE_PIECE);
                Action::ReadFile(ReadFile { part, slot, io: &mut self.conn.io })
            }
            Step::HalfClose => Action::HalfClose,
            Step::Close(report) => Action::Close(report),
            Step::Reading(true) => Action::EnableRead,
            Step::Reading(false) => Action::DisableRead,
            Step::Wait => Action::Wait(self.wait()),
        }
    }

    fn next_step(&mut self) -> Step<P::Event, P::Error> {
        loop {
            if let Some(event) = self.conn.events.pop_front() {
                return Step::Event(event);
            }
            if let Some(id) = self.conn.buffers().to_close.pop_front() {
                return Step::CloseFile(id);
            }
            if let Some(report) = self.conn.take_close_report() {
                return Step::Close(report);
            }
            if self.conn.is_closed() {
                return Step::Wait;
            }
            if let FileGate::Asked(id) = self.conn.control.gate {
                self.conn.control.gate = FileGate::InFlight(id);
                return Step::OpenFile(id);
            }
            if self.advance() {
                continue;
            }
            if !self.conn.io.write_blocked {
                match self.due() {
                    Due::Bytes { from_layers } => return Step::Write { from_layers },
                    Due::File(part) if L::TRANSPARENT => return Step::StreamFile(part),
                    Due::File(part) => return Step::ReadFile(part),
                    Due::Moved => continue,
                    Due::Nothing => {}
                }
                match self.finish_output() {
                    Finish::HalfClose => return Step::HalfClose,
                    Finish::Moved => continue,
                    Finish::Nothing => {}
                }
            }
            if self.expire() {
                continue;
            }
            let reading = self.wants_input();
            if reading != self.conn.reading {
                self.conn.reading = reading;
                return Step::Reading(reading);
            }
            return Step::Wait;
        }
    }

    fn wait(&mut self) -> Wait {
        if self.conn.is_closed() {
            return Wait::default();
        }
        Wait { read: self.conn.reading, write: self.conn.io.write_blocked, deadline: self.conn.deadline().or_none() }
    }

    fn output_side(&mut self) -> OutputSide<'_> {
        let conn = &mut *self.conn;
        OutputSide { buffers: lent(&mut conn.buffers), pool: &mut self.workspace.pool, io: &mut conn.io, now: self.now }
    }

    /// Bytes that may be read now.
    fn read_quota(&self) -> usize {
        let conn = &*self.conn;
        match &conn.phase {
            Phase::New => 0,
            Phase::Active if !self.wants_input() => 0,
            Phase::Active => (conn.limits.input_bytes as usize).saturating_sub(self.unread().len()),
            Phase::Flushing(end) | Phase::Lingering(end)
                if conn.input_end == InputEnd::Open && self.now < end.until && !conn.wire_is_full() =>
            {
                end.discard_left as usize
            }
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => 0,
        }
    }

    fn wants_input(&self) -> bool {
        let conn = &*self.conn;
        match &conn.phase {
            Phase::New | Phase::Active => {
                conn.input_end == InputEnd::Open
                    && conn.control.read_enabled
                    && conn.control.gate == FileGate::Idle
                    && conn.blocked.is_none()
                    && (conn.needs_more || self.unread().is_empty())
                    && !conn.layer.is_holding()
                    && !conn.wire_is_full()
            }
            Phase::Flushing(_) | Phase::Lingering(_) => self.read_quota() > 0,
            Phase::Closing(_) | Phase::Closed => false,
        }
    }

    /// Input that no handler has taken yet.
    fn unread(&self) -> &[u8] {
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
                let n = checked(read(self.workspace.scratch.slot(quota))?, quota);
                self.conn.discard_input(n);
                return Ok(n);
            }
        }
        if !L::TRANSPARENT {
            return self.fill_layered(quota, read);
        }
        let carried = self.conn.buffers().carried().len();
        if carried >= MERGE_BELOW {
            let buffers = self.conn.buffers();
            buffers.carry.drain(..buffers.carry_start);
            buffers.carry_start = 0;
            buffers.carry.resize(carried + quota, 0);
            let result = read(&mut buffers.carry[carried..]);
            let n = result.map_or(0, |n| checked(n, quota));
            buffers.carry.truncate(carried + n);
            self.conn.needs_more &= n == 0;
            return result;
        }
        self.merge_carry();
        let n = checked(read(self.workspace.scratch.slot(quota))?, quota);
        self.workspace.scratch.filled(n);
        self.conn.in_scratch = true;
        self.conn.needs_more &= n == 0;
        Ok(n)
    }

    /// Moves the unfinished message in front of what will be read.
    fn merge_carry(&mut self) {
        let buffers = lent(&mut self.conn.buffers);
        if buffers.carry.capacity() > 0 {
            debug_assert!(self.workspace.scratch.is_empty());
            self.workspace.scratch.push(buffers.carried());
            self.conn.in_scratch = true;
            buffers.drop_carry(&mut self.workspace.pool);
        }
    }
}

/// The buffers, during a turn.
fn lent(buffers: &mut Option<Box<Buffers>>) -> &mut Buffers {
    buffers.as_mut().expect("lend() put them there and only the end of the turn takes them")
}

fn checked(n: usize, quota: usize) -> usize {
    assert!(n <= quota, "the transport filled {n} bytes of a slot of {quota}");
    n
}

/// Ends the turn.
impl<P: Protocol, L: Layer> Drop for Live<'_, P, L> {
    fn drop(&mut self) {
        let Some(mut buffers) = self.conn.buffers.take() else { return };
        let Workspace { scratch, pool, .. } = &mut *self.workspace;
        if !scratch.is_empty() {
            debug_assert!(buffers.carried().is_empty());
            buffers.drop_carry(pool);
            buffers.carry = pool.take(scratch.unread().len());
            buffers.carry.extend_from_slice(scratch.unread());
            scratch.clear();
        }
        self.conn.in_scratch = false;
        buffers.settle(pool);
        if buffers.is_empty() {
            pool.give_buffers(buffers);
        } else {
            self.conn.buffers = Some(buffers);
        }
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Live<'_, P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("now", &self.now).field("connection", &self.conn).finish_non_exhaustive()
    }
}

/// [`Action`] without the borrow: what [`Live::poll`] decided.
enum Step<Event, Error> {
    Event(Event),
    CloseFile(FileId),
    OpenFile(FileId),
    Write { from_layers: bool },
    StreamFile(FilePart),
    ReadFile(FilePart),
    HalfClose,
    Close(CloseReport<Error>),
    Reading(bool),
    Wait,
}

/// What the output needs next.
enum Due {
    Bytes {
        from_layers: bool,
    },
    File(FilePart),
    /// Bytes went through the layers; look again.
    Moved,
    Nothing,
}

/// What the end of the output needs next.
enum Finish {
    HalfClose,
    Moved,
    Nothing,
}

#[cfg(test)]
mod tests;
