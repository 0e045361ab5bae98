//! Bounds of input and output, and what a peer hears that breaks them (FAULTS 27).

use super::line_echo;
use crate::noise::assert_same;
use crate::peer::{ask, read_end, read_line, send};
use crate::stage::Stage;
use crate::subject::Subject;
use crate::talk::Talk;
use drywire_core::{Connection, Limit, Limits, Protocol, Reason};
use drywire_protocols::LineEcho;
use std::io::Write;

const LINE: usize = Limits::DEFAULT.input_bytes as usize;

/// The reply is whole though more input stands behind the bound, the end is clean.
pub fn fault_27_endless_line_gets_the_error_reply_and_others_notice_nothing<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut other = stage.peer();
    send(&mut other, b"before\n");
    assert_eq!(read_line(&mut other), "before\n");
    for len in [LINE + 1, 10 * LINE, 50 * LINE] {
        let (number, peer) = stage.known_peer();
        let mut text = b"fine\n".to_vec();
        text.resize(text.len() + len, b'x');
        assert_same(&ask(peer, &text), b"fine\nerror: line too long\n");
        assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Input(LINE)));
        send(&mut other, b"after\n");
        assert_eq!(read_line(&mut other), "after\n", "I5");
    }
    // The longest that is allowed.
    let mut text = vec![b'x'; LINE - 1];
    text.push(b'\n');
    assert_same(&ask(stage.peer(), &text), &text);
}

/// A peer that never stops is cut off, after no more than the linger allows.
pub fn fault_27_line_without_an_end_is_not_read_for_ever<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let (number, mut peer) = stage.known_peer();
    let piece = [b'x'; 16 * 1024];
    let mut sent = 0_u64;
    while let Ok(n) = peer.write(&piece) {
        sent += n as u64;
        assert!(sent < 1 << 30, "a gibibyte of one line, and still no end");
    }
    let report = stage.report(number);
    assert_eq!(report.reason, Reason::Limit(Limit::Input(LINE)));
    let bound = u64::from(Limits::DEFAULT.linger_bytes) + LINE as u64 + (1 << 20);
    assert!(report.counters.received <= bound, "I2: {} bytes were read, not {bound}", report.counters.received);
}

/// One reply larger than the whole queue is refused, with words.
pub fn reply_over_the_output_bound_is_refused<S: Subject>() {
    let stage = Stage::<S, Talk>::serve(|| Connection::new(Talk));
    let most = Talk::LIMITS.output_bytes as usize;
    let (number, mut peer) = stage.known_peer();
    send(&mut peer, format!("owe {most}\nowe {}\nowe 5\n", most + 1).as_bytes());
    let got = read_end(&mut peer);
    assert!(got.len() > most, "what fits came: {} bytes", got.len());
    Talk::noise().assert_at(0, &got[..most]);
    let reply = format!("refused: one reply longer than the output limit of {most} bytes\n");
    assert_same(&got[most..], reply.as_bytes());
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Output(most)));
}
