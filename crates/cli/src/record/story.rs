//! A recording as rows for a person: what belongs together on one row, and in which
//! lane of a drawing it is. What an entry is called is in `describe`, how rows look in
//! `text` and `page`.

use super::describe::describe;
use super::words::bytes_in_words;
use drywire_core::escape::printable;
use drywire_core::record::{Entry, Located, Why};
use drywire_core::{FileId, Time};
use std::fmt;
use std::time::Duration;

/// One thing that happened, with the bytes and the answer that belong to it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The entry's number in the recording; the entries of an answer and of bytes follow it.
    pub(super) number: u64,
    /// Since the time of the first turn.
    pub(super) at: Duration,
    /// Counts from 1; two turns may have one time.
    pub(super) turn: u64,
    pub(super) who: Who,
    pub(super) words: String,
    /// Bytes that moved, or were held out.
    pub(super) bytes: Option<u64>,
    pub(super) excerpt: Excerpt,
    /// What the connection held afterwards, if that was recorded.
    pub(super) held: Option<Held>,
    pub(super) mark: Mark,
}

/// Bytes that wait inside of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) input: u64,
    pub(super) output: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Peer,
    Protocol,
    Transport,
    Application,
    Driver,
    Layer,
    Recorder,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Who::Peer => "peer",
            Who::Protocol => "protocol",
            Who::Transport => "transport",
            Who::Application => "application",
            Who::Driver => "driver",
            Who::Layer => "layer",
            Who::Recorder => "recorder",
        })
    }
}

/// The front of the bytes of a row, and how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Excerpt {
    pub(super) front: Vec<u8>,
    pub(super) len: u64,
}

impl Excerpt {
    /// Bytes that are kept of each row, whatever is shown.
    pub(super) const MAX: usize = 4096;

    fn push(&mut self, piece: &[u8]) {
        let room = Excerpt::MAX - self.front.len();
        self.front.extend_from_slice(&piece[..piece.len().min(room)]);
        self.len += piece.len() as u64;
    }
}

/// What a row is on a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Bytes from the peer.
    Received {
        bytes: u64,
    },
    /// The peer ended its direction, or there was nothing to read.
    Read(End),
    /// Bytes for the peer, and how many were taken.
    Offered {
        bytes: u64,
        taken: u64,
    },
    /// The transport can take output.
    Writable,
    /// We ended our direction.
    HalfClose,
    /// Something failed, in this lane.
    Failed(Lane),
    /// A part of a file, and how much of it was taken.
    FilePart {
        bytes: u64,
        taken: u64,
    },
    /// A file is asked for, answered, needed no more.
    File(FileId, FileStep),
    /// To the application, or from it.
    Event,
    Command,
    /// A layer was called.
    Layer,
    Reading {
        enabled: bool,
    },
    Wait(Waiting),
    /// The report.
    Closed {
        cut: bool,
    },
    /// The recording's own.
    Recorder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    OfInput,
    WouldBlock,
    NotWanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileStep {
    Asked,
    Answered,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) why: Why,
    /// Since the time of the first turn.
    pub(super) deadline: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    FromPeer,
    ToPeer,
    Files,
    Application,
    Layer,
    Reading,
    Waits,
}

impl Mark {
    pub(super) fn lane(self) -> Lane {
        match self {
            Mark::Received { .. } | Mark::Read(_) => Lane::FromPeer,
            Mark::Offered { .. } | Mark::Writable | Mark::HalfClose => Lane::ToPeer,
            Mark::Failed(lane) => lane,
            Mark::FilePart { .. } | Mark::File(..) => Lane::Files,
            Mark::Event | Mark::Command => Lane::Application,
            Mark::Layer => Lane::Layer,
            Mark::Reading { .. } => Lane::Reading,
            Mark::Wait(_) | Mark::Closed { .. } | Mark::Recorder => Lane::Waits,
        }
    }
}

/// Makes rows of entries, in their order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    began: Option<Time>,
    at: Duration,
    turn: u64,
}

impl Rows {
    pub(super) fn finish(self) -> Vec<Row> {
        self.rows
    }

