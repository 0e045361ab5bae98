//! The end of a runtime under what runs on it: an error where the future lives on, on a thread of its
//! own, and otherwise a future that is dropped. async-io has no end but the process's; there futures
//! are dropped, see `cancel`.

use crate::scene::{PATIENCE, connect, pair, within};
use drywire_core::{CloseReport, Connection, Context, Protocol, Stop};
use drywire_driver_tokio::{Config, Driver, Handle, Net, Server, Tokio, Worker, drive};
use drywire_protocols::LineEcho;
use drywire_server::{Address, Application, Id, Listen, Quiet, Receipt, SendError};
use drywire_unix::futures::Reactor;
use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{self, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

type End = fn(Runtime);

/// What a runtime's end may look like.
const ENDS: [(&str, End); 3] = [
    ("dropped", drop),
    ("shut down in the background", Runtime::shutdown_background),
    ("shut down within a time", |runtime| runtime.shutdown_timeout(PATIENCE)),
];

/// Each kind of runtime, and each end of it.
fn runtimes() -> impl Iterator<Item = (String, Runtime, End)> {
    ENDS.into_iter().flat_map(|(how, end)| {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let thread = Builder::new_current_thread().enable_all().build().unwrap();
        [(format!("threads, {how}"), threads, end), (format!("one thread, {how}"), thread, end)]
    })
}

/// A runtime that a thread of its own keeps, and ends when it is told to.
struct Kept(Arc<AtomicBool>);

impl Kept {
    fn new(runtime: Runtime, end: End) -> Kept {
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = ends.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                while !is_over.load(Ordering::Acquire) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            end(runtime);
        });
        Kept(ends)
    }

    fn end(self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Lets everybody in, and tells who has come and gone.
struct Tells<C> {
    opened: Sender<Handle<C>>,
    closed: Sender<Id>,
}

impl<P: Protocol + Default> Application<Net, P> for Tells<P::Command> {
    fn accept(&mut self, _: &mut Worker<P>, _: Id, _: &Address) -> Option<Connection<P>> {
        Some(Connection::new(P::default()))
    }

    fn opened(&mut self, worker: &mut Worker<P>, id: Id) {
        self.opened.send(worker.handle(id).expect("it is open")).expect("the test waits");
    }

    fn closed(&mut self, _: &mut Worker<P>, id: Id, _: CloseReport<P::Error>) {
        self.closed.send(id).expect("the test waits");
    }
}

/// How many were told, once there is nobody left to tell more.
#[track_caller]
fn count<T>(told: &Receiver<T>) -> usize {
    let mut n = 0;
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok(_) => n += 1,
            Err(RecvTimeoutError::Disconnected) => return n,
            Err(RecvTimeoutError::Timeout) => panic!("the application outlives its runtime"),
        }
    }
}

#[track_caller]
fn assert_says_so<T>(case: &str, ended: io::Result<T>) {
    let error = ended.map(drop).expect_err(case).to_string();
    assert!(error.contains("the runtime has shut down"), "{case}: {error}");
}

/// A server of two workers that runs on this runtime, in a task or on a thread of its own.
struct Served<C> {
    address: SocketAddr,
    opened: Receiver<Handle<C>>,
    closed: Receiver<Id>,
}

type Ended = Receiver<io::Result<()>>;

