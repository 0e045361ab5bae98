//! Reading a recording, and saying where it is damaged.

use super::codec;
use super::crc::{crc, one_byte};
use super::entry::Entry;
use super::format::{HEAD, Header, Kind, MAGIC, OLDEST, PAYLOAD, VERSION};
use super::value::take_number;
use crate::time::Time;
use thiserror::Error;

/// A recording, to look at. Allocates nothing.
///
/// ```no_run
/// # fn show(file: &[u8]) -> Result<(), drywire_core::record::ReadError> {
/// use drywire_core::record::Reader;
///
/// for entry in Reader::new(file)?.entries() {
///     let located = entry?;
///     let (time, entry) = (located.time, located.entry);
///     // …
/// #   let _ = (time, entry);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    file: &'a [u8],
    header: Header<'a>,
    /// Where the first block of entries is.
    entries: usize,
}

/// An entry and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// Its number, from 0 at the beginning of the connection.
    pub number: u64,
    /// Where it is in the file, in bytes.
    pub offset: usize,
    /// The time of its turn.
    pub time: Time,
    /// What happened.
    pub entry: Entry<'a>,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It does not begin like one.
    #[error("not a recording")]
    NotARecording,
    /// It was made by another version of this library.
    #[error("a recording of version {0}, but only versions {OLDEST} to {VERSION} can be read")]
    Version(u8),
    /// One byte was changed.
    #[error("the byte at offset {at} was changed: it is 0x{is:02x} and was 0x{was:02x}")]
    Damaged {
        /// Where, in bytes from the beginning of the file.
        at: usize,
        /// What it is.
        is: u8,
        /// What it was.
        was: u8,
    },
    /// More than one byte was changed, lost or put in.
    #[error("damaged between offset {from} and {to}")]
    DamagedBlock {
        /// Where the damage begins at the earliest.
        from: usize,
        /// Where it ends at the latest.
        to: usize,
    },
    /// It ends in the middle. What came before is whole.
    #[error("truncated at offset {at}")]
    Truncated {
        /// Its length.
        at: usize,
    },
    /// The checksums are right, but the contents make no sense: not made by a tape.
    #[error("what stands at offset {at} is no entry, though its checksum is right")]
    Malformed {
        /// Where.
        at: usize,
    },
}

impl<'a> Reader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ReadError`], when the header cannot be read.
    pub fn new(file: &'a [u8]) -> Result<Reader<'a>, ReadError> {
        check_magic(file)?;
        let (block, entries) = Block::at(file, MAGIC.len())?;
        let malformed = ReadError::Malformed { at: MAGIC.len() };
        let (Kind::Header, Some((version, mut payload))) = (block.kind, block.payload.split_first()) else {
            return Err(malformed);
        };
        if !(OLDEST..=VERSION).contains(version) {
            return Err(ReadError::Version(*version));
        }
        let header = Header::take(*version, &mut payload).ok_or(malformed)?;
        Ok(Reader { file, header, entries })
    }

    /// What the recording says about itself.
    #[must_use]
    pub fn header(&self) -> Header<'a> {
        self.header
    }

    /// Its entries. Behind an error it goes on with the next block that is whole,
    /// where there is one.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries {
            file: self.file,
            next: Next::Block(self.entries),
            rest: &[],
            kind: Kind::Header,
            number: self.header.first,
            time: Time::ZERO,
            skipping: self.header.first > 0,
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// The first there is.
    pub fn check(&self) -> Result<(), ReadError> {
        self.entries().try_for_each(|entry| entry.map(drop))
    }
}

/// The entries of a recording: see [`Reader::entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    file: &'a [u8],
    next: Next,
    /// What is left of the block that is being read; it reaches up to `next`.
    rest: &'a [u8],
    kind: Kind,
    number: u64,
    time: Time,
    /// The front was lost: pieces of an entry that is not there are passed over.
    skipping: bool,
}

/// Where the next block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Block(usize),
    /// There should be nothing, but there is.
    Behind(usize),
    End,
}

impl Next {
    fn offset(self, file: &[u8]) -> usize {
        match self {
            Next::Block(at) | Next::Behind(at) => at,
            Next::End => file.len(),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Located<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.rest.is_empty() {
                let entered = match self.next {
                    Next::Block(at) => self.enter(at),
                    Next::Behind(from) => {
                        self.next = Next::End;
                        Err(ReadError::DamagedBlock { from, to: self.file.len() })
                    }
                    Next::End => return None,
                };
                if let Err(error) = entered {
                    return Some(Err(error));
                }
            }
            let offset = self.offset();
            let Some(entry) = codec::take(&mut self.rest, self.time) else {
                self.rest = &[];
                return Some(Err(ReadError::Malformed { at: offset }));
            };
            let ends_here = self.kind == Kind::Last && self.rest.is_empty();
            if matches!(entry, Entry::End(_)) != ends_here {
                (self.rest, self.next) = (&[], Next::End);
                return Some(Err(ReadError::Malformed { at: offset }));
            }
            if let Entry::Lend { now, .. } = entry {
                self.time = now;
            }
            let number = self.number;
            self.number = self.number.wrapping_add(1);
            if self.skipping && matches!(entry, Entry::Bytes(_)) {
                continue;
            }
            self.skipping = false;
            return Some(Ok(Located { number, offset, time: self.time, entry }));
        }
    }
}

impl<'a> Entries<'a> {
    /// Where the next entry is.
    fn offset(&self) -> usize {
        self.next.offset(self.file) - self.rest.len()
    }

