//! The dialog of seed 000: lines ask, lines and files answer (row B13).
//!
//! ```text
//! → SIZE notes⏎
//! ← OK 5⏎
//! → GET notes⏎GET nowhere⏎NOOP⏎
//! ← OK 5⏎hello-550 no such file⏎OK⏎
//! → HELO⏎
//! ← -500 protocol error, bad command⏎ (end)
//! ```
//!
//! | request       | answer                                        |
//! |---------------|-----------------------------------------------|
//! | `GET <name>`  | `OK <bytes>`, then exactly that many bytes    |
//! | `SIZE <name>` | `OK <bytes>`                                  |
//! | `NOOP`        | `OK`                                          |
//! | `STARTTLS`    | `OK`, then TLS, where that is offered         |
//! | `QUIT`        | `OK`, then the end                            |
//! | anything else | `-500 protocol error, bad command`, the end   |
//!
//! A file that cannot be had is answered with `-550 <reason>`, and the dialog
//! goes on. Requests end with LF or CRLF, answers with LF; requests may be
//! pipelined. Verbs are in upper case. Everything after exactly one space is the
//! name: bytes, spaces and NULs included; an empty one, or none, is a bad
//! command, and so is `NOOP` with anything behind it, and an empty line. An
//! unterminated line at the end of input is nobody's request and is dropped.
//!
//! Nothing may be pipelined behind `STARTTLS`: bytes that came with it were sent by who
//! knows whom, so they end the dialog instead (FAULTS 32). A second one is answered with
//! `-503 TLS is spoken already`, and the dialog goes on (FAULTS 34).
//!
//! What is not decided here: what a name leads to. It goes to the driver, which
//! knows the root and what lies outside of it (FAULTS 51).

use core::convert::Infallible;
use drywire_core::framing::{Framing, Lines};
use drywire_core::{Context, Failure, Leftovers, Limit, Opened, Protocol, Reply, Stop};
use thiserror::Error;

/// The serving side of the dialog.
///
/// Bound: 10 KiB for a line, 256 KiB of output beside 8 files, which are
/// streamed and never held.
#[derive(Debug)]
pub struct Dialog {
    lines: Lines,
    /// What the file that is being opened is for. One at most: until it is
    /// answered, no line is handled.
    asked: Option<Asked>,
    tls: Tls,
}

/// What the layer below does, or could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    /// Whatever it is, `STARTTLS` is none of our words.
    NotOffered,
    Offered,
    Spoken,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Contents,
    Size,
}

impl Dialog {
    /// A dialog at its beginning.
    #[must_use]
    pub fn new() -> Dialog {
        // The connection's input bound is the line's.
        Dialog { lines: Lines::new(usize::MAX), asked: None, tls: Tls::NotOffered }
    }

    /// A dialog that knows `STARTTLS`, for a layer that can be upgraded.
    #[must_use]
    pub fn with_starttls() -> Dialog {
        Dialog { tls: Tls::Offered, ..Dialog::new() }
    }

    fn ask(&mut self, name: &[u8], asked: Asked, cx: &mut Context<'_, Self>) -> Result<(), Stop<BadCommand>> {
        cx.open_file(name)?;
        self.asked = Some(asked);
        Ok(())
    }
}

impl Default for Dialog {
    fn default() -> Dialog {
        Dialog::new()
    }
}

impl Protocol for Dialog {
    type Event = Infallible;
    type Command = Infallible;
    type Error = BadCommand;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<BadCommand>> {
        let Some(line) = cx.check(self.lines.find(input))? else { return Ok(0) };
        match Request::parse(line.payload)? {
            Request::Get(name) => self.ask(name, Asked::Contents, cx)?,
            Request::Size(name) => self.ask(name, Asked::Size, cx)?,
            Request::Noop => cx.write(b"OK\n")?,
            Request::StartTls => match self.tls {
                Tls::NotOffered => return Err(BadCommand.into()),
                Tls::Offered => {
                    cx.write(b"OK\n")?;
                    cx.upgrade(Leftovers::Refuse)?;
                }
                Tls::Spoken => cx.write(b"-503 TLS is spoken already\n")?,
            },
            Request::Quit => {
                cx.write(b"OK\n")?;
                cx.close();
            }
        }
        Ok(line.len)
    }

    /// The header and the file are one transaction: a peer never sees an `OK`
    /// without what it announces.
    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<BadCommand>> {
        match opened.result {
            Ok(len) => {
                cx.write(b"OK ")?;
                cx.decimal(len)?;
                cx.write(b"\n")?;
                match self.asked.expect("a file comes only after it was asked for") {
                    Asked::Contents => cx.stream_file(opened.id, 0, len)?,
                    Asked::Size => {}
                }
            }
            Err(error) => writeln!(cx, "-550 {error}")?,
        }
        self.asked = None;
        Ok(())
    }

    /// Nothing that was said in the open counts any more (FAULTS 33).
    fn upgraded(&mut self, _: &mut Context<'_, Self>) -> Result<(), Stop<BadCommand>> {
        *self = Dialog { tls: Tls::Spoken, ..Dialog::new() };
        Ok(())
    }

    fn error_reply(&self, why: &Failure<BadCommand>, reply: &mut Reply<'_>) {
        match why {
            Failure::Limit(Limit::Input(_) | Limit::Frame(_)) => reply.write(b"-500 protocol error, line too long\n"),
            Failure::Limit(
                Limit::Output(_)
                | Limit::Events(_)
                | Limit::Opens
                | Limit::Leftovers
                | Limit::Parts(_)
                | Limit::Idle(_)
                | Limit::FirstByte(_)
                | Limit::Handshake(_)
                | Limit::Message(_)
                | Limit::Rate(_),
            )
            | Failure::Peer(BadCommand)
            | Failure::Misuse(_) => writeln!(reply, "-500 protocol error, {why}"),
        }
    }
}

/// The peer's line is none of the requests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("bad command")]
pub struct BadCommand;

enum Request<'a> {
    Get(&'a [u8]),
    Size(&'a [u8]),
    Noop,
    StartTls,
    Quit,
}

impl Request<'_> {
    /// `line` is without its end.
    fn parse(line: &[u8]) -> Result<Request<'_>, BadCommand> {
        match line {
            [b'G', b'E', b'T', b' ', name @ ..] if !name.is_empty() => Ok(Request::Get(name)),
            [b'S', b'I', b'Z', b'E', b' ', name @ ..] if !name.is_empty() => Ok(Request::Size(name)),
            b"NOOP" => Ok(Request::Noop),
            b"STARTTLS" => Ok(Request::StartTls),
            b"QUIT" => Ok(Request::Quit),
            _ => Err(BadCommand),
        }
    }
}
