//! Deadlines on the real clock.

use crate::child::isolated;
use crate::harness::{Recorder, connected, in_time, listening, pump, pump_for};
use crate::peer::{connect, connect_small, pattern, read_line};
use drywire_core::{Connection, Context, Limit, Limits, Protocol, Reason, Stop, Time, Timer};
use drywire_driver_mio::Config;
use drywire_protocols::{ByteEcho, LineEcho};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Timer = Timer::new(0);

/// Says `tick` every few milliseconds, five times, then closes.
struct Ticker {
    left: u8,
    every: Duration,
}

impl Protocol for Ticker {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    const LIMITS: Limits = Limits { linger_ms: 50, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.set_timer(TICK, cx.now() + self.every);
        Ok(())
    }

    fn timer(&mut self, _: Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(b"tick\n")?;
        if self.left == 1 {
            cx.close();
        } else {
            cx.set_timer(TICK, cx.now() + self.every);
        }
        self.left -= 1;
        Ok(())
    }
}

fn ticker() -> Connection<Ticker> {
    Connection::new(Ticker { left: 5, every: Duration::from_millis(30) })
}

#[test]
fn timers_ring_in_time_and_not_before() {
    let (mut driver, _, address) = listening::<Ticker>(Config::default());
    let mut app = Recorder::new(ticker);
    let start = Instant::now();
    let mut peers: Vec<_> = (0..20).map(|_| connect(address)).collect();
    pump(&mut driver, &mut app, "all ticks", |_, app| app.closed.len() == 20);
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    for peer in &mut peers {
        for _ in 0..5 {
            assert_eq!(read_line(peer), "tick\n");
        }
    }
    assert!(app.closed.iter().all(|(_, report)| report.reason == Reason::Finished));
}

// In a process that can be ended: this wait has no bound of its own.
isolated!(wait_without_a_timeout_wakes_up_for_a_deadline, {
    let mut app = Recorder::new(ticker);
    let (mut driver, _, _peer) = connected(Config::default(), &mut app);
    let mut rounds = 0;
    while app.closed.is_empty() {
        driver.wait(None).unwrap();
        driver.dispatch(&mut app);
        rounds += 1;
        assert!(rounds < 200, "I3: it wakes up too often");
    }
});

/// A timer that is set for a time that never comes.
struct Never;

impl Protocol for Never {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.set_timer(TICK, cx.now() + Duration::MAX);
        Ok(input.len())
    }

    fn timer(&mut self, _: Timer, _: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        unreachable!("the end of time")
    }
}

#[test]
fn fault_69_end_of_time_is_no_deadline() {
    let limits = Limits { first_byte_ms: Limits::NEVER, idle_ms: Limits::NEVER, ..Limits::DEFAULT };
    let mut app = Recorder::new(move || Connection::new(Never).with_limits(limits));
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    peer.write_all(b"x").unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(30));
    assert_eq!(driver.next_timeout(), None);
    assert_eq!(Time::ZERO + Duration::MAX, Time::NEVER);
}

#[test]
fn fault_58_process_that_was_stopped_does_not_take_its_own_pause_for_the_peers_silence() {
    in_time(|times| {
        let idle_ms = times * 300;
        let idle = Duration::from_millis(idle_ms.into());
        // A list of four events is too short for all the news there is after the pause.
        let config = Config { events: 4, ..Config::default() };
        let limits = Limits { idle_ms, linger_ms: 50, ..Limits::DEFAULT };
        let (mut driver, _, address) = listening::<LineEcho>(config);
        let mut app = Recorder::new(move || Connection::new(LineEcho).with_limits(limits));
        let start = Instant::now();
        let mut peers: Vec<_> = (0..50).map(|_| connect(address)).collect();
        pump(&mut driver, &mut app, "fifty", |_, app| app.opened.len() == 50);
        if start.elapsed() >= idle {
            return false;
        }
        for peer in &mut peers {
            peer.write_all(b"I was here\n").unwrap();
        }
        thread::sleep(idle + Duration::from_millis(100));
        let reading = thread::spawn(move || {
            for peer in &mut peers {
                assert_eq!(read_line(peer), "I was here\n");
            }
            peers
        });
        pump(&mut driver, &mut app, "fifty echoes", |_, _| reading.is_finished());
        let _peers = reading.join().unwrap();
        // Whoever is silent still ends.
        pump(&mut driver, &mut app, "the ends", |_, app| app.closed.len() == 50);
        assert!(app.closed.iter().all(|(_, report)| report.reason == Reason::Limit(Limit::Idle(idle_ms))));
        true
    });
}

#[test]
fn fault_58_peer_that_took_output_during_the_pause_has_not_stalled() {
    in_time(|times| {
        let stall_ms = times * 800;
        let stall = Duration::from_millis(stall_ms.into());
        let limits = Limits { stall_ms, linger_ms: 50, ..ByteEcho::LIMITS };
        let (mut driver, _, address) = listening::<ByteEcho>(Config::default());
        let mut app = Recorder::new(move || Connection::new(ByteEcho).with_limits(limits));
        let mut peer = connect_small(address, 16 * 1024);
        peer.set_nonblocking(true).unwrap();
        let (chunk, mut sent, mut quiet, mut went) = (pattern(256 * 1024), 0, 0, Instant::now());
        while quiet < 5 && app.closed.is_empty() {
            match peer.write(&chunk) {
                Ok(n) => (sent, quiet, went) = (sent + n, 0, Instant::now()),
                Err(_) => quiet += 1,
            }
            pump_for(&mut driver, &mut app, Duration::from_millis(2));
        }
        // It takes all that is on its way while the driver does nothing, so there is room.
        let mut got = vec![0; sent];
        let mut n = 0;
        while n == 0 || went.elapsed() < stall / 2 {
            n += peer.read(&mut got[n..]).unwrap_or(0);
        }
        if went.elapsed() >= stall {
            return false;
        }
        assert!(app.closed.is_empty(), "{:?}", app.closed);
        thread::sleep(stall);
        peer.set_nonblocking(false).unwrap();
        let reading = thread::spawn(move || peer.read_exact(&mut got[n..]));
        pump(&mut driver, &mut app, "the rest", |_, _| reading.is_finished());
        reading.join().unwrap().expect("it is no stall");
        true
    });
}
