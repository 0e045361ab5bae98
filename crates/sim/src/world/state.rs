//! The world outside of the server: time, peers, the network, the disk. What happens
//! in it is drawn from the seed, and counted. What peers do is in `peer`.

use super::Sabotage;
pub(crate) mod admission;
mod peer;

use super::agenda::{Agenda, Coming};
use super::disk::Disk;
use super::line::{Life, Line};
use super::plan::{Plan, Poller, Way};
use super::record::Record;
use super::swarm::Fault;
use super::violation::{Invariant, Violation};
use crate::Random;
use drywire_core::{FileId, Time, TransportError};
use drywire_server::{Commons, Connecting, Id, News};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// For the control that varies: worlds that were made.
static WORLDS: AtomicU64 = AtomicU64::new(0);

pub(crate) type Shared = Rc<RefCell<State>>;

/// Transport calls in one round beyond which it will not end.
const CALLS_PER_ROUND: u64 = 200_000;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) now: Time,
    pub(crate) agenda: Agenda,
    pub(crate) lines: Vec<Line>,
    pub(crate) disk: Disk,
    pub(crate) contents: Rc<Vec<Vec<u8>>>,
    pub(crate) random: Random,
    /// For what came into worlds later: all else is drawn as it was before.
    pub(crate) luck: Random,
    /// The listener, while there is one; and who waits to be accepted.
    pub(crate) listener: Option<Id>,
    pub(crate) listeners: usize,
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) listener_news: bool,
    /// Ids that are gone, for news that is stale.
    pub(crate) gone: Vec<Id>,
    /// Answers to opens that are due.
    pub(crate) answers: Vec<(usize, FileId)>,
    pub(crate) broken: Option<Violation>,
    /// Things that happened; a number made of all of them; and in words.
    pub(crate) events: u64,
    pub(crate) hash: u64,
    pub(crate) timeline: Option<Vec<String>>,
    /// Things that moved anything on; what waits only is not among them.
    pub(crate) progress: u64,
    pub(crate) calls_in_round: u64,
    /// When the last round began.
    pub(crate) round_at: Time,
    /// The end of the last pause: deadlines before it could not be kept.
    pub(crate) excused_until: Time,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) connections: u64,
    /// What the server counts, and may not pass.
    pub(crate) commons: Option<Commons>,
    /// Connections were cut for memory, and more may be until then.
    pub(crate) hard_until: Time,
    /// The driver is gone: who is owed something gets what the network takes at once.
    pub(crate) dropped: bool,
    /// Whose news is being told.
    pub(crate) told: Option<usize>,
    /// A shutdown accepts those that wait until then; the listener stays as long.
    pub(crate) accepts_until: Time,
}

impl State {
    pub(crate) fn new(plan: Plan, sabotage: Option<Sabotage>, trace: bool) -> State {
        let contents = Rc::new(plan.files.clone());
        let lines = plan.scripts.iter().enumerate().map(|(number, script)| {
            let mut record = Record::new(number, plan.speech, script.limits, contents.clone());
            record.panics_in = script.panics;
            Line::new(script.clone(), Rc::new(RefCell::new(record)))
        });
        State {
            now: Time::from_nanos(1_000_000),
            agenda: Agenda::default(),
            lines: lines.collect(),
            disk: Disk { contents: plan.files.clone(), open: Vec::new() },
            contents,
            random: plan.random.clone(),
            luck: Random::new(plan.seed ^ 0x4c55_434b),
            listener: None,
            listeners: 0,
            backlog: VecDeque::new(),
            listener_news: false,
            gone: Vec::new(),
            answers: Vec::new(),
            broken: None,
            events: 0,
            hash: match sabotage {
                Some(Sabotage::Varies) => WORLDS.fetch_add(1, Ordering::Relaxed),
                Some(_) | None => plan.seed,
            },
            timeline: trace.then(Vec::new),
            progress: 0,
            calls_in_round: 0,
            round_at: Time::from_nanos(1_000_000),
            excused_until: Time::ZERO,
            sabotage,
            connections: 0,
            commons: None,
            hard_until: Time::ZERO,
            dropped: false,
            told: None,
            accepts_until: Time::ZERO,
            plan,
        }
    }

    /// Something happened: it counts, it is part of the hash, and it is told.
    pub(crate) fn event(&mut self, tag: u64, line: usize, value: u64, say: impl FnOnce() -> String) {
        self.events += 1;
        let word =
            tag.wrapping_mul(0x0100_0000_01b3) ^ (line as u64) << 40 ^ value ^ self.now.as_nanos().rotate_left(17);
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        if let Some(timeline) = &mut self.timeline {
            let text = say();
            let who = if line == usize::MAX { String::new() } else { format!("peer {line}: ") };
            timeline.push(format!("{:>12.6} ms  {who}{text}", self.now.as_nanos() as f64 / 1e6));
        }
    }

