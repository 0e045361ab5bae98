//! Recorded on driver-tokio over a real socket, replayed here.

use crate::stage::tape;
use drywire_core::record::{Entry, ReadError, Reader};
use drywire_core::{Connection, Reason};
use drywire_driver_tokio::{Config, Quiet, drive};
use drywire_protocols::Dialog;
use drywire_sim::replay::{Options, ReplayError, Replayed, replay};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const LARGE: usize = 30_000_000;

/// Asks in pieces, and takes the large file late, so that the socket is full.
fn client(mut stream: TcpStream) -> usize {
    for piece in ["NOOP\nSI", "ZE large\nGET nowhere\nGET lar", "ge\nGET small\nQU", "IT\n"] {
        stream.write_all(piece.as_bytes()).expect("the server reads");
        thread::sleep(Duration::from_millis(20));
    }
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the server ends cleanly");
    all.len()
}

/// A dialog over TCP in a task of a runtime with threads.
fn recording() -> Vec<u8> {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::write(root.path().join("large"), vec![b'l'; LARGE]).expect("a file");
    std::fs::write(root.path().join("small"), b"small").expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = thread::spawn(move || client(TcpStream::connect(address).expect("somebody listens")));
    let (stream, peer) = listener.accept().expect("the client connects");

    let (tape, file) = tape("dialog");
    let connection = Connection::new(Dialog::new()).recorded(tape.note(&format!("peer {peer}, driver tokio")));
    let config = Config { root: Some(root.path().into()), ..Config::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let report = runtime.block_on(runtime.spawn(async move {
        stream.set_nonblocking(true).expect("a socket");
        let stream = tokio::net::TcpStream::from_std(stream).expect("in a runtime");
        drive(stream, connection, config, &mut Quiet).await
    }));
    let report = report.expect("no panic").expect("the dialog runs");
    assert_eq!(report.reason, Reason::Finished);
    let received = client.join().expect("the client gets it all");
    assert_eq!(received as u64, report.counters.sent);
    assert!(received > LARGE);
    file.recv().expect("it has closed")
}

#[test]
fn recording_made_on_tokio_replays_identically() {
    let mut file = recording();
    let replayed = replay(&file, Dialog::new, Options::default()).expect("undamaged");
    let Replayed::Identical(identical) = replayed else { panic!("{replayed}") };
    assert!(identical.sent > LARGE as u64 && identical.turns > 3, "{identical}");

    let reader = Reader::new(&file).expect("undamaged");
    assert!(reader.header().note.ends_with("driver tokio"));
    let entries: Vec<_> = reader.entries().flatten().map(|located| located.entry).collect();
    let blocked = entries
        .windows(2)
        .filter(|pair| matches!(pair, [Entry::StreamFile { .. }, next] if !matches!(next, Entry::Sent { .. })));
    assert!(blocked.count() > 0, "the socket was full at least once");

    for at in [0, 3, 8, 11, 19, 40, file.len() / 2, file.len() - 1] {
        let was = file[at];
        file[at] ^= 0x20;
        let damaged = ReadError::Damaged { at, is: was ^ 0x20, was };
        assert_eq!(replay(&file, Dialog::new, Options::default()), Err(ReplayError::Read(damaged)));
        file[at] = was;
    }
}
