//! Worlds without a failure; and worlds with a part broken on purpose, which must not
//! be without.

use drywire_sim::world::{self, Invariant, Sabotage, Setup, Stats};
use std::io::{self, Write};
use std::ops::Range;
use std::time::Instant;

/// `DRYWIRE_SEEDS=a..b`, or a few seconds' worth.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("DRYWIRE_SEEDS") else { return 0..300 };
    let (from, to) = text.split_once("..").expect("DRYWIRE_SEEDS is two numbers with .. between them");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Worlds that become smaller would find less, and nobody would notice.
const EVENTS_PER_WORLD: u64 = 1000;

#[test]
fn every_promise_is_kept_in_every_world() {
    let (begun, seeds, mut stats) = (Instant::now(), seeds(), Stats::default());
    for seed in seeds.clone() {
        let outcome = world::run(seed);
        if let Some(violation) = outcome.violation {
            panic!("seed {seed}: {violation}\nrepeat it with: drywire sim --seed {seed}");
        }
        stats.add(&outcome.stats);
    }
    let (Stats { events, connections, .. }, worlds) = (stats, seeds.end - seeds.start);
    let note = format!("note: {worlds} worlds, {events} events, {connections} connections, {:.1?}\n", begun.elapsed());
    // A closed standard error is nobody's failure.
    let _ = io::stderr().write_all(note.as_bytes());
    // One alone may be small.
    assert!(worlds < 100 || events >= EVENTS_PER_WORLD * worlds, "{events} events are too few for {worlds} worlds");
}

#[test]
fn every_fault_strikes() {
    let mut stats = Stats::default();
    for seed in 0..300 {
        stats.add(&Setup::new(seed).run().stats);
    }
    let never: Vec<_> = std::iter::zip(world::Fault::ALL, &stats.faults).filter(|(_, n)| **n == 0).collect();
    assert!(never.is_empty(), "{never:?}");
}

/// Only for a layer the core reads files; without one the transport sends them.
#[test]
fn layers_are_in_some_worlds_and_not_in_others() {
    let (mut layers, mut none) = (0, 0);
    for seed in 0..100 {
        let timeline = Setup { trace: true, ..Setup::new(seed) }.run().timeline;
        let has = |words: &str| timeline.iter().any(|line| line.contains("file") && line.contains(words));
        layers += u32::from(has(" are read"));
        none += u32::from(has(" is opened: Ok") && !has(" are read"));
    }
    assert!(layers >= 10 && none >= 10, "{layers} and {none}");
}

#[test]
fn worlds_do_not_depend_on_being_watched() {
    for seed in 0..30 {
        let (plain, traced) = (Setup::new(seed).run(), Setup { trace: true, ..Setup::new(seed) }.run());
        assert_eq!((plain.hash, &plain.stats), (traced.hash, &traced.stats), "seed {seed}");
        assert!(plain.timeline.is_empty() && !traced.timeline.is_empty());
    }
    assert_ne!(Setup::new(1).run().hash, Setup::new(2).run().hash);
}

/// Breaks a part, and looks for the promise that this breaks, among the first `within`
/// seeds.
#[track_caller]
fn is_found(sabotage: Sabotage, invariant: Invariant, within: u64) {
    let found = (0..within).find_map(|seed| {
        let setup = Setup { sabotage: Some(sabotage), ..Setup::new(seed) };
        let violation = setup.run_and_compare().violation?;
        (violation.invariant == invariant).then_some((setup, violation))
    });
    let (setup, violation) = found.unwrap_or_else(|| panic!("{sabotage:?} was not found in {within} seeds"));
    let shrunk = world::shrink(&setup, 200);
    let still = shrunk.outcome.violation.expect("it is as broken as before");
    assert_eq!(still.invariant, violation.invariant, "{still}");
    assert!(!shrunk.outcome.timeline.is_empty());
}

#[test]
fn control_a_lost_edge_is_found() {
    is_found(Sabotage::DropsEdge, Invariant::Progress, 100);
}

#[test]
fn control_a_lost_byte_is_found() {
    is_found(Sabotage::DropsByte, Invariant::Output, 50);
}

#[test]
fn control_a_doubled_byte_is_found() {
    is_found(Sabotage::DoublesByte, Invariant::Output, 50);
}

#[test]
fn control_a_leaked_file_is_found() {
    is_found(Sabotage::LeaksFile, Invariant::Baseline, 200);
}

#[test]
fn control_a_second_report_is_found() {
    is_found(Sabotage::ReportsTwice, Invariant::Report, 20);
}

#[test]
fn control_a_spin_is_found() {
    is_found(Sabotage::Spins, Invariant::Progress, 20);
}

#[test]
fn control_a_deadline_in_the_past_is_found() {
    is_found(Sabotage::EarlyDeadline, Invariant::Progress, 20);
}

#[test]
fn control_a_forgotten_end_is_found() {
    is_found(Sabotage::ForgetsEnd, Invariant::Progress, 50);
}

#[test]
fn control_a_protocol_that_changes_itself_first_is_found() {
    is_found(Sabotage::Hasty, Invariant::Output, 300);
}

#[test]
fn control_a_disturbed_neighbour_is_found() {
    is_found(Sabotage::Disturbs, Invariant::Neighbours, 200);
}

#[test]
fn control_a_panic_is_found_and_named() {
    is_found(Sabotage::Panics, Invariant::Panic, 50);
}

#[test]
fn control_a_world_that_does_not_repeat_is_found() {
    is_found(Sabotage::Varies, Invariant::Repeats, 50);
}
