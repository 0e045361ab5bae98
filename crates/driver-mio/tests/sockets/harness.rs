//! The application under test: it lets everybody in and writes down what it hears.

use drywire_core::{CloseReport, Connection, Limits, Protocol};
use drywire_driver_mio::{Address, Application, Config, Driver, Id, Mio, Notice, ServerHandle, SourceEvent, Worker};
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// mio was built for poll(2).
pub(crate) const POLL2: bool = cfg!(mio_unsupported_force_poll_poll);

/// What a connection's end looks like to a test.
pub(crate) type Report<P> = CloseReport<<P as Protocol>::Error>;

/// Lets everybody in, and keeps what it is told.
pub(crate) struct Recorder<P: Protocol> {
    make: Box<dyn FnMut() -> Connection<P>>,
    pub(crate) opened: Vec<Id>,
    pub(crate) events: Vec<(Id, P::Event)>,
    pub(crate) closed: Vec<(Id, Report<P>)>,
    pub(crate) sources: Vec<(Id, SourceEvent)>,
    pub(crate) failed: Vec<Id>,
}

impl<P: Protocol> Recorder<P> {
    pub(crate) fn new(make: impl FnMut() -> Connection<P> + 'static) -> Recorder<P> {
        Recorder {
            make: Box::new(make),
            opened: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            sources: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// The one report there is.
    #[track_caller]
    pub(crate) fn report(&self) -> &Report<P> {
        let [(_, report)] = &self.closed[..] else { panic!("{} connections have ended, not one", self.closed.len()) };
        report
    }

    pub(crate) fn count(&self, event: SourceEvent) -> usize {
        self.sources.iter().filter(|(_, e)| *e == event).count()
    }
}

impl<P: Protocol> Application<Mio, P> for Recorder<P> {
    fn accept(&mut self, _: &mut Worker<P>, _: Id, _: &Address) -> Option<Connection<P>> {
        Some((self.make)())
    }

    fn opened(&mut self, _: &mut Worker<P>, id: Id) {
        self.opened.push(id);
    }

    fn event(&mut self, _: &mut Worker<P>, id: Id, event: P::Event) {
        self.events.push((id, event));
    }

    fn closed(&mut self, driver: &mut Worker<P>, id: Id, report: Report<P>) {
        assert!(driver.connection(id).is_none(), "{id} is closed, but still there");
        assert!(self.closed.iter().all(|(other, _)| *other != id), "I4: {id} has closed twice");
        self.closed.push((id, report));
    }

    fn source(&mut self, _: &mut Worker<P>, id: Id, event: SourceEvent) {
        self.sources.push((id, event));
    }

    fn notice(&mut self, _: &mut Worker<P>, notice: Notice<'_>) {
        if let Notice::ListenerFailed { listener, .. } = notice {
            self.failed.push(listener);
        }
    }
}

/// Rounds until `done`.
#[track_caller]
pub(crate) fn pump<P, A>(
    driver: &mut Driver<P>,
    application: &mut A,
    what: &str,
    mut done: impl FnMut(&mut Driver<P>, &mut A) -> bool,
) where
    P: Protocol<Error: fmt::Display>,
    A: Application<Mio, P>,
{
    let give_up = Instant::now() + PATIENCE;
    while !done(driver, application) {
        assert!(Instant::now() < give_up, "waited {PATIENCE:?} for: {what}");
        round(driver, application, Duration::from_millis(10));
    }
}

/// Rounds for this long, however many that are; says how many found something. When the time is over
/// there are some that do not wait: on a machine without time for us there may have been none.
#[track_caller]
pub(crate) fn pump_for<P, A>(driver: &mut Driver<P>, application: &mut A, time: Duration) -> usize
where
    P: Protocol<Error: fmt::Display>,
    A: Application<Mio, P>,
{
    let end = Instant::now() + time;
    let mut rounds = 0;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            (0..3).for_each(|_| round(driver, application, Duration::ZERO));
            return rounds;
        }
        round(driver, application, left);
        rounds += usize::from(Instant::now() < end);
    }
}

