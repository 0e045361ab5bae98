//! A thousand scripts give the same transcripts on every driver.
//!
//! `DRYWIRE_SEEDS=17..18` plays others. What is compared, and what a reset leaves to
//! chance: [`drywire_conformance::transcript`].

mod subjects {
    pub(crate) mod broken;
    pub(crate) mod threads;
    pub(crate) mod workers;
}

use drywire_conformance::Subject;
use drywire_conformance::transcript::{Outcome, play, reference, seeds};
use std::fmt::Write;
use subjects::broken::{Broken, EndsForResets, Flaw, LosesByte, LosesEvent, SwapsBytes, SwapsEvents, WrongReason};
use subjects::threads::Threads;
use subjects::workers::{Mio, Smol, Tokio, TokioThreads};

/// Prints the table, and fails when a line of it says so.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the table is what a reader of the test's output wants")]
fn same(outcomes: &[Outcome]) {
    let mut told = format!("{:<24} {:>7} {:>12}  {:<16}  {:>8}\n", "driver", "scripts", "bytes", "hash", "time");
    for outcome in outcomes {
        writeln!(told, "{outcome}").expect("a string takes everything");
    }
    println!("{told}");
    for Outcome { driver, mismatches, .. } in outcomes {
        for (seed, what) in mismatches {
            let again =
                format!("DRYWIRE_SEEDS={seed}..{} cargo test -p drywire-conformance --test transcripts", seed + 1);
            writeln!(told, "{driver}, seed {seed}: {what}\n  again: {again}").expect("a string takes everything");
        }
    }
    let hashes_agree = outcomes.windows(2).all(|pair| pair[0].hash == pair[1].hash);
    assert!(hashes_agree && outcomes.iter().all(|outcome| outcome.mismatches.is_empty()), "\n{told}");
}

#[test]
fn c2_a_thousand_scripts_give_the_same_transcripts_on_every_driver() {
    let mut outcomes = vec![reference(seeds()), play::<Mio>(seeds()), play::<Smol>(seeds()), play::<Threads>(seeds())];
    // tokio needs the edges that mio's poll(2) does not have.
    if !cfg!(mio_unsupported_force_poll_poll) {
        outcomes.extend([play::<Tokio>(seeds()), play::<TokioThreads>(seeds())]);
    }
    same(&outcomes);
}

/// A driver with this flaw is caught, and for the right reason.
#[track_caller]
fn caught<F: Flaw>(by: &str) {
    let outcome = play::<Broken<F>>(0..60);
    let right = outcome.mismatches.iter().filter(|(_, what)| what.contains(by)).count();
    assert!(right >= 2, "{}: not caught by its {by}: {:#?}", <Broken<F>>::NAME, outcome.mismatches);
    assert_ne!(outcome.hash, reference(0..60).hash, "the hash of {outcome}");
}

#[test]
fn control_lost_and_swapped_bytes_are_caught() {
    caught::<LosesByte>(": output:");
    caught::<SwapsBytes>(": output:");
}

#[test]
fn control_lost_and_swapped_events_are_caught() {
    caught::<LosesEvent>(": events:");
    caught::<SwapsEvents>(": events:");
}

#[test]
fn control_a_wrong_reason_and_an_end_for_a_reset_are_caught() {
    caught::<WrongReason>("reason: Requested instead of Finished");
    caught::<EndsForResets>("reason: Finished instead of Transport");
}
