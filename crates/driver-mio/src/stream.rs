//! The transports: TCP, Unix sockets, pairs of descriptors. All of them
//! non-blocking to us, whatever they are to others.

use drywire_core::TransportError;
use drywire_server::{Address, Connecting};
use drywire_unix::socket::{self, Mode as Call, receive, send_slices, with_io_slices};
use mio::net::{TcpStream, UnixStream};
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{Errno, read, retry_on_intr, write, writev};
use rustix::net::{Shutdown, shutdown};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// mio was built to use poll(2): no edges from the kernel, so reads go on until
/// they would block, which is also what arms the descriptor again.
pub(crate) const POLL2: bool = cfg!(mio_unsupported_force_poll_poll);

/// Both directions of a socket, and word of urgent data where an edge brings it (`EPOLLPRI`):
/// a read stops in front of it, and with no such word a short read proves nothing.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(mio_unsupported_force_poll_poll)))]
const SOCKET: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(mio_unsupported_force_poll_poll))))]
const SOCKET: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A pipe that says "writable" takes this much without blocking (POSIX `PIPE_BUF`).
const PIPE_BUF: usize = 4096;

/// A byte stream that a driver can serve.
pub struct Stream {
    kind: Kind,
    /// Our direction is to end as soon as the stream is connected.
    ends_later: bool,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
    Pair(Box<Pair>),
}

/// Input and output as two descriptors. An absent input has ended; bytes for an
/// absent output are a broken pipe.
#[derive(Debug)]
struct Pair {
    input: Option<Side>,
    output: Option<Side>,
}

#[derive(Debug)]
struct Side {
    // mio's pipes are plain descriptors to it; the receiver serves both directions.
    pipe: Receiver,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    NonBlocking,
    /// A socket that others use too: each call says that it must not wait.
    SharedSocket,
    /// A pipe or terminal that others use too: asked before each call.
    SharedPipe,
    /// What no poller takes, such as a regular file: always ready.
    AlwaysReady,
}

/// One end of a pair.
///
/// An *owned* descriptor is made non-blocking. A *shared* one, such as an
/// inherited standard input, is not touched: that flag belongs to the open file,
/// and whoever else has it open (the shell) would stumble over it.
#[derive(Debug)]
pub struct Descriptor {
    fd: OwnedFd,
    shared: bool,
}

impl Descriptor {
    /// A descriptor that nobody else uses.
    #[must_use]
    pub fn owned(fd: OwnedFd) -> Descriptor {
        Descriptor { fd, shared: false }
    }

    /// A descriptor that others use too; it is duplicated and never made non-blocking.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn shared(fd: impl AsFd) -> io::Result<Descriptor> {
        Ok(Descriptor { fd: fd.as_fd().try_clone_to_owned()?, shared: true })
    }

    fn into_side(self) -> io::Result<Side> {
        let kind = FileType::from_raw_mode(fstat(&self.fd)?.st_mode);
        let mode = match kind {
            FileType::RegularFile | FileType::Directory => Mode::AlwaysReady,
            FileType::Socket if self.shared => Mode::SharedSocket,
            FileType::Socket
            | FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Symlink
            | FileType::Unknown => {
                if self.shared {
                    Mode::SharedPipe
                } else {
                    fcntl_setfl(&self.fd, fcntl_getfl(&self.fd)? | OFlags::NONBLOCK)?;
                    Mode::NonBlocking
                }
            }
        };
        Ok(Side { pipe: Receiver::from(self.fd), mode })
    }
}

impl Stream {
    fn new(kind: Kind) -> Stream {
        Stream { kind, ends_later: false }
    }

    /// A non-blocking socket with this address at its other end.
    pub(crate) fn from_socket(fd: OwnedFd, peer: &Address) -> Stream {
        Stream::new(match peer {
            Address::Tcp(_) => Kind::Tcp(TcpStream::from_std(fd.into())),
            Address::Unix(_) | Address::Pair => Kind::Unix(UnixStream::from_std(fd.into())),
        })
    }