/// Rounds until none finds anything for a while: what the kernel has to say about the past may come
/// late. A loop that does not sleep never falls quiet.
#[track_caller]
pub(crate) fn assert_falls_quiet<P, A>(driver: &mut Driver<P>, application: &mut A)
where
    P: Protocol<Error: fmt::Display>,
    A: Application<Mio, P>,
{
    let is_quiet = (0..50).any(|_| pump_for(driver, application, Duration::from_millis(100)) == 0);
    assert!(is_quiet, "I3: nobody can do anything, and yet the poller has something to say");
}

#[track_caller]
pub(crate) fn round<P, A>(driver: &mut Driver<P>, application: &mut A, timeout: Duration)
where
    P: Protocol<Error: fmt::Display>,
    A: Application<Mio, P>,
{
    driver.wait(Some(timeout)).expect("the poller works");
    driver.dispatch(application);
}

/// A driver that listens on a free port of this machine.
#[track_caller]
pub(crate) fn listening<P: Protocol>(config: Config) -> (Driver<P>, Id, SocketAddr) {
    let mut driver = Driver::new(config).expect("a poller");
    let listener = driver.listen(&"127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let Some(Address::Tcp(address)) = driver.local_address(listener) else { panic!("a TCP listener") };
    (driver, listener, address)
}

/// A driver with one accepted connection, and its peer.
#[track_caller]
pub(crate) fn connected<P: Protocol<Error: fmt::Display>>(
    config: Config,
    application: &mut Recorder<P>,
) -> (Driver<P>, Id, TcpStream) {
    let (mut driver, _, address) = listening(config);
    let peer = crate::peer::connect(address);
    pump(&mut driver, application, "the accept", |_, a| !a.opened.is_empty());
    let id = application.opened[0];
    (driver, id, peer)
}

/// A server on a thread of its own.
pub(crate) struct Served<P: Protocol, E = Ended<P>> {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle<P::Command>,
    thread: Option<JoinHandle<E>>,
}

/// What is left of a server when it has ended.
pub(crate) struct Ended<P: Protocol> {
    pub(crate) closed: Vec<(Id, Report<P>)>,
    pub(crate) opened: usize,
    pub(crate) open_files: usize,
}

impl<P> Served<P>
where
    P: Protocol<Error: fmt::Display + Send, Command: Send> + 'static,
{
    #[track_caller]
    pub(crate) fn start(config: Config, make: impl FnMut() -> Connection<P> + Send + 'static) -> Served<P> {
        Served::run(config, move |driver| {
            let mut recorder = Recorder::new(make);
            driver.run(&mut recorder).expect("the poller works");
            let (closed, opened) = (recorder.closed, recorder.opened.len());
            assert_eq!(closed.len(), opened, "I4: one report for each connection");
            Ended { closed, opened, open_files: driver.open_files() }
        })
    }
}

impl<P, E> Served<P, E>
where
    P: Protocol<Error: fmt::Display, Command: Send> + 'static,
    E: Send + 'static,
{
    /// A server with an application of the test's own.
    #[track_caller]
    pub(crate) fn run(config: Config, run: impl FnOnce(&mut Driver<P>) -> E + Send + 'static) -> Served<P, E> {
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut driver, _, address) = listening::<P>(config);
            tell.send((address, driver.server_handle())).expect("the test waits");
            run(&mut driver)
        });
        let (address, handle) = told.recv_timeout(PATIENCE).expect("the server starts");
        Served { address, handle, thread: Some(thread) }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        crate::peer::connect(self.address)
    }

    /// Ends it now and says how it was.
    #[track_caller]
    pub(crate) fn stop(mut self) -> E {
        self.handle.abort();
        let thread = self.thread.take().expect("stopped once");
        let give_up = Instant::now() + PATIENCE;
        while !thread.is_finished() {
            assert!(Instant::now() < give_up, "the server did not stop within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().expect("the server did not panic")
    }
}

/// A failing test must not leave a server behind.
impl<P: Protocol, E> Drop for Served<P, E> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Repeats an attempt with times that are so many times as long while it says that the test itself
/// was too late for its deadlines, and shows nothing.
#[track_caller]
pub(crate) fn in_time(mut attempt: impl FnMut(u32) -> bool) {
    assert!([1, 4, 16].into_iter().any(&mut attempt), "the machine stands still for seconds");
}

/// Limits whose deadlines a test can wait for.
pub(crate) fn quick(limits: Limits) -> Limits {
    Limits { linger_ms: 200, ..limits }
}
