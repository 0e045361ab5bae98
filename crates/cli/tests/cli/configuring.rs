//! `drywire check`, and `drywire serve` from a file, on several workers, on inherited sockets.

use crate::support::{
    Collected, Program, Server, bounded, drywire, in_time, inheriting, on_every_driver, read_to_end, until,
};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What `drywire check` says of this text, and its status.
#[track_caller]
fn check(text: &str) -> (String, i32) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    let path = file.path().to_str().unwrap();
    let mut program = Program::start(&mut drywire(&["check", path]));
    let stdout = Collected::new(program.stdout());
    let status = program.wait();
    stdout.wait_for_end();
    (stdout.text().replace(path, "FILE"), status.code().unwrap())
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/drywire.toml")
}

fn file(directory: &tempfile::TempDir, text: &str) -> String {
    let path = directory.path().join("drywire.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().into()
}

#[test]
fn w5_check_says_what_is_wrong_by_line_and_exits_with_3() {
    let (says, status) = check("workers = 0\n\n[timeouts]\nmesage = \"1s\"\nidle = 5\n");
    assert_eq!(
        says,
        "FILE:1:11: workers: 0 workers; it takes 1 to 1024\n\
         FILE:4:1: there is no key `mesage` in [timeouts]; did you mean `message`?\n\
         FILE:5:8: timeouts.idle: a duration has a unit; write \"5s\" or \"5ms\"\n"
    );
    assert_eq!(status, 3);
}

#[test]
fn w5_check_says_what_would_run_and_what_this_machine_lacks() {
    let (says, status) = check(&fs::read_to_string(example()).unwrap());
    assert!(says.starts_with("FILE: ok\n  listens on    nothing yet"), "{says}");
    assert_eq!(status, 0);
    let text = "root = \"/nowhere/at/all\"\nlisten = [\"127.0.0.1:7\", \"unix:/nowhere/else/x\"]\nworkers = 4\n";
    let (says, status) = check(text);
    assert!(says.contains("  listens on    127.0.0.1:7\n  listens on    unix:/nowhere/else/x\n"), "{says}");
    assert!(says.contains("  workers       4, each with a socket of its own"), "{says}");
    assert!(says.contains("warning:      root /nowhere/at/all is no directory here\n"), "{says}");
    assert!(says.contains("warning:      for unix:/nowhere/else/x, /nowhere/else is no directory here\n"), "{says}");
    assert_eq!(status, 0);
}

#[test]
fn e10_a_file_that_cannot_be_read_is_named() {
    for command in [&["check"][..], &["serve", "line-echo", "--config"]] {
        let args = [command, &["/nowhere/drywire.toml"]].concat();
        let says = Program::start(&mut drywire(&args)).exits_with(1);
        assert!(says.starts_with("drywire: cannot read /nowhere/drywire.toml: No such file"), "{says}");
    }
    let says = Program::start(&mut drywire(&["check", "/dev/zero"])).exits_with(1);
    assert!(says.contains("longer than 1 MiB") || says.contains("cannot read"), "{says}");
}

#[test]
fn w5_serve_refuses_what_check_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "backlog = 0\nlisten = [\"127.0.0.1:0\"]\n");
    let says = Program::start(&mut drywire(&["serve", "line-echo", "--config", &path])).exits_with(1);
    assert_eq!(says, format!("drywire: {path}:1:11: backlog: 0 would stop everything; write 1 or more\n"));
}

#[test]
fn i2_budget_below_what_one_connection_may_need_is_refused_with_both_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "memory-bytes = \"64MiB\"\nworkers = 2\nlisten = [\"127.0.0.1:0\"]\n");
    let says = Program::start(&mut drywire(&["serve", "hub", "--config", &path])).exits_with(1);
    assert!(says.starts_with("drywire: memory-bytes: 67108864 bytes are too few for hub, one connection"), "{says}");
    let (least, _) = says.split_once("; write ").unwrap().1.split_once(" or more for 2 workers").unwrap();
    let checked = drywire(&["check", &path, "hub"]).output().unwrap();
    let checked = (checked.status.code(), String::from_utf8(checked.stdout).unwrap());
    assert_eq!(checked, (Some(3), says.replace("drywire: ", &format!("{path}: "))));
    // Others may be served with it, and it is said which may not.
    let (says, status) = check("memory-bytes = \"64MiB\"\n");
    assert!(says.contains("  warning:      memory-bytes: 67108864 bytes are too few for hub"), "{says}");
    assert_eq!((says.matches("warning").count(), status), (1, 0), "{says}");
    // What it says is right.
    let enough = format!("memory-bytes = {least}\nworkers = 2\nlisten = [\"127.0.0.1:0\"]\n");
    let path = file(&directory, &enough);
    let mut server = Server::start_command(&mut drywire(&["serve", "hub", "--config", &path]));
    let mut peer = server.connect();
    peer.write_all(&[0; 8]).unwrap();
    peer.read_exact(&mut [1; 8]).unwrap();
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
    let (says, status) = check("memory-bytes = 1000\n");
    assert!(says.starts_with("FILE: memory-bytes: 1000 bytes are too few for byte-echo"), "{says}");
    assert_eq!(status, 3);
}

