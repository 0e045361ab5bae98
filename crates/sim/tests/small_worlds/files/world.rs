//! One world with files: what happens, and what must hold of it.

use super::wire::{Asks, CONTENTS, Wire};
use drywire_core::{
    Budget, CloseReport, Connection, FileError, Live, Misuse, Ready, Reason, Time, Turn, Wait, Workspace, turn,
};
use std::collections::VecDeque;
use std::convert::Infallible;

/// What can happen; the first ones, up to [`Act::Reset`], touch nothing but the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Deliver,
    Room(usize),
    /// The files become empty.
    Truncate,
    Time,
    End,
    Reset,
    /// The file that was asked for is there, or is not.
    Answer(bool),
    Drain,
    Close,
    Abort,
    Turn,
}

/// What happened, beside what the wire knows.
#[derive(Debug, Default)]
struct Model {
    delivered: Vec<u8>,
    answers: Vec<bool>,
    drained: bool,
    closed: bool,
    aborted: bool,
    late: bool,
}

pub(super) struct World<'w> {
    conn: Connection<Asks>,
    workspace: &'w mut Workspace,
    input: VecDeque<u8>,
    wire: Wire,
    model: Model,
    now: Time,
    wait: Wait,
    news: bool,
    report: Option<CloseReport<Infallible>>,
}

impl Model {
    /// All that may ever come out, and where each answer in it ends.
    fn owed(&self) -> (Vec<u8>, Vec<usize>) {
        let (mut owed, mut ends) = (Vec::new(), vec![0]);
        let mut answers = self.answers.iter();
        for byte in &self.delivered {
            match (byte, if *byte == b'f' { answers.next() } else { None }) {
                (b'f', Some(true)) => owed.extend_from_slice(b"F123"),
                (b'f', Some(false)) => owed.push(b'N'),
                (b'f', None) => break,
                (byte, _) => owed.push(*byte),
            }
            ends.push(owed.len());
        }
        (owed, ends)
    }
}

