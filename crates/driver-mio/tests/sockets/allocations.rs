//! Nothing is allocated for a message once everything is warm (row A1, DESIGN §4.4).
//!
//! The counter sees this thread only, and everything happens on it: the driver, and
//! a peer that uses buffers of its own.

use crate::harness::{Recorder, connected, listening, pump, round};
use crate::peer::connect;
use drywire_core::Connection;
use drywire_driver_mio::{Config, Driver};
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Writes the question and makes rounds until the whole answer is there.
fn exchange<P: drywire_core::Protocol<Error: Display>>(
    driver: &mut Driver<P>,
    app: &mut Recorder<P>,
    peer: &mut TcpStream,
    question: &[u8],
    answer: usize,
) {
    let (mut slot, mut got, mut sent) = ([0; 64 * 1024], 0, 0);
    let give_up = Instant::now() + crate::harness::PATIENCE;
    while got < answer {
        assert!(Instant::now() < give_up, "{got} bytes of {answer}");
        if sent < question.len() {
            sent += peer.write(&question[sent..]).unwrap_or(0);
        }
        round(driver, app, Duration::from_millis(1));
        while let Ok(n @ 1..) = peer.read(&mut slot) {
            got += n;
        }
    }
    assert_eq!(got, answer);
}

#[track_caller]
fn assert_none(what: &str, mut work: impl FnMut()) {
    for _ in 0..50 {
        work();
    }
    let info = allocation_counter::measure(|| {
        for _ in 0..500 {
            work();
        }
    });
    assert_eq!((info.count_total, info.count_current), (0, 0), "allocations in 500 times: {what}");
}

#[test]
fn a1_echo_of_lines_and_bytes_allocates_nothing() {
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    peer.set_nonblocking(true).unwrap();
    assert_none("a line", || exchange(&mut driver, &mut app, &mut peer, b"hello\n", 6));
    let many = b"0123456789abcdef0123456789abcde\n".repeat(100);
    assert_none("a hundred lines", || exchange(&mut driver, &mut app, &mut peer, &many, many.len()));
    assert_none("a line in two portions", || {
        peer.write_all(b"first half, ").unwrap();
        round(&mut driver, &mut app, Duration::from_millis(1));
        exchange(&mut driver, &mut app, &mut peer, b"second half\n", 24);
    });

    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    peer.set_nonblocking(true).unwrap();
    let megabyte = vec![7; 300_000];
    assert_none("bytes with back-pressure", || {
        exchange(&mut driver, &mut app, &mut peer, &megabyte, megabyte.len());
    });
}

#[test]
fn a1_many_connections_in_turn_allocate_nothing() {
    let (mut driver, _, address) = listening::<LineEcho>(Config::default());
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    let mut peers: Vec<_> = (0..50).map(|_| connect(address)).collect();
    pump(&mut driver, &mut app, "fifty", |_, app| app.opened.len() == 50);
    for peer in &mut peers {
        peer.set_nonblocking(true).unwrap();
    }
    assert_none("a line from each of fifty", || {
        for peer in &mut peers {
            peer.write_all(b"half a line ").unwrap();
        }
        round(&mut driver, &mut app, Duration::from_millis(1));
        for peer in &mut peers {
            exchange(&mut driver, &mut app, peer, b"and half\n", 21);
        }
    });
}

#[test]
fn a1_file_after_file_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), vec![b'f'; 10_000]).unwrap();
    let mut app = Recorder::new(|| Connection::new(Dialog::new()));
    let (mut driver, _, mut peer) = connected(crate::files::config(dir.path()), &mut app);
    peer.set_nonblocking(true).unwrap();
    assert_none("a file", || exchange(&mut driver, &mut app, &mut peer, b"GET file\n", 9 + 10_000));
}

#[test]
fn control_the_counter_counts() {
    let info = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(info.count_total, 1);
}
