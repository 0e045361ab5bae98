//! The transcript a script must give: the same protocol, over an ideal transport in
//! memory. It takes everything at once, and time stands still while there is news.

use super::compare::{Outcome, Verdict};
use super::fixture;
use super::messages::{ABORT, LONGEST_MESSAGE};
use super::script::{End, Script, Speaks};
use super::{Narrator, Saw, Transcript};
use drywire_core::{
    Blocked, Budget, Connection, FileError, FileId, Limits, OpenFile, Opening, Protocol, Ready, Reason, SendFileError,
    Time, Transport, TransportError, Turn, Workspace, turn,
};
use drywire_protocols::{ByteEcho, Dialog, Hub, HubEcho, LineEcho};
use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Range;
use std::time::Instant;

/// The transcript this script must give on every driver.
#[must_use]
pub fn expected(script: &Script) -> Transcript {
    expected_in_pieces(script, usize::MAX)
}

/// The same, with at most `piece` bytes a read and a write: it makes no difference.
///
/// # Panics
/// When the script waits for an end that never comes: the drawing is wrong.
#[must_use]
pub fn expected_in_pieces(script: &Script, piece: usize) -> Transcript {
    let (input, saw) = match script.end {
        End::HalfClose => (Input::Ends, None),
        End::AfterTheOther => (Input::EndsAfterTheOther, None),
        End::Reset { .. } => (Input::Resets, Some(Saw::Nothing)),
    };
    let sent = script.sent();
    let run = |sent, input| {
        run(script.speaks, sent, input, piece)
            .unwrap_or_else(|| panic!("seed {}: the peer waits for an end that never comes", script.seed))
    };
    let mut transcript = run(&sent, input);
    transcript.saw = saw.unwrap_or(transcript.saw);
    if let Some(before) = sent.strip_suffix(ABORT)
        && transcript.reason == ABORTED
    {
        // How much of it goes out before the abort is chance; this much was accepted.
        transcript.output = run(before, Input::Resets).output;
    }
    transcript
}

/// The outcome a driver must have.
#[must_use]
pub fn reference(seeds: Range<u64>) -> Outcome {
    let begun = Instant::now();
    let verdicts: Vec<_> = seeds
        .map(Script::from_seed)
        .map(|script| {
            let transcript = expected(&script);
            (script.seed, Verdict::new(&script, &Ok(transcript.clone()), &transcript))
        })
        .collect();
    Outcome::new("reference", begun.elapsed(), verdicts)
}

/// What comes behind a script's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The end.
    Ends,
    /// The end, once the other direction has ended; nothing before.
    EndsAfterTheOther,
    /// A reset, once all there is to say to the bytes was said.
    Resets,
}

/// The bounds of a connection in scripts: no deadline comes due in the time a test
/// takes.
pub(super) fn patient(limits: Limits) -> Limits {
    Limits { linger_ms: 600_000, stall_ms: 600_000, ..limits }
}

/// A connection as scripts get it, on every driver. One place for each protocol.
pub(super) fn lines() -> Connection<LineEcho> {
    Connection::new(LineEcho).with_limits(patient(LineEcho::SMALL))
}

pub(super) fn bytes() -> Connection<ByteEcho> {
    Connection::new(ByteEcho).with_limits(patient(ByteEcho::LIMITS))
}

pub(super) fn dialog() -> Connection<Dialog> {
    Connection::new(Dialog::new()).with_limits(patient(Dialog::LIMITS))
}

pub(super) fn messages() -> Connection<HubEcho> {
    Connection::new(HubEcho::with_longest(LONGEST_MESSAGE)).with_limits(patient(Hub::limits(LONGEST_MESSAGE)))
}

pub(super) fn narrator() -> Connection<Narrator> {
    Connection::new(Narrator::default()).with_limits(patient(Narrator::LIMITS))
}

/// Runs a connection to its end; `None` when both sides wait for each other.
pub(super) fn run(speaks: Speaks, sent: &[u8], input: Input, piece: usize) -> Option<Transcript> {
    let ideal = Ideal { sent, input, piece, quiet: false, ended: false, output: Vec::new(), open: HashMap::new() };
    match speaks {
        Speaks::Lines => ideal.run(lines()),
        Speaks::Bytes => ideal.run(bytes()),
        Speaks::Dialog => ideal.run(dialog()),
        Speaks::Narrator => ideal.run(narrator()),
        Speaks::Messages => ideal.run(messages()),
    }
}

