//! One world: a connection, a transport with so much room, and what happens.

use super::model::Model;
use super::tiny::{LIMITS, Tiny};
use drywire_core::{
    Blocked, Budget, CloseReport, Connection, ERROR_REPLY_BYTES, FileError, FileId, OpenFile, Opening, Ready,
    SendFileError, Time, Transport, TransportError, Turn, Wait, Workspace, turn,
};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

/// What can happen. The first ones, up to [`Act::Reset`], touch nothing but the
/// transport and the clock, so their order between two turns makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// So many bytes of the input arrive.
    Deliver(usize),
    /// The transport gets room for so many bytes.
    Room(usize),
    /// Time passes to the deadline.
    Time,
    End,
    Reset,
    Command,
    Drain,
    Close,
    Abort,
    /// The driver makes a turn, if the poller has a reason for one.
    Turn,
}

/// What is broken on purpose, for controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The transport loses the last byte of a write that was cut.
    LosesByte,
    /// The driver does not wake up for room to write.
    MissesRoom,
    /// The driver forgets that there is more to read.
    MissesInput,
    /// The driver counts an end twice.
    ReportsTwice,
    /// A command is handed over and forgotten.
    ForgetsCommand,
}

struct Wire {
    incoming: VecDeque<u8>,
    ended: bool,
    end_told: bool,
    reset: bool,
    room: usize,
    taken: Vec<u8>,
    loses_byte: bool,
}

impl Transport for Wire {
    fn short_read_exhausts(&self) -> bool {
        true
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        if self.reset {
            return Err(Blocked::Failed(TransportError::Reset));
        }
        if self.incoming.is_empty() {
            self.end_told |= self.ended;
            return if self.ended { Ok(0) } else { Err(Blocked::WouldBlock) };
        }
        let n = slot.len().min(self.incoming.len());
        for (place, byte) in slot.iter_mut().zip(self.incoming.drain(..n)) {
            *place = byte;
        }
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        if self.reset {
            return Err(Blocked::Failed(TransportError::BrokenPipe));
        }
        let offered = slices.concat();
        let n = offered.len().min(self.room);
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        self.room -= n;
        let lost = self.loses_byte && n < offered.len();
        self.taken.extend_from_slice(&offered[..n - usize::from(lost)]);
        Ok(n)
    }

    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        unreachable!("there are no files in small worlds")
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("there are no files in small worlds")
    }

    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        unreachable!("there are no files in small worlds")
    }

    fn close_file(&mut self, _: FileId) {
        unreachable!("there are no files in small worlds")
    }

    fn half_close(&mut self) {}
}

pub(crate) struct World<'w> {
    conn: Connection<Tiny>,
    workspace: &'w mut Workspace,
    wire: Wire,
    model: Model,
    input: &'w [u8],
    now: Time,
    wait: Wait,
    ready: Ready,
    /// The poller has something to say, or somebody else has.
    news: bool,
    reports: Vec<CloseReport<Infallible>>,
    /// When a byte last moved.
    moved_at: Time,
    broken: Broken,
}

/// How a world ends, once everything has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The transport takes everything.
    Well,
    /// It takes nothing any more.
    Stuck,
}

/// Rounds within which a world ends.
const MAX_ROUNDS: usize = 60;

