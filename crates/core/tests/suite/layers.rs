//! Layers and their stacking, proven by layers that change lengths and hold bytes
//! back (C1; DESIGN 3.4, 5).

use crate::support::layers::{Escapes, Records};
use crate::support::net::{Chops, Net};
use crate::support::pair::Pair;
use crate::support::probe::Probe;
use crate::support::rig::Rig;
use crate::support::scenario::letters;
use crate::support::script::{Bad, Cx, Hooks, Script};
use crate::support::{ms, pattern};
use drywire_core::layer::{Layer, LayerError, Sink, Stack};
use drywire_core::{Budget, Connection, FileError, Limit, Limits, Protocol, Ready, Reason, Time, TransportError, Turn};
use drywire_core::{Workspace, turn};

type Three = Stack<Records, Stack<Escapes, Records>>;

fn three() -> Three {
    Stack::new(Records::with_handshake(), Stack::new(Escapes::default(), Records::default()))
}

fn joined<L: Layer>(input: &[u8], layer: impl Fn() -> L) -> Pair<Script, Probe, L, L> {
    let a = Connection::with_layer(Script::default(), layer());
    let b = Connection::with_layer(Probe::sending(input), layer());
    let mut pair = Pair::new(a, b, 5000);
    pair.a.net.put_file(b"big", pattern(100_000));
    pair
}

/// What a lone connection on `Records` is sent, as its peer's layer would make it.
fn record(payload: &[u8]) -> Vec<u8> {
    let mut wire = vec![u8::try_from(payload.len()).expect("short")];
    wire.extend(payload.iter().map(|byte| byte ^ 0x55));
    wire
}

const HELLO: &[u8] = &[255];

/// What a lone connection on `Records` has sent, decoded.
fn decoded(taken: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut layer = Records::default();
    layer
        .receive(taken, &mut Sink::unbounded(&mut plain), &mut Sink::unbounded(&mut Vec::new()))
        .expect("whole records");
    plain
}

#[test]
fn bytes_files_and_ends_pass_one_layer_and_three() {
    let input = b"w 1500\nf big\ng big\necho\nrest";
    let mut one = joined(input, Records::with_handshake);
    one.run();
    let mut three = joined(input, three);
    three.run();
    let text = one.b.conn.protocol().text().to_owned();
    assert_eq!(text.len(), 6 + 1504 + 2 * (15 + 100_000 + 1) + 9 - 1 + 8 + 7);
    assert!(text.ends_with("echo[3]\nrest 4\n"));
    assert!(three.b.conn.protocol().text() == text);
    assert_eq!(three.a.report().reason, Reason::Finished);
    assert_eq!(three.b.report().reason, Reason::Finished);
    assert_eq!(one.a.net.closed_files.len(), 2);
}

#[test]
fn layer_that_is_not_there_may_stand_in_a_stack() {
    let line = [&pattern(60_000)[..], b"\n"].concat();
    let echo = || {
        Hooks::new().on_consume(|input, cx| {
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
            cx.write(&input[..=end])?;
            Ok(end + 1)
        })
    };
    fn check<L: Layer>(conn: Connection<Hooks, L>, wire: &[u8]) {
        let limits = Limits { input_bytes: 100_000, ..Limits::DEFAULT };
        let mut rig = Rig::on(conn.with_limits(limits));
        rig.feed(wire);
        assert!(rig.net.taken == wire, "{} of {} bytes", rig.net.taken.len(), wire.len());
    }
    let mut escaped = Vec::new();
    Escapes::default().send(&line, &mut Sink::unbounded(&mut escaped)).expect("it never fails");
    check(Connection::with_layer(echo(), Stack::new((), ())), &line);
    check(Connection::with_layer(echo(), Stack::new((), Escapes::default())), &escaped);
    check(Connection::with_layer(echo(), Stack::new(Escapes::default(), ())), &escaped);
}

#[test]
fn handshake_that_stands_before_the_last_words_is_finished() {
    let protocol = Hooks::new().on_open(|cx| {
        cx.write(b"421 too busy\n")?;
        cx.close();
        Ok(())
    });
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::with_handshake()));
    rig.settle();
    assert_eq!(rig.net.taken, HELLO);
    rig.feed(HELLO);
    assert_eq!(decoded(&rig.net.taken), b"421 too busy\n");
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Finished);
    assert_eq!(rig.report().counters.unsent, 0);
}

