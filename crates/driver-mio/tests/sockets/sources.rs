//! Descriptors beside the connections (rows B1, B2, A10).

use crate::child::isolated;
use crate::harness::{POLL2, Recorder, pump, pump_for};
use drywire_core::Connection;
use drywire_driver_mio::{Config, Driver, Id, Interest, SourceEvent};
use drywire_protocols::LineEcho;
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

type Subject = (Driver<LineEcho>, Recorder<LineEcho>);

fn driver() -> Subject {
    (Driver::new(Config::default()).unwrap(), Recorder::new(|| Connection::new(LineEcho)))
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
}

fn signal() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK).unwrap()
}

#[track_caller]
fn expect((driver, app): &mut Subject, id: Id, event: SourceEvent) {
    pump(driver, app, &format!("{event:?} of {id}"), |_, app| app.sources.contains(&(id, event)));
}

/// Reads until it would block; says how many bytes there were.
fn exhaust(driver: &Driver<LineEcho>, id: Id) -> usize {
    let mut total = 0;
    while let Ok(n @ 1..) = rustix::io::read(driver.source(id).unwrap(), &mut [0_u8; 64]) {
        total += n;
    }
    total
}

#[test]
fn b1_source_tells_readable_writable_timed_out_and_failed() {
    let mut subject = driver();
    let (reader, writer) = pipe();
    let read_id = subject.0.register(reader, Interest::READABLE, Some(Duration::from_millis(30))).unwrap();
    let write_id = subject.0.register(writer, Interest::WRITABLE, None).unwrap();
    expect(&mut subject, write_id, SourceEvent::Writable);
    expect(&mut subject, read_id, SourceEvent::TimedOut);
    assert_eq!(subject.1.count(SourceEvent::Readable), 0);

    rustix::io::write(subject.0.source(write_id).unwrap(), b"abc").unwrap();
    expect(&mut subject, read_id, SourceEvent::Readable);
    assert_eq!(exhaust(&subject.0, read_id), 3);

    // The other end goes away.
    drop(subject.0.unregister(write_id).unwrap());
    expect(&mut subject, read_id, SourceEvent::Failed);
    assert!(subject.0.source(read_id).is_none(), "B2: forgotten after the failure");
    subject.1.sources.clear();
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(80));
    assert_eq!(subject.1.sources, [], "nothing follows, not even a timeout");
    assert!(subject.0.is_done());
}

#[test]
fn b1_writer_whose_reader_goes_fails() {
    let mut subject = driver();
    let (reader, writer) = pipe();
    let id = subject.0.register(writer, Interest::WRITABLE, None).unwrap();
    drop(reader);
    expect(&mut subject, id, SourceEvent::Failed);
    assert!(subject.0.unregister(id).is_none());
}

#[test]
fn a10_last_bytes_are_told_before_the_failure() {
    let mut subject = driver();
    let (reader, writer) = pipe();
    let id = subject.0.register(reader, Interest::READABLE, None).unwrap();
    rustix::io::write(&writer, b"last words").unwrap();
    drop(writer);
    expect(&mut subject, id, SourceEvent::Failed);
    assert_eq!(subject.1.sources, [(id, SourceEvent::Readable), (id, SourceEvent::Failed)]);
}

#[test]
fn a10_eventfd_tells_each_edge_once() {
    let mut subject = driver();
    let fd = signal();
    let signaller = fd.try_clone().unwrap();
    let id = subject.0.register(fd, Interest::READABLE, None).unwrap();
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(30));
    assert_eq!(subject.1.sources, []);
    for n in 1..=5 {
        rustix::io::write(&signaller, &1_u64.to_ne_bytes()).unwrap();
        pump(&mut subject.0, &mut subject.1, "the edge", |_, app| !app.sources.is_empty());
        rustix::io::read(subject.0.source(id).unwrap(), &mut [0_u8; 8]).unwrap();
        assert_eq!(subject.1.sources.drain(..).count(), 1, "edge {n}");
        // What poll(2) saw before it was read is told once more at most.
        pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(10));
        assert!(subject.1.sources.drain(..).count() <= usize::from(POLL2));
    }
}

