//! Connections with layers: recorded above them, and replayed without.

use crate::identical::comes_out_again;
use crate::records::{Records, encode};
use crate::stage::{find, lines, no_commands, reseal, run_calmly, run_until_late, tape};
use drywire_core::layer::Stack;
use drywire_core::record::{Entry, LayerCallKind, ReadAnswer, Reader};
use drywire_core::{Connection, Limits, Time, Workspace};
use drywire_protocols::{Dialog, LineEcho};
use drywire_sim::Random;
use drywire_sim::replay::{Options, OutputByte, Replayed, replay};

#[test]
fn layered_connections_come_out_as_recorded() {
    let (mut calls, mut failed, mut held, mut read, mut cut) = ([0; 6], 0, 0, 0, 0);
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let mut text = encode(&lines(random, &["GET 900", "SIZE 4", "NOOP", "GET nothing", "GET 20000"], 20));
        match random.between(0, 7) {
            // The length of the second record.
            0 | 1 => text[1 + 101] = 200,
            // Ended by the transport alone.
            2 | 3 => text.truncate(random.between(1, text.len())),
            _ => {}
        }
        let layered = Connection::with_layer(Dialog::new(), Records::default());
        let limits = Limits { input_bytes: 60, ..*layered.limits() };
        let file = comes_out_again(seed, Dialog::new, layered.with_limits(limits), text, no_commands::<Dialog>);
        let reader = Reader::new(&file).expect("undamaged");
        assert!(reader.header().layered);
        for located in reader.entries() {
            let entry = located.expect("undamaged").entry;
            read += usize::from(matches!(entry, Entry::FileRead { .. }));
            cut += usize::from(
                matches!(&entry, Entry::Report { text, counters, .. } if text.front.contains("cut off") && counters.unsent == 0 && counters.sent > 100),
            );
            let Entry::Layer(call) = entry else { continue };
            calls[call.kind as usize] += 1;
            failed += usize::from(call.error.is_some());
            held += usize::from(call.holding);
        }
    }
    assert!(calls.iter().all(|calls| *calls > 50), "{calls:?}");
    assert!(failed > 10 && held > 10 && read > 10, "{failed} failed, {held} held back, {read} read from files");
    assert!(cut > 10, "{cut} cut, and answered");
}

/// And those that began as nothing.
#[test]
fn upgraded_connections_come_out_as_recorded() {
    let (mut upgraded, mut refused, mut answered) = (0, 0, 0);
    for seed in 0..600 {
        let random = &mut Random::new(seed);
        let behind = encode(&lines(random, &["GET 900", "SIZE 4", "STARTTLS", "NOOP"], 5));
        let text = [b"STARTTLS\n", &behind[..]].concat();
        let layered = Connection::with_layer(Dialog::with_starttls(), Records::later());
        let file = comes_out_again(seed, Dialog::with_starttls, layered, text, no_commands::<Dialog>);
        let (mut is_upgraded, mut taken) = (false, 0);
        for located in Reader::new(&file).expect("undamaged").entries() {
            let entry = located.expect("undamaged").entry;
            if let Entry::Layer(call) = &entry {
                is_upgraded |= call.kind == LayerCallKind::Upgrade;
                taken += if is_upgraded && call.kind == LayerCallKind::Send { call.taken } else { 0 };
            } else if let Entry::Report { text, .. } = &entry {
                refused += usize::from(text.front.contains("Leftovers"));
            }
        }
        upgraded += usize::from(is_upgraded);
        answered += usize::from(taken > 0);
    }
    assert!(
        upgraded > 20 && refused > 20 && answered > 10,
        "{upgraded} upgraded, {refused} refused, {answered} answered"
    );
}

#[test]
fn two_layers_are_recorded_as_one() {
    for seed in 0..50 {
        let text = encode(&encode(&lines(&mut Random::new(seed), &["a line", "b"], 40)));
        let layers = Stack::new(Records::default(), Records::default());
        comes_out_again(seed, || LineEcho, Connection::with_layer(LineEcho, layers), text, no_commands::<LineEcho>);
    }
}

