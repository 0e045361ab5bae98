//! What one connection must do, kept beside it: what it was fed, what it owes, since
//! when nothing moved. Each byte that the transport takes is compared with it at once.
//!
//! For the echoes and the dialog what is owed follows from the input alone, by
//! `model`; the [`Actor`](super::actor::Actor) tells what its calls have
//! committed. Whether the report is true is judged in `report`.

mod model;
mod report;

use super::crowd::{GROUP, Lane};
use super::plan::Speech;
use super::violation::{Invariant, Violation};
use drywire_core::{FileError, FileId, Limit, Limits, Opened, Time, Timer};
use drywire_server::Dropped;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// Handler calls in one turn beyond which it will not end.
const CALLS_PER_TURN: u32 = 200_000;

/// How far an actor has ended by itself. Ordered: it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Open,
    HalfClose,
    Close,
    Abort,
    Failed,
}

/// A handler of the actor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Consume,
    EndOfInput,
    Room,
    Timer(usize),
    Command(u32),
    File(Opened),
    Drain,
}

/// Where the input of an echo or a dialog leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its last request was to end.
    Quit,
    /// The peer has ended, and all before it is answered.
    End,
    /// A bad command.
    Bad,
    /// A bound is met.
    Limit(Limit),
}

/// What the application, the disk and the network have done to a connection, and so
/// what its report may say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) broken: bool,
    pub(crate) refused: bool,
    pub(crate) close_asked: bool,
    pub(crate) abort_asked: bool,
    pub(crate) drained: bool,
    pub(crate) cut: bool,
    /// It was open when the shutdown began, so it is told: by then, or at once.
    pub(crate) drain_due: Option<Time>,
    /// It had said nothing when the shutdown began, and is heard until then.
    pub(crate) heard_until: Time,
    /// When a shutdown cuts what is left.
    pub(crate) drain_ends: Option<Time>,
    pub(crate) file_failed: bool,
    /// Its code panicked, or a callback about it.
    pub(crate) panicked: bool,
    /// Memory is short in its world; and when it may be cut for that.
    pub(crate) is_tight: bool,
    pub(crate) shed_from: Time,
}

/// Deadlines that may have been met: at least so much time has passed.
#[derive(Clone, Copy, Debug, Default)]
struct Late {
    first_byte: bool,
    message: bool,
    input: bool,
    output: bool,
}

/// Is there such a limit at all?
pub(crate) fn is_limited(limit: u32) -> bool {
    limit != 0 && limit != Limits::NEVER
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) line: usize,
    pub(crate) speech: Speech,
    pub(crate) limits: Limits,
    pub(crate) facts: Facts,
    pub(crate) broken: Option<Violation>,
    /// What the transport gave, and whether it said that this was all.
    pub(crate) fed: Vec<u8>,
    pub(crate) fed_end: bool,
    /// What is owed for it, how much of that was taken, and what was taken besides.
    pub(crate) expected: Vec<u8>,
    pub(crate) taken: usize,
    pub(crate) extra: Vec<u8>,
    /// How much of the output a layer was given.
    pub(crate) veiled: usize,
    /// All that was taken. Behind an idle deadline input is discarded that the model
    /// answers, so what comes then is compared when the report says what it is.
    pub(crate) output: Vec<u8>,
    is_undecided: bool,
    pub(crate) half_closed: bool,
    /// The last byte that moved was the peer's.
    pub(crate) is_unanswered: bool,
    /// When a byte moved last, and since when the transport takes none.
    pub(crate) opened: bool,
    pub(crate) last_move: Time,
    pub(crate) blocked_since: Option<Time>,
    pub(crate) idle_seen: bool,
    pub(crate) stall_seen: bool,
    /// Since when a message has begun and is not whole, and since when output was refused
    /// at all.
    pub(crate) unfinished_since: Option<Time>,
    framed: usize,
    refused_since: Option<Time>,
    /// When the transport last took something.
    pub(crate) taken_at: Time,
    /// Since when reading has not been off for want of memory; [`Time::NEVER`] while it is.
    pub(crate) reads_since: Time,
    /// It may have been too slow: with its first byte, with a message, below the rate.
    late: Late,
    pub(crate) half_closed_at: Option<Time>,
    /// When the last turn began, and that in which its own part was done.
    turn_at: Time,
    ended_at: Option<Time>,
    calls_in_turn: u32,
    /// The model of the echoes and the dialog.
    scan: usize,
    pub(crate) stop: Option<Stop>,
    marks: Vec<(usize, usize)>,
    waiting: Option<(bool, Vec<u8>)>,
    contents: std::rc::Rc<Vec<Vec<u8>>>,
    /// What the actor has told.
    pub(crate) consumed: usize,
    pub(crate) end_delivered: bool,
    pub(crate) emitted: u32,
    pub(crate) untold: VecDeque<u32>,
    pub(crate) timers: [Time; Timer::COUNT],
    pub(crate) refused: Option<Call>,
    pub(crate) room: Option<Option<usize>>,
    pub(crate) reading: bool,
    pub(crate) ending: Ending,
    /// Its output has an end; no last words can follow.
    output_ended: bool,
    opening: Option<FileId>,
    has_files: bool,
    /// Commands that were accepted and not handled: ours, and those of handles.
    pub(crate) orders: [VecDeque<u32>; 2],
    /// Bytes of the command whose handler gave up.
    pub(crate) held: usize,
    /// The first command that may be dropped: it came after the close.
    pub(crate) last_order: Option<u32>,
    /// What those that wait weigh, in bytes; what was owed when one was handled.
    pub(crate) weights: BTreeMap<u32, usize>,
    pub(crate) handled: BTreeMap<u32, usize>,
    /// What groups have for it: of the last, it may be a member.
    pub(crate) lanes: Vec<Lane>,
    /// Handler calls until one panics, and panics so far.
    pub(crate) panics_in: u32,
    pub(crate) panics: u64,
    /// What its end means for commands.
    pub(crate) ended_as: Option<Dropped>,
}

