//! The line echo.

use crate::sent::Sent;
use crate::wire::Peer;
use drywire_core::{Limit, Limits, Misuse, Reason};
use drywire_protocols::LineEcho;
use proptest::prelude::*;

/// What comes back: everything up to a `quit`, or the end.
fn echo_of(input: &[u8]) -> &[u8] {
    let mut at = 0;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line == b"quit\n" || line == b"quit\r\n" {
            break;
        }
    }
    &input[..at]
}

/// Whole and byte by byte, then with more lines behind.
#[track_caller]
fn echoes(input: &[u8]) {
    let more = [input, b"behind\nquit\n"].concat();
    let peers =
        [Peer::says(input), Peer::says(input).byte_by_byte(), Peer::says(&more), Peer::says(&more).byte_by_byte()];
    for (peer, said) in peers.into_iter().zip([input, input, &more, &more]) {
        let seen = peer.meets(LineEcho);
        assert_eq!(seen.sent, Sent::of(echo_of(said)));
        assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
    }
}

#[test]
fn b9_e7_lines_come_back_as_they_came() {
    echoes(b"hello\n");
    echoes(b"hello\r\n");
    echoes(b"\n");
    echoes(b"\r\n");
    echoes(b"a\nb\r\n\n\nc\n");
    echoes(&[&[b'x'; 10_238][..], b"\r\n"].concat());
}

#[test]
fn e7_unterminated_last_line_comes_back_as_it_stands() {
    echoes(b"");
    echoes(b"hello");
    echoes(b"one\ntwo");
    echoes(b"one\ntwo\r");
    echoes(b"one\nquit");
    let longest = [b'x'; 10_239];
    assert_eq!(Peer::says(&longest).meets(LineEcho).sent, Sent::of(&longest));
}

#[test]
fn e5_quit_comes_back_and_is_the_last() {
    for quit in [&b"quit\n"[..], b"quit\r\n"] {
        let said = [b"one\n", quit, b"two\nquit\n", &[b'x'; 20_000]].concat();
        for peer in [Peer::says(&said), Peer::says(&said).byte_by_byte(), Peer::says(&said).stays()] {
            let seen = peer.meets(LineEcho);
            assert_eq!(seen.sent, Sent::of(&[b"one\n", quit].concat()));
            let report = seen.report.expect("closed");
            assert_eq!(report.reason, Reason::Finished);
            assert_eq!(report.counters.received, said.len() as u64);
        }
    }
}

#[test]
fn e5_only_quit_itself_ends_the_session() {
    for line in ["quit ", " quit", "QUIT", "quit\r\r", "\rquit", "quitt", "qui", "quit\0"] {
        let said = format!("{line}\nbehind\n");
        assert_eq!(Peer::says(said.as_bytes()).meets(LineEcho).sent, Sent::of(said.as_bytes()));
    }
}

#[test]
fn b9_a_line_waits_until_it_is_whole() {
    let seen = Peer::says(b"whole\nnot who").stays().meets(LineEcho);
    assert_eq!(seen.sent, Sent::of(b"whole\n"));
    assert_eq!(seen.report, None);
    assert_eq!(seen.peak_bytes, 7);
}

#[test]
fn fault_27_endless_line_is_refused_with_a_reply_and_closed() {
    let said = [&b"fine\n"[..], &[b'x'; 50_000]].concat();
    for peer in [Peer::says(&said), Peer::says(&said).cut(&[999]), Peer::says(&said).stays()] {
        let seen = peer.meets(LineEcho);
        assert_eq!(seen.sent, Sent::of(b"fine\nerror: line too long\n"));
        let report = seen.report.expect("closed");
        assert!(matches!(report.reason, Reason::Limit(Limit::Input(10_240) | Limit::Frame(_))), "{:?}", report.reason);
        assert!(seen.peak_bytes <= 10_240, "{} bytes", seen.peak_bytes);
    }
}

#[test]
fn fault_28_nul_and_bare_cr_are_bytes_of_the_line() {
    echoes(b"a\0b\n\0\n");
    echoes(b"a\rb\n\r\n\r\r\n");
}

#[test]
fn fault_31_the_line_end_is_counted_once() {
    for len in 0..20 {
        for end in [&b"\n"[..], b"\r\n"] {
            echoes(&[&vec![b'x'; len], end, b"next", end].concat());
        }
    }
}

