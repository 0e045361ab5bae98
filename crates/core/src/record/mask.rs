//! What must not be recorded: a mask blanks it on its way to the tape.

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
        let prefixes: Vec<Vec<u8>> = prefixes.into_iter().map(Into::into).collect();
        let longest = prefixes.iter().map(Vec::len).max().unwrap_or(0);
        let mut line = Line::new(&prefixes);
        let mut front = Vec::with_capacity(longest);
        Mask::new(move |chunk| {
            for byte in chunk {
                if *byte == b'\n' {
                    line = Line::new(&prefixes);
                    front.clear();
                    continue;
                }
                match line {
                    Line::Secret => {
                        if *byte != b'\r' {
                            *byte = b'*';
                        }
                    }
                    Line::Front if front.len() < longest => {
                        front.push(*byte);
                        if prefixes.iter().any(|prefix| prefix.eq_ignore_ascii_case(&front)) {
                            line = Line::Secret;
                        }
                    }
                    Line::Front => {}
                }
            }
        })
    }

    /// Blanks what the mask finds in the next piece of input.
    pub fn apply(&mut self, piece: &mut [u8]) {
        (self.0)(piece);
    }
}

/// Where [`Mask::after`] stands in a line.
enum Line {
    /// No prefix has matched yet.
    Front,
    /// Behind one.
    Secret,
}

impl Line {
    fn new(prefixes: &[Vec<u8>]) -> Line {
        if prefixes.iter().any(Vec::is_empty) { Line::Secret } else { Line::Front }
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