impl Record {
    pub(crate) fn new(line: usize, speech: Speech, limits: Limits, contents: std::rc::Rc<Vec<Vec<u8>>>) -> Record {
        Record {
            line,
            speech,
            limits,
            facts: Facts::default(),
            broken: None,
            fed: Vec::new(),
            fed_end: false,
            expected: Vec::new(),
            taken: 0,
            extra: Vec::new(),
            veiled: 0,
            output: Vec::new(),
            is_undecided: false,
            half_closed: false,
            is_unanswered: false,
            opened: false,
            last_move: Time::ZERO,
            blocked_since: None,
            idle_seen: false,
            stall_seen: false,
            unfinished_since: None,
            framed: 0,
            refused_since: None,
            taken_at: Time::ZERO,
            reads_since: Time::ZERO,
            late: Late::default(),
            half_closed_at: None,
            turn_at: Time::ZERO,
            ended_at: None,
            calls_in_turn: 0,
            scan: 0,
            stop: None,
            marks: Vec::new(),
            waiting: None,
            contents,
            consumed: 0,
            end_delivered: false,
            emitted: 0,
            untold: VecDeque::new(),
            timers: [Time::NEVER; Timer::COUNT],
            refused: None,
            room: None,
            reading: true,
            ending: Ending::Open,
            output_ended: false,
            opening: None,
            has_files: false,
            orders: [VecDeque::new(), VecDeque::new()],
            held: 0,
            last_order: None,
            weights: BTreeMap::new(),
            handled: BTreeMap::new(),
            lanes: Vec::new(),
            panics_in: 0,
            panics: 0,
            ended_as: None,
        }
    }

    pub(crate) fn break_it(&mut self, invariant: Invariant, text: impl Into<String>) {
        let line = self.line;
        self.broken.get_or_insert_with(|| Violation::new(invariant, line, text));
    }

    // What the transport sees.

    /// A turn begins.
    pub(crate) fn on_turn(&mut self, now: Time) {
        (self.turn_at, self.calls_in_turn) = (now, 0);
        if !self.opened {
            self.opened = true;
            self.last_move = now;
        }
        let since = |from: Time| now.saturating_since(from).as_nanos();
        let ms = |n: u32| u128::from(n) * 1_000_000;
        let is_over = |limit: u32, from: Time| is_limited(limit) && since(from) >= ms(limit);
        self.idle_seen |= is_over(self.limits.idle_ms, self.last_move);
        if let Some(from) = self.blocked_since {
            self.stall_seen |= is_over(self.limits.stall_ms, from);
        }
        self.late.first_byte |= self.fed.is_empty() && is_over(self.limits.first_byte_ms, self.last_move);
        if let Some(from) = self.unfinished_since {
            self.late.message |= is_over(self.limits.message_ms, from);
            self.late.input |= is_limited(self.limits.min_rate) && is_over(self.limits.rate_ms, from);
        }
        if let Some(from) = self.refused_since {
            self.late.output |= is_limited(self.limits.min_rate) && is_over(self.limits.rate_ms, from);
        }
    }

