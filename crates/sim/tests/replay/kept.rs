//! How much of a recording is kept.

use crate::stage::{lines, no_commands, run, tape};
use drywire_core::Connection;
use drywire_core::record::{Ended, Entry, Keep, Located, Reader};
use drywire_protocols::LineEcho;
use drywire_sim::Random;
use drywire_sim::replay::{Options, ReplayError, replay};

fn recording(seed: u64, keep: Keep) -> Vec<u8> {
    let (tape, file) = tape("line-echo");
    let random = &mut Random::new(seed);
    let long = "long ".repeat(random.between(1, 400));
    let text = lines(random, &["hello", "there", &long], 150);
    let connection = Connection::new(LineEcho).recorded(tape.keeping(keep).note("kept"));
    run(connection, seed, text, no_commands::<LineEcho>);
    file.recv().expect("it has ended")
}

fn entries(file: &[u8]) -> Vec<Located<'_>> {
    Reader::new(file).expect("undamaged").entries().map(Result::unwrap).collect()
}

#[test]
fn first_stays_within_its_bound_and_replays_up_to_there() {
    let mut full = 0;
    for seed in 0..150 {
        let whole = recording(seed, Keep::First(usize::MAX));
        let bound = Random::new(seed).between(0, 30_000);
        let file = recording(seed, Keep::First(bound));
        assert!(file.len() <= bound.max(Keep::LEAST), "{} bytes in {bound}", file.len());
        let (whole, kept) = (entries(&whole), entries(&file));
        let last = kept.last().expect("the end at least");
        let same = kept.len() - 1;
        assert!(kept[..same].iter().zip(&whole).all(|(kept, whole)| kept.entry == whole.entry));
        if last.entry == Entry::End(Ended::Full) {
            full += 1;
            // A long line is a group of entries, kept as a whole or not at all.
            assert!(file.len() + 4_000 > bound.max(Keep::LEAST), "only {} bytes of {bound}", file.len());
        } else {
            assert_eq!(kept.len(), whole.len());
        }
        let replayed = replay(&file, || LineEcho, Options::default()).expect("undamaged");
        assert!(replayed.is_identical(), "seed {seed}: {replayed}");
    }
    assert!(full > 30, "{full} were full");
}

#[test]
fn last_stays_within_its_bound_and_says_where_it_begins() {
    let mut cut = 0;
    for seed in 0..150 {
        let whole = recording(seed, Keep::First(usize::MAX));
        let bound = Random::new(seed).between(0, 30_000);
        let file = recording(seed, Keep::Last(bound));
        assert!(file.len() <= bound.max(Keep::LEAST), "{} bytes in {bound}", file.len());
        let (whole, kept) = (entries(&whole), entries(&file));
        assert_eq!(kept.last().map(|last| &last.entry), whole.last().map(|last| &last.entry));
        let same = kept.iter().rev().zip(whole.iter().rev());
        for (kept, whole) in same {
            assert_eq!((kept.number, kept.time, &kept.entry), (whole.number, whole.time, &whole.entry));
        }
        assert!(!matches!(kept[0].entry, Entry::Bytes(_)), "a piece of what is not there");
        let first = Reader::new(&file).expect("undamaged").header().first;
        let result = replay(&file, || LineEcho, Options::default());
        if first == 0 {
            assert_eq!(kept.len(), whole.len());
            assert!(result.expect("undamaged").is_identical());
        } else {
            cut += 1;
            assert!(file.len() + 3_000 > bound.max(Keep::LEAST), "only {} bytes of {bound}", file.len());
            assert_eq!(result, Err(ReplayError::NoFront { first }));
        }
    }
    assert!(cut > 30, "{cut} had lost their front");
}

#[test]
fn header_says_what_the_tape_was_told() {
    let file = recording(0, Keep::DEFAULT);
    let header = Reader::new(&file).expect("undamaged").header();
    assert_eq!((header.protocol, header.note), ("line-echo", "kept"));
    assert!(!header.masked && !header.layered);

    let (tape, file) = tape(&"ä".repeat(100));
    drop(Connection::new(LineEcho).recorded(tape.note(&"ö".repeat(1000))));
    let file = file.recv().expect("it has ended");
    let header = Reader::new(&file).expect("undamaged").header();
    assert_eq!((header.protocol, header.note), (&*"ä".repeat(32), &*"ö".repeat(256)));
}
