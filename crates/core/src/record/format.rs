//! The file: a magic, a head block, blocks of entries, a last block. What an
//! entry looks like is in `codec`.
//!
//! ```text
//! file    magic (8 bytes, "DRYWREC\n") · block 'H' · blocks 'B' · block 'L'
//! block   0      what it is: 'H' head, 'B' entries, 'L' the last entries
//!         1      0
//!         2..4   length of the payload, low byte first, at most 1024
//!         4..8   CRC-32 of the payload, low byte first
//!         8..12  CRC-32 of bytes 0..8, low byte first
//!         12..   payload
//! 'H'     b version (3) · b flags: 1 masked, 2 layered · name · note · 12 limits
//!         · n number of the first entry
//! 'B' 'L' n number of its first entry · n time of the turn it begins in, in ns · entries
//! ```
//!
//! Name and note are `n length · UTF-8`; the limits are numbers in the order of
//! [`Limits`]' fields. Version 1 has 8 of them: no first byte, message or rate was
//! limited then. Before version 3 no layer said that it holds a part of something.
//!
//! Every byte is covered by a checksum of a text short enough that one changed
//! byte is told apart from every other: see [`one_byte`](super::one_byte). A block
//! stands on its own, so what is behind damage, or behind a lost front, can be read.

use super::codec::{take_byte, take_str, take_u32};
use super::crc::crc;
use super::value::{put_number, take_number};
use crate::limits::Limits;
use alloc::vec::Vec;

pub(super) const MAGIC: [u8; 8] = *b"DRYWREC\n";
pub(super) const VERSION: u8 = 3;
/// The oldest that is read still.
pub(super) const OLDEST: u8 = 1;
/// Bytes before the payload of a block.
pub(super) const HEAD: usize = 12;
/// Longest payload, in bytes. Longer ones would cost less, and find damage worse.
pub(super) const PAYLOAD: usize = 1024;

pub(super) const NAME: usize = 64;
pub(super) const NOTE: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    Entries,
    Last,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Kind::Header => b'H',
            Kind::Entries => b'B',
            Kind::Last => b'L',
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Kind> {
        match byte {
            b'H' => Some(Kind::Header),
            b'B' => Some(Kind::Entries),
            b'L' => Some(Kind::Last),
            _ => None,
        }
    }
}

/// Makes room for the head of a block in an empty `block`.
pub(super) fn begin(block: &mut Vec<u8>) {
    block.clear();
    block.resize(HEAD, 0);
}

/// Fills in the head, now that the payload is whole.
pub(super) fn seal(kind: Kind, block: &mut [u8]) {
    let (head, payload) = block.split_at_mut(HEAD);
    let len = u16::try_from(payload.len()).expect("a payload has at most 1024 bytes");
    head[0] = kind.byte();
    head[2..4].copy_from_slice(&len.to_le_bytes());
    head[4..8].copy_from_slice(&crc(payload).to_le_bytes());
    let check = crc(&head[..8]);
    head[8..].copy_from_slice(&check.to_le_bytes());
}

/// What a recording says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The protocol's name, as its application calls it.
    pub protocol: &'a str,
    /// What the application notes: the peer, the driver.
    pub note: &'a str,
    /// The bounds of the connection.
    pub limits: Limits,
    /// Secrets were blanked, and digests left out.
    pub masked: bool,
    /// There was a layer between transport and protocol.
    pub layered: bool,
    /// The number of the first entry. Not 0 when the front was dropped, in a
    /// recording that keeps the last; it cannot be replayed then.
    pub first: u64,
}

impl<'a> Header<'a> {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, u8::from(self.masked) | u8::from(self.layered) << 1]);
        for text in [self.protocol, self.note] {
            put_number(text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        let Limits {
            input_bytes,
            output_bytes,
            linger_bytes,
            linger_ms,
            stall_ms,
            idle_ms,
            first_byte_ms,
            message_ms,
            min_rate,
            rate_ms,
            events,
            files,
        } = self.limits;
        for n in [
            input_bytes,
            output_bytes,
            linger_bytes,
            linger_ms,
            stall_ms,
            idle_ms,
            first_byte_ms,
            message_ms,
            min_rate,
            rate_ms,
            events.into(),
            files.into(),
        ] {
            put_number(n.into(), out);
        }
        put_number(self.first, out);
    }

    /// `from` is behind the version.
    pub(super) fn take(version: u8, from: &mut &'a [u8]) -> Option<Header<'a>> {
        let flags = take_byte(from)?;
        let (protocol, note) = (take_str(from)?, take_str(from)?);
        let since_2 = |from: &mut &'a [u8]| if version < 2 { Some(0) } else { take_u32(from) };
        let limits = Limits {
            input_bytes: take_u32(from)?,
            output_bytes: take_u32(from)?,
            linger_bytes: take_u32(from)?,
            linger_ms: take_u32(from)?,
            stall_ms: take_u32(from)?,
            idle_ms: take_u32(from)?,
            first_byte_ms: since_2(from)?,
            message_ms: since_2(from)?,
            min_rate: since_2(from)?,
            rate_ms: since_2(from)?,
            events: u16::try_from(take_u32(from)?).ok()?,
            files: u16::try_from(take_u32(from)?).ok()?,
        };
        let first = take_number(from)?;
        let is_sound = flags & !3 == 0 && from.is_empty() && limits.input_bytes > 0;
        let (masked, layered) = (flags & 1 != 0, flags & 2 != 0);
        is_sound.then_some(Header { protocol, note, limits, masked, layered, first })
    }
}

/// `text`, cut at a character so that it has at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
