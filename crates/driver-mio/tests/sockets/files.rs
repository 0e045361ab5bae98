//! Files over real sockets: every byte, in every way there is (rows A11, B11, B13,
//! FAULTS 10, 46 to 52).

use crate::child::{descriptors, isolated};
use crate::harness::{Recorder, Served, connected, pump, pump_for, quick};
use crate::peer::{assert_same, connect_small, pattern, read_end, read_line, read_n, read_reset, send_and_end};
use drywire_core::{Connection, FileError, Limits, Reason, TransportError};
use drywire_driver_mio::Config;
use drywire_driver_mio::SystemCalls;
use drywire_protocols::Dialog;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

pub(crate) fn config(root: &Path) -> Config {
    Config { root: Some(root.to_owned()), ..Config::default() }
}

pub(crate) fn dialog() -> Connection<Dialog> {
    Connection::new(Dialog::new()).with_limits(quick(Limits::DEFAULT))
}

/// A directory with one file `big` of this many bytes.
fn site(len: usize) -> (TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(len);
    fs::write(dir.path().join("big"), &bytes).unwrap();
    (dir, bytes)
}

/// The whole of a conversation.
#[track_caller]
fn ask(server: &Served<Dialog>, requests: &[u8]) -> Vec<u8> {
    let mut peer = server.connect();
    send_and_end(&mut peer, requests);
    read_end(&mut peer)
}

#[test]
fn b13_dialog_answers_with_files_in_the_middle_of_other_output() {
    let (dir, bytes) = site(300_000);
    fs::write(dir.path().join("notes"), "hello").unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let server = Served::start(config(dir.path()), dialog);
    let got = ask(&server, b"GET notes\nGET big\nSIZE big\nGET empty\nGET nowhere\nNOOP\nHELO\n");
    let expected = [
        b"OK 5\nhelloOK 300000\n",
        &bytes[..],
        b"OK 300000\nOK 0\n-550 no such file\nOK\n-500 protocol error, bad command\n",
    ]
    .concat();
    assert_same(&got, &expected);
    assert_eq!(server.stop().open_files, 0);
}

#[test]
fn a11_transfers_are_identical_without_sendfile_and_openat2() {
    let (dir, bytes) = site(3_000_000);
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/small"), "x").unwrap();
    let expected = [b"OK 3000000\n", &bytes[..], b"OK 1\nxOK 3000000\n", &bytes[..], b"OK\n"].concat();
    for (openat2, sendfile) in [(true, true), (false, true), (true, false), (false, false)] {
        let config = Config { system_calls: SystemCalls { openat2, sendfile }, ..config(dir.path()) };
        let server = Served::start(config, dialog);
        let got = ask(&server, b"GET big\nGET sub/small\nGET big\nQUIT\n");
        assert_same(&got, &expected);
        assert_eq!(server.stop().open_files, 0);
    }
}

#[test]
fn fault_50_51_52_names_that_lead_elsewhere_are_refused_and_the_dialog_goes_on() {
    let (dir, _) = site(5);
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("directory")).unwrap();
    fs::write(root.join("good"), "good").unwrap();
    symlink(dir.path().join("big"), root.join("absolute")).unwrap();
    symlink("../big", root.join("out")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    for openat2 in [true, false] {
        let calls = SystemCalls { openat2, ..SystemCalls::default() };
        let server = Served::start(Config { system_calls: calls, ..config(&root) }, dialog);
        let refused: [&[u8]; 9] = [
            b"../big",
            b"/etc/passwd",
            b"directory/../good",
            b"absolute",
            b"out",
            b"fifo",
            b"directory",
            b"no\0pe",
            b"%2e%2e/big",
        ];
        let requests = refused.iter().map(|name| [b"GET ", *name, b"\n"].concat()).collect::<Vec<_>>().concat();
        let got = String::from_utf8(ask(&server, &[&requests[..], b"GET good\n"].concat())).unwrap();
        let lines: Vec<_> = got.lines().collect();
        assert_eq!(lines.len(), refused.len() + 2, "{got}");
        assert!(lines[..refused.len()].iter().all(|line| line.starts_with("-550 ")), "{got}");
        assert!(got.ends_with("OK 4\ngood"), "{got}");
        assert_eq!(server.stop().open_files, 0);
    }
}

#[test]
fn without_a_root_every_file_is_forbidden() {
    let server = Served::start(Config::default(), dialog);
    assert_eq!(ask(&server, b"GET big\n"), b"-550 forbidden\n");
    server.stop();
}

