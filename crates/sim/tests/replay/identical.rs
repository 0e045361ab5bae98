//! What was recorded comes out again.

use crate::stage::{Commands, lines, no_commands, run, run_calmly, tape};
use crate::talk::{Order, Talk};
use drywire_core::layer::Layer;
use drywire_core::record::{Ended, Entry, Reader, Record};
use drywire_core::{Connection, Limits, Protocol, Time, Workspace};
use drywire_protocols::{ByteEcho, Dialog, Hub, HubCommand, LineEcho};
use drywire_sim::Random;
use drywire_sim::replay::{Options, Replayed, replay};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::mem::discriminant;
use std::panic::{AssertUnwindSafe, catch_unwind};

const TALK: [&str; 16] = [
    "a line",
    "emit news",
    "write 700",
    "write 3000",
    "file 5000",
    "file 1",
    "file 0",
    "file none",
    "pause",
    "room",
    "another line, a longer one",
    "emit x",
    "write 40",
    "file 300",
    "half-close",
    "close",
];

/// Records, replays, and returns the file.
#[track_caller]
pub(crate) fn comes_out_again<P, L>(
    seed: u64,
    make: fn() -> P,
    connection: Connection<P, L>,
    input: Vec<u8>,
    commands: Commands<P>,
) -> Vec<u8>
where
    P: Protocol<Event: Debug, Command: Record, Error: Debug>,
    L: Layer,
{
    let (tape, file) = tape("test");
    run(connection.recorded(tape), seed, input, commands);
    let file = file.recv().expect("a tape ends with its connection");
    match replay(&file, make, Options::default()) {
        Ok(Replayed::Identical(identical)) => assert!(identical.entries > 3, "{identical}"),
        other => panic!("seed {seed}: {}", other.map_or_else(|error| error.to_string(), |other| other.to_string())),
    }
    file
}

fn orders(random: &mut Random) -> Option<Order> {
    let order = match random.between(0, 12) {
        0 => Order::Say { text: "order".repeat(random.between(0, 400)), twice: random.one_in(2) },
        1 => Order::Pause(7),
        2 if random.one_in(30) => Order::Finish,
        _ => return None,
    };
    Some(order)
}

#[test]
fn protocols_come_out_as_recorded_whatever_the_transport_does() {
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let text = random.bytes(3000);
        comes_out_again(seed, || ByteEcho, Connection::new(ByteEcho), text, no_commands::<ByteEcho>);
        let text = lines(random, &["hello", "", "a longer line than the others", "quit"], 60);
        let small = Connection::new(LineEcho).with_limits(LineEcho::SMALL);
        comes_out_again(seed, || LineEcho, small, text, no_commands::<LineEcho>);
        let text = lines(random, &["GET 900", "SIZE 4", "GET 0", "NOOP", "GET nothing", "SIZE x", "GET 40000"], 30);
        comes_out_again(seed, Dialog::new, Connection::new(Dialog::new()), text, no_commands::<Dialog>);
    }
}

/// What a hub's owner asks of a connection now and then.
fn messages(random: &mut Random) -> Option<HubCommand> {
    let most = random.pick(&[0, 20, 3000]);
    let len = random.between(0, most);
    Some(match random.between(0, 30) {
        0..=5 => HubCommand::Send(random.bytes(len).into()),
        6 => HubCommand::DisableRead,
        7 | 8 => HubCommand::EnableRead,
        9 if random.one_in(4) => HubCommand::End,
        _ => return None,
    })
}

#[test]
fn c3_hub_comes_out_as_recorded_with_all_that_its_owner_asked() {
    fn hub() -> Hub {
        Hub::with_longest(3000)
    }
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let mut input = Vec::new();
        for _ in 0..random.between(1, 20) {
            let len = random.between(0, 700);
            input.extend((len as u64).to_le_bytes());
            input.extend(random.bytes(len));
        }
        if random.one_in(4) {
            input.extend(random.pick(&[3001, 1 << 40, u64::MAX]).to_le_bytes());
        } else if random.one_in(4) {
            input.truncate(input.len() - 1);
        }
        let connection = Connection::new(hub()).with_limits(Hub::limits(3000));
        comes_out_again(seed, hub, connection, input, messages);
    }
}

