//! The other end: plain blocking sockets with timeouts.

use crate::harness::PATIENCE;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// Connects, and never waits for ever afterwards.
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Connects with a receive buffer this small, so that little is in flight.
#[track_caller]
pub(crate) fn connect_small(address: SocketAddr, bytes: usize) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, socket, sockopt};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&fd, bytes).expect("a size");
    rustix::net::connect(&fd, &address).expect("the server listens");
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Bytes in which every place is different enough: a lost, doubled or swapped one shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| pattern_at(i as u64)).collect()
}

pub(crate) fn pattern_at(i: u64) -> u8 {
    (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(31)) as u8
}

/// Compares without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    if let Some(at) = first_difference(got, expected) {
        let around = |bytes: &[u8]| bytes[at.min(bytes.len())..(at + 16).min(bytes.len())].to_vec();
        panic!(
            "I1: {} bytes instead of {}, different from {at} on: {:?} instead of {:?}",
            got.len(),
            expected.len(),
            around(got),
            around(expected)
        );
    }
}

pub(crate) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.len().min(b.len());
    match a.iter().zip(b).position(|(a, b)| a != b) {
        Some(at) => Some(at),
        None if a.len() == b.len() => None,
        None => Some(common),
    }
}

/// Reads exactly this many bytes.
#[track_caller]
pub(crate) fn read_n(stream: &mut impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{n} bytes were to come: {error}"));
    bytes
}

/// Reads up to and with a line feed, byte by byte: nothing behind it is taken.
#[track_caller]
pub(crate) fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        assert!(line.len() < 1000, "no line end in {line:?}");
        line.extend(read_n(stream, 1));
    }
    String::from_utf8(line).expect("text")
}

/// Reads to the end.
#[track_caller]
pub(crate) fn read_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("a clean end was to come: {error}"));
    bytes
}

/// Reads until a reset; says what came before it.
#[track_caller]
pub(crate) fn read_reset(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut slot = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut slot) {
            Ok(0) => panic!("a clean end after {} bytes, not a reset", bytes.len()),
            Ok(n) => bytes.extend_from_slice(&slot[..n]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("not a reset after {} bytes: {error}", bytes.len()),
        }
    }
}

/// Sends all of it and ends our direction.
#[track_caller]
pub(crate) fn send_and_end(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("connected");
}

/// Makes the coming drop a reset.
#[track_caller]
pub(crate) fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).expect("a TCP socket");
    drop(stream);
}

#[test]
fn control_the_comparison_sees_what_it_is_for() {
    let good = pattern(100_000);
    assert_eq!(first_difference(&good, &good), None);
    let mut bad = good.clone();
    bad.remove(70_000);
    assert!(first_difference(&bad, &good).is_some(), "a lost byte");
    bad.insert(0, 0);
    assert!(first_difference(&bad, &good).is_some(), "a moved one");
    assert_eq!(first_difference(&good[..99_999], &good), Some(99_999), "a missing end");
    let mut bad = good.clone();
    bad.swap(4096, 4097);
    assert_eq!(first_difference(&bad, &good), Some(4096), "two swapped ones");
}