/// Begins to fetch `big` through a narrow pipe, so that most of it is still to come.
macro_rules! half_way {
    ($dir:ident, $app:ident, $driver:ident, $peer:ident, $sendfile:expr) => {
        let calls = SystemCalls { sendfile: $sendfile, ..SystemCalls::default() };
        let (mut $driver, _, address) =
            crate::harness::listening::<Dialog>(Config { system_calls: calls, ..config($dir.path()) });
        let mut $app = Recorder::new(dialog);
        let mut $peer = connect_small(address, 16 * 1024);
        $peer.write_all(b"GET big\n").unwrap();
        pump(&mut $driver, &mut $app, "the file is open", |driver, _| driver.open_files() == 1);
        pump_for(&mut $driver, &mut $app, std::time::Duration::from_millis(20));
        assert_eq!($driver.open_files(), 1, "most of it is still to come");
    };
}

const LEN: usize = 40 << 20;

#[test]
fn fault_46_truncated_while_streaming_is_a_reset_and_never_padded() {
    for sendfile in [true, false] {
        let (dir, bytes) = site(LEN);
        half_way!(dir, app, driver, peer, sendfile);
        File::options().write(true).open(dir.path().join("big")).unwrap().set_len(LEN as u64 / 2).unwrap();
        let reading = std::thread::spawn(move || (read_line(&mut peer), read_reset(&mut peer)));
        pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
        assert_eq!(app.report().reason, Reason::File(FileError::Truncated));
        assert!(app.report().counters.unsent >= LEN as u64 / 2);
        assert_eq!(driver.open_files(), 0);
        let (header, got) = reading.join().unwrap();
        assert_eq!(header, format!("OK {LEN}\n"));
        assert!(got.len() <= LEN / 2, "{} bytes of {}", got.len(), LEN / 2);
        assert_same(&got, &bytes[..got.len()]);
    }
}

#[test]
fn fault_47_grown_while_streaming_gives_the_announced_length() {
    for sendfile in [true, false] {
        let (dir, bytes) = site(LEN);
        half_way!(dir, app, driver, peer, sendfile);
        File::options().append(true).open(dir.path().join("big")).unwrap().write_all(&[0xEE; 100_000]).unwrap();
        peer.write_all(b"QUIT\n").unwrap();
        let reading = std::thread::spawn(move || read_end(&mut peer));
        pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
        let expected = [format!("OK {LEN}\n").as_bytes(), &bytes, b"OK\n"].concat();
        assert_same(&reading.join().unwrap(), &expected);
    }
}

#[test]
fn fault_48_removed_and_replaced_while_streaming_goes_on_from_the_open_file() {
    let (dir, bytes) = site(LEN);
    half_way!(dir, app, driver, peer, true);
    fs::remove_file(dir.path().join("big")).unwrap();
    fs::write(dir.path().join("big"), "another").unwrap();
    peer.write_all(b"GET big\nQUIT\n").unwrap();
    let reading = std::thread::spawn(move || read_end(&mut peer));
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    let expected = [format!("OK {LEN}\n").as_bytes(), &bytes, b"OK 7\nanotherOK\n"].concat();
    assert_same(&reading.join().unwrap(), &expected);
    assert_eq!(driver.open_files(), 0);
}

isolated!(fault_10_peer_that_closes_while_a_file_streams_frees_the_file, {
    let baseline = descriptors();
    for sendfile in [true, false] {
        let (dir, _) = site(LEN);
        half_way!(dir, app, driver, peer, sendfile);
        let with_file = descriptors();
        drop(read_n(&mut peer, 1000));
        drop(peer);
        pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
        let reason = &app.report().reason;
        assert!(
            matches!(reason, Reason::Transport(TransportError::Reset | TransportError::BrokenPipe)),
            "FAULTS 11, 12: {reason:?}"
        );
        assert_eq!(driver.open_files(), 0);
        assert_eq!(descriptors(), with_file - 3, "I6: the file, the connection and its peer are gone");
    }
    assert_eq!(descriptors(), baseline);
});

#[test]
fn no_more_files_wait_in_the_output_than_the_limits_say() {
    let (dir, bytes) = site(4 << 20);
    let mut app = Recorder::new(dialog);
    let (mut driver, _, mut peer) = connected(config(dir.path()), &mut app);
    peer.write_all(&b"GET big\n".repeat(40)).unwrap();
    pump_for(&mut driver, &mut app, std::time::Duration::from_millis(100));
    assert_eq!(driver.open_files(), Limits::DEFAULT.files as usize);
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let reading = std::thread::spawn(move || read_end(&mut peer));
    pump(&mut driver, &mut app, "forty files", |_, app| !app.closed.is_empty());
    let one = [b"OK 4194304\n", &bytes[..]].concat();
    assert_same(&reading.join().unwrap(), &one.repeat(40));
    assert_eq!((driver.open_files(), &app.report().reason), (0, &Reason::Finished));
}