/// Clocks that go by what a layer says of itself: it holds a part of a record, or is not open yet.
#[test]
fn deadlines_of_layers_come_out_as_recorded() {
    let limits = Limits { first_byte_ms: 1500, message_ms: 1500, stall_ms: 500, ..Limits::DEFAULT };
    let late = |input: &[u8], limit: &str| {
        let (tape, file) = tape("line-echo");
        run_until_late(Connection::with_layer(LineEcho, Records::default()).with_limits(limits).recorded(tape), input);
        let file = file.recv().expect("it has closed");
        find(&file, limit.as_bytes());
        let replayed = replay(&file, || LineEcho, Options::default()).expect("undamaged");
        assert!(replayed.is_identical(), "{replayed}");
        file
    };
    late(&[], "Handshake(1500)");
    let mut file = late(&encode(b"in part")[..4], "Message(1500)");
    let entries = Reader::new(&file).expect("undamaged").entries().flatten();
    let is_partial = |entry: &Entry<'_>| matches!(entry, Entry::Layer(call) if call.partial);
    let told: Vec<usize> = entries.filter(|located| is_partial(&located.entry)).map(|located| located.offset).collect();
    for at in told {
        // The same entry, of a layer that holds nothing.
        file[at] = 30;
    }
    reseal(&mut file);
    let replayed = replay(&file, || LineEcho, Options::default()).expect("undamaged");
    assert!(!replayed.is_identical(), "the stand-in has said nothing of it: {replayed}");
}

fn recording() -> Vec<u8> {
    let (tape, file) = tape("line-echo");
    let text = encode(b"first line\nsecond line\n");
    run_calmly(Connection::with_layer(LineEcho, Records::default()).recorded(tape), &text);
    file.recv().expect("it has closed")
}

#[test]
fn wire_bytes_are_not_in_the_file_and_plain_ones_are() {
    let file = recording();
    let wire: Vec<u8> = b"second".iter().map(|byte| byte ^ 0x55).collect();
    assert!(file.windows(6).all(|window| window != wire));
    find(&file, b"second line");
}

#[test]
fn changed_plain_byte_shows_where_it_left_the_protocol() {
    let mut file = recording();
    let at = find(&file, b"second") + 1;
    file[at] = b'X';
    reseal(&mut file);
    let Ok(Replayed::Different(difference)) = replay(&file, || LineEcho, Options::default()) else {
        panic!("it differs")
    };
    assert_eq!(difference.byte, Some(OutputByte { at: 12, recorded: b'e', now: b'X' }), "{difference}");
}

/// A control of the stand-in: one that took another number of bytes is noticed.
#[test]
fn layer_that_did_something_else_is_a_difference() {
    let file = recording();
    let entries = Reader::new(&file).expect("undamaged").entries();
    let is_send = |entry: &Entry<'_>| matches!(entry, Entry::Layer(call) if call.kind == LayerCallKind::Send);
    let send = entries.flatten().find(|located| is_send(&located.entry)).expect("something was sent");
    let mut forged = file.clone();
    forged[send.offset + 2] -= 1;
    reseal(&mut forged);
    let replayed = replay(&forged, || LineEcho, Options::default()).expect("undamaged");
    assert!(!replayed.is_identical(), "{replayed}");
}

#[test]
fn last_call_of_a_layer_has_to_come_again_though_nothing_follows() {
    let (tape, file) = tape("line-echo");
    let mut connection = Connection::with_layer(LineEcho, Records::default()).recorded(tape);
    let mut workspace = Workspace::new();
    let text = encode(b"text");
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.read_with(|slot| {
        slot[..text.len()].copy_from_slice(&text);
        Ok(text.len())
    });
    drop(live);
    drop(connection);
    let mut file = file.recv().expect("a drop ends the recording");
    let same = replay(&file, || LineEcho, Options::default()).expect("undamaged");
    assert!(same.is_identical(), "{same}");

    // What was a read of 7 bytes becomes one of nothing, and 7 by itself is a drain.
    let entries = Reader::new(&file).expect("undamaged").entries().flatten();
    let answer = ReadAnswer::Wire(7);
    let read =
        entries.zip(1..).find(|(located, _)| matches!(located.entry, Entry::Read { answer: a, .. } if a == answer));
    let (_, next) = read.expect("it was read");
    let behind = Reader::new(&file).expect("undamaged").entries().flatten().nth(next).expect("the layer's call").offset;
    file[behind - 2] = 4;
    reseal(&mut file);
    let Ok(Replayed::Different(difference)) = replay(&file, || LineEcho, Options::default()) else {
        panic!("the layer was not asked")
    };
    assert!(difference.recorded.starts_with("layer received 7"), "{difference}");
}
