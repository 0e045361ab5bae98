//! The files that are open, of all connections of a worker.

use super::{Root, SendFailure, read_file, send_file};
use drywire_core::{FileError, FileId, SendFileError};
use drywire_server::io_error::blocked;
use drywire_server::{Config, Id, SystemCalls};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Open files by connection and number. An idle connection costs nothing here.
#[derive(Debug)]
pub struct Files {
    root: Option<Arc<Root>>,
    calls: SystemCalls,
    open: HashMap<(Id, FileId), OwnedFd>,
    scratch: Vec<u8>,
}

impl Files {
    /// No files yet, beneath the root of `config`, and none of its secrets ever.
    ///
    /// # Errors
    /// The system's, among them `ENOTDIR` for anything but a directory.
    pub fn new(config: &Config) -> io::Result<Files> {
        let calls = config.system_calls;
        let root = match &config.root {
            Some(path) => {
                let mut secrets = config.secrets.clone();
                config.tls.key.iter().for_each(|key| secrets.add(key));
                Some(Arc::new(Root::open(path)?.with_system_calls(calls).with_secrets(secrets)))
            }
            None => None,
        };
        Ok(Files { root, calls, open: HashMap::new(), scratch: Vec::new() })
    }

    /// Where files are opened, to do so on another thread.
    ///
    /// # Errors
    /// [`FileError::Forbidden`]: there is no root, so nothing may be opened.
    pub fn root(&self) -> Result<&Arc<Root>, FileError> {
        self.root.as_ref().ok_or(FileError::Forbidden)
    }

    /// Keeps an open file until [`Files::close`].
    pub fn insert(&mut self, of: Id, id: FileId, descriptor: OwnedFd) {
        self.open.insert((of, id), descriptor);
    }

    /// Forgets a file.
    pub fn close(&mut self, of: Id, id: FileId) {
        self.open.remove(&(of, id));
    }

    /// Descriptors that files take up now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// No file is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Sends from an open file to `out`; 0 means it ended early. Would-block is an
    /// error of the outer kind, so that a poller's bookkeeping sees it; everything
    /// else about the file passes through that untouched.
    ///
    /// # Errors
    /// The output's.
    ///
    /// # Panics
    /// When the file is not open: a driver inserts it before it answers.
    pub fn send(
        &mut self,
        of: Id,
        id: FileId,
        out: BorrowedFd<'_>,
        offset: u64,
        len: u64,
    ) -> io::Result<Result<u64, FileError>> {
        let file = self.open[&(of, id)].as_fd();
        match send_file(out, file, offset, len, &mut self.scratch, self.calls.sendfile) {
            Ok(n) => Ok(Ok(n as u64)),
            Err(SendFailure::Output(error)) => Err(error),
            Err(SendFailure::File(error)) => Ok(Err(error)),
        }
    }

    /// Reads from an open file, for a layer. 0 means it ended early.
    ///
    /// # Errors
    /// The file's.
    ///
    /// # Panics
    /// As [`Files::send`].
    pub fn read(&self, of: Id, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        read_file(self.open[&(of, id)].as_fd(), offset, slot)
    }
}

/// What [`Files::send`] said, in the words of a transport.
///
/// # Errors
/// [`SendFileError`], which says whether the transport or the file is at fault.
pub fn sent(result: io::Result<Result<u64, FileError>>) -> Result<u64, SendFileError> {
    match result {
        Ok(result) => result.map_err(SendFileError::File),
        Err(error) => Err(SendFileError::Output(blocked(&error))),
    }
}