/// The inner layer took the bytes, the outer one cannot encode them yet.
#[test]
fn i1_bytes_between_two_layers_are_not_lost_at_the_end() {
    let protocol = Hooks::new().on_open(|cx| {
        cx.write(b"421 too busy\n")?;
        cx.close();
        Ok(())
    });
    let stack = Stack::new(Records::with_handshake(), Escapes::default());
    let mut rig = Rig::on(Connection::with_layer(protocol, stack));
    rig.settle();
    assert!(!rig.net.half_closed);
    rig.feed(HELLO);
    assert_eq!(decoded(&rig.net.taken), b"421 too busy\\*");
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Finished);
}

/// Between two layers, too.
#[test]
fn handshake_that_never_comes_ends_a_close_that_owes_output() {
    let protocol = Hooks::new().on_open(|cx| cx.write(b"hello"));
    let stack = Stack::new(Records::with_handshake(), Escapes::default());
    let limits = Limits { stall_ms: 0, linger_ms: 100, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::with_layer(protocol, stack).with_limits(limits));
    rig.settle();
    rig.turn_with(|live| live.close());
    rig.run_out(5);
    assert_eq!((&rig.report().reason, rig.now), (&Reason::Limit(Limit::Handshake(100)), ms(100)));
}

#[test]
fn cut_end_is_the_layers_error_and_a_clean_one_is_not() {
    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    rig.feed(record(b"w 5\n")).feed_end().run_out(5);
    assert_eq!(rig.report().reason, Reason::Layer(LayerError { layer: "records", reason: "cut" }));

    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    rig.feed(record(b"w 5\n")).feed(record(b"")).feed_end().run_out(5);
    assert_eq!(rig.report().reason, Reason::Finished);
}

/// FAULTS 77: the alert goes out, nothing is consumed, and nothing spins.
#[test]
fn fault_77_bad_record_sends_the_layers_last_words_and_closes() {
    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    rig.feed(record(b"e 5\n"));
    let sent = rig.net.taken.len();
    rig.feed([200, 1, 2, 3]);
    assert_eq!(rig.net.taken[sent..], [255], "the alert and no end");
    rig.feed(record(b"e 6\n")).feed_end();
    assert_eq!(rig.report().reason, Reason::Layer(LayerError { layer: "records", reason: "record too long" }));
    assert_eq!(rig.events, [5]);
}

/// I1: what the failed layer did not take has its cause in the report.
#[test]
fn i1_layer_that_fails_while_the_end_is_flushed_is_the_reason() {
    let protocol = Hooks::new().on_consume(|input, cx| {
        cx.write(&[b'x'; 4000])?;
        cx.close();
        Ok(input.len())
    });
    let limits = Limits { output_bytes: 100_000, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::with_handshake()).with_limits(limits));
    rig.settle();
    rig.net.room = 0;
    rig.feed([HELLO, &record(b"go")].concat());
    assert!(rig.close.is_none());
    rig.feed([200]);
    rig.net.room = usize::MAX;
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Layer(LayerError { layer: "records", reason: "record too long" }));
}

#[test]
fn layer_that_fails_to_open_is_never_opened_to_the_protocol() {
    #[derive(Debug)]
    struct Closed;
    impl Layer for Closed {
        fn open(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
            wire.push(b"no");
            Err(LayerError { layer: "closed", reason: "by design" })
        }
        fn receive(&mut self, _: &[u8], _: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
            unreachable!("it failed before")
        }
        fn send(&mut self, _: &[u8], _: &mut Sink<'_>) -> Result<usize, LayerError> {
            unreachable!("it failed before")
        }
    }
    let mut rig = Rig::on(Connection::with_layer(Hooks::new().on_open(|cx| cx.write(b"hello")), Closed));
    rig.feed("input").feed_end();
    assert_eq!(rig.net.taken, b"no");
    assert_eq!(rig.conn.protocol().calls, 0);
    assert!(matches!(rig.report().reason, Reason::Layer(_)));
}

