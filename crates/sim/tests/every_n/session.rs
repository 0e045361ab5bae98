//! One session with its faults: a connection, its peer's moves, and what came of them.

use super::wire::{Fault, Lie, Oddity, Op, Wire};
use drywire_core::layer::Layer;
use drywire_core::{Budget, CloseReport, Connection, Misuse, Protocol, Ready, Time, Turn, Wait, Workspace, turn};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// What a session is made of.
pub(crate) struct Session<P: Protocol, L: Layer> {
    pub(crate) name: &'static str,
    pub(crate) make: fn() -> Connection<P, L>,
    /// What the peer sends, each when the one before has come to rest; then it ends.
    pub(crate) moves: Vec<Vec<u8>>,
    pub(crate) disk: BTreeMap<&'static [u8], Vec<u8>>,
    /// On the wire when the opens of these numbers, from 1, are refused.
    pub(crate) model: fn(&Refused) -> Vec<u8>,
    /// Why it ends when nothing fatal happens.
    pub(crate) reason: drywire_core::Reason<P::Error>,
    /// A short read means that the socket is empty.
    pub(crate) exhausts: bool,
    /// Most bytes that one operation moves.
    pub(crate) pieces: usize,
}

/// Opens that are refused, and why.
pub(crate) type Refused = BTreeMap<usize, drywire_core::FileError>;

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Outcome<E> {
    pub(crate) taken: Vec<u8>,
    pub(crate) reports: Vec<CloseReport<E>>,
    /// Faults that were met, in their order.
    pub(crate) hits: Vec<Fault>,
    pub(crate) left_open: usize,
    pub(crate) held_bytes: usize,
    pub(crate) broken: Option<&'static str>,
    /// Operations there were, by kind.
    pub(crate) counts: BTreeMap<Op, usize>,
    /// The write that was to be refused came, and was.
    pub(crate) full_came: bool,
}

/// More turns than any run here needs.
const MAX_TURNS: usize = 5_000;

pub(crate) fn run<P, L>(
    session: &Session<P, L>,
    workspace: &mut Workspace,
    faults: &[Fault],
    full_at: u32,
    lie: Lie,
) -> Outcome<P::Error>
where
    P: Protocol<Event = Infallible>,
    L: Layer,
{
    let mut conn = (session.make)();
    conn.inject_full(full_at);
    let mut wire = Wire::new(&session.disk, faults, lie, session.exhausts, session.pieces);
    let mut moves = session.moves.iter();
    let (mut now, mut wait, mut again) = (Time::ZERO, Wait::default(), true);
    let mut reports = Vec::new();
    let mut turns = 0;
    while turns < MAX_TURNS && reports.is_empty() {
        let is_due = wait.deadline.is_some_and(|deadline| deadline <= now);
        if !(again || wait.write || is_due || wait.read && wire.is_readable() || !wire.asked.is_empty()) {
            // It rests: the peer goes on, and when it is done, time.
            match (moves.next(), wait.deadline) {
                (Some(bytes), _) => wire.incoming.extend(bytes),
                (None, _) if !wire.end => wire.end = true,
                (None, Some(deadline)) => now = now.max(deadline),
                (None, None) => break,
            }
            continue;
        }
        turns += 1;
        let is_spent = wire.next(Op::Turn) == Some(Oddity::Spent);
        let mut budget = Budget::bytes(if is_spent { 1 } else { usize::MAX });
        let mut live = conn.lend(workspace, now);
        for id in std::mem::take(&mut wire.asked) {
            let len = wire.open[&id].len() as u64;
            if live.handle_file(id, Ok(len)).is_err() {
                wire.broken.get_or_insert("the answer for a file was refused");
            }
        }
        live.handle_writable();
        again = false;
        match turn(&mut live, &mut wire, &mut Ready::UNKNOWN.clone(), &mut budget) {
            Turn::Event(never) => match never {},
            Turn::Wait(next) => wait = next,
            Turn::Again => again = true,
            Turn::Closed(report) => reports.push(report),
        }
    }
    // An answer that comes after the close is the driver's to close.
    for id in std::mem::take(&mut wire.asked) {
        if conn.lend(workspace, now).handle_file(id, Ok(0)) != Err(Misuse::Closed) {
            wire.broken.get_or_insert("a closed connection took the answer for a file");
        }
        wire.open.remove(&id);
    }
    // Whatever is asked of it now, a connection that is closed says nothing.
    for _ in 0..2 {
        let mut live = conn.lend(workspace, now);
        if let (false, Turn::Closed(report)) =
            (reports.is_empty(), turn(&mut live, &mut wire, &mut Ready::UNKNOWN.clone(), &mut Budget::DEFAULT.clone()))
        {
            reports.push(report);
        }
    }
    Outcome {
        reports,
        left_open: wire.open.len(),
        held_bytes: conn.held_bytes(),
        broken: wire.broken,
        counts: Op::ALL.iter().map(|op| (*op, wire.counted(*op))).collect(),
        full_came: full_at > 0 && conn.full_in() == 0,
        hits: wire.hits,
        taken: wire.taken,
    }
}
