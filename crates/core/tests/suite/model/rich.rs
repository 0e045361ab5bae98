//! A protocol that uses everything a `Context` offers, told what to do by bytes, so
//! that a generator or a fuzzer can drive it. It keeps a record of its own of what
//! it said, to compare with what a peer got.
//!
//! ```text
//! message: one byte, the length n ≤ 250, then n bytes: pairs of an operation and its argument
//! command: pairs
//! ```
//!
//! A message is one transaction. A length above 250 is an error of the peer.

use drywire_core::{Context, Failure, FileId, Full, Limits, Opened, Protocol, Reply, Stop, Timer};
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

/// The peer sent what is no message, or asked for this error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad;

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told so")
    }
}

type Cx<'a> = Context<'a, Rich>;
type Done<T = ()> = Result<T, Stop<Bad>>;

/// One thing a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Write three bytes for each of the argument.
    Write(u8),
    /// Write shared bytes, 512 and four for each of the argument.
    Shared(u8),
    Emit(u8),
    /// The timer of the lower two bits, in as many milliseconds as the others say.
    Arm(u8),
    Disarm(u8),
    /// Open the file of this length and content; the plan is in the lower bits.
    Open(u8),
    /// Ask for so much room; 255: until all is flushed.
    Room(u8),
    Pause,
    Resume,
    HalfClose,
    Close,
    Abort,
    Fail,
    /// A frame with its length before it, and an event in the middle.
    Frame(u8),
    Decimal(u8),
    Format(u8),
    /// Claim more input than there is.
    TakeTooMuch,
    /// Stream a file that is not at hand.
    StreamNothing(u8),
    /// Write, and do not look whether it went well.
    Careless(u8),
    /// Return the "full" of an earlier call.
    Stale,
    /// Do not close when the peer ends, or on a drain.
    Stay,
    /// Say that the message goes on behind this one.
    Part,
}

impl Op {
    /// How many there are: any byte is one, modulo this.
    pub(crate) const COUNT: u8 = 22;

    fn of(code: u8, arg: u8) -> Op {
        match code % Op::COUNT {
            0 => Op::Write(arg),
            1 => Op::Shared(arg),
            2 => Op::Emit(arg),
            3 => Op::Arm(arg),
            4 => Op::Disarm(arg),
            5 => Op::Open(arg),
            6 => Op::Room(arg),
            7 => Op::Pause,
            8 => Op::Resume,
            9 => Op::HalfClose,
            10 => Op::Close,
            11 => Op::Abort,
            12 => Op::Fail,
            13 => Op::Frame(arg),
            14 => Op::Decimal(arg),
            15 => Op::Format(arg),
            16 => Op::TakeTooMuch,
            17 => Op::StreamNothing(arg),
            18 => Op::Careless(arg),
            19 => Op::Stale,
            20 => Op::Stay,
            _ => Op::Part,
        }
    }

    /// What stands in a message or a command; half a pair at the end says nothing.
    pub(crate) fn all(pairs: &[u8]) -> impl Iterator<Item = Op> {
        pairs.chunks_exact(2).map(|pair| Op::of(pair[0], pair[1]))
    }
}

/// The longest message, in bytes behind its length.
pub(crate) const LONGEST: u8 = 250;

/// What a file holds at this place. Any two of them differ somewhere.
pub(crate) fn file_byte(name: u8, offset: u64) -> u8 {
    (offset % 251) as u8 ^ name
}

/// The length of the file of this name, in bytes; 0 among them.
pub(crate) fn file_len(name: u8) -> u64 {
    u64::from(name / 8) * 101
}

/// What an operation writes: letters that tell one operation from the next.
pub(crate) fn text(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| b'a' + u8::try_from((i + usize::from(seed)) % 26).expect("below 26")).collect()
}