/// Why a connection ended, in a word that is the same on every driver: whether a
/// peer's reset is met by a read or by a write is chance.
pub(super) fn class<E: Debug>(reason: &Reason<E>) -> String {
    match reason {
        Reason::Transport(TransportError::Reset | TransportError::BrokenPipe) => GONE.into(),
        Reason::Finished
        | Reason::Requested
        | Reason::Peer(_)
        | Reason::Limit(_)
        | Reason::Misuse(_)
        | Reason::Transport(
            TransportError::TimedOut | TransportError::Refused | TransportError::Unresolved | TransportError::Other(_),
        )
        | Reason::File(_)
        | Reason::Layer(_)
        | Reason::Stalled
        | Reason::Aborted
        | Reason::Panicked
        | Reason::Shed => format!("{reason:?}"),
    }
}

/// The class of a protocol that gives up at once.
pub(super) const ABORTED: &str = "Aborted";

/// The class of a peer that reset the connection.
pub(super) const GONE: &str = "Transport(Reset or BrokenPipe)";

struct Ideal<'a> {
    sent: &'a [u8],
    input: Input,
    piece: usize,
    /// All there is to say was said.
    quiet: bool,
    /// Our direction has ended.
    ended: bool,
    output: Vec<u8>,
    open: HashMap<FileId, &'static [u8]>,
}

impl Ideal<'_> {
    fn run<P: Protocol<Event: Debug, Error: Debug>>(mut self, mut connection: Connection<P>) -> Option<Transcript> {
        let (mut workspace, mut now, mut ready) = (Workspace::new(), Time::ZERO, Ready::UNKNOWN);
        let mut events = Vec::new();
        loop {
            let mut live = connection.lend(&mut workspace, now);
            let turn = turn(&mut live, &mut self, &mut ready, &mut Budget::DEFAULT.clone());
            drop(live);
            match turn {
                Turn::Event(event) => events.push(format!("{event:?}")),
                Turn::Again => {}
                Turn::Wait(wait) => {
                    let news = !self.sent.is_empty() || self.end().is_ok();
                    if wait.read && news {
                        ready.read = true;
                    } else if wait.read && self.input == Input::Resets {
                        (self.quiet, ready.read) = (true, true);
                    } else {
                        now = wait.deadline?;
                    }
                }
                Turn::Closed(report) => {
                    assert!(self.open.is_empty(), "a file was left open");
                    let saw = if report.is_abort() { Saw::Reset } else { Saw::End };
                    return Some(Transcript {
                        taken: Some(report.counters.received - report.counters.discarded),
                        output: self.output,
                        saw,
                        events,
                        reason: class(&report.reason),
                    });
                }
            }
        }
    }

    /// What a read gives when all bytes were read.
    fn end(&self) -> Result<usize, Blocked> {
        match self.input {
            Input::Ends => Ok(0),
            Input::EndsAfterTheOther if self.ended => Ok(0),
            Input::Resets if self.quiet => Err(Blocked::Failed(TransportError::Reset)),
            Input::EndsAfterTheOther | Input::Resets => Err(Blocked::WouldBlock),
        }
    }
}

impl Transport for Ideal<'_> {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let n = slot.len().min(self.piece).min(self.sent.len());
        if n == 0 {
            return self.end();
        }
        let (front, rest) = self.sent.split_at(n);
        slot[..n].copy_from_slice(front);
        self.sent = rest;
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        let n = slices[0].len().min(self.piece);
        self.output.extend_from_slice(&slices[0][..n]);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let at = usize::try_from(offset).expect("the length of a slice");
        let n = usize::try_from(len).expect("the length of a slice").min(self.piece);
        self.output.extend_from_slice(&self.open[&id][at..at + n]);
        Ok(n as u64)
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("there is no layer that has to see the file")
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        Opening::Done(fixture::look_up(request.name()).map(|content| {
            self.open.insert(request.id(), content);
            content.len() as u64
        }))
    }

    fn close_file(&mut self, id: FileId) {
        self.open.remove(&id).expect("closed once");
    }

    fn half_close(&mut self) {
        self.ended = true;
    }
}
