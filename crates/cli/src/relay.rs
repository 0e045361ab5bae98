//! One end of a connection that carries bytes and does not look at them. Which
//! ends belong together is decided in `connect`.

use bytes::Bytes;
use drywire_core::{Context, Limits, Protocol, Stop};
use std::convert::Infallible;

/// Hands up what it receives and sends what it is given, a chunk at a time.
///
/// ```text
///  consume ──▶ Received, and no more reading ──▶ … ──▶ Resume: reading again
///  Send ──▶ bytes go out ──▶ all of them are gone ──▶ Flushed
/// ```
///
/// With two of them, where each one's `Received` is the other's `Send`, and each
/// one's `Flushed` the other's `Resume`, one chunk is on its way in each direction.
///
/// Bound: 64 KiB in each direction.
#[derive(Debug)]
pub(crate) struct Relay {
    start: Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Reading,
    /// Reads nothing before the first `Resume`.
    Paused,
}

#[derive(Debug)]
pub(crate) enum Event {
    Received(Bytes),
    /// All that was given is taken.
    Flushed,
    /// The peer ended its direction.
    Ended,
}

#[derive(Debug)]
pub(crate) enum Command {
    Send(Bytes),
    /// End our direction.
    End,
    /// Read the next chunk.
    Resume,
}

impl Relay {
    pub(crate) fn new() -> Relay {
        Relay { start: Start::Reading }
    }

    pub(crate) fn paused() -> Relay {
        Relay { start: Start::Paused }
    }
}

const CHUNK_BYTES: u32 = 64 * 1024;

impl Protocol for Relay {
    type Event = Event;
    type Command = Command;
    type Error = Infallible;

    /// No timeout: a person may look at one page of `less` all day. Nothing lingers
    /// either: whoever closes a relay has no more interest in it.
    const LIMITS: Limits = Limits {
        input_bytes: CHUNK_BYTES,
        output_bytes: CHUNK_BYTES,
        linger_bytes: 0,
        linger_ms: 0,
        stall_ms: 0,
        idle_ms: 0,
        ..Limits::DEFAULT
    };

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        if self.start == Start::Paused {
            cx.disable_read();
        }
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(Event::Received(Bytes::copy_from_slice(input)))?;
        cx.disable_read();
        Ok(input.len())
    }

    /// Does not close: the other direction may go on. There is no rest, since
    /// `consume` takes everything.
    fn end_of_input(&mut self, _: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.emit(Event::Ended)
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.emit(Event::Flushed)
    }

    fn command(&mut self, command: &Command, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        match command {
            Command::Send(bytes) => {
                cx.write_shared(bytes.clone())?;
                cx.request_room(None);
            }
            Command::End => cx.half_close(),
            Command::Resume => cx.enable_read(),
        }
        Ok(())
    }
}
