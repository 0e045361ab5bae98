//! Slow peers behind layers: a part of a record is a message under way, and what waits for a
//! handshake is no output that the peer refuses (W5; FAULTS 1, 2, 3, 58).

use crate::support::layers::{CUT, Escapes, HELLO, Records};
use crate::support::ms;
use crate::support::rig::Rig;
use crate::support::script::{Cx, Hooks};
use drywire_core::layer::{Layer, LayerError, Sink, Stack};
use drywire_core::{Connection, Limit, Limits, Protocol, Reason};

/// A tenth of a second for a message, and nothing else.
const MESSAGE: Limits = Limits { message_ms: 100, ..Hooks::LIMITS };

/// 100 bytes a second, and half a second to fall behind.
const RATE: Limits = Limits { min_rate: 100, rate_ms: 500, ..Hooks::LIMITS };

/// With layers the first byte comes behind the handshake: one that never ends has no deadline
/// else.
#[test]
fn first_byte_is_not_one_of_a_handshake() {
    let limits = Limits { first_byte_ms: 50, message_ms: 200, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::with_layer(Hooks::new(), Records::with_handshake()).with_limits(limits));
    rig.settle().at(ms(40)).feed([HELLO]);
    assert_eq!(rig.wait.deadline, Some(ms(50)), "a hello");
    rig.at(ms(45)).feed([1]);
    assert_eq!(rig.wait.deadline, Some(ms(245)), "half a record has the time of a message");
    rig.feed("x");
    assert_eq!(rig.wait.deadline, None);
}

/// Lines over records, in one layer, or with one that gathers nothing on either side of it.
fn over_records<L: Layer>(layer: L, limits: Limits) -> Rig<Hooks, L> {
    let lines =
        Hooks::new().on_consume(|input, _| Ok(input.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1)));
    let mut rig = Rig::on(Connection::with_layer(lines, layer).with_limits(Limits { stall_ms: 0, ..limits }));
    rig.settle();
    rig
}

/// A record, as the peer's layer makes it.
fn record(payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).expect("a record is short");
    [&[len][..], &payload.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>()].concat()
}

#[test]
fn fault_1_record_that_drips_in_is_a_message_under_way() {
    fn check<L: Layer>(layer: L) {
        let mut rig = over_records(layer, MESSAGE);
        assert_eq!(rig.wait.deadline, None, "no message, no deadline");
        for (byte, now) in record(b"never whole\n").into_iter().zip((40..140).step_by(10)) {
            rig.at(ms(now)).feed([byte]);
            assert_eq!(rig.wait.deadline, Some(ms(140)));
        }
        rig.at(ms(140)).feed_end();
        assert_eq!(rig.report().reason, Reason::Limit(Limit::Message(100)));
    }
    check(Records::default());
    check(Stack::new(Records::default(), Escapes::default()));
    check(Stack::new(Escapes::default(), Records::default()));
}

/// One clock for a line, whatever records it comes in; the next line has its own.
#[test]
fn fault_1_clock_of_a_line_goes_from_record_to_record() {
    let mut rig = over_records(Records::default(), MESSAGE);
    let (first, second) = (record(b"one "), record(b"line\n"));
    rig.feed(&first[..2]);
    rig.at(ms(30)).feed(&first[2..]);
    assert_eq!(rig.wait.deadline, Some(ms(100)), "half a line");
    rig.at(ms(60)).feed(&second[..1]);
    assert_eq!(rig.wait.deadline, Some(ms(100)), "and half a record");
    rig.at(ms(90)).feed([&second[1..], &[7]].concat());
    assert_eq!(rig.wait.deadline, Some(ms(190)), "the line is whole, and another record has begun");
}

/// What is no message ends the clock too: it was a part of something, and that is whole.
#[test]
fn record_that_makes_nothing_is_no_message_once_it_is_whole() {
    let mut rig = over_records(Stack::new(Records::default(), Records::default()), MESSAGE);
    rig.feed([1]);
    assert_eq!(rig.wait.deadline, Some(ms(100)));
    rig.at(ms(50)).feed([HELLO ^ 0x55]);
    assert_eq!(rig.wait.deadline, None, "a hello for the inner layer");
}

#[test]
fn fault_2_rate_counts_a_record_that_is_not_whole() {
    let mut rig = over_records(Records::default(), RATE);
    for (piece, now) in record(&[b'x'; 99]).chunks(10).zip([0, 250, 500]) {
        rig.at(ms(now)).feed(piece);
        assert_eq!(rig.wait.deadline, Some(ms(500 + now * 2 / 5)), "10 bytes are worth 100 ms");
    }
    rig.at(ms(700)).feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Rate(100)));
}

/// A peer that is silent during a handshake; `opens` and command 0 are what the protocol does.
fn handshaking(limits: Limits, opens: fn(&mut Cx<'_>)) -> Rig<Hooks, Records> {
    let protocol = Hooks::new()
        .on_open(move |cx| {
            opens(cx);
            Ok(())
        })
        .on_command(|_, cx| cx.write(b"command"));
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::with_handshake()).with_limits(limits));
    rig.settle();
    rig
}

