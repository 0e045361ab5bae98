//! The driver: waits for the poller, gives connections their turns, hands events
//! to the application. One thread, no lock, nothing allocated per message.
//!
//! How a round goes is in `dispatch`, listening in `accept`, descriptors of others in
//! `sources`; this file is what the application calls besides.

use crate::config::Config;
use crate::io_error::AddressError;
use crate::slot::{Entry, Linked, Slot};
use crate::stream::{Kind, Stream};
use crate::transport::{Files, open_root};
use drywire_core::layer::Layer;
use drywire_core::{Connection, Protocol, Time, Workspace};
use drywire_server::{Address, Drain, Handle, Id, Inbox, Order, SendError, ServerHandle, Table};
use mio::{Events, Poll, Token, Waker};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The poller's token for "somebody used a handle".
pub(crate) const WAKER: Token = Token(Id::RESERVED_TOKENS_START);

/// Alarms without a purpose that are not worth a search.
const STALE_ALARMS: usize = 1024;

/// Runs connections of one protocol, their listeners, and descriptors of others,
/// on the thread it lives on.
///
/// [`Driver::wait`] and [`Driver::dispatch`] are separate calls (row A3), so that a
/// program can do its own work between them, or let a loop of its own wait: the
/// driver's poller is a descriptor too ([`AsFd`](std::os::fd::AsFd)), readable when something happened,
/// and [`Driver::next_timeout`] says when to come by anyway (row A2).
///
/// ```no_run
/// # use drywire_driver_mio::{Accept, Config, Driver};
/// # use drywire_protocols::LineEcho;
/// let mut driver: Driver<LineEcho> = Driver::new(Config::default())?;
/// let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
/// println!("{}", driver.local_address(listener).expect("just made"));
/// let mut application = Accept(|| LineEcho);
/// loop {
///     driver.wait(None)?;
///     // what must be up to date before the callbacks goes here
///     driver.dispatch(&mut application)?;
/// }
/// # #[allow(unreachable_code)] Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver<P: Protocol, L: Layer = ()> {
    pub(crate) poll: Poll,
    /// Taken out while they are handled: that is how a dispatch inside a callback
    /// is noticed.
    pub(crate) events: Option<Events>,
    pub(crate) table: Table<Slot<P, L>>,
    pub(crate) connections: usize,
    /// Who gets a turn without waiting for the poller.
    pub(crate) ready: VecDeque<Id>,
    pub(crate) alarms: BinaryHeap<Reverse<(Time, Id)>>,
    pub(crate) workspace: Workspace,
    pub(crate) files: Files,
    pub(crate) inbox: Inbox<P::Command>,
    pub(crate) orders: Vec<Order<P::Command>>,
    pub(crate) drain: Drain,
    /// The drain has asked every connection.
    pub(crate) draining: bool,
    /// Lists of events in a row that were full.
    pub(crate) full_lists: usize,
    pub(crate) config: Config,
    epoch: Instant,
    pub(crate) now: Time,
}

