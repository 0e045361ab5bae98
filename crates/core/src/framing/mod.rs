//! Finding where a frame ends. What a frame means is the protocol's business,
//! or a [`Codec`]'s.
//!
//! A framing looks at the front of the input and says "not yet" or "this much".
//! It takes nothing: the protocol returns [`Frame::len`] from `consume`.

mod codec;
mod delimiter;
mod line;
mod prefix;

pub use codec::{Codec, CodecError, Decode, Encode, Messages};
pub use delimiter::Delimiter;
pub use line::Lines;
pub use prefix::LengthPrefix;

use crate::limits::Limit;
use crate::output::{Refused, Writer};

/// Where frames begin and end.
///
/// ```
/// use drywire_core::framing::{Framing, Lines};
/// use drywire_core::{Context, Protocol, Stop};
/// use core::convert::Infallible;
///
/// struct LineEcho(Lines);
///
/// impl Protocol for LineEcho {
///     type Event = Infallible;
///     type Command = Infallible;
///     type Error = Infallible;
///
///     fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
///         let Some(frame) = cx.check(self.0.find(input))? else { return Ok(0) };
///         cx.write(&input[..frame.len])?;
///         Ok(frame.len)
///     }
/// }
/// ```
pub trait Framing {
    /// The first frame of `input`, if it is whole.
    ///
    /// A framing that searches remembers how far it has looked, so that input
    /// which comes byte by byte is looked at once, not once per byte. That is what
    /// the next call must respect: after `None` it is made with the same bytes and
    /// any number more behind them, which is what `consume` gets as long as it
    /// takes nothing. A frame and an error both forget how far; so a call that is
    /// undone and made again finds what it found before. Shorter input is searched
    /// from its start.
    ///
    /// A protocol that takes bytes in another way while a frame is unfinished goes
    /// on with a new framing.
    ///
    /// # Errors
    /// [`Limit::Frame`] when the frame is longer than the framing's bound: once so
    /// many bytes hold no end of it, or, when the length is announced, before its
    /// bytes arrive. Nothing is allocated either way.
    fn find<'a>(&mut self, input: &'a [u8]) -> Result<Option<Frame<'a>>, Limit>;

    /// Writes one frame: what stands before the payload, the payload as `encode`
    /// writes it, and what stands behind.
    ///
    /// Not checked against the framing's bound, which is for input; and a framing
    /// with an ending does not look whether the payload contains it.
    ///
    /// # Errors
    /// [`Refused`], the writer's or `encode`'s.
    fn frame(
        &self,
        out: &mut Writer<'_>,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused>;
}

/// One whole unit on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries: no prefix, no ending.
    pub payload: &'a [u8],
    /// Bytes it takes up in the input, prefix and ending included. Never 0.
    pub len: usize,
}

/// The search for an ending: how far it got, and how far it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Search {
    max: usize,
    /// Bytes at the front that hold no whole ending. 0 when a frame was found.
    looked: usize,
}

impl Search {
    const fn new(max: usize) -> Search {
        Search { max, looked: 0 }
    }

    /// The length of the first frame with its ending, which is `ending` bytes long
    /// and which `find` finds.
    #[inline]
    fn frame_len(
        &mut self,
        input: &[u8],
        ending: usize,
        find: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> Result<Option<usize>, Limit> {
        let looked = if self.looked <= input.len() { self.looked } else { 0 };
        self.looked = 0;
        // The first part of an ending may be among the bytes looked at.
        let start = looked.saturating_sub(ending - 1);
        let within = &input[..input.len().min(self.max)];
        if let Some(at) = find(&within[start..]) {
            return Ok(Some(start + at + ending));
        }
        if input.len() >= self.max {
            return Err(Limit::Frame(self.max));
        }
        self.looked = input.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
