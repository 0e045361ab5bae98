//! A million commands from eight threads to two thousand connections of four workers,
//! while connections are closed and aborted, and peers leave (rows W1, W2, FAULTS 63, 65, 66): each is
//! completed exactly once, and what was written arrives.

use drywire_core::{CloseReport, Connection, Context, Protocol, Stop};
use drywire_driver_mio::Mio;
use drywire_server::{
    Address, Application, Config, Handle, Id, Net, Outcome, Receipt, SendError, ServerHandle, Standing, Worker,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const WORKERS: usize = 4;
const SENDERS: usize = 8;
const CONNECTIONS: usize = 2_000;
const SENDS: usize = 1_000_000;

/// Every so many sends, a sender ends a connection: half of them in all.
const SENDS_PER_END: usize = 2 * SENDS / CONNECTIONS;
/// Every so many are tracked by a receipt.
const SENDS_PER_RECEIPT: usize = 61;
const PATIENCE: Duration = Duration::from_secs(60);

/// Some peers leave in the middle, without a word.
fn leaves(number: usize) -> bool {
    number % 10 == 3
}

/// When they have read this many bytes.
const LEAVES_AFTER: usize = 800;

/// Ends of all commands: handled, or dropped unhandled.
#[derive(Debug, Default)]
struct Ends {
    handled: AtomicU64,
    dropped: AtomicU64,
}

/// Says how it ended.
#[derive(Debug)]
struct Command {
    ends: Arc<Ends>,
    /// Its sender, and its number there.
    name: [u8; 8],
    handled: AtomicBool,
}

impl Command {
    fn new(ends: &Arc<Ends>, sender: usize, n: usize) -> Command {
        let name = (((sender as u64) << 32) | n as u64).to_be_bytes();
        Command { ends: ends.clone(), name, handled: AtomicBool::new(false) }
    }

    /// It came back, so it is nobody's loss.
    fn refused(self) {
        self.handled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if !*self.handled.get_mut() {
            self.ends.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes the names of its commands.
#[derive(Debug, Default)]
struct Names {
    /// Commands it has handled, for whoever compares.
    handled: Arc<AtomicU64>,
}

impl Protocol for Names {
    type Event = Infallible;
    type Command = Command;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }

    fn command(&mut self, command: &Command, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(&command.name)?;
        assert!(!command.handled.swap(true, Ordering::Relaxed), "handled twice");
        command.ends.handled.fetch_add(1, Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Lets everybody in, and tells of them.
struct Host {
    tell: Sender<News>,
    address: SocketAddr,
    /// Of the connection that is accepted and not yet opened.
    handled: Option<Arc<AtomicU64>>,
}

/// What a worker tells the test.
enum News {
    Listens(SocketAddr, ServerHandle<Command>),
    Connected(SocketAddr, Handle<Command>, Arc<AtomicU64>),
}

impl Host {
    fn begin<N: Net<Bound: From<TcpListener>>>(worker: &mut Worker<Names, (), N>, tell: &Sender<News>) -> Host {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        let address = socket.local_addr().expect("it is bound");
        worker.listen_on(socket).expect("the poller takes it");
        tell.send(News::Listens(address, worker.server_handle())).expect("the test waits");
        Host { tell: tell.clone(), address, handled: None }
    }
}

impl<N: Net> Application<N, Names> for Host {
    fn accept(&mut self, _: &mut Worker<Names, (), N>, _: Id, _: &Address) -> Option<Connection<Names>> {
        let names = Names::default();
        self.handled = Some(names.handled.clone());
        Some(Connection::new(names))
    }

    fn opened(&mut self, worker: &mut Worker<Names, (), N>, id: Id) {
        let handle = worker.handle(id).expect("it is open");
        let handled = self.handled.take().expect("it was accepted");
        self.tell.send(News::Connected(self.address, handle, handled)).expect("the test waits");
    }

    fn closed(&mut self, worker: &mut Worker<Names, (), N>, id: Id, _: CloseReport<Infallible>) {
        assert!(worker.handle(id).is_none(), "it is gone");
    }
}

fn config() -> Config {
    Config { command_bytes_per_connection: 64 * 1024, ..Config::default() }
}

/// Runs four workers until they are shut down; the threads to join.
type Start = fn(&Sender<News>) -> Vec<JoinHandle<()>>;

fn mio(tell: &Sender<News>) -> Vec<JoinHandle<()>> {
    let start = |_| {
        let tell = tell.clone();
        thread::spawn(move || {
            let mut driver: drywire_driver_mio::Driver<Names> =
                drywire_driver_mio::Driver::new(config()).expect("a poller");
            let mut host = Host::begin::<Mio>(&mut driver, &tell);
            driver.run(&mut host).expect("it waits");
        })
    };
    (0..WORKERS).map(start).collect()
}

fn tokio(tell: &Sender<News>) -> Vec<JoinHandle<()>> {
    let tell = tell.clone();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let start = |_| {
            let tell = tell.clone();
            runtime.spawn(async move {
                let mut driver: drywire_driver_tokio::Driver<Names> =
                    drywire_driver_tokio::Driver::new(config()).expect("a runtime");
                let mut host = Host::begin(&mut driver, &tell);
                driver.run(&mut host).await.expect("the runtime lives on");
            })
        };
        let tasks: Vec<_> = (0..WORKERS).map(start).collect();
        for task in tasks {
            runtime.block_on(task).expect("no worker panics");
        }
    };
    vec![thread::spawn(run)]
}

fn smol(tell: &Sender<News>) -> Vec<JoinHandle<()>> {
    let start = |_| {
        let tell = tell.clone();
        thread::spawn(move || {
            async_io::block_on(async {
                let mut driver: drywire_driver_smol::Driver<Names> =
                    drywire_driver_smol::Driver::new(config()).expect("a reactor");
                let mut host = Host::begin(&mut driver, &tell);
                driver.run(&mut host).await.expect("the runtime lives on");
            });
        })
    };
    (0..WORKERS).map(start).collect()
}

/// A connection as the senders see it.
struct Target {
    handle: Handle<Command>,
    aborted: AtomicBool,
    /// Commands its protocol has handled.
    handled: Arc<AtomicU64>,
}

/// What one sender has done.
struct Account {
    accepted: u64,
    full: u64,
    closed: u64,
    /// Where each went, and its name.
    receipts: Vec<(usize, [u8; 8], Receipt)>,
}

fn send(sender: usize, targets: &[Target], ends: &Arc<Ends>) -> Account {
    let mut account = Account { accepted: 0, full: 0, closed: 0, receipts: Vec::new() };
    let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(sender as u64 + 1);
    for n in 0..SENDS / SENDERS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let to = usize::try_from(random >> 16).unwrap_or(0) % CONNECTIONS;
        let target = &targets[to];
        if n % SENDS_PER_END == SENDS_PER_END - 1 {
            if random.is_multiple_of(2) {
                target.aborted.store(true, Ordering::Relaxed);
                target.handle.abort();
            } else {
                target.handle.close();
            }
        }
        loop {
            let command = Command::new(ends, sender, n);
            let sent = if n % SENDS_PER_RECEIPT == 0 {
                let name = command.name;
                target.handle.send_tracked(command).map(|receipt| account.receipts.push((to, name, receipt)))
            } else {
                target.handle.send(command)
            };
            match sent {
                Ok(()) => account.accepted += 1,
                Err(SendError::Closed(command)) => {
                    command.refused();
                    account.closed += 1;
                }
                Err(SendError::TooLarge(_)) => panic!("it is small"),
                Err(SendError::Full(command)) => {
                    command.refused();
                    account.full += 1;
                    thread::yield_now();
                    continue;
                }
            }
            break;
        }
    }
    account
}

/// Reads peers to their ends; what each got.
fn read(mut peers: Vec<(usize, TcpStream)>) -> Vec<(usize, Vec<u8>)> {
    let mut got: HashMap<usize, Vec<u8>> = peers.iter().map(|(number, _)| (*number, Vec::new())).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !peers.is_empty() {
        let mut fds: Vec<_> = peers.iter().map(|(_, stream)| PollFd::new(stream, PollFlags::IN)).collect();
        poll(&mut fds, None).expect("it waits");
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        peers.retain_mut(|(number, stream)| {
            if !ready.next().expect("one each") {
                return true;
            }
            match stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(n) => {
                    let got = got.get_mut(number).expect("it is one of them");
                    got.extend_from_slice(&buffer[..n]);
                    !leaves(*number) || got.len() < LEAVES_AFTER
                }
                Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        });
    }
    got.into_iter().collect()
}

/// Connects, and finds out who is who by the addresses of both ends; handles tell the peer's.
fn connect(addresses: &[SocketAddr], news: &Receiver<News>) -> (Vec<Target>, Vec<(usize, TcpStream)>) {
    let mut by_address = HashMap::new();
    let (mut targets, mut peers) = (Vec::new(), Vec::new());
    for n in 0..CONNECTIONS {
        let address = addresses[n % WORKERS];
        let peer = TcpStream::connect(address).expect("it listens");
        peer.set_nonblocking(true).expect("a socket");
        by_address.insert((address, peer.local_addr().expect("connected")), peer);
    }
    for number in 0..CONNECTIONS {
        let Ok(News::Connected(listener, handle, handled)) = news.recv_timeout(PATIENCE) else {
            panic!("it is let in")
        };
        let seen = handle.inspect();
        let Some(Address::Tcp(address)) = seen.peer else { panic!("{seen:?}") };
        peers.push((number, by_address.remove(&(listener, address)).expect("it is one of ours")));
        handle.set_tag(number as u64);
        targets.push(Target { handle, aborted: AtomicBool::new(false), handled });
    }
    (targets, peers)
}

/// One at a time: each takes four thousand descriptors and all there is of processors.
static STAGE: Mutex<()> = Mutex::new(());

#[expect(clippy::print_stdout, reason = "how it went is worth a line")]
fn a_million_sends(start: Start) {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let (tell, news) = channel();
    let workers = start(&tell);
    let (addresses, servers): (Vec<_>, Vec<_>) = (0..WORKERS)
        .map(|_| match news.recv_timeout(PATIENCE) {
            Ok(News::Listens(address, server)) => (address, server),
            Ok(News::Connected(..)) | Err(_) => panic!("it listens first"),
        })
        .unzip();
    let (targets, mut peers) = connect(&addresses, &news);
    let half = peers.split_off(CONNECTIONS / 2);
    let readers = [peers, half].map(|peers| thread::spawn(move || read(peers)));

    let (ends, targets) = (Arc::new(Ends::default()), Arc::new(targets));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (targets, ends) = (targets.clone(), ends.clone());
            thread::spawn(move || send(sender, &targets, &ends))
        })
        .collect();
    let accounts: Vec<Account> = senders.into_iter().map(|sender| sender.join().expect("it only sends")).collect();
    targets.iter().for_each(|target| target.handle.close());

    let (mut written, mut lost) = (Vec::new(), 0);
    for (to, name, receipt) in accounts.iter().flat_map(|account| &account.receipts) {
        match receipt.wait(PATIENCE).expect("it is completed") {
            Outcome::Written => written.push((*to, *name)),
            Outcome::Dropped(_) => lost += 1,
        }
    }
    let got: HashMap<usize, Vec<u8>> =
        readers.into_iter().flat_map(|reader| reader.join().expect("it reads")).collect();
    servers.iter().for_each(ServerHandle::shutdown);
    workers.into_iter().for_each(|worker| worker.join().expect("no worker panics"));

    // All of them: none lost, none twice.
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
    let (accepted, full, closed) = (sum(|a| a.accepted), sum(|a| a.full), sum(|a| a.closed));
    let (seen, dropped) = (ends.handled.load(Ordering::Relaxed), ends.dropped.load(Ordering::Relaxed));
    assert_eq!(accepted + closed, SENDS as u64);
    assert_eq!(accepted, seen + dropped, "each accepted command is handled or dropped");
    assert!(closed > 0 && dropped > 0, "the ends raced with nothing");

    // What the protocol wrote is what arrived, but for who was cut off.
    for (number, target) in targets.iter().enumerate() {
        let (names, count) = (&got[&number], target.handled.load(Ordering::Relaxed));
        let arrived = names.len() as u64 / 8;
        let cut = target.aborted.load(Ordering::Relaxed) || leaves(number);
        assert!(arrived == count || (cut && arrived < count), "connection {number}: {arrived} of {count} arrived");
        in_order(names);
        let left = target.handle.inspect();
        assert_eq!((left.standing, left.waiting_commands, left.tag), (Standing::Closed, 0, number as u64));
    }
    for (to, name) in &written {
        let is_there = got[to].chunks_exact(8).any(|other| other == name);
        let cut = leaves(*to) || targets[*to].aborted.load(Ordering::Relaxed);
        assert!(is_there || cut, "written, and did not arrive");
    }
    assert!(servers.iter().all(|server| server.inspect().commands == 0 && server.inspect().command_bytes == 0));
    println!(
        "{SENDS} sends in {:.1} s: {seen} handled, {dropped} dropped, {closed} refused as closed, {full} times full; \
         {} receipts: {} written, {lost} dropped",
        began.elapsed().as_secs_f64(),
        written.len() + lost,
        written.len()
    );
}

/// Of each sender they come in the order sent, none twice.
#[track_caller]
fn in_order(names: &[u8]) {
    let mut last = [None; SENDERS];
    for name in names.chunks_exact(8) {
        let name = u64::from_be_bytes(name.try_into().expect("eight bytes"));
        let last = &mut last[usize::try_from(name >> 32).expect("a sender")];
        let n = name & u64::from(u32::MAX);
        assert!(*last < Some(n), "{n} after {last:?}");
        *last = Some(n);
    }
}

#[test]
fn fault_65_66_w2_million_sends_that_race_with_closes_each_end_once_on_mio() {
    a_million_sends(mio);
}

#[test]
fn fault_65_66_w2_million_sends_that_race_with_closes_each_end_once_on_tokio() {
    a_million_sends(tokio);
}

#[test]
fn fault_65_66_w2_million_sends_that_race_with_closes_each_end_once_on_smol() {
    a_million_sends(smol);
}
