//! Echoes: every byte comes back, whatever the portions (rows E6, E8, FAULTS 9, 16, 17).

use crate::harness::{Served, quick};
use crate::peer::{assert_same, pattern, read_end, read_line, read_n, send_and_end};
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_driver_mio::Config;
use drywire_protocols::{ByteEcho, LineEcho};
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

fn byte_echo() -> Served<ByteEcho> {
    Served::start(Config::default(), || Connection::new(ByteEcho).with_limits(quick(ByteEcho::LIMITS)))
}

fn line_echo() -> Served<LineEcho> {
    Served::start(Config::default(), || Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT)))
}

#[test]
fn e8_bytes_of_any_size_come_back_exactly() {
    let server = byte_echo();
    let mut peer = server.connect();
    for len in [1, 2, 3, 511, 4096, 16383, 16384, 16385, 65536, 1] {
        let bytes = pattern(len);
        peer.write_all(&bytes).unwrap();
        assert_same(&read_n(&mut peer, len), &bytes);
    }
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_end(&mut peer), b"");
    let ended = server.stop();
    assert_eq!(ended.closed[0].1.reason, Reason::Finished);
    assert_eq!(ended.closed[0].1.counters.sent, ended.closed[0].1.counters.received);
}

#[test]
fn e8_ten_megabytes_both_ways_at_once_come_back_exactly() {
    let server = byte_echo();
    let mut peer = server.connect();
    let bytes = pattern(10 << 20);
    let mut writer = peer.try_clone().unwrap();
    let sent = bytes.clone();
    let writing = thread::spawn(move || send_and_end(&mut writer, &sent));
    let got = read_end(&mut peer);
    writing.join().unwrap();
    assert_same(&got, &bytes);
    assert_eq!(server.stop().closed[0].1.reason, Reason::Finished);
}

#[test]
fn fault_16_17_peer_that_sends_and_takes_single_bytes_gets_the_same_bytes() {
    let server = line_echo();
    let mut peer = server.connect();
    let text = b"hello\r\n\0bare\rcr\nlast without an end".repeat(20);
    for byte in &text {
        peer.write_all(&[*byte]).unwrap();
    }
    peer.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    for _ in 0..text.len() {
        got.extend(read_n(&mut peer, 1));
    }
    assert_same(&got, &text);
    assert_eq!(read_end(&mut peer), b"");
    assert_eq!(server.stop().closed[0].1.reason, Reason::Finished);
}

#[test]
fn e6_lines_of_many_clients_are_kept_apart_and_quit_ends_one_of_them() {
    let server = line_echo();
    let mut peers: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for round in 0..10 {
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.write_all(format!("client {n}, line {round}\n").as_bytes()).unwrap();
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            assert_eq!(read_line(peer), format!("client {n}, line {round}\n"));
        }
    }
    let mut leaving = peers.remove(7);
    leaving.write_all(b"quit\nnever seen\n").unwrap();
    assert_eq!(read_end(&mut leaving), b"quit\n");
    drop(leaving);
    for peer in &mut peers {
        peer.write_all(b"still here\n").unwrap();
        assert_eq!(read_line(peer), "still here\n");
    }
    let ended = server.stop();
    assert_eq!(ended.closed.len(), 20, "E6: all are closed when the server ends");
    assert_eq!(ended.closed.iter().filter(|(_, report)| report.reason == Reason::Finished).count(), 1);
    for peer in &mut peers {
        let error = std::io::Read::read(peer, &mut [0; 16]).expect_err("cut, not ended");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn fault_9_half_closed_client_that_reads_slowly_gets_every_byte_of_three_megabytes() {
    let limits = Limits { output_bytes: 4 << 20, ..quick(Limits::DEFAULT) };
    let server = Served::<LineEcho>::start(Config::default(), move || Connection::new(LineEcho).with_limits(limits));
    let mut peer = crate::peer::connect_small(server.address, 16 * 1024);
    let mut text = pattern(3 << 20);
    for (n, byte) in text.iter_mut().enumerate() {
        *byte = if n % 1000 == 999 { b'\n' } else { *byte | 0x80 };
    }
    let sent = text.clone();
    let mut writer = peer.try_clone().unwrap();
    // The server owes nearly all of it by the time the client has ended.
    let writing = thread::spawn(move || send_and_end(&mut writer, &sent));
    writing.join().unwrap();
    let mut got = Vec::new();
    let mut slot = vec![0; 128 * 1024];
    loop {
        let n = std::io::Read::read(&mut peer, &mut slot).expect("no reset");
        if n == 0 {
            break;
        }
        got.extend_from_slice(&slot[..n]);
        thread::sleep(Duration::from_millis(2));
    }
    assert_same(&got, &text);
    let ended = server.stop();
    let report = &ended.closed[0].1;
    assert_eq!(report.reason, Reason::Finished);
    assert_eq!((report.counters.sent, report.counters.unsent), (3 << 20, 0));
}

#[test]
fn fault_27_endless_line_is_answered_and_the_answer_survives_the_close() {
    let server = line_echo();
    let mut peer = server.connect();
    peer.write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(read_end(&mut peer), b"error: line too long\n");
    server.stop();
}

#[test]
fn two_clients_that_never_read_do_not_hurt_the_third() {
    let server = byte_echo();
    let flood = pattern(1 << 20);
    let mut deaf: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for peer in &mut deaf {
        peer.set_nonblocking(true).unwrap();
        while peer.write(&flood).is_ok() {}
    }
    let mut peer = server.connect();
    for n in 0..100_u32 {
        peer.write_all(&n.to_be_bytes()).unwrap();
        assert_eq!(read_n(&mut peer, 4), n.to_be_bytes());
    }
    server.stop();
}
