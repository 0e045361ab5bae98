//! A connection during a turn: what goes in, and [`Live::poll`], which says what
//! to do.

use super::phase::{Asked, Phase};
use super::{Connection, layered, lent};
use crate::action::{Action, Fault, OpenFile, OutputSide, ReadFile, StreamFile, Wait, Write};
use crate::close::{CloseReport, Reason};
use crate::context::{Barrier, Ending};
use crate::error::{FileError, Misuse, TransportError};
use crate::file::{FileId, Opened};
use crate::layer::Layer;
use crate::output::FilePart;
use crate::protocol::Protocol;
use crate::record::Entry;
use crate::time::Time;
use crate::workspace::Workspace;
use core::fmt;

/// A connection during one turn.
///
/// Inputs, in any order: [`read_with`](Live::read_with),
/// [`handle_writable`](Live::handle_writable), [`handle_command`](Live::handle_command),
/// [`handle_file`](Live::handle_file),
/// [`handle_transport_error`](Live::handle_transport_error), [`drain`](Live::drain), [`close`](Live::close),
/// [`abort`](Live::abort). Time is an input too: a turn made later handles the
/// timers that came due. Then [`poll`](Live::poll) until it says
/// [`Action::Wait`]. [`turn`](crate::turn()) does all of it.
///
/// Dropping it ends the turn: an unfinished message goes into the connection,
/// the rest of the memory back to the workspace.
pub struct Live<'a, P: Protocol, L: Layer = ()> {
    pub(super) conn: &'a mut Connection<P, L>,
    pub(super) workspace: &'a mut Workspace,
    pub(super) now: Time,
    /// The last call was of `room`, and it queued nothing: asking again at once
    /// would never end.
    pub(super) room_in_vain: bool,
    /// Nobody is called and nothing is read that would have to be kept.
    pub(super) flush_only: bool,
    /// Messages that were consumed in this turn, and how many may be.
    pub(super) messages: u32,
    pub(super) most_messages: u32,
    /// That was told to the tape.
    is_cut: bool,
    /// Bytes that there is memory for, in the queue and in a name; `usize::MAX`: for all that the
    /// bounds allow.
    pub(super) memory: usize,
}