    /// A deadline may have ended it, so input may be discarded that the model answers.
    pub(crate) fn may_be_late(&self) -> bool {
        let Late { first_byte, message, input, output: _ } = self.late;
        self.idle_seen || first_byte || message || input
    }

    /// Where messages begin, as their framing says.
    fn follow_message(&mut self) {
        let before = self.framed;
        match self.speech {
            Speech::Bytes => self.framed = self.fed.len(),
            Speech::Lines | Speech::Dialog => {
                let end = self.fed[before..].iter().rposition(|byte| *byte == b'\n');
                self.framed += end.map_or(0, |end| end + 1);
            }
            Speech::Actor => {
                while let Some(len) = self.fed.get(self.framed)
                    && self.framed + usize::from(*len) < self.fed.len()
                {
                    self.framed += 1 + usize::from(*len);
                }
            }
        }
        if self.framed > before {
            self.unfinished_since = None;
        }
        if self.framed < self.fed.len() {
            self.unfinished_since.get_or_insert(self.turn_at);
        }
    }

    /// The connection asks for input.
    pub(crate) fn on_read(&mut self, in_flight: usize) {
        if self.fed_end {
            self.break_it(Invariant::Progress, "it reads behind the end of input");
        }
        // Without memory there are no last words that would tell of a deadline.
        let is_silent = self.facts.is_tight && self.may_be_late();
        if self.ending != Ending::Open || self.facts.close_asked || self.facts.drained || self.facts.cut || is_silent {
            return;
        }
        if !self.reading {
            self.break_it(Invariant::Bounds, "it reads though reading is disabled");
        }
        if let Some(call) = self.refused {
            self.break_it(Invariant::Bounds, format!("it reads while a call waits for room ({call:?})"));
        }
        if in_flight > 0 {
            self.break_it(Invariant::Bounds, "it reads while a file is being opened");
        }
    }

    pub(crate) fn on_fed(&mut self, bytes: &[u8], now: Time) {
        self.last_move = now;
        self.is_unanswered = true;
        self.fed.extend_from_slice(bytes);
        self.follow_message();
        self.advance();
    }

    pub(crate) fn on_fed_end(&mut self) {
        self.fed_end = true;
        self.advance();
    }

    pub(crate) fn on_taken(&mut self, bytes: &[u8], now: Time) {
        self.last_move = now;
        self.is_unanswered = false;
        self.taken_at = now;
        self.blocked_since = None;
        if self.half_closed {
            self.break_it(Invariant::Output, "bytes behind the half-close");
        }
        self.output.extend_from_slice(bytes);
        // Nothing follows last words.
        let known = if self.extra.is_empty() { bytes.len().min(self.expected.len() - self.taken) } else { 0 };
        let due = &self.expected[self.taken..self.taken + known];
        if bytes[..known] != *due && self.may_be_late() && self.speech != Speech::Actor {
            self.is_undecided = true;
        }
        if self.is_undecided {
            return;
        }
        if bytes[..known] != *due {
            let at = self.taken + bytes.iter().zip(due).take_while(|(a, b)| a == b).count();
            self.break_it(Invariant::Output, format!("byte {at} of the output is not what must stand there"));
        }
        self.taken += known;
        self.extra.extend_from_slice(&bytes[known..]);
        if self.extra.len() > drywire_core::ERROR_REPLY_BYTES {
            let extra = self.extra.len();
            self.break_it(Invariant::Output, format!("{extra} bytes of output that nobody owes"));
        }
    }

    pub(crate) fn on_blocked(&mut self, now: Time) {
        self.blocked_since.get_or_insert(now);
        self.refused_since.get_or_insert(self.turn_at);
    }

