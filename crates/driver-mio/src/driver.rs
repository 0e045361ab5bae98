//! The driver: a worker, and the poller that it waits for. One thread, no lock,
//! nothing allocated per message.

use crate::net::{Mio, news};
use crate::stream::POLL2;
use drywire_core::layer::Layer;
use drywire_core::{Connection, Protocol};
use drywire_server::{Application, Commons, Config, ConnectError, Id, Rounds, Target, Watch};
use mio::Events;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// What callbacks get: connections, listeners and descriptors on mio.
pub type Worker<P, L = ()> = drywire_server::Worker<P, L, Mio>;

/// Runs connections of one protocol, their listeners, and descriptors of others,
/// on the thread it lives on. What it does beside waiting is the [`Worker`] it
/// stands for.
///
/// [`Driver::wait`] and [`Driver::dispatch`] are separate calls (row A3), so that a
/// program can do its own work between them, or let a loop of its own wait: the
/// driver's poller is a descriptor too ([`AsFd`](std::os::fd::AsFd)), readable when something happened,
/// and [`next_timeout`](drywire_server::Worker::next_timeout) says when to come by anyway (row A2).
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
///     driver.dispatch(&mut application);
/// }
/// # #[allow(unreachable_code)] Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver<P: Protocol, L: Layer = ()> {
    worker: Rounds<P, L, Mio>,
    events: Events,
}

impl<P: Protocol, L: Layer> Driver<P, L> {
    /// A driver without connections.
    ///
    /// # Errors
    /// The system gives no poller, or the root is no directory.
    pub fn new(config: Config) -> io::Result<Driver<P, L>> {
        let commons = Commons::new(&config);
        Driver::sharing(config, commons)
    }

    /// The same for one of several workers of a server.
    ///
    /// # Errors
    /// As [`Driver::new`].
    pub fn sharing(config: Config, commons: Commons) -> io::Result<Driver<P, L>> {
        let net = Mio::new(&config)?;
        let waker = net.waker.clone();
        let wake = move || {
            // Fails only when the poller is gone, and with it whoever would wake up.
            let _ = waker.wake();
        };
        let events = Events::with_capacity(config.events.max(1));
        Ok(Driver { worker: Rounds::sharing(net, config, commons, wake), events })
    }

    /// Waits until something happens, for `timeout` at most, or until
    /// [`next_timeout`](drywire_server::Worker::next_timeout). Calls nobody. An interruption by a signal ends
    /// the wait early; so may a wake-up that turns out to be about nothing.
    ///
    /// # Errors
    /// The poller's; none that a correct program sees.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if POLL2 {
            // mio's poll(2) loses a wake-up that falls together with a registration:
            // both clear the one eventfd. The order it was about is here by now.
            self.worker.take_orders();
            self.take_names();
        }
        let next = self.worker.next_timeout();
        let timeout = match (timeout, next) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // What was found and not dispatched yet would be forgotten: an edge comes once.
        if self.events.is_empty() {
            match self.worker.net_mut().poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
        }
        self.worker.wake_up();
        Ok(())
    }

    /// What threads have looked up.
    fn take_names(&mut self) {
        while let Some((id, result)) = self.worker.net_mut().names.take() {
            self.worker.on_resolved(id, result);
        }
    }
}

impl<P, L> Driver<P, L>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
{
    /// Makes one round: everything the last [`Driver::wait`] found, and what is
    /// ready besides. Callbacks may do anything to the worker; a round inside a round
    /// is none of it, by type (FAULTS 62).
    pub fn dispatch<A: Application<Mio, P, L>>(&mut self, application: &mut A) {
        self.take_names();
        let mut heard = 0;
        for event in &self.events {
            heard += 1;
            // The waker's is about orders and names, and those are taken in every round.
            if let Some(id) = Id::from_token(event.token().0) {
                self.worker.on_news(id, news(event), application);
            }
        }
        self.events.clear();
        self.worker.finish_round(heard, application);
    }

    /// Connects, and makes rounds until the connection stands, or never will: by its
    /// deadline one of the two is certain ([`Target::within`], [`Config::connect_timeout`]).
    /// Others are served meanwhile.
    ///
    /// The application hears of it as of any other, except that it is not told of the end
    /// of a connection that is an error here.
    ///
    /// # Errors
    /// [`ConnectError`], with words for a person.
    pub fn connect_and_wait<A: Application<Mio, P, L>>(
        &mut self,
        to: impl Into<Target>,
        connection: Connection<P, L>,
        application: &mut A,
    ) -> Result<Id, ConnectError> {
        let target = to.into();
        let id = self.worker.connect(&target, connection)?;
        loop {
            self.wait(None).map_err(ConnectError::Driver)?;
            let mut watch = Watch::new(application, id);
            self.dispatch(&mut watch);
            if let Some(outcome) = watch.outcome(&self.worker, &target) {
                return outcome;
            }
        }
    }

    /// Closes and reports every connection, for want of more rounds.
    pub(crate) fn end<A: Application<Mio, P, L>>(&mut self, application: &mut A) {
        self.worker.end(application);
    }

    /// Waits and dispatches until a shutdown is through, or until there is no
    /// connection, listener, source or named timer left.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub fn run<A: Application<Mio, P, L>>(&mut self, application: &mut A) -> io::Result<()> {
        self.worker.begin(application);
        while !self.worker.is_done() {
            self.wait(None)?;
            self.dispatch(application);
        }
        self.worker.finish(application);
        Ok(())
    }

    /// The same, and there will be no more rounds: an error of the poller's, too, closes and
    /// reports every connection.
    pub(crate) fn run_to_end<A: Application<Mio, P, L>>(&mut self, application: &mut A) -> io::Result<()> {
        let ended = self.run(application);
        self.end(application);
        ended
    }
}

impl<P: Protocol, L: Layer> Deref for Driver<P, L> {
    type Target = Worker<P, L>;

    fn deref(&self) -> &Worker<P, L> {
        &self.worker
    }
}

impl<P: Protocol, L: Layer> DerefMut for Driver<P, L> {
    fn deref_mut(&mut self) -> &mut Worker<P, L> {
        &mut self.worker
    }
}

/// The poller itself: readable when [`Driver::wait`] with a zero timeout would
/// find something. On epoll; poll(2) has no descriptor of its own.
#[cfg(not(mio_unsupported_force_poll_poll))]
impl<P: Protocol, L: Layer> std::os::fd::AsFd for Driver<P, L> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.worker.net().poll.registry())
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Driver<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.worker).finish()
    }
}
