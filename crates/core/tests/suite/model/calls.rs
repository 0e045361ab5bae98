//! The calls of the rich protocol's handlers, as the [`Reference`] makes them: what
//! an operation comes to, commit and undo, and the ways to an end.

use super::reference::{MS, Reference};
use super::rich::{Bad, LONGEST, Op, text};
use super::state::{Call, End, Ending, Full, Gate, InputEnd, OutputEnd, Owed, Phase, Refusal, RoomFor, Undo};
use drywire_core::{FileError, Limit, Misuse, Reason};

type Made<T = ()> = Result<T, Undo>;

impl Call {
    fn refuse(&mut self, refusal: Refusal) -> Made {
        self.refusal.get_or_insert(refusal);
        Err(Undo::Refused)
    }

    fn still_going(&self) -> Made {
        if self.refusal.is_some() { Err(Undo::Refused) } else { Ok(()) }
    }
}

impl Reference {
    fn write_bytes(&mut self, call: &mut Call, bytes: &[u8]) -> Made {
        self.admit(call, bytes.len())?;
        call.bytes += bytes.len();
        self.tx.owed.extend(bytes.iter().map(|byte| Owed::Byte(*byte)));
        Ok(())
    }

    /// May so many bytes more be written?
    fn admit(&mut self, call: &mut Call, n: usize) -> Made {
        call.still_going()?;
        if call.ended {
            return call.refuse(Refusal::Failed(Reason::Misuse(Misuse::WriteAfterEnd)));
        }
        if self.full_at > 0 {
            self.full_at -= 1;
            if self.full_at == 0 {
                return call.refuse(Refusal::Full(Full::Bytes));
            }
        }
        let cap = self.limits.output_bytes as usize;
        if call.bytes + n > cap {
            return call.refuse(Refusal::Failed(Reason::Limit(Limit::Output(cap))));
        }
        if self.owed_bytes() + n > cap {
            return call.refuse(Refusal::Full(Full::Bytes));
        }
        Ok(())
    }

    fn emit(&mut self, call: &mut Call, event: u32) -> Made {
        call.still_going()?;
        let cap = usize::from(self.limits.events);
        let waiting = self.tx.told.len() - self.heard;
        if waiting >= cap {
            return call.refuse(match waiting - call.events {
                0 => Refusal::Failed(Reason::Limit(Limit::Events(cap))),
                _ => Refusal::Full(Full::Events),
            });
        }
        call.events += 1;
        self.tx.told.push(event);
        Ok(())
    }

    fn open_file(&mut self, call: &mut Call, name: u8) -> Made {
        call.still_going()?;
        if self.tx.gate != Gate::Idle || self.limits.files == 0 {
            return call.refuse(Refusal::Failed(Reason::Limit(Limit::Opens)));
        }
        if self.owed_files() >= usize::from(self.limits.files) {
            return call.refuse(Refusal::Full(Full::Files));
        }
        call.changed = true;
        self.tx.gate = Gate::Asked;
        self.tx.asked_name = name;
        self.tx.next_file += 1;
        Ok(())
    }

    fn stream_file(&mut self, call: &mut Call, whole: u64, offset: u64, len: u64) -> Made {
        if offset + len > whole {
            return call.refuse(Refusal::Failed(Reason::Misuse(Misuse::FileRange)));
        }
        let cap = usize::from(self.limits.files);
        if call.parts >= cap {
            return call.refuse(Refusal::Failed(Reason::Limit(Limit::Parts(cap))));
        }
        self.admit(call, 0)?;
        if len > 0 {
            call.parts += 1;
            let (id, name) = (self.tx.next_file - 1, self.tx.asked_name);
            self.tx.owed.push_back(Owed::File { id, name, offset, left: len });
        }
        Ok(())
    }

    pub(super) fn end(&mut self, call: &mut Call, ending: Ending) {
        if self.tx.ending < ending {
            call.changed = true;
            self.tx.ending = ending;
        }
    }

    fn set_timer(&mut self, call: &mut Call, timer: u8, due: Option<u64>) {
        let timer = &mut self.tx.timers[usize::from(timer)];
        call.changed |= *timer != due;
        *timer = due;
    }

    pub(super) fn perform_all(&mut self, pairs: &[u8], call: &mut Call) -> Made {
        Op::all(pairs).try_for_each(|op| self.perform(op, call))
    }

