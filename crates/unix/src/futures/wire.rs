//! A socket and its files, as the core's [`Transport`].

use super::bell::Opened;
use super::reactor::{Direction, Reactor};
use super::sockets::{Socket, Sockets};
use crate::files::sent;
use crate::socket::{self, Mode, receive, send_slices};
use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Transport};
use drywire_server::Id;
use drywire_server::io_error::blocked;
use rustix::io::Errno;
use std::os::fd::AsFd;

/// What one connection's turn works on.
pub(super) struct Wire<'a, R: Reactor> {
    pub(super) id: Id,
    pub(super) stream: &'a mut Socket<R::Io>,
    pub(super) net: &'a mut Sockets<R>,
}

impl<R: Reactor> Transport for Wire<'_, R> {
    /// Before the next wait the reactor is asked again, and a hang-up is news then.
    fn short_read_exhausts(&self) -> bool {
        true
    }

    /// A read that does not fill its slot is told to the reactor as a would-block:
    /// it has emptied the socket just the same.
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let mut last = None;
        let result = self.net.reactor.attempt(&self.stream.io, Direction::Read, |fd| {
            let n = receive(fd, slot, Mode::NonBlocking)?;
            if 0 < n && n < slot.len() {
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
        self.net.reactor.attempt(&self.stream.io, Direction::Write, write).map_err(|error| blocked(&error))
    }

    fn try_send_file(&mut self, file: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let Sockets { reactor, files, .. } = &mut *self.net;
        let id = self.id;
        sent(reactor.attempt(&self.stream.io, Direction::Write, |out| files.send(id, file, out, offset, len)))
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
        let (of, id, name, bell) = (self.id, request.id(), request.name().to_vec(), self.net.bell.clone());
        self.net.reactor.block(move || bell.on_opened(Opened { of, id, result: root.open_beneath(&name) }));
        Opening::Later
    }

    fn close_file(&mut self, file: FileId) {
        self.net.files.close(self.id, file);
    }

    fn half_close(&mut self) {
        self.stream.ends_later = !socket::half_close(self.stream.io.as_fd());
    }
}
