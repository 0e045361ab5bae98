//! Bytes from a peer, fit for a log line.

use std::fmt::{self, Write};

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

/// What `value` displays, escaped: an error of a protocol may quote its peer.
#[must_use]
pub fn escaped(value: &impl fmt::Display) -> String {
    let text = value.to_string();
    if text.len() <= Escaped::MAX_BYTES && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return text;
    }
    Escaped(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_71_control_characters_are_escaped() {
        assert_eq!(Escaped(b"a\r\n\x1b[31mb\0\xff").to_string(), r"a\r\n\x1b[31mb\x00\xff");
        assert_eq!(escaped(&"fake\nline \u{202e}"), r"fake\nline \xe2\x80\xae");
    }

    #[test]
    fn fault_71_at_most_256_bytes_are_shown() {
        let text = Escaped(&[b'x'; 1000]).to_string();
        assert_eq!(text.chars().filter(|c| *c == 'x').count(), 256);
        assert!(text.ends_with('…'));
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(escaped(&"finished, 3 bytes \"x\""), "finished, 3 bytes \"x\"");
    }
}
