//! The other end: sends what it is given and keeps what it gets.

use super::script::Bad;
use drywire_core::{Context, Limits, Protocol, Stop};
use std::convert::Infallible;

#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) to_send: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) got: Vec<u8>,
    /// The other side ended.
    pub(crate) got_end: bool,
    /// Half-closes once everything is sent.
    pub(crate) ends: bool,
    /// Bytes in one write.
    pub(crate) piece: usize,
}

impl Probe {
    pub(crate) fn sending(data: impl Into<Vec<u8>>) -> Probe {
        Probe { to_send: data.into(), ends: true, piece: 700, ..Probe::default() }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.got).expect("tests write text")
    }

    /// One write a call: what is undone was not counted.
    fn pump(&mut self, cx: &mut Context<'_, Probe>) -> Result<(), Stop<Bad>> {
        let rest = &self.to_send[self.sent..];
        let n = rest.len().min(cx.available()).min(self.piece);
        cx.write(&rest[..n])?;
        if n < rest.len() {
            cx.request_room(Some(self.piece.min(rest.len() - n)));
        } else if self.got_end {
            cx.close();
        } else if self.ends {
            cx.half_close();
        }
        self.sent += n;
        Ok(())
    }
}

impl Protocol for Probe {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Bad;
    const LIMITS: Limits = Limits { input_bytes: 512, output_bytes: 1000, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Probe>) -> Result<usize, Stop<Bad>> {
        self.got.extend_from_slice(input);
        Ok(input.len())
    }

    fn open(&mut self, cx: &mut Context<'_, Probe>) -> Result<(), Stop<Bad>> {
        self.pump(cx)
    }

    fn room(&mut self, cx: &mut Context<'_, Probe>) -> Result<(), Stop<Bad>> {
        self.pump(cx)
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Probe>) -> Result<(), Stop<Bad>> {
        if self.sent == self.to_send.len() {
            cx.close();
        }
        self.got.extend_from_slice(rest);
        self.got_end = true;
        Ok(())
    }
}
