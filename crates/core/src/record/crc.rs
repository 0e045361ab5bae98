//! CRC-32, and its inverse: which single byte would explain a wrong checksum.
//!
//! A CRC is linear: the checksums of two texts of one length differ by a value
//! that depends on where and how they differ, and on nothing else. Walked back
//! byte by byte with the inverse table, that value shows the place.

/// The table of the reflected polynomial `0xEDB88320` (IEEE 802.3).
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Which entry of [`TABLE`] has this top byte: each has another.
const BY_TOP: [u8; 256] = {
    let mut by_top = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        by_top[(TABLE[byte] >> 24) as usize] = byte as u8;
        byte += 1;
    }
    by_top
};

/// The CRC-32 of `bytes`.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The CRC-32 of the first `n` bytes of `slices`.
pub(crate) fn crc_of_front(slices: &[&[u8]], n: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut left = n;
    for slice in slices {
        let piece = &slice[..slice.len().min(left)];
        hasher.update(piece);
        left -= piece.len();
    }
    hasher.finalize()
}

/// One byte that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneByte {
    /// Where, counted from the front of what was checked.
    pub at: usize,
    /// Which bits: the exclusive or of both values; never 0.
    pub bits: u8,
}

/// The single byte that makes the checksums of two texts of `len` bytes differ by
/// `syndrome`, their exclusive or. `None` when no single byte does, or when
/// more than one would (which up to 1024 bytes does not happen).
///
/// That one byte *would* explain it does not prove that only one differs: other
/// differences look the same with a chance of about `len / 2^24`.
#[must_use]
pub fn one_byte(syndrome: u32, len: usize) -> Option<OneByte> {
    let mut found = None;
    let mut state = syndrome;
    for at in (0..len).rev() {
        // One zero byte back: the only table entry with this top byte was used.
        let low = BY_TOP[(state >> 24) as usize];
        state = ((state ^ TABLE[low as usize]) << 8) | u32::from(low);
        if let (1..=0xff, None) = (state, found) {
            found = Some(OneByte { at, bits: low });
        } else if state <= 0xff {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The longest text whose bytes are told apart by promise.
    const PROMISED: usize = 1024;

    #[test]
    fn every_single_byte_up_to_the_promised_length_is_found_where_it_is() {
        let text: Vec<u8> = (0..PROMISED).map(|i| (i * 7 % 251) as u8).collect();
        let right = crc(&text);
        let mut wrong = text.clone();
        for at in 0..PROMISED {
            for bits in 1..=255 {
                wrong[at] ^= bits;
                assert_eq!(one_byte(right ^ crc(&wrong), PROMISED), Some(OneByte { at, bits }));
                wrong[at] ^= bits;
            }
        }
    }

    #[test]
    fn what_no_single_byte_explains_is_not_explained() {
        let (right, wrong) = (crc(b"hello, world"), crc(b"hellO, worlD"));
        assert_eq!(one_byte(right ^ wrong, 12), None);
        assert_eq!(one_byte(0, 12), None, "equal checksums have nothing to explain");
        assert_eq!(one_byte(1, 0), None);
    }

    #[test]
    fn front_of_pieces_is_hashed_as_one_text() {
        assert_eq!(crc_of_front(&[b"hel", b"", b"lo wor", b"ld"], 7), crc(b"hello w"));
    }
}