    /// For the timeline alone.
    pub(crate) fn remark(&mut self, say: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!("{:>12.6} ms  {}", now.as_nanos() as f64 / 1e6, say()));
        }
    }

    pub(crate) fn violate(&mut self, invariant: Invariant, line: impl Into<Option<usize>>, text: impl fmt::Display) {
        if self.broken.is_none() {
            self.broken = Some(Violation::new(invariant, line, text.to_string()));
        }
    }

    /// A call of the transport.
    pub(crate) fn call(&mut self, line: usize) {
        self.check_budget();
        self.calls_in_round += 1;
        if self.calls_in_round > CALLS_PER_ROUND {
            // There is no other way out of a loop that does not end.
            panic!("peer {line}: a round of more than {CALLS_PER_ROUND} calls does not end");
        }
    }

    pub(crate) fn strikes(&mut self, fault: Fault, line: usize) -> bool {
        self.plan.swarm.strikes(fault, line, &mut self.lines[line].chances)
    }

    fn after(&self, wait: Duration) -> Time {
        self.now + wait
    }

    /// Up to so long from now, the connection's own luck.
    fn soon(&mut self, line: usize, most: Duration) -> Time {
        let nanos = self.lines[line].script.random.between(0, most.as_nanos() as usize);
        self.now + Duration::from_nanos(nanos as u64)
    }

    // News.

    /// Readiness changed.
    pub(crate) fn edge(&mut self, line: usize, news: News) {
        if !self.lines[line].is_open() {
            return;
        }
        if self.sabotage == Some(Sabotage::DropsEdge) && news.read && self.lines[line].read > 0 {
            return;
        }
        let asked = self.plan.poller == Poller::Asked;
        let late = self.strikes(Fault::LateNews, line);
        let now = self.now;
        let due = if late { self.soon(line, Duration::from_millis(8)) } else { now };
        let state = &mut self.lines[line];
        let news = if asked {
            let (read, write) = state.asked;
            let news = News {
                read: news.read && read,
                write: news.write && write,
                hang_up: false,
                urgent: false,
                failed: false,
            };
            state.asked = (read && !news.read, write && !news.write);
            news
        } else {
            news
        };
        if news == News::default() {
            return;
        }
        if !state.has_news() {
            state.due = due;
        }
        state.pending.read |= news.read;
        state.pending.write |= news.write;
        state.pending.hang_up |= news.hang_up;
        state.pending.failed |= news.failed;
        let due = state.due;
        if due > now {
            self.agenda.add(due, Coming::News(line));
        }
    }

    /// What is there now, for a poller that is asked.
    pub(crate) fn ask(&mut self, line: usize, read: bool, write: bool) -> News {
        let state = &mut self.lines[line];
        let news = News { read: read && state.is_readable(), write: write && state.is_writable(), ..News::default() };
        state.asked = (read && !news.read, write && !news.write);
        news
    }

    /// News that is due, in an order of its own; at most so much.
    pub(crate) fn take_news(&mut self, most: usize) -> Vec<(usize, Id, News)> {
        let mut due: Vec<usize> = (0..self.lines.len())
            .filter(|line| self.lines[*line].has_news() && self.lines[*line].due <= self.now)
            .collect();
        for at in (1..due.len()).rev() {
            let with = self.random.between(0, at);
            due.swap(at, with);
        }
        due.truncate(most);
        due.into_iter()
            .filter_map(|line| {
                let news = std::mem::take(&mut self.lines[line].pending);
                Some((line, self.lines[line].id?, news))
            })
            .collect()
    }

    pub(crate) fn news_is_due(&self) -> bool {
        self.listener_news || self.lines.iter().any(|line| line.has_news() && line.due <= self.now)
    }

    /// Somebody waits to be accepted, and there is a listener.
    pub(crate) fn is_forgetting_peers(&self) -> bool {
        self.listener.is_some() && !self.backlog.is_empty()
    }

    // What comes.

    /// Does what the agenda says. What concerns the server is left to the caller.
    pub(crate) fn come(&mut self, coming: Coming) {
        match coming {
            Coming::Arrival(line) => self.arrive(line),
            Coming::Send(line) => self.peer_sends(line),
            Coming::Bytes(line, _) if self.lines[line].fault.is_some() => {}
            Coming::Bytes(line, n) => {
                self.event(1, line, n as u64, || format!("{n} bytes arrive"));
                self.lines[line].arrived += n;
                self.edge(line, News { read: true, ..News::default() });
            }
            Coming::End(line) => {
                if self.lines[line].fault.is_none() && !self.lines[line].end_arrived {
                    self.event(2, line, 0, || "its end arrives".into());
                    self.lines[line].end_arrived = true;
                    self.edge(line, News { read: true, hang_up: true, ..News::default() });
                }
            }
            Coming::Reset(line) => self.reset(line),
            Coming::Read(line) => self.peer_reads(line),
            Coming::OurEnd(line) => self.peer_sees_end(line),
            Coming::Established(line) => self.establish(line),
            Coming::News(_) => {}
            Coming::File(line, id) => self.answers.push((line, id)),
            Coming::Resolved(..)
            | Coming::Outside(_)
            | Coming::Pause(_)
            | Coming::Shutdown
            | Coming::Stop
            | Coming::Drop => {}
        }
    }

    fn arrive(&mut self, line: usize) {
        self.event(3, line, 0, || "connects".into());
        if self.listener.is_none() {
            self.lines[line].life = Life::Gone;
            return;
        }
        self.lines[line].life = Life::Backlog;
        self.backlog.push_back(line);
        self.listener_news = true;
        self.plan_send(line);
        if self.strikes(Fault::ResetAtOnce, line) {
            self.lines[line].fault = Some(TransportError::Reset);
            self.lines[line].record.borrow_mut().facts.broken = true;
        }
    }

    /// A connection of ours stands, or never will.
    fn establish(&mut self, line: usize) {
        if !self.lines[line].is_open() {
            return;
        }
        if self.strikes(Fault::NoConnection, line) {
            self.event(4, line, 0, || "does not answer".into());
            let error = self.lines[line].script.random.pick(&[TransportError::Refused, TransportError::TimedOut]);
            let state = &mut self.lines[line];
            state.connecting = Connecting::Failed;
            state.fault = Some(error);
            state.record.borrow_mut().facts.refused = true;
            return self.edge(line, News { read: true, write: true, hang_up: true, urgent: false, failed: true });
        }
        self.event(4, line, 1, || "answers".into());
        self.lines[line].connecting = Connecting::Stands;
        self.edge(line, News { write: true, ..News::default() });
        self.plan_send(line);
    }

    fn reset(&mut self, line: usize) {
        if self.lines[line].fault.is_some() || self.lines[line].life == Life::Gone {
            return;
        }
        let random = &mut self.lines[line].script.random;
        let error = random.pick(&[TransportError::Reset, TransportError::Reset, TransportError::TimedOut]);
        let drops = random.one_in(2);
        self.event(5, line, 0, || format!("resets ({error}), what it sent is {}", if drops { "lost" } else { "kept" }));
        let state = &mut self.lines[line];
        if drops {
            state.arrived = state.read;
        }
        state.fault = Some(error);
        state.silent = true;
        state.record.borrow_mut().facts.broken = true;
        self.edge(line, News { read: true, write: true, hang_up: true, urgent: false, failed: true });
    }

    // The server's side.

    /// A peer that we connect to, or that is added.
    pub(crate) fn begin(&mut self, line: usize, id: Id) {
        self.lines[line].life = Life::Open;
        self.lines[line].has_begun = true;
        self.lines[line].id = Some(id);
        self.connections += 1;
        if self.lines[line].script.way == Way::Called {
            self.lines[line].connecting = Connecting::Pending;
            let at = self.after(self.lines[line].script.latency);
            return self.agenda.add(at, Coming::Established(line));
        }
        // What is there when a poller is told of a stream is news.
        let state = &self.lines[line];
        let failed = state.fault.is_some();
        let news = News {
            read: state.is_readable(),
            write: true,
            hang_up: failed || state.end_arrived,
            urgent: false,
            failed,
        };
        self.edge(line, news);
    }

    /// The stream is closed.
    pub(crate) fn end(&mut self, line: usize) {
        let state = &mut self.lines[line];
        state.life = Life::Gone;
        state.pending = News::default();
        state.silent = true;
        if let Some(id) = state.id {
            self.gone.push(id);
        }
    }

    /// Bytes or actions of one connection's turn.
    pub(crate) fn spend(&mut self, line: usize, n: usize) {
        self.progress += 1;
        if self.told != Some(line) {
            return;
        }
        let (spent, budget) = (self.lines[line].spent, self.plan.budget);
        if spent >= budget {
            self.violate(Invariant::Progress, line, format!("a turn goes on past its budget of {budget} bytes"));
        }
        self.lines[line].spent += n + 64;
    }
}