    fn perform(&mut self, op: Op, call: &mut Call) -> Made {
        match op {
            Op::Write(n) => self.write_bytes(call, &text(usize::from(n) * 3, n))?,
            Op::Shared(n) => self.write_bytes(call, &text(512 + usize::from(n) * 4, n))?,
            Op::Emit(n) => self.emit(call, u32::from(n))?,
            Op::Arm(n) => {
                // A deadline that has passed is due right after this turn.
                let due = (self.now + u64::from(n >> 2) * MS).max(self.now + 1);
                self.set_timer(call, n & 3, Some(due));
            }
            Op::Disarm(n) => self.set_timer(call, n & 3, None),
            Op::Open(name) => self.open_file(call, name)?,
            Op::Room(255) => {
                call.changed = true;
                self.tx.room = RoomFor::Everything;
            }
            Op::Room(n) => {
                call.changed = true;
                self.tx.room = RoomFor::Bytes((usize::from(n) * 16).min(self.limits.output_bytes as usize));
                call.again = Some(n % 4);
            }
            Op::Pause | Op::Resume => {
                call.changed = true;
                self.tx.read_enabled = op == Op::Resume;
            }
            Op::HalfClose => {
                self.end(call, Ending::Half);
                call.ended = true;
            }
            Op::Close => self.end(call, Ending::Close),
            Op::Abort => self.end(call, Ending::Abort),
            Op::Fail => return Err(Undo::Gave(Reason::Peer(Bad))),
            Op::Frame(n) => {
                self.write_bytes(call, &u16::from(n).to_be_bytes())?;
                self.emit(call, 7)?;
                self.write_bytes(call, &text(usize::from(n), n))?;
            }
            Op::Decimal(n) => self.write_bytes(call, n.to_string().as_bytes())?,
            Op::Format(n) => self.write_bytes(call, format!("{n:>4} {n:x}\n").as_bytes())?,
            Op::TakeTooMuch => call.too_much = true,
            Op::StreamNothing(_) => {
                if self.opened_before {
                    call.refuse(Refusal::Failed(Reason::Misuse(Misuse::FileRange)))?;
                }
            }
            Op::Careless(n) => {
                if self.write_bytes(call, &text(usize::from(n) * 3, n)).is_err() {
                    self.has_stale |= matches!(call.refusal, Some(Refusal::Full(_)));
                }
            }
            Op::Stale => {
                if std::mem::take(&mut self.has_stale) {
                    return Err(Undo::Gave(Reason::Misuse(Misuse::StaleFull)));
                }
            }
            Op::Stay => call.stay = true,
            Op::Part => call.part = true,
        }
        Ok(())
    }

    /// One call, from here to commit or undo. What it comes to when it is kept.
    pub(super) fn call<T>(
        &mut self,
        timers: bool,
        body: impl FnOnce(&mut Reference, &mut Call) -> Made<T>,
    ) -> Option<T> {
        let made = self.try_call(timers, body)?;
        self.needs_more = false;
        self.room_in_vain = false;
        self.on_commit();
        Some(made)
    }

    fn try_call<T>(&mut self, timers: bool, body: impl FnOnce(&mut Reference, &mut Call) -> Made<T>) -> Option<T> {
        let before = self.tx.clone();
        let mut call = Call {
            refusal: None,
            ended: self.output_end != OutputEnd::Open,
            bytes: 0,
            events: 0,
            parts: 0,
            stay: false,
            again: None,
            too_much: false,
            part: false,
            changed: false,
        };
        let made = body(self, &mut call);
        let undone = match (call.refusal, made) {
            (None, Ok(made)) => {
                self.stays |= call.stay;
                self.again = call.again.unwrap_or(self.again);
                return Some(made);
            }
            (Some(refusal), _) => refusal,
            (None, Err(Undo::Gave(reason))) => Refusal::Failed(reason),
            (None, Err(Undo::Refused)) => unreachable!("a refusal is kept"),
        };
        self.tx = before;
        match undone {
            Refusal::Full(on) => self.blocked = Some((on, timers)),
            Refusal::Failed(reason) => self.fail(reason),
        }
        None
    }

    fn on_commit(&mut self) {
        match self.tx.ending {
            Ending::Not => {}
            Ending::Half => {
                if self.output_end == OutputEnd::Open {
                    self.output_end = OutputEnd::Asked;
                }
            }
            Ending::Close => self.begin_close(Reason::Finished),
            Ending::Abort => self.end_now(Reason::Aborted),
        }
    }

    pub(super) fn call_open(&mut self) {
        for _ in 0..2 {
            self.blocked = None;
            self.call(false, |model, call| model.write_bytes(call, b"hello\n"));
            if self.blocked.is_none() {
                return;
            }
        }
    }

    /// Message after message, up to one that asks for more than output and events.
    pub(super) fn consume(&mut self) {
        self.room_in_vain = false;
        while let Some(len) = self.unread.first().copied() {
            if len > LONGEST {
                self.fail(Reason::Peer(Bad));
                break;
            }
            let len = usize::from(len);
            let Some(pairs) = self.unread.get(1..=len).map(<[u8]>::to_vec) else {
                self.needs_more = true;
                break;
            };
            let made = self.try_call(false, |model, call| {
                model.perform_all(&pairs, call)?;
                if call.too_much {
                    return Err(Undo::Gave(Reason::Misuse(Misuse::ConsumedTooMuch)));
                }
                Ok((call.changed, call.part))
            });
            let Some((changed, part)) = made else { break };
            self.unread.drain(..=len);
            self.on_taken(part);
            if changed {
                self.needs_more = false;
                self.on_commit();
                break;
            }
        }
    }

