//! Signals: drain, cut, report (FAULTS 57).

use crate::support::{Server, assert_same, bounded, noise, read_to_end};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

crate::support::on_every_driver!(
    fault_57_sigterm_lets_a_slow_reader_have_all_of_it,
    nobody_new_is_let_in_while_draining,
    fault_57_deadline_cuts_and_names_who_was_cut,
    second_signal_does_not_wait,
    signals_within_a_second_are_one,
    drain_timeout_of_0_cuts_at_once,
    idle_server_stops_at_once_and_says_nothing,
    silent_peer_that_ends_when_we_do_holds_nothing_up,
    connections_that_wait_to_be_accepted_are_answered,
    silent_peer_that_never_spoke_is_not_named,
);

/// From one signal to the next that counts, as the program hears them.
const A_SECOND: Duration = Duration::from_millis(1100);

/// More than the sockets' buffers of both sides take.
const FILE_BYTES: usize = 24 << 20;

fn root_with_a_big_file() -> (TempDir, Vec<u8>) {
    let root = tempfile::tempdir().unwrap();
    let contents = noise(FILE_BYTES);
    fs::write(root.path().join("big"), &contents).unwrap();
    (root, contents)
}

fn start(driver: &str, root: &TempDir, drain_timeout: &str) -> Server {
    Server::start(&[
        "dialog",
        "--driver",
        driver,
        "--root",
        root.path().to_str().unwrap(),
        "--drain-timeout",
        drain_timeout,
    ])
}

/// A peer that has asked for the file and read its header only.
#[track_caller]
fn slow_reader(server: &Server) -> TcpStream {
    let mut peer = server.connect();
    peer.write_all(b"GET big\n").unwrap();
    let mut header = vec![0; format!("OK {FILE_BYTES}\n").len()];
    peer.read_exact(&mut header).unwrap();
    assert_eq!(header, format!("OK {FILE_BYTES}\n").as_bytes());
    peer
}

fn fault_57_sigterm_lets_a_slow_reader_have_all_of_it(driver: &str) {
    let (root, contents) = root_with_a_big_file();
    let mut server = start(driver, &root, "none");
    let mut peer = slow_reader(&server);
    server.program.signal(Signal::TERM);
    server.program.stderr.wait_for("1 connection may finish, a second signal, in 1s or later, stops now");
    let mut got = Vec::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = peer.read(&mut block).unwrap();
        got.extend_from_slice(&block[..n]);
        if n == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    assert_same(&got, &contents);
    drop(peer);
    let stderr = server.program.exits_with(0);
    assert!(!stderr.contains("did not finish"), "{stderr}");
}