impl<'a, P: Protocol, L: Layer> Live<'a, P, L> {
    pub(super) fn new(conn: &'a mut Connection<P, L>, workspace: &'a mut Workspace, now: Time) -> Live<'a, P, L> {
        Live {
            conn,
            workspace,
            now,
            room_in_vain: false,
            flush_only: false,
            messages: 0,
            most_messages: u32::MAX,
            is_cut: false,
            memory: usize::MAX,
        }
    }

    /// The transport can take output again.
    pub fn handle_writable(&mut self) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::Writable));
        self.conn.io.write_blocked = false;
    }

    /// The transport failed, and no read or write has said so: there was nothing to
    /// read or write, as while a connection is being refused.
    pub fn handle_transport_error(&mut self, error: TransportError) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::TransportError(error)));
        self.conn.buffers().on_fault(Fault::Transport(error));
    }

    /// A command can be handed over now: the one before was handled, and nothing
    /// stands in the way of the next.
    pub fn can_take_command(&self) -> bool {
        let conn = &*self.conn;
        matches!(conn.phase, Phase::New | Phase::Active)
            && conn.command.is_none()
            && conn.asked == Asked::Nothing
            && conn.blocked.is_none()
            && conn.control.barrier == Barrier::Clear
            && conn.control.ending < Ending::Close
    }

    /// Hands a command to the protocol, whose handler is called at once if nothing stands
    /// in the way: what several of them write goes out in one write of the next
    /// [`poll`](Live::poll). One that the protocol cannot handle yet is kept, and the next
    /// has to wait.
    ///
    /// Bound: one is kept.
    ///
    /// # Errors
    /// The command, when [`Live::can_take_command`] is false, and why.
    pub fn handle_command(&mut self, command: P::Command) -> Result<(), (P::Command, Misuse)> {
        let refused = self.command_refused();
        self.conn.tap(|tape| {
            tape.keep_command(&command);
            tape.recorder.on_command(refused);
        });
        match refused {
            None => {
                self.conn.command = Some(command);
                // Whatever is due before it keeps its place. Input that may be looked at again
                // because of it is: else none would be read, and deadlines go behind that.
                while (self.conn.command.is_some() || self.has_unseen_input()) && self.advance() {}
                Ok(())
            }
            Some(misuse) => Err((command, misuse)),
        }
    }

    fn has_unseen_input(&self) -> bool {
        !self.conn.needs_more && !self.unread().is_empty()
    }

    fn command_refused(&self) -> Option<Misuse> {
        if self.can_take_command() {
            return None;
        }
        Some(match self.conn.phase {
            Phase::New | Phase::Active => Misuse::CommandWaiting,
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => Misuse::Closed,
        })
    }

    /// Answers [`Action::OpenFile`]: the file's length in bytes, or why not.
    ///
    /// # Errors
    /// [`Misuse::UnknownFile`] when nobody asked, [`Misuse::Closed`] after the
    /// close. In both cases the driver keeps the file and closes it.
    pub fn handle_file(&mut self, id: FileId, result: Result<u64, FileError>) -> Result<(), Misuse> {
        let refused = if self.conn.is_closed() {
            Some(Misuse::Closed)
        } else if self.conn.control.barrier != Barrier::Opening(id) {
            Some(Misuse::UnknownFile)
        } else {
            None
        };
        self.conn.tap(|tape| tape.recorder.put(&Entry::File { id, result, refused }));
        match refused {
            None => {
                self.on_file_answer(Opened { id, result });
                Ok(())
            }
            Some(misuse) => Err(misuse),
        }
    }

    /// The server shuts down: [`Protocol::drain`] is called as soon as no other call is due
    /// before it.
    ///
    /// A connection that owes nothing then lingers for [`DRAIN_LINGER_MS`](crate::DRAIN_LINGER_MS)
    /// at most, also one whose close was decided before.
    pub fn drain(&mut self) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::Drain));
        let was_owing = self.conn.is_owing();
        self.conn.asked = self.conn.asked.max(Asked::Drain { was_owing });
        if !was_owing {
            self.shorten_linger();
        }
    }

    /// Closes once everything that was accepted is sent: commands too.
    pub fn close(&mut self) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::Close));
        self.conn.asked = self.conn.asked.max(Asked::Close);
    }

    /// There is no memory for this connection to grow: for the rest of the turn
    /// no handler is called and nothing is read that would have to be kept. What is
    /// owed is written, and deadlines are judged; a connection that fails by one ends
    /// without last words.
    ///
    /// *Guaranteed*: the connection does not grow in such a turn, unless a layer does. A
    /// later turn without this goes on where this one stood; whoever asks for it
    /// makes that turn by itself, because [`Wait`] does not ask for it.
    pub fn flush_only(&mut self) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::FlushOnly));
        self.flush_only = true;
    }

    /// At most `n` more messages are consumed in this turn: calls of
    /// [`Protocol::consume`] that take something. Then [`Live::poll`] answers
    /// [`Action::Again`], so that other connections have their turns in between. Without
    /// this call there is no bound but what was read; another one in the same turn can only
    /// lower it.
    pub fn consume_at_most(&mut self, n: u32) {
        self.most_messages = self.most_messages.min(self.messages.saturating_add(n));
    }

    /// As many messages were consumed as this turn may. The bound is recorded here, where it
    /// makes a difference, and not where it was said: most turns never get so far.
    #[cold]
    pub(super) fn on_cut(&mut self) {
        let messages = self.messages;
        if !core::mem::replace(&mut self.is_cut, true) {
            self.conn.tap(|tape| tape.recorder.put(&Entry::Cut { messages }));
        }
    }

    /// How many messages may still be consumed in this turn; see [`Live::consume_at_most`].
    pub fn messages_left(&self) -> u32 {
        self.most_messages - self.messages
    }

    /// There is memory for a small step: for the rest of the turn a call is undone that would
    /// leave more than `bytes` in the output, or ask for a file by a longer name. It is
    /// made again in the first turn without this, until which [`Connection::wants_memory`] is true
    /// and no other call is made but those of timers.
    ///
    /// *Guaranteed*, without layers: in such a turn the connection grows by no more than
    /// [`Connection::step_bytes`] says.
    pub fn queue_at_most(&mut self, bytes: u32) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::QueueAtMost(bytes)));
        self.memory = bytes as usize;
    }

    /// Ends the connection now; what is owed is dropped, and counted as unsent.
    /// A close that waits for nothing but the peer's end keeps its own reason.
    pub fn abort(&mut self) {
        self.conn.tap(|tape| tape.recorder.put(&Entry::Abort));
        self.cut_short(Reason::Aborted);
    }

    /// The connection itself, to look at.
    pub fn connection(&self) -> &Connection<P, L> {
        self.conn
    }

    /// The next thing to do. Repeat until [`Action::Wait`].
    pub fn poll(&mut self) -> Action<'_, P::Event, P::Error> {
        let step = self.next_step();
        if self.conn.tape.is_some() {
            self.tap_step(&step);
        }
        match step {
            Step::Event(event) => Action::Event(event),
            Step::CloseFile(id) => Action::CloseFile(id),
            Step::OpenFile(id) => Action::OpenFile(OpenFile { id, name: &self.conn.buffers().name }),
            Step::Write { from_layers } => {
                self.conn.io.write_blocked = true;
                Action::Write(Write { side: self.output_side(), from_layers })
            }
            Step::StreamFile(part) => {
                self.conn.io.write_blocked = true;
                Action::StreamFile(StreamFile { side: self.output_side(), part })
            }
            Step::ReadFile(part) => {
                self.conn.io.write_blocked = true;
                let slot = &mut self.workspace.file;
                slot.reserve_exact(layered::FILE_PIECE);
                let conn = &mut *self.conn;
                let tape = conn.tape.as_deref_mut().map(|tape| &mut tape.recorder);
                Action::ReadFile(ReadFile { part, slot, buffers: lent(&mut conn.buffers), io: &mut conn.io, tape })
            }
            Step::HalfClose => Action::HalfClose,
            Step::Close(report) => Action::Close(report),
            Step::Reading(true) => Action::EnableRead,
            Step::Reading(false) => Action::DisableRead,
            Step::Again => Action::Again,
            Step::Wait(wait) => Action::Wait(wait),
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
                return Step::Wait(Wait::default());
            }
            if let Barrier::OpenAsked(id) = self.conn.control.barrier {
                self.conn.control.barrier = Barrier::Opening(id);
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
            if self.messages_left() == 0 {
                self.on_cut();
                return Step::Again;
            }
            let reading = self.wants_input();
            let clocks = self.follow_clocks(reading);
            if reading != self.conn.reading {
                self.on_reading(reading);
                return Step::Reading(reading);
            }
            let deadline = if self.flush_only { self.conn.flush_deadline() } else { self.conn.deadline() };
            let deadline = deadline.min(clocks);
            if self.now >= deadline && self.expire() {
                continue;
            }
            return Step::Wait(Wait { read: reading, write: self.conn.io.write_blocked, deadline: deadline.or_none() });
        }
    }

    fn output_side(&mut self) -> OutputSide<'_> {
        let conn = &mut *self.conn;
        OutputSide {
            buffers: lent(&mut conn.buffers),
            pool: &mut self.workspace.pool,
            io: &mut conn.io,
            now: self.now,
            tape: conn.tape.as_deref_mut().map(|tape| &mut tape.recorder),
        }
    }
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
            pool.give_queue(buffers);
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
pub(super) enum Step<Event, Error> {
    Event(Event),
    CloseFile(FileId),
    OpenFile(FileId),
    Write { from_layers: bool },
    StreamFile(FilePart),
    ReadFile(FilePart),
    HalfClose,
    Close(CloseReport<Error>),
    Reading(bool),
    Again,
    Wait(Wait),
}

/// What the output needs next.
pub(super) enum Due {
    Bytes {
        from_layers: bool,
    },
    File(FilePart),
    /// Bytes went through the layers; look again.
    Moved,
    Nothing,
}

/// What the end of the output needs next.
pub(super) enum Finish {
    HalfClose,
    Moved,
    Nothing,
}