/// The future, which is somebody else's to run, and how it ends.
fn serve<P>(tick: Option<Duration>) -> (impl Future<Output = ()> + Send + 'static, Receiver<Served<P::Command>>, Ended)
where
    P: Protocol<Event: Send, Command: Send, Error: Display + Send> + Default + Send + 'static,
{
    let ((tell, told), (ended, has_ended)) = (channel(), channel());
    let served = async move {
        let ((tell_opened, opened), (tell_closed, closed)) = (channel(), channel());
        let config = Config { tick, ..Config::default() };
        let config = config.listen("127.0.0.1:0".parse::<Listen>().unwrap()).workers(2);
        let server: Server<P> = Server::bind(config).unwrap();
        let Address::Tcp(address) = server.addresses()[0] else { panic!("it is TCP") };
        tell.send(Served { address, opened, closed }).expect("the test waits");
        let tells = |_| Tells { opened: tell_opened.clone(), closed: tell_closed.clone() };
        let _ = ended.send(server.run(tells).await.map(drop));
    };
    (served, told, has_ended)
}

#[track_caller]
fn greet(address: SocketAddr) -> TcpStream {
    let mut peer = connect(address);
    peer.write_all(b"hello\n").unwrap();
    peer.read_exact(&mut [0; 6]).unwrap();
    peer
}

/// With a tick there is a timer, and tokio's panic when it is polled behind the end.
#[test]
fn runtime_that_ends_under_a_server_is_its_error_and_each_connection_is_reported_once() {
    for tick in [None, Some(Duration::from_millis(1))] {
        for (case, runtime, end) in runtimes() {
            let (server, served, ended) = serve::<LineEcho>(tick);
            let (on, kept) = (runtime.handle().clone(), Kept::new(runtime, end));
            thread::spawn(move || on.block_on(server));
            let served = served.recv_timeout(PATIENCE).expect(&case);
            let mut peers: Vec<_> = (0..4).map(|_| greet(served.address)).collect();
            kept.end();
            assert_says_so(&case, ended.recv_timeout(PATIENCE).expect(&case));
            assert_eq!((count(&served.opened), count(&served.closed)), (4, 4), "{case}");
            for peer in &mut peers {
                assert_eq!(peer.read(&mut [0]).expect("a clean end"), 0, "{case}");
            }
        }
    }
}

/// The future is dropped at its await.
#[test]
fn runtime_that_ends_under_its_own_task_closes_and_reports_each_connection_once() {
    for (case, runtime, end) in runtimes() {
        let (server, served, ended) = serve::<LineEcho>(None);
        runtime.spawn(server);
        let kept = Kept::new(runtime, end);
        let served = served.recv_timeout(PATIENCE).expect(&case);
        let mut peers: Vec<_> = (0..4).map(|_| greet(served.address)).collect();
        kept.end();
        assert_eq!((count(&served.opened), count(&served.closed)), (4, 4), "{case}");
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0]).expect("a clean end"), 0, "{case}");
        }
        // A worker that saw the end first says so.
        if let Ok(ended) = ended.try_recv() {
            assert_says_so(&case, ended);
        }
    }
}

/// Takes everything, says nothing.
#[derive(Debug, Default)]
struct Sink;

impl Protocol for Sink {
    type Event = Infallible;
    type Command = ();
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }

    fn command(&mut self, (): &(), _: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        Ok(())
    }
}

/// Completes every receipt, until the connection takes no more.
fn send_until_it_is_over(handle: &Handle<()>) {
    let mut receipts = Vec::new();
    loop {
        match handle.send_tracked(()) {
            Ok(receipt) => receipts.push(receipt),
            Err(SendError::Full(()) | SendError::TooLarge(())) => thread::yield_now(),
            Err(SendError::Closed(())) => break,
        }
        if receipts.len() == 1000 {
            complete(&mut receipts);
        }
    }
    complete(&mut receipts);
}

fn complete(receipts: &mut Vec<Receipt>) {
    assert!(receipts.drain(..).all(|receipt| receipt.wait(PATIENCE).is_some()), "each is completed");
}

#[test]
fn runtime_that_ends_completes_every_receipt_and_closes_every_handle() {
    for (case, runtime, end) in runtimes() {
        let (server, served, ended) = serve::<Sink>(None);
        let (on, kept) = (runtime.handle().clone(), Kept::new(runtime, end));
        thread::spawn(move || on.block_on(server));
        let served = served.recv_timeout(PATIENCE).expect(&case);
        let _peer = connect(served.address);
        let handle = served.opened.recv_timeout(PATIENCE).expect(&case);
        thread::scope(|scope| {
            let senders = [(); 2].map(|()| scope.spawn(|| send_until_it_is_over(&handle)));
            let receipt = loop {
                // The others may have taken all there is.
                if let Ok(receipt) = handle.send_tracked(()) {
                    break receipt;
                }
            };
            receipt.wait(PATIENCE).expect("it is served");
            kept.end();
            assert_says_so(&case, ended.recv_timeout(PATIENCE).expect(&case));
            for sender in senders {
                sender.join().expect(&case);
            }
        });
        assert_eq!(count(&served.closed), 1, "{case}");
        assert!(!handle.is_open(), "{case}");
    }
}

