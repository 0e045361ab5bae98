//! The port forwarder with real sockets at both ends: exact, bounded, and honest about
//! ends.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// The program, in front of a listener of ours. Killed, by its own id, when dropped.
struct Forwarder {
    child: Child,
    address: String,
    target: Option<TcpListener>,
}

impl Forwarder {
    #[track_caller]
    fn start() -> Forwarder {
        let target = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = target.local_addr().expect("bound").port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_forwarder"));
        // By name, as a person would.
        command.args(["127.0.0.1:0", &format!("localhost:{port}")]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").expect("it says where").to_owned();
        Forwarder { child, address, target: Some(target) }
    }

    #[track_caller]
    fn client(&self) -> TcpStream {
        patient(TcpStream::connect(&self.address).expect("it listens"))
    }

    /// A client, and whom it is forwarded to.
    #[track_caller]
    fn pair(&self) -> (TcpStream, TcpStream) {
        let client = self.client();
        let (server, _) = self.target.as_ref().expect("it is there").accept().expect("it connects");
        (client, patient(server))
    }

    /// What it has in memory, in bytes.
    fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
        let kib: usize = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
        kib * 1024
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Bytes that are different at every place, within reason.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

#[track_caller]
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an end and no reset");
    bytes
}

#[track_caller]
fn assert_reset(mut stream: &TcpStream) {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => panic!("a clean end"),
            Ok(_) => {}
            Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn w6_forwarder_passes_64_mib_both_ways_to_the_byte() {
    let forwarder = Forwarder::start();
    let (client, server) = forwarder.pair();
    let (there, back) = (noise(1, 64 << 20), noise(2, 64 << 20));
    thread::scope(|scope| {
        for (mut from, bytes) in [(&client, &there), (&server, &back)] {
            scope.spawn(move || {
                from.write_all(bytes).expect("it reads");
                from.shutdown(Shutdown::Write).expect("connected");
            });
        }
        let at_the_client = scope.spawn(|| rest(&client));
        assert!(rest(&server) == there, "what the server got differs");
        assert!(at_the_client.join().expect("it does not panic") == back, "what the client got differs");
    });
}

#[test]
fn w6_forwarder_reads_no_more_than_the_other_side_takes() {
    let forwarder = Forwarder::start();
    let (mut client, server) = forwarder.pair();
    // Warm, so that what is measured is what waits.
    client.write_all(b"x").expect("it reads");
    let mut one = [0];
    (&server).read_exact(&mut one).expect("it comes");
    let before = forwarder.resident();

    // Until nothing has gone for a second. What the kernel holds at both hops is its own
    // business: some MiB, and far from this.
    let most = 256 << 20;
    let bytes = noise(3, 1 << 20);
    client.set_nonblocking(true).expect("a socket");
    let (mut sent, mut moved) = (0, Instant::now());
    while moved.elapsed() < Duration::from_secs(1) {
        assert!(sent < most, "it takes everything, and nobody reads");
        match client.write(&bytes[sent % bytes.len()..]) {
            Ok(n) => (sent, moved) = (sent + n, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    let held = forwarder.resident().saturating_sub(before);
    assert!(held < 4 << 20, "{held} bytes more in memory, of {sent} that were sent");

    client.set_nonblocking(false).expect("a socket");
    let mut all = bytes.repeat(sent / bytes.len() + 1);
    all.truncate(sent);
    let reading = thread::spawn(move || rest(&server));
    client.shutdown(Shutdown::Write).expect("connected");
    assert!(reading.join().expect("it does not panic") == all, "what came at last differs");
}

#[test]
fn w6_forwarder_passes_each_end_on_by_itself() {
    let forwarder = Forwarder::start();
    for client_first in [true, false] {
        let (client, server) = forwarder.pair();
        let (mut first, mut second) = if client_first { (&client, &server) } else { (&server, &client) };
        first.write_all(b"all I have to say").expect("it reads");
        first.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(rest(second), b"all I have to say");
        // The other direction is open, for as long as it likes.
        thread::sleep(Duration::from_millis(100));
        second.write_all(b"an answer").expect("it reads");
        second.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(rest(first), b"an answer");
    }
}

#[test]
fn w6_forwarder_passes_a_reset_on() {
    let forwarder = Forwarder::start();
    for client_first in [true, false] {
        let (client, server) = forwarder.pair();
        let (first, second) = if client_first { (client, server) } else { (server, client) };
        let mut writing = &first;
        writing.write_all(b"half a mess").expect("it reads");
        let mut heard = [0; 11];
        (&second).read_exact(&mut heard).expect("it comes");
        rustix::net::sockopt::set_socket_linger(&first, Some(Duration::ZERO)).expect("a socket");
        drop(first);
        assert_reset(&second);
    }
}

#[test]
fn w6_forwarder_without_a_target_says_so_and_resets_its_client() {
    let mut forwarder = Forwarder::start();
    drop(forwarder.target.take());
    assert_reset(&forwarder.client());
    let mut line = String::new();
    BufReader::new(forwarder.child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.contains("connection refused") && line.contains("start the server first"), "{line}");
    // It goes on, for the next.
    drop(TcpStream::connect(&forwarder.address).expect("it listens"));
}
