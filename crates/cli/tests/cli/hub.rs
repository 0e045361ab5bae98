//! `drywire serve hub` and `drywire hub`: messages with their length in front. What the original
//! says to both is in `original`.

mod original;

use crate::support::{Collected, Program, Server, accept, assert_same, bounded, drywire, feed, noise};
use crate::support::{PATIENCE, fails_by_a_reset, listen, read_to_end, until};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

crate::support::on_every_driver!(
    h14_messages_of_every_size_come_back,
    i2_sixteen_workers_answer_all_and_sixteen_of_the_longest_messages_at_once,
    h14_length_beyond_the_bound_closes_that_connection_and_no_other,
    files_come_back_in_order,
    lines_come_back_in_order_the_empty_ones_too,
    twenty_megabytes_of_lines_come_back,
    slow_server_holds_up_the_input_and_loses_nothing,
    server_that_ends_first_ends_it_though_stdin_is_open,
    what_a_server_that_has_ended_did_not_take_is_a_failure,
    expected_messages_are_waited_for_without_an_end_of_ours,
    fewer_messages_than_expected_are_a_failure,
    server_that_breaks_the_format_is_a_failure_in_words,
    messages_are_printed_when_they_come,
    fault_56_reader_of_the_messages_that_has_seen_enough_ends_it_quietly,
    silent_server_is_given_up_in_time,
);

/// Of 16 MiB, with the default budget. In one where no two of them fit beside each other the time that a
/// peer rests counts, which is the machine's here: that is shown in simulated time (`server/tests/admission/sharing.rs`).
fn i2_sixteen_workers_answer_all_and_sixteen_of_the_longest_messages_at_once(driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("drywire.toml");
    fs::write(&config, "workers = 16\nlisten = [\"127.0.0.1:0\"]\n").unwrap();
    let args = ["serve", "hub", "--driver", driver, "--config", config.to_str().unwrap()];
    let server = Server::start_command(&mut drywire(&args));
    let mut peers: Vec<_> = (0..200).map(|_| server.connect()).collect();
    peers.iter_mut().for_each(|peer| peer.write_all(&[0; 8]).unwrap());
    for peer in &mut peers {
        let mut answer = [1; 8];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0; 8]);
    }
    let message = framed(&noise(16 << 20));
    peers.truncate(16);
    bounded("all answers", move || exchange_at_once(&peers, &message));
}

/// Every peer sends the message and reads its echo, all in one thread: a peer that the machine keeps
/// from running looks like one that rests, which is cut while memory is short.
fn exchange_at_once(peers: &[TcpStream], message: &[u8]) {
    const PIECE: usize = 64 << 10;
    let progress = |result: std::io::Result<usize>| match result {
        Ok(0) => panic!("the server has ended a connection"),
        Ok(n) => n,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    };
    let (mut sent, mut got, mut piece) = (vec![0; peers.len()], vec![0; peers.len()], vec![0; PIECE]);
    peers.iter().for_each(|peer| peer.set_nonblocking(true).unwrap());
    while got.iter().any(|got| *got < message.len()) {
        let mut moved = 0;
        for (at, mut peer) in peers.iter().enumerate() {
            let rest = &message[sent[at]..];
            if !rest.is_empty() {
                let n = progress(peer.write(&rest[..rest.len().min(PIECE)]));
                sent[at] += n;
                moved += n;
            }
            let n = progress(peer.read(&mut piece));
            assert_same(&piece[..n], &message[got[at]..got[at] + n]);
            got[at] += n;
            moved += n;
        }
        if moved == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}

fn all_framed<M: AsRef<[u8]>>(messages: &[M]) -> Vec<u8> {
    messages.iter().flat_map(|message| framed(message.as_ref())).collect()
}

/// As `--lengths` prints them.
fn with_lengths(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| [format!("{}\n", message.len()).as_bytes(), message].concat()).collect()
}

/// `drywire hub` on one driver, with a pipe to its standard input.
fn hub(driver: &str, address: &str, args: &[&str]) -> Command {
    let mut command = drywire(&["hub", address, "--driver", driver]);
    command.args(args).stdin(Stdio::piped());
    command
}