    pub(super) fn call_room(&mut self) {
        let before = self.tx.owed.clone();
        self.call(false, |model, call| {
            model.tx.room = RoomFor::Nothing;
            if model.again == 0 {
                return model.write_bytes(call, b"r");
            }
            model.tx.room = RoomFor::Everything;
            model.again -= 1;
            Ok(())
        });
        self.room_in_vain = self.blocked.is_none() && self.tx.owed == before;
    }

    pub(super) fn call_timer(&mut self, timer: usize) {
        self.call(true, |model, call| {
            model.tx.timers[timer] = None;
            match timer {
                0 => model.write_bytes(call, &text(100, 0))?,
                1 => model.emit(call, 1000)?,
                2 => model.tx.read_enabled = true,
                _ => model.end(call, Ending::Close),
            }
            Ok(())
        });
    }

    pub(super) fn call_file(&mut self, result: Result<u64, FileError>) {
        let (id, name) = (self.tx.next_file - 1, self.tx.asked_name);
        let kept = self.call(false, |model, call| {
            model.tx.gate = Gate::Idle;
            let len = match result {
                Err(error) => return model.write_bytes(call, format!("no file: {error}\n").as_bytes()),
                Ok(len) => len,
            };
            let ranges = match name % 8 {
                0..=3 => vec![(0, len)],
                4 | 5 => vec![(len / 2, len - len / 2), (0, len / 2)],
                6 => vec![],
                _ => vec![(1, len)],
            };
            for (offset, part) in ranges {
                model.write_bytes(call, format!("{part}:").as_bytes())?;
                model.stream_file(call, len, offset, part)?;
            }
            Ok(())
        });
        self.opened_before |= kept.is_some();
        // Refused for now, it is answered still; else it is open only while it is queued.
        if !matches!(self.tx.gate, Gate::Answered(_)) && !self.holds(id) {
            self.files_open.remove(&id);
        }
    }

    pub(super) fn call_end(&mut self) {
        let rest = self.unread.len();
        let kept = self.call(false, |model, call| {
            if !model.stays {
                model.end(call, Ending::Close);
            } else if rest > 0 {
                model.emit(call, 100)?;
            }
            // It was handed over, so it is not discarded.
            model.unread.clear();
            Ok(())
        });
        if kept.is_some() || self.blocked.is_none() {
            self.input_end = InputEnd::Delivered;
        }
    }

    /// Last words, then the close.
    pub(super) fn fail(&mut self, reason: Reason<Bad>) {
        if self.output_end == OutputEnd::Open {
            let why = match &reason {
                Reason::Peer(error) => error.to_string(),
                Reason::Limit(limit) => limit.to_string(),
                Reason::Misuse(misuse) => misuse.to_string(),
                Reason::Finished
                | Reason::Requested
                | Reason::Transport(_)
                | Reason::File(_)
                | Reason::Layer(_)
                | Reason::Stalled
                | Reason::Aborted
                | Reason::Panicked
                | Reason::Shed => unreachable!("no failure of a call"),
            };
            self.tx.owed.extend(format!("-500 {why}\n").bytes().map(Owed::Byte));
        }
        self.begin_close(reason);
    }

    pub(super) fn begin_close(&mut self, reason: Reason<Bad>) {
        self.forget();
        if self.output_end == OutputEnd::Open {
            self.output_end = OutputEnd::Asked;
        }
        let until = self.now + u64::from(self.limits.linger_ms) * MS;
        self.phase = Phase::Flushing(End { reason, left: u64::from(self.limits.linger_bytes), until });
    }

    pub(super) fn end_now(&mut self, reason: Reason<Bad>) {
        if matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            return;
        }
        self.forget();
        for owed in std::mem::take(&mut self.tx.owed) {
            match owed {
                Owed::Byte(_) => self.counters.unsent += 1,
                Owed::File { id, left, .. } => {
                    self.counters.unsent += left;
                    self.files_open.remove(&id);
                }
            }
        }
        self.phase = Phase::Closing(reason);
    }

    /// From outside; a close that owes nothing any more stands.
    pub(super) fn cut_short(&mut self, cause: Reason<Bad>) {
        let reason = match &self.phase {
            Phase::Lingering(end) => end.reason.clone(),
            Phase::New | Phase::Active | Phase::Flushing(_) | Phase::Closing(_) | Phase::Closed => cause,
        };
        self.end_now(reason);
    }

    /// No handler is called any more.
    fn forget(&mut self) {
        self.counters.discarded += self.unread.len() as u64;
        self.unread.clear();
        self.tx.timers = [None; 4];
        match self.tx.gate {
            Gate::Idle | Gate::InFlight => {}
            Gate::Asked => self.tx.gate = Gate::Idle,
            Gate::Answered(_) => {
                self.files_open.remove(&(self.tx.next_file - 1));
                self.tx.gate = Gate::Idle;
            }
        }
        self.command = None;
        self.blocked = None;
        self.message = None;
    }
}
