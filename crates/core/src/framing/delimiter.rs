//! Frames that end with a sequence of bytes.

use super::{Frame, Framing, Search};
use crate::limits::Limit;
use crate::output::{Refused, Writer};
use memchr::memmem;

/// Frames that end with the first occurrence of a delimiter: NUL, `\r\n.\r\n`.
///
/// A payload to be written must not contain the delimiter, nor end with a part
/// of it that makes an earlier one: `\r\n.` before `\r\n.\r\n` does.
///
/// Units: bytes. Bound: `max`, the delimiter included. A frame that is longer
/// than [`Limits::input_bytes`](crate::Limits::input_bytes) is refused by the
/// connection, whatever the bound here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter {
    search: Search,
    delimiter: &'static [u8],
}

impl Delimiter {
    /// Frames of up to `max` bytes that end with `delimiter`.
    ///
    /// # Panics
    /// When the delimiter is empty; at compile time in a `const`.
    #[must_use]
    pub const fn new(delimiter: &'static [u8], max: usize) -> Delimiter {
        assert!(!delimiter.is_empty(), "an empty delimiter ends nothing");
        Delimiter { search: Search::new(max), delimiter }
    }
}

impl Framing for Delimiter {
    // A prepared `memmem::Finder` would be larger than all else here, in every
    // connection. What it saves was not measured.
    fn find<'a>(&mut self, input: &'a [u8]) -> Result<Option<Frame<'a>>, Limit> {
        let width = self.delimiter.len();
        let len = self.search.frame_len(input, width, |unseen| memmem::find(unseen, self.delimiter))?;
        Ok(len.map(|len| Frame { payload: &input[..len - width], len }))
    }

    fn frame(
        &self,
        out: &mut Writer<'_>,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        encode(out)?;
        out.write(self.delimiter)
    }
}