/// What one call did so far, for the record.
#[derive(Default)]
struct Call {
    said: Vec<u8>,
    told: Vec<u32>,
    plan: Option<u8>,
    stay: bool,
    again: Option<u8>,
    too_much: bool,
    /// A refusal was ignored: the call will be undone.
    refused: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rich {
    /// Bytes of all calls that were committed, file contents included.
    pub(crate) said: Vec<u8>,
    /// Events of the same.
    pub(crate) told: Vec<u32>,
    /// Bytes of input that were handled.
    pub(crate) took: u64,
    /// Calls of any handler, those undone included.
    pub(crate) calls: usize,
    /// The error reply, as it was given.
    pub(crate) last_words: RefCell<Vec<u8>>,
    /// The file that was asked for last.
    plan: Option<u8>,
    /// How often `room` asks again without writing.
    again: u8,
    stays: bool,
    stale: Option<Full>,
    /// The file that was opened last.
    last: Option<FileId>,
}

impl Rich {
    fn count(&mut self) {
        self.calls += 1;
        assert!(self.calls < 1_000_000, "I3: the same call is made for ever");
    }

    fn perform_all(&mut self, pairs: &[u8], cx: &mut Cx<'_>) -> Done<Call> {
        let mut call = Call::default();
        for op in Op::all(pairs) {
            self.perform(op, cx, &mut call)?;
        }
        Ok(call)
    }

    fn perform(&mut self, op: Op, cx: &mut Cx<'_>, call: &mut Call) -> Done {
        match op {
            Op::Write(n) => {
                let bytes = text(usize::from(n) * 3, n);
                cx.write(&bytes)?;
                call.said.extend(bytes);
            }
            Op::Shared(n) => {
                let bytes = text(512 + usize::from(n) * 4, n);
                cx.write_shared(bytes.clone().into())?;
                call.said.extend(bytes);
            }
            Op::Emit(n) => {
                cx.emit(u32::from(n))?;
                call.told.push(u32::from(n));
            }
            Op::Arm(n) => cx.set_timer(Timer::new(n & 3), cx.now() + Duration::from_millis(u64::from(n >> 2))),
            Op::Disarm(n) => cx.clear_timer(Timer::new(n & 3)),
            Op::Open(name) => {
                cx.open_file(&[name])?;
                call.plan = Some(name);
            }
            Op::Room(255) => cx.request_room(None),
            Op::Room(n) => {
                cx.request_room(Some(usize::from(n) * 16));
                call.again = Some(n % 4);
            }
            Op::Pause => cx.disable_read(),
            Op::Resume => cx.enable_read(),
            Op::HalfClose => cx.half_close(),
            Op::Close => cx.close(),
            Op::Abort => cx.abort(),
            Op::Fail => return Err(Bad.into()),
            Op::Frame(n) => {
                let place = cx.reserve(2)?;
                cx.emit(7)?;
                let bytes = text(usize::from(n), n);
                cx.write(&bytes)?;
                let len = u16::try_from(cx.writer().since(&place)).expect("at most 255");
                cx.writer().fill(place, &len.to_be_bytes());
                call.told.push(7);
                call.said.extend(len.to_be_bytes());
                call.said.extend(bytes);
            }
            Op::Decimal(n) => {
                cx.decimal(n)?;
                call.said.extend(n.to_string().bytes());
            }
            Op::Format(n) => {
                // One piece, so that it is one write.
                let text = format!("{n:>4} {n:x}\n");
                write!(cx, "{text}")?;
                call.said.extend(text.bytes());
            }
            Op::TakeTooMuch => call.too_much = true,
            Op::StreamNothing(n) => {
                if let Some(id) = self.last {
                    cx.stream_file(id, 0, u64::from(n))?;
                    unreachable!("a file was streamed outside of the call that brought it");
                }
            }
            Op::Careless(n) => match cx.write(&text(usize::from(n) * 3, n)) {
                Ok(()) => call.said.extend(text(usize::from(n) * 3, n)),
                Err(stop) => {
                    call.refused = true;
                    if let Stop::Full(full) = stop {
                        self.stale = Some(full);
                    }
                }
            },
            Op::Stale => {
                if let Some(full) = self.stale.take() {
                    return Err(Stop::Full(full));
                }
            }
            Op::Stay => call.stay = true,
            Op::Part => cx.unfinished(),
        }
        Ok(())
    }