/// Output waits for the handshake; who waits for the output must not keep it from coming.
#[test]
fn handshake_is_read_whatever_the_protocol_waits_for() {
    let silent = Hooks::new().on_open(|cx| {
        cx.disable_read();
        cx.write(b"hello")
    });
    let mut rig = Rig::on(Connection::with_layer(silent, Records::with_handshake()));
    rig.settle();
    assert!(rig.wait.read);
    rig.feed(HELLO);
    assert_eq!(rig.net.taken, [HELLO, &record(b"hello")].concat());
    assert!(!rig.wait.read, "from here on it is the protocol that decides");

    let full = Hooks::new().on_command(|n, cx| cx.write(&vec![b'x'; n as usize]));
    let mut rig = Rig::on(Connection::with_layer(full, Records::with_handshake()));
    rig.turn_with(|live| {
        live.handle_command(3000).expect("it is idle");
        live.handle_command(3000).expect("the first was handled");
        assert!(live.handle_command(1).is_err(), "there is no room");
    });
    rig.feed(HELLO);
    assert_eq!(decoded(&rig.net.taken[1..]).len(), 6000);
}

/// It would break it; a close goes at once, or a server could not stop beside who says nothing.
#[test]
fn end_of_our_direction_waits_for_the_handshake_and_a_close_does_not() {
    let ends = |does: fn(&mut Cx<'_>)| {
        let protocol = Hooks::new().on_open(move |cx| {
            does(cx);
            Ok(())
        });
        let mut rig = Rig::on(Connection::with_layer(protocol, Records::with_handshake()));
        rig.settle();
        rig
    };
    let mut half = ends(|cx| cx.half_close());
    assert_eq!((&half.net.taken[..], half.net.half_closed), (HELLO, false));
    half.feed(HELLO);
    assert_eq!(half.net.taken, [HELLO, &[0]].concat());
    assert!(half.net.half_closed);
    let whole = ends(|cx| cx.close());
    assert_eq!(whole.net.taken, [HELLO, &[0]].concat());
    assert!(whole.net.half_closed);
}

/// A peer may close right behind its goodbye, and does not wait for ours (RFC 8446 §6.1).
#[test]
fn end_of_the_layer_that_nobody_takes_any_more_is_no_failure() {
    let ends = |owes: &'static [u8]| {
        let protocol = Hooks::new().on_consume(move |input, cx| {
            cx.write(owes)?;
            cx.close();
            Ok(input.len())
        });
        let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()));
        rig.net.room = 0;
        rig.feed(record(b"bye"));
        rig.net.write_fault = Some(TransportError::BrokenPipe);
        rig.settle();
        (rig.report().reason.clone(), rig.report().counters.unsent)
    };
    assert_eq!(ends(b""), (Reason::Finished, 0));
    // What the protocol owes is lost, and said to be.
    assert_eq!(ends(b"one byte"), (Reason::Transport(TransportError::BrokenPipe), 9));
}

#[test]
fn layer_may_be_put_below_a_connection_that_was_made() {
    let limits = Limits { output_bytes: 77, ..Script::LIMITS };
    let mut conn = Connection::new(Script::default()).with_limits(limits);
    conn.inject_full(1);
    let mut rig = Rig::on(conn.on_layer(Records::default()));
    assert_eq!(rig.conn.limits().output_bytes, 77);
    assert_eq!(rig.conn.full_in(), 1);
    rig.feed(record(b"echo\n"));
    assert!(decoded(&rig.net.taken).ends_with(b"echo[0]\n"));
}

#[test]
fn error_reply_goes_through_the_layers() {
    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    rig.feed(record(b"x\n")).feed(record(b"")).feed_end();
    assert_eq!(decoded(&rig.net.taken), b"hello\n-500 after 0 lines: told so\n");
    assert_eq!(rig.report().reason, Reason::Peer(Bad("told so")));
}

