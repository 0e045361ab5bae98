//! Framings and codecs, against models that look at one byte after the other.

use crate::wire::{Peer, talk};
use drywire_core::framing::{CodecError, Decode, Delimiter, Encode, Framing, LengthPrefix, Lines, Messages};
use drywire_core::{Connection, Limit, Limits, Reason, Refused, Writer};
use std::convert::Infallible;

const DELIMITERS: [&[u8]; 6] = [b"\0", b"\r\n", b"aa", b"aba", b"\r\n.\r\n", b"aabaa"];

/// A framing of the library, and how it is called here.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Lines { crlf: bool },
    Delimiter(&'static [u8]),
    Prefix { width: usize, big: bool },
}

impl Kind {
    fn of(byte: u8) -> Kind {
        match byte % 15 {
            0 => Kind::Lines { crlf: false },
            1 => Kind::Lines { crlf: true },
            2..8 => Kind::Delimiter(DELIMITERS[usize::from(byte % 15 - 2)]),
            8 => Kind::Prefix { width: 1, big: true },
            n => Kind::Prefix { width: 2 << ((n - 9) / 2), big: n % 2 == 0 },
        }
    }
}

/// Payload, and bytes taken up.
type Found = Result<Option<(Vec<u8>, usize)>, Limit>;

/// What the front of `input` is, from the documentation alone.
fn model(kind: Kind, max: usize, input: &[u8]) -> Found {
    let ending = match kind {
        Kind::Lines { .. } => b"\n",
        Kind::Delimiter(delimiter) => delimiter,
        Kind::Prefix { width, big } => {
            let Some(prefix) = input.get(..width) else { return Ok(None) };
            let mut prefix = prefix.to_vec();
            if !big {
                prefix.reverse();
            }
            let len = prefix.iter().fold(0u128, |n, byte| n * 256 + u128::from(*byte));
            if len > max as u128 {
                return Err(Limit::Frame(max));
            }
            let end = width as u128 + len;
            return Ok((input.len() as u128 >= end).then(|| (input[width..end as usize].to_vec(), end as usize)));
        }
    };
    for end in ending.len()..=input.len().min(max) {
        if input[..end].ends_with(ending) {
            let mut payload = input[..end - ending.len()].to_vec();
            if matches!(kind, Kind::Lines { .. }) && payload.last() == Some(&b'\r') {
                payload.pop();
            }
            return Ok(Some((payload, end)));
        }
    }
    if input.len() >= max { Err(Limit::Frame(max)) } else { Ok(None) }
}

/// All frames of `input`, what is left, and whether it ends with a limit. As in
/// `consume`, nobody asks about no input at all.
fn all(input: &[u8], mut find: impl FnMut(&[u8]) -> Found) -> (Vec<Vec<u8>>, usize, bool) {
    let (mut rest, mut frames) = (input, Vec::new());
    loop {
        if rest.is_empty() {
            return (frames, 0, false);
        }
        match find(rest) {
            Ok(None) => return (frames, rest.len(), false),
            Err(_) => return (frames, rest.len(), true),
            Ok(Some((payload, len))) => {
                assert!(len > 0 && len <= rest.len(), "a frame of {len} bytes in {}", rest.len());
                frames.push(payload);
                rest = &rest[len..];
            }
        }
    }
}

/// The same, though the input comes in portions: a framing remembers how far it looked.
fn in_portions<F: Framing>(input: &[u8], portions: &[u8], mut framing: F) -> (Vec<Vec<u8>>, usize, bool) {
    let (mut start, mut end, mut frames) = (0, 0, Vec::new());
    let mut portions = portions.iter().copied().cycle();
    loop {
        if start == input.len() {
            return (frames, 0, false);
        }
        if start == end {
            end = input.len().min(end + usize::from(portions.next().unwrap_or(0)).max(1));
        }
        match framing.find(&input[start..end]) {
            Err(_) => return (frames, input.len() - start, true),
            Ok(Some(frame)) => {
                frames.push(frame.payload.to_vec());
                start += frame.len;
            }
            Ok(None) if end == input.len() => return (frames, input.len() - start, false),
            Ok(None) => end = input.len().min(end + usize::from(portions.next().unwrap_or(0)).max(1)),
        }
    }
}

/// Payloads as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Decode for Raw {
    type Message = Vec<u8>;
    type Error = Infallible;

    fn decode(&self, payload: &[u8]) -> Result<Vec<u8>, Infallible> {
        Ok(payload.to_vec())
    }
}

impl Encode for Raw {
    type Message = Vec<u8>;

    fn encode(&self, message: &Vec<u8>, out: &mut Writer<'_>) -> Result<(), Refused> {
        out.write(message)
    }
}

