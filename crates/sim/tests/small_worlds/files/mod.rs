//! Small worlds with files: answers that come late, never, or after the close, files
//! that end early, and everything that may come in between.

mod wire;
mod world;

use drywire_core::Workspace;
use world::{Act, World};

/// Most things that happen. Debug builds stop earlier.
const DEPTH: usize = if cfg!(debug_assertions) { 6 } else { 8 };

const ACTS: [Act; 13] = [
    Act::Deliver,
    Act::Room(1),
    Act::Room(4),
    Act::Truncate,
    Act::Time,
    Act::End,
    Act::Reset,
    Act::Answer(true),
    Act::Answer(false),
    Act::Drain,
    Act::Close,
    Act::Abort,
    Act::Turn,
];

fn is_new(act: Act, acts: &[Act], input: &[u8]) -> bool {
    let times = |what: Act| acts.iter().filter(|act| **act == what).count();
    let is_over = times(Act::End) + times(Act::Reset) > 0;
    let is_in_order = match acts.last() {
        None => act != Act::Turn,
        Some(last) => act > Act::Reset || *last == Act::Turn || *last <= act,
    };
    is_in_order
        && match act {
            Act::Deliver => times(Act::Deliver) < input.len() && !is_over,
            Act::End => !is_over,
            Act::Truncate | Act::Reset | Act::Drain | Act::Close | Act::Abort => times(act) == 0,
            // Only a turn asks for a file.
            Act::Answer(_) => times(Act::Turn) > 0 && !matches!(acts.last(), Some(Act::Answer(_))),
            Act::Turn | Act::Time => acts.last() != Some(&act),
            Act::Room(_) => true,
        }
}

fn every_row(input: &[u8], acts: &mut Vec<Act>, each: &mut dyn FnMut(&[Act])) {
    if acts.len() == DEPTH {
        return each(acts);
    }
    for act in ACTS {
        if is_new(act, acts, input) {
            acts.push(act);
            every_row(input, acts, each);
            acts.pop();
        }
    }
}

#[test]
fn fault_10_every_interleaving_with_files_closes_them_all() {
    let mut workspace = Workspace::new();
    let mut worlds = 0;
    for input in [&b"ff"[..], b"xfxx"] {
        every_row(input, &mut Vec::new(), &mut |acts| {
            worlds += 1;
            if let Err(wrong) = World::new(input, &mut workspace, false).live(acts) {
                panic!("{wrong}\n  input b\"{}\"\n  {acts:?}", input.escape_ascii());
            }
        });
    }
    assert_eq!(worlds, if cfg!(debug_assertions) { 126_776 } else { 3_736_810 });
}

/// Known-bad control.
#[test]
fn file_that_is_left_open_is_found() {
    let mut workspace = Workspace::new();
    let acts = [Act::Deliver, Act::Turn, Act::Answer(true), Act::Turn];
    assert_eq!(World::new(b"f", &mut workspace, false).live(&acts), Ok(()));
    let wrong = World::new(b"f", &mut workspace, true).live(&acts).expect_err("it leaks");
    assert!(wrong.contains("1 files left open"), "{wrong}");
}
