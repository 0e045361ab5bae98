//! The same over Unix sockets.

use super::{byte_echo, line_echo};
use crate::noise::{Noise, assert_same};
use crate::peer::{ask, connect_unix, read_line, read_n, send, vanish};
use crate::stage::Stage;
use crate::subject::{Options, Scene, Subject, Testable};
use crate::talk::Talk;
use drywire_core::{Connection, Limits, Protocol, Reason, TransportError};
use drywire_protocols::{ByteEcho, LineEcho};
use drywire_server::Address;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A server on a path in a directory of its own.
#[track_caller]
fn serve<S: Subject, P: Testable>(
    make: impl FnMut() -> Connection<P> + Send + 'static,
) -> (Stage<S, P>, PathBuf, TempDir) {
    let dir = tempfile::tempdir().expect("a place for files");
    let path = dir.path().join("socket");
    let stage = Stage::serve_on(&Address::Unix(Some(path.clone())), Options::default(), make);
    (stage, path, dir)
}

/// Interleaved, as over TCP.
pub fn e6_unix_clients_at_once_each_get_their_own_lines<S: Subject>() {
    let (_stage, path, _dir) = serve::<S, LineEcho>(line_echo);
    let mut peers: Vec<_> = (0..50).map(|_| connect_unix::<S>(&path)).collect();
    for round in 0..5 {
        for (n, peer) in peers.iter_mut().enumerate() {
            send(peer, format!("client {n} round {round}\n").as_bytes());
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            assert_eq!(read_line(peer), format!("client {n} round {round}\n"), "I5");
        }
    }
}

/// Eight mebibytes, then the end of input.
pub fn e8_unix_bytes_come_back_exactly<S: Subject>() {
    let (stage, path, _dir) = serve::<S, ByteEcho>(byte_echo);
    let bytes = Noise::new(8).bytes(8 << 20);
    assert_same(&ask(connect_unix::<S>(&path), &bytes), &bytes);
    stage.wait_for_ends(1);
}

/// A Unix socket makes each of them when it is told to: one is full and goes on when
/// it is read; one takes nothing any more, though it still sends; one is closed with
/// bytes unread.
pub fn e8_would_block_broken_pipe_and_reset_are_told_apart<S: Subject>() {
    const OWED: usize = 8 << 20;
    let limits = Limits { output_bytes: 16 << 20, ..Talk::LIMITS };
    let (stage, path, _dir) = serve::<S, Talk>(move || Connection::new(Talk).with_limits(limits));
    let connect = |number| {
        let peer = connect_unix::<S>(&path);
        stage.wait("the accept", |seen| seen.len() > number);
        peer
    };

    let mut full = connect(0);
    send(&mut full, format!("owe {OWED}\n").as_bytes());
    thread::sleep(Duration::from_millis(100));
    assert!(stage.scene.look(|seen| seen[0].reports.is_empty()), "a full socket is no error");

    let mut deaf = connect(1);
    deaf.stop_reading();
    send(&mut deaf, b"owe 10\n");
    let report = stage.report(1);
    assert_eq!(report.reason, Reason::Transport(TransportError::BrokenPipe));
    Stage::<S, Talk>::assert_counted(report.counters.sent, 0);
    Stage::<S, Talk>::assert_counted(report.counters.unsent, 10);

    let mut gone = connect(2);
    send(&mut gone, b"owe 10\n");
    gone.peek().expect("bytes, which it leaves there");
    vanish(gone);
    let report = stage.report(2);
    assert_eq!(report.reason, Reason::Transport(TransportError::Reset));
    Stage::<S, Talk>::assert_counted(report.counters.sent, 10);
    assert_eq!(report.counters.unsent, 0);

    Talk::noise().assert_at(0, &read_n(&mut full, OWED));
    drop(full);
    assert_eq!(stage.report(0).reason, Reason::Finished);
}

/// The error names the path, and the first server goes on.
pub fn e10_unix_path_in_use_is_an_error_that_says_what_to_do<S: Subject>() {
    let (stage, path, _dir) = serve::<S, LineEcho>(line_echo);
    let again = S::serve(&stage.address, Options::default(), Scene::new(|| Connection::new(LineEcho)));
    let Err(error) = again else { panic!("{}: two servers listen on {}", S::NAME, stage.address) };
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "which path? {text}");
    assert!(text.contains("another path"), "what is to be done, such as to take another path? {text}");
    assert_same(&ask(connect_unix::<S>(&path), b"still here\n"), b"still here\n");
}
