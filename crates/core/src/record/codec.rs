//! Entries as bytes. Each is a tag and then its fields; numbers are LEB128, those
//! that may be negative zigzag first, times relative to the turn's.
//!
//! ```text
//! tag  entry           fields (n: number, z: zigzag, b: one byte, c: 4 bytes, low first)
//!  0   Lend            z later than the turn before, in ns · b forgotten
//!  1   Writable
//!  2   Read            n slot · b answer: 0 Bytes, 1 Wire, 2 Discarded (each · n),
//!                                         3 End, 4 WouldBlock, 5 Failed (· transport error)
//!  3   NotWanted
//!  4   Command         n length · b misuse
//!  5   File            n id · b misuse · b 0 · n length | b 1 · file error
//!  6   TransportError  transport error
//!  7   Drain           8 Close           9 Abort
//! 10   InjectFull      n
//! 11   Bytes           n length · the bytes
//! 12   Write           n offered
//! 13   Wrote           n · c crc         14 Wrote without a crc: n
//! 15   StreamFile      n id · n offset · n length
//! 16   Sent            n
//! 17   ReadFile        n id · n offset · n length
//! 18   FileRead        n
//! 19   OutputFailed    transport error
//! 20   FileFailed      file error
//! 21   OpenFile        n id · n whole length · c crc · n length · the name
//! 22   OpenFile        the same without a crc
//! 23   CloseFile       n id
//! 24   Event           text
//! 25   EnableRead      26 DisableRead    27 HalfClose
//! 28   Report          b kind · text · n received · n sent · n discarded · n unsent
//! 29   Wait            b which: 1 read, 2 write, 4 deadline, 8 input, 16 output, 32 files, 64 wire
//!                      · b why · z deadline · n input · n output · n files · n wire, those there are
//! 30   Layer           b kind + 8 failed + 16 holding + 32 owing + 64 ended + 128 opening · n taken · c crc · n plain
//!                      · n wire · n length · layer · n length · reason, the last four when failed
//! 31   End             b 0 Closed, 1 Dropped, 2 Full
//! 32   FlushOnly
//! 33   Layer           the same, and partial
//! 34   Cut             n messages
//! 35   Again
//! 36   QueueAtMost     n
//!
//! text             n whole length · c crc · n length · the front, in UTF-8
//! misuse           0 none, then the variants in their order
//! transport error  the variant, from 0; Other (4) · z number; Unresolved is 5
//! file error       the variant, from 0; Io (5) · z number
//! ```

use super::entry::{Ended, Entry, LayerCall, LayerCallKind, Levels, ReadAnswer, ReasonKind, Text};
use super::value::{put_number, take_bytes, take_number, unzigzag, zigzag};
use super::why::Why;
use crate::action::Wait;
use crate::close::Counters;
use crate::error::{FileError, Misuse, TransportError};
use crate::file::FileId;
use crate::time::Time;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// An entry that is not `Bytes` needs no more: two names, and numbers.
pub(super) const LONGEST: usize = 2 * Text::MAX + 100;

/// Bytes one layer call may have put out, as far as a recording is believed: a replay
/// makes that many for a few bytes of the file. A call takes 64 KiB at most, so this is
/// far more than layers make of it.
pub(super) const MOST_WIRE: u64 = 1 << 20;

