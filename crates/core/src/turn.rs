//! The one loop: performs actions on a non-blocking transport until there is
//! nothing to do, or the budget is spent. Every driver calls it; a driver adds
//! only how it waits.

use crate::action::{Action, OpenFile, Wait};
use crate::close::CloseReport;
use crate::connection::{Live, Read};
use crate::error::{Blocked, FileError};
use crate::file::FileId;
use crate::layer::Layer;
use crate::planted;
use crate::protocol::Protocol;

/// A real or simulated socket, non-blocking, and the files that go through it.
///
/// A turn has one time, that of its [`lend`](crate::Connection::lend). A transport
/// that waits inside of a call makes it stale: its driver waits before the turn, and
/// keeps turns short.
pub trait Transport {
    /// A read that does not fill its slot has emptied the transport, so the read
    /// that would only say so is saved. Asked after each read. True for stream sockets
    /// on epoll while neither a hang-up nor urgent data was signalled (see
    /// [`Ready::hang_up`], [`Ready::urgent`]); not for poll(2), pipes or terminals.
    fn short_read_exhausts(&self) -> bool;

    /// Reads into `slot`, which is not empty. 0 is the end of input.
    ///
    /// # Errors
    /// [`Blocked`]. An interrupted call is repeated by the transport itself.
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked>;

    /// Writes from the front of `slices`, 1 to 16 of them. `more`: something
    /// follows right behind (a hint).
    ///
    /// # Errors
    /// As [`Transport::try_read`].
    fn try_write_vectored(&mut self, slices: &[&[u8]], more: bool) -> Result<usize, Blocked>;

    /// Sends from an open file. 0 means the file ended early.
    ///
    /// # Errors
    /// [`SendFileError`], which says whether the transport or the file is at fault.
    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError>;

    /// Reads from an open file, for a layer. 0 means the file ended early.
    ///
    /// # Errors
    /// The file's.
    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError>;

    /// Opens a file, or says that the answer comes later, through
    /// [`Live::handle_file`].
    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening;

    /// Forgets a file.
    fn close_file(&mut self, id: FileId);

    /// Ends our direction. Errors show in the next read or write.
    fn half_close(&mut self);

    /// Reading was enabled or disabled. Drivers whose poller is edge-triggered
    /// need not care: they do not read, and the kernel slows the peer down.
    fn on_reading(&mut self, enabled: bool) {
        let _ = enabled;
    }
}

/// Why a file part was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFileError {
    /// The transport's fault, or just not now.
    Output(Blocked),
    /// The file's fault.
    File(FileError),
}

/// What came of asking for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The answer: its length in bytes, or why not.
    Done(Result<u64, FileError>),
    /// The driver answers in a later turn.
    Later,
}

/// What the driver's poller said and reading has not used up yet. Kept beside
/// the connection, from turn to turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There may be input.
    pub read: bool,
    /// The poller signalled a hang-up: a short read does not mean "nothing left".
    pub hang_up: bool,
    /// The poller signalled urgent data: a read stops in front of its mark though there is
    /// more behind it. Cleared by the read that would block. Source: RFC 9293 §3.8.5; what
    /// stops where is the system's.
    pub urgent: bool,
}

impl Ready {
    /// Nothing is known, so everything is tried once.
    pub const UNKNOWN: Ready = Ready { read: true, hang_up: false, urgent: false };
}

/// How much one connection may move, and how many messages it may consume, before others
/// get their turn (FAULTS 22, 44).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: usize,
    messages: u32,
}

impl Budget {
    /// 1 MiB: sixteen of the largest reads, or a few full socket buffers of a file. 16,384
    /// messages: two of the largest reads of empty messages, some 250 µs. With fewer the
    /// change from one connection to the next costs more than 3 % of such a flood.
    pub const DEFAULT: Budget = Budget::bytes(1 << 20).messages(16 * 1024);

    /// What an action costs beside its bytes, so that small ones run out too.
    const PER_ACTION: usize = 64;

    /// A budget of this many bytes, either direction. The turn ends after the
    /// action that passes it.
    #[must_use]
    pub const fn bytes(bytes: usize) -> Budget {
        Budget { bytes, messages: u32::MAX }
    }

    /// The same with so many messages at most: calls of [`Protocol::consume`] that take
    /// something.
    #[must_use]
    pub const fn messages(self, messages: u32) -> Budget {
        Budget { messages, ..self }
    }

    /// For [`Live::consume_at_most`], where handing over commands comes before [`turn()`].
    #[must_use]
    pub const fn messages_left(self) -> u32 {
        self.messages
    }

    /// Whether more than an eighth of `whole` is gone, in bytes or in messages.
    #[must_use]
    pub const fn is_much_of(self, whole: Budget) -> bool {
        self.bytes < whole.bytes - whole.bytes / 8 || self.messages < whole.messages - whole.messages / 8
    }

