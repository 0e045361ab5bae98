//! Messages of the hub: eight bytes of length, least significant first, and so many
//! bytes (rows H8, H9, H14; the wire format of seed 004).
//!
//! ```text
//! → 05 00 00 00 00 00 00 00 h e l l o
//! ← 00 00 00 00 00 00 00 00             (an empty message is one)
//! ```
//!
//! Both sides speak alike; there is no greeting, no answer to a message and none to an
//! error, because the format has no place for one.

use alloc::vec::Vec;
use bytes::Bytes;
use core::convert::Infallible;
use core::time::Duration;
use drywire_core::framing::{Framing, LengthPrefix};
use drywire_core::record::Record;
use drywire_core::{Context, Limits, Protocol, Stop, Timer};
use thiserror::Error;

/// The longest message unless another bound is asked for, in bytes.
const LONGEST: u32 = 16 << 20;

/// Of the length in front, in bytes.
const PREFIX: u32 = 8;

/// Nothing was said to a peer that has ended.
const SILENT: Timer = Timer::new(0);

/// For how long that may be.
const LISTENS: Duration = Duration::from_secs(60);

/// A peer that does not keep to the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadMessage {
    /// The input ended after this many bytes of a message, its length included.
    #[error("the input ended {0} bytes into a message")]
    Truncated(usize),
}

/// What one peer of a hub has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubEvent {
    /// A message, whole; it may be empty.
    Message(Bytes),
    /// It will say nothing more, and may still listen: whoever has nothing to say to it
    /// closes the connection. Nobody says anything for a minute: the connection closes
    /// by itself.
    End,
}

/// What one end of a hub's connection is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubCommand {
    /// Send this message; it may be empty.
    Send(Bytes),
    /// Say nothing more, behind all that was sent; once the peer has ended too, the
    /// connection closes. What is sent after it is misuse.
    End,
    /// Read no further than to the end of this turn's input: nobody takes the messages.
    DisableRead,
    /// Read on.
    EnableRead,
}

impl From<Bytes> for HubCommand {
    fn from(message: Bytes) -> HubCommand {
        HubCommand::Send(message)
    }
}

/// The order is that of the variants.
impl Record for HubCommand {
    fn record(&self, out: &mut Vec<u8>) {
        match self {
            HubCommand::Send(message) => {
                out.push(0);
                message.record(out);
            }
            HubCommand::End => out.push(1),
            HubCommand::DisableRead => out.push(2),
            HubCommand::EnableRead => out.push(3),
        }
    }

    fn replay(from: &mut &[u8]) -> Option<HubCommand> {
        Some(match u8::replay(from)? {
            0 => HubCommand::Send(Bytes::replay(from)?),
            1 => HubCommand::End,
            2 => HubCommand::DisableRead,
            3 => HubCommand::EnableRead,
            _ => return None,
        })
    }
}

/// One end of a connection of hubs: each [`HubEvent::Message`] is a message that came,
/// each [`HubCommand::Send`] one that goes.
///
/// Bound: a longest message, 16 MiB unless [`Hub::with_longest`] says otherwise. A longer
/// announcement ends the connection with [`Limit::Frame`](drywire_core::Limit::Frame)
/// before anything is allocated for it; a shorter one takes memory as its bytes arrive
/// (FAULTS 41 to 43). [`Hub::limits`] has what a connection needs.
///
/// ```
/// use drywire_core::Connection;
/// use drywire_protocols::Hub;
///
/// let connection = Connection::new(Hub::with_longest(1 << 20)).with_limits(Hub::limits(1 << 20));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hub {
    framing: LengthPrefix,
    input: Input,
    /// We have said all we will.
    is_silent: bool,
}

/// ```text
///  Open ──end, or cut──▶ Ended: closes when nothing is said for a minute
///  Absent        has no end
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// The peer has said all it will.
    Ended,
    /// There is nobody to listen to.
    Absent,
}

impl Hub {
    /// Messages of up to 16 MiB.
    #[must_use]
    pub const fn new() -> Hub {
        Hub::with_longest(LONGEST)
    }

    /// Messages of up to `longest` bytes, in. What goes out is bounded by
    /// [`Limits::output_bytes`] alone.
    #[must_use]
    pub const fn with_longest(longest: u32) -> Hub {
        Hub { framing: LengthPrefix::u64_le(longest as usize), input: Input::Open, is_silent: false }
    }

    /// The same on a transport without an input, such as the writing end of a pipe: that it
    /// has ended is told to nobody, and closes nothing.
    #[must_use]
    pub const fn without_input(self) -> Hub {
        Hub { input: Input::Absent, ..self }
    }

