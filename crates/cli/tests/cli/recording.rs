//! `drywire serve --record`: real sessions on real sockets, and what is on the disk then.

use crate::support::{Program, Server, drywire, noise, read_to_end, until};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

crate::support::on_every_driver!(
    line_echo_session_replays_identically,
    byte_echo_session_replays_identically,
    dialog_with_files_and_a_slow_reader_replays_identically,
    reset_and_shutdown_replay_identically,
    secrets_in_messages_behind_a_mask_are_not_on_the_disk,
    secrets_behind_a_mask_are_not_on_the_disk_over_tls_and_starttls,
);

/// A server that records into a directory of its own.
struct Recording {
    server: Server,
    directory: TempDir,
}

impl Recording {
    #[track_caller]
    fn start(args: &[&str]) -> Recording {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("record");
        let args = [args, &["--record", record.to_str().unwrap()]].concat();
        Recording { server: Server::start(&args), directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("record")
    }

    /// Those there are, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| is_whole(path))
            .collect();
        files.sort();
        files
    }

    #[track_caller]
    fn wait_for(&self, count: usize) -> Vec<PathBuf> {
        until("the recordings are written", || Some(self.files()).filter(|files| files.len() >= count))
    }

    #[track_caller]
    fn stop(&mut self) -> String {
        self.server.program.signal(Signal::TERM);
        self.server.program.exits_with(0)
    }
}

fn is_whole(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "dwr")
}

#[track_caller]
fn replays_identically(path: &Path) {
    let mut program = Program::start(&mut drywire(&["replay", path.to_str().unwrap()]));
    let said = String::from_utf8(read_to_end(program.stdout())).unwrap();
    program.wait();
    assert!(said.contains(": identical: "), "{said}");
}

/// Sends it in pieces, so that a server sees several reads.
fn trickle(peer: &mut TcpStream, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        peer.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
}

fn line_echo_session_replays_identically(driver: &str) {
    let mut recording = Recording::start(&["line-echo", "--driver", driver]);
    let mut peer = recording.server.connect();
    trickle(&mut peer, b"one\ntwo\r\nthree and more\n\0\xff\nquit\n", 5);
    assert_eq!(read_to_end(&peer), b"one\ntwo\r\nthree and more\n\0\xff\nquit\n");
    drop(peer);
    let file = recording.wait_for(1).remove(0);
    replays_identically(&file);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("20") && name.ends_with("-000001-line-echo.dwr"), "{name}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&file).unwrap();
    let note = String::from_utf8_lossy(&bytes).into_owned();
    assert!(note.contains("peer 127.0.0.1:") && note.contains(&format!("driver {driver}, drywire 0.")), "{note}");
    assert!(!recording.stop().contains("recording"));
}

fn byte_echo_session_replays_identically(driver: &str) {
    let recording = Recording::start(&["byte-echo", "--driver", driver]);
    let sent = noise(300_000);
    let mut peer = recording.server.connect();
    let mut reader = peer.try_clone().unwrap();
    let echo = thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    peer.write_all(&sent).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert!(echo.join().unwrap() == sent);
    replays_identically(&recording.wait_for(1)[0]);
}

fn dialog_with_files_and_a_slow_reader_replays_identically(driver: &str) {
    let root = tempfile::tempdir().unwrap();
    let contents = noise(8 << 20);
    fs::write(root.path().join("big"), &contents).unwrap();
    let recording = Recording::start(&["dialog", "--driver", driver, "--root", root.path().to_str().unwrap()]);
    let mut peer = recording.server.connect();
    peer.write_all(b"SIZE big\nGET no\nGET big\nNOOP\nGET big\nWHAT\n").unwrap();
    thread::sleep(Duration::from_millis(50));
    let got = read_to_end(&peer);
    assert_eq!(got.len(), 11 + 18 + 11 + (8 << 20) + 3 + 11 + (8 << 20) + 33);
    drop(peer);
    let file = recording.wait_for(1).remove(0);
    replays_identically(&file);
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() < 16 * 1024, "{} bytes: a file's contents are not recorded", bytes.len());
    let found = contents.chunks_exact(64).take(1000).any(|piece| bytes.windows(64).any(|window| window == piece));
    assert!(!found, "a file's contents are not recorded");
}

