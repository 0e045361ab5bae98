//! What the tests of this room share; `find` is input, `write` output and the way
//! back, `connection` both inside of a connection.

mod connection;
mod find;
mod write;

use super::{Framing, LengthPrefix};
use crate::limits::Limit;
use std::vec::Vec;

const CRLF_DOT: &[u8] = b"\r\n.\r\n";

/// A framing by its bound.
type Bounded = fn(usize) -> LengthPrefix;

/// Every width and order, with what they make of the length 3.
const PREFIXES: [(Bounded, &[u8]); 7] = [
    (LengthPrefix::u8, &[3]),
    (LengthPrefix::u16_be, &[0, 3]),
    (LengthPrefix::u16_le, &[3, 0]),
    (LengthPrefix::u32_be, &[0, 0, 0, 3]),
    (LengthPrefix::u32_le, &[3, 0, 0, 0]),
    (LengthPrefix::u64_be, &[0, 0, 0, 0, 0, 0, 0, 3]),
    (LengthPrefix::u64_le, &[3, 0, 0, 0, 0, 0, 0, 0]),
];

/// The payloads of frames, and how many bytes the frames took.
type Drained = (Vec<Vec<u8>>, usize);

/// All whole frames of `input`.
fn drain<F: Framing>(framing: &mut F, input: &[u8]) -> Result<Drained, Limit> {
    let mut payloads = Vec::new();
    let mut taken = 0;
    while let Some(frame) = framing.find(&input[taken..])? {
        assert!((1..=input.len() - taken).contains(&frame.len));
        payloads.push(frame.payload.to_vec());
        taken += frame.len;
    }
    Ok((payloads, taken))
}

/// The same when the bytes arrive in `pieces`. A limit comes with how many bytes
/// had arrived.
fn drain_pieces<'a, F: Framing>(
    framing: &mut F,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Drained, (Limit, usize)> {
    let mut payloads = Vec::new();
    let (mut arrived, mut taken) = (Vec::new(), 0);
    for piece in pieces {
        arrived.extend_from_slice(piece);
        let (more, n) = drain(framing, &arrived[taken..]).map_err(|limit| (limit, arrived.len()))?;
        payloads.extend(more);
        taken += n;
    }
    Ok((payloads, taken))
}
