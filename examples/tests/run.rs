//! Runs each example as a reader would, and checks what it shows.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// No peer waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn run(program: &str) -> String {
    let output = Command::new(program).output().expect("the example was built with this test");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("examples print text")
}

/// An example that serves. Killed, by its own id, when dropped.
struct Server {
    child: Child,
    shown: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    #[track_caller]
    fn start(program: &str, arg: &str) -> Server {
        let mut command = Command::new(program);
        let mut child = command.arg(arg).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
        let mut shown = BufReader::new(child.stdout.take().expect("piped"));
        let address = next_line(&mut shown).strip_prefix("listening on ").expect("it says where").to_owned();
        Server { child, shown, address }
    }

    #[track_caller]
    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        BufReader::new(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn next_line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line of text");
    assert_eq!(line.pop(), Some('\n'), "a whole line, not {line:?}");
    line
}

/// Everything up to the end.
#[track_caller]
fn rest(peer: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    peer.read_to_string(&mut text).expect("a clean end");
    text
}

/// The next line that is no report.
#[track_caller]
fn next_answer(server: &mut Server) -> String {
    loop {
        let line = next_line(&mut server.shown);
        if !line.starts_with("report ") {
            return line;
        }
    }
}

#[test]
fn a1_drive_by_hand_moves_a_connection_without_a_driver() {
    let shown = run(env!("CARGO_BIN_EXE_drive_by_hand"));
    assert!(shown.contains("  write: blocked\n  wait, read, write\npeer takes again\n"), "{shown}");
    assert!(shown.contains("  open motd\n"), "{shown}");
    assert!(
        shown.ends_with("on the wire: OK\\nOK 22\\nthe tide turns at six\\n-550 no such file\\nOK\\n\n"),
        "{shown}"
    );
}

#[test]
fn e5_thread_per_connection_serves_several_peers_each_to_its_own_end() {
    let server = Server::start(env!("CARGO_BIN_EXE_thread_per_connection"), env!("CARGO_MANIFEST_DIR"));
    let mut silent = server.connect();

    // One asks for a file, and ends its direction before it reads.
    let manifest = include_str!("../Cargo.toml");
    let mut asking = server.connect();
    asking.get_mut().write_all(b"GET Cargo.toml\nGET ../Cargo.toml\nSIZE nowhere\n").expect("it reads");
    asking.get_mut().shutdown(Shutdown::Write).expect("connected");
    let answers = format!("OK {}\n{manifest}-550 forbidden\n-550 no such file\n", manifest.len());
    assert_eq!(rest(&mut asking), answers);

    // One sends what is no request, and more than is ever read behind it.
    let mut wrong = server.connect();
    wrong.get_mut().write_all(b"NOOP\nHELO\n").expect("it reads");
    wrong.get_mut().write_all(&[b'x'; 200_000]).expect("it is discarded");
    assert_eq!(rest(&mut wrong), "OK\n-500 protocol error, bad command\n");

    // One was there all the time, and says goodbye.
    silent.get_mut().write_all(b"QUIT\n").expect("it reads");
    assert_eq!(rest(&mut silent), "OK\n");
}

#[test]
fn a2_own_loop_reports_and_obeys_while_it_serves() {
    let mut server = Server::start(env!("CARGO_BIN_EXE_own_loop"), "50");
    let mut typing = server.child.stdin.take().expect("piped");
    let mut peer = server.connect();
    peer.get_mut().write_all(b"over\n").expect("it reads");
    assert_eq!(next_line(&mut peer), "over");

    typing.write_all(b"cou").expect("it reads");
    while !next_line(&mut server.shown).ends_with(": 1 connected") {}
    typing.write_all(b"nt\nwhat\n").expect("it reads");
    assert_eq!(next_answer(&mut server), "1 connected");
    assert_eq!(next_answer(&mut server), "count or stop, not what");

    typing.write_all(b"stop\n").expect("it reads");
    assert_eq!(rest(&mut peer), "", "what is owed is sent, and that is nothing");
    drop(peer);
    assert_eq!(next_answer(&mut server), "stopped");
    assert!(server.child.wait().expect("it runs, or waits to be reaped").success());
}

#[test]
fn w3_typed_server_and_client_understand_each_other_and_a_stranger_is_cut_off() {
    let shown = run(env!("CARGO_BIN_EXE_typed"));
    let of = |who: &str| shown.lines().filter(|line| line.starts_with(who)).collect::<Vec<_>>().join("\n");
    assert_eq!(
        of("client: "),
        "client: Add { name: \"tea\", n: 2 }\n\
         client: Count(2)\n\
         client: Add { name: \"tea\", n: 40 }\n\
         client: Count(42)\n\
         client: Get { name: \"tea\" }\n\
         client: Count(42)\n\
         client: Get { name: \"coffee\" }\n\
         client: Unknown"
    );
    assert_eq!(of("server: "), "server: finished\nserver: protocol error: bad message: nothing begins with 72");
}
