//! Servers of several workers (W1, W9) on every driver: who gets which connection, who is woken for it,
//! and how they end together.

use drywire_core::{CloseReport, Connection};
use drywire_protocols::LineEcho;
use drywire_server::{
    Address, Application, Config, Id, Listen, Net, OnPanic, PortReuse, ServerHandle, Worker, Workers,
};
use drywire_unix::Listener;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const WORKERS: usize = 4;

/// What the workers' applications have seen, worker by worker.
#[derive(Default)]
struct Seen {
    opened: [AtomicUsize; WORKERS],
    closed: [AtomicUsize; WORKERS],
    woken: [AtomicUsize; WORKERS],
    /// The thread of each, where each has one of its own.
    thread: [AtomicI32; WORKERS],
}

fn counts(of: &[AtomicUsize; WORKERS]) -> [usize; WORKERS] {
    of.each_ref().map(|n| n.load(Relaxed))
}

fn sum(of: &[AtomicUsize; WORKERS]) -> usize {
    counts(of).iter().sum()
}

/// What is to happen when a worker's connection opens.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Serve,
    Panic,
    EndThisWorker,
}

struct Counting {
    worker: usize,
    seen: Arc<Seen>,
    /// At the connection with this number, counted over all workers.
    at: (usize, Then),
}

impl<N: Net> Application<N, LineEcho> for Counting {
    fn accept(&mut self, _: &mut Worker<LineEcho, (), N>, _: Id, _: &Address) -> Option<Connection<LineEcho>> {
        Some(Connection::new(LineEcho))
    }

    fn opened(&mut self, worker: &mut Worker<LineEcho, (), N>, _: Id) {
        self.seen.opened[self.worker].fetch_add(1, Relaxed);
        match self.at {
            (n, then) if sum(&self.seen.opened) == n => match then {
                Then::Serve => {}
                Then::Panic => panic!("on purpose"),
                Then::EndThisWorker => worker.shutdown(),
            },
            _ => {}
        }
    }

    fn closed(&mut self, _: &mut Worker<LineEcho, (), N>, _: Id, _: CloseReport<Infallible>) {
        self.seen.closed[self.worker].fetch_add(1, Relaxed);
    }
}

/// How a server is run on one driver, to its end.
trait Runs {
    fn run(config: Config, tell: impl FnOnce(Vec<Address>, Workers<Command>), make: impl Fn(usize) -> Counting);

    /// By hand, with these sockets: each time a worker has waited, that is counted.
    fn count(listeners: Vec<Vec<Listener>>, seen: &Arc<Seen>, tell: impl FnOnce(Workers<Command>));

    /// How often each was woken so far.
    fn woken(seen: &Seen) -> [usize; WORKERS] {
        counts(&seen.woken)
    }
}

type Command = Infallible;

struct Mio;

impl Runs for Mio {
    fn run(config: Config, tell: impl FnOnce(Vec<Address>, Workers<Command>), make: impl Fn(usize) -> Counting) {
        let server = drywire_driver_mio::Server::bind(config).unwrap();
        tell(server.addresses(), server.workers());
        assert_eq!(server.run(make).unwrap().len(), WORKERS);
    }

    fn count(listeners: Vec<Vec<Listener>>, seen: &Arc<Seen>, tell: impl FnOnce(Workers<Command>)) {
        let driver = |sockets: Vec<Listener>| {
            let mut driver = drywire_driver_mio::Driver::new(Config::default()).unwrap();
            for socket in sockets {
                driver.listen_on(socket).unwrap();
            }
            driver
        };
        let drivers: Vec<drywire_driver_mio::Driver<LineEcho>> = listeners.into_iter().map(driver).collect();
        tell(Workers::new(drivers.iter().map(|driver| driver.server_handle())));
        thread::scope(|scope| {
            for (n, mut driver) in drivers.into_iter().enumerate() {
                scope.spawn(move || {
                    seen.thread[n].store(rustix::thread::gettid().as_raw_nonzero().get(), Relaxed);
                    driver.run(&mut counting(n, seen)).unwrap();
                });
            }
        });
    }

    /// The kernel's count: epoll_wait(2) does not come back when somebody else has been quicker.
    fn woken(seen: &Seen) -> [usize; WORKERS] {
        seen.thread.each_ref().map(|thread| {
            let status = format!("/proc/self/task/{}/status", thread.load(Relaxed));
            let status = std::fs::read_to_string(status).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.map_or(0, |n| n.trim().parse().unwrap())
        })
    }
}

