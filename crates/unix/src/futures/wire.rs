//! A socket and its files, as the core's [`Transport`].

use super::bell::{Bell, Opened};
use super::reactor::{Direction, Reactor};
use super::sockets::{Socket, Sockets};
use crate::files::{RegularFile, sent};
use crate::socket::{self, Mode, receive, send_slices};
use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport};
use drywire_server::Id;
use drywire_server::io_error::blocked;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What one connection's turn works on.
pub(super) struct Wire<'a, R: Reactor> {
    pub(super) id: Id,
    pub(super) stream: &'a mut Socket<R::Io>,
    pub(super) net: &'a mut Sockets<R>,
}

impl<R: Reactor> Transport for Wire<'_, R> {
    /// Before the next wait the reactor is asked again, and a hang-up is news then.
    fn short_read_exhausts(&self) -> bool {
        !self.net.reactor.may_stop_short(&self.stream.io)
    }

    /// A read that does not fill its slot is told to the reactor as a would-block:
    /// it has emptied the socket just the same, unless it stopped short.
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let mut last = None;
        let result = self.stream.attempt(&self.net.reactor, Direction::Read, |fd| {
            let n = receive(fd, slot, Mode::NonBlocking)?;
            if 0 < n && n < slot.len() && !self.net.reactor.may_stop_short(&self.stream.io) {
                last = Some(n);
                return Err(Errno::AGAIN.into());
            }
            Ok(n)
        });
        match last {
            Some(n) => Ok(n),
            None => result.map_err(|error| blocked(&error)),
        }
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], more: bool) -> Result<usize, Blocked> {
        let write = |fd: std::os::fd::BorrowedFd<'_>| send_slices(fd, slices, more, Mode::NonBlocking);
        self.stream.attempt(&self.net.reactor, Direction::Write, write).map_err(|error| blocked(&error))
    }

    fn try_send_file(&mut self, file: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let Sockets { reactor, files, .. } = &mut *self.net;
        let id = self.id;
        sent(self.stream.attempt(reactor, Direction::Write, |out| files.send(id, file, out, offset, len)))
    }

    fn read_file(&mut self, file: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        self.net.files.read(self.id, file, offset, slot)
    }

    /// Opening may wait for a disk or a network, so it is not done here.
    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        let root = match self.net.files.root() {
            Ok(root) => root.clone(),
            Err(error) => return Opening::Done(Err(error)),
        };
        let name = request.name().to_vec();
        let answer = Answer { bell: self.net.bell.clone(), of: self.id, id: request.id(), result: None };
        self.net.reactor.block(move || answer.give(root.open_beneath(&name)));
        Opening::Later
    }

    fn close_file(&mut self, file: FileId) {
        self.net.files.close(self.id, file);
    }

    fn half_close(&mut self) {
        self.stream.ends_later = !socket::half_close(self.stream.io.as_fd());
    }
}

/// Sent when it is dropped, so that a connection does not wait for ever for work that
/// panicked or was never begun.
struct Answer {
    bell: Arc<Bell>,
    of: Id,
    id: FileId,
    result: Option<Result<RegularFile, FileError>>,
}

impl Answer {
    fn give(mut self, result: Result<RegularFile, FileError>) {
        self.result = Some(result);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let never_came = Err(FileError::Io(Errno::CANCELED.raw_os_error()));
        let result = self.result.take().unwrap_or(never_came);
        self.bell.on_opened(Opened { of: self.of, id: self.id, result });
    }
}
