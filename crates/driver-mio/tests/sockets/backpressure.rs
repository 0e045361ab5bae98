//! Who does not read is not read from: memory stays within the caps, and the
//! kernel slows the peer down (row A6, FAULTS 3 to 6).

use crate::harness::{Recorder, connected, in_time, pump, pump_for, quick};
use crate::peer::{assert_same, pattern, read_end, read_reset};
use crate::talk::Talk;
use drywire_core::{Connection, Limit, Limits, Protocol, Reason};
use drywire_driver_mio::{Config, Driver, Id};
use drywire_protocols::{ByteEcho, LineEcho};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// What the connection may hold, by its limits.
fn cap(limits: &Limits) -> usize {
    (limits.input_bytes + limits.output_bytes) as usize + drywire_core::ERROR_REPLY_BYTES
}

/// Sends as much as goes; returns how much that was, and the most that was held.
fn flood(driver: &mut Driver<ByteEcho>, app: &mut Recorder<ByteEcho>, id: Id, peer: &mut TcpStream) -> (usize, usize) {
    peer.set_nonblocking(true).unwrap();
    let chunk = pattern(64 * 1024);
    let (mut sent, mut most_held) = (0, 0);
    let mut quiet = 0;
    let end = Instant::now() + Duration::from_secs(10);
    // Ten rounds in which nothing could be sent: the kernel says no for good.
    while quiet < 10 && Instant::now() < end {
        match peer.write(&chunk) {
            Ok(n) => {
                sent += n;
                quiet = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                quiet += 1;
            }
        }
        pump_for(driver, app, Duration::from_millis(if quiet > 0 { 20 } else { 1 }));
        most_held = most_held.max(driver.connection(id).expect("still open").held_bytes());
    }
    peer.set_nonblocking(false).unwrap();
    (sent, most_held)
}

#[test]
fn a6_fault_4_client_that_never_reads_is_stopped_by_the_kernel_and_memory_stays_within_the_caps() {
    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    let (sent, most_held) = flood(&mut driver, &mut app, id, &mut peer);
    assert!(most_held <= cap(&ByteEcho::LIMITS), "I2: {most_held} bytes held");
    assert!(most_held >= 16 * 1024, "the queue was full at some time, or this test shows nothing");
    assert!(sent < 64 << 20, "the client was never blocked: {sent} bytes");
    assert!(app.closed.is_empty(), "slow is no crime");

    // And the connection is none the worse for it.
    let mut reader = peer.try_clone().unwrap();
    let reading = std::thread::spawn(move || read_end(&mut reader));
    peer.shutdown(Shutdown::Write).unwrap();
    pump(&mut driver, &mut app, "the flush", |_, app| !app.closed.is_empty());
    let got = reading.join().unwrap();
    let chunk = pattern(64 * 1024);
    assert_eq!(got.len(), sent);
    assert_eq!(app.report().reason, Reason::Finished);
    // Chunks were cut by the kernel where it pleased, so only each one's start is known.
    assert_same(&got[..chunk.len()], &chunk);
}

#[test]
fn control_held_bytes_show_a_queue_that_is_too_large() {
    const HUGE: Limits = Limits { input_bytes: 1 << 20, output_bytes: 64 << 20, ..Limits::DEFAULT };
    let mut app = Recorder::new(|| Connection::new(ByteEcho).with_limits(HUGE));
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    let (_, most_held) = flood(&mut driver, &mut app, id, &mut peer);
    assert!(most_held > 10 * cap(&ByteEcho::LIMITS), "held {most_held}: the check above could not have failed");
}

#[test]
fn a6_bytes_that_waited_while_reading_was_off_are_handled_without_a_new_edge() {
    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    let (sent, _) = flood(&mut driver, &mut app, id, &mut peer);
    // Not one byte more is sent from here on: reading goes on by itself or not at all.
    let mut got = 0;
    peer.set_nonblocking(true).unwrap();
    let mut slot = vec![0; 256 * 1024];
    pump(&mut driver, &mut app, "every byte of the flood", |_, _| {
        if let Ok(n) = peer.read(&mut slot) {
            got += n;
        }
        got == sent
    });
}

