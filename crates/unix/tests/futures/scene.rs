//! The application under test, and its peers.

use drywire_core::{CloseReport, Connection, Protocol};
use drywire_server::{Address, Application, Config, Id, Net, SourceEvent, Worker};
use drywire_unix::futures::{Driver, Reactor};
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lets everybody in, and keeps what it is told.
pub(crate) struct Recorder<P: Protocol> {
    make: fn() -> Connection<P>,
    pub(crate) opened: Vec<Id>,
    pub(crate) closed: Vec<(Id, CloseReport<P::Error>)>,
    pub(crate) sources: Vec<(Id, SourceEvent)>,
}

impl<P: Protocol> Recorder<P> {
    pub(crate) fn new(make: fn() -> Connection<P>) -> Recorder<P> {
        Recorder { make, opened: Vec::new(), closed: Vec::new(), sources: Vec::new() }
    }
}

impl<N: Net, P: Protocol> Application<N, P> for Recorder<P> {
    fn accept(&mut self, _: &mut Worker<P, (), N>, _: Id, _: &Address) -> Option<Connection<P>> {
        Some((self.make)())
    }

    fn opened(&mut self, _: &mut Worker<P, (), N>, id: Id) {
        self.opened.push(id);
    }

    fn closed(&mut self, _: &mut Worker<P, (), N>, id: Id, report: CloseReport<P::Error>) {
        assert!(self.closed.iter().all(|(other, _)| *other != id), "I4: {id} has closed twice");
        self.closed.push((id, report));
    }

    fn source(&mut self, _: &mut Worker<P, (), N>, id: Id, event: SourceEvent) {
        self.sources.push((id, event));
    }
}

/// Rounds until `done`.
pub(crate) async fn pump<P, R>(
    driver: &mut Driver<P, (), R>,
    recorder: &mut Recorder<P>,
    what: &str,
    mut done: impl FnMut(&mut Driver<P, (), R>, &Recorder<P>) -> bool,
) where
    P: Protocol<Error: fmt::Display>,
    R: Reactor,
{
    let rounds = async {
        while !done(driver, recorder) {
            driver.wait().await.unwrap();
            driver.dispatch(recorder);
        }
    };
    assert!(within(PATIENCE, rounds).await.is_some(), "waited {PATIENCE:?} for: {what}");
}

/// Rounds for this long, however many that are; says how many.
pub(crate) async fn pump_for<P, R>(driver: &mut Driver<P, (), R>, recorder: &mut Recorder<P>, time: Duration) -> usize
where
    P: Protocol<Error: fmt::Display>,
    R: Reactor,
{
    let mut rounds = 0;
    let forever = async {
        loop {
            driver.wait().await.unwrap();
            driver.dispatch(recorder);
            rounds += 1;
        }
    };
    let ended: Option<()> = within(time, forever).await;
    assert!(ended.is_none());
    rounds
}

/// The future's output, if it comes in time; the future is dropped otherwise. The
/// clock is async-io's own thread, so this works on any runtime.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut timer) = (pin!(future), pin!(async_io::Timer::after(time)));
    poll_fn(|cx| match (future.as_mut().poll(cx), timer.as_mut().poll(cx)) {
        (Poll::Ready(output), _) => Poll::Ready(Some(output)),
        (Poll::Pending, Poll::Ready(_)) => Poll::Ready(None),
        (Poll::Pending, Poll::Pending) => Poll::Pending,
    })
    .await
}

/// Polls the future until `done`, and drops it then. It does not end before.
pub(crate) async fn until<F: Future>(what: &str, mut done: impl FnMut() -> bool, future: F) {
    let mut future = pin!(future);
    let polled = async {
        while !done() {
            assert!(within(Duration::from_millis(5), future.as_mut()).await.is_none(), "it ended before: {what}");
        }
    };
    assert!(within(PATIENCE, polled).await.is_some(), "waited {PATIENCE:?} for: {what}");
}

/// The future's output, if it needs no more than `polls`; the future is dropped
/// otherwise.
pub(crate) async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A driver that listens on a free port of this machine.
pub(crate) fn listening<P: Protocol, R: Reactor>(config: Config) -> (Driver<P, (), R>, SocketAddr) {
    let mut driver = Driver::new(config).unwrap();
    let listener = driver.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Some(Address::Tcp(address)) = driver.local_address(listener) else { panic!("a TCP listener") };
    (driver, address)
}

/// Two ends of a TCP connection. The first never waits for ever.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = connect(listener.local_addr().unwrap());
    (peer, listener.accept().unwrap().0)
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    peer
}