/// Everything it prints, and nothing on standard error.
#[track_caller]
fn printed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut client = Program::start(command);
    feed(client.stdin(), input.to_vec());
    let stdout = client.stdout();
    let printed = bounded("all that is printed", move || read_to_end(stdout));
    assert_eq!(client.exits_with(0), "");
    printed
}

/// What it says when it fails.
#[track_caller]
fn failure(command: &mut Command, input: &[u8]) -> String {
    let mut client = Program::start(command);
    feed(client.stdin(), input.to_vec());
    client.exits_with(1)
}

/// A port on which nobody listens.
fn nobody() -> String {
    let (listener, address) = listen();
    drop(listener);
    address
}

#[track_caller]
fn receive(mut peer: &TcpStream, bytes: usize) -> Vec<u8> {
    let mut received = vec![0; bytes];
    peer.read_exact(&mut received).unwrap();
    received
}

fn written(directory: &Path, messages: &[Vec<u8>]) -> Vec<String> {
    let write = |(n, message): (usize, &Vec<u8>)| {
        let path = directory.join(n.to_string());
        fs::write(&path, message).unwrap();
        path.to_str().unwrap().to_owned()
    };
    messages.iter().enumerate().map(write).collect()
}

fn h14_messages_of_every_size_come_back(driver: &str) {
    let server = Server::start(&["hub", "--driver", driver]);
    let sizes = [0, 1, 255, 256, 65_535, 65_536, 1 << 20, 16 << 20, 0];
    let all: Vec<u8> = sizes.iter().flat_map(|size| framed(&noise(*size))).collect();
    let peer = server.connect();
    let to = peer.try_clone().unwrap();
    let said = all.clone();
    let saying = std::thread::spawn(move || {
        (&to).write_all(&said).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
    });
    assert_same(&read_to_end(&peer), &all);
    saying.join().unwrap();
}

fn h14_length_beyond_the_bound_closes_that_connection_and_no_other(driver: &str) {
    let server = Server::start(&["hub", "--driver", driver]);
    let mut other = server.connect();
    for length in [(16 << 20) + 1, 1 << 40, 1 << 63, u64::MAX] {
        let mut peer = server.connect();
        peer.write_all(&[framed(b"before"), u64::to_le_bytes(length).to_vec()].concat()).unwrap();
        assert_same(&read_to_end(&peer), &framed(b"before"));
    }
    other.write_all(&framed(b"still here")).unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    assert_same(&read_to_end(&other), &framed(b"still here"));
}

fn files_come_back_in_order(driver: &str) {
    let server = Server::start(&["hub"]);
    let directory = tempfile::tempdir().unwrap();
    let messages = [0, 1, 255, 256, 65_535, 65_536, 1 << 20, 16 << 20, 0].map(noise);
    let files = written(directory.path(), &messages);
    let mut command = hub(driver, &server.address, &["--lengths"]);
    assert_same(&printed(command.args(&files), b"nobody reads this"), &with_lengths(&messages));
    let mut command = hub(driver, &server.address, &["--raw"]);
    assert_same(&printed(command.args(&files), b""), &messages.concat());
    // Standard input among them, whole.
    let args = [&files[1], "-", &files[2], "--lengths"];
    let expected = [&messages[1], &b"two\n\nlines".to_vec(), &messages[2]].map(Clone::clone);
    assert_same(&printed(&mut hub(driver, &server.address, &args), b"two\n\nlines"), &with_lengths(&expected));
}

fn lines_come_back_in_order_the_empty_ones_too(driver: &str) {
    let server = Server::start(&["hub"]);
    for (input, output) in [
        (&b""[..], &b""[..]),
        (b"\n", b"0\n"),
        (b"a", b"1\na"),
        (b"one\n\nthree\r\n\xff\0\n", b"3\none0\n6\nthree\r2\n\xff\0"),
    ] {
        assert_same(&printed(&mut hub(driver, &server.address, &["--lengths"]), input), output);
    }
    assert_eq!(printed(&mut hub(driver, &server.address, &[]), b"one\n\nthree"), b"one\n\nthree\n");
    assert_eq!(printed(&mut hub(driver, &server.address, &["--raw"]), b"one\n\nthree"), b"onethree");
}

