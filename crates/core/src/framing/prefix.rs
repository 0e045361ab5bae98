//! Frames that announce their length.

use super::{Frame, Framing};
use crate::limits::Limit;
use crate::output::{Refusal, Refused, Writer};

/// Frames with the length of their payload in front, as an unsigned integer.
///
/// The constructors are named as the [`Writer`]'s integers are: `u32_be` is four
/// bytes, most significant first. An empty payload is a frame (FAULTS 40).
///
/// Units: bytes. Bound: `max`, the prefix not included. A longer announcement is
/// refused as soon as it is there (FAULTS 41); a shorter one costs no memory
/// before its bytes arrive (FAULTS 43). Prefix and payload have to be whole
/// within [`Limits::input_bytes`](crate::Limits::input_bytes) as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthPrefix {
    /// Of the prefix, in bytes: 1, 2, 4 or 8.
    width: usize,
    order: Order,
    max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

impl LengthPrefix {
    /// One byte, then a payload of up to `max` bytes.
    #[must_use]
    pub const fn u8(max: usize) -> LengthPrefix {
        LengthPrefix { width: 1, order: Order::Big, max }
    }

    /// Two bytes, most significant first.
    #[must_use]
    pub const fn u16_be(max: usize) -> LengthPrefix {
        LengthPrefix { width: 2, order: Order::Big, max }
    }

    /// Two bytes, least significant first.
    #[must_use]
    pub const fn u16_le(max: usize) -> LengthPrefix {
        LengthPrefix { width: 2, order: Order::Little, max }
    }

    /// Four bytes, most significant first.
    #[must_use]
    pub const fn u32_be(max: usize) -> LengthPrefix {
        LengthPrefix { width: 4, order: Order::Big, max }
    }

    /// Four bytes, least significant first.
    #[must_use]
    pub const fn u32_le(max: usize) -> LengthPrefix {
        LengthPrefix { width: 4, order: Order::Little, max }
    }

    /// Eight bytes, most significant first.
    #[must_use]
    pub const fn u64_be(max: usize) -> LengthPrefix {
        LengthPrefix { width: 8, order: Order::Big, max }
    }

    /// Eight bytes, least significant first: the wire format of seed 004.
    #[must_use]
    pub const fn u64_le(max: usize) -> LengthPrefix {
        LengthPrefix { width: 8, order: Order::Little, max }
    }

    /// Of the prefix, in bytes.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    #[inline]
    pub(crate) fn announced(&self, prefix: &[u8]) -> u64 {
        let push = |n: u64, byte: &u8| n << 8 | u64::from(*byte);
        match self.order {
            Order::Big => prefix.iter().fold(0, push),
            Order::Little => prefix.iter().rfold(0, push),
        }
    }

    /// The longest payload this width can announce.
    const fn most(&self) -> u64 {
        u64::MAX >> (u64::BITS as usize - 8 * self.width)
    }
}

impl Framing for LengthPrefix {
    #[inline]
    fn find<'a>(&mut self, input: &'a [u8]) -> Result<Option<Frame<'a>>, Limit> {
        let Some((prefix, rest)) = input.split_at_checked(self.width) else { return Ok(None) };
        // Compared before anything is added to it: nothing can wrap, and a length
        // beyond `usize` is too long like any other (FAULTS 42).
        let len = match usize::try_from(self.announced(prefix)) {
            Ok(len) if len <= self.max => len,
            Ok(_) | Err(_) => return Err(Limit::Frame(self.max)),
        };
        Ok(rest.get(..len).map(|payload| Frame { payload, len: prefix.len() + len }))
    }

    /// Writes the payload behind its length.
    ///
    /// # Errors
    /// [`Refused`], the writer's or `encode`'s; with [`Limit::Frame`] when the
    /// payload is longer than the prefix can say.
    #[inline]
    fn frame(
        &self,
        out: &mut Writer<'_>,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let place = out.reserve(self.width)?;
        encode(out)?;
        let len = out.since(&place) as u64;
        if len > self.most() {
            let most = usize::try_from(self.most()).unwrap_or(usize::MAX);
            return Err(out.refuse(Refusal::Limit(Limit::Frame(most))));
        }
        match self.order {
            Order::Big => out.fill(place, &len.to_be_bytes()[8 - self.width..]),
            Order::Little => out.fill(place, &len.to_le_bytes()[..self.width]),
        }
        Ok(())
    }
}