fn reset_and_shutdown_replay_identically(driver: &str) {
    let mut recording = Recording::start(&["byte-echo", "--driver", driver, "--drain-timeout", "0"]);
    let mut left = recording.server.connect();
    left.write_all(b"unread").unwrap();
    left.peek(&mut [0; 6]).unwrap();
    // What was not read makes it a reset.
    drop(left);
    let mut staying = recording.server.connect();
    staying.write_all(b"hello").unwrap();
    staying.read_exact(&mut [0; 5]).unwrap();
    recording.stop();
    for file in recording.wait_for(2) {
        replays_identically(&file);
    }
}

#[test]
fn secrets_behind_a_mask_are_not_on_the_disk() {
    let mut recording =
        Recording::start(&["line-echo", "--record-mask", "PASS ", "--record-mask", "TOKEN=", "--record-keep", "9"]);
    let mut peer = recording.server.connect();
    peer.write_all(b"USER me\npass hun").unwrap();
    thread::sleep(Duration::from_millis(20));
    peer.write_all(b"ter2\nTOKEN=s3cr3t\nquit\n").unwrap();
    assert_eq!(read_to_end(&peer), b"USER me\npass hunter2\nTOKEN=s3cr3t\nquit\n");
    drop(peer);
    let file = recording.wait_for(1).remove(0);
    let bytes = fs::read(&file).unwrap();
    let holds = |what: &[u8]| holds(&bytes, what);
    assert!(holds(b"USER me\n") && holds(b"quit\n") && holds(b"TOKEN=******\n"), "{}", bytes.escape_ascii());
    for secret in [&b"hun"[..], b"ter2", b"s3cr3t"] {
        assert!(!holds(secret), "{}", secret.escape_ascii());
    }
    replays_identically(&file);
    recording.stop();
}

/// A message of the hub: its length in eight bytes, and so many bytes.
fn message(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn holds(file: &[u8], what: &[u8]) -> bool {
    file.windows(what.len()).any(|window| window == what)
}

fn secrets_in_messages_behind_a_mask_are_not_on_the_disk(driver: &str) {
    let recording = Recording::start(&["hub", "--driver", driver, "--record-mask", "PASS "]);
    let sent = ["USER me", "PASS hunter2", "", "pass Tr0ub4dor", "first\nPASS in-a-line\nlast"].map(message).concat();
    // Whole, and one byte after the other, which cuts lengths, words and secrets.
    for piece in [sent.len(), 1] {
        let mut peer = recording.server.connect();
        peer.set_nodelay(true).unwrap();
        trickle(&mut peer, &sent, piece);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&peer), sent);
    }
    for path in recording.wait_for(2) {
        let said = stdout(&["trace", path.to_str().unwrap(), "--bytes", "4096"], 0);
        assert!(said.contains("Recorded with a mask: "), "{said}");
        let file = fs::read(&path).unwrap();
        for secret in ["hunter2", "Tr0ub4dor", "in-a-line", "unter", "r0ub", "in-a"] {
            assert!(!holds(&file, secret.as_bytes()), "{secret}: {}", file.escape_ascii());
        }
        replays_identically(&path);
    }
}

/// The tape lies above the layers, so it is the words that are masked, in the open and behind the upgrade.
fn secrets_behind_a_mask_are_not_on_the_disk_over_tls_and_starttls(driver: &str) {
    let place = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| place.path().join(name));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = drywire_tls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = drywire_tls::Client::new(roots).unwrap();
    let pair = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    for (protocol, is_upgraded) in [(&["line-echo"][..], false), (&["dialog", "--starttls"], true)] {
        let mask = ["--driver", driver, "--record-mask", "PASS ", "--record-mask", "GET "];
        let recording = Recording::start(&[protocol, &mask, &pair].concat());
        let mut peer = recording.server.connect();
        if is_upgraded {
            peer.write_all(b"GET open-secret\nSTARTTLS\n").unwrap();
            let mut answer = [0; 21];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"-550 no such file\nOK\n");
        }
        let said: &[u8] = if is_upgraded { b"GET hidden-secret\nQUIT\n" } else { b"PASS hidden-secret\nquit\n" };
        let answer = over_tls(peer, &client, said);
        assert!(answer.ends_with(if is_upgraded { b"OK\n" } else { b"quit\n" }), "{}", answer.escape_ascii());
        let file = fs::read(&recording.wait_for(1)[0]).unwrap();
        assert!(!holds(&file, b"secret"), "{}", file.escape_ascii());
        assert!(holds(&file, if is_upgraded { b"GET *************\n" } else { b"PASS *************\n" }));
        replays_identically(&recording.files()[0]);
    }
}