fn counting(worker: usize, seen: &Arc<Seen>) -> Counting {
    Counting { worker, seen: seen.clone(), at: (0, Then::Serve) }
}

macro_rules! drivers_by_hand {
    ($driver:ident, $listeners:ident) => {{
        let driver = |sockets: Vec<Listener>| {
            let mut driver = $driver::Driver::new(Config::default()).unwrap();
            for socket in sockets {
                driver.listen_on(socket).unwrap();
            }
            driver
        };
        let drivers: Vec<$driver::Driver<LineEcho>> = $listeners.into_iter().map(driver).collect();
        drivers
    }};
}

macro_rules! count_by_hand {
    ($n:ident, $driver:ident, $seen:ident) => {
        async move {
            let mut application = counting($n, &$seen);
            while !$driver.is_done() {
                $driver.wait().await;
                $seen.woken[$n].fetch_add(1, Relaxed);
                $driver.dispatch(&mut application);
            }
        }
    };
}

fn tokio_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap()
}

struct Tokio;

impl Runs for Tokio {
    fn run(config: Config, tell: impl FnOnce(Vec<Address>, Workers<Command>), make: impl Fn(usize) -> Counting) {
        tokio_threads().block_on(async {
            let server = drywire_driver_tokio::Server::bind(config).unwrap();
            tell(server.addresses(), server.workers());
            let workers = server.into_workers().into_iter().enumerate();
            let tasks: Vec<_> = workers.map(|(n, worker)| tokio::spawn(worker.run(make(n)))).collect();
            for task in tasks {
                task.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic()));
            }
        });
    }

    fn count(listeners: Vec<Vec<Listener>>, seen: &Arc<Seen>, tell: impl FnOnce(Workers<Command>)) {
        tokio_threads().block_on(async {
            let drivers = drivers_by_hand!(drywire_driver_tokio, listeners);
            tell(Workers::new(drivers.iter().map(|driver| driver.server_handle())));
            let mut tasks = Vec::new();
            for (n, mut driver) in drivers.into_iter().enumerate() {
                let seen = seen.clone();
                tasks.push(tokio::spawn(count_by_hand!(n, driver, seen)));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

struct Smol;

impl Runs for Smol {
    fn run(config: Config, tell: impl FnOnce(Vec<Address>, Workers<Command>), make: impl Fn(usize) -> Counting) {
        let server = drywire_driver_smol::Server::bind(config).unwrap();
        tell(server.addresses(), server.workers());
        let workers = server.into_workers().into_iter().enumerate();
        let threads = workers.map(|(n, worker)| {
            let application = make(n);
            thread::spawn(move || async_io::block_on(worker.run(application)))
        });
        let threads: Vec<_> = threads.collect();
        let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        for worker in ended {
            worker.unwrap_or_else(|panic| resume_unwind(panic));
        }
    }

    fn count(listeners: Vec<Vec<Listener>>, seen: &Arc<Seen>, tell: impl FnOnce(Workers<Command>)) {
        let drivers = drivers_by_hand!(drywire_driver_smol, listeners);
        tell(Workers::new(drivers.iter().map(|driver| driver.server_handle())));
        thread::scope(|scope| {
            for (n, mut driver) in drivers.into_iter().enumerate() {
                let seen = seen.clone();
                scope.spawn(move || async_io::block_on(count_by_hand!(n, driver, seen)));
            }
        });
    }
}

/// A server that runs on a thread of its own.
struct Started {
    addresses: Vec<Address>,
    workers: Workers<Command>,
    thread: JoinHandle<()>,
    seen: Arc<Seen>,
}

impl Started {
    fn on<R: Runs>(listen: Listen) -> Started {
        Started::that::<R>(Config::new().listen(listen), (0, Then::Serve))
    }

    fn that<R: Runs>(config: Config, at: (usize, Then)) -> Started {
        let (tell, told) = mpsc::channel();
        let seen = Arc::new(Seen::default());
        let theirs = seen.clone();
        let thread = thread::spawn(move || {
            let tell = move |addresses, workers| tell.send((addresses, workers)).unwrap();
            R::run(config.workers(WORKERS), tell, move |worker| Counting { worker, seen: theirs.clone(), at });
        });
        let (addresses, workers) = told.recv().unwrap();
        Started { addresses, workers, thread, seen }
    }

    #[track_caller]
    fn connect(&self) -> TcpStream {
        let Address::Tcp(address) = self.addresses[0] else { panic!("{:?}", self.addresses) };
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut peer);
        peer
    }

    #[track_caller]
    fn ends(self) -> thread::Result<()> {
        until("the server ends", || self.thread.is_finished());
        self.thread.join()
    }
}

/// From now on it is known to be served.
#[track_caller]
fn greet(peer: &mut (impl Read + Write)) {
    peer.write_all(b"hello\n").unwrap();
    let mut echo = [0; 6];
    peer.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello\n");
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn any_port() -> Listen {
    "127.0.0.1:0".parse().unwrap()
}

fn w1_every_worker_gets_connections_at_one_port_and_all_are_drained<R: Runs>() {
    let server = Started::on::<R>(any_port());
    let peers: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    let opened = counts(&server.seen.opened);
    assert_eq!(opened.iter().sum::<usize>(), 64);
    assert!(opened.iter().all(|n| *n > 0), "{opened:?}");
    server.workers.shutdown();
    for mut peer in &peers {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end, and no reset");
    }
    drop(peers);
    let seen = server.seen.clone();
    server.ends().unwrap();
    assert_eq!(counts(&seen.closed), counts(&seen.opened));
}

fn w1_unix_socket_is_dealt_out_evenly<R: Runs>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Started::on::<R>(Listen::Unix { path: path.clone(), mode: None });
    let mut peers = Vec::new();
    for _ in 0..16 {
        let mut peer = UnixStream::connect(&path).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut peer);
        peers.push(peer);
    }
    assert_eq!(counts(&server.seen.opened), [4; WORKERS]);
    server.workers.shutdown();
    assert!(peers.iter_mut().all(|peer| peer.read(&mut [0]).unwrap() == 0));
    drop(peers);
    server.ends().unwrap();
    assert!(!path.exists());
}

fn w6_an_abort_is_for_all<R: Runs>() {
    let server = Started::on::<R>(any_port());
    let _peers: Vec<TcpStream> = (0..16).map(|_| server.connect()).collect();
    server.workers.abort();
    let seen = server.seen.clone();
    server.ends().unwrap();
    assert_eq!(sum(&seen.closed), 16);
}

fn w1_panic_of_one_worker_ends_the_others_gracefully_and_goes_on<R: Runs>() {
    let server = Started::that::<R>(Config::new().listen(any_port()).on_panic(OnPanic::Stop), (20, Then::Panic));
    let peers: Vec<TcpStream> = (0..19).map(|_| server.connect()).collect();
    let Address::Tcp(address) = server.addresses[0] else { panic!("it is TCP") };
    let last = TcpStream::connect(address).unwrap();
    let mut gracefully = 0;
    for mut peer in &peers {
        gracefully += usize::from(peer.read(&mut [0]).is_ok_and(|n| n == 0));
    }
    drop((peers, last));
    let seen = server.seen.clone();
    let panic = server.ends().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    let others = sum(&seen.closed);
    assert!(gracefully >= others && others > 0, "{gracefully} ends, {others} reports");
}

fn w1_end_of_one_worker_is_the_end_of_all<R: Runs>() {
    let server = Started::that::<R>(Config::new().listen(any_port()), (20, Then::EndThisWorker));
    let mut peers: Vec<TcpStream> = (0..19).map(|_| server.connect()).collect();
    let Address::Tcp(address) = server.addresses[0] else { panic!("it is TCP") };
    peers.push(TcpStream::connect(address).unwrap());
    thread::scope(|scope| {
        for mut peer in peers {
            // Each answers the end with its own at once.
            scope.spawn(move || assert_eq!(peer.read(&mut [0]).unwrap(), 0));
        }
    });
    let seen = server.seen.clone();
    server.ends().unwrap();
    assert_eq!(sum(&seen.closed), 20);
}

/// How many workers were woken for each connection that came and went, with these sockets.
fn woken<R: Runs>(listeners: Vec<Vec<Listener>>, address: Address) -> f64 {
    const CONNECTIONS: usize = 40;
    let Address::Tcp(address) = address else { panic!("{address}") };
    let seen = Arc::new(Seen::default());
    let theirs = seen.clone();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || R::count(listeners, &theirs, |workers| tell.send(workers).unwrap()));
    let workers: Workers<Command> = told.recv().unwrap();
    let mut woken = 0;
    for n in 1..=CONNECTIONS {
        // Whoever was woken about the one before is back by now.
        thread::sleep(Duration::from_millis(10));
        let before = R::woken(&seen);
        drop(TcpStream::connect(address).unwrap());
        until("it has come and gone", || sum(&seen.closed) == n);
        thread::sleep(Duration::from_millis(10));
        let after = R::woken(&seen);
        woken += before.iter().zip(after).filter(|(before, after)| *before != after).count();
    }
    workers.each().iter().for_each(ServerHandle::abort);
    until("the workers end", || thread.is_finished());
    thread.join().unwrap();
    woken as f64 / CONNECTIONS as f64
}

fn listeners(reuse: PortReuse) -> (Vec<Vec<Listener>>, Address) {
    let config = Config::new().listen(any_port()).workers(WORKERS).port_reuse(reuse);
    let listeners = Listener::for_workers(&config).unwrap();
    let first = &listeners[0][0];
    let address = first.acceptor.local_address(std::os::fd::AsFd::as_fd(&first.fd)).unwrap();
    (listeners, address)
}

fn fault_23_port_of_its_own_wakes_one_worker_for_a_connection<R: Runs>() {
    let (listeners, address) = listeners(PortReuse::On);
    let woken = woken::<R>(listeners, address);
    assert!(woken < 1.4, "{woken} workers for each connection");
}

fn fault_23_dealing_wakes_the_one_that_deals_and_the_one_it_is_for<R: Runs>() {
    let (listeners, address) = listeners(PortReuse::Off);
    let woken = woken::<R>(listeners, address);
    // Three in four are for others.
    assert!((1.6..2.2).contains(&woken), "{woken} workers for each connection");
}

/// What the two above would say of a socket that each worker polls.
fn control_fault_23_duplicates_of_a_socket_wake_others<R: Runs>() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(socket.local_addr().unwrap());
    let duplicates = (0..WORKERS).map(|_| vec![Listener::from(socket.try_clone().unwrap())]).collect();
    drop(socket);
    let woken = woken::<R>(duplicates, address);
    assert!(woken > 2.5, "{woken} workers for each connection");
}

