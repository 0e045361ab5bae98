//! Each framing three ways: whole, byte by byte, with trailing bytes.

use super::super::{Delimiter, Frame, Framing, LengthPrefix, Lines, Search};
use super::{CRLF_DOT, PREFIXES, drain, drain_pieces};
use crate::limits::Limit;
use core::cell::Cell;
use memchr::memmem;
use std::vec;
use std::vec::Vec;

/// `wire` is these frames and then `rest` bytes of an unfinished one.
#[track_caller]
fn frames<F: Framing + Clone>(framing: &F, wire: &[u8], payloads: &[&[u8]], rest: usize) {
    let expected = (payloads.iter().map(|p| p.to_vec()).collect::<Vec<_>>(), wire.len() - rest);
    assert_eq!(drain(&mut framing.clone(), wire), Ok(expected.clone()), "whole");
    assert_eq!(drain_pieces(&mut framing.clone(), wire.chunks(1)), Ok(expected.clone()), "byte by byte");
    for trailing in [&b"x"[..], b"\0", b"\r", b"\n", b"\r\n.\r\n", &[0xFF; 9]] {
        let longer = [&wire[..expected.1], trailing].concat();
        let mut framing = framing.clone();
        let mut taken = 0;
        for payload in payloads {
            let frame = framing.find(&longer[taken..]).expect("within bounds").expect("whole");
            assert_eq!(frame.payload, *payload, "with {trailing:?} behind");
            taken += frame.len;
        }
        assert_eq!(taken, expected.1, "with {trailing:?} behind");
    }
}

/// `wire` is refused with `Limit::Frame(max)`, byte by byte as soon as `sure` bytes are there.
#[track_caller]
fn too_long<F: Framing + Clone>(framing: &F, wire: &[u8], max: usize, sure: usize) {
    assert_eq!(framing.clone().find(wire), Err(Limit::Frame(max)), "whole");
    assert_eq!(drain_pieces(&mut framing.clone(), wire.chunks(1)), Err((Limit::Frame(max), sure)), "byte by byte");
    let longer = [wire, b"\n\r\n.\r\n"].concat();
    assert_eq!(framing.clone().find(&longer), Err(Limit::Frame(max)), "with trailing bytes");
}

#[test]
fn fault_31_lf_and_crlf_both_end_a_line() {
    let lines = Lines::new(64);
    frames(&lines, b"", &[], 0);
    frames(&lines, b"one\ntwo\r\nthree", &[b"one", b"two"], 5);
    frames(&lines, b"\n\r\n\n", &[b"", b"", b""], 0);
    frames(&lines, b"QUIT\r", &[], 5);
}

#[test]
fn fault_30_cr_that_is_not_right_before_lf_is_payload() {
    let lines = Lines::new(64);
    frames(&lines, b"a\rb\n", &[b"a\rb"], 0);
    frames(&lines, b"a\r\r\n", &[b"a\r"], 0);
    frames(&lines, b"\rb\n\r", &[b"\rb"], 1);
}

#[test]
fn fault_29_which_ending_a_line_had_shows_in_its_length() {
    let mut lines = Lines::new(64);
    let ending = |frame: Frame<'_>| frame.len - frame.payload.len();
    assert_eq!(lines.find(b".\n").map(|f| f.map(ending)), Ok(Some(1)));
    assert_eq!(lines.find(b".\r\n").map(|f| f.map(ending)), Ok(Some(2)));
}

#[test]
fn fault_28_nul_ends_no_line() {
    frames(&Lines::new(64), b"a\0b\n\0\n", &[b"a\0b", b"\0"], 0);
}

#[test]
fn fault_72_bytes_that_are_no_text_stay_as_they_are() {
    frames(&Lines::new(64), b"\xFF\xC3\n\x80\r\n", &[b"\xFF\xC3", b"\x80"], 0);
}

#[test]
fn fault_27_line_bound_is_exact() {
    for lines in [Lines::new(4), Lines::crlf(4)] {
        frames(&lines, b"abc\n", &[b"abc"], 0);
        frames(&lines, b"ab\r\n", &[b"ab"], 0);
        frames(&lines, b"abc", &[], 3);
        too_long(&lines, b"abcd\n", 4, 4);
        too_long(&lines, b"abc\r\n", 4, 4);
        too_long(&lines, &[b'x'; 1000], 4, 4);
    }
}

#[test]
fn delimiter_ends_a_frame_at_its_first_occurrence() {
    let nul = Delimiter::new(b"\0", 64);
    frames(&nul, b"a\0\0bc\0d", &[b"a", b"", b"bc"], 1);
    let dot = Delimiter::new(CRLF_DOT, 64);
    frames(&dot, b"body\r\n.\r\n\r\n.\r\nmore\r\n.\r", &[b"body", b""], 8);
    frames(&dot, b"a\r\n.\r\n.\r\n", &[b"a"], 3);
    frames(&Delimiter::new(b"aab", 64), b"aaaab", &[b"aa"], 0);
}

#[test]
fn fault_29_near_misses_end_no_frame() {
    let dot = Delimiter::new(CRLF_DOT, 64);
    for near in [&b"x\n.\n"[..], b"x\r\n.\n", b"x\n.\r\n", b"x\r.\r", b"x\r\n.\r\r\n", b"x\r\n.\0\r\n"] {
        frames(&dot, near, &[], near.len());
    }
}