/// Appends `entry`, which happened in a turn at `now`.
pub(super) fn put(entry: &Entry<'_>, now: Time, out: &mut Vec<u8>) {
    let tag = |tag: u8, out: &mut Vec<u8>| out.push(tag);
    match entry {
        Entry::Lend { now: later, forgotten } => {
            tag(0, out);
            put_number(since(*later, now), out);
            out.push(u8::from(*forgotten));
        }
        Entry::Writable => tag(1, out),
        Entry::Read { slot, answer } => {
            tag(2, out);
            put_number((*slot).into(), out);
            put_answer(*answer, out);
        }
        Entry::NotWanted => tag(3, out),
        Entry::Command { len, refused } => {
            tag(4, out);
            put_number((*len).into(), out);
            put_misuse(*refused, out);
        }
        Entry::File { id, result, refused } => {
            put_numbers(5, &[id.0.into()], out);
            put_misuse(*refused, out);
            match result {
                Ok(len) => put_numbers(0, &[*len], out),
                Err(error) => {
                    out.push(1);
                    put_file_error(*error, out);
                }
            }
        }
        Entry::TransportError(error) => {
            tag(6, out);
            put_transport_error(*error, out);
        }
        Entry::Drain => tag(7, out),
        Entry::Close => tag(8, out),
        Entry::Abort => tag(9, out),
        Entry::InjectFull(nth) => put_numbers(10, &[(*nth).into()], out),
        Entry::Bytes(bytes) => {
            tag(11, out);
            put_bytes(bytes, out);
        }
        Entry::Write { offered } => put_numbers(12, &[*offered], out),
        Entry::Wrote { n, crc: Some(crc) } => {
            put_numbers(13, &[*n], out);
            out.extend_from_slice(&crc.to_le_bytes());
        }
        Entry::Wrote { n, crc: None } => put_numbers(14, &[*n], out),
        Entry::StreamFile { id, offset, len } => put_numbers(15, &[id.0.into(), *offset, *len], out),
        Entry::Sent { n } => put_numbers(16, &[*n], out),
        Entry::ReadFile { id, offset, len } => put_numbers(17, &[id.0.into(), *offset, *len], out),
        Entry::FileRead { n } => put_numbers(18, &[(*n).into()], out),
        Entry::OutputFailed(error) => {
            tag(19, out);
            put_transport_error(*error, out);
        }
        Entry::FileFailed(error) => {
            tag(20, out);
            put_file_error(*error, out);
        }
        Entry::OpenFile { id, name, len, crc } => {
            put_numbers(if crc.is_some() { 21 } else { 22 }, &[id.0.into(), (*len).into()], out);
            if let Some(crc) = crc {
                out.extend_from_slice(&crc.to_le_bytes());
            }
            put_bytes(name, out);
        }
        Entry::CloseFile { id } => put_numbers(23, &[id.0.into()], out),
        Entry::Event(text) => {
            tag(24, out);
            put_text(text, out);
        }
        Entry::EnableRead => tag(25, out),
        Entry::DisableRead => tag(26, out),
        Entry::HalfClose => tag(27, out),
        Entry::Report { kind, text, counters } => {
            out.extend_from_slice(&[28, position(&KINDS, *kind)]);
            put_text(text, out);
            for n in [counters.received, counters.sent, counters.discarded, counters.unsent] {
                put_number(n, out);
            }
        }
        Entry::Wait { wait, levels, why } => put_wait(*wait, *levels, *why, now, out),
        Entry::Layer(call) => put_layer(call, out),
        Entry::End(ended) => out.extend_from_slice(&[31, position(&ENDS, *ended)]),
        Entry::FlushOnly => tag(32, out),
        Entry::Again => tag(35, out),
        Entry::Cut { messages } => put_numbers(34, &[(*messages).into()], out),
        Entry::QueueAtMost(bytes) => put_numbers(36, &[(*bytes).into()], out),
    }
}

