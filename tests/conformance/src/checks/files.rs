//! Files in the middle of other output: every byte, and what is no file (rows B11,
//! B13, FAULTS 10, 46, 50, 51).

use super::dialog;
use crate::measure::descriptors;
use crate::noise::{Noise, assert_same};
use crate::peer::{Peer, ask, read_line, read_n, read_reset, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use drywire_core::{FileError, Reason};
use drywire_protocols::Dialog;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server, and the directory it serves.
#[track_caller]
fn site<S: Subject>(narrow: bool) -> (Stage<S, Dialog>, TempDir) {
    let dir = tempfile::tempdir().expect("a place for files");
    let root = dir.path().join("root");
    fs::create_dir(&root).expect("a directory");
    let options = Options { root: Some(root), narrow, ..Options::default() };
    (Stage::serve_with(options, dialog), dir)
}

#[track_caller]
fn write(dir: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(dir.path().join("root").join(name), bytes).expect("room on the disk");
}

/// Headers, files, empty files and errors in the order in which they were asked for.
pub fn b13_files_in_the_middle_of_other_output<S: Subject>() {
    let (stage, dir) = site::<S>(false);
    let big = Noise::new(1).bytes(300_000);
    write(&dir, "big", &big);
    write(&dir, "notes", b"hello");
    write(&dir, "empty", b"");
    let got = ask(stage.peer(), b"GET notes\nGET big\nSIZE big\nGET empty\nGET nowhere\nNOOP\nGET notes\nQUIT\n");
    let expected = [b"OK 5\nhelloOK 300000\n", &big[..], b"OK 300000\nOK 0\n-550 no such file\nOK\nOK 5\nhelloOK\n"];
    assert_same(&got, &expected.concat());
}

/// Two hundred requests at once from each of four clients.
pub fn b11_files_of_a_mebibyte_pipelined_by_four_clients_are_right_to_the_byte<S: Subject>() {
    const TIMES: usize = 200;
    let (stage, dir) = site::<S>(false);
    for n in 0..4 {
        write(&dir, &format!("file{n}"), &Noise::new(n).bytes(1 << 20));
    }
    thread::scope(|scope| {
        for n in 0..4 {
            let mut peer = stage.peer();
            scope.spawn(move || {
                send(&mut peer, format!("GET file{n}\n").repeat(TIMES).as_bytes());
                peer.end().expect("connected");
                let one = [b"OK 1048576\n", &Noise::new(n).bytes(1 << 20)[..]].concat();
                assert_repeats(&mut peer, &one, TIMES);
            });
        }
    });
}

/// What comes is `one`, this often, and then the end. Nothing of it is kept.
#[track_caller]
fn assert_repeats(peer: &mut Peer, one: &[u8], times: usize) {
    let mut slot = vec![0; 256 * 1024];
    let mut got = 0;
    loop {
        let n = peer.read(&mut slot).unwrap_or_else(|error| panic!("I1: after {got} bytes: {error}"));
        if n == 0 {
            return assert_eq!(got, one.len() * times, "I1: the end came early or late");
        }
        let mut piece = &slot[..n];
        while !piece.is_empty() {
            let expected = &one[got % one.len()..];
            let common = expected.len().min(piece.len());
            assert_same(&piece[..common], &expected[..common]);
            (piece, got) = (&piece[common..], got + common);
        }
    }
}

/// Missing, outside of the root, a directory, a name with a NUL.
pub fn fault_50_51_what_is_no_file_beneath_the_root_is_refused_and_the_dialog_goes_on<S: Subject>() {
    let (stage, dir) = site::<S>(false);
    fs::write(dir.path().join("secret"), "secret").expect("room on the disk");
    fs::create_dir(dir.path().join("root/directory")).expect("a directory");
    std::os::unix::fs::symlink("../secret", dir.path().join("root/out")).expect("a link");
    write(&dir, "good", b"good");
    let refused: [&[u8]; 8] = [
        b"nowhere",
        b"../secret",
        b"/etc/passwd",
        b"directory/../../secret",
        b"out",
        b"directory",
        b"no\0pe",
        b"%2e%2e/secret",
    ];
    for name in refused {
        let got = ask(stage.peer(), &[b"GET ", name, b"\nGET good\n"].concat());
        let text = String::from_utf8_lossy(&got);
        let name = name.escape_ascii();
        assert!(text.starts_with("-550 ") && text.ends_with("\nOK 4\ngood"), "for {name}: {text}");
        assert_eq!(text.lines().count(), 3, "for {name}: {text}");
    }
    assert_same(&ask(stage.peer(), b"GET nowhere\n"), b"-550 no such file\n");
}

const LEN: usize = 40 << 20;

/// A server with a file of forty mebibytes, most of which is still to come.
#[track_caller]
fn half_way<S: Subject>(noise: Noise) -> (Stage<S, Dialog>, TempDir, usize, Peer) {
    let (stage, dir) = site::<S>(true);
    write(&dir, "big", &noise.bytes(LEN));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, b"GET big\n");
    assert_eq!(read_line(&mut peer), format!("OK {LEN}\n"));
    (stage, dir, number, peer)
}

/// The client sees a reset behind bytes of the file, and the report says why.
pub fn fault_46_file_truncated_while_it_streams_is_a_reset_and_never_padded<S: Subject>() {
    let noise = Noise::new(46);
    let (stage, dir, number, mut peer) = half_way::<S>(noise);
    let read = read_n(&mut peer, 10_000);
    let shorter = LEN / 8;
    truncate(&dir.path().join("root/big"), shorter);
    let got = [read, read_reset(&mut peer)].concat();
    assert!(got.len() <= shorter, "{} bytes of {shorter}", got.len());
    noise.assert_at(0, &got);
    let report = stage.report(number);
    assert_eq!(report.reason, Reason::File(FileError::Truncated));
    assert!(report.counters.unsent >= (LEN - shorter) as u64, "{:?}", report.counters);
}

#[track_caller]
fn truncate(path: &Path, len: usize) {
    File::options().write(true).open(path).and_then(|file| file.set_len(len as u64)).expect("our own file");
}

/// I6: neither the file's descriptor nor the connection's is left.
pub fn fault_10_peer_that_closes_while_a_file_streams_frees_the_file<S: Subject>() {
    let (stage, _dir, number, mut peer) = half_way::<S>(Noise::new(10));
    read_n(&mut peer, 10_000);
    let before = descriptors();
    drop(peer);
    let reason = stage.report(number).reason;
    assert!(matches!(reason, Reason::Transport(_)), "FAULTS 11, 12: {reason:?}");
    // The peer's own, the connection's, the file's.
    let give_up = Instant::now() + S::PATIENCE;
    while descriptors() > before - 3 {
        assert!(Instant::now() < give_up, "I6: {} descriptors of {before}, not three less", descriptors());
        thread::sleep(Duration::from_millis(5));
    }
    assert_same(&ask(stage.peer(), b"SIZE big\n"), format!("OK {LEN}\n").as_bytes());
}
