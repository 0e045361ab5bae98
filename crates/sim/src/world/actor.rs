//! A protocol that uses everything a [`Context`] offers, in any order its peer asks
//! for, and tells its [`Record`] what it has done once it is done.
//!
//! ```text
//! → 3 <code> <code> <code>     one frame: one transaction of three deeds
//! ```
//!
//! What a code does is in [`Deed`]. The actor changes itself last, as every protocol
//! must; the record is how the checks know what was committed.

use super::record::{Call, Ending, Record};
use crate::Random;
use drywire_core::{Context, Failure, FileId, Opened, Protocol, Reply, Stop, Time, Timer};
use std::cell::RefCell;
use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

/// The deeds of a code: its lower half says which, the upper half how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Write,
    WriteMuch,
    WriteShared,
    Fill,
    Emit,
    SetTimer,
    ClearTimer,
    Open,
    Room,
    Flushed,
    Pause,
    EmitMany,
    Decimal,
    HalfClose,
    End,
    TimerNow,
}

impl Deed {
    const ALL: [Deed; 16] = [
        Deed::Write,
        Deed::WriteMuch,
        Deed::WriteShared,
        Deed::Fill,
        Deed::Emit,
        Deed::SetTimer,
        Deed::ClearTimer,
        Deed::Open,
        Deed::Room,
        Deed::Flushed,
        Deed::Pause,
        Deed::EmitMany,
        Deed::Decimal,
        Deed::HalfClose,
        Deed::End,
        Deed::TimerNow,
    ];
}

/// A code for a script. A polite peer asks for nothing whose place among the others
/// depends on time.
pub(crate) fn code(random: &mut Random, polite: bool) -> u8 {
    let deed = match random.between(0, 99) {
        0..=19 => Deed::Write,
        20..=27 => Deed::WriteMuch,
        28..=30 => Deed::WriteShared,
        31..=36 => Deed::Fill,
        37..=49 => Deed::Emit,
        50..=54 => Deed::Decimal,
        55..=64 => Deed::Open,
        65..=67 => Deed::EmitMany,
        _ if polite => Deed::Write,
        68..=77 => Deed::SetTimer,
        78..=80 => Deed::ClearTimer,
        81..=84 => Deed::Room,
        85..=88 => Deed::Flushed,
        89..=93 => Deed::Pause,
        94..=95 => Deed::TimerNow,
        96 => Deed::HalfClose,
        97 if random.one_in(2) => Deed::End,
        _ => Deed::Write,
    };
    (random.between(0, 15) << 4) as u8 | deed as u8
}

/// A command of the application: its number, and codes to perform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) serial: u32,
    pub(crate) codes: [u8; 3],
}

/// Why an actor gives up on its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

/// When reading goes on after a pause.
const RESUME: Timer = Timer::new(3);

/// See the top of the file.
pub(crate) struct Actor {
    pub(crate) record: Rc<RefCell<Record>>,
    pub(crate) files: Rc<Vec<Vec<u8>>>,
    /// Which file is being opened.
    asked: Option<u8>,
    /// The connection is to end at the next timer.
    ends_later: bool,
}

/// What a call has done so far; it counts when the call is through.
#[derive(Default)]
struct Done {
    out: Vec<u8>,
    events: u32,
    timers: [Option<Time>; Timer::COUNT],
    opened: Option<(FileId, u8)>,
    room: Option<Option<usize>>,
    reading: Option<bool>,
    ending: Option<Ending>,
}

impl Actor {
    pub(crate) fn new(record: Rc<RefCell<Record>>, files: Rc<Vec<Vec<u8>>>) -> Actor {
        Actor { record, files, asked: None, ends_later: false }
    }

    /// Bytes that say where in the output they stand.
    fn text(&self, done: &Done, len: usize) -> Vec<u8> {
        let at = self.record.borrow().expected.len() + done.out.len();
        (at..at + len).map(|at| (at.wrapping_mul(31) ^ (at >> 7)) as u8).collect()
    }

    fn write(&self, len: usize, done: &mut Done, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        if self.has_ended(done) {
            return Ok(());
        }
        let text = self.text(done, self.fitting(len));
        cx.write(&text)?;
        done.out.extend_from_slice(&text);
        Ok(())
    }

    /// One call stays within a third of what the output may hold, mostly.
    fn fitting(&self, len: usize) -> usize {
        len.min(self.record.borrow().limits.output_bytes as usize / 8)
    }

    fn has_ended(&self, done: &Done) -> bool {
        done.ending.is_some() || self.record.borrow().ending != Ending::Open
    }

    fn perform(&self, codes: &[u8], done: &mut Done, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        for code in codes {
            self.perform_one(Deed::ALL[usize::from(code & 15)], usize::from(code >> 4), done, cx)?;
        }
        Ok(())
    }