fn nobody_new_is_let_in_while_draining(driver: &str) {
    let (root, _) = root_with_a_big_file();
    let mut server = start(driver, &root, "none");
    let peer = slow_reader(&server);
    server.program.signal(Signal::TERM);
    server.program.stderr.wait_for("stopping");
    // The message comes first, the listener goes in the same round.
    crate::support::until("connections are refused", || {
        let refused = TcpStream::connect(&server.address).map(|_| ());
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    assert!(server.program.is_running());
    let own_address = peer.local_addr().unwrap();
    // Unread bytes make this a reset: that peer did not finish either. Its socket does not
    // tell any more whose it was.
    drop(peer);
    let stderr = server.program.exits_with(0);
    assert!(stderr.contains(&format!("drywire: not finished: {own_address}: ")), "{stderr}");
    assert!(stderr.ends_with("drywire: stopped; 1 connection did not finish\n"), "{stderr}");
}

fn fault_57_deadline_cuts_and_names_who_was_cut(driver: &str) {
    let (root, _) = root_with_a_big_file();
    let mut server = start(driver, &root, "200ms");
    let mut peer = slow_reader(&server);
    let own_address = peer.local_addr().unwrap();
    server.program.signal(Signal::TERM);
    let stderr = server.program.exits_with(0);
    assert!(stderr.contains("1 connection may finish within 200ms"), "{stderr}");
    assert!(stderr.contains(&format!("drywire: not finished: {own_address}: aborted, ")), "{stderr}");
    assert!(stderr.ends_with("drywire: stopped; 1 connection did not finish\n"), "{stderr}");
    let error = peer.read_to_end(&mut Vec::new()).expect_err("half a file does not look like a whole one");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

fn second_signal_does_not_wait(driver: &str) {
    let (root, _) = root_with_a_big_file();
    let mut server = start(driver, &root, "none");
    let peer = slow_reader(&server);
    server.program.signal(Signal::INT);
    server.program.stderr.wait_for("stopping");
    thread::sleep(A_SECOND);
    assert!(server.program.is_running());
    server.program.signal(Signal::TERM);
    let stderr = server.program.exits_with(0);
    assert!(stderr.ends_with("drywire: stopped; 1 connection did not finish\n"), "{stderr}");
    drop(peer);
}

/// As `timeout` sends them, or a terminal and a wrapper that passes on what it gets.
fn signals_within_a_second_are_one(driver: &str) {
    let (root, contents) = root_with_a_big_file();
    let mut server = start(driver, &root, "none");
    let peer = slow_reader(&server);
    for signal in [Signal::TERM, Signal::TERM, Signal::INT] {
        server.program.signal(signal);
    }
    server.program.stderr.wait_for("stopping");
    server.program.signal(Signal::TERM);
    assert_same(&read_to_end(&peer), &contents);
    drop(peer);
    let stderr = server.program.exits_with(0);
    assert!(!stderr.contains("did not finish") && stderr.matches("stopping").count() == 1, "{stderr}");
}

fn drain_timeout_of_0_cuts_at_once(driver: &str) {
    let (root, _) = root_with_a_big_file();
    let mut server = start(driver, &root, "0");
    let peer = slow_reader(&server);
    server.program.signal(Signal::TERM);
    let stderr = server.program.exits_with(0);
    assert!(stderr.ends_with("drywire: stopped; 1 connection did not finish\n"), "{stderr}");
    drop(peer);
}

fn idle_server_stops_at_once_and_says_nothing(driver: &str) {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::start(&["byte-echo", "--driver", driver, "--drain-timeout", "none"]);
        server.program.stderr.wait_for("type  anything\n");
        let before = server.program.stderr.text();
        server.program.signal(signal);
        assert_eq!(server.program.exits_with(0), before);
    }
}

fn silent_peer_that_ends_when_we_do_holds_nothing_up(driver: &str) {
    let mut server = Server::start(&["line-echo", "--driver", driver, "--drain-timeout", "none"]);
    let mut peer = server.connect();
    peer.write_all(b"hello\nunfinished").unwrap();
    let mut hello = [0; 6];
    peer.read_exact(&mut hello).unwrap();
    server.program.signal(Signal::TERM);
    assert_eq!(read_to_end(&peer), b"");
    drop(peer);
    let stderr = server.program.exits_with(0);
    assert!(!stderr.contains("did not finish"), "{stderr}");
}

/// More for each worker than are accepted in one turn.
const AT_A_PORT: usize = 140;
const AT_A_FILE: usize = 70;

/// At a port of every worker, and at a Unix socket that one of them deals out.
fn connections_that_wait_to_be_accepted_are_answered(driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let unix = format!("unix:{}", path.display());
    let mut server = Server::start(&["line-echo", "--driver", driver, "--workers", "2", "--listen", &unix]);
    server.stdout.wait_for(&format!("{unix}\n"));
    server.program.signal(Signal::STOP);
    let tcp: Vec<TcpStream> = (0..AT_A_PORT).map(|_| server.connect()).collect();
    let unix: Vec<UnixStream> = (0..AT_A_FILE).map(|_| UnixStream::connect(&path).unwrap()).collect();
    tcp.iter().for_each(|mut peer| peer.write_all(b"hello\n").unwrap());
    unix.iter().for_each(|mut peer| peer.write_all(b"hello\n").unwrap());
    server.program.signal(Signal::TERM);
    server.program.signal(Signal::CONT);
    // Each is served until it ends, and is asked to when it has its answer.
    tcp.into_iter().for_each(|peer| assert_eq!(read_to_end(peer), b"hello\n"));
    unix.into_iter().for_each(|peer| assert_eq!(bounded("the echo", || read_to_end(peer)), b"hello\n"));
    server.program.exits_with(0);
    assert!(!path.exists());
}

fn silent_peer_that_never_spoke_is_not_named(driver: &str) {
    let mut server = Server::start(&["line-echo", "--driver", driver, "--drain-timeout", "none"]);
    let peer = server.connect();
    server.program.signal(Signal::TERM);
    let stderr = server.program.exits_with(0);
    assert!(!stderr.contains("not finish"), "{stderr}");
    drop(peer);
}
