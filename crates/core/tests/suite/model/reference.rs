//! What a connection is supposed to do, said a second time and naively: the queue is
//! a queue of single bytes, and to undo a call is to put a copy back.
//!
//! Nothing here calls the library; limits and errors are its words, the rest is its
//! documentation. What comes in is an [`Input`], each followed by one whole turn.

use super::rich::{Bad, file_byte, file_len};
use super::slow::{Left, Message};
use super::state::{Asked, Ending, Full, Gate, Input, InputEnd, OutputEnd, Owed, Phase, RoomFor, Seen, Undoable};
use drywire_core::{Counters, FileError, Limit, Limits, Reason, TransportError};
use std::collections::{BTreeMap, VecDeque};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(super) limits: Limits,
    pub(crate) now: u64,
    // The world around it.
    pub(super) incoming: VecDeque<u8>,
    pub(super) peer_ended: bool,
    pub(super) peer_reset: bool,
    pub(super) room: usize,
    pub(super) got: Vec<u8>,
    pub(super) files_open: BTreeMap<u32, u8>,
    pub(super) files_asked: u32,
    /// Events that the application took.
    pub(super) heard: usize,
    /// The transport may have something.
    pub(super) may_read: bool,
    pub(super) half_closed: bool,
    pub(super) closes: Vec<Reason<Bad>>,
    // The connection.
    pub(super) phase: Phase,
    pub(super) unread: Vec<u8>,
    pub(super) needs_more: bool,
    pub(super) tx: Undoable,
    pub(super) command: Option<Vec<u8>>,
    pub(super) asked: Asked,
    pub(super) blocked: Option<(Full, bool)>,
    pub(super) input_end: InputEnd,
    pub(super) output_end: OutputEnd,
    pub(super) write_blocked: bool,
    pub(super) blocked_since: Option<u64>,
    pub(super) last_move: u64,
    pub(super) unheard_since: Option<u64>,
    pub(super) message: Option<Message>,
    /// How fast what is owed is taken.
    pub(super) pace: Option<Left>,
    pub(super) fault: Option<TransportError>,
    pub(super) counters: Counters,
    pub(super) reading: bool,
    pub(super) room_in_vain: bool,
    pub(super) full_at: u32,
    // The protocol.
    pub(super) stays: bool,
    pub(super) again: u8,
    pub(super) has_stale: bool,
    pub(super) opened_before: bool,
}

/// Nanoseconds in a millisecond.
pub(super) const MS: u64 = 1_000_000;

pub(super) fn after(ms: u32, since: u64) -> Option<u64> {
    (ms > 0).then(|| since + u64::from(ms) * MS)
}

impl Reference {
    pub(crate) fn new(limits: Limits) -> Reference {
        let tx = Undoable {
            owed: VecDeque::new(),
            told: Vec::new(),
            timers: [None; 4],
            gate: Gate::Idle,
            asked_name: 0,
            next_file: 0,
            room: RoomFor::Nothing,
            read_enabled: true,
            ending: Ending::Not,
        };
        Reference {
            limits,
            now: 0,
            incoming: VecDeque::new(),
            peer_ended: false,
            peer_reset: false,
            room: 0,
            got: Vec::new(),
            files_open: BTreeMap::new(),
            files_asked: 0,
            heard: 0,
            may_read: true,
            half_closed: false,
            closes: Vec::new(),
            phase: Phase::New,
            unread: Vec::new(),
            needs_more: false,
            tx,
            command: None,
            asked: Asked::Nothing,
            blocked: None,
            input_end: InputEnd::Open,
            output_end: OutputEnd::Open,
            write_blocked: false,
            blocked_since: None,
            last_move: 0,
            unheard_since: None,
            message: None,
            pace: None,
            fault: None,
            counters: Counters::default(),
            reading: true,
            room_in_vain: false,
            full_at: 0,
            stays: false,
            again: 0,
            has_stale: false,
            opened_before: false,
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            got: self.got.escape_ascii().to_string(),
            told: self.tx.told.clone(),
            files_open: self.files_open.keys().copied().collect(),
            files_asked: self.files_asked,
            half_closed: self.half_closed,
            closes: self.closes.clone(),
            counters: self.counters,
            wait: match self.phase {
                Phase::Closed => (false, false, None),
                Phase::New | Phase::Active | Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) => {
                    (self.reading, self.write_blocked, self.deadline())
                }
            },
            takes_command: self.takes_command(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.tx.gate == Gate::InFlight
    }

    pub(crate) fn takes_command(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Active)
            && self.command.is_none()
            && self.asked == Asked::Nothing
            && self.blocked.is_none()
            && self.tx.gate == Gate::Idle
            && self.tx.ending < Ending::Close
    }

