//! Clean ends, and cut ones (FAULTS 75, 76).

use crate::support::{Authority, End, Pair, pattern, provider_of};
use drywire_core::layer::{Layer, Sink};
use drywire_tls::{CUT, Client, ProtocolVersion, Server, USED_UP};

#[test]
fn w8_end_is_told_behind_all_bytes_and_answers_still_go_the_other_way() {
    for piece in [1, 1000, usize::MAX] {
        let mut pair = Pair::plain().shaken();
        pair.server.room = 333;
        pair.client.says = pattern(5000);
        pair.client.speak();
        pair.client.ends();
        pair.carry(piece);
        assert!(pair.server.plain == pattern(5000) && pair.server.tls.has_ended());
        assert!(!pair.client.tls.has_ended(), "one direction has ended");
        assert_eq!(pair.server.tls.receive_end(), Ok(()));
        pair.server.says = pattern(300);
        pair.server.speak();
        pair.server.ends();
        pair.carry(piece);
        assert!(pair.client.plain == pattern(300) && pair.client.tls.has_ended());
        assert_eq!(pair.client.tls.receive_end(), Ok(()));
    }
}

#[test]
fn fault_75_cut_stream_is_told_apart_from_a_clean_end() {
    let mut pair = Pair::plain().shaken();
    pair.client.says = b"all of it?".to_vec();
    pair.carry(usize::MAX);
    assert_eq!(pair.server.plain, b"all of it?");
    assert_eq!(pair.server.tls.receive_end().unwrap_err().reason, CUT);
}

#[test]
fn fault_75_cut_inside_a_record_and_inside_the_handshake() {
    let mut pair = Pair::plain().shaken();
    pair.client.says = pattern(1000);
    pair.client.speak();
    let record = std::mem::take(&mut pair.client.wire);
    pair.server.hears(&record[..500]);
    assert_eq!((pair.server.plain.len(), pair.server.tls.receive_end().unwrap_err().reason), (0, CUT));

    let mut pair = Pair::plain();
    let hello = std::mem::take(&mut pair.client.wire);
    pair.server.hears(&hello[..100]);
    assert_eq!(pair.server.tls.receive_end().unwrap_err().reason, "the stream ended during the handshake");
}

/// What somebody appends behind the end is nobody's.
#[test]
fn w8_bytes_behind_the_end_are_dropped() {
    let mut pair = Pair::plain().shaken();
    pair.client.ends();
    pair.client.wire.extend(pattern(50_000));
    pair.carry(usize::MAX);
    assert_eq!((pair.server.failed, pair.server.plain.len(), pair.server.tls.has_ended()), (None, 0, true));
}

/// RUSTSEC-2024-0336: it has to come back at all.
#[test]
fn fault_76_end_in_the_middle_of_the_handshake_ends() {
    let mut pair = Pair::plain();
    let hello = std::mem::take(&mut pair.client.wire);
    pair.server.hears(&hello);
    pair.server.wire.clear();
    // An alert without encryption: warning, close_notify.
    pair.server.hears(&[21, 3, 3, 0, 2, 1, 0]);
    let failed = pair.server.failed.is_some() || pair.server.tls.receive_end().is_err();
    assert!(failed, "no handshake ends well that way");
}

const MOST: u64 = 64;

/// Two whose keys may encrypt so many records, and no more.
fn limited(version: ProtocolVersion) -> Pair {
    let authority = Authority::new();
    let server = Server::builder(authority.identity("localhost")).provider(provider_of(version, MOST));
    let client = Client::builder(authority.roots()).provider(provider_of(version, MOST));
    let pair = Pair::new(&client.build().unwrap(), &server.build().unwrap()).shaken();
    assert_eq!(pair.client.tls.version(), Some(version));
    pair
}

/// Sends pieces of this length, a record each or more, until none is taken. What was said to be.
fn sends_all_it_can(end: &mut End, piece: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for _ in 0..2 * MOST {
        let bytes = pattern(piece);
        match end.tls.send(&bytes, &mut Sink::unbounded(&mut end.wire)) {
            Ok(n) => sent.extend_from_slice(&bytes[..n]),
            Err(error) => {
                assert_eq!(error.reason, USED_UP);
                return sent;
            }
        }
    }
    panic!("{} bytes under one key", sent.len());
}

/// rustls swallows what comes behind its limit, and says that it was written.
#[test]
fn i1_no_byte_is_sent_that_the_keys_of_tls_1_2_are_used_up_for() {
    for piece in [1, 2, 100, 16_384, 16_385, 48 << 10] {
        for is_server in [true, false] {
            let Pair { client, server } = limited(ProtocolVersion::TLSv1_2);
            let (mut from, mut to) = if is_server { (server, client) } else { (client, server) };
            let sent = sends_all_it_can(&mut from, piece);
            // All but a few records are used.
            let least = (MOST as usize - 10) * piece / piece.div_ceil(16_384);
            assert!(sent.len() >= least, "{} bytes in pieces of {piece}", sent.len());
            assert!(from.tls.send(b"more", &mut Sink::unbounded(&mut from.wire)).is_err(), "still");
            to.hears(&std::mem::take(&mut from.wire));
            assert!(to.plain == sent, "{} of {} bytes in pieces of {piece}", to.plain.len(), sent.len());
            assert!(!to.tls.has_ended(), "there is more, so it is no end");
            // What was whole by then ends well.
            from.ends();
            to.hears(&from.wire);
            assert!(to.tls.has_ended() && to.failed.is_none());
        }
    }
}

#[test]
fn i1_keys_of_tls_1_3_are_renewed_and_carry_on() {
    let mut pair = limited(ProtocolVersion::TLSv1_3);
    for round in 0..5 * MOST as usize {
        pair.client.says = pattern(round % 50 * 1000);
        pair.server.says = pattern(round % 3);
        pair.carry(usize::MAX);
    }
    assert_eq!(pair.server.plain.len(), (0..5 * MOST as usize).map(|round| round % 50 * 1000).sum::<usize>());
    assert_eq!(pair.client.plain.len(), (0..5 * MOST as usize).map(|round| round % 3).sum::<usize>());
}

#[test]
fn sending_behind_a_failure_is_an_error() {
    for version in [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3] {
        let mut pair = limited(version);
        pair.server.hears(&[23, 3, 3, 0, 20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(pair.server.failed.is_some());
        let wire = pair.server.wire.len();
        assert!(pair.server.tls.send(b"too late", &mut Sink::unbounded(&mut pair.server.wire)).is_err());
        assert_eq!(pair.server.wire.len(), wire);
    }
}