/// Takes the entry at the front of `from`. `None` when none stands there.
pub(super) fn take<'a>(from: &mut &'a [u8], now: Time) -> Option<Entry<'a>> {
    Some(match take_byte(from)? {
        0 => {
            let later = at(take_number(from)?, now);
            Entry::Lend { now: later, forgotten: take_bool(from)? }
        }
        1 => Entry::Writable,
        2 => Entry::Read { slot: take_u32(from)?, answer: take_answer(from)? },
        3 => Entry::NotWanted,
        4 => Entry::Command { len: take_u32(from)?, refused: take_misuse(from)? },
        5 => {
            let (id, refused) = (take_id(from)?, take_misuse(from)?);
            let result = if take_bool(from)? { Err(take_file_error(from)?) } else { Ok(take_number(from)?) };
            Entry::File { id, result, refused }
        }
        6 => Entry::TransportError(take_transport_error(from)?),
        7 => Entry::Drain,
        8 => Entry::Close,
        9 => Entry::Abort,
        10 => Entry::InjectFull(take_u32(from)?),
        11 => Entry::Bytes(Cow::Borrowed(take_piece(from)?)),
        12 => Entry::Write { offered: take_number(from)? },
        13 => Entry::Wrote { n: take_number(from)?, crc: Some(take_crc(from)?) },
        14 => Entry::Wrote { n: take_number(from)?, crc: None },
        15 => Entry::StreamFile { id: take_id(from)?, offset: take_number(from)?, len: take_number(from)? },
        16 => Entry::Sent { n: take_number(from)? },
        17 => Entry::ReadFile { id: take_id(from)?, offset: take_number(from)?, len: take_number(from)? },
        18 => Entry::FileRead { n: take_u32(from)? },
        19 => Entry::OutputFailed(take_transport_error(from)?),
        20 => Entry::FileFailed(take_file_error(from)?),
        tag @ (21 | 22) => {
            let (id, len) = (take_id(from)?, take_u32(from)?);
            let crc = if tag == 21 { Some(take_crc(from)?) } else { None };
            Entry::OpenFile { id, len, crc, name: Cow::Borrowed(take_piece(from)?) }
        }
        23 => Entry::CloseFile { id: take_id(from)? },
        24 => Entry::Event(take_text(from)?),
        25 => Entry::EnableRead,
        26 => Entry::DisableRead,
        27 => Entry::HalfClose,
        28 => Entry::Report { kind: take_one(&KINDS, from)?, text: take_text(from)?, counters: take_counters(from)? },
        29 => take_wait(from, now)?,
        tag @ (30 | 33) => Entry::Layer(take_layer(tag == 33, from)?),
        31 => Entry::End(take_one(&ENDS, from)?),
        32 => Entry::FlushOnly,
        34 => Entry::Cut { messages: take_u32(from)? },
        35 => Entry::Again,
        36 => Entry::QueueAtMost(take_u32(from)?),
        _ => return None,
    })
}

const KINDS: [ReasonKind; 10] = [
    ReasonKind::Finished,
    ReasonKind::Requested,
    ReasonKind::Peer,
    ReasonKind::Limit,
    ReasonKind::Misuse,
    ReasonKind::Transport,
    ReasonKind::File,
    ReasonKind::Layer,
    ReasonKind::Stalled,
    ReasonKind::Aborted,
];

const ENDS: [Ended; 3] = [Ended::Closed, Ended::Dropped, Ended::Full];

const CALLS: [LayerCallKind; 7] = [
    LayerCallKind::Open,
    LayerCallKind::Receive,
    LayerCallKind::Send,
    LayerCallKind::Flush,
    LayerCallKind::ReceiveEnd,
    LayerCallKind::SendEnd,
    LayerCallKind::Upgrade,
];

const MISUSES: [Misuse; 9] = [
    Misuse::Closed,
    Misuse::CommandWaiting,
    Misuse::UnknownFile,
    Misuse::ConsumedTooMuch,
    Misuse::FileRange,
    Misuse::WriteAfterEnd,
    Misuse::StaleFull,
    Misuse::ForgottenTurn,
    Misuse::Upgrade,
];

/// Which it is, counted from 0.
fn position<T: Copy + PartialEq>(of: &[T], one: T) -> u8 {
    let index = of.iter().position(|other| *other == one).expect("the list names every variant");
    u8::try_from(index).expect("the lists are short")
}

fn take_one<T: Copy>(of: &[T], from: &mut &[u8]) -> Option<T> {
    of.get(usize::from(take_byte(from)?)).copied()
}

