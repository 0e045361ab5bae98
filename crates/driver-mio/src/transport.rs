//! A stream and its files as the core's [`Transport`].

use crate::files::{Root, SendFailure, SystemCalls, read_file, send_file};
use crate::io_error::blocked;
use crate::stream::Stream;
use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport};
use drywire_server::Id;
use mio::Registry;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The files of all connections of a driver. An idle connection costs nothing here.
#[derive(Debug)]
pub(crate) struct Files {
    root: Option<Root>,
    calls: SystemCalls,
    open: HashMap<(Id, FileId), OwnedFd>,
    scratch: Vec<u8>,
}

impl Files {
    pub(crate) fn new(root: Option<Root>, calls: SystemCalls) -> Files {
        Files { root, calls, open: HashMap::new(), scratch: Vec::new() }
    }

    /// Descriptors that files take up now.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

/// What one connection's turn works on.
pub(crate) struct Wire<'a> {
    pub(crate) id: Id,
    pub(crate) stream: &'a mut Stream,
    pub(crate) files: &'a mut Files,
    pub(crate) registry: &'a Registry,
    pub(crate) ends_later: &'a mut bool,
}

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        self.stream.short_read_exhausts()
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        self.stream.read(slot).map_err(|error| blocked(&error))
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], more: bool) -> Result<usize, Blocked> {
        self.stream.write(slices, more).map_err(|error| blocked(&error))
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let Files { open, scratch, calls, .. } = &mut *self.files;
        let file = &open[&(self.id, id)];
        // The file's own failure passes through the stream's readiness bookkeeping
        // untouched: only would-block means something there.
        let sent = self.stream.write_with(|out, cap| {
            match send_file(out, file.as_fd(), offset, len.min(cap), scratch, calls.sendfile) {
                Ok(n) => Ok(Ok(n as u64)),
                Err(SendFailure::Output(error)) => Err(error),
                Err(SendFailure::File(error)) => Ok(Err(error)),
            }
        });
        match sent {
            Ok(Ok(n)) => Ok(n),
            Ok(Err(error)) => Err(SendFileError::File(error)),
            Err(error) => Err(SendFileError::Output(blocked(&error))),
        }
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        read_file(self.files.open[&(self.id, id)].as_fd(), offset, slot)
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        let Some(root) = &self.files.root else {
            return Opening::Done(Err(FileError::Forbidden));
        };
        Opening::Done(root.open_beneath(request.name()).map(|file| {
            self.files.open.insert((self.id, request.id()), file.descriptor);
            file.len_bytes
        }))
    }

    fn close_file(&mut self, id: FileId) {
        self.files.open.remove(&(self.id, id));
    }

    fn half_close(&mut self) {
        *self.ends_later = !self.stream.half_close(self.registry);
    }
}

/// Opens the root a server's files lie beneath.
///
/// # Errors
/// The system's, among them `ENOTDIR` for anything but a directory.
pub(crate) fn open_root(path: &std::path::Path, calls: SystemCalls) -> io::Result<Root> {
    Ok(Root::open(path)?.with_system_calls(calls))
}
