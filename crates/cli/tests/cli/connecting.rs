//! `drywire connect` in batch mode (row E9).

use crate::support::{Collected, Program, Server, accept, assert_same, bounded, drywire, fails_by_a_reset, feed};
use crate::support::{listen, noise, read_to_end};
use rustix::fs::{OFlags, fcntl_getfl};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

const NOISE_BYTES: usize = 6_000_000;

#[test]
fn e9_bytes_from_a_file_to_a_file_come_back_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    let bytes = noise(NOISE_BYTES);
    fs::write(&input, &bytes).unwrap();
    let server = Server::start(&["byte-echo"]);
    let mut client = server.client(&[]);
    client.stdin(File::open(&input).unwrap()).stdout(File::create(&output).unwrap());
    Program::start(&mut client).exits_with(0);
    assert_same(&fs::read(&output).unwrap(), &bytes);
}

#[test]
fn e9_bytes_from_a_pipe_to_a_pipe_come_back_exactly() {
    let server = Server::start(&["byte-echo"]);
    let mut client = Program::start(server.client(&[]).stdin(Stdio::piped()));
    let bytes = noise(NOISE_BYTES);
    feed(client.stdin(), bytes.clone());
    let stdout = client.stdout();
    assert_same(&bounded("all comes back", move || read_to_end(stdout)), &bytes);
    client.exits_with(0);
}

#[test]
fn e9_bytes_through_sockets_that_are_stdin_and_stdout_come_back_exactly() {
    let server = Server::start(&["byte-echo"]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (input, output) = (OwnedFd::from(theirs.try_clone().unwrap()), OwnedFd::from(theirs));
    let mut client = Program::start(server.client(&[]).stdin(input).stdout(output));
    let bytes = noise(NOISE_BYTES);
    let (mut writer, expected) = (ours.try_clone().unwrap(), bytes.clone());
    std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_same(&bounded("all comes back", move || read_to_end(ours)), &expected);
    client.exits_with(0);
}

#[test]
fn e9_batch_sends_all_then_reads_on_until_the_server_closes() {
    // A server that answers only after the end of input.
    let (listener, address) = listen();
    let mut client = Program::start(drywire(&["connect", &address]).stdin(Stdio::piped()));
    feed(client.stdin(), b"one\ntwo".to_vec());
    let mut peer = accept(&listener);
    assert_eq!(read_to_end(&peer), b"one\ntwo");
    std::thread::sleep(Duration::from_millis(50));
    peer.write_all(b"late answer").unwrap();
    drop(peer);
    let stdout = client.stdout();
    assert_eq!(bounded("the answer", move || read_to_end(stdout)), b"late answer");
    client.exits_with(0);
}

#[test]
fn e9_dialog_brings_a_file_exactly() {
    let root = tempfile::tempdir().unwrap();
    let contents = noise(NOISE_BYTES);
    fs::write(root.path().join("a file"), &contents).unwrap();
    let server = Server::start(&["dialog", "--root", root.path().to_str().unwrap()]);
    let mut client = Program::start(server.client(&[]).stdin(Stdio::piped()));
    feed(client.stdin(), b"GET a file\nNOOP\n".to_vec());
    let stdout = client.stdout();
    let mut expected = format!("OK {NOISE_BYTES}\n").into_bytes();
    expected.extend_from_slice(&contents);
    expected.extend_from_slice(b"OK\n");
    assert_same(&bounded("the file", move || read_to_end(stdout)), &expected);
    client.exits_with(0);
}

#[test]
fn no_input_at_all_is_a_half_close() {
    let server = Server::start(&["byte-echo"]);
    let mut client = Program::start(&mut server.client(&[]));
    let stdout = Collected::new(client.stdout());
    assert_eq!(client.exits_with(0), "");
    stdout.wait_for_end();
    assert_eq!(stdout.text(), "");
}

#[test]
fn server_that_closes_first_ends_the_client_though_stdin_is_open() {
    let server = Server::start(&["line-echo"]);
    let mut client = Program::start(server.client(&[]).stdin(Stdio::piped()));
    let mut stdin = client.stdin();
    stdin.write_all(b"hello\nquit\nnever seen\n").unwrap();
    let stdout = client.stdout();
    assert_eq!(bounded("the echo", move || read_to_end(stdout)), b"hello\nquit\n");
    assert_eq!(client.exits_with(0), "");
    drop(stdin);
}

#[test]
fn e10_refused_connection_says_what_to_do_and_leaves_stdin_alone() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let (input, mut ours) = std::io::pipe().unwrap();
    ours.write_all(b"for the next try").unwrap();
    let mut command = drywire(&["connect", &address]);
    let stderr = Program::start(command.stdin(input.try_clone().unwrap())).exits_with(1);
    assert_eq!(
        stderr,
        format!(
            "drywire: cannot connect to {address}: connection refused; \
             nobody listens there, start the server first or check the port\n"
        )
    );
    drop(ours);
    assert_eq!(read_to_end(input), b"for the next try");
}

