//! The sessions, and all that can go wrong in them.

use super::judge::judge;
use super::layer::Doubling;
use super::session::{Refused, Session, run};
use super::wire::{Fault, Lie, Op};
use drywire_core::layer::Layer;
use drywire_core::{Connection, Limits, Protocol, Reason, Workspace};
use drywire_protocols::{BadCommand, ByteEcho, Dialog, LineEcho};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;

/// Small, so that output is full, reading pauses, and messages wait in the carry.
const TIGHT: Limits = Limits { input_bytes: 24, output_bytes: 24, files: 1, ..Limits::DEFAULT };

/// The longest refusal of a file is 43 bytes.
const TIGHT_DIALOG: Limits = Limits { output_bytes: 44, ..TIGHT };

const LINES: &str = "one\ntwo and more\nquit\nnever";
const REQUESTS: &str = "GET a\nSIZE b\nGET c\nGET b\nQUIT\n";

fn byte_echo<L: Layer>(make: fn() -> Connection<ByteEcho, L>, model: fn(&Refused) -> Vec<u8>) -> Session<ByteEcho, L> {
    Session {
        name: "byte echo",
        make,
        moves: vec![model(&Refused::new())],
        disk: BTreeMap::new(),
        model,
        reason: Reason::Finished,
        exhausts: false,
        pieces: 0,
    }
}

fn line_echo<L: Layer>(
    make: fn() -> Connection<LineEcho, L>,
    moves: Vec<Vec<u8>>,
    model: fn(&Refused) -> Vec<u8>,
) -> Session<LineEcho, L> {
    let disk = BTreeMap::new();
    Session { name: "line echo", make, moves, disk, model, reason: Reason::Finished, exhausts: true, pieces: 0 }
}

fn dialog<L: Layer>(
    make: fn() -> Connection<Dialog, L>,
    moves: Vec<Vec<u8>>,
    model: fn(&Refused) -> Vec<u8>,
) -> Session<Dialog, L> {
    let disk = BTreeMap::from([(&b"a"[..], b"12 bytes of.".to_vec()), (b"b", b"xyz".to_vec())]);
    Session { name: "dialog", make, moves, disk, model, reason: Reason::Finished, exhausts: false, pieces: 0 }
}

/// The answers to [`REQUESTS`]: four opens, of which `c` is never found.
fn answers(refused: &Refused) -> Vec<u8> {
    let found = [("OK 12\n12 bytes of.", None), ("OK 3\n", None), ("", Some("no such file")), ("OK 3\nxyz", None)];
    let mut answers = String::new();
    for (number, (answer, error)) in (1..).zip(found) {
        match (refused.get(&number), error) {
            (Some(error), _) => answers += &format!("-550 {error}\n"),
            (None, Some(error)) => answers += &format!("-550 {error}\n"),
            (None, None) => answers += answer,
        }
    }
    answers += "OK\n";
    answers.into_bytes()
}

/// A session of any type: how it is run and judged.
struct Erased {
    name: &'static str,
    run: Box<RunErased>,
}

type RunErased = dyn Fn(&mut Workspace, &[Fault], u32, Lie) -> Ran;

/// What came of one case.
struct Ran {
    verdict: Result<(), String>,
    counts: BTreeMap<Op, usize>,
    met: usize,
    full_came: bool,
}

fn erase<P, L>(pieces: usize, session: Session<P, L>) -> Erased
where
    P: Protocol<Event = Infallible> + 'static,
    P::Error: Debug + PartialEq,
    L: Layer + 'static,
{
    let session = Session { pieces, ..session };
    let name = session.name;
    let run = move |workspace: &mut Workspace, faults: &[Fault], full_at, lie| {
        let outcome = run(&session, workspace, faults, full_at, lie);
        Ran {
            verdict: judge(&session, &outcome),
            met: outcome.hits.len(),
            full_came: outcome.full_came,
            counts: outcome.counts,
        }
    };
    Erased { name, run: Box::new(run) }
}

/// Every session, with all bytes moved at once, and again in pieces.
fn sessions() -> Vec<Erased> {
    [usize::MAX, 5].into_iter().flat_map(sessions_in).collect()
}

