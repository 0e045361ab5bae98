//! What an idle connection costs: nine and a half thousand of them in one
//! process, each with a handle. The peers are another process.

use crate::child::{allow_descriptors, isolated, say};
use crate::harness::PATIENCE;
use drywire_core::{Connection, Limits, Protocol};
use drywire_driver_mio::{Address, Application, Config, Driver, Handle, Id, Mio, Worker};
use drywire_protocols::LineEcho;
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// On poll(2) each round costs all of them, so there are fewer.
const CONNECTIONS: usize = if cfg!(mio_unsupported_force_poll_poll) { 2_000 } else { 9_500 };
/// The server's own and the test's beside those of the connections.
const DESCRIPTORS: u64 = CONNECTIONS as u64 + 100;
/// On poll(2), mio itself keeps a row and a name for each descriptor.
const MOST_BYTES: usize = if cfg!(mio_unsupported_force_poll_poll) { 768 } else { 512 };

/// The address the other process is to connect to.
const PEERS_OF: &str = "DRYWIRE_IDLE_PEERS_OF";

/// Lets everybody in, and takes a handle on each.
struct Host {
    handles: Vec<Handle<<LineEcho as Protocol>::Command>>,
}

impl Application<Mio, LineEcho> for Host {
    fn accept(&mut self, _: &mut Worker<LineEcho>, _: Id, _: &Address) -> Option<Connection<LineEcho>> {
        // An idle deadline, as servers have one, costs an alarm.
        Some(Connection::new(LineEcho).with_limits(Limits { idle_ms: 600_000, ..Limits::DEFAULT }))
    }

    fn opened(&mut self, worker: &mut Worker<LineEcho>, id: Id) {
        self.handles.push(worker.handle(id).expect("it was opened just now"));
    }
}

/// The process with the peers, and nothing in any other: each says a line and hears it, then all are idle until
/// our input ends.
#[test]
fn peers() {
    let Some(address) = env::var_os(PEERS_OF) else { return };
    let address = address.into_string().expect("an address");
    assert!(allow_descriptors(DESCRIPTORS), "the server has as many");
    let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(&address).expect("it listens")).collect();
    for peer in &mut peers {
        peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
        peer.write_all(b"hello\n").expect("connected");
        peer.read_exact(&mut [0; 6]).expect("it is served");
    }
    say("idle");
    let _ = std::io::stdin().read(&mut [0]);
}

isolated!(i2_idle_connection_costs_little_with_its_handle_and_table_entry, {
    if !allow_descriptors(DESCRIPTORS) {
        say("note: skipped: 9,500 connections need 9,600 descriptors, and the hard limit is lower");
        assert!(env::var_os("DRYWIRE_NO_SKIP").is_none(), "nothing may be skipped here: raise the hard limit");
        return;
    }
    let config = Config { max_connections_per_address: CONNECTIONS, ..Config::default() };
    let mut driver = Driver::<LineEcho>::new(config).expect("a poller");
    let listener = driver.listen(&"127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = driver.local_address(listener).expect("just made");
    let mut host = Host { handles: Vec::with_capacity(CONNECTIONS) };
    // What the driver itself needs is there before it is measured.
    let Address::Tcp(to) = address else { unreachable!("a port") };
    let mut first = TcpStream::connect(to).expect("it listens");
    first.write_all(b"hello\n").expect("connected");
    let give_up = Instant::now() + PATIENCE;
    while host.handles.first().is_none_or(|first| sent(&driver, first) == 0) {
        assert!(Instant::now() < give_up, "the first is not served");
        round(&mut driver, &mut host);
    }
    drop(first);
    while !driver.is_empty() {
        round(&mut driver, &mut host);
    }
    host.handles.clear();

    let dirty = private_bytes();
    let mut peers = Peers::start(&address);
    let heap = allocation_counter::measure(|| {
        let give_up = Instant::now() + 2 * PATIENCE;
        while host.handles.len() < CONNECTIONS || !peers.are_idle(&driver, &host) {
            assert!(Instant::now() < give_up, "{} connections", driver.len());
            round(&mut driver, &mut host);
        }
    });
    let allocated = usize::try_from(heap.bytes_current).expect("more than before") / CONNECTIONS;
    let touched = private_bytes().saturating_sub(dirty) / CONNECTIONS;
    let place = driver.commons().held_bytes();
    say(&format!(
        "note: an idle connection takes {allocated} bytes of the heap and touches {touched}, with its handle and its \
         place in the table; {} are counted",
        place / CONNECTIONS
    ));
    assert_eq!(driver.len(), CONNECTIONS);
    assert!(allocated <= MOST_BYTES, "I2: {allocated} bytes of the heap for an idle connection");
    assert!(touched <= MOST_BYTES, "I2: {touched} bytes touched for an idle connection");
    assert!(driver.commons().held_bytes() >= allocated * CONNECTIONS, "and all of it is counted");
});

fn sent(driver: &Driver<LineEcho>, handle: &Handle<<LineEcho as Protocol>::Command>) -> u64 {
    driver.connection(handle.id()).map_or(0, |connection| connection.counters().sent)
}

fn round(driver: &mut Driver<LineEcho>, host: &mut Host) {
    driver.wait(Some(Duration::from_millis(20))).expect("a poller");
    driver.dispatch(host);
}

/// Memory that is this process's alone, in bytes.
fn private_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

struct Peers(Child);

impl Peers {
    fn start(address: &Address) -> Peers {
        let child = Command::new(env::current_exe().expect("a test binary"))
            .args(["--exact", "idle::peers", "--nocapture", "--test-threads=1"])
            .env(PEERS_OF, address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary that runs now can run again");
        Peers(child)
    }

    /// Each has said its line and heard it.
    fn are_idle(&mut self, driver: &Driver<LineEcho>, host: &Host) -> bool {
        assert!(self.0.try_wait().expect("a child").is_none(), "the process with the peers has ended");
        host.handles.iter().rev().all(|handle| sent(driver, handle) == 6)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