    /// Two descriptors as one stream (rows H2, E9). Either may be absent, and
    /// both may be duplicates of one.
    ///
    /// # Errors
    /// What `fstat` or `fcntl` say about a descriptor.
    pub fn pair(input: Option<Descriptor>, output: Option<Descriptor>) -> io::Result<Stream> {
        let input = input.map(Descriptor::into_side).transpose()?;
        let output = output.map(Descriptor::into_side).transpose()?;
        Ok(Stream::new(Kind::Pair(Box::new(Pair { input, output }))))
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(stream) => registry.register(stream, token, SOCKET),
            Kind::Unix(stream) => registry.register(stream, token, SOCKET),
            Kind::Pair(pair) => {
                if let Some(side) = &mut pair.input {
                    side.register(registry, token, Interest::READABLE)?;
                }
                if let Some(side) = &mut pair.output {
                    side.register(registry, token, Interest::WRITABLE)?;
                }
                Ok(())
            }
        }
    }

    /// Forgets the stream in the poller. What fails here failed because it was
    /// forgotten already, by a hang-up under poll(2).
    pub(crate) fn deregister(&mut self, registry: &Registry) {
        let _ = match &mut self.kind {
            Kind::Tcp(stream) => registry.deregister(stream),
            Kind::Unix(stream) => registry.deregister(stream),
            Kind::Pair(pair) => {
                for side in [&mut pair.input, &mut pair.output].into_iter().flatten() {
                    if side.mode != Mode::AlwaysReady {
                        let _ = registry.deregister(&mut side.pipe);
                    }
                }
                Ok(())
            }
        };
    }

    /// Who is at the other end, while that is known.
    pub(crate) fn peer_address(&self) -> Option<Address> {
        match &self.kind {
            Kind::Tcp(stream) => socket::peer_address(stream.as_fd()),
            Kind::Unix(stream) => socket::peer_address(stream.as_fd()),
            Kind::Pair(_) => Some(Address::Pair),
        }
    }

    pub(crate) fn connecting(&self) -> Connecting {
        match &self.kind {
            Kind::Tcp(stream) => socket::connecting(stream.as_fd()),
            Kind::Unix(stream) => socket::connecting(stream.as_fd()),
            Kind::Pair(_) => Connecting::Stands,
        }
    }

    /// Why it failed to connect.
    pub(crate) fn take_error(&self) -> TransportError {
        match &self.kind {
            Kind::Tcp(stream) => socket::take_error(stream.as_fd()),
            Kind::Unix(stream) => socket::take_error(stream.as_fd()),
            Kind::Pair(_) => unreachable!("pairs are not connected"),
        }
    }

    /// See [`drywire_core::Transport::short_read_exhausts`].
    pub(crate) fn short_read_exhausts(&self) -> bool {
        match self.kind {
            Kind::Tcp(_) | Kind::Unix(_) => SOCKET.is_priority(),
            Kind::Pair(_) => false,
        }
    }

    pub(crate) fn read(&self, slot: &mut [u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Tcp(stream) => stream.try_io(|| receive(stream.as_fd(), slot, Call::NonBlocking)),
            Kind::Unix(stream) => stream.try_io(|| receive(stream.as_fd(), slot, Call::NonBlocking)),
            Kind::Pair(pair) => match &pair.input {
                Some(side) => side.pipe.try_io(|| side.read(slot)),
                None => Ok(0),
            },
        }
    }

    pub(crate) fn write(&self, slices: &[&[u8]], more: bool) -> io::Result<usize> {
        match &self.kind {
            Kind::Tcp(stream) => stream.try_io(|| send_slices(stream.as_fd(), slices, more, Call::NonBlocking)),
            Kind::Unix(stream) => stream.try_io(|| send_slices(stream.as_fd(), slices, more, Call::NonBlocking)),
            Kind::Pair(pair) => match &pair.output {
                Some(side) => side.pipe.try_io(|| side.write(slices)),
                None => Err(Errno::PIPE.into()),
            },
        }
    }

    /// Lets `send` write to the descriptor, in whatever way it can, and tells it how
    /// many bytes it may write at most.
    pub(crate) fn write_with<T>(&self, send: impl FnOnce(BorrowedFd<'_>, u64) -> io::Result<T>) -> io::Result<T> {
        match &self.kind {
            Kind::Tcp(stream) => stream.try_io(|| send(stream.as_fd(), u64::MAX)),
            Kind::Unix(stream) => stream.try_io(|| send(stream.as_fd(), u64::MAX)),
            Kind::Pair(pair) => match &pair.output {
                Some(side) => side.pipe.try_io(|| match side.mode {
                    Mode::NonBlocking | Mode::AlwaysReady => send(side.pipe.as_fd(), u64::MAX),
                    // sendfile cannot be told not to wait.
                    Mode::SharedSocket | Mode::SharedPipe if !side.is_ready(PollFlags::OUT) => Err(Errno::AGAIN.into()),
                    Mode::SharedSocket | Mode::SharedPipe => send(side.pipe.as_fd(), PIPE_BUF as u64),
                }),
                None => Err(Errno::PIPE.into()),
            },
        }
    }

    /// Ends our direction, now or when it is connected.
    pub(crate) fn half_close(&mut self, registry: &Registry) {
        self.ends_later = match &mut self.kind {
            Kind::Tcp(stream) => !socket::half_close(stream.as_fd()),
            Kind::Unix(stream) => !socket::half_close(stream.as_fd()),
            Kind::Pair(pair) => {
                pair.end_output(registry);
                false
            }
        };
    }

    /// It is writable, so it is connected.
    pub(crate) fn on_writable(&mut self, registry: &Registry) {
        if self.ends_later {
            self.half_close(registry);
        }
    }

    /// Closes it, unserved and never registered, behind `words`.
    pub(crate) fn refuse(self, words: &[u8]) {
        match &self.kind {
            Kind::Tcp(stream) => socket::refuse(stream.as_fd(), words),
            Kind::Unix(stream) => socket::refuse(stream.as_fd(), words),
            Kind::Pair(_) => unreachable!("pairs are not accepted"),
        }
    }

    /// Makes the coming close a reset, so that half an answer is not taken for a
    /// whole one. Only TCP can say so.
    pub(crate) fn reset_on_close(&self) {
        if let Kind::Tcp(stream) = &self.kind {
            socket::reset_on_close(stream.as_fd());
        }
    }
}

