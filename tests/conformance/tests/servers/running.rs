//! A server of several workers on each driver, and what its applications see.

use drywire_core::{CloseReport, Connection};
use drywire_protocols::LineEcho;
use drywire_server::{Address, Application, Config, Id, Listen, Net, Notice, Worker, Workers};
use drywire_unix::Listener;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const WORKERS: usize = 4;

/// What the workers' applications have seen, worker by worker.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) opened: [AtomicUsize; WORKERS],
    pub(crate) closed: [AtomicUsize; WORKERS],
    woken: [AtomicUsize; WORKERS],
    /// The thread of each, where each has one of its own.
    thread: [AtomicI32; WORKERS],
}

pub(crate) fn counts(of: &[AtomicUsize; WORKERS]) -> [usize; WORKERS] {
    of.each_ref().map(|n| n.load(Relaxed))
}

pub(crate) fn sum(of: &[AtomicUsize; WORKERS]) -> usize {
    counts(of).iter().sum()
}

/// What is to happen when a worker's connection opens.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Serve,
    Panic,
    EndThisWorker,
}

pub(crate) struct Counting {
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

    fn notice(&mut self, worker: &mut Worker<LineEcho, (), N>, notice: Notice<'_>) {
        if let Notice::ConnectAsked { target } = notice {
            worker.connect(target.clone(), Connection::new(LineEcho)).unwrap();
        }
    }

    fn closed(&mut self, _: &mut Worker<LineEcho, (), N>, _: Id, _: CloseReport<Infallible>) {
        self.seen.closed[self.worker].fetch_add(1, Relaxed);
    }
}

/// How a server is run on one driver, to its end.
pub(crate) trait Runs {
    fn run(config: Config, tell: impl FnOnce(Vec<Address>, Workers<Command>), make: impl Fn(usize) -> Counting);

    /// By hand, with these sockets: each time a worker has waited, that is counted.
    fn count(listeners: Vec<Vec<Listener>>, seen: &Arc<Seen>, tell: impl FnOnce(Workers<Command>));

    /// How often each was woken so far.
    fn woken(seen: &Seen) -> [usize; WORKERS] {
        counts(&seen.woken)
    }

    /// What was woken is counted: not while a thread that was woken waits for a processor.
    fn is_counted(_: &Seen) -> bool {
        true
    }
}

pub(crate) type Command = Infallible;

pub(crate) struct Mio;

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

    /// It counts when the thread sleeps again.
    fn is_counted(seen: &Seen) -> bool {
        seen.thread.iter().all(|thread| {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", thread.load(Relaxed)));
            stat.unwrap_or_default().rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
        })
    }
}

pub(crate) fn counting(worker: usize, seen: &Arc<Seen>) -> Counting {
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
                $driver.wait().await.unwrap();
                $seen.woken[$n].fetch_add(1, Relaxed);
                $driver.dispatch(&mut application);
            }
        }
    };
}

pub(crate) fn tokio_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap()
}

pub(crate) struct Tokio;

impl Runs for Tokio {
    fn run(config: Config, tell: impl FnOnce(Vec<Address>, Workers<Command>), make: impl Fn(usize) -> Counting) {
        tokio_threads().block_on(async {
            let server = drywire_driver_tokio::Server::bind(config).unwrap();
            tell(server.addresses(), server.workers());
            let workers = server.into_workers().into_iter().enumerate();
            let tasks: Vec<_> = workers.map(|(n, worker)| tokio::spawn(worker.run(make(n)))).collect();
            for task in tasks {
                task.await.unwrap_or_else(|ended| resume_unwind(ended.into_panic())).unwrap();
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

pub(crate) struct Smol;

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
            worker.unwrap_or_else(|panic| resume_unwind(panic)).unwrap();
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
pub(crate) struct Started {
    pub(crate) addresses: Vec<Address>,
    pub(crate) workers: Workers<Command>,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) seen: Arc<Seen>,
}

impl Started {
    pub(crate) fn on<R: Runs>(listen: Listen) -> Started {
        Started::that::<R>(Config::new().listen(listen), (0, Then::Serve))
    }

    pub(crate) fn that<R: Runs>(config: Config, at: (usize, Then)) -> Started {
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
    pub(crate) fn connect(&self) -> TcpStream {
        let Address::Tcp(address) = self.addresses[0] else { panic!("{:?}", self.addresses) };
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut peer);
        peer
    }

    #[track_caller]
    pub(crate) fn ends(self) -> thread::Result<()> {
        until("the server ends", || self.thread.is_finished());
        self.thread.join()
    }
}

/// From now on it is known to be served.
#[track_caller]
pub(crate) fn greet(peer: &mut (impl Read + Write)) {
    peer.write_all(b"hello\n").unwrap();
    let mut echo = [0; 6];
    peer.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello\n");
}

#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn any_port() -> Listen {
    "127.0.0.1:0".parse().unwrap()
}
