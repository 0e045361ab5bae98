//! The end of a server (row E6, FAULTS 57).

use crate::child::isolated;
use crate::harness::{PATIENCE, Recorder, Served, connected, in_time, listening, pump, pump_for};
use crate::peer::{connect, connect_small, pattern, read_end, read_reset};
use crate::talk::{Each, Heard, Talk};
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_driver_mio::{Config, Worker};
use drywire_protocols::LineEcho;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// No test waits for it; what ends at once ends long before.
const DRAIN: Duration = PATIENCE;

const BIG: Limits = Limits { output_bytes: 64 << 20, ..Talk::LIMITS };

fn big_talk() -> Connection<Talk> {
    Connection::new(Talk).with_limits(BIG)
}

#[test]
fn fault_57_what_is_owed_is_sent_within_the_deadline_and_the_rest_is_cut_and_reported() {
    in_time(|times| {
        let drain_timeout = times * Duration::from_millis(1500);
        let config = Config { drain_timeout, ..Config::default() };
        let (mut driver, _, address) = listening::<Talk>(config);
        let mut app = Recorder::new(big_talk);
        let idle = connect(address);
        let mut reader = connect_small(address, 16 * 1024);
        let mut deaf = connect_small(address, 16 * 1024);
        pump(&mut driver, &mut app, "three", |_, app| app.opened.len() == 3);
        let bytes = pattern(12 << 20);
        // Which id is whose shows in who gets what.
        for &id in &app.opened[1..] {
            driver.send(id, bytes.clone()).unwrap();
        }
        pump_for(&mut driver, &mut app, Duration::from_millis(20));

        let start = Instant::now();
        driver.server_handle().shutdown();
        let reading = thread::spawn(move || {
            let mut got = Vec::new();
            let end = reader.read_to_end(&mut got);
            (got, end, start.elapsed())
        });
        let idle_end = thread::spawn(move || read_end(&mut { idle }));
        driver.run(&mut app).unwrap();
        let took = start.elapsed();
        let (got, end, reader_took) = reading.join().unwrap();
        assert_eq!(idle_end.join().unwrap(), b"");
        if reader_took >= drain_timeout {
            return false;
        }
        assert!(took >= drain_timeout - Duration::from_millis(100), "the deaf one was waited for, not only {took:?}");
        end.expect("a clean end");
        assert_eq!(got.len(), bytes.len());
        assert_eq!(app.closed.len(), 3);
        let cut: Vec<_> = app.closed.iter().filter(|(_, report)| report.counters.unsent > 0).collect();
        let [(_, report)] = cut[..] else { panic!("one was cut, not {}", cut.len()) };
        assert_eq!(report.reason, Reason::Aborted);
        assert_eq!(report.counters.sent + report.counters.unsent, bytes.len() as u64, "I1");
        let got = read_reset(&mut deaf);
        assert!(got.len() as u64 <= report.counters.sent);
        crate::peer::assert_same(&got, &bytes[..got.len()]);
        true
    });
}

#[test]
fn fault_57_second_shutdown_ends_it_at_once() {
    let config = Config { drain_timeout: DRAIN, ..Config::default() };
    let mut app = Recorder::new(big_talk);
    let (mut driver, id, peer) = connected(config, &mut app);
    driver.send(id, pattern(20 << 20)).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    driver.shutdown();
    pump_for(&mut driver, &mut app, Duration::from_millis(50));
    assert!(!driver.is_done(), "it waits for the deaf one");
    driver.shutdown();
    let start = Instant::now();
    driver.run(&mut app).unwrap();
    assert!(start.elapsed() < DRAIN / 2, "{:?}", start.elapsed());
    assert_eq!(app.report().reason, Reason::Aborted);
    drop(peer);
}

#[test]
fn several_parts_of_a_program_may_ask_for_the_shutdown() {
    let config = Config { drain_timeout: Duration::from_millis(300), ..Config::default() };
    let mut app = Recorder::new(big_talk);
    let (mut driver, id, _peer) = connected(config, &mut app);
    driver.send(id, pattern(20 << 20)).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let start = Instant::now();
    for _ in 0..3 {
        driver.server_handle().shutdown();
        pump_for(&mut driver, &mut app, Duration::from_millis(20));
    }
    driver.run(&mut app).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(290), "none of them cut it short: {:?}", start.elapsed());
}

#[test]
fn abort_from_a_handle_ends_a_waiting_server_and_a_draining_one() {
    for draining in [false, true] {
        let config = Config { drain_timeout: DRAIN, ..Config::default() };
        let server = Served::<Talk>::start(config, big_talk);
        let _peer = server.connect();
        if draining {
            server.handle.shutdown();
        }
        thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        let ended = server.stop();
        assert!(start.elapsed() < DRAIN / 2, "{:?}", start.elapsed());
        assert!(ended.closed.len() <= 1);
    }
}

#[test]
fn nobody_is_let_in_after_the_shutdown_began() {
    let config = Config { drain_timeout: DRAIN, ..Config::default() };
    let mut app = Recorder::new(big_talk);
    let (mut driver, id, peer) = connected(config, &mut app);
    let address = peer.peer_addr().unwrap();
    driver.send(id, pattern(20 << 20)).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    driver.shutdown();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let refused = TcpStream::connect_timeout(&address, PATIENCE).expect_err("the listener is closed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    driver.abort(id);
    pump(&mut driver, &mut app, "the end", |driver, _| driver.is_done());
}

#[test]
fn shutdown_inside_a_callback_begins_at_once() {
    let config = Config { drain_timeout: DRAIN, ..Config::default() };
    let (mut driver, _, address) = listening::<Talk>(config);
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| {
        if let Heard::Event(..) = heard {
            driver.shutdown();
        }
    });
    let mut quiet = connect(address);
    let mut peer = connect(address);
    let asking = thread::spawn(move || {
        crate::peer::send_and_end(&mut peer, b"stop\n");
        (read_end(&mut peer), read_end(&mut quiet))
    });
    let start = Instant::now();
    driver.run(&mut app).unwrap();
    assert!(start.elapsed() < DRAIN / 2, "it slept with the shutdown pending: {:?}", start.elapsed());
    asking.join().unwrap();
}

// In a process that can be ended: with nobody to wait for, this might sleep for ever.
isolated!(shutdown_before_the_first_round_ends_the_first_run, {
    let (mut driver, _, _) = listening::<LineEcho>(Config::default());
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    driver.shutdown();
    driver.run(&mut app).unwrap();
});

#[test]
fn loop_that_goes_on_after_the_end_sleeps() {
    let (mut driver, _, _) = listening::<LineEcho>(Config::default());
    let mut app = Recorder::new(|| Connection::new(LineEcho));
    driver.server_handle().abort();
    pump(&mut driver, &mut app, "the end", |driver, _| driver.is_done());
    assert_eq!(pump_for(&mut driver, &mut app, Duration::from_millis(50)), 0, "I3");
}
