//! Typed messages: a serializer and a framing make a protocol (row W3).

use super::Framing;
use crate::context::Context;
use crate::error::Stop;
use crate::output::{Refused, Writer};
use crate::protocol::Protocol;
use thiserror::Error;

/// From the payload of a frame to a message.
pub trait Decode {
    /// What a payload means.
    type Message;
    /// What is wrong with one that means nothing.
    type Error;

    /// Makes a message of a whole payload, without prefix or ending.
    ///
    /// By shared reference: a call may be undone and made again, so a codec
    /// remembers nothing.
    ///
    /// # Errors
    /// The codec's own; the connection ends with [`CodecError::BadMessage`].
    fn decode(&self, payload: &[u8]) -> Result<Self::Message, Self::Error>;

    /// The message that stands for the end of input, if there is one.
    ///
    /// `None`, the default: the connection closes. What is owed is still written,
    /// but the application can answer no more. `Some`: the application gets that
    /// message, goes on answering, and closes. A server whose peers end first and
    /// wait for their answers (row E9) needs it.
    fn end(&self) -> Option<Self::Message> {
        None
    }

    /// The message that stands for an input that was cut ([`Protocol::input_cut`]), if there is
    /// one. As [`Decode::end`], which is not asked then: a codec that has that one and
    /// answers to streams that were cut, too, has both.
    fn cut(&self) -> Option<Self::Message> {
        None
    }
}

/// From a message to the payload of a frame.
pub trait Encode {
    /// What is to be sent.
    type Message;

    /// Writes the payload of `message`; prefix and ending are the framing's.
    ///
    /// # Errors
    /// [`Refused`], as it comes out of the writer.
    fn encode(&self, message: &Self::Message, out: &mut Writer<'_>) -> Result<(), Refused>;
}

/// Both directions of a serializer: anything that is [`Decode`] and [`Encode`].
///
/// What is received and what is sent may be of different types. Of two
/// serializers, one for each direction, a pair makes one: `(Requests, Replies)`
/// for the server and `(Replies, Requests)` for its client.
pub trait Codec: Decode + Encode {}

impl<C: Decode + Encode> Codec for C {}

impl<D: Decode, E> Decode for (D, E) {
    type Message = D::Message;
    type Error = D::Error;

    fn decode(&self, payload: &[u8]) -> Result<D::Message, D::Error> {
        self.0.decode(payload)
    }

    fn end(&self) -> Option<D::Message> {
        self.0.end()
    }

    fn cut(&self) -> Option<D::Message> {
        self.0.cut()
    }
}

impl<D, E: Encode> Encode for (D, E) {
    type Message = E::Message;

    fn encode(&self, message: &E::Message, out: &mut Writer<'_>) -> Result<(), Refused> {
        self.1.encode(message, out)
    }
}

/// Why a typed connection gives up on its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError<E> {
    /// A frame that is no message; the codec says why.
    #[error("bad message: {0}")]
    BadMessage(E),
    /// The input ended inside a frame, after this many bytes of it. True of lines
    /// too: a last line without its ending may be half of one.
    #[error("the input ended {0} bytes into a frame")]
    Truncated(usize),
}

/// A protocol of typed messages: every frame is one, in both directions.
///
/// An event is a message that came, a command is a message to send. At the end of
/// input it closes, unless [`Decode::end`] says otherwise.
///
/// Bound: the framing's, for one message; [`Limits::input_bytes`] holds too, and
/// [`Limits::events`] messages wait for the application before reading pauses.
///
/// ```
/// use drywire_core::framing::{Decode, Encode, Lines, Messages};
/// use drywire_core::{Action, Connection, Refused, Time, Workspace, Writer};
///
/// /// `key=value` lines.
/// struct Settings;
///
/// impl Decode for Settings {
///     type Message = (String, u32);
///     type Error = &'static str;
///
///     fn decode(&self, payload: &[u8]) -> Result<(String, u32), &'static str> {
///         let text = core::str::from_utf8(payload).map_err(|_| "not text")?;
///         let (key, value) = text.split_once('=').ok_or("no equals sign")?;
///         Ok((key.into(), value.parse().map_err(|_| "not a number")?))
///     }
/// }
///
/// impl Encode for Settings {
///     type Message = (String, u32);
///
///     fn encode(&self, (key, value): &(String, u32), out: &mut Writer<'_>) -> Result<(), Refused> {
///         write!(out, "{key}={value}")
///     }
/// }
///
/// let mut connection = Connection::new(Messages::new(Lines::new(80), Settings));
///
/// let mut workspace = Workspace::new();
/// let mut live = connection.lend(&mut workspace, Time::ZERO);
/// live.read_with(|slot| {
///     slot[..10].copy_from_slice(b"depth=12\r\n");
///     Ok(10)
/// });
/// assert!(matches!(live.poll(), Action::Event((key, 12)) if key == "depth"));
///
/// live.handle_command(("width".into(), 7)).expect("nothing else is waiting");
/// let Action::Write(write) = live.poll() else { panic!("a line is owed") };
/// write.with_slices(|slices, _| assert_eq!(slices, [b"width=7\n"]));
/// ```
///
/// [`Limits::input_bytes`]: crate::Limits::input_bytes
/// [`Limits::events`]: crate::Limits::events
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages<F, C> {
    framing: F,
    codec: C,
}

impl<F: Framing, C: Codec> Messages<F, C> {
    /// Messages that `codec` reads and writes, in the frames of `framing`.
    pub const fn new(framing: F, codec: C) -> Messages<F, C> {
        Messages { framing, codec }
    }
}

impl<F: Framing, C: Codec> Protocol for Messages<F, C> {
    type Event = <C as Decode>::Message;
    type Command = <C as Encode>::Message;
    type Error = CodecError<C::Error>;

    #[inline]
    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Self::Error>> {
        let Some(frame) = cx.check(self.framing.find(input))? else { return Ok(0) };
        cx.emit(self.codec.decode(frame.payload).map_err(CodecError::BadMessage)?)?;
        Ok(frame.len)
    }

    #[inline]
    fn command(&mut self, message: &Self::Command, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        let written = self.framing.frame(cx.writer(), |out| self.codec.encode(message, out));
        cx.wrote(written)
    }

    fn end_of_input(&mut self, rest: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        if !rest.is_empty() {
            return Err(CodecError::Truncated(rest.len()).into());
        }
        emit_or_close(self.codec.end(), cx)
    }

    fn input_cut(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Self::Error>> {
        emit_or_close(self.codec.cut(), cx)
    }
}

fn emit_or_close<P: Protocol>(last: Option<P::Event>, cx: &mut Context<'_, P>) -> Result<(), Stop<P::Error>> {
    match last {
        Some(message) => cx.emit(message),
        None => {
            cx.close();
            Ok(())
        }
    }
}
