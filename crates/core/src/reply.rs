//! The error reply: short, always whole lines, always with room to go out.

use crate::limits::ERROR_REPLY_BYTES;
use alloc::vec::Vec;
use core::fmt;

/// Takes the last words of a protocol.
///
/// Writing never fails. What goes beyond [`ERROR_REPLY_BYTES`] is cut at a
/// character boundary, and the line end the whole text had is put back.
#[derive(Debug)]
pub struct Reply<'a> {
    kept: &'a mut Vec<u8>,
    /// The last two bytes of everything written, kept or not.
    last: [u8; 2],
    cut: bool,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(kept: &'a mut Vec<u8>) -> Reply<'a> {
        debug_assert!(kept.is_empty());
        Reply { kept, last: [0; 2], cut: false }
    }

    /// Appends `data`.
    pub fn write(&mut self, data: &[u8]) {
        for byte in data.iter().rev().take(2).rev() {
            self.last = [self.last[1], *byte];
        }
        let n = data.len().min(ERROR_REPLY_BYTES - self.kept.len());
        self.cut |= n < data.len();
        self.kept.extend_from_slice(&data[..n]);
    }

    /// Appends formatted text: what `write!(reply, …)` calls.
    ///
    /// # Panics
    /// When a `Display` implementation returns an error of its own.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) {
        fmt::Write::write_fmt(self, args)
            .expect("a reply takes everything; the error came from a Display implementation");
    }

    /// Makes the text whole again after a cut.
    pub(crate) fn finish(self) {
        if !self.cut {
            return;
        }
        let line_end: &[u8] = match self.last {
            [b'\r', b'\n'] => b"\r\n",
            [_, b'\n'] => b"\n",
            _ => b"",
        };
        let mut at = ERROR_REPLY_BYTES - line_end.len();
        // A character is up to four bytes, and the first says how many. Bytes that
        // are no text are cut where they stand.
        for back in 1..4 {
            let byte = self.kept[at - back];
            if byte & 0xC0 != 0x80 {
                if byte.leading_ones() as usize > back {
                    at -= back;
                }
                break;
            }
        }
        self.kept.truncate(at);
        self.kept.extend_from_slice(line_end);
    }
}

impl fmt::Write for Reply<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(write: impl FnOnce(&mut Reply<'_>)) -> Vec<u8> {
        let mut kept = Vec::new();
        let mut reply = Reply::new(&mut kept);
        write(&mut reply);
        reply.finish();
        kept
    }

    #[test]
    fn short_reply_is_kept_as_it_is() {
        assert_eq!(reply(|r| write!(r, "-500 {}\r\n", 7)), b"-500 7\r\n");
    }

    #[test]
    fn b8_long_reply_is_cut_at_a_character_and_keeps_its_line_end() {
        for shift in 0..4 {
            let text = reply(|r| write!(r, "{}{}\r\n", &"abc"[..shift % 4], "€".repeat(400)));
            assert!(text.len() <= ERROR_REPLY_BYTES);
            assert!(text.len() > ERROR_REPLY_BYTES - 4);
            let text = core::str::from_utf8(&text).expect("cut between characters");
            assert!(text.ends_with("€\r\n"));
        }
    }

    #[test]
    fn b8_long_reply_without_a_line_end_is_cut_at_a_character_too() {
        for (shift, end) in [(0, ""), (1, ""), (2, ""), (3, ""), (1, "\n")] {
            let text = reply(|r| write!(r, "{}{}{end}", &"abc"[..shift], "\u{1F980}".repeat(400)));
            assert!(text.len() <= ERROR_REPLY_BYTES && text.len() > ERROR_REPLY_BYTES - 4);
            core::str::from_utf8(&text).expect("cut between characters");
        }
    }

    #[test]
    fn line_end_that_falls_on_the_bound_is_not_doubled() {
        let text = reply(|r| {
            r.write(&[b'x'; ERROR_REPLY_BYTES - 1]);
            r.write(b"\r");
            r.write(b"\n");
        });
        assert_eq!(text.len(), ERROR_REPLY_BYTES);
        assert!(text.ends_with(b"x\r\n"));
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_where_they_stand() {
        assert_eq!(reply(|r| r.write(&[0x80; 600])).len(), ERROR_REPLY_BYTES);
    }
}
