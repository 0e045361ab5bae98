//! mio as a worker's net: one registration for both directions, edge-triggered.

use crate::names::Names;
use crate::stream::{POLL2, Stream};
use drywire_core::{
    Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Time, Transport, TransportError, planted,
};
use drywire_server::io_error::blocked;
use drywire_server::{Address, Clock, Config, Connecting, Id, Interest, Net, News, Queue, Release};
use drywire_unix::Listener;
use drywire_unix::files::{Files, sent};
use drywire_unix::listener::{Acceptor, SocketOptions};
use drywire_unix::socket::begin_to_connect;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::unix::pipe::Receiver;
use mio::{Poll, Registry, Token, Waker};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Sockets, descriptors and files on mio.
#[derive(Debug)]
pub struct Mio {
    pub(crate) poll: Poll,
    pub(crate) waker: Arc<Waker>,
    pub(crate) names: Names,
    files: Files,
    options: SocketOptions,
    epoch: Instant,
}

/// The poller's token for "another thread has something for us".
const WAKER: Token = Token(Id::RESERVED_TOKENS_START);

impl Mio {
    pub(crate) fn new(config: &Config) -> io::Result<Mio> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let names = Names::new(waker.clone());
        let files = Files::new(config)?;
        Ok(Mio { poll, waker, names, files, options: SocketOptions::of(config), epoch: Instant::now() })
    }
}

/// What mio said, in our words. A peer that only ended its direction says nothing
/// about ours: under poll(2) a write that would block arms everything again, and trying
/// one for each report of that end would go round for ever.
pub(crate) fn news(event: &Event) -> News {
    let failed = event.is_error() || event.is_write_closed();
    News {
        read: event.is_readable(),
        write: event.is_writable(),
        hang_up: event.is_read_closed() || failed,
        urgent: event.is_priority(),
        failed,
    }
}

impl Net for Mio {
    type Open = Stream;
    type Stream = Stream;
    type Bound = Listener;
    type Listener = Listening;
    type Source = Watched;

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn clock(&self) -> Option<Clock> {
        let epoch = self.epoch;
        Some(Arc::new(move || Time::ZERO + epoch.elapsed()))
    }

    fn connect(&mut self, id: Id, address: &Address) -> io::Result<Stream> {
        let stream = Stream::from_socket(begin_to_connect(address)?, address);
        self.register(id, stream)
    }

    fn resolve(&mut self, id: Id, host: &str, port: u16) {
        self.names.look_up(id, host, port);
    }

    fn refuse(&mut self, stream: Stream, words: &[u8]) {
        stream.refuse(words);
    }

    fn register(&mut self, id: Id, mut stream: Stream) -> io::Result<Stream> {
        match stream.register(self.poll.registry(), Token(id.to_token())) {
            Ok(()) => Ok(stream),
            Err(error) => {
                // Half of a pair may be registered.
                stream.deregister(self.poll.registry());
                Err(error)
            }
        }
    }

    fn wire<'a>(&'a mut self, id: Id, stream: &'a mut Stream) -> impl Transport + 'a {
        Wire { id, stream, files: &mut self.files, registry: self.poll.registry() }
    }

    fn on_writable(&mut self, stream: &mut Stream) {
        stream.on_writable(self.poll.registry());
    }

    fn connecting(&self, stream: &Stream) -> Connecting {
        stream.connecting()
    }

    fn take_error(&self, stream: &Stream) -> TransportError {
        stream.take_error()
    }

    fn peer_address(&self, stream: &Stream) -> Option<Address> {
        stream.peer_address()
    }

    fn release(&mut self, mut stream: Stream, how: Release) {
        stream.deregister(self.poll.registry());
        planted!(ResetForgotten: return);
        if how == Release::Reset {
            stream.reset_on_close();
        }
    }

    fn close_file(&mut self, id: Id, file: FileId) {
        self.files.close(id, file);
    }

    fn open_files(&self) -> usize {
        self.files.len()
    }

