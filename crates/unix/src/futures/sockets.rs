//! A runtime's reactor as a worker's net.

use super::bell::{Bell, Opened, Resolved};
use super::reactor::{Direction, Reactor};
use super::wire::Wire;
use crate::files::Files;
use crate::listener::{Acceptor, Listener, SocketOptions};
use crate::lookup::Lookup;
use crate::socket;
use drywire_core::{FileError, FileId, Time, Transport, TransportError, Wait};
use drywire_server::{Address, Clock, Config, Connecting, Id, Interest, Net, News, Queue, Release};
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Waker};

/// Sockets, descriptors and files on a reactor.
#[derive(Debug)]
pub struct Sockets<R> {
    pub(super) reactor: R,
    pub(super) bell: Arc<Bell>,
    pub(super) files: Files,
    options: SocketOptions,
}

/// A registered descriptor, and who is woken when it is ready.
#[derive(Debug)]
pub struct Socket<Io> {
    pub(super) io: Io,
    waker: Waker,
    /// Our direction is to end as soon as the socket is connected.
    pub(super) ends_later: bool,
    /// Calls are made whatever the reactor knows, until the turn is over.
    insists: bool,
}

/// A registered listening socket.
#[derive(Debug)]
pub struct Listening<Io> {
    socket: Socket<Io>,
    acceptor: Acceptor,
}

/// A descriptor of somebody else.
#[derive(Debug)]
pub enum Watched<Io> {
    /// The poller knows it.
    Polled {
        /// The descriptor.
        socket: Socket<Io>,
        /// What is asked of it.
        interest: Interest,
        /// Its input has ended, and that was told: it stays readable for ever.
        ended: bool,
    },
    /// It never blocks, so no poller takes it.
    AlwaysReady(OwnedFd),
}

impl<Io: AsFd> Socket<Io> {
    /// Makes a call, if there is a chance that it works.
    pub(super) fn attempt<T>(
        &self,
        reactor: &impl Reactor<Io = Io>,
        direction: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.insists { call(self.io.as_fd()) } else { reactor.attempt(&self.io, direction, call) }
    }
}

impl<R: Reactor> Sockets<R> {
    pub(super) fn new(reactor: R, config: &Config) -> io::Result<Sockets<R>> {
        Ok(Sockets { reactor, bell: Arc::default(), files: Files::new(config)?, options: SocketOptions::of(config) })
    }

    /// The answer of a thread that opened a file: its length, now that we have it.
    pub(super) fn on_opened(&mut self, opened: Opened) -> (Id, FileId, Result<u64, FileError>) {
        let Opened { of, id, result } = opened;
        let result = result.map(|file| {
            self.files.insert(of, id, file.descriptor);
            file.len_bytes
        });
        (of, id, result)
    }

    fn socket(&self, id: Id, fd: OwnedFd) -> io::Result<Socket<R::Io>> {
        Ok(Socket { io: self.reactor.register(fd)?, waker: self.bell.waker(id), ends_later: false, insists: false })
    }

    /// Asks to be woken; true when it may be ready already.
    fn ask(&self, socket: &Socket<R::Io>, direction: Direction) -> bool {
        let mut cx = Context::from_waker(&socket.waker);
        self.reactor.poll_ready(&socket.io, direction, &mut cx).is_ready()
    }

    /// Asks for all that is of interest; what is ready already is news at once.
    fn ask_for(&self, socket: &Socket<R::Io>, interest: Interest) {
        let read = interest.is_readable() && self.ask(socket, Direction::Read);
        let write = interest.is_writable() && self.ask(socket, Direction::Write);
        if read || write {
            socket.waker.wake_by_ref();
        }
    }
}

impl<R: Reactor> Net for Sockets<R> {
    type Open = R::Open;
    type Stream = Socket<R::Io>;
    type Bound = Listener;
    type Listener = Listening<R::Io>;
    type Source = Watched<R::Io>;

    fn now(&self) -> Time {
        self.reactor.now()
    }

    fn clock(&self) -> Option<Clock> {
        self.reactor.clock()
    }

    fn connect(&mut self, id: Id, address: &Address) -> io::Result<Socket<R::Io>> {
        self.socket(id, socket::begin_to_connect(address)?)
    }

    fn resolve(&mut self, of: Id, host: &str, port: u16) {
        let bell = self.bell.clone();
        let lookup = Lookup::new(host, port, move |result| bell.on_resolved(Resolved { of, result }));
        self.reactor.block(move || lookup.run());
    }

    fn refuse(&mut self, stream: R::Open, words: &[u8]) {
        let fd: OwnedFd = stream.into();
        socket::refuse(fd.as_fd(), words);
    }

    fn register(&mut self, id: Id, stream: R::Open) -> io::Result<Socket<R::Io>> {
        self.socket(id, stream.into())
    }

    fn wire<'a>(&'a mut self, id: Id, stream: &'a mut Socket<R::Io>) -> impl Transport + 'a {
        Wire { id, stream, net: self }
    }

    fn on_writable(&mut self, stream: &mut Socket<R::Io>) {
        if stream.ends_later {
            stream.ends_later = !socket::half_close(stream.io.as_fd());
        }
    }

    fn arm(&mut self, stream: &mut Socket<R::Io>, wait: &Wait) -> News {
        stream.insists = false;
        let read = wait.read && self.ask(stream, Direction::Read);
        let write = (wait.write || stream.ends_later) && self.ask(stream, Direction::Write);
        News { read, write, ..News::default() }
    }

    fn on_alarm(&mut self, stream: &mut Socket<R::Io>) {
        stream.insists = true;
    }