/// Of all lengths from 0 to 199.
fn lines(bytes: usize) -> Vec<Vec<u8>> {
    let mut left = bytes;
    let mut lines = Vec::new();
    while left > 0 {
        let line = vec![b'a' + (lines.len() % 26) as u8; (lines.len() * 37 % 200).min(left - 1)];
        left -= line.len() + 1;
        lines.push(line);
    }
    lines
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect()
}

const MANY_BYTES: usize = 20_000_000;

fn twenty_megabytes_of_lines_come_back(driver: &str) {
    let server = Server::start(&["hub"]);
    let input = joined(&lines(MANY_BYTES));
    assert_same(&printed(&mut hub(driver, &server.address, &[]), &input), &input);
}

fn slow_server_holds_up_the_input_and_loses_nothing(driver: &str) {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub(driver, &address, &[]));
    let lines = lines(MANY_BYTES);
    let (mut stdin, input) = (client.stdin(), joined(&lines));
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let fed = std::thread::spawn(move || {
        for part in input.chunks(10_000) {
            stdin.write_all(part).unwrap();
            count.fetch_add(part.len(), Ordering::Relaxed);
        }
    });
    let peer = accept(&listener);
    // It reads nothing: the buffers of the system fill, ours are few.
    let mut before = 0;
    until("it takes no more", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = taken.load(Ordering::Relaxed);
        (std::mem::replace(&mut before, now) == now && now > 0).then_some(())
    });
    assert!(before < MANY_BYTES * 3 / 4, "{before} bytes are held somewhere");
    assert!(client.is_running());
    assert_same(&read_to_end(&peer), &all_framed(&lines));
    fed.join().unwrap();
    drop(peer);
    assert_eq!(client.exits_with(0), "");
}

fn server_that_ends_first_ends_it_though_stdin_is_open(driver: &str) {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub(driver, &address, &[]));
    let mut stdin = client.stdin();
    stdin.write_all(b"question\n").unwrap();
    let mut peer = accept(&listener);
    assert_same(&receive(&peer, 16), &framed(b"question"));
    peer.write_all(&framed(b"answer")).unwrap();
    drop(peer);
    let stdout = client.stdout();
    assert_eq!(bounded("the answer", move || read_to_end(stdout)), b"answer\n");
    assert_eq!(client.exits_with(0), "");
    drop(stdin);
}

fn what_a_server_that_has_ended_did_not_take_is_a_failure(driver: &str) {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub(driver, &address, &[]));
    let mut stdin = client.stdin();
    let feeding = std::thread::spawn(move || while stdin.write_all(b"once more\n").is_ok() {});
    let peer = accept(&listener);
    assert_same(&receive(&peer, 17), &framed(b"once more"));
    peer.shutdown(Shutdown::Write).unwrap();
    let received = read_to_end(&peer);
    assert_eq!(received.len() % 17, 0, "what was sent is whole");
    assert_eq!(client.exits_with(1), format!("drywire: {address} ended before all was sent; see there why\n"));
    feeding.join().unwrap();
    // It may have gone altogether.
    let mut client = Program::start(&mut hub(driver, &address, &[]));
    let mut stdin = client.stdin();
    let feeding = std::thread::spawn(move || while stdin.write_all(&[b'x'; 60_000]).is_ok() {});
    drop(accept(&listener));
    client.exits_with(1);
    feeding.join().unwrap();
}

fn expected_messages_are_waited_for_without_an_end_of_ours(driver: &str) {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub(driver, &address, &["--expect", "2"]));
    feed(client.stdin(), b"one\ntwo\nthree\n".to_vec());
    let mut peer = accept(&listener);
    assert_same(&receive(&peer, 35), &all_framed(&["one", "two", "three"]));
    peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "no end of theirs");
    peer.write_all(&framed(b"first")).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "nor after the first answer");
    // What comes besides is not printed.
    peer.write_all(&all_framed(&["second", "third"])).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_to_end(&peer), b"");
    drop(peer);
    let stdout = client.stdout();
    assert_eq!(bounded("the answers", move || read_to_end(stdout)), b"first\nsecond\n");
    assert_eq!(client.exits_with(0), "");
}