/// What is returned otherwise is reported then.
#[test]
fn runtime_that_ends_under_one_connection_is_its_error() {
    for (case, runtime, end) in runtimes() {
        let ((opened, _), (closed, has_closed)) = (channel(), channel());
        let ((mut peer, ours), (ended, has_ended)) = (pair(), channel());
        let (on, kept) = (runtime.handle().clone(), Kept::new(runtime, end));
        thread::spawn(move || {
            let mut tells = Tells { opened, closed };
            let ended_with = on.block_on(drive(ours, Connection::new(LineEcho), Config::default(), &mut tells));
            ended.send(ended_with).expect("the test waits");
        });
        peer.write_all(b"hello\n").unwrap();
        peer.read_exact(&mut [0; 6]).unwrap();
        kept.end();
        assert_says_so(&case, has_ended.recv_timeout(PATIENCE).expect(&case));
        assert_eq!(count(&has_closed), 1, "{case}");
        assert_eq!(peer.read(&mut [0]).expect("a clean end"), 0, "{case}");
    }
}

/// No descriptor tells of the end.
#[test]
fn runtime_that_ends_under_nothing_but_a_timer_is_an_error() {
    for (case, runtime, end) in runtimes() {
        let (ended, has_ended) = channel();
        let (on, kept) = (runtime.handle().clone(), Kept::new(runtime, end));
        thread::spawn(move || {
            ended.send(on.block_on(async {
                let mut driver: Driver<LineEcho> = Driver::new(Config::default())?;
                driver.set_timer("never", Duration::from_secs(3600));
                driver.run(&mut Quiet).await
            }))
        });
        kept.end();
        assert_says_so(&case, has_ended.recv_timeout(PATIENCE).expect(&case));
    }
}

/// It panics in tokio, so there is no moment at which it is.
#[test]
fn timer_that_is_polled_behind_the_end_is_ready() {
    for (case, runtime, end) in runtimes() {
        let (ended, has_ended) = channel();
        let mut reactor = runtime.block_on(async { Tokio::current() }).unwrap();
        reactor.on_end(move || ended.send(()).expect("the test waits"));
        let later = reactor.now() + Duration::from_secs(3600);
        let mut cx = task::Context::from_waker(Waker::noop());
        assert!(reactor.poll_timer(later, &mut cx).is_pending(), "{case}");
        end(runtime);
        has_ended.recv_timeout(PATIENCE).expect(&case);
        assert!(reactor.poll_timer(later, &mut cx).is_ready(), "{case}");
    }
}

#[test]
fn driver_on_a_runtime_that_has_ended_is_an_error_and_no_panic() {
    for (case, runtime, end) in runtimes() {
        let on = runtime.handle().clone();
        end(runtime);
        let _inside = on.enter();
        let mut driver: Driver<LineEcho> = Driver::new(Config::default()).unwrap();
        // In the background it may still be about to end.
        let _ = driver.listen(&"127.0.0.1:0".parse().unwrap());
        driver.set_timer("never", Duration::from_secs(3600));
        assert_says_so(&case, async_io::block_on(within(PATIENCE, driver.run(&mut Quiet))).expect(&case));
    }
}

#[test]
#[should_panic(expected = "enable_time")]
fn runtime_that_cannot_wait_panics_when_a_driver_is_made() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async { drop(Driver::<LineEcho>::new(Config::default())) });
}

#[test]
#[should_panic(expected = "enable_io")]
fn runtime_without_io_panics_when_something_is_registered() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut driver: Driver<LineEcho> = Driver::new(Config::default()).unwrap();
        drop(driver.listen(&"127.0.0.1:0".parse().unwrap()));
    });
}

/// A driver that is dropped leaves no task behind.
#[test]
fn task_that_watches_a_runtime_goes_with_its_driver() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver: Driver<LineEcho> = Driver::new(Config::default()).unwrap();
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1);
        drop(driver);
        tokio::task::yield_now().await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    });
}
