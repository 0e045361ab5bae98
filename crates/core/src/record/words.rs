//! An entry in words: one line, for a timeline and for a difference.

use super::entry::{Ended, Entry, LayerCall, LayerCallKind, ReadAnswer};
use core::fmt;

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Lend { now, forgotten: false } => write!(f, "turn at {now:?}"),
            Entry::Lend { now, forgotten: true } => write!(f, "turn at {now:?}, the one before forgotten"),
            Entry::Writable => f.write_str("the transport can take output"),
            Entry::Read { slot, answer } => write!(f, "read: {answer} (slot of {slot})"),
            Entry::NotWanted => f.write_str("read: no input is wanted"),
            Entry::Command { len, refused: None } => write!(f, "command of {len} bytes"),
            Entry::Command { len, refused: Some(misuse) } => write!(f, "command of {len} bytes, refused: {misuse}"),
            Entry::File { id, result, refused } => {
                match result {
                    Ok(len) => write!(f, "{id:?} has {len} bytes")?,
                    Err(error) => write!(f, "{id:?} cannot be had: {error}")?,
                }
                refused.map_or(Ok(()), |misuse| write!(f, ", refused: {misuse}"))
            }
            Entry::TransportError(error) => write!(f, "the transport failed: {error}"),
            Entry::Drain => f.write_str("drain"),
            Entry::FlushOnly => f.write_str("flush only"),
            Entry::QueueAtMost(bytes) => write!(f, "queue at most {bytes} bytes"),
            Entry::Close => f.write_str("close"),
            Entry::Abort => f.write_str("abort"),
            Entry::InjectFull(nth) => write!(f, "inject full at write {nth}"),
            Entry::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Entry::Write { offered } => write!(f, "write: {offered} bytes offered"),
            Entry::Wrote { n, crc: Some(crc) } => write!(f, "the transport took {n} bytes (crc {crc:08x})"),
            Entry::Wrote { n, crc: None } => write!(f, "the transport took {n} bytes"),
            Entry::StreamFile { id, offset, len } => write!(f, "send {id:?}: {len} bytes from {offset}"),
            Entry::Sent { n } => write!(f, "the transport took {n} bytes of the file"),
            Entry::ReadFile { id, offset, len } => write!(f, "read {id:?}: {len} bytes from {offset}"),
            Entry::FileRead { n } => write!(f, "{n} bytes read"),
            Entry::OutputFailed(error) => write!(f, "the transport failed: {error}"),
            Entry::FileFailed(error) => write!(f, "the file failed: {error}"),
            Entry::OpenFile { id, name, len, crc: _ } => {
                write!(f, "open {id:?}: \"{}\" ({len} bytes)", name.escape_ascii())
            }
            Entry::CloseFile { id } => write!(f, "close {id:?}"),
            Entry::Event(text) if text.len == 0 => f.write_str("event"),
            Entry::Event(text) => write!(f, "event: {text}"),
            Entry::EnableRead => f.write_str("reading enabled"),
            Entry::DisableRead => f.write_str("reading disabled"),
            Entry::HalfClose => f.write_str("half-close"),
            Entry::Again => f.write_str("again"),
            Entry::Cut { messages } => write!(f, "cut after {messages} messages"),
            Entry::Report { kind, text, counters } => {
                write!(f, "closed: {kind:?}")?;
                if text.len > 0 {
                    write!(f, " ({text})")?;
                }
                let (received, sent) = (counters.received, counters.sent);
                let (discarded, unsent) = (counters.discarded, counters.unsent);
                write!(f, "; received {received}, sent {sent}, discarded {discarded}, unsent {unsent}")
            }
            Entry::Wait { wait, levels, why } => {
                write!(f, "wait for {why}; held: input {}, output {}", levels.input, levels.output)?;
                if levels.files > 0 {
                    write!(f, ", files {}", levels.files)?;
                }
                if levels.wire > 0 {
                    write!(f, ", encoded {}", levels.wire)?;
                }
                let readiness = match (wait.read, wait.write) {
                    (true, true) => "; read, write",
                    (true, false) => "; read",
                    (false, true) => "; write",
                    (false, false) => "",
                };
                f.write_str(readiness)?;
                wait.deadline.map_or(Ok(()), |deadline| write!(f, "; until {deadline:?}"))
            }
            Entry::Layer(call) => call.fmt(f),
            Entry::End(Ended::Closed) => f.write_str("end of the recording"),
            Entry::End(Ended::Dropped) => f.write_str("end of the recording: dropped without a close"),
            Entry::End(Ended::Full) => f.write_str("end of the recording: its bound is met"),
        }
    }
}

impl fmt::Display for ReadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadAnswer::Bytes(n) => write!(f, "{n} bytes"),
            ReadAnswer::Wire(n) => write!(f, "{n} bytes for the layers"),
            ReadAnswer::Discarded(n) => write!(f, "{n} bytes, discarded"),
            ReadAnswer::End => f.write_str("end of input"),
            ReadAnswer::WouldBlock => f.write_str("nothing now"),
            ReadAnswer::Failed(error) => write!(f, "failed, {error}"),
        }
    }
}

impl fmt::Display for LayerCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, plain, wire) = (self.taken, self.plain, self.wire);
        match self.kind {
            LayerCallKind::Open => write!(f, "layer opened: {wire} bytes to send")?,
            LayerCallKind::Receive => write!(f, "layer received {taken}: {plain} plain, {wire} to send")?,
            LayerCallKind::Send => write!(f, "layer took {taken} plain bytes: {wire} to send (crc {:08x})", self.crc)?,
            LayerCallKind::Flush => write!(f, "layer flushed: {wire} bytes to send")?,
            LayerCallKind::ReceiveEnd => f.write_str("layer received the end")?,
            LayerCallKind::SendEnd => write!(f, "layer ended: {wire} bytes to send")?,
            LayerCallKind::Upgrade => write!(f, "layer upgraded: {wire} bytes to send")?,
        }
        if let Some((layer, reason)) = &self.error {
            write!(f, "; failed: {layer}: {reason}")?;
        }
        if self.holding {
            f.write_str("; holds plain bytes back")?;
        }
        if self.owing {
            f.write_str("; owes bytes")?;
        }
        if self.ended {
            f.write_str("; the peer has ended")?;
        }
        if self.opening {
            f.write_str("; shakes hands")?;
        }
        if self.partial {
            f.write_str("; holds a part of something")?;
        }
        Ok(())
    }
}