on_every_driver!(w5_file_is_served_at_every_place_and_what_is_typed_counts_instead);

fn w5_file_is_served_at_every_place_and_what_is_typed_counts_instead(driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let place = format!("{{ address = \"unix:{}\", mode = \"0600\" }}", socket.display());
    let path = file(&directory, &format!("listen = [\"127.0.0.1:0\", {place}]\nworkers = 2\nroot = \"/nowhere\"\n"));
    let mut server =
        Server::start_command(&mut drywire(&["serve", "line-echo", "--driver", driver, "--config", &path]));
    let mut peer = server.connect();
    peer.write_all(b"one\nquit\n").unwrap();
    assert_eq!(read_to_end(&peer), b"one\nquit\n");
    server.stdout.wait_for(&format!("unix:{}\n", socket.display()));
    for _ in 0..4 {
        let mut peer = UnixStream::connect(&socket).unwrap();
        peer.write_all(b"two\nquit\n").unwrap();
        assert_eq!(bounded("the echo", move || read_to_end(peer)), b"two\nquit\n");
    }
    drop(peer);
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
    assert!(!socket.exists());
    let typed = ["serve", "line-echo", "--driver", driver, "--config", &path, "--listen", "127.0.0.1:0"];
    let mut server = Server::start_command(&mut drywire(&typed));
    server.connect();
    assert!(!socket.exists(), "what was typed counts instead");
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
}

on_every_driver!(w6_one_signal_drains_every_worker);

/// Each of them, also those without a connection, and those whose peer is in the middle of something.
fn w6_one_signal_drains_every_worker(driver: &str) {
    let mut server = Server::start(&["line-echo", "--driver", driver, "--workers", "4"]);
    let mut peers: Vec<TcpStream> = (0..24).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.write_all(b"hello\nhal").unwrap();
        let mut echo = [0; 6];
        peer.read_exact(&mut echo).unwrap();
    }
    server.program.signal(Signal::TERM);
    for peer in &peers {
        assert_eq!(read_to_end(peer), b"", "the end, and no reset");
    }
    drop(peers);
    let says = server.program.exits_with(0);
    assert!(says.contains("stopping; 24 connections may finish within 8s"), "{says}");
    assert!(!says.contains("did not finish"), "{says}");
}

on_every_driver!(w6_second_signal_cuts_on_every_worker);

fn w6_second_signal_cuts_on_every_worker(driver: &str) {
    let root = tempfile::tempdir().unwrap();
    fs::File::create(root.path().join("big")).unwrap().set_len(1 << 30).unwrap();
    let root = root.path().to_str().unwrap();
    let mut server = Server::start(&["dialog", "--driver", driver, "--workers", "3", "--root", root]);
    let mut peers: Vec<TcpStream> = (0..12).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.write_all(b"GET big\n").unwrap();
        peer.read_exact(&mut [0; 16]).unwrap();
    }
    server.program.signal(Signal::TERM);
    server.program.stderr.wait_for("12 connections may finish");
    // What comes sooner is the same wish.
    std::thread::sleep(Duration::from_millis(1100));
    server.program.signal(Signal::TERM);
    let says = server.program.exits_with(0);
    assert!(says.contains("stopped; 12 connections did not finish"), "{says}");
}

on_every_driver!(w5_timeouts_of_the_file_end_whoever_is_too_slow);

