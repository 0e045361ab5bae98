//! Each direction ends by itself: batch input gets everything it is owed (row E7).

use super::line_echo;
use crate::noise::assert_same;
use crate::peer::{ask, read_end, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_protocols::LineEcho;
use std::thread;
use std::time::Duration;

/// A file of lines on standard input, as it were, through the small queue.
pub fn e7_batch_input_gets_all_that_is_owed_then_a_clean_end<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(|| Connection::new(LineEcho).with_limits(LineEcho::SMALL));
    let (number, peer) = stage.known_peer();
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    assert_same(&ask(peer, text.as_bytes()), text.as_bytes());
    let report = stage.report(number);
    assert_eq!((report.reason, report.counters.unsent), (Reason::Finished, 0));
    Stage::<S, LineEcho>::assert_counted(report.counters.sent, text.len() as u64);
}

/// The client ends before it has read a single byte of three megabytes.
pub fn e7_three_megabytes_owed_at_the_end_of_input_all_come<S: Subject>() {
    const LINE: &[u8] = b"sixty-four bytes make up this line, and the line feed is the last\n";
    let owed = LINE.repeat(3_000_000 / LINE.len());
    let limits = Limits { output_bytes: 4 << 20, ..Limits::DEFAULT };
    let stage =
        Stage::<S, LineEcho>::serve_with(Options::NARROW, move || Connection::new(LineEcho).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, &owed);
    peer.end().expect("connected");
    thread::sleep(Duration::from_millis(50));
    let got = read_end(&mut peer);
    assert_same(&got, &owed);
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Finished);
}

/// A peer that ends its transport and not its TLS, before it has read a byte of a megabyte: its complete
/// lines come back, then a clean end. The last line may be half of one, and is nobody's.
pub fn fault_75_peer_that_ends_without_a_goodbye_gets_all_that_it_is_owed<S: Subject>() {
    const LINE: &[u8] = b"sixty-four bytes make up this line, and the line feed is the last\n";
    const REST: &[u8] = b"GET half-a-na";
    let owed = LINE.repeat(1_000_000 / LINE.len());
    let limits = Limits { output_bytes: 2 << 20, ..Limits::DEFAULT };
    let stage =
        Stage::<S, LineEcho>::serve_with(Options::NARROW, move || Connection::new(LineEcho).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, &owed);
    send(&mut peer, REST);
    peer.end_transport().expect("connected");
    // It is heard before the answer is read.
    thread::sleep(Duration::from_millis(50));
    let got = read_end(&mut peer);
    drop(peer);
    let report = stage.report(number);
    assert_eq!(report.counters.unsent, 0);
    if S::IS_TLS {
        let Reason::Layer(error) = report.reason else { panic!("{:?}", report.reason) };
        assert_eq!(error.reason, drywire_tls::CUT);
        assert_same(&got, &owed);
    } else {
        // It is an end like any other.
        assert_eq!(report.reason, Reason::Finished);
        assert_same(&got, &[&owed, REST].concat());
    }
}

/// What stands there is echoed, then the end.
pub fn e7_unterminated_line_at_the_end_of_input_comes_back_as_it_stands<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    for text in [&b"a line\nand no line"[..], b"no line\r", b"\0"] {
        let (number, peer) = stage.known_peer();
        assert_same(&ask(peer, text), text);
        assert_eq!(stage.report(number).reason, Reason::Finished);
    }
}

/// Nothing asked, nothing owed.
pub fn e7_end_of_input_right_after_the_connect_is_a_clean_end<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    for _ in 0..20 {
        assert_same(&ask(stage.peer(), b""), b"");
    }
    stage.wait_for_ends(20);
    stage.scene.look(|seen| assert!(seen.iter().all(|seen| seen.reports[0].reason == Reason::Finished)));
}

/// The peer keeps its own direction open: what it sees is our end, and not the one of
/// the connection, which would come with its own end, or with the end of the linger.
pub fn e7_our_end_comes_though_the_peer_keeps_its_own_direction_open<S: Subject>() {
    // Nobody waits for as long as it lingers.
    let linger_ms = u32::try_from(4 * S::PATIENCE.as_millis()).expect("less than a month").max(60_000);
    let limits = Limits { linger_ms, ..LineEcho::LIMITS };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    for text in [&b"quit\n"[..], b"hello\nquit\n"] {
        let (number, mut peer) = stage.known_peer();
        send(&mut peer, text);
        assert_same(&read_end(&mut peer), text);
        assert!(stage.scene.look(|seen| seen[number].reports.is_empty()), "its own end is still to come");
        drop(peer);
        assert_eq!(stage.report(number).reason, Reason::Finished);
    }
}
