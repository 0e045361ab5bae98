//! Ends that are not clean: a stream that is cut below a layer, a layer that gives up, and
//! what the peer sees of an end behind which output was dropped (I1; FAULTS 75).

use crate::support::layers::{CUT, HELLO, Records};
use crate::support::net::Chops;
use crate::support::pattern;
use crate::support::rig::Rig;
use crate::support::scenario::letters;
use crate::support::script::{Cx, Hooks};
use drywire_core::layer::{Layer, Sink};
use drywire_core::{Connection, Limits, Protocol, Reason, TransportError};
use std::cell::RefCell;
use std::rc::Rc;

/// What a peer on `Records` sends to say `text`, in one record for each chunk.
fn records(text: &[u8]) -> Vec<u8> {
    text.chunks(100)
        .flat_map(|chunk| {
            let len = u8::try_from(chunk.len()).expect("at most 100");
            [len].into_iter().chain(chunk.iter().map(|byte| byte ^ 0x55))
        })
        .collect()
}

/// What was sent on `Records`, and whether the layer's own end stands behind it.
fn heard(taken: &[u8]) -> (Vec<u8>, bool) {
    let (mut plain, mut layer) = (Vec::new(), Records::default());
    let result = layer.receive(taken, &mut Sink::unbounded(&mut plain), &mut Sink::unbounded(&mut Vec::new()));
    assert!(result.is_ok() || taken.last() == Some(&HELLO), "whole records, or an alert behind them");
    (plain, layer.has_ended())
}

/// Lines of `letters` on a layer; their input never ends well.
fn cut_letters(ends: &Rc<RefCell<u32>>) -> Connection<Hooks, Records> {
    let ends = ends.clone();
    let protocol = letters().on_end(move |_, _| {
        *ends.borrow_mut() += 1;
        Ok(())
    });
    let limits = Limits { input_bytes: 1000, output_bytes: 4000, ..Limits::DEFAULT };
    Connection::with_layer(protocol, Records::default()).with_limits(limits)
}

#[test]
fn fault_75_cut_stream_gets_what_its_complete_messages_are_owed() {
    let ends = Rc::new(RefCell::new(0));
    // Each answer fills most of the output, so all but the first wait when the stream is cut; a file too.
    for (said, rest) in [("w\nw\nw\nx\n", ""), ("w\nw\nf\nx\n", "unfinished"), ("", "u"), ("x\n", "")] {
        let mut rig = Rig::on(cut_letters(&ends));
        rig.net.put_file(b"file", pattern(9000));
        rig.net.writes = Chops::of(&[700, 0, 1]);
        rig.net.room = 0;
        rig.feed(records([said, rest].concat().as_bytes())).feed_end();
        assert!(said.is_empty() || rig.close.is_none(), "something is owed");
        rig.net.room = usize::MAX;
        rig.settle();
        let (plain, is_ended) = heard(&rig.net.taken);
        let mut owed = Vec::new();
        for line in said.lines() {
            match line {
                "w" => owed.extend([b'w'; 3000]),
                "f" => owed.extend([&[b'f'; 2000][..], &pattern(9000)].concat()),
                other => owed.extend([other.as_bytes(), b"\n"].concat()),
            }
        }
        assert!(plain == owed, "{said:?}: {} of {} bytes", plain.len(), owed.len());
        assert!(is_ended, "our direction ends as it would have");
        let report = rig.report();
        assert_eq!((&report.reason, report.is_abort()), (&Reason::Layer(CUT), false));
        assert_eq!((report.counters.unsent, report.counters.discarded), (0, rest.len() as u64));
    }
    assert_eq!(*ends.borrow(), 0, "no end was told");
}

/// One that answers later goes on, is told once, and may fill the output in that call.
#[test]
fn fault_75_protocol_hears_of_the_cut_once_behind_all_messages_and_may_answer_after_it() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let (lines, cuts) = (told.clone(), told.clone());
    let protocol = Hooks::new()
        .on_consume(move |input, cx| {
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
            cx.write(&[b'.'; 300])?;
            lines.borrow_mut().extend(&input[..end]);
            Ok(end + 1)
        })
        .on_end(|_, _| panic!("there was no end"))
        .on_cut(move |cx| {
            cx.write(&[b'!'; 300])?;
            cuts.borrow_mut().push(b'!');
            Ok(())
        })
        .on_command(|n, cx| cx.write(&vec![b'c'; n as usize]));
    let limits = Limits { output_bytes: 400, idle_ms: 1000, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()).with_limits(limits));
    // An empty queue takes a call, so the output is blocked for each.
    rig.net.writes = Chops::of(&[1, 0]);
    rig.feed(records(b"1\n2\n3\nun")).feed_end();
    assert_eq!(*told.borrow(), b"123!");
    rig.run_out(5);
    assert!(rig.close.is_none(), "nobody is idle who has ended");
    rig.turn_with(|live| live.handle_command(70).expect("it is open"));
    rig.turn_with(|live| live.close());
    rig.settle();
    let owed = [&[b'.'; 900][..], &[b'!'; 300], &[b'c'; 70]].concat();
    assert!(heard(&rig.net.taken) == (owed, true));
    assert_eq!(rig.report().reason, Reason::Layer(CUT), "though it closed because it was asked to");
    assert_eq!(*told.borrow(), b"123!");
}