fn put_numbers(tag: u8, numbers: &[u64], out: &mut Vec<u8>) {
    out.push(tag);
    numbers.iter().for_each(|n| put_number(*n, out));
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_text(text: &Text<'_>, out: &mut Vec<u8>) {
    put_number(text.len.into(), out);
    out.extend_from_slice(&text.crc.to_le_bytes());
    put_bytes(text.front.as_bytes(), out);
}

fn put_misuse(misuse: Option<Misuse>, out: &mut Vec<u8>) {
    out.push(misuse.map_or(0, |misuse| 1 + position(&MISUSES, misuse)));
}

fn put_answer(answer: ReadAnswer, out: &mut Vec<u8>) {
    match answer {
        ReadAnswer::Bytes(n) => put_numbers(0, &[n.into()], out),
        ReadAnswer::Wire(n) => put_numbers(1, &[n.into()], out),
        ReadAnswer::Discarded(n) => put_numbers(2, &[n.into()], out),
        ReadAnswer::End => out.push(3),
        ReadAnswer::WouldBlock => out.push(4),
        ReadAnswer::Failed(error) => {
            out.push(5);
            put_transport_error(error, out);
        }
    }
}

fn put_transport_error(error: TransportError, out: &mut Vec<u8>) {
    match error {
        TransportError::Reset => out.push(0),
        TransportError::BrokenPipe => out.push(1),
        TransportError::TimedOut => out.push(2),
        TransportError::Refused => out.push(3),
        TransportError::Unresolved => out.push(5),
        TransportError::Other(number) => put_numbers(4, &[zigzag(number.into())], out),
    }
}

fn put_file_error(error: FileError, out: &mut Vec<u8>) {
    match error {
        FileError::NotFound => out.push(0),
        FileError::Forbidden => out.push(1),
        FileError::NotRegular => out.push(2),
        FileError::TooMany => out.push(3),
        FileError::Truncated => out.push(4),
        FileError::Io(number) => put_numbers(5, &[zigzag(number.into())], out),
    }
}

fn put_wait(wait: Wait, levels: Levels, why: Why, now: Time, out: &mut Vec<u8>) {
    let numbers = [
        (4, wait.deadline.map(|deadline| since(deadline, now))),
        (8, Some(levels.input).filter(|n| *n > 0)),
        (16, Some(levels.output).filter(|n| *n > 0)),
        (32, Some(levels.files.into()).filter(|n| *n > 0)),
        (64, Some(levels.wire).filter(|n| *n > 0)),
    ];
    let which = numbers.iter().filter(|(_, number)| number.is_some()).map(|(bit, _)| bit).sum::<u8>();
    out.extend_from_slice(&[29, u8::from(wait.read) | u8::from(wait.write) << 1 | which, why.bits()]);
    numbers.iter().filter_map(|(_, number)| *number).for_each(|number| put_number(number, out));
}

fn take_wait<'a>(from: &mut &'a [u8], now: Time) -> Option<Entry<'a>> {
    let (which, why) = (take_byte(from)?, Why::from_bits(take_byte(from)?));
    let mut number = |bit: u8| if which & bit == 0 { Some(None) } else { take_number(from).map(Some) };
    let deadline = number(4)?.map(|later| at(later, now));
    let (input, output, files, wire) = (number(8)?, number(16)?, number(32)?, number(64)?);
    let levels = Levels {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
        files: u32::try_from(files.unwrap_or(0)).ok()?,
        wire: wire.unwrap_or(0),
    };
    let wait = Wait { read: which & 1 != 0, write: which & 2 != 0, deadline };
    (which & 128 == 0).then_some(Entry::Wait { wait, levels, why })
}

fn put_layer(call: &LayerCall<'_>, out: &mut Vec<u8>) {
    let failed = call.error.is_some();
    let flags = [failed, call.holding, call.owing, call.ended, call.opening];
    let flags = flags.iter().rev().fold(0, |flags, is_so| flags << 1 | u8::from(*is_so));
    out.extend_from_slice(&[if call.partial { 33 } else { 30 }, position(&CALLS, call.kind) | flags << 3]);
    put_number(call.taken.into(), out);
    out.extend_from_slice(&call.crc.to_le_bytes());
    put_number(call.plain.into(), out);
    put_number(call.wire.into(), out);
    if let Some((layer, reason)) = &call.error {
        put_bytes(layer.as_bytes(), out);
        put_bytes(reason.as_bytes(), out);
    }
}