#[test]
fn fault_46_49_file_that_fails_under_a_layer_is_an_abort() {
    for error in [None, Some(FileError::Io(5))] {
        let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
        rig.net.put_file(b"big", pattern(200_000));
        rig.net.writes = Chops::of(&[700]);
        rig.net.room = 20_000;
        rig.feed(record(b"f big\n"));
        match error {
            None => rig.net.open.values_mut().for_each(|file| file.bytes.truncate(100_000)),
            Some(_) => rig.net.file_fault = error,
        }
        rig.net.room = usize::MAX;
        rig.settle();
        assert_eq!(rig.report().reason, Reason::File(error.unwrap_or(FileError::Truncated)));
        let plain = decoded(&rig.net.taken);
        let start = "hello\nfile of 200000\n".len();
        assert!(plain.len() <= start + 100_000);
        assert!(plain[start..] == pattern(200_000)[..plain.len() - start], "not a byte made up");
    }
}

/// What was read of it is gone with the turn, so the reading must not end one.
#[test]
fn fault_44_file_goes_out_over_a_layer_whatever_the_budget() {
    for bytes in [1, 64, 65, 1000] {
        let mut conn = Connection::with_layer(Script::default(), Records::default());
        let (mut workspace, mut net) = (Workspace::new(), Net::new());
        net.put_file(b"big", pattern(3000));
        net.incoming.extend(record(b"f big\n"));
        let mut turns = 0;
        loop {
            let mut live = conn.lend(&mut workspace, Time::ZERO);
            match turn(&mut live, &mut net, &mut { Ready::UNKNOWN }, &mut Budget::bytes(bytes)) {
                Turn::Wait(_) => break,
                Turn::Again => turns += 1,
                other @ (Turn::Event(_) | Turn::Closed(_)) => panic!("{other:?}"),
            }
            assert!(turns < 100, "a budget of {bytes} bytes never ends");
        }
        assert!(decoded(&net.taken).ends_with(&[&pattern(3000)[..], b"\n"].concat()), "a budget of {bytes} bytes");
    }
}

/// A layer that must answer everything, on a peer that takes no answer.
#[test]
fn i2_answers_of_a_layer_are_bounded() {
    let layer = Records::answering_hello_with(10);
    let mut rig = Rig::on(Connection::with_layer(Script::default(), layer));
    rig.settle();
    rig.net.room = 0;
    for _ in 0..1000 {
        rig.feed(HELLO.repeat(200));
    }
    assert!(rig.conn.held_bytes() < 128 * 1024, "{} bytes", rig.conn.held_bytes());
    assert!(!rig.wait.read);
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.taken.len(), 7 + 1000 * 200 * 10);
}

/// TLS's close_notify with the transport left open: the peer waits for our end.
#[test]
fn end_inside_of_a_layer_is_the_end_of_input() {
    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    rig.feed([&record(b"echo\n")[..], &[0]].concat());
    assert!(rig.conn.has_peer_ended(), "though the transport is open");
    assert!(decoded(&rig.net.taken).ends_with(b"rest 0\n"), "the protocol was told");
    assert_eq!(rig.report().reason, Reason::Finished, "and nobody waits for the transport's end");
}

/// What a layer holds back comes before its end.
#[test]
fn end_inside_of_a_layer_waits_for_what_is_held_back() {
    let limits = Limits { input_bytes: 10, ..Script::LIMITS };
    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()).with_limits(limits));
    rig.feed([&record(b"one\ntwo\nthree\nfour\nfive\n")[..], &[0]].concat());
    let said = decoded(&rig.net.taken);
    assert!(said.ends_with(b"five[4]\nrest 0\n"), "{}", said.escape_ascii());
    assert_eq!(rig.report().counters.discarded, 0);
}

/// Longer than what is copied from read to read.
#[test]
fn long_message_comes_through_a_layer_record_by_record() {
    let limits = Limits { input_bytes: 20_000, ..Limits::DEFAULT };
    let mut rig = Rig::on(Connection::with_layer(letters(), Records::default()).with_limits(limits));
    let lines = [vec![b'x'; 15_000], b"\n".to_vec(), vec![b'y'; 9000], b"\nz\n".to_vec()].concat();
    for chunk in lines.chunks(97) {
        rig.feed(record(chunk));
    }
    assert!(decoded(&rig.net.taken) == lines);
}
