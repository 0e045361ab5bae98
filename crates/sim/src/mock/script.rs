//! What a test writes down for one wait, and the transport that reads it off.

use super::wire::{Answer, Written};
use core::panic::Location;
use drywire_core::{FileError, TransportError};
use std::time::Duration;

/// What happens in one wait: what the poller says, and what the transport answers.
///
/// Reads are answered in the order they stand here, and writes in theirs. When no
/// entry is left, a read would block and a write takes all. Every entry remembers
/// where it was written.
#[derive(Debug)]
pub struct On<Command> {
    pub(super) reads: Vec<Written<Answer>>,
    pub(super) writes: Vec<Written<Answer>>,
    pub(super) inputs: Vec<Written<Input<Command>>>,
    pub(super) passed: Duration,
    pub(super) to_deadline: Option<&'static Location<'static>>,
    pub(super) writable: Option<&'static Location<'static>>,
    pub(super) hang_up: bool,
    pub(super) budget: usize,
}

/// What the application does before the turn.
#[derive(Debug)]
pub(super) enum Input<Command> {
    Command(Command),
    Opened,
    Drain,
    Close,
    Abort,
}

impl<Command> On<Command> {
    pub(super) fn nothing() -> On<Command> {
        On {
            reads: Vec::new(),
            writes: Vec::new(),
            inputs: Vec::new(),
            passed: Duration::ZERO,
            to_deadline: None,
            writable: None,
            hang_up: false,
            budget: usize::MAX,
        }
    }

    /// The poller says readable; the next read brings these bytes, in two reads when
    /// its slot is shorter.
    #[must_use]
    #[track_caller]
    pub fn read(self, bytes: impl AsRef<[u8]>) -> Self {
        self.answer_read(Answer::Bytes(bytes.as_ref().to_vec()))
    }

    /// The poller says readable, and the next read finds nothing (FAULTS 15).
    #[must_use]
    #[track_caller]
    pub fn read_would_block(self) -> Self {
        self.answer_read(Answer::WouldBlock)
    }

    /// The poller says readable; the next read finds the end of input.
    #[must_use]
    #[track_caller]
    pub fn end(self) -> Self {
        self.answer_read(Answer::End)
    }

    /// The poller says readable; the next read fails.
    #[must_use]
    #[track_caller]
    pub fn read_fails(self, error: TransportError) -> Self {
        self.answer_read(Answer::Fails(error))
    }

    /// The poller signals a hang-up: a short read does not mean that nothing is left.
    #[must_use]
    pub fn hang_up(mut self) -> Self {
        self.hang_up = true;
        self
    }

    /// The poller says writable.
    #[must_use]
    #[track_caller]
    pub fn writable(mut self) -> Self {
        self.writable = Some(Location::caller());
        self
    }

    /// The next write, of bytes or of a file, takes at most so many bytes.
    #[must_use]
    #[track_caller]
    pub fn write(self, bytes: usize) -> Self {
        self.answer_write(Answer::Takes(bytes))
    }

    /// The next write would block.
    #[must_use]
    #[track_caller]
    pub fn would_block(self) -> Self {
        self.answer_write(Answer::WouldBlock)
    }

    /// The next write fails.
    #[must_use]
    #[track_caller]
    pub fn write_fails(self, error: TransportError) -> Self {
        self.answer_write(Answer::Fails(error))
    }

    /// The next write is of a file, and the file fails; [`FileError::Truncated`] is a
    /// file that ended early.
    #[must_use]
    #[track_caller]
    pub fn file_fails(self, error: FileError) -> Self {
        self.answer_write(Answer::FileFails(error))
    }

    /// So much time passes before anything else here happens.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.passed += time;
        self
    }

    /// Time passes to the deadline the connection has named.
    #[must_use]
    #[track_caller]
    pub fn deadline(mut self) -> Self {
        self.to_deadline = Some(Location::caller());
        self
    }

    /// The application hands over a command, which must be taken.
    #[must_use]
    #[track_caller]
    pub fn command(self, command: Command) -> Self {
        self.input(Input::Command(command))
    }

    /// The file that was asked for is answered now. See [`Mock::opens_later`].
    ///
    /// [`Mock::opens_later`]: super::Mock::opens_later
    #[must_use]
    #[track_caller]
    pub fn opened(self) -> Self {
        self.input(Input::Opened)
    }

    /// The server shuts down.
    #[must_use]
    #[track_caller]
    pub fn drain(self) -> Self {
        self.input(Input::Drain)
    }

    /// The application closes.
    #[must_use]
    #[track_caller]
    pub fn close(self) -> Self {
        self.input(Input::Close)
    }

    /// The application aborts.
    #[must_use]
    #[track_caller]
    pub fn abort(self) -> Self {
        self.input(Input::Abort)
    }

    /// The turn ends after so many bytes, as [`Budget`](drywire_core::Budget) counts
    /// them; the next wait goes on.
    #[must_use]
    pub fn budget(mut self, bytes: usize) -> Self {
        self.budget = bytes;
        self
    }

    #[track_caller]
    fn answer_read(mut self, what: Answer) -> Self {
        self.reads.push(Written { what, at: Location::caller() });
        self
    }

    #[track_caller]
    fn answer_write(mut self, what: Answer) -> Self {
        self.writes.push(Written { what, at: Location::caller() });
        self
    }

    #[track_caller]
    fn input(mut self, what: Input<Command>) -> Self {
        self.inputs.push(Written { what, at: Location::caller() });
        self
    }
}