impl<'w> World<'w> {
    pub(super) fn new(input: &[u8], workspace: &'w mut Workspace, leaks: bool) -> World<'w> {
        World {
            conn: Connection::new(Asks),
            workspace,
            input: input.iter().copied().collect(),
            wire: Wire { leaks, ..Wire::default() },
            model: Model::default(),
            now: Time::ZERO,
            wait: Wait::default(),
            news: true,
            report: None,
        }
    }

    /// Everything that happens, in its order, and then the end.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn live(mut self, acts: &[Act]) -> Result<(), String> {
        for act in acts {
            self.act(*act)?;
        }
        self.act(Act::Turn)?;
        self.act(Act::Room(1000))?;
        for _ in 0..40 {
            self.act(Act::Turn)?;
            if self.report.is_some() {
                return self.check_files();
            }
            self.act(Act::Answer(true))?;
            self.act(if self.is_asked_to_end() { Act::Time } else { Act::End })?;
        }
        Err(format!("never closes; it waits for {:?}", self.wait))
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Deliver => {
                let byte = self.input.pop_front();
                self.wire.incoming.extend(byte);
                self.model.delivered.extend(byte);
            }
            Act::Room(n) => self.wire.room += n,
            Act::Truncate => self.wire.truncated = true,
            Act::Time => {
                if let Some(deadline) = self.wait.deadline {
                    self.now = self.now.max(deadline);
                    self.model.late |= self.wait.write && self.wire.room == 0;
                }
            }
            Act::End => self.wire.ended = true,
            Act::Reset => self.wire.reset = true,
            Act::Answer(found) => return self.answer(found),
            Act::Drain => {
                self.model.drained = true;
                self.put_in(|live| live.drain());
            }
            Act::Close => {
                self.model.closed = true;
                self.put_in(|live| live.close());
            }
            Act::Abort => {
                self.model.aborted = true;
                self.put_in(|live| live.abort());
            }
            Act::Turn => return self.turn(),
        }
        Ok(())
    }

    fn put_in(&mut self, put_in: impl FnOnce(&mut Live<'_, Asks>)) {
        put_in(&mut self.conn.lend(self.workspace, self.now));
        self.news = true;
    }

    fn answer(&mut self, found: bool) -> Result<(), String> {
        let Some(id) = self.wire.asked.take() else { return Ok(()) };
        let result = if found { Ok(CONTENTS.len() as u64) } else { Err(FileError::NotFound) };
        match (self.conn.lend(self.workspace, self.now).handle_file(id, result), &self.report) {
            (Ok(()), None) => {
                self.wire.open.extend(found.then_some(id));
                self.model.answers.push(found);
                self.news = true;
                Ok(())
            }
            (Err(Misuse::Closed), Some(_)) => Ok(()),
            (answer, report) => Err(format!("the answer for a file was told {answer:?}, the close {report:?}")),
        }
    }

    fn turn(&mut self) -> Result<(), String> {
        let readable = self.wait.read && (!self.wire.incoming.is_empty() || self.wire.ended || self.wire.reset);
        let writable = self.wait.write && (self.wire.room > 0 || self.wire.reset || self.wire.truncated);
        let due = self.wait.deadline.is_some_and(|deadline| deadline <= self.now);
        if !(self.news || readable || writable || due) {
            return self.check();
        }
        self.news = false;
        let mut live = self.conn.lend(self.workspace, self.now);
        live.handle_writable();
        let mut ready = Ready::UNKNOWN;
        match turn(&mut live, &mut self.wire, &mut ready, &mut Budget::bytes(usize::MAX)) {
            Turn::Event(never) => match never {},
            Turn::Again => return Err("the budget is not bounded here".to_owned()),
            Turn::Wait(wait) => self.wait = wait,
            Turn::Closed(_) if self.report.is_some() => return Err("I4: two close reports".to_owned()),
            Turn::Closed(report) => {
                self.wait = Wait::default();
                self.report = Some(report);
                drop(live);
                return self.check_end();
            }
        }
        drop(live);
        self.check()
    }

    fn is_asked_to_end(&self) -> bool {
        let Model { drained, closed, aborted, .. } = self.model;
        drained || closed || aborted || self.wire.ended || self.wire.reset
    }

    /// Files that became empty end nothing when none is sent, but they may.
    fn is_going_on(&self) -> bool {
        !self.is_asked_to_end() && !self.wire.truncated
    }

    fn check(&self) -> Result<(), String> {
        if let Some(broken) = self.wire.broken {
            return Err(broken.to_owned());
        }
        if self.report.is_some() {
            return if self.wait == Wait::default() { Ok(()) } else { Err("I4: it waits".to_owned()) };
        }
        if self.wait.deadline.is_some_and(|deadline| deadline <= self.now) {
            return Err("a deadline that has passed".to_owned());
        }
        let (owed, _) = self.model.owed();
        if !owed.starts_with(&self.wire.taken) {
            return Err(format!("taken {}, owed {}", self.wire.taken.escape_ascii(), owed.escape_ascii()));
        }
        if !self.is_going_on() {
            return Ok(());
        }
        let owes = self.wire.taken.len() < owed.len();
        match (owes, self.wire.room) {
            (true, 1..) => Err("something is owed though there was room".to_owned()),
            (true, 0) if !self.wait.write => Err("something is owed, and nobody waits to write it".to_owned()),
            (false, _) if self.wait.read == self.wire.asked.is_some() => {
                Err(format!("reading is {}, the file asked for {:?}", self.wait.read, self.wire.asked))
            }
            (true | false, _) => Ok(()),
        }
    }

    fn check_end(&self) -> Result<(), String> {
        self.check()?;
        let report = self.report.as_ref().expect("it is closed");
        let (owed, ends) = self.model.owed();
        let Model { drained, closed, aborted, late, .. } = self.model;
        let happened = match report.reason {
            Reason::Finished => self.wire.ended || drained,
            Reason::Requested => closed,
            Reason::Panicked | Reason::Shed => false,
            Reason::Aborted => aborted,
            Reason::Transport(_) => self.wire.reset,
            Reason::File(FileError::Truncated) => self.wire.truncated,
            Reason::Stalled => late,
            Reason::File(_) | Reason::Limit(_) | Reason::Misuse(_) | Reason::Layer(_) | Reason::Peer(_) => false,
        };
        let taken = &self.wire.taken;
        if !happened {
            return Err(format!("closed for {:?}, which has not happened", report.reason));
        }
        if !owed.starts_with(taken) || report.counters.sent != taken.len() as u64 {
            return Err(format!("taken {}, owed {}", taken.escape_ascii(), owed.escape_ascii()));
        }
        if report.reason.is_abort() {
            return Ok(());
        }
        let is_whole = if drained || closed { ends.contains(&taken.len()) } else { taken.len() == owed.len() };
        if is_whole && report.counters.unsent == 0 { Ok(()) } else { Err("an answer was cut".to_owned()) }
    }

    /// At the very end, when the driver has answered what it was asked too.
    fn check_files(&mut self) -> Result<(), String> {
        self.answer(true)?;
        match self.wire.open.len() {
            0 => Ok(()),
            n => Err(format!("{n} files left open")),
        }
    }
}