#[test]
fn e10_unix_path_that_is_not_there_says_what_to_do() {
    let stderr = Program::start(&mut drywire(&["connect", "unix:/nowhere/at/all"])).exits_with(1);
    assert_eq!(
        stderr,
        "drywire: cannot connect to unix:/nowhere/at/all: no such file or directory; \
         there is no such path, create its directory or start the server first\n"
    );
}

#[test]
fn fault_12_reset_is_a_failure_and_what_came_before_it_is_printed() {
    fails_by_a_reset(|address| drywire(&["connect", address]), b"half an ans", "half an ans");
}

#[test]
fn fault_56_reader_of_stdout_that_has_seen_enough_ends_it_quietly() {
    let server = Server::start(&["byte-echo"]);
    let mut client = Program::start(server.client(&[]).stdin(Stdio::piped()));
    feed(client.stdin(), noise(NOISE_BYTES));
    let mut stdout = client.stdout();
    bounded("the first bytes", move || stdout.read_exact(&mut [0; 10]).unwrap());
    assert_eq!(client.exits_with(0), "");
}

#[test]
fn e10_full_disk_is_a_failure_in_words() {
    let server = Server::start(&["byte-echo"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut client = Program::start(server.client(&[]).stdin(Stdio::piped()).stdout(full));
    feed(client.stdin(), b"hello".to_vec());
    let stderr = client.exits_with(1);
    assert!(stderr.starts_with("drywire: standard input or output failed: No space left"), "{stderr}");
}

#[test]
fn slow_reader_of_stdout_holds_up_the_input_and_loses_nothing() {
    let server = Server::start(&["byte-echo"]);
    let mut client = Program::start(server.client(&[]).stdin(Stdio::piped()));
    let bytes = noise(64 << 20);
    let (mut stdin, expected) = (client.stdin(), bytes.clone());
    let fed = std::thread::spawn(move || stdin.write_all(&bytes));
    // Nobody reads: all buffers on the way fill, ours are 64 KiB each.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!fed.is_finished(), "64 MiB are held somewhere");
    let stdout = client.stdout();
    assert_same(&bounded("all comes back", move || read_to_end(stdout)), &expected);
    fed.join().unwrap().unwrap();
    client.exits_with(0);
}

#[test]
fn idle_timeout_gives_up_on_a_silent_server() {
    let (_silent, address) = listen();
    let args = ["connect", &address, "--idle-timeout", "200ms"];
    let mut client = Program::start(drywire(&args).stdin(Stdio::piped()));
    let stdin = client.stdin();
    assert_eq!(client.exits_with(1), format!("drywire: gave up on {address}: nothing moved for 200ms\n"));
    drop(stdin);
    // Nor does it wait for a server that takes nothing.
    let mut client = Program::start(drywire(&args).stdin(Stdio::piped()));
    feed(client.stdin(), noise(64 << 20));
    client.exits_with(1);
}

#[test]
fn inherited_stdin_and_stdout_are_never_set_non_blocking() {
    let server = Server::start(&["byte-echo"]);
    let (input, to_client) = std::io::pipe().unwrap();
    let (from_client, output) = std::io::pipe().unwrap();
    let mut command = server.client(&[]);
    command.stdin(input.try_clone().unwrap()).stdout(output.try_clone().unwrap());
    let mut client = Program::start(&mut command);
    drop(command);
    let blocking = || {
        for flags in [fcntl_getfl(&input).unwrap(), fcntl_getfl(&output).unwrap()] {
            assert!(!flags.contains(OFlags::NONBLOCK));
        }
    };
    let mut to = to_client.try_clone().unwrap();
    to.write_all(b"hello").unwrap();
    let mut from = from_client.try_clone().unwrap();
    let echo = bounded("it runs", move || {
        let mut echo = [0; 5];
        from.read_exact(&mut echo).map(|()| echo).unwrap()
    });
    assert_eq!(&echo, b"hello");
    blocking();
    drop((to, to_client));
    client.exits_with(0);
    blocking();
}

#[test]
fn w6_server_is_found_by_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let mut client = Program::start(drywire(&["connect", &address]).stdin(Stdio::piped()));
    let mut peer = bounded("it connects", move || listener.accept().unwrap().0);
    peer.write_all(b"welcome").unwrap();
    drop(peer);
    let stdout = client.stdout();
    assert_same(&bounded("the rest", move || read_to_end(stdout)), b"welcome");
    client.exits_with(0);
}

#[test]
fn e10_name_that_nobody_has_says_what_to_do() {
    let stderr = Program::start(&mut drywire(&["connect", "name.invalid:25"])).exits_with(1);
    assert!(stderr.starts_with("drywire: cannot connect to name.invalid:25: "), "{stderr}");
    assert!(stderr.ends_with("; check the name and this machine's name service, or take an IP address\n"), "{stderr}");
}

#[test]
fn w6_server_that_does_not_answer_is_given_up_in_time() {
    // Whose queue is full answers neither yes nor no.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fills_it = TcpStream::connect(address).unwrap();
    let args = ["connect", &address.to_string(), "--connect-timeout", "300ms"];
    assert_eq!(
        Program::start(drywire(&args).stdin(Stdio::piped())).exits_with(1),
        format!(
            "drywire: cannot connect to {address}: nobody answered within 300ms; check the address, or wait for longer\n"
        )
    );
}