    /// One input, then a turn.
    pub(crate) fn apply(&mut self, input: &Input) {
        self.room_in_vain = false;
        match input {
            Input::Feed(bytes) => self.incoming.extend(bytes),
            Input::PeerEnds => self.peer_ended = true,
            Input::PeerResets => self.peer_reset = true,
            Input::Room(n) => self.room += n,
            Input::Command(command) => {
                if self.takes_command() {
                    self.command = Some(command.clone());
                    while (self.command.is_some() || self.has_unseen_input()) && self.advance() {}
                }
            }
            Input::FileAnswer(result) => self.on_file_answer(*result),
            Input::TransportFails(error) => _ = self.fault.get_or_insert(*error),
            Input::Drain => self.ask(Asked::Drain),
            Input::Close => self.ask(Asked::Close),
            Input::Abort => self.cut_short(Reason::Aborted),
            Input::Later(ms) => self.now += ms * MS,
            Input::FullAt(n) => self.full_at = *n,
        }
        self.turn();
    }

    fn has_unseen_input(&self) -> bool {
        !self.needs_more && !self.unread.is_empty()
    }

    fn ask(&mut self, asked: Asked) {
        if self.asked < asked {
            self.asked = asked;
        }
    }

    fn on_file_answer(&mut self, result: Result<(), FileError>) {
        if self.phase == Phase::Closed || self.tx.gate != Gate::InFlight {
            return;
        }
        let (id, name) = (self.tx.next_file - 1, self.tx.asked_name);
        if result.is_ok() {
            self.files_open.insert(id, name);
        }
        match self.phase {
            Phase::New | Phase::Active => self.tx.gate = Gate::Answered(result.map(|()| file_len(name))),
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {
                self.tx.gate = Gate::Idle;
                self.files_open.remove(&id);
            }
        }
    }

    /// As long as anything can be done, the transport's calls first.
    fn turn(&mut self) {
        self.write_blocked = false;
        self.may_read = self.read();
        loop {
            self.settle();
            if self.is_closed() || !self.reading || !self.may_read {
                return;
            }
            self.may_read = self.read();
        }
    }

    /// False when the transport has nothing, or nobody wants it.
    fn read(&mut self) -> bool {
        if self.phase == Phase::New {
            self.advance();
        }
        let quota = match &self.phase {
            Phase::Active if self.wants_input() => self.limits.input_bytes as usize - self.unread.len(),
            Phase::Flushing(end) | Phase::Lingering(end) if self.wants_input() => end.left as usize,
            Phase::New
            | Phase::Active
            | Phase::Flushing(_)
            | Phase::Lingering(_)
            | Phase::Closing(_)
            | Phase::Closed => {
                // Not asked, so what is there stays news.
                return true;
            }
        };
        if self.incoming.is_empty() {
            if self.peer_reset {
                _ = self.fault.get_or_insert(TransportError::Reset);
            } else if self.peer_ended && self.input_end == InputEnd::Open {
                self.input_end = InputEnd::Ended;
            }
            return false;
        }
        let n = quota.min(self.incoming.len());
        let bytes: Vec<u8> = self.incoming.drain(..n).collect();
        self.counters.received += n as u64;
        self.last_move = self.now;
        self.unheard_since = None;
        match &mut self.phase {
            Phase::Flushing(end) | Phase::Lingering(end) => {
                end.left -= n as u64;
                self.counters.discarded += n as u64;
            }
            Phase::New | Phase::Active | Phase::Closing(_) | Phase::Closed => {
                self.unread.extend(bytes);
                self.needs_more = false;
            }
        }
        true
    }

    fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::New | Phase::Active => {
                self.input_end == InputEnd::Open
                    && self.tx.read_enabled
                    && self.tx.gate == Gate::Idle
                    && self.blocked.is_none()
                    && (self.needs_more || self.unread.is_empty())
            }
            Phase::Flushing(end) | Phase::Lingering(end) => {
                self.input_end == InputEnd::Open && self.now < end.until && end.left > 0
            }
            Phase::Closing(_) | Phase::Closed => false,
        }
    }

    /// Until there is nothing to do but wait.
    fn settle(&mut self) {
        for _ in 0..1_000_000 {
            if self.heard < self.tx.told.len() {
                // The application takes it and goes on with the turn, which reads first.
                self.heard += 1;
                self.may_read = self.may_read && self.read();
                continue;
            }
            if let Phase::Closing(reason) = &self.phase {
                self.closes.push(reason.clone());
                self.phase = Phase::Closed;
            }
            if self.phase == Phase::Closed {
                return;
            }
            if self.tx.gate == Gate::Asked {
                self.tx.gate = Gate::InFlight;
                self.files_asked += 1;
            }
            if self.advance() || (!self.write_blocked && (self.write() || self.finish_output())) {
                continue;
            }
            self.follow();
            self.set_reading(self.wants_input());
            if !self.expire() {
                return;
            }
        }
        panic!("the model never waits");
    }

    /// Offers the bytes up to the next file, or the file. False when nothing is owed.
    fn write(&mut self) -> bool {
        let Some(front) = self.tx.owed.front().copied() else { return false };
        let before = self.room;
        match front {
            Owed::Byte(_) => {
                while self.room > 0
                    && let Some(Owed::Byte(byte)) = self.tx.owed.front().copied()
                {
                    self.got.push(byte);
                    self.tx.owed.pop_front();
                    self.room -= 1;
                }
            }
            Owed::File { id, name, offset, left } => {
                let n = left.min(self.room as u64);
                self.got.extend((offset..offset + n).map(|at| file_byte(name, at)));
                self.room -= n as usize;
                if n == left {
                    self.tx.owed.pop_front();
                    if !self.holds(id) {
                        self.files_open.remove(&id);
                    }
                } else {
                    self.tx.owed[0] = Owed::File { id, name, offset: offset + n, left: left - n };
                }
            }
        }
        let n = (before - self.room) as u64;
        if n == 0 {
            self.write_blocked = true;
            self.blocked_since = Some(self.blocked_since.unwrap_or(self.now));
        } else {
            self.counters.sent += n;
            self.last_move = self.now;
            self.unheard_since = self.unheard_since.map(|_| self.now);
            self.blocked_since = None;
        }
        true
    }

    pub(super) fn holds(&self, wanted: u32) -> bool {
        self.tx.owed.iter().any(|owed| matches!(owed, Owed::File { id, .. } if *id == wanted))
    }

    pub(super) fn owed_bytes(&self) -> usize {
        self.tx.owed.iter().filter(|owed| matches!(owed, Owed::Byte(_))).count()
    }

    pub(super) fn owed_files(&self) -> usize {
        self.tx.owed.len() - self.owed_bytes()
    }

    fn finish_output(&mut self) -> bool {
        if !self.tx.owed.is_empty() {
            return false;
        }
        let may_linger = matches!(self.phase, Phase::Flushing(_) | Phase::Lingering(_)) && self.wants_input();
        match self.output_end {
            OutputEnd::Open => false,
            OutputEnd::Asked => {
                self.output_end = OutputEnd::Sealed;
                true
            }
            OutputEnd::Sealed => {
                self.output_end = OutputEnd::Done;
                self.half_closed |= matches!(self.phase, Phase::Active) || may_linger;
                true
            }
            OutputEnd::Done => match self.phase.clone() {
                Phase::Flushing(end) if may_linger => {
                    self.phase = Phase::Lingering(end);
                    true
                }
                Phase::Flushing(end) => {
                    self.end_now(end.reason);
                    true
                }
                Phase::Lingering(end) if !may_linger => {
                    self.end_now(end.reason);
                    true
                }
                Phase::New | Phase::Active | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => false,
            },
        }
    }

    fn stall_deadline(&self) -> Option<u64> {
        let since = self.blocked_since?;
        let enough = self.pace.map(|pace| pace.until());
        [after(self.limits.stall_ms, since), enough].into_iter().flatten().min()
    }

    fn idle_deadline(&self) -> Option<u64> {
        if self.tx.gate != Gate::Idle || self.input_end != InputEnd::Open {
            return None;
        }
        after(self.limits.idle_ms, self.last_move)
    }

    fn timer_deadline(&self) -> Option<u64> {
        if self.blocked.is_some_and(|(_, timers)| timers) {
            return None;
        }
        self.tx.timers.iter().flatten().min().copied()
    }

    fn deadline(&self) -> Option<u64> {
        let all = match &self.phase {
            Phase::New => vec![Some(0)],
            Phase::Active => {
                let too_slow = self.too_slow();
                let since = too_slow.into_iter().map(|(deadline, _)| deadline);
                since.chain([self.timer_deadline(), self.idle_deadline(), self.stall_deadline()]).collect()
            }
            Phase::Flushing(end) if self.reading => vec![Some(end.until), self.stall_deadline()],
            Phase::Flushing(_) => vec![self.stall_deadline()],
            Phase::Lingering(end) => vec![Some(end.until)],
            Phase::Closing(_) | Phase::Closed => vec![],
        };
        all.into_iter().flatten().min()
    }

    fn expire(&mut self) -> bool {
        let now = self.now;
        let is_past = |deadline: Option<u64>| deadline.is_some_and(|deadline| now >= deadline);
        let (stalled, idle) = (is_past(self.stall_deadline()), is_past(self.idle_deadline()));
        let too_slow = self.too_slow().into_iter().find(|(deadline, _)| is_past(*deadline)).map(|(_, limit)| limit);
        let idle = idle.then_some(Limit::Idle(self.limits.idle_ms));
        match self.phase {
            Phase::Active | Phase::Flushing(_) if stalled => self.end_now(Reason::Stalled),
            Phase::Active => match too_slow.or(idle) {
                Some(limit) => self.fail(Reason::Limit(limit)),
                None => return false,
            },
            Phase::New | Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => return false,
        }
        true
    }

    /// The next call that can be made.
    fn advance(&mut self) -> bool {
        if let Some(error) = self.fault.take() {
            self.cut_short(Reason::Transport(error));
            return true;
        }
        if self.phase == Phase::New {
            self.phase = Phase::Active;
            self.last_move = self.now;
            self.unheard_since = Some(self.now);
            self.call_open();
            return true;
        }
        if self.phase != Phase::Active {
            return false;
        }
        if let Some(due) = self.timer_deadline().filter(|due| self.now >= *due) {
            let timer = self.tx.timers.iter().position(|at| *at == Some(due)).expect("it is one of them");
            self.call_timer(timer);
            return true;
        }
        if let Some((on, timers)) = self.blocked {
            let free = match on {
                Full::Bytes => self.owed_bytes() == 0,
                Full::Events => self.heard == self.tx.told.len(),
                Full::Files => self.owed_files() < usize::from(self.limits.files),
            };
            if !free {
                return false;
            }
            self.blocked = None;
            if timers {
                return true;
            }
        }
        match self.tx.gate {
            Gate::Answered(result) => {
                self.call_file(result);
                return true;
            }
            Gate::Asked | Gate::InFlight => return false,
            Gate::Idle => {}
        }
        let room = match self.tx.room {
            RoomFor::Nothing => false,
            RoomFor::Bytes(n) => self.owed_bytes() + n <= self.limits.output_bytes as usize,
            RoomFor::Everything => self.tx.owed.is_empty(),
        };
        if room && !self.room_in_vain {
            self.call_room();
            return true;
        }
        if let Some(command) = self.command.take() {
            self.call(false, |model, call| model.perform_all(&command, call).map(|()| 0));
            if self.blocked.is_some() {
                self.command = Some(command);
            }
            return true;
        }
        match self.asked {
            Asked::Nothing => {}
            Asked::Drain => {
                self.asked = Asked::Nothing;
                self.call(false, |model, call| {
                    if !model.stays {
                        model.end(call, Ending::Close);
                    }
                    Ok(0)
                });
                return true;
            }
            Asked::Close => {
                self.begin_close(Reason::Requested);
                return true;
            }
        }
        if !self.tx.read_enabled {
            return false;
        }
        if !self.needs_more && !self.unread.is_empty() {
            self.consume();
            return true;
        }
        let cap = self.limits.input_bytes as usize;
        if self.needs_more && self.unread.len() >= cap {
            self.fail(Reason::Limit(Limit::Input(cap)));
            return true;
        }
        if self.input_end == InputEnd::Ended {
            self.call_end();
            return true;
        }
        false
    }
}
