//! A reset ends one connection, with its reason (row B7, FAULTS 7, 8, 12).

use super::line_echo;
use crate::noise::assert_same;
use crate::peer::{ask, connect, read_line, read_n, reset, send, vanish};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::Talk;
use drywire_core::{Connection, Limits, Protocol, Reason, TransportError};
use drywire_protocols::LineEcho;

/// Every byte is accounted for, what had come was a prefix, and the others go on.
pub fn fault_7_reset_in_the_middle_of_a_write_is_one_report_and_a_prefix<S: Subject>() {
    const OWED: u64 = 8 << 20;
    let limits = Limits { output_bytes: 16 << 20, ..Talk::LIMITS };
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, move || Connection::new(Talk).with_limits(limits));
    let mut others: Vec<_> = (0..5).map(|_| stage.peer()).collect();
    stage.wait("five others", |seen| seen.len() == 5);
    for read in [0, 1, 100_000] {
        let (number, mut peer) = stage.known_narrow_peer();
        send(&mut peer, format!("owe {OWED}\n").as_bytes());
        let got = read_n(&mut peer, read + 1);
        Talk::noise().assert_at(0, &got);
        reset(peer);
        let report = stage.report(number);
        assert!(
            matches!(report.reason, Reason::Transport(TransportError::Reset | TransportError::BrokenPipe)),
            "{:?}",
            report.reason
        );
        let counters = report.counters;
        Stage::<S, Talk>::assert_counted(counters.sent + counters.unsent, OWED);
        assert!(counters.sent >= got.len() as u64 && counters.unsent > 0, "I1: {counters:?}, {} came", got.len());
        for other in &mut others {
            send(other, b"owe 10\n");
            Talk::noise().assert_at(0, &read_n(other, 10));
        }
    }
}

/// Its words that are no TLS end the connection, whatever is owed; what came must not be taken for all.
pub fn fault_77_peer_that_breaks_its_layer_while_it_is_owed_sees_a_reset<S: Subject>() {
    const OWED: u64 = 8 << 20;
    // It lingers for a peer that does not end.
    let limits = Limits { output_bytes: 16 << 20, linger_ms: 200, ..Talk::LIMITS };
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, move || Connection::new(Talk).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\n").as_bytes());
    let got = read_n(&mut peer, 1);
    Talk::noise().assert_at(0, &got);
    // Below TLS, or what no protocol of lines without it understands.
    peer.write_raw(&[0xFF; 32]).expect("connected");
    if !S::IS_TLS {
        return vanish(peer);
    }
    let mut slot = vec![0; 64 << 10];
    let end = loop {
        match peer.throw_away(&mut slot) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset), "an end would say that it was all");
    let report = stage.report(number);
    assert!(matches!(report.reason, Reason::Layer(_)) && report.counters.unsent > 0, "{report:?}");
}

/// Nothing was owed, and still it is no clean end.
pub fn fault_12_reset_while_idle_is_one_report<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut other = stage.peer();
    stage.wait("the other", |seen| seen.len() == 1);
    for text in [&b""[..], b"a line\n", b"half a line"] {
        let (number, mut peer) = stage.known_peer();
        send(&mut peer, text);
        if text.ends_with(b"\n") {
            assert_eq!(read_line(&mut peer).as_bytes(), text);
        }
        reset(peer);
        assert_eq!(stage.report(number).reason, Reason::Transport(TransportError::Reset));
    }
    send(&mut other, b"alive\n");
    assert_eq!(read_line(&mut other), "alive\n", "I5");
}

/// Gone before anybody looked; the listener lives, and each that was let in has its
/// report.
pub fn fault_8_resets_before_the_accept_cost_nobody_else_anything<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    for _ in 0..200 {
        reset(connect::<S>(stage.tcp()));
    }
    assert_same(&ask(stage.peer(), b"hello\n"), b"hello\n");
    stage.wait("all reports", |seen| seen.iter().all(|seen| !seen.reports.is_empty()));
}
