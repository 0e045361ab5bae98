//! A recording masked afterwards: the copy is what a tape with that mask would have made.

use super::entry::{Entry, ReadAnswer, ReasonKind, Text};
use super::format::Header;
use super::mask::Mask;
use super::reader::{ReadError, Reader};
use super::store::Store;
use super::tape::Keep;
use crate::time::Time;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A copy of a recording in which `mask` has blanked secrets, and in which digests, texts and names are
/// left out; see [`Mask`].
///
/// *Guaranteed*: it is, byte for byte, the file of a tape that was [masked](super::Tape::masked_by) when
/// the connection was recorded, as far as a bound does not cut the two at different places.
///
/// Of a recording whose front was dropped the mask sees what is left:
/// [`Mask::from_next_line`] is for lines.
///
/// # Errors
/// The first damage there is: what cannot be read cannot be masked.
pub fn masked(file: &[u8], mut mask: Mask) -> Result<Vec<u8>, ReadError> {
    let reader = Reader::new(file)?;
    reader.check()?;
    let mut entries = reader.entries().flatten().peekable();
    let (first, now) = match entries.peek() {
        // What a whole recording begins with counts its time from zero.
        Some(located) if located.number > 0 => (located.number, located.time),
        Some(_) | None => (0, Time::ZERO),
    };
    let mut store = Store::from(Keep::First(usize::MAX), first, now);
    let mut contents = Vec::new();
    while let Some(located) = entries.next() {
        contents.clear();
        while let Some(piece) = entries.next_if(|located| matches!(located.entry, Entry::Bytes(_))) {
            if let Entry::Bytes(bytes) = piece.entry {
                contents.extend_from_slice(&bytes);
            }
        }
        if is_input(&located.entry) {
            mask.apply(&mut contents);
        }
        if let Entry::End(ended) = located.entry {
            store.end(ended);
        } else {
            store.put(&without_texts(located.entry), &contents);
        }
    }
    Ok(store.into_file(Header { masked: true, ..reader.header() }))
}

/// The bytes that follow it came from the peer, and are not a command.
fn is_input(entry: &Entry<'_>) -> bool {
    matches!(entry, Entry::Read { answer: ReadAnswer::Bytes(_), .. } | Entry::Layer(_))
}

/// As a masked tape would have it.
fn without_texts(entry: Entry<'_>) -> Entry<'_> {
    match entry {
        Entry::Wrote { n, crc: _ } => Entry::Wrote { n, crc: None },
        Entry::OpenFile { id, name: _, len, crc: _ } => {
            Entry::OpenFile { id, name: Cow::Borrowed(&[]), len, crc: None }
        }
        Entry::Event(_) => Entry::Event(Text::default()),
        Entry::Report { kind: ReasonKind::Peer, text: _, counters } => {
            Entry::Report { kind: ReasonKind::Peer, text: Text::default(), counters }
        }
        Entry::Layer(mut call) => {
            call.crc = 0;
            Entry::Layer(call)
        }
        entry @ (Entry::Lend { .. }
        | Entry::Writable
        | Entry::Read { .. }
        | Entry::NotWanted
        | Entry::Command { .. }
        | Entry::File { .. }
        | Entry::TransportError(_)
        | Entry::Drain
        | Entry::Close
        | Entry::Abort
        | Entry::InjectFull(_)
        | Entry::FlushOnly
        | Entry::QueueAtMost(_)
        | Entry::Cut { .. }
        | Entry::Again
        | Entry::Bytes(_)
        | Entry::Write { .. }
        | Entry::StreamFile { .. }
        | Entry::Sent { .. }
        | Entry::ReadFile { .. }
        | Entry::FileRead { .. }
        | Entry::OutputFailed(_)
        | Entry::FileFailed(_)
        | Entry::CloseFile { .. }
        | Entry::EnableRead
        | Entry::DisableRead
        | Entry::HalfClose
        | Entry::Report { .. }
        | Entry::Wait { .. }
        | Entry::End(_)) => entry,
    }
}
