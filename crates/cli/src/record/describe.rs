//! An entry in a sentence: who did it, and what.

use super::story::{End, FileStep, Lane, Mark, Waiting, Who};
use super::words::{bytes_in_words, reason_in_words};
use drywire_core::Time;
use drywire_core::record::{Ended, Entry, ReadAnswer, ReasonKind, Why};

/// Who did it, what, and what it is on a drawing. `None` for what shows in the rows after it.
pub(super) fn describe(entry: &Entry<'_>, began: Time) -> Option<(Who, String, Mark)> {
    Some(match entry {
        Entry::Lend { forgotten: false, .. } => return None,
        Entry::Lend { forgotten: true, .. } => (Who::Driver, "forgot the turn before".into(), Mark::Recorder),
        Entry::Writable => (Who::Transport, "can take output".into(), Mark::Writable),
        Entry::Read { slot: _, answer } => describe_answer(*answer),
        Entry::NotWanted => (Who::Driver, "reads, though no input is wanted".into(), Mark::Read(End::NotWanted)),
        Entry::Command { refused: None, .. } => (Who::Application, "commands".into(), Mark::Command),
        Entry::Command { refused: Some(misuse), .. } => {
            (Who::Application, format!("commands, refused: {misuse}"), Mark::Command)
        }
        Entry::File { id, result, refused } => {
            let mut words = match result {
                Ok(len) => format!("has opened {id:?}: {}", bytes_in_words(*len)),
                Err(error) => format!("cannot open {id:?}: {error}"),
            };
            if let Some(misuse) = refused {
                words += &format!("; refused: {misuse}");
            }
            (Who::Driver, words, Mark::File(*id, FileStep::Answered))
        }
        Entry::TransportError(error) | Entry::OutputFailed(error) => {
            (Who::Transport, format!("fails: {error}"), Mark::Failed(Lane::ToPeer))
        }
        Entry::Drain => (Who::Application, "asks to drain".into(), Mark::Command),
        Entry::FlushOnly => (Who::Application, "has no memory for more".into(), Mark::Command),
        Entry::QueueAtMost(bytes) => {
            (Who::Application, format!("has memory for a queue of {bytes} bytes"), Mark::Command)
        }
        Entry::Close => (Who::Application, "asks to close".into(), Mark::Command),
        Entry::Abort => (Who::Application, "aborts".into(), Mark::Command),
        Entry::InjectFull(nth) => (Who::Application, format!("has write {nth} refused"), Mark::Command),
        Entry::Write { offered } => {
            (Who::Protocol, "offers, none taken".into(), Mark::Offered { bytes: *offered, taken: 0 })
        }
        Entry::StreamFile { id, offset, len } => {
            let words = format!("offers {id:?} from {offset}, none is taken");
            (Who::Protocol, words, Mark::FilePart { bytes: *len, taken: 0 })
        }
        Entry::ReadFile { id, offset, len } => {
            (Who::Layer, format!("reads {id:?} from {offset}"), Mark::FilePart { bytes: *len, taken: 0 })
        }
        Entry::FileFailed(error) => (Who::Driver, format!("the file failed: {error}"), Mark::Failed(Lane::Files)),
        Entry::OpenFile { id, .. } => (Who::Protocol, format!("asks for {id:?}"), Mark::File(*id, FileStep::Asked)),
        Entry::CloseFile { id } => (Who::Protocol, format!("needs {id:?} no more"), Mark::File(*id, FileStep::Closed)),
        Entry::Event(text) if text.len == 0 => (Who::Protocol, "tells an event".into(), Mark::Event),
        Entry::Event(text) => (Who::Protocol, format!("tells: {text}"), Mark::Event),
        Entry::EnableRead => (Who::Protocol, "reads again".into(), Mark::Reading { enabled: true }),
        Entry::DisableRead => (Who::Protocol, "stops reading".into(), Mark::Reading { enabled: false }),
        Entry::HalfClose => (Who::Protocol, "ends our direction".into(), Mark::HalfClose),
        Entry::Cut { messages } => {
            (Who::Driver, format!("bounds the turn: {messages} messages were consumed"), Mark::Command)
        }
        Entry::Again => (Who::Protocol, "goes on in the next turn".into(), Mark::Command),
        Entry::Report { kind, text, counters } => {
            let mut words = format!("closed: {}", reason_in_words(*kind, text));
            words += &format!("; received {}, sent {}", counters.received, counters.sent);
            if counters.discarded > 0 {
                words += &format!(", discarded {}", counters.discarded);
            }
            if counters.unsent > 0 {
                words += &format!(", unsent {}", counters.unsent);
            }
            (Who::Protocol, words, Mark::Closed { cut: counters.unsent > 0 || is_cut(*kind) })
        }
        Entry::Wait { wait, levels: _, why } => {
            let deadline = wait.deadline.map(|deadline| deadline.saturating_since(began));
            (Who::Protocol, waiting_in_words(*why), Mark::Wait(Waiting { why: *why, deadline }))
        }
        Entry::Layer(call) => (Who::Layer, call.to_string(), Mark::Layer),
        Entry::End(Ended::Closed) => (Who::Recorder, "ends".into(), Mark::Recorder),
        Entry::End(Ended::Dropped) => {
            (Who::Recorder, "ends: the connection was dropped without a close".into(), Mark::Recorder)
        }
        Entry::End(Ended::Full) => {
            (Who::Recorder, "ends: its bound was met, the connection went on".into(), Mark::Recorder)
        }
        // What it belongs to was not kept: the beginning of a ring.
        Entry::Bytes(_) | Entry::Wrote { .. } | Entry::Sent { .. } | Entry::FileRead { .. } => {
            (Who::Recorder, format!("of something before the beginning: {entry}"), Mark::Recorder)
        }
    })
}

fn describe_answer(answer: ReadAnswer) -> (Who, String, Mark) {
    match answer {
        ReadAnswer::Bytes(n) => (Who::Peer, "sends".into(), Mark::Received { bytes: n.into() }),
        ReadAnswer::Wire(n) => (Who::Peer, "sends, for a layer".into(), Mark::Received { bytes: n.into() }),
        ReadAnswer::Discarded(n) => (Who::Peer, "sends, discarded".into(), Mark::Received { bytes: n.into() }),
        ReadAnswer::End => (Who::Peer, "ends its direction".into(), Mark::Read(End::OfInput)),
        ReadAnswer::WouldBlock => (Who::Transport, "has nothing to read".into(), Mark::Read(End::WouldBlock)),
        ReadAnswer::Failed(error) => (Who::Transport, format!("fails: {error}"), Mark::Failed(Lane::FromPeer)),
    }
}

fn waiting_in_words(why: Why) -> String {
    match why.words().collect::<Vec<_>>() {
        words if words.is_empty() => "waits for nothing".into(),
        words => format!("waits for {}", words.join(" and ")),
    }
}

/// As [`drywire_core::Reason::is_abort`]. An end that dropped output is one too, whatever it is for.
fn is_cut(kind: ReasonKind) -> bool {
    match kind {
        ReasonKind::Finished
        | ReasonKind::Requested
        | ReasonKind::Peer
        | ReasonKind::Limit
        | ReasonKind::Misuse
        | ReasonKind::Layer => false,
        ReasonKind::Transport | ReasonKind::File | ReasonKind::Stalled | ReasonKind::Aborted => true,
    }
}
