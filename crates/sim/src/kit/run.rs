//! One run: a fresh connection, taken through its steps in one manner, looked at
//! after every turn.

use super::finding::Check;
use super::manner::{Manner, Step};
use super::rules::{Trouble, endless, in_words, trouble};
use super::seen::{End, Seen};
use super::wire::{Peer, Wire};
use super::{Closing, Kit};
use drywire_core::{
    Budget, CloseReport, Connection, Limit, Limits, Live, Protocol, Ready, Reason, Time, Turn, Wait, Workspace, turn,
};
use std::fmt::Debug;
use std::time::Duration;

/// A run that went well.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) seen: Seen,
    /// The write that was to be refused came, and was.
    pub(super) full_came: bool,
}

/// Turns, beside eight for each byte that moves, and deadlines in a row that bring
/// nothing. More than any honest run of a kit's size needs.
const MAX_TURNS: usize = 10_000;
const MAX_DEADLINES: usize = 2_000;

/// Events of one turn.
const MAX_TOLD: usize = 1_000_000;

/// Output of one run, in bytes.
const MAX_OUTPUT: usize = 64 << 20;

/// So many deadlines in a row within [`SPIN_WITHIN`], with nothing sent and nothing
/// told, are a spin.
const SPIN: usize = 16;
const SPIN_WITHIN: Duration = Duration::from_micros(16);

pub(super) struct Run<'k, P: Protocol> {
    pub(super) kit: &'k Kit<P>,
    pub(super) conn: Connection<P>,
    pub(super) workspace: &'k mut Workspace,
    pub(super) wire: Wire<'k>,
    pub(super) now: Time,
    pub(super) wait: Wait,
    budget: usize,
    /// A turn is to be made whatever was waited for.
    pub(super) again: bool,
    turns: usize,
    /// Bytes the peer has sent.
    arrived: usize,
    events: Vec<String>,
    pub(super) close: Option<CloseReport<P::Error>>,
}

