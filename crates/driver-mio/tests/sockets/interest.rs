//! Reading turned off and on by the protocol (row A6).

use crate::harness::{Recorder, assert_falls_quiet, connected, pump, pump_for};
use crate::peer::pattern;
use drywire_core::{Connection, Context, Limits, Protocol, Reason, Stop};
use drywire_driver_mio::Config;
use std::convert::Infallible;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

/// Counts what it gets; reads when told to. A `0` byte makes it stop by itself.
struct Valve {
    taken: usize,
}

impl Protocol for Valve {
    type Event = usize;
    type Command = bool;
    type Error = Infallible;

    const LIMITS: Limits = Limits { linger_ms: 100, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let n = match input.iter().position(|byte| *byte == 0) {
            Some(at) => {
                cx.disable_read();
                at + 1
            }
            None => input.len(),
        };
        self.taken += n;
        Ok(n)
    }

    fn command(&mut self, open: &bool, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        if *open {
            cx.enable_read();
        } else {
            cx.disable_read();
        }
        Ok(())
    }

    fn end_of_input(&mut self, _: &[u8], cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.emit(self.taken)?;
        cx.close();
        Ok(())
    }
}

fn valve() -> Connection<Valve> {
    Connection::new(Valve { taken: 0 })
}

#[test]
fn a6_reading_that_is_off_stops_the_peer_and_on_again_takes_what_waited() {
    let mut app = Recorder::new(valve);
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    driver.send(id, false).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    peer.set_nonblocking(true).unwrap();
    let chunk = vec![1; 256 * 1024];
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 5 {
        match peer.write(&chunk) {
            Ok(n) => (sent, quiet) = (sent + n, 0),
            Err(_) => quiet += 1,
        }
        pump_for(&mut driver, &mut app, Duration::from_millis(5));
    }
    let connection = driver.connection(id).unwrap();
    assert_eq!((connection.protocol().taken, connection.held_bytes()), (0, 0), "nothing is read");
    assert_falls_quiet(&mut driver, &mut app);
    // Not one byte comes after this, so there is no edge to wait for.
    driver.send(id, true).unwrap();
    pump(&mut driver, &mut app, "what waited", |driver, _| driver.connection(id).unwrap().protocol().taken == sent);
}

#[test]
fn a6_protocol_that_closes_its_valve_after_each_message_loses_none() {
    let mut app = Recorder::new(valve);
    let (mut driver, id, mut peer) = connected(Config::default(), &mut app);
    let bytes: Vec<u8> = pattern(50_000);
    let stops = bytes.iter().filter(|byte| **byte == 0).count();
    assert!(stops > 20);
    peer.write_all(&bytes).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    pump(&mut driver, &mut app, "the end", |driver, app| {
        let _ = driver.send(id, true);
        !app.closed.is_empty()
    });
    assert_eq!(app.events, [(id, bytes.len())]);
    assert_eq!(app.report().reason, Reason::Finished);
}

#[test]
fn a6_peer_that_reset_while_reading_was_off_is_noticed_when_it_is_on() {
    let mut app = Recorder::new(valve);
    let (mut driver, id, peer) = connected(Config::default(), &mut app);
    driver.send(id, false).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    crate::peer::reset(peer);
    pump_for(&mut driver, &mut app, Duration::from_millis(50));
    assert_falls_quiet(&mut driver, &mut app);
    let _ = driver.send(id, true);
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert!(matches!(app.report().reason, Reason::Transport(_)), "{:?}", app.report().reason);
}
