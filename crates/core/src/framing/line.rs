//! Lines. The one place that knows how a line ends (FAULTS 31).

use super::{Frame, Framing, Search};
use crate::limits::Limit;
use crate::output::{Refused, Writer};
use memchr::memchr;

/// Text lines: LF ends a line, and a CR right before it belongs to the ending.
///
/// Nothing else ends one: a CR anywhere else is payload, and so is NUL (FAULTS
/// 28). Which of the two endings a line had shows in the difference between
/// [`Frame::len`] and the payload's length; a protocol that must refuse a bare
/// LF looks there.
///
/// A payload to be written must not contain LF, nor end with CR.
///
/// Units: bytes. Bound: `max`, the ending included. A line that is longer than
/// [`Limits::input_bytes`](crate::Limits::input_bytes) is refused by the
/// connection, whatever the bound here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    search: Search,
    written: &'static [u8],
}

impl Lines {
    /// Lines of up to `max` bytes; those written end with LF.
    #[must_use]
    pub const fn new(max: usize) -> Lines {
        Lines { search: Search::new(max), written: b"\n" }
    }

    /// The same, but the lines written end with CRLF. Both endings are taken.
    #[must_use]
    pub const fn crlf(max: usize) -> Lines {
        Lines { search: Search::new(max), written: b"\r\n" }
    }
}

impl Framing for Lines {
    #[inline]
    fn find<'a>(&mut self, input: &'a [u8]) -> Result<Option<Frame<'a>>, Limit> {
        let len = self.search.frame_len(input, 1, |unseen| memchr(b'\n', unseen))?;
        Ok(len.map(|len| {
            let line = &input[..len - 1];
            Frame { payload: line.strip_suffix(b"\r").unwrap_or(line), len }
        }))
    }

    #[inline]
    fn frame(
        &self,
        out: &mut Writer<'_>,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        encode(out)?;
        out.write(self.written)
    }
}