    /// The next entry.
    pub(super) fn push(&mut self, located: &Located<'_>) {
        let Located { number, time, ref entry, .. } = *located;
        let began = *self.began.get_or_insert(time);
        // Never back, whatever a file claims.
        self.at = self.at.max(time.saturating_since(began));
        self.turn += u64::from(matches!(entry, Entry::Lend { .. }));
        if self.rows.last_mut().is_some_and(|row| row.takes(entry)) {
            return;
        }
        self.forget_a_wait_that_was_none(entry);
        let Some((who, words, mark)) = describe(entry, began) else { return };
        let words = printable(&words);
        let mut excerpt = Excerpt::default();
        if let Entry::OpenFile { name, len, .. } = entry {
            excerpt.push(name);
            excerpt.len = excerpt.len.max((*len).into());
        }
        let bytes = match mark {
            Mark::Received { bytes } | Mark::Offered { bytes, .. } | Mark::FilePart { bytes, .. } => Some(bytes),
            Mark::Command | Mark::Event | Mark::Layer | Mark::Recorder => None,
            Mark::Read(_) | Mark::Writable | Mark::HalfClose | Mark::Failed(_) | Mark::File(..) => None,
            Mark::Reading { .. } | Mark::Wait(_) | Mark::Closed { .. } => None,
        };
        let mut held = None;
        if let Entry::Wait { levels, .. } = entry {
            held = Some(Held { input: levels.input, output: levels.output.saturating_add(levels.wire) });
        }
        self.rows.push(Row { number, at: self.at, turn: self.turn, who, words, bytes, excerpt, held, mark });
    }

    /// The driver still had something for a connection that would have waited, so the turn
    /// goes on. What was held is said on the row before.
    fn forget_a_wait_that_was_none(&mut self, next: &Entry<'_>) {
        if let Some([.., before, wait]) = self.rows.get_mut(..)
            && matches!(wait.mark, Mark::Wait(_))
            && !matches!(next, Entry::Lend { .. })
            && wait.turn == self.turn
            && before.turn == self.turn
        {
            before.held = wait.held;
            self.rows.pop();
        }
    }
}

impl Row {
    /// Whether `entry` is an answer to this one, or the bytes of it. Then this row says it.
    fn takes(&mut self, entry: &Entry<'_>) -> bool {
        match (entry, &mut self.mark) {
            (Entry::Bytes(piece), Mark::Received { .. } | Mark::Command | Mark::Layer) => self.excerpt.push(piece),
            (Entry::Wrote { n, .. }, Mark::Offered { bytes, taken }) => {
                *taken = *n;
                self.words = match n == bytes {
                    true => "sends".into(),
                    false => format!("offers, {} taken", bytes_in_words(*n)),
                };
            }
            (Entry::Sent { n }, Mark::FilePart { bytes, taken }) => {
                *taken = *n;
                let words = self.words.replace("offers", "sends").replace(", none is taken", "");
                self.words = match n == bytes {
                    true => words,
                    false => format!("{words}, {} taken", bytes_in_words(*n)),
                };
            }
            (Entry::FileRead { n }, Mark::FilePart { taken, .. }) => {
                *taken = u64::from(*n);
                self.bytes = Some(*taken);
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire_core::record::Levels;

    fn rows(entries: &[(u64, Entry<'static>)]) -> Vec<Row> {
        let mut rows = Rows::default();
        for (number, (ms, entry)) in entries.iter().enumerate() {
            let time = Time::from_nanos(ms * 1_000_000);
            rows.push(&Located { number: number as u64, offset: 0, time, entry: entry.clone() });
        }
        rows.finish()
    }

    fn lend(ms: u64) -> (u64, Entry<'static>) {
        (ms, Entry::Lend { now: Time::from_nanos(ms * 1_000_000), forgotten: false })
    }

    fn wait(ms: u64, output: u64) -> (u64, Entry<'static>) {
        let levels = Levels { output, ..Levels::default() };
        (ms, Entry::Wait { wait: drywire_core::Wait::default(), levels, why: Why::INPUT })
    }

    #[test]
    fn times_do_not_go_back_whatever_a_file_claims() {
        let rows = rows(&[lend(9), (9, Entry::Writable), lend(20), wait(20, 0), lend(3), (3, Entry::Writable)]);
        let times: Vec<u128> = rows.iter().map(|row| row.at.as_millis()).collect();
        assert_eq!(times, [0, 11, 11]);
    }

    #[test]
    fn wait_that_the_turn_went_on_after_is_told_on_the_row_before() {
        let rows =
            rows(&[lend(1), (1, Entry::Writable), wait(1, 7), (1, Entry::HalfClose), wait(1, 9), lend(2), wait(2, 0)]);
        let told: Vec<_> = rows.iter().map(|row| (row.number, row.held.map(|held| held.output))).collect();
        assert_eq!(told, [(1, Some(7)), (3, None), (4, Some(9)), (6, Some(0))]);
    }
}
