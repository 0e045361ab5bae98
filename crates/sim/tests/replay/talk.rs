//! A protocol that does everything a protocol can, as its peer and its
//! application tell it.

use drywire_core::{Context, Failure, Limits, Opened, Protocol, Reply, Stop, Timer};
use drywire_derive::Record;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Talk {
    lines: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Record)]
pub(crate) enum Order {
    Say { text: String, twice: bool },
    Pause(u32),
    Finish,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Line(String),
    Woken(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad(pub(crate) String);

const PAUSE: Timer = Timer::new(1);

impl Protocol for Talk {
    type Event = News;
    type Command = Order;
    type Error = Bad;
    const LIMITS: Limits =
        Limits { input_bytes: 512, output_bytes: 2048, events: 3, files: 2, idle_ms: 60_000, ..Limits::DEFAULT };

    fn open(&mut self, cx: &mut Context<'_, Talk>) -> Result<(), Stop<Bad>> {
        cx.write(b"hello\n")
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Talk>) -> Result<usize, Stop<Bad>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let text = String::from_utf8_lossy(&input[..end]).into_owned();
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("emit", rest) => cx.emit(News::Line(rest.repeat(20)))?,
            ("write", n) => cx.write(&vec![b'w'; n.parse().unwrap_or(1)])?,
            ("file", name) => {
                cx.open_file(name.as_bytes())?;
            }
            ("pause", _) => {
                cx.disable_read();
                let due = cx.now() + Duration::from_millis(20);
                cx.set_timer(PAUSE, due);
            }
            ("room", _) => cx.request_room(None),
            ("half-close", _) => cx.half_close(),
            ("close", _) => cx.close(),
            ("abort", _) => cx.abort(),
            ("fail", why) => return Err(Bad(why.into()).into()),
            ("panic", why) => panic!("told to: {why}"),
            _ => {
                writeln!(cx, "{} {text}", self.lines)?;
            }
        }
        self.lines += 1;
        Ok(end + 1)
    }

    fn room(&mut self, cx: &mut Context<'_, Talk>) -> Result<(), Stop<Bad>> {
        cx.write(b"room\n")
    }

    fn timer(&mut self, _: Timer, cx: &mut Context<'_, Talk>) -> Result<(), Stop<Bad>> {
        cx.emit(News::Woken(self.lines))?;
        cx.enable_read();
        Ok(())
    }

    fn command(&mut self, order: &Order, cx: &mut Context<'_, Talk>) -> Result<(), Stop<Bad>> {
        match order {
            Order::Say { text, twice } => {
                for _ in 0..=u8::from(*twice) {
                    writeln!(cx, "{text}")?;
                }
            }
            Order::Pause(ms) => {
                let due = cx.now() + Duration::from_millis((*ms).into());
                cx.set_timer(PAUSE, due);
                cx.disable_read();
            }
            Order::Finish => cx.close(),
        }
        Ok(())
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Talk>) -> Result<(), Stop<Bad>> {
        match opened.result {
            Err(error) => writeln!(cx, "no file: {error}")?,
            Ok(len) => {
                writeln!(cx, "file of {len}")?;
                if len > 0 {
                    cx.stream_file(opened.id, len / 2, len - len / 2)?;
                    cx.stream_file(opened.id, 0, len / 2)?;
                }
            }
        }
        Ok(())
    }

    fn error_reply(&self, why: &Failure<Bad>, reply: &mut Reply<'_>) {
        writeln!(reply, "sorry: {why:?}");
    }
}