impl Pair {
    fn end_output(&mut self, registry: &Registry) {
        let Some(mut side) = self.output.take() else { return };
        let _ = registry.deregister(&mut side.pipe);
        // A pipe ends when its last writer closes it. A socket does too, but
        // the input may be a duplicate of it.
        match side.mode {
            Mode::NonBlocking => {
                let _ = shutdown(&side.pipe, Shutdown::Write);
            }
            Mode::SharedSocket | Mode::SharedPipe | Mode::AlwaysReady => {}
        }
    }
}

impl Side {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        if self.mode == Mode::AlwaysReady {
            return Ok(());
        }
        match registry.register(&mut self.pipe, token, interest) {
            // epoll's word for "this never blocks" (a regular file, /dev/null).
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                self.mode = Mode::AlwaysReady;
                Ok(())
            }
            result => result,
        }
    }

    fn read(&self, slot: &mut [u8]) -> io::Result<usize> {
        match self.mode {
            Mode::SharedSocket => receive(self.pipe.as_fd(), slot, Call::DontWait),
            Mode::SharedPipe if !self.is_ready(PollFlags::IN) => Err(Errno::AGAIN.into()),
            Mode::NonBlocking | Mode::SharedPipe | Mode::AlwaysReady => {
                Ok(retry_on_intr(|| read(&self.pipe, &mut *slot))?)
            }
        }
    }

    fn write(&self, slices: &[&[u8]]) -> io::Result<usize> {
        match self.mode {
            Mode::SharedSocket => send_slices(self.pipe.as_fd(), slices, false, Call::DontWait),
            Mode::SharedPipe if !self.is_ready(PollFlags::OUT) => Err(Errno::AGAIN.into()),
            Mode::SharedPipe => {
                let first = &slices[0][..slices[0].len().min(PIPE_BUF)];
                Ok(retry_on_intr(|| write(&self.pipe, first))?)
            }
            Mode::NonBlocking | Mode::AlwaysReady => {
                with_io_slices(slices, |iov| Ok(retry_on_intr(|| writev(&self.pipe, iov))?))
            }
        }
    }

    fn is_ready(&self, flags: PollFlags) -> bool {
        !socket::look(self.pipe.as_fd(), flags).is_empty()
    }
}

/// The stream is made non-blocking.
impl From<std::net::TcpStream> for Stream {
    fn from(stream: std::net::TcpStream) -> Stream {
        // A descriptor that cannot be made non-blocking is no open socket; its
        // first use says so.
        let _ = stream.set_nonblocking(true);
        Stream::new(Kind::Tcp(TcpStream::from_std(stream)))
    }
}

/// The stream is made non-blocking.
impl From<std::os::unix::net::UnixStream> for Stream {
    fn from(stream: std::os::unix::net::UnixStream) -> Stream {
        let _ = stream.set_nonblocking(true);
        Stream::new(Kind::Unix(UnixStream::from_std(stream)))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp(stream) => stream.fmt(f),
            Kind::Unix(stream) => stream.fmt(f),
            Kind::Pair(pair) => pair.fmt(f),
        }
    }
}
