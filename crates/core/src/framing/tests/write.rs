//! What a framing writes, and that it finds it again.

use super::super::{Delimiter, Framing, LengthPrefix, Lines};
use super::{CRLF_DOT, PREFIXES, drain, drain_pieces};
use crate::limits::Limit;
use crate::output::{MAX_SLICES, Output, Refusal, Refused, Resource, Writer};
use crate::workspace::Pool;
use memchr::memmem;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// What `write` makes of an empty queue that holds `cap` bytes.
fn written(cap: usize, write: impl FnOnce(&mut Writer<'_>) -> Result<(), Refused>) -> Result<Vec<u8>, Refusal> {
    let (mut output, mut pool, mut fuse) = (Output::default(), Pool::default(), 0);
    write(&mut Writer::new(&mut output, &mut pool, cap, usize::MAX, false, &mut fuse))
        .map_err(|Refused(refusal)| refusal)?;
    let mut slices: [&[u8]; MAX_SLICES] = [&[]; MAX_SLICES];
    let (count, more) = output.gather(&mut slices);
    assert!(!more, "a test writes less than one vectored write");
    Ok(slices[..count].concat())
}

fn framed<F: Framing>(framing: &F, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
    written(1 << 20, |out| framing.frame(out, |out| out.write(payload)))
}

#[test]
fn frames_are_written_with_prefix_or_ending() {
    assert_eq!(framed(&Lines::new(8), b"abc"), Ok(b"abc\n".to_vec()));
    assert_eq!(framed(&Lines::crlf(8), b"abc"), Ok(b"abc\r\n".to_vec()));
    assert_eq!(framed(&Delimiter::new(CRLF_DOT, 8), b"abc"), Ok(b"abc\r\n.\r\n".to_vec()));
    for (prefix, three) in PREFIXES {
        assert_eq!(framed(&prefix(8), b"abc"), Ok([three, b"abc"].concat()));
        assert_eq!(framed(&prefix(8), b""), Ok(vec![0; three.len()]));
    }
}

#[test]
fn payload_that_the_prefix_cannot_announce_is_refused() {
    let too_long = |most| Err(Refusal::Limit(Limit::Frame(most)));
    assert_eq!(framed(&LengthPrefix::u8(0), &[7; 255]).map(|wire| wire.len()), Ok(256));
    assert_eq!(framed(&LengthPrefix::u8(0), &[7; 256]), too_long(255));
    assert_eq!(framed(&LengthPrefix::u16_le(0), &[7; 65_535]).map(|wire| wire[..2].to_vec()), Ok(vec![255, 255]));
    assert_eq!(framed(&LengthPrefix::u16_be(0), &[7; 65_536]), too_long(65_535));
}

#[test]
fn frame_that_does_not_fit_is_refused() {
    let too_much = Err(Refusal::Limit(Limit::Output(6)));
    assert_eq!(written(6, |out| Lines::crlf(64).frame(out, |out| out.write(b"12345"))), too_much);
    assert_eq!(written(6, |out| LengthPrefix::u32_be(64).frame(out, |out| out.write(b"123"))), too_much);
    let ignored = written(6, |out| {
        LengthPrefix::u32_be(64).frame(out, |out| {
            let _ = out.write(b"123");
            out.write(b"1")
        })
    });
    assert_eq!(ignored, too_much);
}

#[test]
fn codecs_own_refusal_comes_through() {
    let refusal = Refusal::Full(Resource::Bytes);
    for (prefix, _) in PREFIXES {
        assert_eq!(written(64, |out| prefix(8).frame(out, |out| Err(out.refuse(refusal)))), Err(refusal));
    }
    assert_eq!(written(64, |out| Lines::new(8).frame(out, |out| Err(out.refuse(refusal)))), Err(refusal));
}

/// `payloads`, framed and cut into pieces at `cuts`, are found again.
#[track_caller]
fn round_trip<F: Framing + Clone>(framing: &F, payloads: &[Vec<u8>], cuts: &[prop::sample::Index]) {
    let wire = written(1 << 20, |out| payloads.iter().try_for_each(|p| framing.frame(out, |out| out.write(p))));
    let wire = wire.expect("fits");
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
    cuts.extend([0, wire.len()]);
    cuts.sort_unstable();
    let pieces = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]);
    assert_eq!(drain_pieces(&mut framing.clone(), pieces), Ok((payloads.to_vec(), wire.len())));
}

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Many of the bytes that mean something, some of all others.
    let byte = prop_oneof![3 => prop::sample::select(&b"\r\n.\0"[..]), 2 => any::<u8>()];
    prop::collection::vec(prop::collection::vec(byte, 0..200), 0..20)
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..40)
}

proptest! {
    #[test]
    fn fault_17_lines_are_the_same_under_every_split(mut payloads in payloads(), cuts in cuts()) {
        for payload in &mut payloads {
            payload.retain(|byte| *byte != b'\n');
            while payload.pop_if(|byte| *byte == b'\r').is_some() {}
        }
        round_trip(&Lines::new(201), &payloads, &cuts);
        round_trip(&Lines::crlf(202), &payloads, &cuts);
    }

    #[test]
    fn fault_17_delimited_frames_are_the_same_under_every_split(mut payloads in payloads(), cuts in cuts()) {
        for delimiter in [b"\0", CRLF_DOT, b"..", b"\r\r\n"] {
            payloads.retain(|p| memmem::find(&[p, delimiter].concat(), delimiter) == Some(p.len()));
            round_trip(&Delimiter::new(delimiter, 205), &payloads, &cuts);
        }
    }

    #[test]
    fn fault_17_announced_frames_are_the_same_under_every_split(payloads in payloads(), cuts in cuts()) {
        for (prefix, _) in PREFIXES {
            round_trip(&prefix(200), &payloads, &cuts);
        }
    }

    #[test]
    fn fault_41_42_no_prefix_panics(wire in prop::collection::vec(any::<u8>(), 0..64), max in any::<usize>()) {
        for (prefix, _) in PREFIXES {
            let whole = drain(&mut prefix(max), &wire);
            let pieces = drain_pieces(&mut prefix(max), wire.chunks(1));
            prop_assert_eq!(whole, pieces.map_err(|(limit, _)| limit));
        }
    }
}
