//! Any split of the input and any short-write pattern give the same output,
//! events and close (FAULTS 16, 17).

use crate::support::net::Chops;
use crate::support::pair::Pair;
use crate::support::probe::Probe;
use crate::support::rig::Rig;
use crate::support::script::{Bad, Script};
use crate::support::{cases, pattern};
use drywire_core::layer::Layer;
use drywire_core::{Connection, Reason};
use proptest::prelude::*;

use crate::support::layers::{Escapes, Records};
use drywire_core::layer::Stack;

/// What a peer and an application see of one run.
#[derive(Debug, PartialEq)]
struct Seen {
    output: Vec<u8>,
    events: Vec<u32>,
    reason: Reason<Bad>,
    files_closed: usize,
}

/// The whole life of a script connection whose peer sends `input`, then ends.
fn run(input: &[u8], reads: &[usize], writes: &[usize]) -> Seen {
    let mut rig = Rig::new(Script::default());
    put_files(&mut rig);
    rig.net.reads = Chops::of(reads);
    rig.net.writes = Chops::of(writes);
    rig.net.incoming.extend(input);
    rig.feed_end().run_out(500);
    Seen {
        events: rig.events.clone(),
        reason: rig.report().reason.clone(),
        files_closed: rig.net.closed_files.len(),
        output: rig.net.taken,
    }
}

fn put_files<L: Layer>(rig: &mut Rig<Script, L>) {
    rig.net.put_file(b"0", Vec::new());
    rig.net.put_file(b"1", pattern(1));
    rig.net.put_file(b"2", pattern(3000));
}

/// No abort: how much is sent before one depends on the transport.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0usize..2100).prop_map(|n| format!("w {n}")),
        3 => (0usize..2100).prop_map(|n| format!("s {n}")),
        3 => (0usize..2100).prop_map(|n| format!("m {n}")),
        3 => (0usize..9).prop_map(|n| format!("e {n}")),
        2 => (0usize..3, 0usize..30).prop_map(|(k, ms)| format!("t {k} {ms}")),
        2 => (0usize..4).prop_map(|n| format!("f {n}")),
        2 => (0usize..4).prop_map(|n| format!("g {n}")),
        2 => (0usize..9).prop_map(|ms| format!("p {ms}")),
        3 => "[b-d]{0,40}",
        1 => Just("x".to_owned()),
        1 => Just("h".to_owned()),
        1 => Just("q".to_owned()),
        1 => (200usize..300).prop_map(|n| "l".repeat(n)),
    ]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..12), "[b-d]{0,9}").prop_map(|(lines, rest)| {
        let mut input = lines.join("\n");
        input.push('\n');
        input.push_str(&rest);
        input.into_bytes()
    })
}

fn chops(max: usize) -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        prop::collection::vec(0..max, 1..8).prop_filter("moves", |chops| chops.iter().any(|n| *n > 0)),
    ]
}

/// The same over layers: the peer is a connection too, and what it got is compared.
fn run_layered<L: Layer>(
    input: &[u8],
    reads: &[usize],
    writes: &[usize],
    capacity: usize,
    layer: fn() -> L,
) -> Vec<u8> {
    let script = Connection::with_layer(Script::default(), layer());
    let mut probe = Probe::sending(input);
    probe.piece = 333;
    let mut pair = Pair::new(script, Connection::with_layer(probe, layer()), capacity);
    put_files(&mut pair.a);
    for chops in [&mut pair.a.net.reads, &mut pair.b.net.reads] {
        *chops = Chops::of(reads);
    }
    for chops in [&mut pair.a.net.writes, &mut pair.b.net.writes] {
        *chops = Chops::of(writes);
    }
    pair.run();
    assert!(pair.a.close.is_some() && pair.b.close.is_some());
    pair.b.conn.protocol().got.clone()
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn fault_16_17_any_split_and_any_short_writes_are_the_same(
        input in input(), reads in chops(300), writes in chops(3000),
    ) {
        prop_assert_eq!(run(&input, &reads, &writes), run(&input, &[usize::MAX], &[usize::MAX]));
    }
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn fault_16_17_any_split_is_the_same_over_a_layer(
        input in input(), reads in chops(300), writes in chops(3000), capacity in 1usize..3000,
    ) {
        let plain = run(&input, &[usize::MAX], &[usize::MAX]);
        prop_assume!(!plain.reason.is_abort());
        prop_assert_eq!(run_layered(&input, &reads, &writes, capacity, Records::with_handshake), plain.output);
    }

    #[test]
    fn fault_16_17_any_split_is_the_same_over_a_stack_of_layers(
        input in input(), reads in chops(300), writes in chops(3000), capacity in 1usize..3000,
    ) {
        let plain = run(&input, &[usize::MAX], &[usize::MAX]);
        prop_assume!(!plain.reason.is_abort());
        let stack = || Stack::new(Records::with_handshake(), Stack::new(Escapes::default(), Records::default()));
        prop_assert_eq!(run_layered(&input, &reads, &writes, capacity, stack), plain.output);
    }
}

/// Known-bad control: an input that differs in one byte is not the same.
#[test]
fn different_input_is_told_apart() {
    assert_ne!(run(b"w 10\n", &[1], &[1]), run(b"w 11\n", &[1], &[1]));
}
