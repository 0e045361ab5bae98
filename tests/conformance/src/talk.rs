//! A protocol between an application and a peer, for checks of what the drivers'
//! own protocols have no need of.
//!
//! ```text
//! → hello⏎            an event, `hello`
//! → owe 5⏎            five bytes of noise come back
//! → fail⏎             the half of an answer is written and taken back
//! ← refused: ...⏎ (end)
//! → panic⏎            the half of an answer is written, and the handler panics
//! → bye⏎              the end
//! ```
//!
//! Commands are written as they are.

use crate::noise::Noise;
use drywire_core::{Context, Failure, Protocol, Reply, Stop};
use thiserror::Error;

#[derive(Debug, Default)]
pub(crate) struct Talk;

/// What the peer said is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("that is not done")]
pub(crate) struct NotDone;

impl Talk {
    /// What `owe` sends.
    pub(crate) fn noise() -> Noise {
        Noise::new(0x7A1C)
    }
}

impl Protocol for Talk {
    type Event = String;
    type Command = Vec<u8>;
    type Error = NotDone;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<NotDone>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let line = String::from_utf8_lossy(&input[..end]);
        match line.split_once(' ') {
            Some(("owe", n)) => cx.write(&Talk::noise().bytes(n.parse().map_err(|_| NotDone)?))?,
            _ if line == "bye" => cx.close(),
            _ if line == "fail" => {
                cx.write(b"the half of an answer")?;
                cx.emit("never told".into())?;
                return Err(NotDone.into());
            }
            _ if line == "panic" => {
                cx.write(b"the half of an answer")?;
                cx.emit("never told".into())?;
                panic!("on purpose");
            }
            _ => cx.emit(line.into_owned())?,
        }
        Ok(end + 1)
    }

    fn command(&mut self, command: &Vec<u8>, cx: &mut Context<'_, Self>) -> Result<(), Stop<NotDone>> {
        cx.write(command)
    }

    fn error_reply(&self, why: &Failure<NotDone>, reply: &mut Reply<'_>) {
        writeln!(reply, "refused: {why}");
    }
}
