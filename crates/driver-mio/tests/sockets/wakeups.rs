//! The loop sleeps when there is nothing to do, and only then (rows A3, A5, B4, B5,
//! FAULTS 15, 21).

use crate::child::{busy_share, isolated};
use crate::harness::{Recorder, Served, assert_falls_quiet, connected, listening, pump, pump_for, quick, round};
use crate::peer::{assert_same, connect, connect_small, pattern, read_line, read_n};
use drywire_core::{Connection, Limits, Protocol};
use drywire_driver_mio::{Config, Driver, Interest, SourceEvent};
use drywire_protocols::{ByteEcho, LineEcho};
use rustix::event::{EventfdFlags, eventfd};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn b5_connection_that_has_flushed_causes_no_wake_up() {
    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    // Once through "blocked", so that there is an interest in writing to forget.
    let bytes = pattern(8 << 20);
    let sent = bytes.clone();
    let mut writer = peer.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let reading = std::thread::spawn(move || (read_n(&mut peer, 8 << 20), peer));
    pump(&mut driver, &mut app, "eight megabytes", |_, _| reading.is_finished());
    writing.join().unwrap();
    let (got, mut peer) = reading.join().unwrap();
    assert_same(&got, &bytes);
    assert_falls_quiet(&mut driver, &mut app);
    // And it is awake at once when there is something.
    peer.write_all(b"x").unwrap();
    pump(&mut driver, &mut app, "the echo", |_, _| {
        peer.set_nonblocking(true).unwrap();
        peer.read(&mut [0]).is_ok_and(|n| n == 1)
    });
}

#[test]
fn b5_paused_reading_causes_no_wake_ups_while_bytes_wait() {
    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    peer.set_nonblocking(true).unwrap();
    let chunk = pattern(64 * 1024);
    let mut quiet = 0;
    while quiet < 10 {
        quiet = if peer.write(&chunk).is_ok() { 0 } else { quiet + 1 };
        pump_for(&mut driver, &mut app, Duration::from_millis(10));
    }
    assert_falls_quiet(&mut driver, &mut app);
}

isolated!(a5_hundred_idle_connections_cost_no_processor_time, {
    let server =
        Served::<LineEcho>::start(Config::default(), || Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT)));
    let mut peers: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.write_all(b"hello\nhalf a li").unwrap();
        assert_eq!(read_line(peer), "hello\n");
    }
    let share = busy_share();
    assert!(share < 0.05, "I3: {:.1} % of what a spinning thread takes while idle", share * 100.0);
    server.stop();
});

#[test]
fn fault_21_no_edge_is_lost_between_reads_of_every_size() {
    let server = Served::<LineEcho>::start(Config::default(), || Connection::new(LineEcho));
    let mut peer = server.connect();
    // Sizes around the read slot and the limit, in two portions each: the second
    // comes at any moment of the server's round.
    for n in 0..600_usize {
        let len = [1, 100, 4095, 4096, 4097, 10_000, 10_239][n % 7] + n % 13;
        let len = len.min(LineEcho::LIMITS.input_bytes as usize - 1);
        let mut line = vec![b'a' + (n % 26) as u8; len];
        line.push(b'\n');
        let (first, second) = line.split_at(len / 2);
        peer.write_all(first).unwrap();
        if n % 3 == 0 {
            std::thread::yield_now();
        }
        peer.write_all(second).unwrap();
        assert_same(&read_n(&mut peer, line.len()), &line);
    }
    server.stop();
}

#[test]
fn a5_bytes_and_end_that_came_before_the_accept_are_seen() {
    let (mut driver, _, address) = listening::<LineEcho>(Config::default());
    let mut peer = connect(address);
    crate::peer::send_and_end(&mut peer, b"early\nbird");
    std::thread::sleep(Duration::from_millis(20));
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(crate::peer::read_end(&mut peer), b"early\nbird");
}

#[test]
fn a3_wait_calls_nobody_and_a_second_wait_forgets_nothing() {
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    let fd = eventfd(1, EventfdFlags::NONBLOCK).unwrap();
    let id = driver.register(fd, Interest::READABLE, None).unwrap();
    for _ in 0..3 {
        driver.wait(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(app.sources, []);
    }
    driver.dispatch(&mut app);
    assert_eq!(app.sources, [(id, SourceEvent::Readable)], "the edge came with the first wait");
    rustix::io::read(driver.source(id).unwrap(), &mut [0_u8; 8]).unwrap();
    for _ in 0..3 {
        driver.dispatch(&mut app);
    }
    assert_eq!(app.sources.len(), 1, "a dispatch without a wait tells nothing twice");
}

#[test]
fn a3_wait_keeps_to_the_shorter_of_the_two_timeouts() {
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    assert_eq!(driver.next_timeout(), None);
    let start = Instant::now();
    driver.wait(Some(Duration::from_millis(40))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(40));

    let fd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    driver.register(fd, Interest::READABLE, Some(Duration::from_millis(60))).unwrap();
    let next = driver.next_timeout().expect("the source's");
    assert!(next <= Duration::from_millis(60));
    let start = Instant::now();
    driver.wait(None).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
    driver.dispatch(&mut app);
    assert_eq!(app.count(SourceEvent::TimedOut), 1);
}

#[test]
fn fault_15_turn_without_readiness_changes_nothing() {
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    peer.write_all(b"half").unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(30));
    for _ in 0..100 {
        // Nothing is ready: whatever was waiting before goes on waiting.
        round(&mut driver, &mut app, Duration::ZERO);
    }
    assert_eq!(driver.connection(id).unwrap().held_bytes(), 4);
    peer.write_all(b" and half\n").unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(30));
    assert_eq!(read_line(&mut peer), "half and half\n");
}

#[test]
fn b4_small_receive_buffers_at_the_peer_lose_nothing() {
    let server = Served::<ByteEcho>::start(Config::default(), || Connection::new(ByteEcho));
    let mut peer = connect_small(server.address, 4096);
    let bytes = pattern(1 << 20);
    let sent = bytes.clone();
    let mut writer = peer.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    assert_same(&read_n(&mut peer, bytes.len()), &bytes);
    writing.join().unwrap();
    server.stop();
}