/// Kind, bound and portions come first; the rest is the input.
pub fn framing(data: &[u8]) {
    let Some(([kind, max, big, a, b], input)) = data.split_first_chunk() else { return };
    let kind = Kind::of(*kind);
    // Small bounds are where the edges are; the largest must not be added to.
    let max = if *big == 255 { usize::MAX } else { usize::from(*max) };
    let portions = [*a, *b];
    match kind {
        Kind::Lines { crlf: false } => check(kind, max, &portions, input, Lines::new(max)),
        Kind::Lines { crlf: true } => check(kind, max, &portions, input, Lines::crlf(max)),
        Kind::Delimiter(delimiter) => check(kind, max, &portions, input, Delimiter::new(delimiter, max)),
        Kind::Prefix { width, big } => {
            let framing = match (width, big) {
                (1, _) => LengthPrefix::u8(max),
                (2, true) => LengthPrefix::u16_be(max),
                (2, false) => LengthPrefix::u16_le(max),
                (4, true) => LengthPrefix::u32_be(max),
                (4, false) => LengthPrefix::u32_le(max),
                (_, true) => LengthPrefix::u64_be(max),
                (_, false) => LengthPrefix::u64_le(max),
            };
            check(kind, max, &portions, input, framing);
        }
    }
}

fn check<F: Framing + Copy>(kind: Kind, max: usize, portions: &[u8], input: &[u8], framing: F) {
    let expected = all(input, |rest| model(kind, max, rest));
    let found = |framing: &mut F, rest: &[u8]| {
        framing.find(rest).map(|frame| frame.map(|frame| (frame.payload.to_vec(), frame.len)))
    };
    let mut whole = framing;
    assert_eq!(all(input, |rest| found(&mut whole, rest)), expected, "whole");
    assert_eq!(in_portions(input, &[1], framing), expected, "byte by byte");
    assert_eq!(in_portions(input, portions, framing), expected, "in portions");
    // Made again after an undone call: the same frame once more.
    let mut again = framing;
    let first = found(&mut again, input);
    if first != Ok(None) {
        assert_eq!(found(&mut again, input), first, "asked again");
    }
    in_a_connection(&expected, portions, input, framing);
    there_and_back(kind, max, input, framing);
}

/// As a protocol: each frame is an event, and memory is bounded whatever is announced.
fn in_a_connection<F: Framing>(expected: &(Vec<Vec<u8>>, usize, bool), portions: &[u8], input: &[u8], framing: F) {
    // More than any input here, so that only the framing refuses.
    let limits = Limits { input_bytes: 1 << 20, events: 2, ..Limits::DEFAULT };
    let mut reads = portions.to_vec();
    reads.push(1);
    let peer = Peer { reads: &reads, ..Peer::says(input) };
    let talk = talk(Connection::new(Messages::new(framing, Raw)).with_limits(limits), &peer, []);
    let (frames, rest, too_long) = expected;
    assert_eq!(&talk.events, frames);
    match talk.close.expect("the peer ended").reason {
        Reason::Limit(Limit::Frame(_)) => assert!(*too_long),
        Reason::Peer(CodecError::Truncated(n)) => assert!(!*too_long && n == *rest && n > 0),
        Reason::Finished => assert!(!*too_long && *rest == 0),
        reason @ (Reason::Requested
        | Reason::Peer(CodecError::BadMessage(_))
        | Reason::Limit(_)
        | Reason::Misuse(_)
        | Reason::Transport(_)
        | Reason::File(_)
        | Reason::Layer(_)
        | Reason::Stalled
        | Reason::Aborted
        | Reason::Panicked
        | Reason::Shed) => panic!("{reason:?}"),
    }
}

/// A payload that the framing can carry comes back from what it writes.
fn there_and_back<F: Framing + Copy>(kind: Kind, max: usize, payload: &[u8], mut framing: F) {
    let limits = Limits { output_bytes: 1 << 20, ..Limits::DEFAULT };
    let peer = Peer { ends: false, ..Peer::says(b"") };
    let connection = Connection::new(Messages::new(framing, Raw)).with_limits(limits);
    let talk = talk(connection, &peer, [payload.to_vec()]);
    let mut written = payload.to_vec();
    match kind {
        Kind::Lines { crlf } => written.extend(if crlf { &b"\r\n"[..] } else { b"\n" }),
        Kind::Delimiter(delimiter) => written.extend(delimiter),
        Kind::Prefix { width, big } => {
            let len = payload.len() as u128;
            if len >= 1 << (8 * width) {
                assert!(matches!(talk.close.expect("it cannot be said").reason, Reason::Limit(Limit::Frame(_))));
                assert_eq!(talk.output, b"");
                return;
            }
            let mut prefix = len.to_le_bytes()[..width].to_vec();
            if big {
                prefix.reverse();
            }
            written.splice(0..0, prefix);
        }
    }
    assert_eq!(talk.output, written);
    let expected = model(kind, max, &written);
    assert_eq!(framing.find(&written).map(|frame| frame.map(|frame| (frame.payload.to_vec(), frame.len))), expected);
}
