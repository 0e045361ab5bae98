//! What kit and mock both keep of a simulated transport: files that are open or asked
//! for, our end, and the first rule that the connection broke.

use drywire_core::{FileError, FileId, OpenFile, Opening};
use std::collections::{BTreeMap, VecDeque};

/// Files and the end of one connection. `C`: the contents of a file.
#[derive(Debug)]
pub(crate) struct Ledger<C> {
    pub(crate) opens_later: bool,
    /// Asked for, not answered.
    pub(crate) asked: VecDeque<(FileId, Vec<u8>)>,
    pub(crate) open: BTreeMap<FileId, C>,
    pub(crate) half_closed: bool,
    /// What should not have been done, in words.
    pub(crate) broken: Option<String>,
}

impl<C: AsRef<[u8]>> Ledger<C> {
    pub(crate) fn new(opens_later: bool) -> Ledger<C> {
        Ledger { opens_later, asked: VecDeque::new(), open: BTreeMap::new(), half_closed: false, broken: None }
    }

    pub(crate) fn break_rule(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A file is asked for; `look` knows what the disk says about a name.
    pub(crate) fn ask(&mut self, request: &OpenFile<'_>, look: impl FnOnce(&[u8]) -> Result<C, FileError>) -> Opening {
        if self.opens_later {
            self.asked.push_back((request.id(), request.name().to_vec()));
            return Opening::Later;
        }
        Opening::Done(self.answer(request.id(), look(request.name())))
    }

    /// The answer to an open, and the file with it.
    pub(crate) fn answer(&mut self, id: FileId, contents: Result<C, FileError>) -> Result<u64, FileError> {
        let contents = contents?;
        let len = contents.as_ref().len() as u64;
        if self.open.insert(id, contents).is_some() {
            self.break_rule(format!("{id:?} was opened twice"));
        }
        Ok(len)
    }

    pub(crate) fn close_file(&mut self, id: FileId) {
        if self.open.remove(&id).is_none() {
            self.break_rule(format!("{id:?} was closed twice, or never open"));
        }
    }

    pub(crate) fn half_close(&mut self) {
        if self.half_closed {
            self.break_rule("two half-closes".to_owned());
        }
        self.half_closed = true;
    }

    /// Something is written.
    pub(crate) fn on_write(&mut self) {
        if self.half_closed {
            self.break_rule("a write after the half-close".to_owned());
        }
    }
}

/// The part of `contents` that there is.
pub(crate) fn part(contents: &[u8], offset: u64, len: u64) -> &[u8] {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(contents.len());
    &contents[at(offset)..at(offset.saturating_add(len))]
}
