//! What is not as recorded is shown where it is: each of these is a control.

use crate::identical::comes_out_again;
use crate::stage::{find, no_commands, reseal, run_calmly, tape};
use crate::talk::{Order, Talk};
use drywire_core::record::{Entry, Reader};
use drywire_core::{Action, Connection, Context, Limits, Protocol, Stop, Time, Workspace};
use drywire_protocols::{ByteEcho, LineEcho};
use drywire_sim::replay::{Difference, Options, OutputByte, ReplayError, Replayed, replay};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[track_caller]
fn difference(result: Result<Replayed, ReplayError>) -> Difference {
    match result.expect("undamaged") {
        Replayed::Different(difference) => *difference,
        Replayed::Identical(identical) => panic!("{identical}"),
    }
}

fn calm_recording(input: &[u8]) -> Vec<u8> {
    let (tape, file) = tape("byte-echo");
    run_calmly(Connection::new(ByteEcho).recorded(tape), input);
    file.recv().expect("it has closed")
}

#[test]
fn changed_input_shows_at_the_byte_of_output_that_it_became() {
    let mut text = Vec::new();
    for number in 0..3_000 {
        text.extend_from_slice(format!("{number:04}\n").as_bytes());
    }
    let file = calm_recording(&text);
    for what in [&b"0000\n"[..], b"0177\n", b"2950\n", b"2999\n"] {
        let mut forged = file.clone();
        let at = find(&forged, what) + 2;
        forged[at] = b'X';
        reseal(&mut forged);
        let difference = difference(replay(&forged, || ByteEcho, Options::default()));
        let place = find(&text, what) + 2;
        let byte = OutputByte { at: place as u64, recorded: what[2], now: b'X' };
        assert_eq!(difference.byte, Some(byte), "{difference}");
        assert!(difference.to_string().ends_with(&byte.to_string()));
    }
}

#[test]
fn changed_input_in_small_pieces_shows_at_its_byte_too() {
    let text: Vec<u8> = (0..100).flat_map(|number| format!("{number:04}\n").into_bytes()).collect();
    let mut found = 0;
    for seed in 0..20 {
        let mut file =
            comes_out_again(seed, || ByteEcho, Connection::new(ByteEcho), text.clone(), no_commands::<ByteEcho>);
        let Some(at) = file.windows(4).position(|window| window == b"0077") else { continue };
        file[at + 3] = b'8';
        reseal(&mut file);
        // What the transport never took cannot differ.
        let Replayed::Different(difference) = replay(&file, || ByteEcho, Options::default()).expect("undamaged") else {
            continue;
        };
        assert_eq!(difference.byte, Some(OutputByte { at: 77 * 5 + 3, recorded: b'7', now: b'8' }), "{difference}");
        found += 1;
    }
    assert!(found > 5, "{found}");
}

#[test]
fn several_changed_bytes_are_a_difference_without_a_place() {
    let mut forged = calm_recording(b"some text that comes back");
    let at = find(&forged, b"text");
    forged[at..at + 4].copy_from_slice(b"TEXT");
    reseal(&mut forged);
    let difference = difference(replay(&forged, || ByteEcho, Options::default()));
    assert_eq!(difference.byte, None);
    assert!(difference.recorded.starts_with("the transport took 25 bytes"), "{difference}");
}

/// Has a source of its own: what nobody may have.
struct Random;

static HIDDEN: AtomicU32 = AtomicU32::new(0);

impl Protocol for Random {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Random>) -> Result<usize, Stop<Infallible>> {
        writeln!(cx, "{:08}", HIDDEN.fetch_add(1, Ordering::Relaxed))?;
        Ok(input.len())
    }
}

#[test]
fn hidden_randomness_is_found_out() {
    let (tape, file) = tape("random");
    run_calmly(Connection::new(Random).recorded(tape), b"x");
    let file = file.recv().expect("it has closed");
    let difference = difference(replay(&file, || Random, Options::default()));
    assert_eq!(difference.byte, Some(OutputByte { at: 7, recorded: b'0', now: b'1' }), "{difference}");
}

#[test]
fn another_protocol_is_different_from_its_first_answer_on() {
    let (tape, file) = tape("talk");
    run_calmly(Connection::new(Talk::default()).recorded(tape), b"a line\n");
    let file = file.recv().expect("it has closed");
    let difference = difference(replay(&file, || LineEcho2, Options::default()));
    assert_eq!((difference.number, difference.offset > 20), (3, true), "{difference}");
    assert_eq!(difference.recorded, "write: 15 bytes offered");
    assert!(difference.now.starts_with("wait for input"), "{difference}");
}

/// A protocol that says nothing, with the commands of another.
struct LineEcho2;

impl Protocol for LineEcho2 {
    type Event = Infallible;
    type Command = Order;
    type Error = Infallible;
    const LIMITS: Limits = Talk::LIMITS;