fn fewer_messages_than_expected_are_a_failure(driver: &str) {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub(driver, &address, &["--expect", "5"]));
    let stdin = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all(&all_framed(&["1", "2", "3"])).unwrap();
    drop(peer);
    let stdout = client.stdout();
    assert_eq!(bounded("the answers", move || read_to_end(stdout)), b"1\n2\n3\n");
    assert_eq!(
        client.exits_with(1),
        format!("drywire: {address} ended after 3 of 5 messages; see there why, or expect fewer\n")
    );
    drop(stdin);
}

fn server_that_breaks_the_format_is_a_failure_in_words(driver: &str) {
    let (listener, address) = listen();
    let cut = framed(b"never whole")[..12].to_vec();
    let too_long = u64::to_le_bytes((16 << 20) + 1).to_vec();
    for (sent, words) in [
        (cut, "ended 12 bytes into a message; what came before is whole, see there why it broke off"),
        (
            too_long,
            "announced a message longer than 16777216 bytes; check that it is a hub, or allow more with --longest",
        ),
    ] {
        let mut client = Program::start(&mut hub(driver, &address, &[]));
        let stdin = client.stdin();
        let mut peer = accept(&listener);
        peer.write_all(&[framed(b"whole"), sent].concat()).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let stdout = client.stdout();
        assert_eq!(bounded("what is whole", move || read_to_end(stdout)), b"whole\n");
        assert_eq!(client.exits_with(1), format!("drywire: {address} {words}\n"));
        drop(stdin);
    }
}

fn messages_are_printed_when_they_come(driver: &str) {
    let server = Server::start(&["hub"]);
    let mut client = Program::start(&mut hub(driver, &server.address, &[]));
    let stdout = Collected::new(client.stdout());
    let mut stdin = client.stdin();
    for n in 0..20 {
        writeln!(stdin, "message {n}").unwrap();
        stdout.wait_for(&format!("message {n}\n"));
    }
    drop(stdin);
    assert_eq!(client.exits_with(0), "");
}

fn fault_56_reader_of_the_messages_that_has_seen_enough_ends_it_quietly(driver: &str) {
    let server = Server::start(&["hub"]);
    let mut client = Program::start(&mut hub(driver, &server.address, &[]));
    feed(client.stdin(), joined(&lines(MANY_BYTES)));
    let mut stdout = client.stdout();
    bounded("the first bytes", move || stdout.read_exact(&mut [0; 10]).unwrap());
    assert_eq!(client.exits_with(0), "");
}

fn silent_server_is_given_up_in_time(driver: &str) {
    let (_listener, address) = listen();
    let words = format!("drywire: gave up on {address}: nothing moved for 200ms\n");
    let mut client = Program::start(&mut hub(driver, &address, &["--idle-timeout", "200ms"]));
    let stdin = client.stdin();
    assert_eq!(client.exits_with(1), words);
    drop(stdin);
    // Nor does it wait for a server that takes nothing.
    assert_eq!(failure(&mut hub(driver, &address, &["--idle-timeout", "200ms"]), &joined(&lines(MANY_BYTES))), words);
}

#[test]
fn all_is_sent_before_our_end_and_the_answer_may_be_late() {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub("mio", &address, &[]));
    feed(client.stdin(), b"one\ntwo".to_vec());
    let mut peer = accept(&listener);
    assert_same(&read_to_end(&peer), &all_framed(&["one", "two"]));
    std::thread::sleep(Duration::from_millis(50));
    peer.write_all(&framed(b"late")).unwrap();
    drop(peer);
    let stdout = client.stdout();
    assert_eq!(bounded("the answer", move || read_to_end(stdout)), b"late\n");
    assert_eq!(client.exits_with(0), "");
}