fn sessions_in(pieces: usize) -> Vec<Erased> {
    let in_lines = || LINES.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
    let echoed = |_: &Refused| b"one\ntwo and more\nquit\n".to_vec();
    vec![
        erase(
            pieces,
            byte_echo(
                || Connection::new(ByteEcho).with_limits(TIGHT),
                |_| b"some bytes, more than fit at a time".to_vec(),
            ),
        ),
        erase(
            pieces,
            byte_echo(
                || Connection::with_layer(ByteEcho, Doubling::default()).with_limits(TIGHT),
                |_| Doubling::encode(b"some bytes, more than fit"),
            ),
        ),
        erase(pieces, line_echo(|| Connection::new(LineEcho).with_limits(TIGHT), in_lines(), echoed)),
        erase(
            pieces,
            line_echo(
                || Connection::with_layer(LineEcho, Doubling::default()).with_limits(TIGHT),
                vec![Doubling::encode(LINES.as_bytes())],
                |_| Doubling::encode(b"one\ntwo and more\nquit\n"),
            ),
        ),
        erase(
            pieces,
            line_echo(|| Connection::new(LineEcho), vec![b"one\ntw".to_vec(), b"o".to_vec()], |_| b"one\ntwo".to_vec()),
        ),
        erase(
            pieces,
            dialog(|| Connection::new(Dialog::new()).with_limits(TIGHT_DIALOG), vec![REQUESTS.into()], answers),
        ),
        erase(pieces, dialog(|| Connection::new(Dialog::new()), vec![REQUESTS.into()], answers)),
        erase(
            pieces,
            dialog(
                || Connection::with_layer(Dialog::new(), Doubling::default()).with_limits(TIGHT_DIALOG),
                vec![Doubling::encode(REQUESTS.as_bytes())],
                |refused| Doubling::encode(&answers(refused)),
            ),
        ),
        erase(
            pieces,
            Session {
                reason: Reason::Peer(BadCommand),
                ..dialog(
                    || Connection::new(Dialog::new()),
                    vec![b"GET b\nHELO\nGET a\n".to_vec()],
                    |refused| match refused.get(&1) {
                        Some(error) => format!("-550 {error}\n-500 protocol error, bad command\n").into_bytes(),
                        None => b"OK 3\nxyz-500 protocol error, bad command\n".to_vec(),
                    },
                )
            },
        ),
    ]
}

/// All that can go wrong once in a session with so many operations. A few more than
/// there are: a fault makes others.
fn faults(counts: &BTreeMap<Op, usize>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (op, count) in counts {
        for nth in 1..=count + usize::from(*count > 0) {
            faults.extend(op.oddities().into_iter().map(|oddity| Fault { op: *op, nth, oddity }));
        }
    }
    faults
}

/// Runs the case.
///
/// # Panics
/// When something is wrong, with the case.
#[track_caller]
fn holds(session: &Erased, workspace: &mut Workspace, faults: &[Fault], full_at: u32) -> Ran {
    let ran = (session.run)(workspace, faults, full_at, Lie::None);
    if let Err(wrong) = &ran.verdict {
        panic!("{}: {wrong}\n  faults {faults:?}\n  full at {full_at}", session.name);
    }
    ran
}

#[test]
fn every_fault_at_every_n_loses_nothing_and_leaks_nothing() {
    let mut workspace = Workspace::new();
    let (mut cases, mut met) = (0, 0);
    for session in sessions() {
        let plain = holds(&session, &mut workspace, &[], 0);
        for fault in faults(&plain.counts) {
            cases += 1;
            met += holds(&session, &mut workspace, &[fault], 0).met;
        }
    }
    assert_eq!((cases, met), (2775, 2293), "cases, and faults that were met in them");
}

#[test]
fn every_write_refused_as_full_beside_every_fault() {
    let mut workspace = Workspace::new();
    let (mut cases, mut came) = (0, 0);
    for session in sessions() {
        let counts = holds(&session, &mut workspace, &[], 0).counts;
        for full_at in 1.. {
            let alone = holds(&session, &mut workspace, &[], full_at);
            if !alone.full_came {
                break;
            }
            for fault in faults(&counts) {
                cases += 1;
                came += usize::from(holds(&session, &mut workspace, &[fault], full_at).full_came);
            }
        }
    }
    assert_eq!((cases, came), (27_046, 21_513), "cases, and refusals that came in them");
}

#[test]
fn every_pair_of_faults_at_every_n_and_m() {
    let mut workspace = Workspace::new();
    let mut cases = 0;
    for session in sessions() {
        let faults = faults(&holds(&session, &mut workspace, &[], 0).counts);
        for (i, first) in faults.iter().enumerate() {
            for second in &faults[i + 1..] {
                if (first.op, first.nth) != (second.op, second.nth) {
                    cases += 1;
                    holds(&session, &mut workspace, &[*first, *second], 0);
                }
            }
        }
    }
    assert_eq!(cases, 270_118, "pairs");
}

/// Known-bad controls: transports that do what no transport does.
#[test]
fn transport_that_lies_is_found() {
    let mut workspace = Workspace::new();
    for lie in [Lie::LosesByte, Lie::SkipsFileByte, Lie::KeepsFile, Lie::LosesEdge] {
        let found = sessions().iter().any(|session| {
            let counts = holds(session, &mut workspace, &[], 0).counts;
            faults(&counts).iter().any(|fault| (session.run)(&mut workspace, &[*fault], 0, lie).verdict.is_err())
        });
        assert!(found, "{lie:?} was not found");
    }
}