    fn consume(&mut self, _: &[u8], _: &mut Context<'_, LineEcho2>) -> Result<usize, Stop<Infallible>> {
        Ok(0)
    }
}

#[test]
fn command_of_another_protocol_is_said_to_be_one() {
    let (tape, file) = tape("talk");
    let mut connection = Connection::new(Talk::default()).recorded(tape);
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.handle_command(Order::Finish).expect("the first one is taken");
    drop(live);
    drop(connection);
    let file = file.recv().expect("a drop ends the recording");
    let result = replay(&file, || ByteEcho, Options::default());
    assert!(matches!(result, Err(ReplayError::Command { .. })), "{result:?}");
}

#[test]
fn what_if_shows_where_other_limits_would_have_mattered() {
    let (tape, file) = tape("line-echo");
    let text = [b"short\n".repeat(5), b"x".repeat(500), b"\n".to_vec()].concat();
    run_calmly(Connection::new(LineEcho).recorded(tape), &text);
    let file = file.recv().expect("it has closed");
    let with = |limits| replay(&file, || LineEcho, Options { limits: Some(limits) });
    let limits = LineEcho::LIMITS;

    let same = with(Limits { idle_ms: 9_000, input_bytes: 600, ..limits }).expect("undamaged");
    assert!(same.is_identical(), "{same}");
    let smaller = difference(with(Limits { input_bytes: 100, ..limits }));
    assert_eq!(smaller.now, "only 100 bytes may be read", "{smaller}");
    let fuller = difference(with(Limits { output_bytes: 505, ..limits }));
    assert_eq!(fuller.recorded, "write: 531 bytes offered", "{fuller}");
    assert_eq!(fuller.now, "write: 30 bytes offered", "{fuller}");
    assert_eq!(with(Limits { input_bytes: 0, ..limits }), Err(ReplayError::NoInput));
}

/// A line, `silence`, another line: recorded with the limits that are given.
fn interrupted_recording(limits: Limits, silence: Duration) -> Vec<u8> {
    let (tape, file) = tape("line-echo");
    let mut connection = Connection::new(LineEcho).with_limits(limits).recorded(tape);
    let mut workspace = Workspace::new();
    for (time, line) in [(Time::ZERO, b"a\n"), (Time::ZERO + silence, b"b\n")] {
        let mut live = connection.lend(&mut workspace, time);
        live.read_with(|slot| {
            slot[..2].copy_from_slice(line);
            Ok(2)
        });
        let Action::Write(write) = live.poll() else { panic!("a line was whole, so it is due") };
        write.wrote(2);
        assert!(matches!(live.poll(), Action::Wait(_)), "all is said");
    }
    drop(connection);
    file.recv().expect("a drop ends the recording")
}

#[test]
fn what_if_shows_a_deadline_that_would_have_come_before_the_next_turn() {
    let file = interrupted_recording(LineEcho::LIMITS, Duration::from_secs(5));
    let with = |idle_ms| {
        let limits = Limits { idle_ms, ..LineEcho::LIMITS };
        replay(&file, || LineEcho, Options { limits: Some(limits) })
    };
    let sooner = difference(with(2_000));
    let (recorded, now) = ("turn at 5s", "turn at 2s, which is a deadline");
    assert_eq!((&*sooner.recorded, &*sooner.now), (recorded, now), "{sooner}");
    // A turn at the very deadline is the one that the driver would have made.
    for idle_ms in [0, 5_000, 6_000] {
        let same = with(idle_ms).expect("undamaged");
        assert!(same.is_identical(), "{idle_ms}: {same}");
    }
}

#[test]
fn what_if_does_not_blame_other_limits_for_a_driver_that_came_late() {
    let limits = Limits { idle_ms: 4_999, ..LineEcho::LIMITS };
    let file = interrupted_recording(limits, Duration::from_secs(5));
    let larger = Limits { input_bytes: limits.input_bytes + 1, ..limits };
    let same = replay(&file, || LineEcho, Options { limits: Some(larger) }).expect("undamaged");
    assert!(same.is_identical(), "{same}");
}

#[test]
fn answer_that_is_another_is_the_first_difference() {
    let (tape, file) = tape("line-echo");
    run_calmly(Connection::new(LineEcho).recorded(tape), b"quit\nmore");
    let mut file = file.recv().expect("it has closed");
    let entries = Reader::new(&file).expect("undamaged").entries();
    let half_close = entries.flatten().find(|located| located.entry == Entry::HalfClose);
    let (number, offset) = half_close.map(|located| (located.number, located.offset)).expect("we end first");
    // By its tag: what was a half-close reads as an enable.
    file[offset] = 25;
    reseal(&mut file);
    let difference = difference(replay(&file, || LineEcho, Options::default()));
    assert_eq!((difference.number, difference.offset), (number, offset));
    assert_eq!((&*difference.recorded, &*difference.now), ("reading enabled", "half-close"));
}
