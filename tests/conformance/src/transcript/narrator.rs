//! A protocol that tells its application everything, and uses all that a handler may
//! ask for: so that the order of events is worth comparing.
//!
//! | line           | what happens                                                   |
//! |----------------|----------------------------------------------------------------|
//! | `SAY <text>`   | the text comes back                                            |
//! | `MANY <n>`     | one call emits `n` events; more than 63 are over the bound     |
//! | `POUR <n>`     | reading stops, `n` blocks go out as there is room              |
//! | `REST`         | reading stops until a timer rings                              |
//! | `GET <name>`   | a file, in two parts                                           |
//! | `HALF`         | our direction ends; lines are still heard                      |
//! | `FAIL`         | output and events of the call are undone, last words, the end  |
//! | `ABORT`        | the end, at once                                               |
//! | `BYE`          | the end                                                        |
//!
//! Anything else is a failure too. The first event is the greeting, and each line
//! is one, in front of what follows from it.

use super::fixture;
use drywire_core::{Context, Failure, FileError, Limits, Opened, Protocol, Reply, Stop, Timer};
use std::fmt;
use std::time::Duration;

/// What `POUR` writes at a time, in bytes: three of them fill the queue.
const BLOCK_BYTES: usize = 5000;

const REST: Timer = Timer::new(0);

/// See the file's table.
#[derive(Debug, Default)]
pub struct Narrator {
    /// Blocks that are still to be poured.
    pouring: u32,
    /// Our direction has ended.
    mute: bool,
}

/// What the application hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The connection is open.
    Greeted,
    /// A line, escaped.
    Heard(String),
    /// One of many.
    Counted(u32),
    /// A block was written; so many are left.
    Poured(u32),
    /// The timer rang.
    Rested,
    /// A file was asked for: its length, or why there is none.
    File(Result<u64, FileError>),
    /// Never: the call that says so fails.
    Undone,
    /// The peer ended, after this.
    Ended(String),
}

/// The peer said `FAIL`, or nothing that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unheard;

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unheard of")
    }
}

impl Protocol for Narrator {
    type Event = Told;
    type Command = std::convert::Infallible;
    type Error = Unheard;

    const LIMITS: Limits = Limits { input_bytes: 4096, output_bytes: 16 * 1024, files: 4, ..Limits::DEFAULT };

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Unheard>> {
        cx.emit(Told::Greeted)?;
        cx.write(b"hello\n")
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Unheard>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let line = &input[..end];
        let taken = end + 1;
        cx.emit(Told::Heard(line.escape_ascii().to_string()))?;
        let (verb, argument) = match line.iter().position(|byte| *byte == b' ') {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &line[end..]),
        };
        match verb {
            b"SAY" => self.say(&[argument, b"\n"].concat(), cx)?,
            b"MANY" => (0..number(argument)?).try_for_each(|n| cx.emit(Told::Counted(n)))?,
            b"POUR" if !self.mute => {
                self.pouring = number(argument)?;
                cx.disable_read();
                cx.request_room(Some(BLOCK_BYTES));
            }
            b"REST" => {
                cx.disable_read();
                cx.set_timer(REST, cx.now() + Duration::from_millis(1));
            }
            b"GET" if !self.mute => drop(cx.open_file(argument)?),
            b"POUR" | b"GET" => {}
            b"HALF" => {
                self.say(b"no more\n", cx)?;
                cx.half_close();
                self.mute = true;
            }
            b"ABORT" => cx.abort(),
            b"BYE" => {
                self.say(b"bye\n", cx)?;
                cx.close();
            }
            _ => {
                self.say(b"never seen\n", cx)?;
                cx.emit(Told::Undone)?;
                return Err(Unheard.into());
            }
        }
        Ok(taken)
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Unheard>> {
        let left = self.pouring - 1;
        cx.write(&fixture::pattern(BLOCK_BYTES, left as usize))?;
        cx.emit(Told::Poured(left))?;
        match left {
            0 => cx.enable_read(),
            1.. => cx.request_room(Some(BLOCK_BYTES)),
        }
        self.pouring = left;
        Ok(())
    }

    fn timer(&mut self, _: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Unheard>> {
        cx.emit(Told::Rested)?;
        self.say(b"rested\n", cx)?;
        cx.enable_read();
        Ok(())
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<Unheard>> {
        cx.emit(Told::File(opened.result))?;
        match opened.result {
            Ok(len) => {
                writeln!(cx, "file {len}")?;
                cx.stream_file(opened.id, 0, len / 2)?;
                cx.write(b"|")?;
                cx.stream_file(opened.id, len / 2, len - len / 2)
            }
            Err(error) => writeln!(cx, "{error}"),
        }
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Unheard>> {
        cx.emit(Told::Ended(rest.escape_ascii().to_string()))?;
        self.say(b"the end\n", cx)?;
        cx.close();
        Ok(())
    }

    fn error_reply(&self, why: &Failure<Unheard>, reply: &mut Reply<'_>) {
        writeln!(reply, "{why}");
    }
}

impl Narrator {
    fn say(&self, text: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Unheard>> {
        if self.mute { Ok(()) } else { cx.write(text) }
    }
}

fn number(text: &[u8]) -> Result<u32, Unheard> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).filter(|n| *n > 0).ok_or(Unheard)
}