    /// Begins with the block at `at`.
    fn enter(&mut self, at: usize) -> Result<(), ReadError> {
        match Block::at(self.file, at) {
            Ok((block, next)) => {
                self.next = Next::Block(next);
                self.begin(block).ok_or(ReadError::Malformed { at })?;
                if block.kind == Kind::Last {
                    self.next = if next < self.file.len() { Next::Behind(next) } else { Next::End };
                }
                Ok(())
            }
            Err(error) => {
                self.next = match error {
                    // The block itself is lost, but not where it ends.
                    ReadError::Damaged { .. } | ReadError::DamagedBlock { .. } => behind(self.file, at),
                    ReadError::NotARecording
                    | ReadError::Version(_)
                    | ReadError::Truncated { .. }
                    | ReadError::Malformed { .. } => Next::End,
                };
                // Whatever follows: the number before it is not known any more.
                self.skipping = true;
                self.kind = Kind::Header;
                Err(error)
            }
        }
    }

    fn begin(&mut self, block: Block<'a>) -> Option<()> {
        let mut payload = block.payload;
        let (number, time) = (take_number(&mut payload)?, take_number(&mut payload)?);
        let follows = self.skipping || number == self.number;
        if !follows || block.kind == Kind::Header || payload.is_empty() {
            return None;
        }
        (self.number, self.time) = (number, Time::from_nanos(time));
        (self.rest, self.kind) = (payload, block.kind);
        Some(())
    }
}

/// The next whole block behind the damaged one at `at`.
fn behind(file: &[u8], at: usize) -> Next {
    match (at + 1..file.len()).find(|at| Block::whole(file, *at).is_some()) {
        Some(next) => Next::Block(next),
        None => Next::End,
    }
}

#[derive(Clone, Copy)]
struct Block<'a> {
    kind: Kind,
    payload: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block at `at`, and where the next one is.
    fn at(file: &'a [u8], at: usize) -> Result<(Block<'a>, usize), ReadError> {
        Block::whole(file, at).ok_or_else(|| explain(file, at))
    }

    /// The same, when nothing is wrong with it.
    fn whole(file: &'a [u8], at: usize) -> Option<(Block<'a>, usize)> {
        let head = Head::at(file, at)?;
        let kind = Kind::from_byte(head.0[0]).filter(|_| head.syndrome() == 0 && head.0[1] == 0)?;
        let payload = file[at + HEAD..].get(..head.len()).filter(|payload| payload.len() <= PAYLOAD)?;
        (crc(payload) == head.payload_crc()).then_some((Block { kind, payload }, at + HEAD + payload.len()))
    }
}

#[derive(Clone, Copy)]
struct Head<'a>(&'a [u8; HEAD]);

impl<'a> Head<'a> {
    fn at(file: &'a [u8], at: usize) -> Option<Head<'a>> {
        file[at..].first_chunk().map(Head)
    }

    fn number(self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// 0 when the head is whole.
    fn syndrome(self) -> u32 {
        crc(&self.0[..8]) ^ self.number(8)
    }

    fn len(self) -> usize {
        usize::from(u16::from_le_bytes([self.0[2], self.0[3]]))
    }

    fn payload_crc(self) -> u32 {
        self.number(4)
    }
}

/// What is wrong with the block at `at`.
fn explain(file: &[u8], at: usize) -> ReadError {
    let truncated = ReadError::Truncated { at: file.len() };
    let Some(head) = Head::at(file, at) else { return truncated };
    if head.syndrome() != 0 {
        return match explain_head(head.syndrome()) {
            Some((index, bits)) => ReadError::Damaged { at: at + index, is: head.0[index], was: head.0[index] ^ bits },
            None => ReadError::DamagedBlock { from: at, to: behind(file, at).offset(file) },
        };
    }
    if head.len() > PAYLOAD {
        return ReadError::Malformed { at };
    }
    let Some(payload) = file[at + HEAD..].get(..head.len()) else { return truncated };
    let syndrome = crc(payload) ^ head.payload_crc();
    match one_byte(syndrome, payload.len()) {
        _ if syndrome == 0 => ReadError::Malformed { at },
        Some(one) => {
            let is = payload[one.at];
            ReadError::Damaged { at: at + HEAD + one.at, is, was: is ^ one.bits }
        }
        None => ReadError::DamagedBlock { from: at + HEAD, to: at + HEAD + payload.len() },
    }
}

/// Which byte of a head would explain a wrong check: one of the eight that are
/// checked, or one of the check's own four.
fn explain_head(syndrome: u32) -> Option<(usize, u8)> {
    let bytes = syndrome.to_le_bytes();
    let mut changed = bytes.iter().enumerate().filter(|(_, bits)| **bits != 0);
    if let (Some((index, bits)), None) = (changed.next(), changed.next()) {
        return Some((8 + index, *bits));
    }
    one_byte(syndrome, 8).map(|one| (one.at, one.bits))
}

fn check_magic(file: &[u8]) -> Result<(), ReadError> {
    if file.len() < MAGIC.len() {
        let begins_like_one = MAGIC.starts_with(file);
        return Err(if begins_like_one { ReadError::Truncated { at: file.len() } } else { ReadError::NotARecording });
    }
    let mut wrong = MAGIC.iter().zip(file).enumerate().filter(|(_, (was, is))| was != is);
    match (wrong.next(), wrong.next()) {
        (None, _) => Ok(()),
        (Some((at, (was, is))), None) => Err(ReadError::Damaged { at, is: *is, was: *was }),
        (Some(_), Some(_)) => Err(ReadError::NotARecording),
    }
}
