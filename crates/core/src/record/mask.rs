//! What must not be recorded: a mask blanks it on its way to the tape.

use crate::framing::LengthPrefix;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Blanks secrets in input that is about to be recorded.
///
/// It sees every byte of input once, in order, in the pieces they came in, and
/// changes what must not be seen. A secret may be split over pieces, so a mask
/// keeps its state from one to the next. What the protocol sees is not changed.
///
/// A recording with a mask holds no digests, no texts of events and no names of
/// files: the digest of something short gives it away to whoever tries them all.
/// What stays: how many bytes came and went, when, and why it ended. Commands
/// are not masked either: they are the application's own, and so is what its
/// [`Record`](super::Record) writes down.
pub struct Mask(Box<Blank>);

type Blank = dyn FnMut(&mut [u8]) + Send + Sync;

impl Mask {
    /// A mask of the application's own.
    pub fn new(mask: impl FnMut(&mut [u8]) + Send + Sync + 'static) -> Mask {
        Mask(Box::new(mask))
    }

    /// Changes no byte of input, and leaves digests and texts out all the same.
    #[must_use]
    pub fn nothing() -> Mask {
        Mask::new(|_| {})
    }

    /// Replaces by `*` what stands behind one of `prefixes` at the start of a
    /// line, up to its end. Letters match in either case; CR and LF stay.
    ///
    /// ```
    /// # use drywire_core::record::Mask;
    /// let mut mask = Mask::after(["PASS ", "AUTH "]);
    /// let mut input = *b"USER me\r\npass hunter2\r\nPASSIVE\r\n";
    /// mask.apply(&mut input);
    /// assert_eq!(&input, b"USER me\r\npass *******\r\nPASSIVE\r\n");
    /// ```
    ///
    /// Bound: keeps as many bytes as the longest prefix has.
    pub fn after<I>(prefixes: I) -> Mask
    where
        I: IntoIterator<Item: Into<Vec<u8>>>,
    {
        let mut lines = Lines::new(prefixes);
        Mask::new(move |piece| lines.blank(piece))
    }

    /// The same in messages behind their length: a message begins a line, and its end ends one. The
    /// lengths stay, whatever they look like.
    ///
    /// ```
    /// # use drywire_core::framing::LengthPrefix;
    /// # use drywire_core::record::Mask;
    /// let mut mask = Mask::in_messages(LengthPrefix::u8(255), ["PASS "]);
    /// let mut input = *b"\x0cPASS hunter2\x04NOOP";
    /// mask.apply(&mut input);
    /// assert_eq!(&input, b"\x0cPASS *******\x04NOOP");
    /// ```
    ///
    /// Bound: keeps a length, and as many bytes as the longest prefix has.
    pub fn in_messages<I>(length: LengthPrefix, prefixes: I) -> Mask
    where
        I: IntoIterator<Item: Into<Vec<u8>>>,
    {
        let mut lines = Lines::new(prefixes);
        // Of a length that is not whole, and of the message behind it, the bytes still to come.
        let (mut announced, mut left) = (Vec::with_capacity(length.width()), 0_u64);
        Mask::new(move |mut piece| {
            while !piece.is_empty() {
                if left == 0 {
                    announced.push(piece[0]);
                    piece = &mut piece[1..];
                    if announced.len() == length.width() {
                        left = length.announced(&announced);
                        announced.clear();
                        lines.begin();
                    }
                } else {
                    let n = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
                    let (message, rest) = piece.split_at_mut(n);
                    lines.blank(message);
                    left -= n as u64;
                    piece = rest;
                }
            }
        })
    }

    /// The same mask, for input whose front is missing, and with it the beginning of the first line:
    /// blanks all up to the first LF, and goes on from there.
    #[must_use]
    pub fn from_next_line(mut self) -> Mask {
        let mut is_in_line = false;
        Mask::new(move |piece| {
            let mut piece = piece;
            if !is_in_line {
                let end = piece.iter().position(|byte| *byte == b'\n');
                is_in_line = end.is_some();
                let (unknown, rest) = piece.split_at_mut(end.map_or(piece.len(), |end| end + 1));
                unknown.iter_mut().filter(|byte| !matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b'*');
                piece = rest;
            }
            self.apply(piece);
        })
    }

    /// Blanks what the mask finds in the next piece of input.
    pub fn apply(&mut self, piece: &mut [u8]) {
        (self.0)(piece);
    }
}

/// Blanks the rest of lines that begin with a prefix, in any number of pieces.
struct Lines {
    prefixes: Vec<Vec<u8>>,
    longest: usize,
    /// What the line begins with, up to the longest prefix.
    front: Vec<u8>,
    is_secret: bool,
}