macro_rules! on_every_driver {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[test]
            fn on_mio() {
                super::$test::<super::Mio>();
            }

            #[test]
            fn on_tokio() {
                super::$test::<super::Tokio>();
            }

            #[test]
            fn on_smol() {
                super::$test::<super::Smol>();
            }
        })*
    };
}

on_every_driver!(
    w1_every_worker_gets_connections_at_one_port_and_all_are_drained,
    w1_unix_socket_is_dealt_out_evenly,
    w6_an_abort_is_for_all,
    w1_panic_of_one_worker_ends_the_others_gracefully_and_goes_on,
    w1_end_of_one_worker_is_the_end_of_all,
    fault_23_port_of_its_own_wakes_one_worker_for_a_connection,
    fault_23_dealing_wakes_the_one_that_deals_and_the_one_it_is_for,
    control_fault_23_duplicates_of_a_socket_wake_others,
);

#[test]
fn w1_workers_of_one_task_serve_and_end_together() {
    fn config() -> Config {
        Config::new().listen("127.0.0.1:0".parse::<Listen>().unwrap()).workers(WORKERS)
    }
    fn visit(addresses: &[Address], workers: Workers<Command>) -> JoinHandle<()> {
        let Address::Tcp(address) = addresses[0] else { panic!("it is TCP") };
        thread::spawn(move || {
            for _ in 0..32 {
                greet(&mut TcpStream::connect(address).unwrap());
            }
            workers.shutdown();
        })
    }
    let seen = Arc::new(Seen::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let visitor = runtime.block_on(async {
        let server = drywire_driver_tokio::Server::bind(config()).unwrap();
        let visitor = visit(&server.addresses(), server.workers());
        server.run(|worker| counting(worker, &seen)).await;
        visitor
    });
    visitor.join().unwrap();
    let visitor = async_io::block_on(async {
        let server = drywire_driver_smol::Server::bind(config()).unwrap();
        let visitor = visit(&server.addresses(), server.workers());
        server.run(|worker| counting(worker, &seen)).await;
        visitor
    });
    visitor.join().unwrap();
    assert_eq!((sum(&seen.opened), sum(&seen.closed)), (64, 64));
}

#[test]
fn w1_worker_whose_future_is_dropped_ends_the_others() {
    let runtime = tokio_threads();
    runtime.block_on(async {
        let config = Config::new().listen(any_port()).workers(WORKERS);
        let server: drywire_driver_tokio::Server<LineEcho> = drywire_driver_tokio::Server::bind(config).unwrap();
        let seen = Arc::new(Seen::default());
        let mut workers = server.into_workers().into_iter();
        // One that nobody ever polls.
        drop(workers.next().unwrap().run(counting(0, &seen)));
        for worker in workers {
            let ended = tokio::spawn(worker.run(counting(1, &seen)));
            tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
        }
    });
}