/// Who says nothing, who does not finish a line, and who falls silent after one: each hears which time was over.
fn w5_timeouts_of_the_file_end_whoever_is_too_slow(driver: &str) {
    in_time(|times| {
        let directory = tempfile::tempdir().unwrap();
        let [first_byte, message, idle] = [300, 400, 500].map(|ms| times * ms);
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\nworkers = 2\n[timeouts]\nfirst-byte = \"{first_byte}ms\"\n\
             message = \"{message}ms\"\nidle = \"{idle}ms\"\nmin-rate = \"none\"\n"
        );
        let path = file(&directory, &text);
        let args = ["serve", "line-echo", "--driver", driver, "--config", &path];
        let server = Server::start_command(&mut drywire(&args));
        let peers = [
            ("", format!("error: nothing said for {first_byte} ms\n")),
            ("one\ntw", format!("one\nerror: message not whole within {message} ms\n")),
            ("one\n", format!("one\nerror: nothing moved for {idle} ms\n")),
        ];
        let mut longest = Duration::ZERO;
        let open = peers.map(|(says, hears)| {
            let start = Instant::now();
            let mut peer = server.connect();
            let _ = peer.write_all(says.as_bytes());
            longest = longest.max(start.elapsed());
            (peer, hears)
        });
        // All they have to say has to be said before the first byte is due.
        if longest >= Duration::from_millis(first_byte.into()) {
            return false;
        }
        for (peer, hears) in open {
            assert_eq!(String::from_utf8_lossy(&read_to_end(&peer)), hears);
        }
        true
    });
}

on_every_driver!(fault_25_26_caps_of_the_file_turn_peers_away_with_its_words);

/// The caps are those of all workers together, and whoever comes when one has gone is served.
fn fault_25_26_caps_of_the_file_turn_peers_away_with_its_words(driver: &str) {
    for cap in ["max-connections", "max-connections-per-address"] {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("listen = [\"127.0.0.1:0\"]\nworkers = 3\n{cap} = 4\nrefusal = \"421 too busy\\r\\n\"\n");
        let path = file(&directory, &text);
        let args = ["serve", "line-echo", "--driver", driver, "--config", &path];
        let server = Server::start_command(&mut drywire(&args));
        let mut inside: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
        for peer in &mut inside {
            peer.write_all(b"hello\n").unwrap();
            peer.read_exact(&mut [0; 6]).unwrap();
        }
        for _ in 0..6 {
            assert_eq!(read_to_end(server.connect()), b"421 too busy\r\n", "{cap}");
        }
        server.program.stderr.wait_for("and no more are allowed");
        inside.pop();
        until("somebody is let in", || {
            let mut peer = server.connect();
            // Whoever is turned away may find that out here.
            let _ = peer.write_all(b"quit\n");
            let mut said = Vec::new();
            let _ = peer.read_to_end(&mut said);
            (said == b"quit\n").then_some(())
        });
    }
}

on_every_driver!(fault_57_report_names_who_was_cut_on_every_worker);

fn fault_57_report_names_who_was_cut_on_every_worker(driver: &str) {
    const PEERS: usize = 12;
    let root = tempfile::tempdir().unwrap();
    fs::File::create(root.path().join("big")).unwrap().set_len(1 << 30).unwrap();
    let root = root.path().to_str().unwrap();
    let args = ["dialog", "--driver", driver, "--workers", "2", "--root", root, "--drain-timeout", "200ms"];
    let mut server = Server::start(&args);
    let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.write_all(b"GET big\n").unwrap();
        peer.read_exact(&mut [0; 16]).unwrap();
    }
    let mut finished = server.connect();
    finished.write_all(b"NOOP\nQUIT\n").unwrap();
    assert_eq!(read_to_end(&finished), b"OK\nOK\n");
    drop(finished);
    server.program.signal(Signal::TERM);
    let says = server.program.exits_with(0);
    for peer in &peers {
        let named = format!("drywire: not finished: {}: aborted, ", peer.local_addr().unwrap());
        assert_eq!(says.matches(&named).count(), 1, "{says}");
    }
    assert_eq!(says.matches("not finished").count(), PEERS, "{says}");
    assert!(says.ends_with(&format!("drywire: stopped; {PEERS} connections did not finish\n")), "{says}");
}

#[test]
fn e10_a_second_server_is_told_that_the_port_is_in_use_however_many_workers() {
    let server = Server::start(&["byte-echo", "--workers", "2"]);
    for workers in ["1", "2"] {
        let args = ["serve", "byte-echo", "--listen", &server.address, "--workers", workers];
        let says = Program::start(&mut drywire(&args)).exits_with(1);
        assert!(says.contains("address already in use"), "{says}");
    }
}