#[test]
fn delimiter_bound_is_exact() {
    let dot = Delimiter::new(CRLF_DOT, 8);
    frames(&dot, b"abc\r\n.\r\n", &[b"abc"], 0);
    too_long(&dot, b"abcd\r\n.\r\n", 8, 8);
    too_long(&dot, &[b'x'; 1000], 8, 8);
    frames(&Delimiter::new(b"\0", 1), b"\0\0", &[b"", b""], 0);
    too_long(&Delimiter::new(b"--", 1), b"--", 1, 1);
}

#[test]
#[should_panic(expected = "an empty delimiter ends nothing")]
fn empty_delimiter_panics() {
    let _ = Delimiter::new(b"", 64);
}

#[test]
fn prefix_of_every_width_announces_a_payload() {
    for (prefix, three) in PREFIXES {
        let wire = [three, b"abc", three, b"\r\n\0", three, b"x"].concat();
        frames(&prefix(64), &wire, &[b"abc", b"\r\n\0"], three.len() + 1);
    }
}

#[test]
fn fault_40_empty_frames_are_delivered() {
    for (prefix, three) in PREFIXES {
        frames(&prefix(0), &vec![0; three.len() * 3], &[b"", b"", b""], 0);
    }
    frames(&Lines::new(1), b"\n\n", &[b"", b""], 0);
}

#[test]
fn announced_bound_is_exact() {
    for (prefix, three) in PREFIXES {
        frames(&prefix(3), &[three, b"abc"].concat(), &[b"abc"], 0);
        too_long(&prefix(2), &[three, b"abc"].concat(), 2, three.len());
    }
}

#[test]
fn fault_41_42_any_announced_length_is_refused_or_waited_for() {
    // On a 32-bit target most of these do not fit `usize`; on any, the last ones
    // wrap once the prefix is added.
    let lengths = [65, u64::from(u16::MAX), u64::from(u32::MAX) + 1, 1 << 63, u64::MAX - 8, u64::MAX - 7, u64::MAX];
    for announced in lengths {
        too_long(&LengthPrefix::u64_be(64), &announced.to_be_bytes(), 64, 8);
        too_long(&LengthPrefix::u64_le(64), &announced.to_le_bytes(), 64, 8);
    }
    for announced in [usize::MAX - 8, usize::MAX - 7, usize::MAX] {
        let wire = (announced as u64).to_be_bytes();
        frames(&LengthPrefix::u64_be(usize::MAX), &wire, &[], 8);
    }
    too_long(&LengthPrefix::u8(254), &[255], 254, 1);
    too_long(&LengthPrefix::u16_le(254), &[0xFF, 0xFF], 254, 2);
    too_long(&LengthPrefix::u32_be(254), &[0xFF; 4], 254, 4);
}

// How far a search has looked.

/// Feeds `wire` byte by byte to a search and counts the bytes looked at.
fn looked_at(wire: &[u8], ending: &[u8]) -> usize {
    let looked = Cell::new(0);
    let mut search = Search::new(usize::MAX);
    let mut from = 0;
    for end in 1..=wire.len() {
        let found = search.frame_len(&wire[from..end], ending.len(), |unseen| {
            looked.set(looked.get() + unseen.len());
            memmem::find(unseen, ending)
        });
        from += found.expect("no bound").unwrap_or(0);
    }
    looked.get()
}

#[test]
fn bytes_that_come_one_by_one_are_looked_at_once() {
    let long_line = [&[b'x'; 9_999][..], b"\n"].concat();
    assert_eq!(looked_at(&long_line, b"\n"), 10_000);
    assert_eq!(looked_at(&long_line.repeat(3), b"\n"), 30_000);
    // A longer ending may have begun in what was looked at.
    assert!(looked_at(&[b'\r'; 10_000], CRLF_DOT) <= 10_000 * CRLF_DOT.len());
}

#[test]
fn call_that_is_made_again_finds_the_same() {
    let mut lines = Lines::new(8);
    assert_eq!(lines.find(b"ab"), Ok(None));
    assert_eq!(lines.find(b"ab"), Ok(None));
    let line = Ok(Some(Frame { payload: &b"abc"[..], len: 4 }));
    assert_eq!(lines.find(b"abc\n"), line);
    assert_eq!(lines.find(b"abc\n"), line);
    assert_eq!(lines.find(b"abc\nd\n"), line);
    assert_eq!(lines.find(b"d\n"), Ok(Some(Frame { payload: &b"d"[..], len: 2 })));
    assert_eq!(lines.find(b"123456789"), Err(Limit::Frame(8)));
    assert_eq!(lines.find(b"1\n3456789"), Ok(Some(Frame { payload: &b"1"[..], len: 2 })));
}

#[test]
fn shorter_input_is_searched_from_its_start() {
    let mut lines = Lines::new(8);
    assert_eq!(lines.find(b"abcdef"), Ok(None));
    assert_eq!(lines.find(b"x\nyz"), Ok(Some(Frame { payload: &b"x"[..], len: 2 })));
    let mut dot = Delimiter::new(CRLF_DOT, 16);
    assert_eq!(dot.find(b"abcdef"), Ok(None));
    assert_eq!(dot.find(CRLF_DOT), Ok(Some(Frame { payload: &b""[..], len: 5 })));
}
