//! The byte echo.

use crate::sent::Sent;
use crate::wire::Peer;
use drywire_core::{Limits, Reason, TransportError};
use drywire_protocols::ByteEcho;
use proptest::prelude::*;

/// More than both buffers hold, every byte value at every distance from a chunk's end.
fn plenty() -> Vec<u8> {
    (0..70_001_u32).map(|n| (n ^ (n >> 8)) as u8).collect()
}

#[test]
fn e8_every_byte_comes_back_and_then_the_end() {
    for input in [&b""[..], b"\n", b"\0\r\xff\x80", b"no line end", &plenty()] {
        let seen = Peer::says(input).meets(ByteEcho);
        assert_eq!(seen.sent, Sent::of(input));
        assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
    }
}

#[test]
fn e8_fault_17_byte_by_byte_is_the_same() {
    let input = &plenty()[..5000];
    assert_eq!(Peer::says(input).byte_by_byte().meets(ByteEcho).sent, Sent::of(input));
}

#[test]
fn e8_an_echo_goes_out_in_the_turn_its_bytes_came_in() {
    let seen = Peer::says(b"now").stays().meets(ByteEcho);
    assert_eq!(seen.sent, Sent::of(b"now"));
    assert_eq!(seen.report, None);
    assert_eq!(seen.peak_bytes, 0);
}

#[test]
fn e8_fault_9_what_is_owed_at_the_end_of_input_is_still_written() {
    let input = &plenty()[..16_384];
    let mut peer = Peer::says(input);
    peer.takes = 1;
    peer.stutters = true;
    let seen = peer.meets(ByteEcho);
    assert_eq!(seen.sent, Sent::of(input));
    assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
}

#[test]
fn e8_reading_stops_at_one_buffer_each_way_while_the_peer_takes_nothing() {
    let mut peer = Peer::says(&plenty());
    peer.takes = 0;
    let seen = peer.meets(ByteEcho);
    assert_eq!(seen.received, 2 * 16_384);
    assert_eq!(seen.peak_bytes, 2 * 16_384);
    assert_eq!(seen.report.expect("closed after the stall").reason, Reason::Stalled);
}

#[test]
fn e8_would_block_broken_pipe_and_reset_are_told_apart() {
    for error in [TransportError::Reset, TransportError::BrokenPipe, TransportError::TimedOut] {
        let mut reads = Peer::says(b"echoed");
        reads.read_fails = Some(error);
        let seen = reads.meets(ByteEcho);
        assert_eq!(seen.sent, Sent::of(b"echoed"));
        assert_eq!(seen.report.expect("closed").reason, Reason::Transport(error));

        let mut writes = Peer::says(b"lost");
        writes.write_fails = Some(error);
        assert_eq!(writes.meets(ByteEcho).report.expect("closed").reason, Reason::Transport(error));
    }
}

#[test]
fn fault_72_broken_utf8_stays_as_it_is() {
    let input = b"\xc3\x28 \xed\xa0\x80 \xf0\x9f\x92";
    assert_eq!(Peer::says(input).byte_by_byte().meets(ByteEcho).sent, Sent::of(input));
}

proptest! {
    /// E8, FAULTS 15, 16, 17: portions, slow peers, small bounds and false refusals
    /// change nothing. An output bound below the input bound is no reason to fail.
    #[test]
    fn e8_nothing_changes_the_bytes(
        input in prop::collection::vec(any::<u8>(), 0..600),
        cuts in prop::collection::vec(1_usize..90, 1..6),
        takes in 1_usize..40,
        stutters: bool,
        refuse in prop::collection::vec(0_u32..4, 0..40),
        input_bytes in 1_u32..64,
        output_bytes in 1_u32..64,
    ) {
        let mut peer = Peer::says(&input).cut(&cuts);
        peer.takes = takes;
        peer.stutters = stutters;
        peer.refuse = refuse;
        let seen = peer.meets_with(ByteEcho, Limits { input_bytes, output_bytes, ..Limits::DEFAULT });
        prop_assert_eq!(seen.sent, Sent::of(&input));
        prop_assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
    }
}