    fn perform_one(
        &self,
        deed: Deed,
        n: usize,
        done: &mut Done,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Stop<Refusal>> {
        match deed {
            Deed::Write => self.write(n * 3 + 1, done, cx),
            Deed::WriteMuch => self.write(n * 60 + 1, done, cx),
            Deed::WriteShared if self.has_ended(done) => Ok(()),
            Deed::WriteShared => {
                let text = self.text(done, self.fitting(n * 100 + 500));
                cx.write_shared(text.clone().into())?;
                done.out.extend_from_slice(&text);
                Ok(())
            }
            Deed::Fill if self.has_ended(done) => Ok(()),
            Deed::Fill => {
                let head = self.text(done, n % 8 + 1);
                let place = cx.reserve(head.len())?;
                done.out.extend_from_slice(&head);
                self.write(n, done, cx)?;
                cx.writer().fill(place, &head);
                Ok(())
            }
            Deed::Decimal if self.has_ended(done) => Ok(()),
            Deed::Decimal => {
                write!(cx, "<{n}>")?;
                cx.decimal(n)?;
                done.out.extend_from_slice(format!("<{n}>{n}").as_bytes());
                Ok(())
            }
            Deed::Emit => self.emit(done, cx),
            Deed::EmitMany => (0..n % 4).try_for_each(|_| self.emit(done, cx)),
            Deed::SetTimer => {
                let deadline = cx.now() + Duration::from_micros(n as u64 * 700 + 1);
                self.set_timer(n % 3, deadline, done, cx);
                Ok(())
            }
            Deed::TimerNow => {
                let now = cx.now();
                self.set_timer(2, now, done, cx);
                Ok(())
            }
            Deed::ClearTimer => {
                self.set_timer(n % 3, Time::NEVER, done, cx);
                Ok(())
            }
            Deed::Open if done.opened.is_some() || self.has_ended(done) || self.record.borrow().is_opening() => Ok(()),
            Deed::Open => {
                let name = [b'f', b'0' + n as u8 % 8];
                let id = cx.open_file(&name)?;
                done.opened = Some((id, n as u8));
                Ok(())
            }
            Deed::Room => {
                cx.request_room(Some(n * 40));
                done.room = Some(Some(n * 40));
                Ok(())
            }
            Deed::Flushed => {
                cx.request_room(None);
                done.room = Some(None);
                Ok(())
            }
            Deed::Pause => {
                cx.disable_read();
                done.reading = Some(false);
                let deadline = cx.now() + Duration::from_micros(n as u64 * 900 + 50);
                self.set_timer(3, deadline, done, cx);
                Ok(())
            }
            Deed::HalfClose => {
                cx.half_close();
                done.ending = done.ending.max(Some(Ending::HalfClose));
                // Somebody has to end it.
                let deadline = cx.now() + Duration::from_millis(n as u64 + 1);
                self.set_timer(0, deadline, done, cx);
                Ok(())
            }
            Deed::End => match n {
                0..=4 => {
                    cx.close();
                    done.ending = done.ending.max(Some(Ending::Close));
                    Ok(())
                }
                5..=7 => {
                    cx.abort();
                    done.ending = done.ending.max(Some(Ending::Abort));
                    Ok(())
                }
                8..=10 => Err(Refusal.into()),
                11 => cx.write(&vec![0; self.record.borrow().limits.output_bytes as usize + 1]),
                12 => cx.open_file(b"f0").and_then(|_| cx.open_file(b"f1")).map(|_| ()),
                _ if self.record.borrow().ending == Ending::HalfClose => cx.write(b"too late"),
                _ => Ok(()),
            },
        }
    }

    fn emit(&self, done: &mut Done, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        // Not more than can ever wait.
        if done.events >= u32::from(self.record.borrow().limits.events) {
            return Ok(());
        }
        cx.emit(self.record.borrow().emitted + done.events)?;
        done.events += 1;
        Ok(())
    }

    fn set_timer(&self, index: usize, deadline: Time, done: &mut Done, cx: &mut Context<'_, Self>) {
        let deadline = deadline.max(cx.now() + Duration::from_nanos(1));
        cx.set_timer(Timer::new(index as u8), deadline);
        done.timers[index] = Some(deadline);
    }

    /// A call, and what the record hears of it.
    fn call(
        &mut self,
        call: Call,
        cx: &mut Context<'_, Self>,
        body: impl FnOnce(&Self, &mut Done, &mut Context<'_, Self>) -> Result<(), Stop<Refusal>>,
    ) -> Result<(), Stop<Refusal>> {
        let now = cx.now();
        self.record.borrow_mut().on_call(call, now);
        let mut done = Done::default();
        let result = body(self, &mut done, cx);
        if self.record.borrow_mut().is_to_panic() {
            // Without the hook, which is for those that nobody planned.
            resume_unwind(Box::new("on purpose"));
        }
        match result {
            Ok(()) => {}
            Err(stop) => {
                self.record.borrow_mut().on_refused(call, matches!(stop, Stop::Full(_)));
                return Err(stop);
            }
        }
        let record = &mut *self.record.borrow_mut();
        record.expected.extend_from_slice(&done.out);
        record.on_emitted(done.events);
        for (timer, deadline) in record.timers.iter_mut().zip(done.timers) {
            *timer = deadline.unwrap_or(*timer);
        }
        if let Some((id, n)) = done.opened {
            record.on_open_asked(id);
            self.asked = Some(n);
        }
        if let Some(room) = done.room {
            record.room = Some(room);
        }
        record.reading = done.reading.unwrap_or(record.reading);
        record.on_ending(done.ending.unwrap_or(Ending::Open));
        Ok(())
    }
}

impl Protocol for Actor {
    type Event = u32;
    type Command = Order;
    type Error = Refusal;

    fn weigh(command: &Order) -> usize {
        size_of::<Order>() + usize::from(command.codes[0])
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Refusal>> {
        let len = usize::from(input[0]);
        let Some(codes) = input.get(1..=len) else {
            self.record.borrow_mut().on_need_more(input);
            return Ok(0);
        };
        self.record.borrow_mut().on_input(&input[..=len]);
        self.call(Call::Consume, cx, |actor, done, cx| actor.perform(codes, done, cx))?;
        self.record.borrow_mut().consumed += len + 1;
        Ok(len + 1)
    }

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        self.call(Call::Open, cx, |actor, done, cx| actor.write(5, done, cx))
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        let later = self.record.borrow().fed.len() % 5 == 1;
        self.call(Call::EndOfInput, cx, |actor, done, cx| {
            actor.write(3, done, cx)?;
            if later {
                let deadline = cx.now() + Duration::from_millis(2);
                actor.set_timer(1, deadline, done, cx);
            } else {
                cx.close();
                done.ending = Some(Ending::Close);
            }
            Ok(())
        })?;
        self.ends_later = later;
        let mut record = self.record.borrow_mut();
        record.on_input(rest);
        record.consumed += rest.len();
        record.end_delivered = true;
        Ok(())
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        self.call(Call::Room, cx, |actor, done, cx| actor.write(2, done, cx))?;
        self.record.borrow_mut().room = None;
        Ok(())
    }

    fn timer(&mut self, timer: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        let index = (0..Timer::COUNT).find(|n| Timer::new(*n as u8) == timer).expect("a timer has a number");
        let ends = self.ends_later || self.record.borrow().ending == Ending::HalfClose;
        self.call(Call::Timer(index), cx, |actor, done, cx| {
            // It is disarmed by the call itself.
            done.timers[index] = Some(Time::NEVER);
            if timer == RESUME {
                cx.enable_read();
                done.reading = Some(true);
                return Ok(());
            }
            actor.write(4, done, cx)?;
            actor.emit(done, cx)?;
            if ends {
                cx.close();
                done.ending = Some(Ending::Close);
            }
            Ok(())
        })
    }

    fn command(&mut self, command: &Order, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        let call = Call::Command(command.serial);
        let result = self.call(call, cx, |actor, done, cx| actor.perform(&command.codes, done, cx));
        match result {
            Ok(()) => self.record.borrow_mut().on_command(command.serial),
            Err(Stop::Full(_)) => {}
            Err(_) => self.record.borrow_mut().on_given_up(command.serial),
        }
        result
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        let asked = usize::from(self.asked.unwrap_or_default());
        self.call(Call::File(opened), cx, |actor, done, cx| {
            let (Ok(len), false) = (opened.result, actor.has_ended(done)) else { return actor.write(2, done, cx) };
            if asked > 12 {
                // Not wanted any more.
                return actor.write(1, done, cx);
            }
            let contents = &actor.files[asked % 8][..len as usize];
            let half = if actor.record.borrow().limits.files > 1 { contents.len() / 2 } else { contents.len() };
            actor.write(2, done, cx)?;
            cx.stream_file(opened.id, 0, half as u64)?;
            done.out.extend_from_slice(&contents[..half]);
            actor.write(7, done, cx)?;
            if half < contents.len() {
                cx.stream_file(opened.id, half as u64, len - half as u64)?;
                done.out.extend_from_slice(&contents[half..]);
            }
            actor.emit(done, cx)
        })?;
        self.record.borrow_mut().on_file_taken(opened.id);
        Ok(())
    }

    fn drain(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Refusal>> {
        self.call(Call::Drain, cx, |actor, done, cx| {
            actor.write(3, done, cx)?;
            cx.close();
            done.ending = Some(Ending::Close);
            Ok(())
        })
    }

    fn error_reply(&self, why: &Failure<Refusal>, reply: &mut Reply<'_>) {
        self.record.borrow_mut().on_failed();
        writeln!(reply, "error: {why}");
    }
}
