//! The files of a world: what is in them, and what becomes of them while they are sent.

use drywire_core::{FileError, FileId};

/// A file that is open, or being opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    pub(crate) line: usize,
    pub(crate) id: FileId,
    /// Which of the files there are.
    pub(crate) contents: usize,
    /// What was said about it; `None` until it is.
    pub(crate) answer: Option<Result<u64, FileError>>,
    /// What will be said.
    pub(crate) result: Result<u64, FileError>,
    /// It ends here after all.
    pub(crate) cut: Option<u64>,
    /// It fails from here on.
    pub(crate) broken: Option<u64>,
}

/// Every file that is open, in all connections.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) contents: Vec<Vec<u8>>,
    pub(crate) open: Vec<OpenFile>,
}

impl Disk {
    /// The place of a name: `f0`, `f1`, …
    pub(crate) fn find(&self, name: &[u8]) -> Result<usize, FileError> {
        match name {
            [b'f', digit @ b'0'..=b'9'] if usize::from(digit - b'0') < self.contents.len() => {
                Ok(usize::from(digit - b'0'))
            }
            _ => Err(FileError::NotFound),
        }
    }

    pub(crate) fn position(&self, line: usize, id: FileId) -> Option<usize> {
        self.open.iter().position(|file| file.line == line && file.id == id)
    }

    /// Files of one connection that are open, and those still being opened.
    pub(crate) fn count(&self, line: usize) -> (usize, usize) {
        let mut counts = (0, 0);
        for file in self.open.iter().filter(|file| file.line == line) {
            match file.answer {
                Some(_) => counts.0 += 1,
                None => counts.1 += 1,
            }
        }
        counts
    }
}
