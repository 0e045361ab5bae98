//! One busy peer does not starve the others (row A5, FAULTS 22, 24).

use crate::harness::{Recorder, Served, connected, listening, pump, round};
use crate::peer::{connect, pattern, read_n};
use drywire_core::{Connection, Limits};
use drywire_driver_mio::Config;
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keeps the server as busy as one peer can, until told to stop.
fn flooder(mut peer: TcpStream, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let mut reader = peer.try_clone().unwrap();
    let stopped = stop.clone();
    thread::spawn(move || {
        let mut slot = vec![0; 256 * 1024];
        while reader.read(&mut slot).is_ok_and(|n| n > 0) {}
    });
    thread::spawn(move || {
        let chunk = pattern(256 * 1024);
        let mut sent = 0;
        while !stopped.load(Ordering::Relaxed) {
            sent += peer.write(&chunk).expect("the server reads");
        }
        peer.shutdown(std::net::Shutdown::Both).unwrap();
        sent
    })
}

#[test]
fn fault_22_ninety_nine_quiet_peers_are_served_beside_one_flooder() {
    let server = Served::<ByteEcho>::start(Config::default(), || Connection::new(ByteEcho));
    let mut quiet: Vec<_> = (0..99).map(|_| server.connect()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = flooder(server.connect(), stop.clone());
    thread::sleep(Duration::from_millis(50));
    let mut latencies = Vec::new();
    for n in 0..5_u8 {
        for peer in &mut quiet {
            let start = Instant::now();
            peer.write_all(&[n; 32]).unwrap();
            assert_eq!(read_n(peer, 32), [n; 32]);
            latencies.push(start.elapsed());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let flood = flooding.join().unwrap();
    latencies.sort_unstable();
    let (median, worst) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    assert!(flood > 1 << 20, "the flooder sent {flood} bytes only: nothing was shown");
    // Other programs use this machine too; a starved peer would wait for seconds.
    assert!(median < Duration::from_millis(50), "median {median:?}, worst {worst:?}, flood {flood}");
    assert!(worst < Duration::from_secs(1), "median {median:?}, worst {worst:?}, flood {flood}");
    server.stop();
}

#[test]
fn fault_22_two_rounds_serve_everybody_whatever_one_of_them_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("film")).unwrap();
    file.set_len(1 << 40).unwrap();
    let (mut driver, _, address) = listening::<Dialog>(crate::files::config(dir.path()));
    let mut app = Recorder::new(|| Connection::new(Dialog::new()));
    // Three viewers who take everything at once.
    let viewers: Vec<_> = (0..3)
        .map(|_| {
            let mut viewer = connect(address);
            viewer.write_all(b"GET film\n").unwrap();
            let mut reader = viewer.try_clone().unwrap();
            thread::spawn(move || {
                let mut slot = vec![0; 1 << 20];
                while reader.read(&mut slot).is_ok_and(|n| n > 0) {}
            });
            viewer
        })
        .collect();
    let mut quiet: Vec<_> = (0..20).map(|_| connect(address)).collect();
    pump(&mut driver, &mut app, "everybody", |driver, app| app.opened.len() == 23 && driver.open_files() == 3);
    for _ in 0..20 {
        for peer in &mut quiet {
            peer.write_all(b"NOOP\n").unwrap();
        }
        thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        for _ in 0..2 {
            round(&mut driver, &mut app, Duration::ZERO);
        }
        let took = start.elapsed();
        assert!(took < Duration::from_millis(500), "two rounds took {took:?}");
        for peer in &mut quiet {
            peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            assert_eq!(read_n(peer, 3), b"OK\n", "not answered within two rounds");
        }
    }
    for viewer in viewers {
        let _ = viewer.shutdown(std::net::Shutdown::Both);
    }
    pump(&mut driver, &mut app, "the viewers' ends", |driver, _| driver.open_files() == 0);
}

#[test]
fn fault_22_budget_that_is_spent_continues_without_a_new_event() {
    // Every action ends the turn, and nobody gets stuck on a budget that is none.
    for (budget_bytes, events) in [(1, 1), (0, 0)] {
        let config = Config { budget_bytes, events, ..Config::default() };
        let server = Served::<LineEcho>::start(config, || Connection::new(LineEcho));
        let mut peer = server.connect();
        let text = b"one\ntwo\nthree\n".repeat(1000);
        crate::peer::send_and_end(&mut peer, &text);
        crate::peer::assert_same(&crate::peer::read_end(&mut peer), &text);
        server.stop();
    }
}

#[test]
fn fault_24_accept_flood_does_not_starve_those_who_are_in() {
    let mut app = Recorder::new(|| Connection::new(LineEcho).with_limits(Limits { linger_ms: 0, ..Limits::DEFAULT }));
    let (mut driver, _, address) = listening::<LineEcho>(Config::default());
    let mut inside = connect(address);
    pump(&mut driver, &mut app, "the first", |_, app| app.opened.len() == 1);
    let flood: Vec<_> = (0..400).map(|_| connect(address)).collect();
    inside.write_all(b"hello\n").unwrap();
    thread::sleep(Duration::from_millis(20));
    round(&mut driver, &mut app, Duration::ZERO);
    assert!(app.opened.len() <= 1 + 2 * 64, "{} accepts in one round", app.opened.len());
    round(&mut driver, &mut app, Duration::ZERO);
    inside.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert_eq!(read_n(&mut inside, 6), b"hello\n");
    // No new edge tells of the rest of the backlog.
    pump(&mut driver, &mut app, "the whole backlog", |_, app| app.opened.len() == 401);
    drop(flood);
    pump(&mut driver, &mut app, "the ends", |driver, _| driver.len() == 1);
}

#[test]
fn many_events_at_once_need_more_rounds_but_nobody_is_forgotten() {
    let config = Config { events: 4, ..Config::default() };
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    let (mut driver, _, first) = connected(config, &mut app);
    let address = first.peer_addr().unwrap();
    let mut peers: Vec<_> = (0..50).map(|_| connect(address)).collect();
    pump(&mut driver, &mut app, "fifty", |_, app| app.opened.len() == 51);
    for peer in &mut peers {
        peer.write_all(b"x\n").unwrap();
        peer.set_nonblocking(true).unwrap();
    }
    let mut answered = 0;
    pump(&mut driver, &mut app, "fifty answers", |_, _| {
        answered += peers.iter_mut().filter_map(|peer| peer.read(&mut [0; 8]).ok()).filter(|n| *n == 2).count();
        answered == 50
    });
}