#[test]
fn nothing_expected_is_waited_for_by_nobody() {
    let (listener, address) = listen();
    let mut client = Program::start(&mut hub("mio", &address, &["--expect", "0"]));
    feed(client.stdin(), b"one\n".to_vec());
    let mut peer = accept(&listener);
    peer.write_all(&framed(b"unasked")).unwrap();
    assert_same(&read_to_end(&peer), &framed(b"one"));
    drop(peer);
    let stdout = Collected::new(client.stdout());
    assert_eq!(client.exits_with(0), "");
    assert_eq!(stdout.text(), "");
}

#[test]
fn e10_refused_hub_says_what_to_do_and_leaves_stdin_alone() {
    let address = nobody();
    let (input, mut ours) = std::io::pipe().unwrap();
    ours.write_all(b"for the next try").unwrap();
    let stderr = Program::start(hub("mio", &address, &[]).stdin(input.try_clone().unwrap())).exits_with(1);
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
fn e10_files_that_cannot_be_sent_are_named_before_anything_is() {
    let directory = tempfile::tempdir().unwrap();
    let files = written(directory.path(), &[vec![0; 4], vec![0; 5]]);
    let missing = directory.path().join("missing").to_str().unwrap().to_owned();
    let itself = directory.path().to_str().unwrap();
    for (file, words) in [
        (&*files[1], "is longer than 4 bytes, nothing of it was sent; send it in parts, or allow more with --longest"),
        (&missing, "No such file or directory (os error 2); nothing of it was sent"),
        (itself, "is a directory; nothing of it was sent"),
    ] {
        // Nobody listens there, and that is not what is said.
        let stderr = failure(&mut hub("mio", &nobody(), &["--longest", "4", &files[0], file]), b"");
        assert!(stderr.contains(file) && stderr.ends_with(&format!("{words}\n")), "{stderr}");
    }
}

#[test]
fn input_beyond_the_longest_is_refused_behind_what_was_sent() {
    for (file, input, sent, words) in [
        (None, &b"1234\n12345\n1\n"[..], framed(b"1234"), "line 2 of standard input is longer than 4 bytes"),
        (Some("-"), b"12345", Vec::new(), "standard input is longer than 4 bytes"),
    ] {
        let (listener, address) = listen();
        let mut command = hub("mio", &address, &["--longest", "4"]);
        let mut client = Program::start(command.args(file));
        feed(client.stdin(), input.to_vec());
        let peer = accept(&listener);
        assert_same(&read_to_end(&peer), &sent);
        drop(peer);
        let stderr = client.exits_with(1);
        assert!(stderr.starts_with(&format!("drywire: {words}, nothing of it was sent; ")), "{stderr}");
    }
}

#[test]
fn longest_message_may_be_longer_and_is_then_longer_in_both_directions() {
    let (listener, address) = listen();
    let message = noise((40 << 20) + 1);
    let mut client = Program::start(&mut hub("mio", &address, &["-", "--raw", "--longest", "41MiB"]));
    feed(client.stdin(), message.clone());
    let peer = accept(&listener);
    let received = read_to_end(&peer);
    assert_same(&received, &framed(&message));
    feed(peer, received);
    let stdout = client.stdout();
    assert_same(&bounded("it comes back", move || read_to_end(stdout)), &message);
    assert_eq!(client.exits_with(0), "");
}

#[test]
fn fault_12_hub_that_resets_is_a_failure_and_what_came_before_it_is_printed() {
    fails_by_a_reset(|address| hub("mio", address, &[]), &framed(b"before"), "before\n");
}

#[test]
fn e10_messages_that_no_disk_takes_are_a_failure_in_words() {
    let server = Server::start(&["hub"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let stderr = failure(hub("mio", &server.address, &[]).stdout(full), b"hello\n");
    assert!(stderr.starts_with("drywire: standard output failed: No space left"), "{stderr}");
}

#[test]
fn wrong_options_of_the_hub_exit_with_2_and_say_why() {
    for (args, words) in [
        (&["--raw", "--lengths"][..], "cannot be used with"),
        (&["--longest", "0"], "from 1 to 1024MiB"),
        (&["--longest", "1025MiB"], "from 1 to 1024MiB"),
        (&["--expect=-1"], "--expect"),
    ] {
        let stderr = Program::start(&mut hub("mio", "127.0.0.1:1", args)).exits_with(2);
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
}