#[test]
fn fault_72_broken_utf8_comes_back_as_it_is() {
    echoes(b"\xc3\x28\n\xff\xfe\r\n\x80");
}

#[test]
fn e7_reading_pauses_while_4096_bytes_of_output_wait() {
    let said = b"0123456\n".repeat(4000);
    let mut peer = Peer::says(&said);
    peer.takes = 0;
    let seen = peer.meets_with(LineEcho, LineEcho::SMALL);
    assert_eq!(seen.received, 2 * 4096);
    assert_eq!(seen.report.expect("closed after the stall").reason, Reason::Stalled);

    let mut peer = Peer::says(&said);
    peer.takes = 1000;
    peer.stutters = true;
    let seen = peer.meets_with(LineEcho, LineEcho::SMALL);
    assert_eq!(seen.sent, Sent::of(&said));
    assert!(seen.peak_bytes <= 2 * 4096);
}

#[test]
fn e7_longest_line_fits_the_small_bounds() {
    let longest = [&[b'x'; 4095][..], b"\n"].concat();
    let seen = Peer::says(&[&longest[..], &longest[..4095]].concat()).meets_with(LineEcho, LineEcho::SMALL);
    assert_eq!(seen.sent, Sent::of(&[&longest[..], &longest[..4095]].concat()));
    assert_eq!(seen.report.expect("closed").reason, Reason::Finished);

    let seen = Peer::says(&[b'x'; 4096]).meets_with(LineEcho, LineEcho::SMALL);
    assert_eq!(seen.sent, Sent::of(b"error: line too long\n"));
}

#[test]
fn e7_fault_9_batch_input_is_answered_whole_after_its_end() {
    let said = b"a line of a batch\r\n".repeat(2000);
    let mut peer = Peer::says(&said);
    peer.takes = 7;
    peer.stutters = true;
    let seen = peer.meets(LineEcho);
    assert_eq!(seen.sent, Sent::of(&said));
    assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
}

#[test]
fn e7_other_limits_are_named_too() {
    let idle = Peer::says(b"one\ntw").stays();
    let seen = idle.meets_with(LineEcho, Limits { idle_ms: 3000, ..Limits::DEFAULT });
    assert_eq!(seen.sent, Sent::of(b"one\nerror: nothing moved for 3000 ms\n"));

    let long = Peer::says(b"0123\n0123456789\n");
    let seen = long.meets_with(LineEcho, Limits { output_bytes: 10, ..Limits::DEFAULT });
    assert_eq!(seen.sent, Sent::of(b"0123\nerror: one reply longer than the output limit of 10 bytes\n"));
    assert_ne!(seen.report.expect("closed").reason, Reason::Misuse(Misuse::WriteAfterEnd));
}

#[test]
fn b10_a_false_full_at_any_write_changes_nothing() {
    let said = b"one\r\ntwo\n\nfour\nquit\nfive\n";
    for nth in 0..8 {
        for peer in [Peer::says(said), Peer::says(said).cut(&[3]), Peer::says(b"one\ntwo")] {
            let whole = peer.says.concat();
            let mut peer = peer;
            peer.refuse = vec![nth; 40];
            let seen = peer.meets(LineEcho);
            assert_eq!(seen.sent, Sent::of(echo_of(&whole)), "refusing write {nth}");
        }
    }
}

proptest! {
    /// E7, FAULTS 15 to 17: what comes back depends on the bytes alone.
    #[test]
    fn e7_portions_slow_peers_and_false_refusals_change_nothing(
        lines in prop::collection::vec("(quit|quit\r|[a-c\0\r]{0,9}|é)\n", 0..30),
        last in "(quit|[a-c\r]{0,5})",
        cuts in prop::collection::vec(1_usize..40, 1..6),
        takes in 1_usize..30,
        stutters: bool,
        refuse in prop::collection::vec(0_u32..5, 0..60),
    ) {
        let said = lines.concat() + &last;
        let mut peer = Peer::says(said.as_bytes()).cut(&cuts);
        peer.takes = takes;
        peer.stutters = stutters;
        peer.refuse = refuse;
        let seen = peer.meets_with(LineEcho, Limits { input_bytes: 64, output_bytes: 64, ..Limits::DEFAULT });
        prop_assert_eq!(seen.sent, Sent::of(echo_of(said.as_bytes())));
        prop_assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
    }
}
