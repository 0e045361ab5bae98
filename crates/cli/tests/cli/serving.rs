//! `drywire serve`: what it prints, what it serves, what goes wrong at the start.

use crate::support::{Program, Server, assert_same, bounded, drywire, in_time, noise, read_to_end, until};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn address_is_the_first_line_on_stdout_and_the_only_one() {
    let mut server = Server::start(&["line-echo"]);
    assert_ne!(server.address, "127.0.0.1:0");
    let mut peer = server.connect();
    peer.write_all(b"hello\nquit\n").unwrap();
    assert_eq!(read_to_end(&peer), b"hello\nquit\n");
    drop(peer);
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
    server.stdout.wait_for_end();
    assert_eq!(server.stdout.text(), "");
}

#[test]
fn stderr_says_what_to_type_next_and_it_works() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("notes"), "hello").unwrap();
    let server = Server::start(&["dialog", "--root", root.path().to_str().unwrap()]);
    server.program.stderr.wait_for("GET notes\n");
    let says = server.program.stderr.text();
    let canonical = root.path().canonicalize().unwrap();
    assert!(says.contains(&format!("serving the files below {}\n", canonical.display())), "{says}");
    let (_, typed) = says.split_once("try it:  ").unwrap();
    let (command, request) = typed.trim_end().split_once("   then type  ").unwrap();
    let mut command = command.split(' ');
    assert_eq!(command.next(), Some(env!("CARGO_BIN_EXE_drywire")));
    let mut client = Program::start(drywire(&command.collect::<Vec<_>>()).stdin(Stdio::piped()));
    writeln!(client.stdin(), "{request}").unwrap();
    let stdout = client.stdout();
    assert_eq!(bounded("the answer", move || read_to_end(stdout)), b"OK 5\nhello");
    client.exits_with(0);
}

crate::support::on_every_driver!(b13_dialog_serves_a_big_file_between_other_answers);

fn b13_dialog_serves_a_big_file_between_other_answers(driver: &str) {
    let root = tempfile::tempdir().unwrap();
    let contents = noise(5_000_000);
    fs::write(root.path().join("big"), &contents).unwrap();
    let mut command = drywire(&["serve", "dialog", "--driver", driver, "--listen", "127.0.0.1:0"]);
    // Without --root it is the current directory.
    let server = Server::start_command(command.current_dir(root.path()));
    let mut peer = server.connect();
    peer.write_all(b"SIZE big\nGET nothing\nGET big\nNOOP\nWHAT\n").unwrap();
    let mut expected = b"OK 5000000\n-550 no such file\nOK 5000000\n".to_vec();
    expected.extend_from_slice(&contents);
    expected.extend_from_slice(b"OK\n-500 protocol error, bad command\n");
    assert_same(&read_to_end(&peer), &expected);
}

#[test]
fn fault_51_52_nothing_outside_the_root_is_served() {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(top.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    let server = Server::start(&["dialog", "--root", root.to_str().unwrap()]);
    let mut peer = server.connect();
    write!(peer, "GET ../secret\nGET {}\nGET link\nQUIT\n", top.path().join("secret").display()).unwrap();
    assert_eq!(read_to_end(&peer), b"-550 forbidden\n-550 forbidden\n-550 forbidden\nOK\n");
}

#[test]
fn e7_e8_echoes_give_back_what_is_owed_after_the_end_of_input() {
    for protocol in ["byte-echo", "line-echo"] {
        let server = Server::start(&[protocol]);
        let mut peer = server.connect();
        peer.write_all(b"one\ntwo\n\0\xff").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&peer), b"one\ntwo\n\0\xff", "{protocol}");
    }
}

#[test]
fn unix_socket_is_served_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a socket");
    let listen = format!("unix:{}", path.display());
    let mut server = Server::start_command(&mut drywire(&["serve", "byte-echo", "--listen", &listen]));
    assert_eq!(server.address, listen);
    let mut peer = UnixStream::connect(&path).unwrap();
    peer.write_all(b"hello").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bounded("the echo", move || read_to_end(peer)), b"hello");
    assert_eq!(Program::start(&mut server.client(&[])).exits_with(0), "");
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
    assert!(!path.exists());
}

