//! Streams that are larger than everything on their way (row E8).

use super::byte_echo;
use crate::noise::Noise;
use crate::peer::{Peer, connect_narrowest, send, while_writing};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use drywire_core::Reason;
use drywire_protocols::ByteEcho;
use std::io::Read;
use std::thread;
use std::time::Duration;

/// Every send buffer is the kernel's smallest and every receive buffer has 4096 bytes,
/// the least with which loopback does not wait for timers; the client reads small
/// pieces and pauses after every 32nd, on average. Thousands of times the driver can write no more, or
/// a part only, and must go on later with the right byte.
pub fn e8_64_mib_come_back_exactly_through_narrow_sockets_to_a_slow_reader<S: Subject>() {
    const TOTAL: u64 = 64 << 20;
    let stage = Stage::<S, ByteEcho>::serve_with(Options::NARROW, byte_echo);
    let (number, peer) = stage.known_narrow_peer();
    let noise = Noise::new(64);
    let mut pauses = 0;
    exchange(peer, noise, TOTAL, |n| {
        // Lengths of reads are as random as the bytes: 1 to 8192.
        let word = noise.word(n);
        if word.is_multiple_of(32) {
            thread::sleep(Duration::from_millis(1));
            pauses += 1;
        }
        (word >> 32) as usize % 8192 + 1
    });
    assert!(pauses > 100, "the reader was slow {pauses} times only");
    let report = stage.report(number);
    assert_eq!(report.reason, Reason::Finished);
    Stage::<S, ByteEcho>::assert_counted(report.counters.received, TOTAL);
    Stage::<S, ByteEcho>::assert_counted(report.counters.sent, TOTAL);
}

/// As little as there can be on the client's side, at a hundredth of the speed. The
/// server's side is not the least there is: 4096 bytes of receive buffer, as
/// [`narrow_listener`](crate::narrow_listener) makes it.
pub fn e8_bytes_come_back_exactly_through_the_smallest_buffers_there_are<S: Subject>() {
    let stage = Stage::<S, ByteEcho>::serve_with(Options::NARROW, byte_echo);
    let peer = connect_narrowest::<S>(stage.tcp());
    exchange(peer, Noise::new(65), 64 << 10, |_| 1000);
    stage.wait_for_ends(1);
}

/// Four clients with a stream of their own each.
pub fn e8_large_streams_of_several_clients_do_not_mix<S: Subject>() {
    const EACH: u64 = 8 << 20;
    let stage = Stage::<S, ByteEcho>::serve(byte_echo);
    thread::scope(|scope| {
        for n in 0..4 {
            let peer = stage.peer();
            scope.spawn(move || exchange(peer, Noise::new(n), EACH, |_| 64 * 1024));
        }
    });
    stage.wait_for_ends(4);
}

/// Sends `total` bytes and ends; what comes back is compared as it comes, `next`
/// bytes at most for the nth read.
fn exchange(mut peer: Peer, noise: Noise, total: u64, next: impl FnMut(u64) -> usize) {
    let write = |writer: &mut Peer| {
        let mut piece = vec![0; 64 * 1024];
        for at in (0..total).step_by(piece.len()) {
            noise.fill(at, &mut piece);
            send(writer, &piece);
        }
        writer.end().expect("connected");
    };
    let got = while_writing(&mut peer, write, |peer| compare(peer, noise, next));
    assert_eq!(got, total, "I1: the end came early or late");
}

/// Reads to the end; says how many bytes came, all of them right.
#[track_caller]
fn compare(peer: &mut Peer, noise: Noise, mut next: impl FnMut(u64) -> usize) -> u64 {
    let mut slot = vec![0; 64 * 1024];
    let mut got = 0;
    for n in 0.. {
        let most = next(n);
        match peer.read(&mut slot[..most]) {
            Ok(0) => break,
            Ok(n) => {
                noise.assert_at(got, &slot[..n]);
                got += n as u64;
            }
            Err(error) => panic!("I1: an end was to come after {got} bytes: {error}"),
        }
    }
    got
}
