//! `drywire sim`: worlds that pass, one world told, and the same on any number of threads.
//! What it says of a world that fails is seen where bugs are planted.

use crate::support::{Program, drywire, read_to_end};

fn says(args: &[&str]) -> String {
    let mut program = Program::start(&mut drywire(args));
    let said = String::from_utf8(read_to_end(program.stdout())).expect("it says text");
    assert_eq!(program.exits_with(0), "", "no progress where there is no terminal");
    said
}

/// What was done, without how long it took.
fn counts(summary: &str) -> (&str, &str) {
    let (events, rest) = summary.split_once(" events in ").expect("it counts events");
    (events, rest.split_once("events/s), ").expect("and says how fast").1)
}

#[test]
fn worlds_that_pass_are_counted_the_same_on_any_number_of_threads() {
    let one = says(&["sim", "--seeds", "100..160", "--threads", "1"]);
    let three = says(&["sim", "--seeds", "100..160", "--threads", "3"]);
    assert!(one.starts_with("60 seeds, ") && one.contains(" connections; faults: "), "{one}");
    assert_eq!(counts(&one), counts(&three));
}

#[test]
fn one_world_is_told_line_by_line_and_always_in_the_same_words() {
    let told = says(&["sim", "--seed", "7"]);
    assert_eq!(told, says(&["sim", "--seed", "7"]));
    assert!(told.lines().count() > 30 && told.contains(" ms  peer 0: "), "{told}");
    let last = told.lines().last().expect("there are lines");
    assert!(last.starts_with("seed 7: ") && last.contains(" events, hash "), "{last}");
}
