//! Text of others, fit for a log line and a terminal.
//!
//! [`Escaped`] and [`escaped`] are for what a peer has a say in: bounded, ASCII. [`printable`]
//! is for what an operator chose or a file holds: all of it, in its own letters.

use alloc::string::{String, ToString};
use core::fmt::{self, Write};

/// Shows bytes escaped: what is not printable ASCII comes as `\n`, `\x1b`, …
///
/// Nobody writes a line of our log but ourselves: no line end, no terminal
/// control gets through (FAULTS 71).
///
/// Bound: [`Escaped::MAX_BYTES`] of the bytes are shown, then `…`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    /// Bytes shown at most.
    pub const MAX_BYTES: usize = 256;
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(Escaped::MAX_BYTES)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

/// What `value` displays, escaped: an error of a protocol, or of a library, may quote its peer.
#[must_use]
pub fn escaped(value: &(impl fmt::Display + ?Sized)) -> String {
    let text = value.to_string();
    if text.len() <= Escaped::MAX_BYTES && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return text;
    }
    Escaped(text.as_bytes()).to_string()
}

/// What `value` displays, but for what would steer a terminal, end the line or turn it around: that
/// is written as its number, such as `\n`, `\x1b` or `\u{202e}` (FAULTS 71). A backslash stays one.
#[must_use]
pub fn printable(value: &(impl fmt::Display + ?Sized)) -> String {
    let mut shown = Shown(String::new());
    // Memory takes all of it; a `Display` that fails has written what it could.
    let _ = write!(shown, "{value}");
    shown.0
}

struct Shown(String);

impl Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match u8::try_from(c) {
                _ if !steers(c) => self.0.push(c),
                Ok(byte @ 0..0x80) => self.0.extend(byte.escape_ascii().map(char::from)),
                Ok(0x80..) | Err(_) => self.0.extend(c.escape_unicode()),
            }
        }
        Ok(())
    }
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_71_control_characters_are_escaped() {
        assert_eq!(Escaped(b"a\r\n\x1b[31mb\0\xff").to_string(), r"a\r\n\x1b[31mb\x00\xff");
        assert_eq!(escaped("fake\nline \u{202e}"), r"fake\nline \xe2\x80\xae");
    }

    #[test]
    fn fault_71_at_most_256_bytes_are_shown() {
        let text = Escaped(&[b'x'; 1000]).to_string();
        assert_eq!(text.chars().filter(|c| *c == 'x').count(), 256);
        assert!(text.ends_with('…'));
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(escaped("finished, 3 bytes \"x\""), "finished, 3 bytes \"x\"");
        assert_eq!(printable("Größe, 3 bytes \"x\" \\"), "Größe, 3 bytes \"x\" \\");
    }

    #[test]
    fn fault_71_text_that_would_steer_a_terminal_does_not() {
        assert_eq!(printable("a\x1b[2Jb\r\n\u{202e}c\u{61c} é"), r"a\x1b[2Jb\r\n\u{202e}c\u{61c} é");
        assert_eq!(printable("\u{9b}31m\u{7f}"), r"\u{9b}31m\x7f");
    }
}
