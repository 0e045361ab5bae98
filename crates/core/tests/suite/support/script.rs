//! Two protocols that do as they are told: `Hooks` by closures of the test,
//! `Script` by what its peer sends, so that a generator can drive it.

use drywire_core::{Context, Failure, FileId, Limits, Opened, Protocol, Reply, Stop, Time, Timer};
use std::time::Duration;

/// The error of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad(pub(crate) &'static str);

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

pub(crate) type Cx<'a> = Context<'a, Hooks>;
pub(crate) type Done<T = ()> = Result<T, Stop<Bad>>;
type On<T> = Box<dyn FnMut(T, &mut Cx<'_>) -> Done>;
type OnInput<T> = Box<dyn FnMut(&[u8], &mut Cx<'_>) -> Done<T>>;
type OnFailure = Box<dyn Fn(&Failure<Bad>, &mut Reply<'_>)>;

/// A protocol of closures. Without any it takes and ignores whole input.
pub(crate) struct Hooks {
    consume: OnInput<usize>,
    end: OnInput<()>,
    cut: On<()>,
    open: On<()>,
    room: On<()>,
    timer: On<Timer>,
    command: On<u32>,
    file: On<Opened>,
    drain: On<()>,
    upgraded: On<()>,
    reply: OnFailure,
    /// Calls of any handler, those undone included.
    pub(crate) calls: usize,
}

/// A call that is made again and again within one poll hangs nowhere else.
fn counted(calls: usize) -> usize {
    assert!(calls < 1_000_000, "I3: the same call is made for ever");
    calls + 1
}

fn nothing<T>() -> On<T> {
    Box::new(|_, _| Ok(()))
}

impl Hooks {
    pub(crate) fn new() -> Hooks {
        Hooks {
            consume: Box::new(|input, _| Ok(input.len())),
            end: Box::new(|_, cx| {
                cx.close();
                Ok(())
            }),
            cut: Box::new(|(), cx| {
                cx.close();
                Ok(())
            }),
            open: nothing(),
            room: nothing(),
            timer: nothing(),
            command: nothing(),
            file: nothing(),
            drain: Box::new(|(), cx| {
                cx.close();
                Ok(())
            }),
            upgraded: nothing(),
            reply: Box::new(|why, reply| write!(reply, "-500 {why}\r\n")),
            calls: 0,
        }
    }

    pub(crate) fn on_consume(mut self, f: impl FnMut(&[u8], &mut Cx<'_>) -> Done<usize> + 'static) -> Hooks {
        self.consume = Box::new(f);
        self
    }

    pub(crate) fn on_end(mut self, f: impl FnMut(&[u8], &mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.end = Box::new(f);
        self
    }

    pub(crate) fn on_cut(mut self, mut f: impl FnMut(&mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.cut = Box::new(move |(), cx| f(cx));
        self
    }

    pub(crate) fn on_open(mut self, mut f: impl FnMut(&mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.open = Box::new(move |(), cx| f(cx));
        self
    }

    pub(crate) fn on_room(mut self, mut f: impl FnMut(&mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.room = Box::new(move |(), cx| f(cx));
        self
    }

    pub(crate) fn on_timer(mut self, f: impl FnMut(Timer, &mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.timer = Box::new(f);
        self
    }

    pub(crate) fn on_command(mut self, f: impl FnMut(u32, &mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.command = Box::new(f);
        self
    }

    pub(crate) fn on_file(mut self, f: impl FnMut(Opened, &mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.file = Box::new(f);
        self
    }

    pub(crate) fn on_drain(mut self, mut f: impl FnMut(&mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.drain = Box::new(move |(), cx| f(cx));
        self
    }

    pub(crate) fn on_upgraded(mut self, mut f: impl FnMut(&mut Cx<'_>) -> Done + 'static) -> Hooks {
        self.upgraded = Box::new(move |(), cx| f(cx));
        self
    }

    pub(crate) fn on_reply(mut self, f: impl Fn(&Failure<Bad>, &mut Reply<'_>) + 'static) -> Hooks {
        self.reply = Box::new(f);
        self
    }
}

impl Protocol for Hooks {
    type Event = u32;
    type Command = u32;
    type Error = Bad;
    const LIMITS: Limits = Limits { input_bytes: 1024, output_bytes: 4096, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Cx<'_>) -> Done<usize> {
        self.calls = counted(self.calls);
        (self.consume)(input, cx)
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.open)((), cx)
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.end)(rest, cx)
    }

    fn input_cut(&mut self, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.cut)((), cx)
    }

    fn room(&mut self, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.room)((), cx)
    }

    fn timer(&mut self, timer: Timer, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.timer)(timer, cx)
    }

    fn command(&mut self, command: &u32, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.command)(*command, cx)
    }

    fn file(&mut self, opened: Opened, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.file)(opened, cx)
    }

    fn drain(&mut self, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.drain)((), cx)
    }

    fn upgraded(&mut self, cx: &mut Cx<'_>) -> Done {
        self.calls = counted(self.calls);
        (self.upgraded)((), cx)
    }

    fn error_reply(&self, why: &Failure<Bad>, reply: &mut Reply<'_>) {
        (self.reply)(why, reply);
    }
}

/// Does what the lines of its peer say; see [`Script::obey`].
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Lines handled. Shown in every reply, so a call that is made twice shows.
    lines: u32,
    /// A control: counts the line before it writes, which a protocol must not do.
    changes_itself_first: bool,
    /// The file asked for is sent in two ranges.
    in_two: bool,
    calls: usize,
}

const PAUSE: Timer = Timer::new(3);

impl Script {
    pub(crate) fn changing_itself_first() -> Script {
        Script { changes_itself_first: true, ..Script::default() }
    }

    /// One line, one transaction.
    ///
    /// ```text
    /// w n   write n bytes          s n   write n shared bytes      e n   emit n
    /// t k m timer k in m ms        f x   send the file x           g x   send it in two ranges
    /// m n   a frame of n bytes with its length before it, and two events
    /// p m   pause reading for m ms x     fail after writing        h     half-close
    /// q     close                  a     abort                     else  echo
    /// ```
    fn obey(&mut self, line: &[u8], cx: &mut Context<'_, Script>) -> Done {
        let text = std::str::from_utf8(line).map_err(|_| Bad("no text"))?;
        let mut words = text.split_whitespace();
        let verb = words.next().unwrap_or("");
        let first = words.next().unwrap_or("0");
        let n: usize = first.parse().unwrap_or(0);
        match verb {
            "w" => cx.write(&vec![b'w'; n])?,
            "s" => cx.write_shared(vec![b's'; n].into())?,
            "e" => cx.emit(u32::try_from(n).unwrap_or(0))?,
            "t" => {
                let wait: usize = words.next().unwrap_or("1").parse().unwrap_or(1);
                let due = in_ms(cx, wait);
                cx.set_timer(Timer::new(u8::try_from(n % 3).expect("below 3")), due);
            }
            "f" | "g" => {
                cx.open_file(first.as_bytes())?;
                self.in_two = verb == "g";
                return Ok(());
            }
            "m" => {
                let place = cx.reserve(4)?;
                cx.emit(1)?;
                cx.write(&vec![b'm'; n])?;
                let len = cx.writer().since(&place);
                cx.emit(2)?;
                let text = format!("{len:04}");
                cx.writer().fill(place, text.as_bytes());
            }
            "p" => {
                cx.disable_read();
                let due = in_ms(cx, n.max(1));
                cx.set_timer(PAUSE, due);
            }
            "x" => {
                cx.write(b"junk")?;
                cx.emit(999)?;
                let due = in_ms(cx, 1);
                cx.set_timer(Timer::new(0), due);
                return Err(Bad("told so").into());
            }
            "h" => {
                writeln!(cx, "bye after {} lines", self.lines)?;
                cx.half_close();
                return Ok(());
            }
            "q" => {
                cx.close();
                return Ok(());
            }
            "a" => cx.abort(),
            _ => cx.write(line)?,
        }
        writeln!(cx, "[{}]", self.lines)
    }
}

fn in_ms(cx: &Context<'_, Script>, ms: usize) -> Time {
    cx.now() + Duration::from_millis(ms as u64)
}

impl Protocol for Script {
    type Event = u32;
    type Command = Vec<u8>;
    type Error = Bad;
    const LIMITS: Limits = Limits { input_bytes: 256, output_bytes: 2048, events: 4, files: 2, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Script>) -> Done<usize> {
        self.calls = counted(self.calls);
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        if self.changes_itself_first {
            self.lines += 1;
        }
        self.obey(&input[..end], cx)?;
        if !self.changes_itself_first {
            self.lines += 1;
        }
        Ok(end + 1)
    }

    fn open(&mut self, cx: &mut Context<'_, Script>) -> Done {
        cx.write(b"hello\n")
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Script>) -> Done {
        // After a half-close of ours there is nothing to say.
        writeln!(cx, "rest {}", rest.len()).or_else(|stop| match stop {
            Stop::Misuse(_) => Ok(()),
            stop @ (Stop::Full(_) | Stop::Limit(_) | Stop::Peer(_)) => Err(stop),
        })?;
        cx.close();
        Ok(())
    }

    fn timer(&mut self, timer: Timer, cx: &mut Context<'_, Script>) -> Done {
        self.calls = counted(self.calls);
        if timer == PAUSE {
            cx.enable_read();
            return Ok(());
        }
        let now = cx.now();
        writeln!(cx, "timer at {now:?}")
    }

    fn command(&mut self, command: &Vec<u8>, cx: &mut Context<'_, Script>) -> Done {
        cx.write(command)
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Script>) -> Done {
        let id: FileId = opened.id;
        match opened.result {
            Err(error) => writeln!(cx, "no file: {error}"),
            Ok(len) => {
                writeln!(cx, "file of {len}")?;
                if !self.in_two {
                    cx.stream_file(id, 0, len)?;
                } else {
                    cx.stream_file(id, len / 2, len - len / 2)?;
                    cx.write(b"\n-then-\n")?;
                    cx.stream_file(id, 0, len / 2)?;
                }
                cx.write(b"\n")
            }
        }
    }

    fn error_reply(&self, why: &Failure<Bad>, reply: &mut Reply<'_>) {
        writeln!(reply, "-500 after {} lines: {why}", self.lines);
    }
}