impl<'w> World<'w> {
    pub(crate) fn new(input: &'w [u8], workspace: &'w mut Workspace, broken: Broken) -> World<'w> {
        World {
            conn: Connection::new(Tiny),
            workspace,
            wire: Wire {
                incoming: VecDeque::new(),
                ended: false,
                end_told: false,
                reset: false,
                room: 0,
                taken: Vec::new(),
                loses_byte: broken == Broken::LosesByte,
            },
            model: Model::default(),
            input,
            now: Time::ZERO,
            wait: Wait::default(),
            ready: Ready::UNKNOWN,
            news: true,
            reports: Vec::new(),
            moved_at: Time::ZERO,
            broken,
        }
    }

    /// Everything that happens, in its order, and then the end.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn live(mut self, acts: &[Act], ending: Ending) -> Result<(), String> {
        for act in acts {
            self.act(*act)?;
        }
        self.end(ending)
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Deliver(n) => {
                let n = n.min(self.input.len());
                let (bytes, rest) = self.input.split_at(n);
                self.input = rest;
                self.wire.incoming.extend(bytes);
                self.model.delivered.extend_from_slice(bytes);
                self.ready.read = true;
            }
            Act::Room(n) => self.wire.room = self.wire.room.saturating_add(n),
            Act::Time => {
                if let Some(deadline) = self.wait.deadline {
                    self.now = self.now.max(deadline);
                    self.model.late |= self.wait.write && self.wire.room == 0;
                }
            }
            Act::End => {
                (self.wire.ended, self.model.ended) = (true, true);
                self.ready.read = true;
            }
            Act::Reset => {
                (self.wire.reset, self.model.reset) = (true, true);
                self.ready.read = true;
            }
            Act::Command => {
                let mut live = self.conn.lend(self.workspace, self.now);
                let taken = self.broken == Broken::ForgetsCommand || live.handle_command(()).is_ok();
                self.model.commands += usize::from(taken);
                self.news = true;
            }
            Act::Drain => self.put_in(|live| live.drain()),
            Act::Close => self.put_in(|live| live.close()),
            Act::Abort => self.put_in(|live| live.abort()),
            Act::Turn => return self.turn(),
        }
        match act {
            Act::Drain => self.model.drained = true,
            Act::Close => self.model.closed = true,
            Act::Abort => self.model.aborted = true,
            Act::Deliver(_) | Act::Room(_) | Act::Time | Act::End | Act::Reset | Act::Command | Act::Turn => {}
        }
        Ok(())
    }

    fn put_in(&mut self, put_in: impl FnOnce(&mut drywire_core::Live<'_, Tiny>)) {
        put_in(&mut self.conn.lend(self.workspace, self.now));
        self.news = true;
    }

    /// What a driver does: nothing, unless somebody has woken it.
    fn turn(&mut self) -> Result<(), String> {
        let readable = self.wait.read && self.ready.read;
        let writable = self.wait.write && (self.wire.room > 0 || self.wire.reset) && self.broken != Broken::MissesRoom;
        let due = self.wait.deadline.is_some_and(|deadline| deadline <= self.now);
        if !(self.news || readable || writable || due) {
            // It sleeps, and must be right to.
            return self.check();
        }
        self.news = false;
        let idle = Duration::from_millis(LIMITS.idle_ms.into());
        // A drain whose last words find no room waits like everything else.
        let drain_waits = self.model.drained && self.conn.held_bytes() >= LIMITS.output_bytes as usize;
        self.model.idled |= self.now >= self.moved_at + idle
            && (self.model.is_going_on() || drain_waits)
            && self.wire.incoming.is_empty()
            && !(self.wait.write && self.wire.room > 0);
        let before = (self.wire.incoming.len(), self.wire.taken.len());
        let mut live = self.conn.lend(self.workspace, self.now);
        // A stall is judged by what the transport says now.
        live.handle_writable();
        match turn(&mut live, &mut self.wire, &mut self.ready, &mut Budget::bytes(usize::MAX)) {
            Turn::Event(never) => match never {},
            Turn::Again => return Err("the budget is not bounded here".to_owned()),
            Turn::Wait(wait) => self.wait = wait,
            Turn::Closed(report) => {
                self.wait = Wait::default();
                self.model.end(&self.wire.taken, &report)?;
                self.reports.extend((self.broken == Broken::ReportsTwice).then(|| report.clone()));
                self.reports.push(report);
            }
        }
        drop(live);
        if before != (self.wire.incoming.len(), self.wire.taken.len()) {
            self.moved_at = self.now;
        }
        let is_missed = self.broken == Broken::MissesInput;
        self.ready.read |= !is_missed && (!self.wire.incoming.is_empty() || self.wire.ended && !self.wire.end_told);
        self.check()
    }

    /// What holds after every turn.
    fn check(&self) -> Result<(), String> {
        let bound = (LIMITS.input_bytes + LIMITS.output_bytes) as usize + ERROR_REPLY_BYTES;
        if self.conn.held_bytes() > bound {
            return Err(format!("I2: {} bytes held", self.conn.held_bytes()));
        }
        if self.reports.len() > 1 {
            return Err("I4: two close reports".to_owned());
        }
        if !self.reports.is_empty() {
            let idle = self.wait == Wait::default() && self.conn.held_bytes() == 0;
            return if idle { Ok(()) } else { Err("I4: something after the close".to_owned()) };
        }
        if self.wait.deadline.is_some_and(|deadline| deadline <= self.now) {
            return Err("a deadline that has passed".to_owned());
        }
        self.model.open(&self.wire.taken, self.wire.room, self.wait)
    }

    /// The peer ends if nothing else does, and time passes: it has to close.
    fn end(&mut self, ending: Ending) -> Result<(), String> {
        self.act(Act::Turn)?;
        match ending {
            Ending::Well => self.act(Act::Room(1000))?,
            Ending::Stuck => self.wire.room = 0,
        }
        for _ in 0..MAX_ROUNDS {
            if !self.reports.is_empty() {
                return Ok(());
            }
            self.act(Act::Turn)?;
            self.act(if self.model.is_going_on() { Act::End } else { Act::Time })?;
        }
        Err(format!("never closes; it waits for {:?}", self.wait))
    }
}