    fn listen(&mut self, id: Id, address: &Address) -> io::Result<Listening> {
        self.listen_on(id, Listener::bind(address, &self.options)?)
    }

    fn listen_on(&mut self, id: Id, socket: Listener) -> io::Result<Listening> {
        let Listener { fd, acceptor } = socket.with(&self.options);
        let mut socket = Receiver::from(fd);
        self.poll.registry().register(&mut socket, Token(id.to_token()), mio::Interest::READABLE)?;
        Ok(Listening { socket, acceptor })
    }

    fn accept(&mut self, listener: &mut Listening) -> io::Result<(Stream, Address)> {
        let Listening { socket, acceptor } = listener;
        let (fd, peer) = socket.try_io(|| acceptor.accept(socket.as_fd()))?;
        Ok((Stream::from_socket(fd, &peer), peer))
    }

    fn close_queue(&mut self, listener: &mut Listening) -> Queue {
        listener.acceptor.close_queue()
    }

    fn local_address(&self, listener: &Listening) -> Option<Address> {
        listener.acceptor.local_address(listener.socket.as_fd())
    }

    fn release_listener(&mut self, mut listener: Listening) {
        let _ = self.poll.registry().deregister(&mut listener.socket);
    }

    fn watch(&mut self, id: Id, fd: OwnedFd, interest: Interest) -> io::Result<Watched> {
        let mut watched = Watched { fd, token: Token(id.to_token()), interest, always_ready: false };
        let raw = watched.fd.as_raw_fd();
        match self.poll.registry().register(&mut SourceFd(&raw), watched.token, in_mio(interest)) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => watched.always_ready = true,
            Err(error) => return Err(error),
        }
        Ok(watched)
    }

    fn set_interest(&mut self, source: &mut Watched, interest: Interest) -> io::Result<()> {
        source.interest = interest;
        if source.always_ready {
            return Ok(());
        }
        let raw = source.fd.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&raw), source.token, in_mio(interest))
    }

    fn is_always_ready(&self, source: &Watched) -> bool {
        source.always_ready
    }

    fn arm_source(&mut self, source: &mut Watched) {
        if POLL2 {
            // poll(2) takes an interest back when it was met.
            let _ = self.set_interest(source, source.interest);
        }
    }

    fn unwatch(&mut self, source: Watched) -> OwnedFd {
        let raw = source.fd.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        source.fd
    }
}

fn in_mio(interest: Interest) -> mio::Interest {
    match (interest.is_readable(), interest.is_writable()) {
        (true, true) => mio::Interest::READABLE | mio::Interest::WRITABLE,
        (false, true) => mio::Interest::WRITABLE,
        (true | false, false) => mio::Interest::READABLE,
    }
}

/// A registered listening socket.
#[derive(Debug)]
pub struct Listening {
    // mio's pipes are plain descriptors to it.
    socket: Receiver,
    acceptor: Acceptor,
}

/// A descriptor of somebody else.
#[derive(Debug)]
pub struct Watched {
    fd: OwnedFd,
    token: Token,
    interest: Interest,
    always_ready: bool,
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What one connection's turn works on.
struct Wire<'a> {
    id: Id,
    stream: &'a mut Stream,
    files: &'a mut Files,
    registry: &'a Registry,
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

    fn try_send_file(&mut self, file: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let Wire { id, stream, files, .. } = self;
        sent(stream.write_with(|out, cap| files.send(*id, file, out, offset, len.min(cap))))
    }

    fn read_file(&mut self, file: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        self.files.read(self.id, file, offset, slot)
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        let opened = self.files.root().and_then(|root| root.open_beneath(request.name()));
        Opening::Done(opened.map(|file| {
            self.files.insert(self.id, request.id(), file.descriptor);
            file.len_bytes
        }))
    }

    fn close_file(&mut self, file: FileId) {
        planted!(FileKeptOpen: return);
        self.files.close(self.id, file);
    }

    fn half_close(&mut self) {
        planted!(HalfCloseForgotten: return);
        self.stream.half_close(self.registry);
    }
}
