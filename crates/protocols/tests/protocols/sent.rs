//! What a peer received, in a form in which 4 GiB of a file are one number.

use std::fmt;

/// The bytes of one direction. Equal when the bytes are: how they were cut into
/// writes does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    /// `name` from 0 up to `len`.
    File {
        name: Vec<u8>,
        len: u64,
    },
}

impl Sent {
    pub(crate) fn new() -> Sent {
        Sent::default()
    }

    /// All of it was bytes, and these.
    pub(crate) fn of(bytes: &[u8]) -> Sent {
        Sent::new().bytes(bytes)
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Sent {
        self.push_bytes(bytes);
        self
    }

    pub(crate) fn file(mut self, name: &[u8], len: u64) -> Sent {
        if len > 0 {
            self.push_file(name, 0, len);
        }
        self
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        match self.pieces.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Piece::Bytes(last)) => last.extend_from_slice(bytes),
            Some(Piece::File { .. }) | None => self.pieces.push(Piece::Bytes(bytes.to_vec())),
        }
    }

    /// Part of a file: its beginning, or what follows the part before.
    #[track_caller]
    pub(crate) fn push_file(&mut self, name: &[u8], offset: u64, len: u64) {
        if offset == 0 {
            self.pieces.push(Piece::File { name: name.to_vec(), len });
            return;
        }
        match self.pieces.last_mut() {
            Some(Piece::File { name: last, len: so_far }) if last == name && *so_far == offset => *so_far += len,
            _ => panic!("{} from {offset} does not follow {self:?}", name.escape_ascii()),
        }
    }

    /// In bytes, those of files included.
    pub(crate) fn len(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, piece| {
            sum + match piece {
                Piece::Bytes(bytes) => bytes.len() as u64,
                Piece::File { len, .. } => *len,
            }
        })
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) if bytes.len() > 400 => {
                    let (first, last) = (&bytes[..100], &bytes[bytes.len() - 100..]);
                    write!(f, "{}«{} bytes»{}", first.escape_ascii(), bytes.len() - 200, last.escape_ascii())?;
                }
                Piece::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii())?,
                Piece::File { name, len } => write!(f, "«{len} bytes of {}»", name.escape_ascii())?,
            }
        }
        f.write_str("\"")
    }
}