/// Says this over TLS, a byte of it in each record, and gives what comes until the other side says goodbye.
fn over_tls(mut peer: TcpStream, client: &drywire_tls::Client, mut said: &[u8]) -> Vec<u8> {
    use drywire_core::layer::{Layer, Sink};
    let mut tls = client.connect("localhost").unwrap();
    let (mut plain, mut wire, mut chunk) = (Vec::new(), Vec::new(), [0; 4096]);
    tls.open(&mut Sink::unbounded(&mut wire)).unwrap();
    while !tls.has_ended() {
        while !said.is_empty() && !tls.is_handshaking() {
            let n = tls.send(&said[..1], &mut Sink::unbounded(&mut wire)).unwrap();
            said = &said[n..];
        }
        peer.write_all(&std::mem::take(&mut wire)).unwrap();
        let n = peer.read(&mut chunk).unwrap();
        if n == 0 {
            break;
        }
        tls.receive(&chunk[..n], &mut Sink::unbounded(&mut plain), &mut Sink::unbounded(&mut wire)).unwrap();
    }
    plain
}

/// What a command prints.
#[track_caller]
fn stdout(args: &[&str], status: i32) -> String {
    let mut program = Program::start(&mut drywire(args));
    let said = read_to_end(program.stdout());
    program.exits_with(status);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn recording_is_masked_afterwards_in_a_trace_in_a_replay_and_in_a_copy() {
    for (protocol, sent) in [
        ("hub", ["USER me", "PASS hunter2", "again\nPASS hunter2"].map(message).concat()),
        ("byte-echo", b"USER me\nPASS hunter2\nagain\nPASS hunter2".to_vec()),
    ] {
        let recording = Recording::start(&[protocol]);
        let mut peer = recording.server.connect();
        peer.write_all(&sent).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        read_to_end(&peer);
        let path = recording.wait_for(1).remove(0);
        let path = path.to_str().unwrap();
        let shown = |args: &[&str]| stdout(&[&["trace", path, "--bytes", "4096"], args].concat(), 0);
        assert_eq!(shown(&[]).matches("hunter2").count(), 2, "the control");
        let said = shown(&["--mask", "PASS "]);
        assert!(said.contains("PASS *******") && !said.contains("hunter"), "{said}");
        assert!(shown(&["--mask", "no such"]).contains("hunter2"));
        let said = stdout(&["replay", path, "--mask", "PASS "], 0);
        assert!(said.ends_with("; masked, so only lengths were compared\n"), "{said}");

        let copy = recording.path().join("masked");
        let copied = copy.to_str().unwrap();
        assert_eq!(stdout(&["trace", path, "--mask", "PASS ", "--copy", copied], 0), "");
        let file = fs::read(&copy).unwrap();
        assert!(holds(&file, b"PASS *******") && holds(&file, b"USER me") && !holds(&file, b"hunter2"));
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        replays_identically(&copy);
        let said = stdout(&["trace", copied], 0);
        assert!(said.contains("Recorded with a mask: ") && !said.contains("hunter"), "{said}");
    }
}

#[test]
fn mask_that_finds_nothing_says_so_and_one_that_cannot_work_is_refused() {
    let recording = Recording::start(&["hub", "--record-ring", "--record-bytes", "4KiB"]);
    let mut peer = recording.server.connect();
    let mut answer = vec![0; message("PASS hunter2").len()];
    for _ in 0..500 {
        peer.write_all(&message("PASS hunter2")).unwrap();
        peer.read_exact(&mut answer).unwrap();
    }
    drop(peer);
    let path = recording.wait_for(1).remove(0);
    let ring = path.to_str().unwrap();
    for command in [&["trace", ring, "--mask", "PASS "][..], &["replay", ring, "--mask", "PASS "]] {
        let output = drywire(command).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("the beginning was not kept, so where its messages begin is not known"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = crate::tapes::fixed().write(directory.path(), "a");
    let path = path.to_str().unwrap();
    let said = Program::start(&mut drywire(&["trace", path, "--mask", "PASS "])).exits_with(0);
    assert!(said.contains("nothing begins with that, no input was blanked"), "{said}");
    fs::write(path, b"something else").unwrap();
    let said = Program::start(&mut drywire(&["trace", path, "--mask", "PASS "])).exits_with(1);
    assert!(said.contains("not a recording"), "{said}");
    Program::start(&mut drywire(&["trace", path, "--copy", "x"])).exits_with(2);
}

/// The control of the test above: without a mask they are.
#[test]
fn without_a_mask_everything_a_peer_sends_is_on_the_disk() {
    let recording = Recording::start(&["line-echo"]);
    let mut peer = recording.server.connect();
    peer.write_all(b"PASS hunter2\nquit\n").unwrap();
    read_to_end(&peer);
    drop(peer);
    let bytes = fs::read(&recording.wait_for(1)[0]).unwrap();
    assert!(bytes.windows(12).any(|window| window == b"PASS hunter2"));
}

/// One session of so many lines.
#[track_caller]
fn talk(server: &Server, lines: usize) {
    let mut peer = server.connect();
    let mut all = String::new();
    for line in 0..lines {
        all += &format!("line {line} of a talk that is longer than what is kept of it\n");
    }
    peer.write_all((all + "quit\n").as_bytes()).unwrap();
    read_to_end(&peer);
}

#[test]
fn first_bytes_are_kept_within_the_bound_and_replay() {
    let recording = Recording::start(&["line-echo", "--record-bytes", "8KiB"]);
    talk(&recording.server, 1000);
    let file = recording.wait_for(1).remove(0);
    assert!(fs::metadata(&file).unwrap().len() <= 8 * 1024);
    replays_identically(&file);
}

#[test]
fn ring_keeps_the_last_bytes_within_the_bound() {
    let recording = Recording::start(&["line-echo", "--record-bytes", "8KiB", "--record-ring"]);
    let mut peer = recording.server.connect();
    peer.set_nodelay(true).unwrap();
    let mut echo = BufReader::new(peer.try_clone().unwrap());
    for line in 0..400 {
        peer.write_all(format!("line {line} of a talk that is longer than what is kept of it\n").as_bytes()).unwrap();
        echo.read_line(&mut String::new()).unwrap();
    }
    peer.write_all(b"quit\n").unwrap();
    read_to_end(&peer);
    drop((peer, echo));
    let file = recording.wait_for(1).remove(0);
    assert!(fs::metadata(&file).unwrap().len() <= 8 * 1024);
    let bytes = fs::read(&file).unwrap();
    let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(holds(b"quit\n") && !holds(b"line 7 of"));
    Program::start(&mut drywire(&["replay", file.to_str().unwrap()])).exits_with(1);
    Program::start(&mut drywire(&["trace", file.to_str().unwrap()])).exits_with(0);
}

#[test]
fn oldest_recordings_go_and_nothing_else_does() {
    let directory = tempfile::tempdir().unwrap();
    let stranger = ["notes.txt", "20260101-000000.000-000001-x.dwr.bak", "20260101-holiday.dwr", ".hidden"];
    stranger.iter().for_each(|name| fs::write(directory.path().join(name), "mine").unwrap());
    fs::write(directory.path().join("20200101-000000.000-000007-dialog.dwr"), "an old one of ours").unwrap();
    let mut server =
        Server::start(&["line-echo", "--record", directory.path().to_str().unwrap(), "--record-keep", "3"]);
    for _ in 0..7 {
        talk(&server, 1);
    }
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in stranger {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    let kept: Vec<&String> = names.iter().filter(|name| name.ends_with("-line-echo.dwr")).collect();
    assert_eq!(names.len(), stranger.len() + 3, "{names:?}");
    for (name, number) in kept.iter().zip(["-000005-", "-000006-", "-000007-"]) {
        assert!(name.contains(number), "{names:?}");
    }
}

#[test]
fn directory_that_cannot_be_written_to_is_refused_at_the_start_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let no_parent = directory.path().join("not/there");
    for (path, why) in [(&file, "Not a directory"), (&no_parent, "No such file")] {
        let path = path.to_str().unwrap();
        let stderr = Program::start(&mut drywire(&["serve", "line-echo", "--listen", "127.0.0.1:0", "--record", path]))
            .exits_with(1);
        assert!(stderr.starts_with(&format!("drywire: cannot record to {path}: {why}")), "{stderr}");
        assert!(stderr.ends_with("; name a directory that can be written to with --record\n"), "{stderr}");
    }
}

#[test]
fn recordings_are_not_put_where_peers_could_fetch_them() {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(&root, top.path().join("link")).unwrap();
    let serve = |record: &str| {
        let mut command =
            drywire(&["serve", "dialog", "--listen", "127.0.0.1:0", "--root", "root", "--record", record]);
        command.current_dir(top.path());
        command
    };
    for record in ["root", "root/record", "link/record", "root/../root/record"] {
        let stderr = Program::start(&mut serve(record)).exits_with(1);
        assert!(stderr.contains(&format!("drywire: peers could fetch the recordings in {record}: it lies below ")));
        assert!(stderr.ends_with(", which is served; name another with --record\n"), "{stderr}");
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "nothing was left there");
    let server = Server::start_command(&mut serve("record"));
    talk_to_dialog(&server);
}

#[track_caller]
fn talk_to_dialog(server: &Server) {
    let mut peer = server.connect();
    peer.write_all(b"QUIT\n").unwrap();
    assert_eq!(read_to_end(&peer), b"OK\n");
}

#[test]
fn disk_that_fails_costs_recordings_and_no_connection() {
    let mut recording = Recording::start(&["line-echo"]);
    talk(&recording.server, 1);
    recording.wait_for(1);
    // Gone, and a file in its place: root may write anywhere, but not below a file.
    fs::remove_dir_all(recording.path()).unwrap();
    fs::write(recording.path(), "").unwrap();
    for _ in 0..20 {
        talk(&recording.server, 3);
    }
    let stderr = recording.stop();
    assert_eq!(stderr.matches("a recording could not be written").count(), 1, "one line, not twenty: {stderr}");
    let end =
        "drywire: recordings: 1 written, 0 dropped because the disk was too slow, 20 not written for another reason\n";
    assert!(stderr.ends_with(end), "{stderr}");
}

#[test]
fn unfinished_files_are_hidden_and_none_stays() {
    let mut recording = Recording::start(&["byte-echo"]);
    for _ in 0..20 {
        let mut peer = recording.server.connect();
        peer.write_all(b"x").unwrap();
    }
    recording.wait_for(20);
    recording.stop();
    let all = fs::read_dir(recording.path()).unwrap().map(|entry| entry.unwrap().path());
    let strange: Vec<PathBuf> = all.filter(|path| !is_whole(path)).collect();
    assert_eq!(strange, Vec::<PathBuf>::new());
    assert_eq!(fs::metadata(recording.path()).unwrap().permissions(), Permissions::from_mode(0o40700));
}

#[test]
fn options_of_recording_without_a_directory_are_a_wrong_command_line() {
    for args in [&["--record-bytes", "8KiB"][..], &["--record-ring"], &["--record-keep", "3"], &["--record-mask", "P"]]
    {
        let stderr = Program::start(drywire(&["serve", "line-echo"]).args(args)).exits_with(2);
        assert!(stderr.contains("--record <DIR>"), "{stderr}");
    }
    let small = Program::start(&mut drywire(&["serve", "line-echo", "--record", "d", "--record-bytes", "100"]));
    assert!({ small }.exits_with(2).contains("at least 4096 bytes"));
}
