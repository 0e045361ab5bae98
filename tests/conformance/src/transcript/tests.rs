//! Scripts are what they promise, and the comparison sees what it is for.

use super::reference::{ABORTED, GONE};
use super::*;
use std::collections::HashMap;

const SEEDS: Range<u64> = 0..1000;

#[track_caller]
fn find(which: impl Fn(&Script, &Transcript) -> bool) -> (Script, Transcript) {
    SEEDS
        .map(Script::from_seed)
        .map(|script| (expected(&script), script))
        .find(|(transcript, script)| which(script, transcript))
        .map(|(transcript, script)| (script, transcript))
        .expect("a thousand seeds have one")
}

#[test]
fn a_seed_gives_the_same_script_every_time() {
    for seed in 0..50 {
        assert_eq!(format!("{:?}", Script::from_seed(seed)), format!("{:?}", Script::from_seed(seed)), "seed {seed}");
    }
    assert_ne!(format!("{:?}", Script::from_seed(1).steps), format!("{:?}", Script::from_seed(2).steps));
}

#[test]
fn pieces_make_no_difference_to_the_reference() {
    for seed in 0..300 {
        let script = Script::from_seed(seed);
        let whole = expected(&script);
        // A byte at a time, six million would take a while.
        let pieces = if whole.output.len() < 200_000 { [1, 7, 4096] } else { [1000, 4096, 30_000] };
        for piece in pieces {
            let pieces = expected_in_pieces(&script, piece);
            let what = difference(&script, &pieces, &whole);
            assert!(pieces == whole, "seed {seed}, {piece} bytes at a time: {what:?}");
        }
    }
}

#[test]
fn a_thousand_scripts_hold_every_protocol_end_and_reason() {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for script in SEEDS.map(Script::from_seed) {
        let transcript = expected(&script);
        let end = match script.end {
            End::Reset { .. } => "reset".to_owned(),
            End::HalfClose | End::AfterTheOther => format!("{:?}", script.end),
        };
        for what in [format!("{:?} {end}", script.speaks), transcript.reason] {
            *seen.entry(what).or_default() += 1;
        }
        if transcript.output.len() > 6_000_000 {
            *seen.entry("huge output".into()).or_default() += 1;
        }
    }
    for what in [
        "Lines HalfClose",
        "Lines AfterTheOther",
        "Lines reset",
        "Bytes HalfClose",
        "Bytes reset",
        "Dialog HalfClose",
        "Dialog AfterTheOther",
        "Dialog reset",
        "Narrator HalfClose",
        "Narrator AfterTheOther",
        "Narrator reset",
        "Messages HalfClose",
        "Messages AfterTheOther",
        "Messages reset",
        "Limit(Frame(4096))",
        "Finished",
        ABORTED,
        "Peer(BadCommand)",
        "Peer(Unheard)",
        "Limit(Input(4096))",
        "Limit(Input(10240))",
        "Limit(Events(64))",
        GONE,
        "huge output",
    ] {
        assert!(seen.get(what).is_some_and(|n| *n >= 3), "too few with {what}: {seen:#?}");
    }
}

#[test]
fn a_driver_that_only_echoes_has_scripts_too() {
    use crate::subject::Capability;
    let mut count = HashMap::new();
    for script in SEEDS.map(Script::from_seed) {
        let needs = script.needs(&expected(&script));
        if script.speaks == Speaks::Dialog {
            assert!(needs.contains(&Capability::Files), "seed {}", script.seed);
        }
        if needs.iter().all(|needed| *needed != Capability::Files) {
            assert!(!script.sent().windows(4).any(|four| four == b"GET ") || script.speaks != Speaks::Narrator);
            *count.entry("no files").or_insert(0) += 1;
        }
        *count.entry("echo only").or_insert(0) += usize::from(needs == [Capability::Echo]);
    }
    assert!(count["no files"] >= 300 && count["echo only"] >= 20, "{count:?}");
}

