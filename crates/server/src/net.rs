//! What a driver adds to a [`Worker`](crate::Worker): sockets, files, and a clock.
//! The worker decides; a net only does, and says what came of it.

use crate::address::Address;
use crate::table::Id;
use drywire_core::{FileId, Time, Transport, TransportError, Wait};
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What reads a net's time on any thread.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The network as one driver sees it.
///
/// Everything here returns at once. Whatever is registered is registered under an
/// [`Id`], and news of it goes to [`Rounds::on_news`](crate::Rounds::on_news) with that id.
pub trait Net: Sized {
    /// A byte stream that is open, before it is registered.
    type Open;
    /// A registered byte stream.
    type Stream;
    /// A listening socket, before it is registered.
    type Bound;
    /// A registered listening socket.
    type Listener;
    /// A registered descriptor of somebody else (row A10).
    type Source: AsFd;

    /// The time. It never goes back.
    fn now(&self) -> Time;

    /// The same for other threads: what they tell a connection's age by
    /// ([`Handle::inspect`](crate::Handle::inspect)). Without one the time of the last
    /// round has to do.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// Begins to connect. When it has worked, or failed, the stream is writable.
    ///
    /// # Errors
    /// What is known at once.
    fn connect(&mut self, id: Id, address: &Address) -> io::Result<Self::Stream>;

    /// Begins to look up a name for `id`, without waiting.
    ///
    /// The answer goes to [`Rounds::on_resolved`](crate::Rounds::on_resolved), later and
    /// exactly once, also when nobody waits for it any more: addresses in the order in which to try
    /// them, or why there is none. A worker asks for few at a time. A net that is
    /// dropped does not wait for answers.
    fn resolve(&mut self, id: Id, host: &str, port: u16);

    /// Closes a stream that nobody is going to serve, never registered: without a reset where that
    /// is possible, behind `words` if its transport takes them at once. Never waits.
    fn refuse(&mut self, stream: Self::Open, words: &[u8]) {
        let _ = words;
        drop(stream);
    }

    /// Registers a stream for both directions.
    ///
    /// # Errors
    /// The poller's.
    fn register(&mut self, id: Id, stream: Self::Open) -> io::Result<Self::Stream>;

    /// The stream and its files, for one turn.
    fn wire<'a>(&'a mut self, id: Id, stream: &'a mut Self::Stream) -> impl Transport + 'a;

    /// The stream is writable: what had to wait for that is done now.
    fn on_writable(&mut self, stream: &mut Self::Stream);

    /// A turn ended, and the connection waits for this. A net that has to ask for
    /// news does so now, and says what there is already.
    fn arm(&mut self, stream: &mut Self::Stream, wait: &Wait) -> News {
        let _ = (stream, wait);
        News::default()
    }

    /// A deadline of the connection has come. The next reads and writes are really
    /// made, whatever is known of the stream's readiness.
    fn on_alarm(&mut self, stream: &mut Self::Stream) {
        let _ = stream;
    }

    /// How far a stream from [`Net::connect`] has come.
    fn connecting(&self, stream: &Self::Stream) -> Connecting;

    /// Why a stream failed to connect.
    fn take_error(&self, stream: &Self::Stream) -> TransportError;

    /// Who is at the other end, while that is known.
    fn peer_address(&self, stream: &Self::Stream) -> Option<Address>;

    /// Forgets a stream and closes it, with a reset where that was asked for and
    /// the transport has one.
    fn release(&mut self, stream: Self::Stream, how: Release);

    /// Forgets a file that nobody waits for any more.
    fn close_file(&mut self, id: Id, file: FileId);

    /// Files that are open now.
    fn open_files(&self) -> usize;

    /// Listens on an address.
    ///
    /// # Errors
    /// The system's.
    fn listen(&mut self, id: Id, address: &Address) -> io::Result<Self::Listener>;

    /// Registers a socket that listens already.
    ///
    /// # Errors
    /// The poller's.
    fn listen_on(&mut self, id: Id, socket: Self::Bound) -> io::Result<Self::Listener>;

    /// Takes one connection that waits.
    ///
    /// # Errors
    /// The system's, sorted by [`classify`](crate::classify).
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Open, Address)>;

    /// The worker stops: says whose the connections are that wait at this listener. Where they are
    /// ours the worker accepts until the next call would block and then releases the listener, so
    /// from now on such a call is really made, and as few as the net can manage join the queue.
    fn close_queue(&mut self, listener: &mut Self::Listener) -> Queue {
        let _ = listener;
        Queue::Ours
    }

    /// The address a listener is bound to.
    fn local_address(&self, listener: &Self::Listener) -> Option<Address>;

    /// Forgets a listener and closes it.
    fn release_listener(&mut self, listener: Self::Listener);

    /// Registers a descriptor of somebody else.
    ///
    /// # Errors
    /// The poller's.
    fn watch(&mut self, id: Id, fd: OwnedFd, interest: Interest) -> io::Result<Self::Source>;

    /// Changes what is asked of a descriptor; readiness that is there counts as news.
    ///
    /// # Errors
    /// The poller's.
    fn set_interest(&mut self, source: &mut Self::Source, interest: Interest) -> io::Result<()>;

    /// No poller takes the descriptor (a regular file), so it is always ready.
    fn is_always_ready(&self, source: &Self::Source) -> bool;

    /// There may be news of a descriptor: what it is exactly, where the poller does
    /// not say.
    fn look(&mut self, source: &mut Self::Source, news: News) -> News {
        let _ = source;
        news
    }

    /// News of a descriptor was handled; a net that has to ask for more does so now.
    fn arm_source(&mut self, source: &mut Self::Source) {
        let _ = source;
    }

    /// Forgets a descriptor and gives it back.
    fn unwatch(&mut self, source: Self::Source) -> OwnedFd;
}

/// How far a connection that we make has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connecting {
    /// Not known yet.
    Pending,
    /// It stands.
    Stands,
    /// It will never stand. The next read or write says why, or
    /// [`Net::take_error`].
    Failed,
}

/// What a poller says about one stream, listener or descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
    /// The peer ended its direction, or more: a short read does not mean "nothing left".
    pub hang_up: bool,
    /// The peer sent urgent data: until one would block, a short read does not mean "nothing
    /// left". Comes with `read`.
    pub urgent: bool,
    /// It failed, or both directions have ended: reads and writes say how.
    pub failed: bool,
}

/// Whose the connections are that wait to be accepted when a worker stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// They are reset when the listener is released, so they are accepted first.
    Ours,
    /// The same socket is held elsewhere (socket activation, a restart): they are left to its
    /// other holders.
    Shared,
}

/// How a stream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// As usual.
    Close,
    /// So that half an answer is not taken for a whole one.
    Reset,
}

/// What is asked of a descriptor that is none of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    read: bool,
    write: bool,
}

impl Interest {
    /// Tell when it may be read.
    pub const READABLE: Interest = Interest { read: true, write: false };
    /// Tell when it may be written.
    pub const WRITABLE: Interest = Interest { read: false, write: true };

    /// Readability is asked for.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.read
    }

    /// Writability is asked for.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.write
    }
}

/// Both.
impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest { read: self.read || other.read, write: self.write || other.write }
    }
}