impl Lines {
    fn new<I>(prefixes: I) -> Lines
    where
        I: IntoIterator<Item: Into<Vec<u8>>>,
    {
        let prefixes: Vec<Vec<u8>> = prefixes.into_iter().map(Into::into).collect();
        let longest = prefixes.iter().map(Vec::len).max().unwrap_or(0);
        let mut lines = Lines { prefixes, longest, front: Vec::with_capacity(longest), is_secret: false };
        lines.begin();
        lines
    }

    /// A line begins with the next byte.
    fn begin(&mut self) {
        self.front.clear();
        self.is_secret = self.prefixes.iter().any(Vec::is_empty);
    }

    fn blank(&mut self, piece: &mut [u8]) {
        for byte in piece {
            if *byte == b'\n' {
                self.begin();
            } else if self.is_secret {
                if *byte != b'\r' {
                    *byte = b'*';
                }
            } else if self.front.len() < self.longest {
                self.front.push(*byte);
                self.is_secret = self.prefixes.iter().any(|prefix| prefix.eq_ignore_ascii_case(&self.front));
            }
        }
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(pieces: &[&[u8]]) -> Vec<u8> {
        let mut mask = Mask::after(["PASS ", "AUTH PLAIN "]);
        let mut all = Vec::new();
        for piece in pieces {
            let mut piece = piece.to_vec();
            mask.apply(&mut piece);
            all.extend(piece);
        }
        all
    }

    #[test]
    fn rest_of_the_line_behind_a_prefix_is_blank_wherever_it_is_split() {
        let text = b"USER a\r\nPASS secret PASS\r\nauth plain x\n PASS no\nPASS";
        let blank = b"USER a\r\nPASS ***********\r\nauth plain *\n PASS no\nPASS";
        for at in 0..=text.len() {
            let (front, back) = text.split_at(at);
            assert_eq!(masked(&[front, back]), blank);
        }
    }

    /// As the hub has it, but shorter: two bytes of length, least significant first.
    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let frame = |message: &&[u8]| [&u16::try_from(message.len()).unwrap().to_le_bytes()[..], message].concat();
        messages.iter().flat_map(frame).collect()
    }

    #[test]
    fn rest_of_a_message_behind_a_prefix_is_blank_wherever_it_is_split_and_lengths_stay() {
        // The third is as long as LF is, and its length is not the end of a line.
        let input =
            framed(&[b"USER me", b"PASS hunter2", b"no PASS x\n", b"", b"pass", b"a\nPASS x\r\nb", &[b'x'; 0x50]]);
        let blank =
            framed(&[b"USER me", b"PASS *******", b"no PASS x\n", b"", b"pass", b"a\nPASS *\r\nb", &[b'x'; 0x50]]);
        for at in 0..=input.len() {
            let mut mask = Mask::in_messages(LengthPrefix::u16_le(9), ["PASS "]);
            let mut masked = input.clone();
            let (front, back) = masked.split_at_mut(at);
            mask.apply(front);
            mask.apply(back);
            assert_eq!(masked, blank, "{at}");
        }
        let mut mask = Mask::in_messages(LengthPrefix::u16_le(9), ["PASS "]);
        let mut masked = input.clone();
        masked.iter_mut().for_each(|byte| mask.apply(core::slice::from_mut(byte)));
        assert_eq!(masked, blank);
    }

    #[test]
    fn length_that_no_memory_could_hold_is_one_long_message() {
        let mut mask = Mask::in_messages(LengthPrefix::u64_be(9), ["PASS "]);
        let mut input = *b"\xff\xff\xff\xff\xff\xff\xff\xffPASS x";
        mask.apply(&mut input);
        assert!(input.ends_with(b"PASS *"));
    }

    #[test]
    fn what_may_be_the_end_of_a_secret_is_blank_where_the_front_is_missing() {
        let text = b"nter2\r\nUSER me\r\nPASS x\r\n";
        for at in 0..=text.len() {
            let mut mask = Mask::after(["PASS "]).from_next_line();
            let mut masked = text.to_vec();
            let (front, back) = masked.split_at_mut(at);
            mask.apply(front);
            mask.apply(back);
            assert_eq!(masked, b"*****\r\nUSER me\r\nPASS *\r\n");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "(PASS |pass|AUTH PLAIN |[a-z ]{0,3}|\r|\n){0,12}", cuts in prop::collection::vec(0usize..60, 0..8)) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            pieces.push(&text[from..]);
            prop_assert_eq!(masked(&pieces), masked(&[text]));
        }
    }
}