#[test]
fn a10_udp_socket_and_own_listener_are_sources() {
    let mut subject = driver();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let to = udp.local_addr().unwrap();
    let receiver = udp.try_clone().unwrap();
    let udp_id = subject.0.register(udp.into(), Interest::READABLE, None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = listener.try_clone().unwrap();
    let listener_id = subject.0.register(listener.into(), Interest::READABLE, None).unwrap();

    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"datagram", to).unwrap();
    expect(&mut subject, udp_id, SourceEvent::Readable);
    assert_eq!(receiver.recv(&mut [0; 100]).unwrap(), 8);

    let mut peer = TcpStream::connect(address).unwrap();
    expect(&mut subject, listener_id, SourceEvent::Readable);
    let (stream, _) = accepting.accept().unwrap();
    // What it accepted can be served like any other.
    subject.0.add(stream, Connection::new(LineEcho)).unwrap();
    peer.write_all(b"quit\n").unwrap();
    drop(peer);
    pump(&mut subject.0, &mut subject.1, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(subject.1.report().counters.received, 5);
}

#[test]
fn a10_interest_can_be_changed() {
    let mut subject = driver();
    let (reader, writer) = pipe();
    let id = subject.0.register(writer, Interest::WRITABLE, None).unwrap();
    expect(&mut subject, id, SourceEvent::Writable);
    while rustix::io::write(subject.0.source(id).unwrap(), &[0; 4096]).is_ok() {}
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(20));
    subject.1.sources.clear();
    // A pipe's writing end is never readable, so this asks for nothing.
    subject.0.set_source_interest(id, Interest::READABLE).unwrap();
    let mut slot = [0; 65536];
    while rustix::io::read(&reader, &mut slot).is_ok() {}
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(30));
    assert_eq!(subject.1.sources, []);
    subject.0.set_source_interest(id, Interest::WRITABLE).unwrap();
    expect(&mut subject, id, SourceEvent::Writable);
    drop(subject.0.unregister(id));
    let gone = subject.0.set_source_interest(id, Interest::READABLE).unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a10_regular_file_is_always_ready_and_starves_nobody() {
    let mut subject = driver();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"contents").unwrap();
    let id = subject.0.register(file.into(), Interest::READABLE, None).unwrap();
    let (reader, writer) = pipe();
    let pipe_id = subject.0.register(reader, Interest::READABLE, None).unwrap();
    pump(&mut subject.0, &mut subject.1, "ten times", |_, app| app.sources.len() >= 10);
    assert!(subject.1.sources.iter().all(|event| *event == (id, SourceEvent::Readable)));
    rustix::io::write(&writer, b"x").unwrap();
    expect(&mut subject, pipe_id, SourceEvent::Readable);
    subject.0.unregister(id).unwrap();
    assert_eq!(exhaust(&subject.0, pipe_id), 1);
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(10));
    subject.1.sources.clear();
    assert!(pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(30)) <= 1, "nothing is ready any more");
}

#[test]
fn b1_timeout_starts_anew_with_every_event_and_can_be_moved_and_taken_back() {
    let mut subject = driver();
    let fd = signal();
    let signaller = fd.try_clone().unwrap();
    let id = subject.0.register(fd, Interest::READABLE, Some(Duration::from_millis(150))).unwrap();
    let start = Instant::now();
    for _ in 0..5 {
        rustix::io::write(&signaller, &1_u64.to_ne_bytes()).unwrap();
        pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(50));
        rustix::io::read(subject.0.source(id).unwrap(), &mut [0_u8; 8]).unwrap();
        if start.elapsed() < Duration::from_millis(150) {
            assert_eq!(subject.1.count(SourceEvent::TimedOut), 0);
        }
    }
    subject.1.sources.clear();
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(400));
    let timeouts = subject.1.count(SourceEvent::TimedOut);
    assert!((1..=3).contains(&timeouts), "{timeouts} in 400 ms");
    subject.0.set_source_timeout(id, Some(Duration::from_millis(5)));
    expect(&mut subject, id, SourceEvent::TimedOut);
    subject.0.set_source_timeout(id, None);
    subject.1.sources.clear();
    pump_for(&mut subject.0, &mut subject.1, Duration::from_millis(200));
    assert_eq!(subject.1.sources, []);
}

// In a process that can be ended: a round that does not end would hang everything.
isolated!(timeout_of_zero_is_told_once_a_round_and_the_round_ends, {
    let mut subject = driver();
    let id = subject.0.register(signal(), Interest::READABLE, Some(Duration::ZERO)).unwrap();
    for round in 1..=10 {
        crate::harness::round(&mut subject.0, &mut subject.1, Duration::from_secs(1));
        assert_eq!(subject.1.sources, vec![(id, SourceEvent::TimedOut); round]);
    }
});
