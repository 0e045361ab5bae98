//! Which worlds there are.

use super::world::{Act, Broken, Ending, World};
use drywire_core::Workspace;

/// Debug builds stop earlier.
const IS_DEEP: bool = !cfg!(debug_assertions);

/// Longest input of which every one is tried with every cut, in bytes.
const INPUT: usize = if IS_DEEP { 8 } else { 6 };

/// Most things that happen in a world of interleavings.
const DEPTH: usize = if IS_DEEP { 8 } else { 6 };

const ALPHABET: &[u8] = b"a\nq";

/// Every input over the alphabet up to the bound.
fn inputs() -> Vec<Vec<u8>> {
    let mut inputs = vec![Vec::new()];
    let mut of_this_length = inputs.clone();
    for _ in 0..INPUT {
        let longer = |input: &Vec<u8>| ALPHABET.iter().map(|byte| [&input[..], &[*byte]].concat()).collect::<Vec<_>>();
        of_this_length = of_this_length.iter().flat_map(longer).collect();
        inputs.extend_from_slice(&of_this_length);
    }
    inputs
}

/// # Panics
/// When something is wrong in it, with the world.
#[track_caller]
fn lives(input: &[u8], acts: &[Act], ending: Ending, workspace: &mut Workspace) {
    if let Err(wrong) = World::new(input, workspace, Broken::Nothing).live(acts, ending) {
        panic!("{wrong}\n  input b\"{}\"\n  {acts:?}, {ending:?}", input.escape_ascii());
    }
}

/// All ways to cut an input: bit n set, there is a cut behind byte n.
fn cuts(len: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1usize << len.saturating_sub(1)).map(move |bits| {
        let mut sizes = vec![0];
        for at in 0..len {
            *sizes.last_mut().expect("one to begin with") += 1;
            if bits >> at & 1 == 1 {
                sizes.push(0);
            }
        }
        sizes
    })
}

#[test]
fn every_input_under_every_cut_and_every_room() {
    let mut workspace = Workspace::new();
    let (mut worlds, mut acts) = (0, Vec::new());
    for input in inputs() {
        for cut in cuts(input.len()) {
            // Room before a piece, behind it, a byte at a time, or none before the end.
            for room in [&[Act::Room(99)][..], &[Act::Room(1)], &[Act::Turn, Act::Room(2)], &[]] {
                acts.clear();
                for size in &cut {
                    acts.push(Act::Deliver(*size));
                    acts.extend(room);
                    acts.push(Act::Turn);
                }
                lives(&input, &acts, Ending::Well, &mut workspace);
                worlds += 1;
            }
        }
    }
    assert_eq!(worlds, if IS_DEEP { 4_031_080 } else { 111_976 });
}

/// What may come next, in worlds of interleavings.
const ACTS: [Act; 12] = [
    Act::Deliver(1),
    Act::Deliver(2),
    Act::Room(1),
    Act::Room(3),
    Act::Time,
    Act::End,
    Act::Reset,
    Act::Command,
    Act::Drain,
    Act::Close,
    Act::Abort,
    Act::Turn,
];

/// Is `act` something new behind `acts`?
fn is_new(act: Act, acts: &[Act], left: usize) -> bool {
    let happened = |what: Act| acts.contains(&what);
    let is_between_turns = match acts.last() {
        None => act != Act::Turn,
        // What touches nothing but the transport has one order between two turns, and
        // comes before what the application does.
        Some(last) => act > Act::Reset || *last == Act::Turn || *last <= act,
    };
    let is_over = happened(Act::End) || happened(Act::Reset);
    is_between_turns
        && match act {
            Act::Deliver(n) => n <= left && !is_over,
            Act::End => !is_over,
            Act::Reset => !happened(Act::Reset),
            Act::Drain | Act::Close | Act::Abort => !happened(act),
            Act::Turn | Act::Time => acts.last() != Some(&act),
            Act::Room(_) | Act::Command => true,
        }
}

/// Calls `each` with every row of things that can happen, of the full depth.
fn every_row(input: &[u8], acts: &mut Vec<Act>, each: &mut dyn FnMut(&[Act])) {
    if acts.len() == DEPTH {
        return each(acts);
    }
    let delivered: usize = acts.iter().map(|act| if let Act::Deliver(n) = act { *n } else { 0 }).sum();
    for act in ACTS {
        if is_new(act, acts, input.len() - delivered) {
            acts.push(act);
            every_row(input, acts, each);
            acts.pop();
        }
    }
}

/// Two lines that fill the queue; one too long; a last one and what follows it.
const TALKS: [&[u8]; 3] = [b"a\naa\n", b"a\naaaa", b"q\na"];

#[test]
fn every_interleaving_up_to_the_depth() {
    let mut workspace = Workspace::new();
    let mut worlds = 0;
    for input in TALKS {
        every_row(input, &mut Vec::new(), &mut |acts| {
            for ending in [Ending::Well, Ending::Stuck] {
                worlds += 1;
                lives(input, acts, ending, &mut workspace);
            }
        });
    }
    assert_eq!(worlds, if IS_DEEP { 11_920_120 } else { 456_696 });
}

/// Known-bad controls: what is broken is found in some world, and soon.
#[test]
fn broken_transports_and_drivers_are_found() {
    for broken in
        [Broken::LosesByte, Broken::MissesRoom, Broken::MissesInput, Broken::ReportsTwice, Broken::ForgetsCommand]
    {
        let mut workspace = Workspace::new();
        let (mut worlds, mut found) = (0, 0);
        every_row(TALKS[0], &mut Vec::new(), &mut |acts| {
            worlds += 1;
            if worlds < 20_000 {
                found += usize::from(World::new(TALKS[0], &mut workspace, broken).live(acts, Ending::Well).is_err());
            }
        });
        assert!(found > 0, "{broken:?} was not found");
    }
}