fn take_layer<'a>(partial: bool, from: &mut &'a [u8]) -> Option<LayerCall<'a>> {
    let flags = take_byte(from)?;
    let kind = *CALLS.get(usize::from(flags & 7))?;
    let (taken, crc, plain, wire) = (take_u32(from)?, take_crc(from)?, take_u32(from)?, take_u32(from)?);
    let error = match flags & 8 {
        0 => None,
        _ => Some((take_str(from)?.into(), take_str(from)?.into())),
    };
    let [holding, owing, ended, opening] = [16, 32, 64, 128].map(|bit| flags & bit != 0);
    let is_sound = u64::from(wire) <= MOST_WIRE;
    is_sound.then_some(LayerCall { kind, taken, crc, plain, wire, error, holding, owing, ended, opening, partial })
}

/// Wraps, so that a clock that runs backwards is recorded as well.
fn since(later: Time, now: Time) -> u64 {
    zigzag(later.as_nanos().wrapping_sub(now.as_nanos()).cast_signed())
}

fn at(since: u64, now: Time) -> Time {
    Time::from_nanos(now.as_nanos().wrapping_add_signed(unzigzag(since)))
}

pub(super) fn take_byte(from: &mut &[u8]) -> Option<u8> {
    take_bytes(from, 1).map(|byte| byte[0])
}

fn take_bool(from: &mut &[u8]) -> Option<bool> {
    take_one(&[false, true], from)
}

pub(super) fn take_u32(from: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_number(from)?).ok()
}

fn take_id(from: &mut &[u8]) -> Option<FileId> {
    take_u32(from).map(FileId)
}

fn take_crc(from: &mut &[u8]) -> Option<u32> {
    let (crc, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_le_bytes(*crc))
}

fn take_piece<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_number(from)?;
    take_bytes(from, len)
}

pub(super) fn take_str<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    core::str::from_utf8(take_piece(from)?).ok()
}

fn take_text<'a>(from: &mut &'a [u8]) -> Option<Text<'a>> {
    Some(Text { len: take_u32(from)?, crc: take_crc(from)?, front: Cow::Borrowed(take_str(from)?) })
}

fn take_misuse(from: &mut &[u8]) -> Option<Option<Misuse>> {
    match take_byte(from)? {
        0 => Some(None),
        misuse => MISUSES.get(usize::from(misuse - 1)).copied().map(Some),
    }
}

fn take_answer(from: &mut &[u8]) -> Option<ReadAnswer> {
    Some(match take_byte(from)? {
        0 => ReadAnswer::Bytes(take_u32(from)?),
        1 => ReadAnswer::Wire(take_u32(from)?),
        2 => ReadAnswer::Discarded(take_u32(from)?),
        3 => ReadAnswer::End,
        4 => ReadAnswer::WouldBlock,
        5 => ReadAnswer::Failed(take_transport_error(from)?),
        _ => return None,
    })
}

fn take_error_number(from: &mut &[u8]) -> Option<i32> {
    i32::try_from(unzigzag(take_number(from)?)).ok()
}

fn take_transport_error(from: &mut &[u8]) -> Option<TransportError> {
    Some(match take_byte(from)? {
        0 => TransportError::Reset,
        1 => TransportError::BrokenPipe,
        2 => TransportError::TimedOut,
        3 => TransportError::Refused,
        4 => TransportError::Other(take_error_number(from)?),
        5 => TransportError::Unresolved,
        _ => return None,
    })
}

fn take_file_error(from: &mut &[u8]) -> Option<FileError> {
    Some(match take_byte(from)? {
        0 => FileError::NotFound,
        1 => FileError::Forbidden,
        2 => FileError::NotRegular,
        3 => FileError::TooMany,
        4 => FileError::Truncated,
        5 => FileError::Io(take_error_number(from)?),
        _ => return None,
    })
}

fn take_counters(from: &mut &[u8]) -> Option<Counters> {
    let (received, sent) = (take_number(from)?, take_number(from)?);
    Some(Counters { received, sent, discarded: take_number(from)?, unsent: take_number(from)? })
}

#[cfg(test)]
mod tests;