#[test]
fn nothing_is_sent_behind_the_bounds_of_a_linger() {
    for script in SEEDS.map(Script::from_seed) {
        let left = script.sent().len() as u64 - expected(&script).taken.expect("the reference counts");
        assert!(left < u64::from(drywire_core::Limits::DEFAULT.linger_bytes), "seed {}: {left} bytes", script.seed);
    }
}

#[test]
fn control_a_byte_an_event_and_a_reason_are_told_apart() {
    let (script, good) = find(|script, transcript| {
        script.end == End::HalfClose && transcript.events.len() > 5 && transcript.output.len() > 100
    });
    let differs = |change: &dyn Fn(&mut Transcript)| {
        let mut bad = good.clone();
        change(&mut bad);
        difference(&script, &bad, &good).unwrap_or_default()
    };
    assert_eq!(differs(&|_| {}), "");
    assert!(differs(&|bad| bad.output[50] ^= 1).contains("different from 50 on"));
    assert!(differs(&|bad| _ = bad.output.remove(50)).starts_with("output:"));
    assert!(differs(&|bad| _ = bad.output.pop()).starts_with("output:"));
    assert!(differs(&|bad| bad.output.push(0)).starts_with("output:"));
    assert!(differs(&|bad| bad.events.swap(0, 1)).starts_with("events: the one after 0 is"));
    let last = format!("instead of {}", good.events.last().expect("there are some"));
    assert!(differs(&|bad| _ = bad.events.pop()).ends_with(&last), "{good:?}");
    assert!(differs(&|bad| bad.reason = "Requested".into()).starts_with("reason: Requested instead of"));
    assert!(differs(&|bad| bad.taken = bad.taken.map(|n| n - 1)).starts_with("taken:"));
    assert!(differs(&|bad| bad.saw = Saw::Reset).starts_with("the peer saw: Reset"));
}

#[test]
fn control_a_reset_allows_a_prefix_and_nothing_else() {
    let (script, good) = find(|script, transcript| match script.end {
        End::Reset { received } => {
            received > 20
                && received < transcript.output.len()
                && transcript.events.len() > 5
                && transcript.reason == GONE
        }
        End::HalfClose | End::AfterTheOther => false,
    });
    let End::Reset { received } = script.end else { unreachable!("just found") };
    let differs = |change: &dyn Fn(&mut Transcript)| {
        let mut bad = good.clone();
        change(&mut bad);
        difference(&script, &bad, &good)
    };
    assert_eq!(differs(&|bad| bad.output.truncate(received)), None);
    assert_eq!(differs(&|bad| bad.events.truncate(2)), None);
    assert_eq!(differs(&|bad| bad.taken = bad.taken.map(|n| n - 1)), None);
    assert!(differs(&|bad| bad.output.truncate(received - 1)).is_some(), "less than it waited for");
    assert!(differs(&|bad| bad.output[5] ^= 1).is_some(), "no prefix");
    assert!(differs(&|bad| bad.events.swap(0, 1)).is_some());
    assert!(differs(&|bad| bad.reason = "Finished".into()).is_some(), "a reset taken for an end");
    assert!(differs(&|bad| bad.reason = "Stalled".into()).is_some());
}

#[test]
fn control_an_abort_allows_a_cut_output_but_no_clean_end() {
    let (script, good) = find(|_, transcript| transcript.reason == ABORTED && transcript.output.len() > 10);
    let differs = |change: &dyn Fn(&mut Transcript)| {
        let mut bad = good.clone();
        change(&mut bad);
        difference(&script, &bad, &good)
    };
    assert_eq!(differs(&|bad| bad.output.truncate(4)), None);
    assert!(differs(&|bad| bad.saw = Saw::End).is_some(), "half an answer taken for a whole one");
    assert!(differs(&|bad| _ = bad.events.pop()).is_some());
    assert!(differs(&|bad| bad.output[5] ^= 1).is_some());
}