#[test]
fn fault_3_5_peer_that_takes_nothing_ends_as_stalled_and_sees_a_reset() {
    let limits = Limits { stall_ms: 150, ..quick(ByteEcho::LIMITS) };
    let mut app = Recorder::new(move || Connection::new(ByteEcho).with_limits(limits));
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    peer.set_nonblocking(true).unwrap();
    let chunk = pattern(64 * 1024);
    pump(&mut driver, &mut app, "the stall deadline", |_, app| {
        // A write after the reset would be told of it, and the read no more.
        !app.closed.is_empty() || peer.write(&chunk).is_err_and(|_| false)
    });
    assert_eq!(app.report().reason, Reason::Stalled);
    assert!(app.report().counters.unsent > 0);
    peer.set_nonblocking(false).unwrap();
    read_reset(&mut peer);
}

#[test]
fn fault_3_peer_that_takes_a_little_now_and_then_is_no_stall() {
    in_time(|times| {
        let limits = Limits { stall_ms: times * 400, ..quick(ByteEcho::LIMITS) };
        let mut app = Recorder::new(move || Connection::new(ByteEcho).with_limits(limits));
        let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
        peer.set_nonblocking(true).unwrap();
        let chunk = pattern(64 * 1024);
        let mut slot = vec![0; 1 << 20];
        let (start, mut read, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        while app.closed.is_empty() && start.elapsed() < times * Duration::from_millis(1600) {
            let _ = peer.write(&chunk);
            // Enough that the receive window opens and the kernel takes more from us.
            let _ = peer.read(&mut slot);
            longest = longest.max(std::mem::replace(&mut read, Instant::now()).elapsed());
            pump_for(&mut driver, &mut app, Duration::from_millis(25));
        }
        if !app.closed.is_empty() && longest.max(read.elapsed()) >= times * Duration::from_millis(100) {
            return false;
        }
        assert!(app.closed.is_empty(), "{:?}", app.report().reason);
        true
    });
}

#[test]
fn fault_6_silent_peer_ends_at_the_idle_deadline_and_not_before() {
    in_time(|times| {
        let idle_ms = times * 200;
        let idle = Duration::from_millis(idle_ms.into());
        let limits = Limits { idle_ms, ..quick(Limits::DEFAULT) };
        let mut app = Recorder::new(move || Connection::new(LineEcho).with_limits(limits));
        let before = Instant::now();
        let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
        let (mut said, mut longest) = (before, Duration::ZERO);
        // Every byte counts as life.
        for _ in 0..6 {
            let before = std::mem::replace(&mut said, Instant::now());
            peer.write_all(b"x").unwrap();
            longest = longest.max(before.elapsed());
            pump_for(&mut driver, &mut app, times * Duration::from_millis(60));
            if longest >= idle {
                return false;
            }
            assert!(app.closed.is_empty() || said.elapsed() >= idle, "{:?} after its last byte", said.elapsed());
        }
        pump(&mut driver, &mut app, "the idle deadline", |_, app| !app.closed.is_empty());
        assert_eq!(app.report().reason, Reason::Limit(Limit::Idle(idle_ms)));
        assert!(said.elapsed() >= idle, "{:?}", said.elapsed());
        assert_eq!(read_end(&mut peer), format!("error: nothing moved for {idle_ms} ms\n").as_bytes());
        true
    });
}

#[test]
fn fault_9_waiting_for_a_slow_reader_that_has_ended_costs_no_processor_time() {
    const OWED: usize = 20 << 20;
    let limits = Limits { output_bytes: 32 << 20, ..Talk::LIMITS };
    let mut app = Recorder::new(move || Connection::new(Talk).with_limits(limits));
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    driver.send(id, pattern(OWED)).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    // It ends its direction, and the end arrives: nothing of its own stands before it.
    peer.shutdown(Shutdown::Write).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(50));
    assert_eq!(driver.len(), 1, "megabytes are owed");
    let (mut got, mut slot) = (Vec::new(), vec![0; 256 * 1024]);
    // The reader takes a little every now and then: that is something to do, and then there is nothing.
    for _ in 0..20 {
        let n = peer.read(&mut slot).unwrap();
        got.extend_from_slice(&slot[..n]);
        let is_quiet = (0..500).any(|_| pump_for(&mut driver, &mut app, Duration::from_millis(5)) == 0);
        assert!(is_quiet, "I3: it does not wait");
    }
    assert_eq!(driver.len(), 1, "still owed");
    let reading = std::thread::spawn(move || (read_end(&mut peer), got));
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    let (rest, got) = reading.join().unwrap();
    assert_same(&[got, rest].concat(), &pattern(OWED));
    assert_eq!(app.report().reason, Reason::Finished);
}