    pub(crate) fn on_half_close(&mut self, now: Time) {
        if self.half_closed {
            self.break_it(Invariant::Baseline, "it half-closes twice");
        }
        self.half_closed = true;
        self.half_closed_at = Some(now);
        let Facts { close_asked, drained, cut, heard_until, .. } = self.facts;
        // Commands end the wait for the peer's first word.
        let is_awaited = self.fed.is_empty() && !self.fed_end && now < heard_until && self.speech != Speech::Actor;
        let may = self.has_ended() || close_asked || self.may_be_late();
        if !may && drained && !cut && is_awaited {
            self.break_it(Invariant::Output, "it half-closes in a shutdown, and its peer has time to say something");
        }
        if !may && !drained {
            self.break_it(Invariant::Output, "it half-closes though nobody asked for it");
        }
    }

    /// A file is asked for.
    pub(crate) fn on_open(&mut self, id: FileId, name: &[u8]) {
        match self.speech {
            Speech::Bytes | Speech::Lines => self.break_it(Invariant::Output, "an echo opens a file"),
            Speech::Dialog => match &self.waiting {
                Some((_, asked)) if asked == name => {}
                Some(_) | None => self.break_it(Invariant::Output, format!("a file nobody asked for: {name:?}")),
            },
            Speech::Actor if self.opening == Some(id) => {}
            Speech::Actor => self.break_it(Invariant::Output, format!("{id:?} was asked for by no call that stands")),
        }
    }

    pub(crate) fn on_answer(&mut self, contents: Option<usize>, result: Result<u64, FileError>) {
        if self.speech != Speech::Dialog {
            return;
        }
        let Some((whole, _)) = self.waiting.take() else { return };
        match (result, contents) {
            (Ok(len), Some(contents)) => {
                self.expected.extend_from_slice(format!("OK {len}\n").as_bytes());
                if whole {
                    let contents = self.contents.clone()[contents][..len as usize].to_vec();
                    self.expected.extend_from_slice(&contents);
                }
            }
            (Err(error), _) => self.expected.extend_from_slice(format!("-550 {error}\n").as_bytes()),
            (Ok(_), None) => unreachable!("what was opened is one of the files"),
        }
        self.marks.push((self.scan, self.expected.len()));
        self.advance();
    }

    // What the actor tells.

    pub(crate) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    pub(crate) fn on_call(&mut self, call: Call, now: Time) {
        self.calls_in_turn += 1;
        // There is no other way out of a loop that does not end.
        assert!(self.calls_in_turn <= CALLS_PER_TURN, "a turn of more than {CALLS_PER_TURN} calls does not end");
        if self.ending > Ending::HalfClose {
            self.break_it(Invariant::Report, format!("a handler was called behind the end: {call:?}"));
        }
        if self.refused.is_some_and(|refused| core::mem::discriminant(&refused) == core::mem::discriminant(&call)) {
            self.refused = None;
        }
        match call {
            Call::Timer(index) if self.timers[index] > now => {
                let deadline = self.timers[index];
                self.break_it(Invariant::Progress, format!("timer {index} at {now:?}, it was set for {deadline:?}"));
            }
            Call::Room if self.room.is_none() => self.break_it(Invariant::Progress, "room nobody asked for"),
            Call::Timer(index) if self.timers.iter().any(|other| *other < self.timers[index]) => {
                self.break_it(Invariant::Output, format!("timer {index} before one that was due earlier"));
            }
            // Of what is owed, files are not in memory, and take no room.
            Call::Room if !self.has_files && self.lacks_room() => {
                self.break_it(Invariant::Bounds, "told that there is room, and there is not");
            }
            Call::Room if self.room == Some(None) && self.queued() > 0 => {
                self.break_it(Invariant::Progress, "told that nothing is owed, and there is");
            }
            Call::File(opened) if self.opening != Some(opened.id) => {
                self.break_it(Invariant::Report, format!("{:?} nobody asked for", opened.id));
            }
            Call::Open
            | Call::Consume
            | Call::EndOfInput
            | Call::Room
            | Call::Timer(_)
            | Call::Command(_)
            | Call::File(_)
            | Call::Drain => {}
        }
        if self.opening.is_some() && matches!(call, Call::Consume | Call::EndOfInput | Call::Command(_)) {
            self.break_it(Invariant::Output, format!("{call:?} while a file is being opened"));
        }
    }

    /// Bytes that are owed and have not left the queue, for the network or for the layer.
    fn queued(&self) -> usize {
        self.expected.len().saturating_sub(self.veiled.max(self.taken))
    }