impl<P: Protocol, L: Layer> Driver<P, L> {
    /// A driver without connections.
    ///
    /// # Errors
    /// The system gives no poller, or the root is no directory.
    pub fn new(config: Config) -> io::Result<Driver<P, L>> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let wake = move || {
            // Fails only when the poller is gone, and with it whoever would wake up.
            let _ = waker.wake();
        };
        let root = config.root.as_deref().map(|path| open_root(path, config.system_calls)).transpose()?;
        Ok(Driver {
            events: Some(Events::with_capacity(config.events.max(1))),
            poll,
            table: Table::new(),
            connections: 0,
            ready: VecDeque::new(),
            alarms: BinaryHeap::new(),
            workspace: Workspace::new(),
            files: Files::new(root, config.system_calls),
            inbox: Inbox::new(config.commands, wake),
            orders: Vec::new(),
            drain: Drain::default(),
            draining: false,
            full_lists: 0,
            config,
            epoch: Instant::now(),
            now: Time::ZERO,
        })
    }

    /// Connects, without waiting. When it has worked,
    /// [`Application::opened`](drywire_server::Application::opened) is called; when
    /// not, the close report says why ([`AddressError::connecting`] has the words).
    ///
    /// # Errors
    /// [`AddressError`] for what is known at once, such as a path that does not exist.
    pub fn connect(&mut self, address: &Address, connection: Connection<P, L>) -> Result<Id, AddressError> {
        let kind = match address {
            Address::Tcp(address) => mio::net::TcpStream::connect(*address).map(|stream| {
                let _ = stream.set_nodelay(true);
                Kind::Tcp(stream)
            }),
            Address::Unix(Some(path)) => mio::net::UnixStream::connect(path).map(Kind::Unix),
            Address::Unix(None) | Address::Pair => Err(io::ErrorKind::InvalidInput.into()),
        };
        let id = kind.and_then(|kind| self.add(Stream(kind), connection)).map_err(|source| AddressError {
            what: "connect to",
            address: address.clone(),
            source,
        })?;
        if let Some(Slot::Connection(entry)) = self.table.get_mut(id) {
            entry.connecting = true;
            entry.peer = tracing::enabled!(tracing::Level::DEBUG).then(|| Box::new(address.clone()));
        }
        Ok(id)
    }

    /// Serves a stream that is open already, whoever opened it. Its first turn
    /// comes with the next dispatch.
    ///
    /// # Errors
    /// The poller's, or the table is full.
    pub fn add(&mut self, stream: impl Into<Stream>, connection: Connection<P, L>) -> io::Result<Id> {
        let entry = Entry::new(connection, stream.into());
        let id = self.insert(Slot::Connection(entry))?;
        self.connections += 1;
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { unreachable!("just inserted") };
        if let Err(error) = entry.stream.register(self.poll.registry(), Token(id.to_token())) {
            entry.stream.deregister(self.poll.registry());
            self.connections -= 1;
            self.table.remove(id);
            return Err(error);
        }
        self.make_ready(id);
        Ok(id)
    }

    /// Hands a command to a connection's protocol, in this or the next dispatch.
    /// From other threads: [`Driver::handle`]. What came through a handle is taken
    /// once a round, so this may overtake it; among themselves both keep their order.
    ///
    /// # Errors
    /// The command comes back when too many wait, or the connection is gone.
    pub fn send(&mut self, id: Id, command: P::Command) -> Result<(), SendError<P::Command>> {
        let Some(linked) = self.linked(id) else { return Err(SendError::Closed(command)) };
        let posted = linked.link.post(command)?;
        linked.waiting.push_back(posted);
        self.make_ready(id);
        Ok(())
    }

    /// Closes a connection once everything it owes is sent, commands that wait
    /// included. What is not there is closed already.
    pub fn close(&mut self, id: Id) {
        match self.table.get(id) {
            // Behind the commands that are still on their way.
            Some(Slot::Connection(Entry { linked: Some(linked), .. })) => linked.link.handle().close(),
            Some(Slot::Connection(_) | Slot::Listener(_) | Slot::Source(_)) | None => self.close_now(id),
        }
    }

    /// Closes behind the commands that have arrived.
    pub(crate) fn close_now(&mut self, id: Id) {
        self.with_live(id, |live, linked| match linked {
            Some(linked) if !linked.waiting.is_empty() => linked.close = true,
            Some(_) | None => live.close(),
        });
    }

    /// Ends a connection now; what it owes is dropped. Its report comes with this
    /// or the next dispatch, never from inside this call.
    pub fn abort(&mut self, id: Id) {
        self.with_live(id, |live, _| live.abort());
    }

    /// A handle on a connection, for any thread (rows W2, B2).
    pub fn handle(&mut self, id: Id) -> Option<Handle<P::Command>> {
        self.linked(id).map(|linked| linked.link.handle())
    }

    /// A handle on the whole driver, for any thread: shut down, stop.
    pub fn server_handle(&self) -> ServerHandle<P::Command> {
        self.inbox.server_handle()
    }

    /// Begins to shut down: listeners close, connections send what they owe, and
    /// what is still open at the deadline is aborted. A second call ends it at once.
    pub fn shutdown(&mut self) {
        let (now, timeout) = (self.clock(), self.config.drain_timeout);
        self.drain.begin(now, timeout);
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.connections
    }

    /// No connection is open.
    pub fn is_empty(&self) -> bool {
        self.connections == 0
    }

    /// Files that are being sent or answered.
    pub fn open_files(&self) -> usize {
        self.files.len()
    }

    /// A connection, to look at.
    pub fn connection(&self, id: Id) -> Option<&Connection<P, L>> {
        match self.table.get(id)? {
            Slot::Connection(entry) => Some(&entry.connection),
            Slot::Listener(_) | Slot::Source(_) => None,
        }
    }

    /// When to come by though nothing happens: zero when something is ready now,
    /// `None` when there is nothing to come by for.
    pub fn next_timeout(&self) -> Option<Duration> {
        // A shutdown that a callback asked for begins with the next round.
        let drain_begins = !self.drain.is_running() && !self.draining;
        if !self.ready.is_empty() || !self.orders.is_empty() || drain_begins {
            return Some(Duration::ZERO);
        }
        let alarm = self.alarms.peek().map_or(Time::NEVER, |Reverse((at, _))| *at);
        let next = match self.drain {
            Drain::Draining { deadline } if self.connections > 0 => alarm.min(deadline),
            Drain::Stopped if self.connections > 0 => return Some(Duration::ZERO),
            Drain::Running | Drain::Draining { .. } | Drain::Stopped => alarm,
        };
        (next != Time::NEVER).then(|| next.saturating_since(self.clock()))
    }

    /// The way for commands into a connection, made when it is first used.
    fn linked(&mut self, id: Id) -> Option<&mut Linked<P::Command>> {
        let capacity = self.config.commands_per_connection;
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return None };
        Some(entry.linked.get_or_insert_with(|| {
            Box::new(Linked { link: self.inbox.link(id, capacity), waiting: VecDeque::new(), close: false })
        }))
    }

    pub(crate) fn insert(&mut self, slot: Slot<P, L>) -> io::Result<Id> {
        self.table.insert(slot).map_err(|_| io::Error::other("the table of connections is full"))
    }

    /// A turn without the transport, to put something in; the rest of the turn
    /// comes with the next dispatch.
    fn with_live(
        &mut self,
        id: Id,
        input: impl FnOnce(&mut drywire_core::Live<'_, P, L>, Option<&mut Linked<P::Command>>),
    ) {
        let now = self.now;
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let mut live = entry.connection.lend(&mut self.workspace, now);
        input(&mut live, entry.linked.as_deref_mut());
        drop(live);
        self.make_ready(id);
    }

    /// Gives `id` a turn without waiting for the poller.
    pub(crate) fn make_ready(&mut self, id: Id) {
        let queued = match self.table.get_mut(id) {
            Some(Slot::Connection(entry)) => &mut entry.queued,
            Some(Slot::Listener(listener)) => &mut listener.queued,
            Some(Slot::Source(source)) => &mut source.queued,
            None => return,
        };
        if !std::mem::replace(queued, true) {
            self.ready.push_back(id);
        }
    }

    pub(crate) fn set_alarm(&mut self, id: Id, deadline: Time) {
        let alarm = match self.table.get_mut(id) {
            Some(Slot::Connection(entry)) => &mut entry.alarm,
            Some(Slot::Source(source)) => &mut source.alarm,
            Some(Slot::Listener(_)) | None => return,
        };
        // An alarm that is too early finds that out when it rings and is set
        // again; so moving a deadline back, as every byte does with the idle one, is free.
        if deadline < *alarm {
            *alarm = deadline;
            self.push_alarm(deadline, id);
        }
    }

    /// Bound: alarms that nobody waits for any more, of connections that ended and
    /// of deadlines that came earlier, make up half of the heap at most.
    pub(crate) fn push_alarm(&mut self, at: Time, id: Id) {
        if self.alarms.len() > 2 * self.table.len() + STALE_ALARMS {
            let table = &self.table;
            self.alarms.retain(|Reverse((at, id))| match table.get(*id) {
                Some(Slot::Connection(entry)) => entry.alarm == *at,
                Some(Slot::Source(source)) => source.alarm == *at,
                Some(Slot::Listener(_)) => true,
                None => false,
            });
        }
        self.alarms.push(Reverse((at, id)));
    }

    pub(crate) fn clock(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }
}

/// The poller itself: readable when [`Driver::wait`] with a zero timeout would
/// find something. On epoll; poll(2) has no descriptor of its own.
#[cfg(not(mio_unsupported_force_poll_poll))]
impl<P: Protocol, L: Layer> std::os::fd::AsFd for Driver<P, L> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.poll.registry())
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Driver<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("connections", &self.connections)
            .field("ready", &self.ready.len())
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
