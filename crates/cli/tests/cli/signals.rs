//! SIGHUP, and a second signal when an event loop is stuck.

use crate::support::{Program, Server, drywire, installed, read_to_end};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

crate::support::on_every_driver!(
    hang_up_without_a_certificate_reads_nothing_and_serves_on,
    second_signal_ends_a_server_whose_loop_is_stuck,
);

#[track_caller]
fn echoes(peer: &mut TcpStream) {
    peer.write_all(b"hello\n").unwrap();
    let mut echo = [0; 6];
    peer.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello\n");
}

fn hang_up_without_a_certificate_reads_nothing_and_serves_on(driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    let args = ["line-echo", "--driver", driver, "--workers", "2", "--record", record.to_str().unwrap()];
    let mut server = Server::start(&args);
    let mut peer = server.connect();
    echoes(&mut peer);
    server.program.signal(Signal::HUP);
    server.program.stderr.wait_for("nothing to read again");
    echoes(&mut peer);
    echoes(&mut server.connect());
    drop(peer);
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
    assert_eq!(fs::read_dir(record).unwrap().count(), 2, "what was recorded is there");
}

#[test]
fn report_of_a_shutdown_does_not_wait_for_recordings() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    let args = ["line-echo", "--drain-timeout", "0", "--record", record.to_str().unwrap()];
    let mut server = Server::start(&args);
    let mut peer = server.connect();
    echoes(&mut peer);
    fs::remove_dir_all(record).unwrap();
    server.program.signal(Signal::TERM);
    let stderr = server.program.exits_with(0);
    let [report, recordings] = ["1 connection did not finish", "1 not written"].map(|what| stderr.find(what));
    assert!(report.is_some() && report < recordings, "{stderr}");
}

/// What nohup(1) does, with standard error where it was.
#[test]
fn hang_up_that_was_ignored_stays_ignored() {
    let mut nohup = Command::new("sh");
    nohup.args(["-c", r#"trap "" HUP; exec "$@""#, "sh", env!("CARGO_BIN_EXE_drywire")]);
    nohup.args(["serve", "line-echo", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    let mut server = Server::start_command(nohup.stdout(Stdio::piped()).stderr(Stdio::piped()));
    server.program.stderr.wait_for("type  a line");
    server.program.signal(Signal::HUP);
    echoes(&mut server.connect());
    server.program.signal(Signal::TERM);
    let stderr = server.program.exits_with(0);
    assert!(!stderr.contains("hang-up"), "{stderr}");
}

/// A server whose controlling terminal this is, and the terminal's other side.
fn start_in_a_terminal() -> Option<(Server, OwnedFd)> {
    let setsid = installed(&["setsid"], "util-linux", "to start a session")?;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let line = fs::File::open(ptsname(&master, Vec::new()).unwrap().to_str().unwrap());
    let mut command = Command::new(setsid);
    command.args(["--ctty", env!("CARGO_BIN_EXE_drywire"), "serve", "line-echo", "--listen", "127.0.0.1:0"]);
    let server = Server::start_command(command.stdin(line.unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    Some((server, master))
}

#[test]
fn terminal_that_goes_stops_the_server_it_has_started() {
    let Some((mut server, terminal)) = start_in_a_terminal() else { return };
    let mut peer = server.connect();
    echoes(&mut peer);
    server.program.signal(Signal::HUP);
    server.program.stderr.wait_for("nothing to read again");
    echoes(&mut peer);
    drop(terminal);
    assert_eq!(read_to_end(&peer), b"", "an end, and no reset");
    drop(peer);
    let stderr = server.program.exits_with(0);
    assert!(stderr.contains("stopping; 1 connection may finish"), "{stderr}");
}

fn second_signal_ends_a_server_whose_loop_is_stuck(driver: &str) {
    let Some(python) = installed(&["python3"], "python3", "to stop a single thread") else { return };
    let mut stuck = Command::new(python);
    stuck.args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/signals/stuck.py"), env!("CARGO_BIN_EXE_drywire")]);
    let output = stuck.arg(driver).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("ended by force"), "{output:?}");
}

/// A pipe whose reader has stopped: it takes nothing more.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while (&writer).write(b"\n").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

crate::support::on_every_driver!(fault_56_output_that_is_full_stops_no_server);

/// Standard output and standard error both; and nothing of what is said is lost when it is read in time.
fn fault_56_output_that_is_full_stops_no_server(driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let args = ["serve", "line-echo", "--listen", &listen, "--log", "trace", "--workers", "2", "--driver", driver];
    let ((_stdout, out), (mut stderr, err)) = (full_pipe(), full_pipe());
    let mut server = Program::start(drywire(&args).stdout(out).stderr(err));
    for _ in 0..20 {
        let connect = || std::os::unix::net::UnixStream::connect(&path).ok();
        let mut peer = crate::support::until("it serves", connect);
        peer.write_all(b"hello\nquit\n").unwrap();
        let echo = crate::support::bounded("the echo", move || read_to_end(peer));
        assert_eq!(echo, b"hello\nquit\n");
    }
    if driver == "mio" {
        // Nothing is read until the end.
        server.signal(Signal::TERM);
        server.exits_with(0);
        return;
    }
    let read = std::thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        said
    });
    server.signal(Signal::TERM);
    server.exits_with(0);
    let said = read.join().unwrap();
    assert_eq!(said.matches(" closed ").count(), 20, "{said}");
    assert!(said.contains("serving, though standard output does not take the addresses"), "{said}");
}