impl<'k, P: Protocol> Run<'k, P>
where
    P::Event: Debug,
    P::Error: Debug,
{
    pub(super) fn new(kit: &'k Kit<P>, workspace: &'k mut Workspace, manner: &Manner) -> Run<'k, P> {
        let limits = match manner.tight {
            None => kit.limits,
            Some((output_bytes, events)) => Limits { output_bytes, events, ..kit.limits },
        };
        let mut conn = Connection::new((kit.make)()).with_limits(limits);
        conn.inject_full(manner.full_at);
        Run {
            kit,
            conn,
            workspace,
            wire: Wire::new(&kit.disk, manner.reads.clone(), manner.writes.clone(), manner.opens_later),
            now: Time::ZERO,
            wait: Wait::default(),
            budget: manner.budget,
            again: true,
            turns: 0,
            arrived: 0,
            events: Vec::new(),
            close: None,
        }
    }

    pub(super) fn go(mut self, steps: &[Step<'_>]) -> Result<Ran, Trouble> {
        self.settle()?;
        for step in steps {
            if self.close.is_some() {
                break;
            }
            self.step(*step)?;
        }
        if self.wire.peer != Peer::Open {
            self.run_out()?;
        }
        if let Some(report) = &self.close {
            if let Reason::Misuse(misuse) = report.reason {
                return Err(trouble(Check::Misuse, "no rule is broken", &misuse.to_string()));
            }
            self.check_after_close()?;
        }
        let counters = self.conn.counters();
        let end = self.close.map(|report| End {
            is_abort: report.is_abort(),
            is_of_tightness: matches!(report.reason, Reason::Limit(Limit::Output(_) | Limit::Events(_))),
            reason: format!("{:?}", report.reason),
        });
        let taken = counters.received - counters.discarded;
        let full_came = self.conn.full_in() == 0;
        Ok(Ran { seen: Seen { output: self.wire.taken, events: self.events, end, taken }, full_came })
    }

    fn step(&mut self, step: Step<'_>) -> Result<(), Trouble> {
        match step {
            Step::Bytes(bytes) => {
                self.wire.incoming.extend(bytes);
                self.arrived += bytes.len();
                self.settle()?;
                self.until_taken()
            }
            Step::Command(n) => {
                for _ in 0..MAX_DEADLINES {
                    if self.live(|live| live.can_take_command()) {
                        let command = (self.kit.commands[n])();
                        self.live(|live| live.handle_command(command).is_ok());
                        return self.settle();
                    }
                    // A closing connection takes none, and one that waits for a timer not yet.
                    if self.close.is_some() || !self.pass_deadline()? {
                        return Ok(());
                    }
                }
                Err(endless("to take a command"))
            }
            Step::Deadlines(n) => self.pass_deadlines(n),
            Step::Rest => self.check_rest(),
            Step::End | Step::Reset => {
                self.wire.peer = if step == Step::End { Peer::Ended } else { Peer::Reset };
                self.settle()
            }
            Step::Drain => self.put_in(|live| live.drain()),
            Step::Close => self.put_in(|live| live.close()),
            Step::Abort => {
                self.put_in(|live| live.abort())?;
                match self.close {
                    Some(_) => Ok(()),
                    None => Err(trouble(Check::Close, "an abort ends it at once", "it is still open")),
                }
            }
        }
    }

    fn put_in(&mut self, put_in: impl FnOnce(&mut Live<'_, P>)) -> Result<(), Trouble> {
        self.live(put_in);
        self.settle()
    }

    /// A turn in which nothing is polled; the next settles.
    fn live<R>(&mut self, put_in: impl FnOnce(&mut Live<'_, P>) -> R) -> R {
        self.again = true;
        put_in(&mut self.conn.lend(self.workspace, self.now))
    }

    /// Turns as long as something happens that was waited for. Time stands still.
    fn settle(&mut self) -> Result<(), Trouble> {
        while self.close.is_none() {
            let readable = self.wait.read && self.wire.is_readable();
            let due = self.wait.deadline.is_some_and(|deadline| deadline <= self.now);
            if !(self.again || readable || self.wait.write || due || !self.wire.ledger.asked.is_empty()) {
                return Ok(());
            }
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Trouble> {
        self.turns += 1;
        let moved = self.wire.taken.len() + self.arrived;
        if self.turns > MAX_TURNS + 8 * moved || self.wire.taken.len() > MAX_OUTPUT {
            return Err(endless("to come to rest"));
        }
        self.again = false;
        let asked = self.wire.ledger.asked.pop_front();
        let answer = asked.map(|(id, name)| (id, self.wire.answer(id, &name)));
        let mut live = self.conn.lend(self.workspace, self.now);
        if let Some((id, result)) = answer
            && live.handle_file(id, result).is_err()
        {
            self.wire.ledger.broken.get_or_insert(format!("the answer for {id:?} was refused"));
        }
        live.handle_writable();
        let mut ready = Ready::UNKNOWN;
        let messages = u32::try_from(self.budget).unwrap_or(u32::MAX);
        let mut budget = Budget::bytes(self.budget).messages(messages);
        let mut told = 0;
        loop {
            match turn(&mut live, &mut self.wire, &mut ready, &mut budget) {
                Turn::Event(event) => self.events.push(format!("{event:?}")),
                Turn::Wait(wait) => {
                    self.wait = wait;
                    break;
                }
                Turn::Again => {
                    self.again = true;
                    break;
                }
                Turn::Closed(report) => {
                    self.close = Some(report);
                    self.wait = Wait::default();
                    break;
                }
            }
            told += 1;
            if told > MAX_TOLD {
                return Err(endless("to stop telling events"));
            }
        }
        drop(live);
        self.check()
    }

    /// Lets time pass until input is wanted again: what was read before is handled
    /// then, and the next step finds the connection in the same place however the input
    /// was cut.
    fn until_taken(&mut self) -> Result<(), Trouble> {
        let mut in_vain = 0;
        while in_vain < MAX_DEADLINES {
            let before = self.left();
            if self.wait.read || self.close.is_some() || !self.pass_deadline()? {
                return Ok(());
            }
            in_vain = if before == self.left() { in_vain + 1 } else { 0 };
        }
        // Whoever wants no more input may have timers for ever.
        if self.wire.incoming.is_empty() { Ok(()) } else { Err(endless("to read what has arrived")) }
    }

    fn left(&self) -> (usize, usize, (usize, usize)) {
        (self.wire.incoming.len(), self.conn.held_bytes(), self.moved())
    }

    /// To the next deadline. False when there is none.
    fn pass_deadline(&mut self) -> Result<bool, Trouble> {
        let Some(deadline) = self.wait.deadline else { return Ok(false) };
        self.now = self.now.max(deadline);
        self.settle()?;
        Ok(true)
    }

    fn pass_deadlines(&mut self, n: usize) -> Result<(), Trouble> {
        let (mut since, mut in_a_row, mut moved) = (self.now, 0, self.moved());
        for _ in 0..n {
            if self.close.is_some() || !self.pass_deadline()? {
                return Ok(());
            }
            if moved != self.moved() || self.now.saturating_since(since) > SPIN_WITHIN {
                (since, in_a_row, moved) = (self.now, 0, self.moved());
                continue;
            }
            in_a_row += 1;
            if in_a_row == SPIN {
                let got =
                    format!("{SPIN} deadlines within {:?}, and nothing came of them", self.now.saturating_since(since));
                return Err(trouble(Check::Wake, "a deadline at which something happens", &got));
            }
        }
        Ok(())
    }

    fn moved(&self) -> (usize, usize) {
        (self.wire.taken.len(), self.events.len())
    }

    /// The peer is gone: nothing is left but deadlines.
    fn run_out(&mut self) -> Result<(), Trouble> {
        let mut deadlines = 0;
        while self.close.is_none() && deadlines < MAX_DEADLINES && self.pass_deadline()? {
            deadlines += 1;
        }
        if self.close.is_none() && self.kit.closing == Closing::ByApplication {
            self.put_in(|live| live.close())?;
            while self.close.is_none() && deadlines < MAX_DEADLINES && self.pass_deadline()? {
                deadlines += 1;
            }
        }
        if self.close.is_some() {
            return Ok(());
        }
        let got = format!("it is still open after {deadlines} deadlines, waiting for {}", in_words(self.wait));
        Err(trouble(Check::Close, "the peer is gone, so there is one close report", &got))
    }
}
