//! The task: waits for the bell, makes rounds.

use super::bell::{Bell, Opened, Pull, Resolved};
use super::reactor::Reactor;
use super::sockets::Sockets;
use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Connection, Protocol};
use drywire_server::{Address, Application, Commons, Config, ConnectError, Id, News, Rounds, Target, Watch, Worker};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Runs connections of one protocol, their listeners, and descriptors of others, in
/// one task. What it does beside waiting is the [`Worker`] it stands for.
///
/// One task is one core at a time. For more of them there is [`Server`](super::Server).
///
/// *Guaranteed*: its futures may be dropped at any await and made again; nothing is
/// lost, because all state is here.
pub struct Driver<P: Protocol, L: Layer, R: Reactor> {
    worker: Rounds<P, L, Sockets<R>>,
    bell: Arc<Bell>,
    /// Who has news and was not heard yet.
    heard: VecDeque<Arc<Pull>>,
    files: Vec<Opened>,
    names: Vec<Resolved>,
    events: usize,
}

const RUNTIME_ENDED: &str = "the runtime has shut down; keep it until the driver's futures have returned";

impl<P: Protocol, L: Layer, R: Reactor> Driver<P, L, R> {
    /// A driver without connections, on the runtime this is called from.
    ///
    /// # Errors
    /// There is no runtime here, or the root is no directory.
    pub fn new(config: Config) -> io::Result<Driver<P, L, R>> {
        let commons = Commons::new(&config);
        Driver::sharing(config, commons)
    }

    /// The same for one of several workers of a server.
    ///
    /// # Errors
    /// As [`Driver::new`].
    pub fn sharing(config: Config, commons: Commons) -> io::Result<Driver<P, L, R>> {
        let events = config.events.max(1);
        let mut net = Sockets::new(R::current()?, &config)?;
        let bell = net.bell.clone();
        net.reactor.on_end({
            let bell = bell.clone();
            move || bell.on_end()
        });
        let wake = {
            let bell = bell.clone();
            move || bell.ring()
        };
        Ok(Driver {
            worker: Rounds::sharing(net, config, commons, wake),
            bell,
            heard: VecDeque::new(),
            files: Vec::new(),
            names: Vec::new(),
            events,
        })
    }

    /// Waits until there is something to dispatch. Calls nobody.
    ///
    /// Sets no timer unless a deadline is open, and polls nothing by itself. When there
    /// is something already it gives way once, so that other tasks have their turns
    /// however busy the driver is.
    ///
    /// # Errors
    /// The runtime has shut down, so nothing will happen here any more.
    pub async fn wait(&mut self) -> io::Result<()> {
        let is_due = self.worker.next_deadline().is_some_and(|at| at <= self.worker.net().reactor.now());
        if is_due || !self.heard.is_empty() || self.bell.has_news() {
            R::give_way().await;
        } else {
            poll_fn(|cx| self.poll_wait(cx)).await;
        }
        self.worker.wake_up();
        if self.bell.has_ended() { Err(io::Error::other(RUNTIME_ENDED)) } else { Ok(()) }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bell.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let deadline = self.worker.next_deadline();
        let reactor = &mut self.worker.net_mut().reactor;
        match deadline {
            Some(at) => reactor.poll_timer(at, cx),
            None => {
                reactor.stop_timer();
                Poll::Pending
            }
        }
    }
}

impl<P, L, R> Driver<P, L, R>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
{
    /// Makes one round: everybody who has news, and what is ready besides.
    pub fn dispatch<A: Application<Sockets<R>, P, L>>(&mut self, application: &mut A) {
        self.bell.take(&mut self.heard, &mut self.files, &mut self.names);
        for Resolved { of, result } in self.names.drain(..) {
            self.worker.on_resolved(of, result);
        }
        for opened in self.files.drain(..) {
            let (of, id, result) = self.worker.net_mut().on_opened(opened);
            self.worker.on_file(of, id, result);
        }
        let heard = self.heard.len().min(self.events);
        for pull in self.heard.drain(..heard) {
            // Which of the two it is shows when they are tried.
            self.worker.on_news(pull.hear(), News { read: true, write: true, ..News::default() }, application);
        }
        self.worker.finish_round(heard, application);
    }