on_every_driver!(w5_sockets_that_systemd_opened_are_served_by_name);

fn w5_sockets_that_systemd_opened_are_served_by_name(driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&socket).unwrap());
    let address = tcp.local_addr().unwrap();
    // Somebody comes before there is a server: the point of it.
    let mut early = TcpStream::connect(address).unwrap();
    early.write_all(b"early\nquit\n").unwrap();
    let path = file(&directory, "listen = [\"systemd:mail\", \"systemd:local\"]\n");
    let args = ["--driver", driver, "--workers", "2", "--config", &path];
    let mut command = inheriting("3<&0 4<&1", "mail:local", &args);
    let mut program = Program::start(command.stdin(OwnedFd::from(tcp)).stdout(OwnedFd::from(unix)));
    // `command` has its copies still; they are not the program's to close.
    drop(command);
    program.stderr.wait_for(&format!("{address}\nunix:{}\n", socket.display()));
    assert_eq!(bounded("the echo", move || read_to_end(early)), b"early\nquit\n");
    for _ in 0..4 {
        let mut peer = UnixStream::connect(&socket).unwrap();
        peer.write_all(b"hello\n").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bounded("the echo", move || read_to_end(peer)), b"hello\n");
    }
    program.signal(Signal::TERM);
    program.exits_with(0);
    assert!(socket.exists(), "it is systemd's to remove");
}

#[test]
fn e10_a_socket_that_nobody_handed_over_is_said_with_those_that_were() {
    let says = Program::start(&mut drywire(&["serve", "line-echo", "--listen", "systemd:mail"])).exits_with(1);
    assert!(says.contains("no socket with the name mail was handed over; none was at all"), "{says}");
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let mut command = inheriting("3<&0", "other", &["--listen", "systemd:mail"]);
    let says = Program::start(command.stdin(tcp()).stdout(Stdio::null())).exits_with(1);
    assert!(says.contains("there are other; FileDescriptorName= gives a name"), "{says}");
    let stream = UnixStream::pair().unwrap().0;
    let mut command = inheriting("3<&0", "mail", &["--listen", "systemd:mail"]);
    let says = Program::start(command.stdin(OwnedFd::from(stream)).stdout(Stdio::null())).exits_with(1);
    assert!(says.contains("what was handed over as mail is no listening stream socket"), "{says}");
}

#[test]
fn fault_71_check_and_errors_quote_nothing_that_steers_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let steer = "/nowhere\\u001b[31m\\ndrywire: forged";
    let odd = directory.path().join("a\u{1b}[2J.toml");
    let path = odd.to_str().unwrap();
    let fine =
        format!("listen = [\"unix:{steer}\", \"systemd:a\\u001b\\nb\"]\nroot = \"{steer}\"\nsecrets = [\"{steer}\"]\n");
    let wrong = format!("listen = [\"{steer}\", \"unix:{steer}{}\"]\ntick = \"5 {steer}\"\n", "x".repeat(100));
    fs::write(&odd, fine).unwrap();
    let says = |args: &[&str], status: i32| {
        let output = drywire(args).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let steers = |c: char| c.is_control() && c != '\n';
        assert!(!said.contains(steers) && said.lines().all(|line| !line.starts_with("drywire: forged")), "{said}");
        said
    };
    let said = says(&["check", path], 0);
    assert!(said.contains(r"systemd:a\x1b\nb") && said.contains(r"below /nowhere\x1b[31m\ndrywire: forged"), "{said}");
    says(&["serve", "line-echo", "--config", path], 1);
    fs::write(&odd, wrong).unwrap();
    says(&["check", path], 3);
    says(&["serve", "line-echo", "--config", path], 1);
    // In a directory that is not there, or one of them would be made.
    let steer = "/nowhere/\u{1b}[31m\ndrywire: forged";
    says(&["serve", "dialog", "--root", steer], 1);
    says(&["serve", "line-echo", "--listen", steer], 2);
    says(&["serve", steer], 2);
    says(&["serve", "dialog", &format!("--{steer}")], 2);
    says(&["check", steer], 1);
    says(&["trace", steer], 1);
    says(&["connect", &format!("unix:{steer}")], 1);
    says(&["serve", "line-echo", "--record", steer], 1);
    says(&["serve", "line-echo", "--tls-cert", steer, "--tls-key", steer], 1);
}
