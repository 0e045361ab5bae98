//! Clean ends, and cut ones (FAULTS 75, 76).

use crate::support::{Pair, pattern};
use drywire_core::layer::Layer;
use drywire_tls::CUT;

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