    /// The bounds of a connection with messages of up to `longest` bytes, in and out.
    #[must_use]
    pub const fn limits(longest: u32) -> Limits {
        let whole = longest.saturating_add(PREFIX);
        let output = if whole > Limits::DEFAULT.output_bytes { whole } else { Limits::DEFAULT.output_bytes };
        Limits { input_bytes: whole, output_bytes: output, files: 0, ..Limits::DEFAULT }
    }

    /// From the peer's end on, a word of ours is what keeps the connection open.
    fn listen_on(&self, cx: &mut Context<'_, Hub>) {
        match (self.input, self.is_silent) {
            (Input::Ended, true) => cx.close(),
            (Input::Ended, false) => cx.set_timer(SILENT, cx.now() + LISTENS),
            (Input::Open | Input::Absent, _) => {}
        }
    }
}

impl Default for Hub {
    fn default() -> Hub {
        Hub::new()
    }
}

impl Protocol for Hub {
    type Event = HubEvent;
    type Command = HubCommand;
    type Error = BadMessage;

    const LIMITS: Limits = Hub::limits(LONGEST);

    #[inline]
    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<BadMessage>> {
        let Some(frame) = cx.check(self.framing.find(input))? else { return Ok(0) };
        cx.emit(HubEvent::Message(Bytes::copy_from_slice(frame.payload)))?;
        Ok(frame.len)
    }

    #[inline]
    fn command(&mut self, command: &HubCommand, cx: &mut Context<'_, Self>) -> Result<(), Stop<BadMessage>> {
        match command {
            HubCommand::Send(message) => {
                let written = self.framing.frame(cx.writer(), |out| out.write_shared(message.clone()));
                cx.wrote(written)?;
                self.listen_on(cx);
            }
            HubCommand::End => {
                cx.half_close();
                self.is_silent = true;
                self.listen_on(cx);
            }
            HubCommand::DisableRead => cx.disable_read(),
            HubCommand::EnableRead => cx.enable_read(),
        }
        Ok(())
    }

    fn weigh(command: &HubCommand) -> usize {
        let message = match command {
            HubCommand::Send(message) => message.len(),
            HubCommand::End | HubCommand::DisableRead | HubCommand::EnableRead => 0,
        };
        size_of::<HubCommand>() + message
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<BadMessage>> {
        if self.input == Input::Absent {
            return Ok(());
        }
        at_an_end(rest)?;
        cx.emit(HubEvent::End)?;
        self.input = Input::Ended;
        self.listen_on(cx);
        Ok(())
    }

    /// What the application still answers goes out, as after an end. Of the cut it hears at the
    /// close: it is no [`HubEvent::End`].
    fn input_cut(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<BadMessage>> {
        if self.input == Input::Open {
            self.input = Input::Ended;
            self.listen_on(cx);
        }
        Ok(())
    }

    fn timer(&mut self, _: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<BadMessage>> {
        cx.close();
        Ok(())
    }
}

/// Sends back each message when it is whole; for servers without an application.
///
/// Bound: as [`Hub`].
#[derive(Clone, Copy, Debug)]
pub struct HubEcho(LengthPrefix);

impl HubEcho {
    /// Messages of up to 16 MiB.
    #[must_use]
    pub const fn new() -> HubEcho {
        HubEcho::with_longest(LONGEST)
    }

    /// Messages of up to `longest` bytes; with [`Hub::limits`] for the connection.
    #[must_use]
    pub const fn with_longest(longest: u32) -> HubEcho {
        HubEcho(LengthPrefix::u64_le(longest as usize))
    }
}

impl Default for HubEcho {
    fn default() -> HubEcho {
        HubEcho::new()
    }
}

impl Protocol for HubEcho {
    type Event = Infallible;
    type Command = Infallible;
    type Error = BadMessage;

    const LIMITS: Limits = Hub::limits(LONGEST);

    #[inline]
    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<BadMessage>> {
        let Some(frame) = cx.check(self.0.find(input))? else { return Ok(0) };
        cx.write(&input[..frame.len])?;
        Ok(frame.len)
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<BadMessage>> {
        at_an_end(rest)?;
        cx.close();
        Ok(())
    }
}

/// The input ended where a message did.
fn at_an_end(rest: &[u8]) -> Result<(), BadMessage> {
    if rest.is_empty() { Ok(()) } else { Err(BadMessage::Truncated(rest.len())) }
}