    fn connecting(&self, stream: &Socket<R::Io>) -> Connecting {
        socket::connecting(stream.io.as_fd())
    }

    fn take_error(&self, stream: &Socket<R::Io>) -> TransportError {
        socket::take_error(stream.io.as_fd())
    }

    fn peer_address(&self, stream: &Socket<R::Io>) -> Option<Address> {
        socket::peer_address(stream.io.as_fd())
    }

    fn release(&mut self, stream: Socket<R::Io>, how: Release) {
        if how == Release::Reset {
            socket::reset_on_close(stream.io.as_fd());
        }
    }

    fn close_file(&mut self, id: Id, file: FileId) {
        self.files.close(id, file);
    }

    fn open_files(&self) -> usize {
        self.files.len()
    }

    fn listen(&mut self, id: Id, address: &Address) -> io::Result<Listening<R::Io>> {
        self.listen_on(id, Listener::bind(address, &self.options)?)
    }

    fn listen_on(&mut self, id: Id, socket: Listener) -> io::Result<Listening<R::Io>> {
        let Listener { fd, acceptor } = socket.with(&self.options);
        let socket = self.socket(id, fd)?;
        self.ask_for(&socket, Interest::READABLE);
        Ok(Listening { socket, acceptor })
    }

    fn accept(&mut self, listener: &mut Listening<R::Io>) -> io::Result<(R::Open, Address)> {
        let Listening { socket, acceptor } = listener;
        let accepted = socket.attempt(&self.reactor, Direction::Read, |fd| acceptor.accept(fd));
        if accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.ask_for(socket, Interest::READABLE);
        }
        accepted.map(|(fd, peer)| (fd.into(), peer))
    }

    /// The reactor may not have heard yet of what waits.
    fn close_queue(&mut self, listener: &mut Listening<R::Io>) -> Queue {
        listener.socket.insists = true;
        listener.acceptor.close_queue()
    }

    fn local_address(&self, listener: &Listening<R::Io>) -> Option<Address> {
        listener.acceptor.local_address(listener.socket.io.as_fd())
    }

    fn release_listener(&mut self, listener: Listening<R::Io>) {
        drop(listener);
    }

    /// A descriptor that may block is refused: it would stop every task of its thread.
    fn watch(&mut self, id: Id, fd: OwnedFd, interest: Interest) -> io::Result<Watched<R::Io>> {
        let kind = FileType::from_raw_mode(fstat(&fd)?.st_mode);
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Ok(Watched::AlwaysReady(fd));
        }
        if !fcntl_getfl(&fd)?.contains(OFlags::NONBLOCK) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a descriptor to watch must be non-blocking"));
        }
        // Some devices never block, which a poller says only when it is asked to take
        // them, and then they are gone.
        let spare = if kind == FileType::CharacterDevice { Some(fd.try_clone()?) } else { None };
        let socket = match (self.socket(id, fd), spare) {
            (Err(error), Some(spare)) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                return Ok(Watched::AlwaysReady(spare));
            }
            (socket, _) => socket?,
        };
        self.ask_for(&socket, interest);
        Ok(Watched::Polled { socket, interest, ended: false })
    }

    /// What is ready already rings: the readiness that is known may have been used up
    /// while nobody asked for it.
    fn set_interest(&mut self, source: &mut Watched<R::Io>, wanted: Interest) -> io::Result<()> {
        if let Watched::Polled { socket, interest, ended } = source {
            *interest = wanted;
            *ended = false;
            socket.waker.wake_by_ref();
        }
        Ok(())
    }

    fn is_always_ready(&self, source: &Watched<R::Io>) -> bool {
        matches!(source, Watched::AlwaysReady(_))
    }

    /// A wake-up does not say which direction it is about. The readiness known so
    /// far is used up by looking.
    fn look(&mut self, source: &mut Watched<R::Io>, _: News) -> News {
        let Watched::Polled { socket, ended, .. } = source else { return News::default() };
        for direction in [Direction::Read, Direction::Write] {
            let _ = self.reactor.attempt(&socket.io, direction, |_| Err::<(), _>(Errno::AGAIN.into()));
        }
        let found = socket::look(socket.io.as_fd(), PollFlags::IN | PollFlags::OUT | READ_HANG_UP);
        let failed = found.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        let hang_up = failed || found.intersects(READ_HANG_UP);
        let read = found.contains(PollFlags::IN) && !std::mem::replace(ended, hang_up);
        News { read, write: found.contains(PollFlags::OUT), hang_up, urgent: false, failed }
    }

    fn arm_source(&mut self, source: &mut Watched<R::Io>) {
        if let Watched::Polled { socket, interest, ended } = source {
            let read = interest.is_readable() && !*ended && self.ask(socket, Direction::Read);
            let write = interest.is_writable() && self.ask(socket, Direction::Write);
            if read || write {
                socket.waker.wake_by_ref();
            }
        }
    }

    fn unwatch(&mut self, source: Watched<R::Io>) -> OwnedFd {
        match source {
            Watched::Polled { socket, .. } => {
                self.reactor.release(socket.io).expect("a descriptor that was registered")
            }
            Watched::AlwaysReady(fd) => fd,
        }
    }
}

/// The peer ended its direction, where poll(2) says so.
#[cfg(any(target_os = "linux", target_os = "android"))]
const READ_HANG_UP: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const READ_HANG_UP: PollFlags = PollFlags::empty();

impl<Io: AsFd> AsFd for Watched<Io> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Watched::Polled { socket, .. } => socket.io.as_fd(),
            Watched::AlwaysReady(fd) => fd.as_fd(),
        }
    }
}