#[test]
fn e10_address_in_use_says_what_to_do_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut program = Program::start(&mut drywire(&["serve", "byte-echo", "--listen", &address]));
    let stdout = program.stdout();
    assert_eq!(
        program.exits_with(1),
        format!(
            "drywire: cannot listen on {address}: address already in use; \
             stop the program that has it, or take another port (0 picks a free one)\n"
        )
    );
    assert_eq!(read_to_end(stdout), b"", "no address is printed that nobody listens on");
}

#[test]
fn e10_root_that_is_no_directory_is_named_with_the_way_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    for (root, why) in [("/nowhere/at/all", "No such file"), (file, "not a directory")] {
        let args = ["serve", "dialog", "--listen", "127.0.0.1:0", "--root", root];
        let stderr = Program::start(&mut drywire(&args)).exits_with(1);
        assert!(stderr.starts_with(&format!("drywire: cannot serve files from {root}: {why}")), "{stderr}");
        assert!(stderr.ends_with("; name a directory that exists with --root\n"), "{stderr}");
    }
}

#[test]
fn fault_6_idle_timeout_closes_a_silent_connection_and_no_other() {
    in_time(|times| {
        let idle = times * 300;
        let server = Server::start(&["line-echo", "--idle-timeout", &format!("{idle}ms")]);
        let start = Instant::now();
        let mut silent = server.connect();
        let _ = silent.write_all(b"hello\n");
        if start.elapsed() >= Duration::from_millis(idle.into()) {
            return false;
        }
        let said = String::from_utf8(read_to_end(&silent)).unwrap();
        assert_eq!(said, format!("hello\nerror: nothing moved for {idle} ms\n"));
        true
    });
    let patient = Server::start(&["line-echo", "--idle-timeout", "none"]);
    let mut peer = patient.connect();
    std::thread::sleep(Duration::from_millis(400));
    peer.write_all(b"quit\n").unwrap();
    assert_eq!(read_to_end(&peer), b"quit\n");
}

#[test]
fn fault_3_idle_timeout_counts_for_a_peer_that_takes_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::File::create(root.path().join("big")).unwrap().set_len(1 << 30).unwrap();
    let root = root.path().to_str().unwrap();
    let server = Server::start(&["dialog", "--log", "debug", "--idle-timeout", "300ms", "--root", root]);
    let mut peer = server.connect();
    peer.write_all(b"GET big\n").unwrap();
    server.program.stderr.wait_for("the peer stopped taking output");
}

#[test]
fn fault_56_nobody_reading_what_is_printed_stops_no_server() {
    let nobody_reads = || std::io::pipe().unwrap().1;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let mut command = drywire(&["serve", "byte-echo", "--listen", &listen, "--log", "trace"]);
    let mut server = Program::start(command.stdout(nobody_reads()).stderr(nobody_reads()));
    for _ in 0..3 {
        let mut peer = until("it serves", || UnixStream::connect(&path).ok());
        peer.write_all(b"hello").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bounded("the echo", move || read_to_end(peer)), b"hello");
    }
    server.signal(Signal::TERM);
    server.exits_with(0);
}

#[test]
fn fault_71_one_close_line_per_connection_without_a_byte_of_the_peer() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(&["dialog", "--log", "debug", "--root", root.path().to_str().unwrap()]);
    let mut peer = server.connect();
    peer.write_all(b"GET \x1b[31m\rhushed\nEVIL\x1b[2J\n").unwrap();
    read_to_end(&peer);
    drop(peer);
    server.program.stderr.wait_for("protocol error: bad command");
    let log = server.program.stderr.text();
    assert_eq!(log.matches("closed").count(), 1, "{log}");
    assert!(!log.contains(['\x1b', '\r']) && !log.contains("hushed") && !log.contains("EVIL"), "{log}");
}

#[test]
fn e9_client_logs_one_close_line_too() {
    let server = Server::start(&["line-echo"]);
    let mut client = Program::start(server.client(&["--log", "debug"]).stdin(Stdio::piped()));
    client.stdin().write_all(b"quit\n").unwrap();
    let log = client.exits_with(0);
    assert_eq!(log.matches(&format!("peer={}", server.address)).count(), 1, "{log}");
}