/// What ends a handshake, and nothing of it is nearer than 500 ms.
const OPENING: Limits =
    Limits { first_byte_ms: 500, stall_ms: 100, min_rate: 1000, rate_ms: 100, linger_ms: 2000, ..Hooks::LIMITS };

fn greets(cx: &mut Cx<'_>) {
    cx.write(b"greeting").expect("there is room");
}

fn says_last_words(cx: &mut Cx<'_>) {
    greets(cx);
    cx.close();
}

fn nothing(_: &mut Cx<'_>) {}

/// A greeting, a command, or nothing at all waits for it.
#[test]
fn fault_3_output_that_waits_for_a_handshake_is_no_stall() {
    for (opens, commands, unsent) in
        [(nothing as fn(&mut Cx<'_>), 0, 0), (greets, 0, 8), (nothing, 2, 14), (greets, 1, 15)]
    {
        let mut rig = handshaking(OPENING, opens);
        for _ in 0..commands {
            rig.turn_with(|live| live.handle_command(0).expect("nothing stands in the way"));
        }
        assert_eq!(rig.wait.deadline, Some(ms(500)));
        rig.at(ms(499));
        assert!(!rig.net.half_closed);
        rig.at(ms(500));
        assert_eq!(rig.net.taken, [HELLO, 0], "the layer's end, and no last words");
        assert!(rig.net.half_closed && rig.close.is_none(), "an orderly end, which lingers");
        rig.feed_end();
        assert_eq!(rig.report().reason, Reason::Limit(Limit::Handshake(500)));
        assert_eq!(rig.report().counters.unsent, unsent);
    }
}

#[test]
fn output_that_waited_for_a_handshake_goes_out_when_it_is_through() {
    let mut rig = handshaking(OPENING, greets);
    rig.at(ms(499)).feed([HELLO]);
    assert_eq!(rig.net.taken, [&[HELLO][..], &record(b"greeting")].concat());
    assert_eq!(rig.wait.deadline, Some(ms(999)), "and the first byte has its time from there on");
}

/// The clock of a stall goes for what the transport refuses, and only for that.
#[test]
fn fault_3_handshake_that_is_not_taken_is_a_stall() {
    let limits = Limits { min_rate: 0, ..OPENING };
    let mut rig = Rig::on(Connection::with_layer(Hooks::new(), Records::with_handshake()).with_limits(limits));
    rig.net.room = 0;
    rig.settle();
    assert_eq!(rig.wait.deadline, Some(ms(100)));
    rig.at(ms(100));
    assert_eq!((&rig.report().reason, rig.report().counters.unsent), (&Reason::Stalled, 1));
}

/// Output is refused from the moment on from which it is offered.
#[test]
fn fault_3_stall_begins_behind_the_handshake() {
    let mut rig = handshaking(Limits { first_byte_ms: Limits::NEVER, min_rate: 0, ..OPENING }, greets);
    rig.at(ms(450));
    rig.net.room = 0;
    rig.feed([HELLO]);
    assert_eq!(rig.wait.deadline, Some(ms(550)));
    rig.at(ms(550));
    assert_eq!(rig.report().reason, Reason::Stalled);
}

/// Where the first byte has no deadline yet, as for a connection of ours.
#[test]
fn handshake_has_the_time_of_a_stall_where_the_first_byte_has_none() {
    for (first_byte_ms, deadline) in [(0, Some(ms(100))), (Limits::NEVER, None)] {
        let mut rig = handshaking(Limits { first_byte_ms, ..OPENING }, greets);
        assert_eq!(rig.wait.deadline, deadline);
        rig.at(ms(100));
        assert_eq!(rig.net.half_closed, deadline.is_some());
        rig.feed(if deadline.is_some() { &[][..] } else { &[HELLO] });
        rig.feed_end().run_out(5);
        let reason = match deadline {
            Some(_) => Reason::Limit(Limit::Handshake(100)),
            None => Reason::Layer(CUT),
        };
        assert_eq!(rig.report().reason, reason);
    }
}

/// Idle, slow, late with a part of it: what ends a handshake ends it without last words.
#[test]
fn deadline_that_is_over_during_a_handshake_waits_for_nothing_more() {
    let idle = Limits { idle_ms: 100, ..Hooks::LIMITS };
    for limits in [idle, MESSAGE, Limits { rate_ms: 100, ..RATE }] {
        let protocol = Hooks::new().on_open(|cx| cx.write(b"greeting"));
        // The inner layer waits for its hello, the outer one holds the front of a record.
        let layer = Stack::new(Records::default(), Records::with_handshake());
        let mut rig = Rig::on(Connection::with_layer(protocol, layer).with_limits(Limits {
            first_byte_ms: Limits::NEVER,
            stall_ms: 50,
            ..limits
        }));
        rig.feed([1]);
        let sent = rig.net.taken.len();
        let deadline = rig.wait.deadline.expect("one of them");
        rig.at(deadline);
        assert!(rig.net.half_closed && rig.net.taken.len() > sent, "{limits:?}: the layers' end");
        rig.feed_end();
        let report = rig.report();
        assert_eq!((&report.reason, report.counters.unsent), (&Reason::Limit(Limit::Handshake(100)), 8));
        assert!(!report.is_abort());
    }
}

/// Last words wait for it as long as the first byte may take, and as long as we linger.
#[test]
fn last_words_wait_for_a_handshake_within_bounds() {
    for (first_byte_ms, linger_ms, over) in
        [(500, 2000, 500), (500, 300, 300), (Limits::NEVER, 300, 300), (0, 300, 100)]
    {
        let limits = Limits { first_byte_ms, linger_ms, ..OPENING };
        let mut rig = handshaking(limits, says_last_words);
        assert_eq!(rig.wait.deadline, Some(ms(over)));
        rig.at(ms(over)).feed_end();
        assert_eq!(rig.net.taken, [HELLO, 0]);
        assert_eq!(
            (&rig.report().reason, rig.report().counters.unsent),
            (&Reason::Limit(Limit::Handshake(over as u32)), 8)
        );

        let mut rig = handshaking(limits, says_last_words);
        rig.at(ms(over - 1)).feed([HELLO]).feed_end();
        assert_eq!(rig.net.taken, [&[HELLO][..], &record(b"greeting"), &[0]].concat());
        assert_eq!((&rig.report().reason, rig.report().counters.unsent), (&Reason::Finished, 0));
    }
}

/// A pause of the whole process is not the peer's.
#[test]
fn fault_58_handshake_that_waits_in_the_transport_is_in_time() {
    for opens in [greets as fn(&mut Cx<'_>), says_last_words] {
        let mut rig = handshaking(OPENING, opens);
        rig.net.incoming.extend([HELLO]);
        rig.at(ms(60_000));
        assert!(rig.net.taken.starts_with(&[&[HELLO][..], &record(b"greeting")].concat()));
    }
}

/// Nothing more that could open the layer is read, so its output waits for nothing.
#[test]
fn last_words_do_not_wait_for_a_handshake_that_cannot_come() {
    let unopened = |limits: Limits, input: &[u8]| {
        let mut rig = handshaking(limits, says_last_words);
        rig.feed(input).feed_end();
        assert_eq!((rig.now, rig.report().counters.unsent), (ms(0), 8));
        rig.report().reason.clone()
    };
    let cut = LayerError { layer: "records", reason: "cut in the handshake" };
    assert_eq!(unopened(OPENING, &[]), Reason::Layer(cut));
    assert_eq!(unopened(Limits { linger_ms: 0, ..OPENING }, &[]), Reason::Limit(Limit::Handshake(0)));

    /// Opens never, and takes every end for a clean one.
    struct Mute;
    impl Layer for Mute {
        fn receive(&mut self, _: &[u8], _: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
            Ok(())
        }
        fn send(&mut self, _: &[u8], _: &mut Sink<'_>) -> Result<usize, LayerError> {
            Ok(0)
        }
        fn is_opening(&self) -> bool {
            true
        }
    }
    for (linger_bytes, input) in [(3, &b"ooo"[..]), (1000, b"")] {
        let protocol = Hooks::new().on_open(|cx| {
            says_last_words(cx);
            Ok(())
        });
        let limits = Limits { linger_bytes, ..OPENING };
        let mut rig = Rig::on(Connection::with_layer(protocol, Mute).with_limits(limits));
        rig.feed(input);
        assert!(!rig.net.half_closed);
        rig.feed_end();
        let reason = LayerError { layer: "opening", reason: "no more is read, and the handshake is not through" };
        assert_eq!((&rig.report().reason, rig.now), (&Reason::Layer(reason), ms(0)));
    }

    // Nor does the output of a protocol that would go on.
    let protocol = Hooks::new().on_open(|cx| cx.write(b"greeting")).on_end(|_, _| Ok(()));
    let mut rig = Rig::on(Connection::with_layer(protocol, Mute).with_limits(OPENING));
    rig.feed_end();
    assert!(matches!(rig.report().reason, Reason::Layer(LayerError { layer: "opening", .. })));
}

/// There is no memory for the layer's end, and nothing was begun that it could end.
#[test]
fn handshake_that_is_late_while_memory_is_short_ends_at_once() {
    let limits = Limits { idle_ms: 500, linger_ms: 500, ..OPENING };
    for opens in [greets as fn(&mut Cx<'_>), says_last_words] {
        let mut rig = handshaking(limits, opens);
        rig.now = ms(500);
        rig.turn_with(|live| live.flush_only());
        let reason = Reason::Limit(Limit::Handshake(500));
        assert_eq!((&rig.report().reason, &rig.net.taken[..]), (&reason, &[HELLO][..]));
    }
}