/// Nobody listens any more when it is decided why the connection ends.
#[test]
fn fault_75_cut_behind_a_failure_or_a_close_changes_nothing() {
    let close = |does: fn(&mut Cx<'_>)| {
        let protocol = Hooks::new().on_consume(move |input, cx| {
            does(cx);
            Ok(input.len())
        });
        let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()));
        rig.net.incoming.extend(records(b"go"));
        rig.feed_end();
        rig.report().reason.clone()
    };
    assert_eq!(close(|cx| cx.close()), Reason::Finished);
    assert_eq!(close(|cx| cx.abort()), Reason::Aborted);
    assert_eq!(close(|_| ()), Reason::Layer(CUT));
}

/// Nothing can go out without the peer's part, so nothing waits for it.
#[test]
fn fault_75_stream_that_is_cut_in_the_handshake_is_a_failure() {
    let protocol = Hooks::new().on_open(|cx| cx.write(b"hello")).on_cut(|_| panic!("it heard nothing"));
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::with_handshake()));
    rig.settle().feed_end();
    assert!(matches!(rig.report().reason, Reason::Layer(error) if error.reason == "cut in the handshake"));
    assert!(rig.report().is_abort() && !rig.net.half_closed);
    assert_eq!(rig.report().counters.unsent, 5);
}

/// One whose layer fails, at each amount of room: what the peer sees is a reset or all of it.
#[test]
fn i1_layer_that_fails_ends_with_all_that_was_written_or_with_a_reset() {
    const BYTES: u32 = 60_000;
    let failing = |room: usize| {
        let protocol = Hooks::new().on_command(|n, cx| cx.write(&pattern(n as usize)));
        let limits = Limits { output_bytes: 100_000, ..Hooks::LIMITS };
        let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()).with_limits(limits));
        rig.net.room = room;
        rig.turn_with(|live| live.handle_command(BYTES).expect("it is idle"));
        rig.feed([200]);
        rig
    };
    let (mut resets, mut ends) = (0, 0);
    for room in (0..61_000).step_by(997) {
        let mut rig = failing(room);
        rig.net.room = usize::MAX;
        rig.settle();
        let is_whole = heard(&rig.net.taken).0.len() == BYTES as usize;
        assert_eq!(rig.net.half_closed, is_whole, "with room for {room}");
        assert_eq!(rig.net.taken.last(), Some(&HELLO), "the alert comes");
        rig.feed_end();
        let report = rig.report();
        assert_eq!(report.is_abort(), !is_whole, "with room for {room}: {report:?}");
        assert_eq!(report.counters.unsent > 0, !is_whole);
        *if is_whole { &mut ends } else { &mut resets } += 1;
    }
    assert!(resets > 5 && ends > 5, "{resets} resets, {ends} ends");
}

/// Encoded, and not taken: lost, and said to be, though the queue is empty.
#[test]
fn fault_66_what_a_layer_encoded_before_it_failed_counts_until_it_is_taken() {
    let protocol = Hooks::new().on_command(|n, cx| cx.write(&vec![b'x'; n as usize]));
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()));
    rig.net.room = 0;
    rig.turn_with(|live| live.handle_command(1000).expect("it is idle"));
    let mut mark = rig.conn.mark();
    rig.feed([200]);
    assert!(rig.close.is_none() && rig.conn.counters().unsent == 0, "all of it may still go out");
    rig.net.write_fault = Some(TransportError::Reset);
    rig.settle();
    assert!(!rig.conn.is_past(&mut mark), "nothing of it was taken");
    let report = rig.report();
    assert!(matches!(report.reason, Reason::Layer(error) if error.reason == "record too long"), "{report:?}");
    assert!(report.counters.unsent > 1000 && report.is_abort(), "{report:?}");
}

#[test]
fn fault_75_file_that_is_being_opened_when_the_stream_is_cut_is_sent() {
    let protocol = Hooks::new()
        .on_consume(|input, cx| {
            let _ = cx.open_file(b"file")?;
            Ok(input.len())
        })
        .on_file(|opened, cx| cx.stream_file(opened.id, 0, opened.result.expect("it is there")));
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()));
    rig.net.answer_later = true;
    rig.net.put_file(b"file", pattern(50));
    rig.feed(records(b"file")).feed_end();
    assert!(rig.close.is_none(), "the file is still to come");
    let (id, name) = rig.net.asked[0].clone();
    let result = rig.net.answer(id, &name);
    rig.turn_with(|live| live.handle_file(id, result).expect("it was asked for"));
    rig.settle();
    assert!(heard(&rig.net.taken) == (pattern(50), true));
    assert_eq!(rig.report().reason, Reason::Layer(CUT));
}