    fn spend(&mut self, n: usize) {
        planted!(BudgetIgnored: return);
        self.bytes = self.bytes.saturating_sub(n.saturating_add(Budget::PER_ACTION));
    }

    const fn is_spent(self) -> bool {
        self.bytes == 0 || self.messages == 0
    }
}

/// Why a turn ended.
#[derive(Debug)]
pub enum Turn<Event, Error> {
    /// Hand this to the application, then go on with the turn.
    Event(Event),
    /// Wait for this.
    Wait(Wait),
    /// The budget is spent: others first, then again, without waiting.
    Again,
    /// Close the transport. Nothing follows.
    Closed(CloseReport<Error>),
}

/// Performs actions until there is nothing to do.
///
/// An event leaves by value, with the turn unfinished: handle it and call again
/// with the same budget.
///
/// Bound: [`Budget`] bytes, plus one action; its messages, exactly.
pub fn turn<P: Protocol, L: Layer, T: Transport>(
    live: &mut Live<'_, P, L>,
    transport: &mut T,
    ready: &mut Ready,
    budget: &mut Budget,
) -> Turn<P::Event, P::Error> {
    // What waits in the transport goes before every deadline: after a pause of the
    // whole process its peers are not idle (FAULTS 58).
    if ready.read && !budget.is_spent() {
        read(live, transport, ready, budget);
    }
    live.consume_at_most(budget.messages);
    let ended = act(live, transport, ready, budget);
    budget.messages = live.messages_left();
    ended
}

fn act<P: Protocol, L: Layer, T: Transport>(
    live: &mut Live<'_, P, L>,
    transport: &mut T,
    ready: &mut Ready,
    budget: &mut Budget,
) -> Turn<P::Event, P::Error> {
    loop {
        if budget.bytes == 0 {
            return Turn::Again;
        }
        let answer = match live.poll() {
            Action::Write(write) => {
                match write.with_slices(|slices, more| transport.try_write_vectored(slices, more)) {
                    Ok(n) => {
                        budget.spend(n);
                        write.wrote(n);
                    }
                    Err(Blocked::WouldBlock) => write.blocked(),
                    Err(Blocked::Failed(error)) => write.failed(error),
                }
                continue;
            }
            Action::StreamFile(part) => {
                match transport.try_send_file(part.id(), part.offset(), part.len()) {
                    Ok(0) => {
                        planted!(EarlyEndIgnored: continue);
                        part.file_failed(FileError::Truncated);
                    }
                    Ok(n) => {
                        budget.spend(usize::try_from(n).unwrap_or(usize::MAX));
                        part.sent(n);
                    }
                    Err(SendFileError::Output(Blocked::WouldBlock)) => part.blocked(),
                    Err(SendFileError::Output(Blocked::Failed(error))) => part.failed(error),
                    Err(SendFileError::File(error)) => part.file_failed(error),
                }
                continue;
            }
            Action::ReadFile(part) => {
                // Not an action of its own: what was read is gone with the turn, and a budget that
                // it could spend would see it read again for ever.
                let (id, offset) = (part.id(), part.offset());
                part.read_with(|slot| transport.read_file(id, offset, slot));
                planted!(ReadCosts: budget.spend(0));
                continue;
            }
            Action::OpenFile(request) => {
                budget.spend(0);
                (request.id(), transport.open_file(&request))
            }
            Action::CloseFile(id) => {
                transport.close_file(id);
                continue;
            }
            Action::Event(event) => {
                budget.spend(0);
                return Turn::Event(event);
            }
            Action::HalfClose => {
                transport.half_close();
                continue;
            }
            Action::EnableRead => {
                transport.on_reading(true);
                continue;
            }
            Action::DisableRead => {
                transport.on_reading(false);
                continue;
            }
            Action::Close(report) => return Turn::Closed(report),
            Action::Again => return Turn::Again,
            Action::Wait(wait) => {
                if !wait.read || !ready.read || read(live, transport, ready, budget) == Read::NotWanted {
                    return Turn::Wait(wait);
                }
                continue;
            }
        };
        if let (id, Opening::Done(result)) = answer {
            live.handle_file(id, result).expect("the file was asked for in this turn, and nothing came between");
        }
    }
}

fn read<P: Protocol, L: Layer, T: Transport>(
    live: &mut Live<'_, P, L>,
    transport: &mut T,
    ready: &mut Ready,
    budget: &mut Budget,
) -> Read {
    let read = live.read_with(|slot| transport.try_read(slot));
    match read {
        Read::Bytes { n, filled } => {
            budget.spend(n);
            ready.read = filled || ready.hang_up || ready.urgent || !transport.short_read_exhausts();
            planted!(EdgeLost: ready.read &= !filled);
            planted!(HangUpForgotten: ready.read = filled || ready.urgent || !transport.short_read_exhausts());
        }
        Read::WouldBlock | Read::End | Read::Failed => (ready.read, ready.urgent) = (false, false),
        Read::NotWanted => {}
    }
    read
}