    /// Connects, and makes rounds until the connection stands, or never will: by its
    /// deadline one of the two is certain ([`Target::within`], [`Config::connect_timeout`]).
    /// Others are served meanwhile.
    ///
    /// The application hears of it as of any other, except that it is not told of the end
    /// of a connection that is an error here. When the future is dropped the connection
    /// goes on, as one that was asked for with [`Worker::connect`].
    ///
    /// # Errors
    /// [`ConnectError`], with words for a person.
    pub async fn connect_and_wait<A: Application<Sockets<R>, P, L>>(
        &mut self,
        to: impl Into<Target>,
        connection: Connection<P, L>,
        application: &mut A,
    ) -> Result<Id, ConnectError> {
        let target = to.into();
        let id = self.worker.connect(&target, connection)?;
        loop {
            self.wait().await.map_err(ConnectError::Driver)?;
            let mut watch = Watch::new(application, id);
            self.dispatch(&mut watch);
            if let Some(outcome) = watch.outcome(&self.worker, &target) {
                return outcome;
            }
        }
    }

    /// Waits and dispatches until a shutdown is through, or until there is no
    /// connection, listener, source or named timer left.
    ///
    /// *Guaranteed*: dropping the future ends nothing; the driver can be run again.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    pub async fn run<A: Application<Sockets<R>, P, L>>(&mut self, application: &mut A) -> io::Result<()> {
        self.worker.begin(application);
        while !self.worker.is_done() {
            self.wait().await?;
            self.dispatch(application);
        }
        self.worker.finish(application);
        Ok(())
    }
}

/// Listens on `address` and serves whoever connects, until the worker is shut down.
///
/// # Errors
/// The address cannot be listened on, the root is no directory, or the runtime has shut down.
pub async fn serve<P, L, R, A>(address: &Address, config: Config, application: &mut A) -> io::Result<()>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
    A: Application<Sockets<R>, P, L>,
{
    let mut driver = Driver::new(config)?;
    driver.listen(address).map_err(io::Error::other)?;
    let mut ending = Ending { driver, application };
    ending.driver.run(ending.application).await
}

/// Connects to an address or a name and runs the connection to its end, which is what is
/// returned.
///
/// # Errors
/// As [`serve`]. That nobody answers is the reason in the report.
pub async fn connect<P, L, R, A>(
    to: impl Into<Target>,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
    A: Application<Sockets<R>, P, L>,
{
    let mut driver = Driver::new(config)?;
    let id = driver.connect(to, connection).map_err(io::Error::other)?;
    Ending { driver, application }.finish(id).await
}

/// Runs one connection on a stream that is open already, to its end, which is what
/// is returned.
///
/// # Errors
/// The poller's, or the runtime has shut down.
pub async fn drive<P, L, R, A>(
    stream: impl Into<R::Open>,
    connection: Connection<P, L>,
    config: Config,
    application: &mut A,
) -> io::Result<CloseReport<P::Error>>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
    A: Application<Sockets<R>, P, L>,
{
    let mut driver = Driver::new(config)?;
    let id = driver.add(stream, connection)?;
    Ending { driver, application }.finish(id).await
}

/// A driver that closes and reports its connections when it is dropped, however
/// far its future came; except while a panic unwinds, when they are only closed.
pub(super) struct Ending<'a, P, L, R, A>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
    A: Application<Sockets<R>, P, L>,
{
    pub(super) driver: Driver<P, L, R>,
    pub(super) application: &'a mut A,
}

impl<P, L, R, A> Ending<'_, P, L, R, A>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
    A: Application<Sockets<R>, P, L>,
{
    async fn finish(mut self, id: Id) -> io::Result<CloseReport<P::Error>> {
        loop {
            self.driver.wait().await?;
            let mut watch = Watch::new(&mut *self.application, id);
            self.driver.dispatch(&mut watch);
            if let Some(report) = watch.take_report() {
                return Ok(report);
            }
        }
    }
}

impl<P, L, R, A> Drop for Ending<'_, P, L, R, A>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    R: Reactor,
    A: Application<Sockets<R>, P, L>,
{
    fn drop(&mut self) {
        // The panic may be the application's own, and a second one ends the process.
        if !std::thread::panicking() {
            self.driver.worker.end(self.application);
        }
    }
}

impl<P: Protocol, L: Layer, R: Reactor> Drop for Driver<P, L, R> {
    fn drop(&mut self) {
        self.bell.close();
    }
}

impl<P: Protocol, L: Layer, R: Reactor> Deref for Driver<P, L, R> {
    type Target = Worker<P, L, Sockets<R>>;

    fn deref(&self) -> &Worker<P, L, Sockets<R>> {
        &self.worker
    }
}

impl<P: Protocol, L: Layer, R: Reactor> DerefMut for Driver<P, L, R> {
    fn deref_mut(&mut self) -> &mut Worker<P, L, Sockets<R>> {
        &mut self.worker
    }
}

impl<P: Protocol, L: Layer, R: Reactor> fmt::Debug for Driver<P, L, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.worker).finish()
    }
}
