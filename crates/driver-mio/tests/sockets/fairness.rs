//! One busy peer does not starve the others (row A5, FAULTS 22, 24).

use crate::harness::{PATIENCE, Recorder, Served, connected, listening, pump, round};
use crate::peer::{connect, pattern, read_n};
use drywire_core::{Connection, Limits, Protocol};
use drywire_driver_mio::{Config, Driver, Id};
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// A quiet peer, at a Unix socket: what it says stands in the other end when the call returns.
fn quiet<P: Protocol>(driver: &mut Driver<P>, connection: Connection<P>) -> (Id, UnixStream) {
    let (peer, ours) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (driver.add(ours, connection).unwrap(), peer)
}

fn sent<P: Protocol>(driver: &Driver<P>, id: Id) -> u64 {
    driver.connection(id).expect("nobody leaves").counters().sent
}

#[test]
fn fault_22_ninety_nine_quiet_peers_are_served_beside_one_flooder() {
    let (mut driver, _, address) = listening::<ByteEcho>(Config::default());
    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    let mut flooder = connect(address);
    flooder.set_nonblocking(true).unwrap();
    pump(&mut driver, &mut app, "the flooder", |_, app| app.opened.len() == 1);
    let flood = app.opened[0];
    let mut quiet: Vec<_> = (0..99).map(|_| quiet(&mut driver, Connection::new(ByteEcho))).collect();
    let (chunk, mut slot) = (pattern(64 * 1024), vec![0; 64 * 1024]);
    for n in 1..=5_u8 {
        // It has taken all there was, and has sent as much as goes.
        while flooder.read(&mut slot).is_ok() {}
        while flooder.write(&chunk).is_ok() {}
        for (_, peer) in &mut quiet {
            peer.write_all(&[n; 32]).unwrap();
        }
        let before = sent(&driver, flood);
        for _ in 0..2 {
            round(&mut driver, &mut app, Duration::ZERO);
        }
        for (id, peer) in &mut quiet {
            assert_eq!(sent(&driver, *id), 32 * u64::from(n), "it is answered within two rounds");
            assert_eq!(read_n(peer, 32), [n; 32]);
        }
        let moved = sent(&driver, flood) - before;
        assert!(n > 1 || moved > 64 * 1024, "the flooder moved {moved} bytes only: nothing was shown");
    }
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
    pump(&mut driver, &mut app, "the viewers", |driver, _| driver.open_files() == 3);
    let mut quiet: Vec<_> = (0..20).map(|_| quiet(&mut driver, Connection::new(Dialog::new()))).collect();
    for n in 1..=20 {
        for (_, peer) in &mut quiet {
            peer.write_all(b"NOOP\n").unwrap();
        }
        for _ in 0..2 {
            round(&mut driver, &mut app, Duration::ZERO);
        }
        for (id, peer) in &mut quiet {
            assert_eq!(sent(&driver, *id), 3 * n, "it is answered within two rounds");
            assert_eq!(read_n(peer, 3), b"OK\n");
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
    let (inside, mut peer) = quiet(&mut driver, Connection::new(LineEcho));
    let flood: Vec<_> = (0..400).map(|_| connect(address)).collect();
    peer.write_all(b"hello\n").unwrap();
    round(&mut driver, &mut app, Duration::ZERO);
    assert!(app.opened.len() <= 2 * 64, "{} accepts in one round", app.opened.len());
    round(&mut driver, &mut app, Duration::ZERO);
    assert_eq!(sent(&driver, inside), 6, "it is answered within two rounds");
    assert_eq!(read_n(&mut peer, 6), b"hello\n");
    // No new edge tells of the rest of the backlog.
    pump(&mut driver, &mut app, "the whole backlog", |_, app| app.opened.len() == 400);
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
