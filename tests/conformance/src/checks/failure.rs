//! A peer that breaks the protocol: its output is taken back, the reply goes out, and
//! the close is postponed until it has (row B8).

use super::dialog;
use crate::noise::assert_same;
use crate::peer::{ask, flood, read_rest, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::{NotDone, Talk};
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_protocols::{BadCommand, Dialog};

const REPLY: &[u8] = b"-500 protocol error, bad command\n";

/// Everything before it, the reply to it, and a clean end: the bytes behind it in the
/// socket must not turn the close into a reset.
pub fn b8_error_reply_arrives_though_the_peer_has_sent_much_more<S: Subject>() {
    let stage = Stage::<S, Dialog>::serve(dialog);
    for behind in [0, 1, 10_000, 500_000] {
        let (number, peer) = stage.known_peer();
        let text = [b"NOOP\nHELO\n", &b"NOOP\n".repeat(behind / 5)[..]].concat();
        assert_same(&ask(peer, &text), &[b"OK\n", REPLY].concat());
        let report = stage.report(number);
        assert_eq!(report.reason, Reason::Peer(BadCommand));
        assert_eq!(report.counters.unsent, 0);
    }
}

/// Half an answer that was written before the failure is never seen, nor an event.
pub fn b8_output_of_the_failed_call_is_taken_back<S: Subject>() {
    let stage = Stage::<S, Talk>::serve(|| Connection::new(Talk));
    let (number, peer) = stage.known_peer();
    let got = ask(peer, b"owe 1000\nheard\nfail\nnot heard\nowe 5\n");
    Talk::noise().assert_at(0, &got[..1000.min(got.len())]);
    assert_same(&got[1000.min(got.len())..], b"refused: that is not done\n");
    assert_eq!(stage.report(number).reason, Reason::Peer(NotDone));
    stage.scene.look(|seen| assert_eq!(seen[number].events, ["heard"]));
}

/// While the answer waits for the peer, what the peer goes on sending is not taken
/// without bound, and none of it is handled.
pub fn b8_reading_is_off_after_a_failure<S: Subject>() {
    const OWED: usize = 200_000;
    let limits = Limits { linger_bytes: 64 * 1024, linger_ms: 10_000, ..Talk::LIMITS };
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, move || Connection::new(Talk).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\nfail\n").as_bytes());
    // Nothing is read by the peer yet, so the reply is still to come.
    let sent = flood(&mut peer, 32 << 20, |_, slot| slot.fill(b'\n'));
    assert!(sent < 256 * 1024, "I2: {sent} bytes were taken after the failure");
    assert!(stage.scene.look(|seen| seen[number].reports.is_empty()), "closed before the reply was written");
    // More stands in the sockets than the linger allows, so the end may be a reset, and
    // it may destroy what is on its way: a prefix of what was owed.
    let mut expected = Talk::noise().bytes(OWED);
    expected.extend_from_slice(b"refused: that is not done\n");
    let (got, _) = read_rest(&mut peer);
    assert_same(&got, &expected[..got.len().min(expected.len())]);
    drop(peer);
    let report = stage.report(number);
    assert_eq!((report.reason, report.counters.unsent), (Reason::Peer(NotDone), 0));
    let bound = u64::from(limits.linger_bytes) + 64 * 1024;
    assert!(report.counters.received <= bound, "I2: {:?}, not {bound}", report.counters);
    stage.scene.look(|seen| assert_eq!(seen[number].events.len(), 0, "handled after the failure"));
}