    /// Bytes that the layer has put out and the network has not taken.
    pub(crate) fn veiled_ahead(&self) -> usize {
        self.veiled.saturating_sub(self.output.len())
    }

    fn lacks_room(&self) -> bool {
        let owed = self.queued();
        let cap = self.limits.output_bytes as usize;
        matches!(self.room, Some(Some(n)) if owed + n.min(cap) > cap)
    }

    pub(crate) fn on_refused(&mut self, call: Call, full: bool) {
        if full {
            self.refused = Some(call);
        } else {
            self.on_failed();
        }
    }

    pub(crate) fn on_failed(&mut self) {
        self.ending = Ending::Failed;
        self.ended_at.get_or_insert(self.turn_at);
    }

    pub(crate) fn on_ending(&mut self, ending: Ending) {
        self.output_ended |= ending >= Ending::HalfClose;
        self.ending = self.ending.max(ending);
        if self.ending >= Ending::Close {
            self.ended_at.get_or_insert(self.turn_at);
        }
    }

    pub(crate) fn on_emitted(&mut self, n: u32) {
        self.untold.extend(self.emitted..self.emitted + n);
        self.emitted += n;
        let (waiting, cap) = (self.untold.len(), usize::from(self.limits.events));
        if waiting > cap {
            self.break_it(Invariant::Bounds, format!("{waiting} events wait, {cap} may"));
        }
    }

    pub(crate) fn on_open_asked(&mut self, id: FileId) {
        self.opening = Some(id);
    }

    pub(crate) fn on_file_taken(&mut self, id: FileId) {
        self.has_files = true;
        if self.opening == Some(id) {
            self.opening = None;
        }
    }

    pub(crate) fn on_input(&mut self, bytes: &[u8]) {
        let from = self.consumed;
        if self.fed.get(from..from + bytes.len()) != Some(bytes) {
            self.break_it(Invariant::Output, format!("the input at {from} is not what came in"));
        }
    }

    pub(crate) fn on_need_more(&mut self, input: &[u8]) {
        self.on_input(input);
    }

    /// Commands that were not sent by a group and are not done, and their bytes.
    pub(crate) fn ordered(&self) -> (usize, usize) {
        let waiting = self.orders.iter().map(|orders| orders.len()).sum::<usize>();
        (waiting + usize::from(self.held > 0), self.weights.values().sum::<usize>() + self.held)
    }

    /// Commands that were accepted and not handled, and their bytes: at least and at most.
    pub(crate) fn waiting(&self) -> (RangeInclusive<usize>, RangeInclusive<usize>) {
        let (count, bytes) = self.ordered();
        let mut waiting = (count..=count, bytes..=bytes);
        for lane in &self.lanes {
            let (count, bytes) = lane.waiting();
            waiting.0 = waiting.0.start() + count.start()..=waiting.0.end() + count.end();
            waiting.1 = waiting.1.start() + bytes.start()..=waiting.1.end() + bytes.end();
        }
        waiting
    }

    /// A handler call is about to come back: whether it panics instead.
    pub(crate) fn is_to_panic(&mut self) -> bool {
        let now = self.panics_in == 1;
        self.panics_in = self.panics_in.saturating_sub(1);
        self.panics += u64::from(now);
        self.facts.panicked |= now;
        now
    }

    /// Its handler gave up: it is held to the end, and dropped with the connection.
    pub(crate) fn on_given_up(&mut self, serial: u32) {
        let own = self.weights.get(&serial).copied();
        let weight = own.or_else(|| self.lanes.iter().find_map(|lane| lane.weight_of(serial)));
        self.on_command(serial);
        self.handled.remove(&serial);
        self.held = weight.unwrap_or_default();
    }

    pub(crate) fn on_command(&mut self, serial: u32) {
        if serial & GROUP != 0 {
            if !self.lanes.iter_mut().any(|lane| lane.on_handled(serial)) {
                let number = serial ^ GROUP;
                self.break_it(Invariant::Output, format!("message {number} of the group out of order, or taken back"));
            }
            return;
        }
        self.weights.remove(&serial);
        self.handled.insert(serial, self.expected.len());
        match self.orders.iter_mut().find(|orders| orders.front() == Some(&serial)) {
            Some(orders) => drop(orders.pop_front()),
            None => self.break_it(Invariant::Output, format!("command {serial} out of its order, or twice")),
        }
    }
}