    /// The call is over; unless it will be undone, it counts.
    fn keep(&mut self, call: Call) {
        if call.refused {
            return;
        }
        self.said.extend(call.said);
        self.told.extend(call.told);
        self.plan = call.plan.or(self.plan);
        self.again = call.again.unwrap_or(self.again);
        self.stays |= call.stay;
    }
}

impl Protocol for Rich {
    type Event = u32;
    type Command = Vec<u8>;
    type Error = Bad;
    const LIMITS: Limits = Limits {
        input_bytes: 128,
        output_bytes: 2048,
        linger_bytes: 300,
        linger_ms: 40,
        stall_ms: 200,
        idle_ms: 500,
        first_byte_ms: 300,
        message_ms: 250,
        min_rate: 1000,
        rate_ms: 60,
        events: 3,
        files: 2,
    };

    fn consume(&mut self, input: &[u8], cx: &mut Cx<'_>) -> Done<usize> {
        self.count();
        let len = input[0];
        if len > LONGEST {
            return Err(Bad.into());
        }
        let Some(pairs) = input.get(1..1 + usize::from(len)) else { return Ok(0) };
        let call = self.perform_all(pairs, cx)?;
        let taken = 1 + pairs.len();
        if call.too_much {
            return Ok(input.len() + 1);
        }
        if !call.refused {
            self.took += taken as u64;
        }
        self.keep(call);
        Ok(taken)
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Done {
        self.count();
        cx.write(b"hello\n")?;
        self.said.extend(b"hello\n");
        Ok(())
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Cx<'_>) -> Done {
        self.count();
        // After a half-close of ours there is nothing to say.
        if !self.stays {
            cx.close();
        } else if !rest.is_empty() {
            cx.emit(100)?;
            self.told.push(100);
        }
        self.took += rest.len() as u64;
        Ok(())
    }

    fn room(&mut self, cx: &mut Cx<'_>) -> Done {
        self.count();
        match self.again {
            0 => {
                cx.write(b"r")?;
                self.said.push(b'r');
            }
            _ => {
                cx.request_room(None);
                self.again -= 1;
            }
        }
        Ok(())
    }

    fn timer(&mut self, timer: Timer, cx: &mut Cx<'_>) -> Done {
        self.count();
        if timer == Timer::new(0) {
            let bytes = text(100, 0);
            cx.write(&bytes)?;
            self.said.extend(bytes);
        } else if timer == Timer::new(1) {
            cx.emit(1000)?;
            self.told.push(1000);
        } else if timer == Timer::new(2) {
            cx.enable_read();
        } else {
            cx.close();
        }
        Ok(())
    }

    fn command(&mut self, command: &Vec<u8>, cx: &mut Cx<'_>) -> Done {
        self.count();
        let call = self.perform_all(command, cx)?;
        self.keep(call);
        Ok(())
    }

    /// By the lower bits of the name: whole, in two parts, not at all, or beyond its end.
    fn file(&mut self, opened: Opened, cx: &mut Cx<'_>) -> Done {
        self.count();
        let name = self.plan.expect("a file comes only after it was asked for");
        let mut said = Vec::new();
        match opened.result {
            Err(error) => {
                let text = format!("no file: {error}\n");
                cx.write(text.as_bytes())?;
                said.extend(text.bytes());
            }
            Ok(len) => {
                let ranges: &[(u64, u64)] = match name % 8 {
                    0..=3 => &[(0, len)],
                    4 | 5 => &[(len / 2, len - len / 2), (0, len / 2)],
                    6 => &[],
                    _ => &[(1, len)],
                };
                for (offset, len) in ranges {
                    let head = format!("{len}:");
                    cx.write(head.as_bytes())?;
                    cx.stream_file(opened.id, *offset, *len)?;
                    said.extend(head.bytes());
                    said.extend((*offset..offset + len).map(|at| file_byte(name, at)));
                }
            }
        }
        self.last = Some(opened.id);
        self.said.extend(said);
        Ok(())
    }

    fn drain(&mut self, cx: &mut Cx<'_>) -> Done {
        self.count();
        if !self.stays {
            cx.close();
        }
        Ok(())
    }

    fn error_reply(&self, why: &Failure<Bad>, reply: &mut Reply<'_>) {
        let text = format!("-500 {why}\n");
        reply.write(text.as_bytes());
        assert!(self.last_words.replace(text.into_bytes()).is_empty(), "one error reply");
    }
}