/// All kinds of entries are among them, or the test above would say less than it seems.
#[test]
fn everything_a_protocol_can_do_comes_out_as_recorded() {
    let mut kinds = BTreeSet::new();
    for seed in 0..700 {
        let random = &mut Random::new(seed);
        let text = lines(random, &TALK[..TALK.len() - usize::from(!seed.is_multiple_of(3)) * 2], 80);
        let file = comes_out_again(seed, Talk::default, Connection::new(Talk::default()), text, orders);
        for located in Reader::new(&file).expect("a recording").entries() {
            kinds.insert(format!("{:?}", discriminant(&located.expect("undamaged").entry)));
        }
    }
    // All but InjectFull, what layers do and what is done for them.
    assert_eq!(kinds.len(), 28, "{kinds:?}");
}

#[test]
fn injected_full_and_forgotten_turns_come_out_again() {
    let (tape, file) = tape("talk");
    let mut connection = Connection::new(Talk::default()).recorded(tape);
    let mut workspace = Workspace::new();
    connection.inject_full(2);
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.read_with(|slot| {
        slot[..5].copy_from_slice(b"line\n");
        Ok(5)
    });
    std::mem::forget(live);
    connection.inject_full(0);
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    while !live.connection().is_closed() {
        let _ = live.poll();
    }
    drop(live);
    let file = file.recv().expect("it has closed");
    let replayed = replay(&file, Talk::default, Options::default()).expect("undamaged");
    assert!(replayed.is_identical(), "{replayed}");
    let forgotten = Entry::Lend { now: Time::ZERO, forgotten: true };
    let reader = Reader::new(&file).expect("undamaged");
    assert!(reader.entries().any(|located| located.expect("undamaged").entry == forgotten));
}

#[test]
fn limits_are_recorded_and_used_again() {
    let limits = Limits { output_bytes: 100, input_bytes: 50, idle_ms: 5, ..Limits::DEFAULT };
    for (early, late) in [(Limits::DEFAULT, limits), (limits, limits)] {
        let (tape, file) = tape("line-echo");
        let connection = Connection::new(LineEcho).with_limits(early).recorded(tape).with_limits(late);
        run_calmly(connection, &b"some line\n".repeat(20));
        let file = file.recv().expect("it has closed");
        assert_eq!(Reader::new(&file).expect("undamaged").header().limits, limits);
        let replayed = replay(&file, || LineEcho, Options::default()).expect("undamaged");
        assert!(replayed.is_identical(), "{replayed}");
    }
}

#[test]
fn panic_of_a_handler_ends_the_recording_and_comes_again() {
    let (tape, file) = tape("talk");
    let connection = Connection::new(Talk::default()).recorded(tape);
    let panicked = catch_unwind(AssertUnwindSafe(|| run_calmly(connection, b"a line\npanic now\n")));
    assert!(panicked.is_err());
    let file = file.recv().expect("a panic ends the recording");
    let Ok(Replayed::Identical(identical)) = replay(&file, Talk::default, Options::default()) else {
        panic!("not identical")
    };
    assert_eq!(identical.panicked.as_deref(), Some("told to: now"));
    assert_eq!(identical.ended, Ended::Dropped);
    assert!(identical.to_string().ends_with("; the next call panics: told to: now"), "{identical}");
}

#[test]
fn dropped_connection_is_no_panic() {
    let (tape, file) = tape("talk");
    let mut connection = Connection::new(Talk::default()).recorded(tape);
    let mut workspace = Workspace::new();
    drop(connection.lend(&mut workspace, Time::ZERO));
    drop(connection);
    let file = file.recv().expect("a drop ends the recording");
    let Ok(Replayed::Identical(identical)) = replay(&file, Talk::default, Options::default()) else {
        panic!("not identical")
    };
    assert_eq!((identical.panicked, identical.ended), (None, Ended::Dropped));
}
