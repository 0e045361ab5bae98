//! Everything may be done to the driver from inside a callback (row A4, FAULTS 20,
//! 60, 61, 73).
#![expect(clippy::wildcard_enum_match_arm, reason = "each test cares about some of the callbacks only")]

use crate::harness::{PATIENCE, listening, pump, pump_for};
use crate::peer::{connect, read_end, read_line, read_reset};
use crate::talk::{Each, Heard, Talk};
use drywire_core::{Connection, Reason};
use drywire_driver_mio::{Address, Config, Driver, Id, Interest, SendError, SourceEvent, Worker};
use rustix::event::{EventfdFlags, eventfd};
use std::cell::RefCell;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

/// A log that closures and the test share.
fn log<T>() -> Rc<RefCell<Vec<T>>> {
    Rc::default()
}

fn signalled() -> OwnedFd {
    eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

#[test]
fn fault_60_73_connection_that_closes_itself_in_a_callback_flushes_and_ends_once() {
    let (mut driver, _, address) = listening::<Talk>(Config::default());
    let closed = log();
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| match heard {
        Heard::Event(id, line) if line == "bye" => {
            driver.send(id, format!("you said {line}\n").into_bytes()).unwrap();
            driver.close(id);
            driver.close(id);
            assert_eq!(driver.send(id, b"late".to_vec()), Err(SendError::Closed(b"late".to_vec())));
            assert!(driver.connection(id).is_some(), "deferred");
        }
        Heard::Closed(id, report) => {
            assert!(driver.send(id, b"late".to_vec()).is_err());
            driver.close(id);
            driver.abort(id);
            closed.borrow_mut().push(report.reason);
        }
        _ => {}
    });
    let mut peer = connect(address);
    peer.write_all(b"bye\nnot seen\n").unwrap();
    let reading = std::thread::spawn(move || read_end(&mut peer));
    pump(&mut driver, &mut app, "the close", |_, _| !closed.borrow().is_empty());
    assert_eq!(reading.join().unwrap(), b"you said bye\n");
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    assert_eq!(*closed.borrow(), [Reason::Requested]);
    assert!(driver.is_empty());
}

#[test]
fn fault_61_closing_another_that_has_news_in_the_same_round_is_safe() {
    let (mut driver, _, address) = listening::<Talk>(Config::default());
    let (ids, closed) = (log::<Id>(), log());
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| match heard {
        Heard::Opened(id) => ids.borrow_mut().push(id),
        Heard::Event(id, _) => {
            for other in ids.borrow().iter().filter(|other| **other != id) {
                driver.abort(*other);
            }
        }
        Heard::Closed(id, report) => closed.borrow_mut().push((id, report.reason)),
        _ => {}
    });
    let mut peers: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
    pump(&mut driver, &mut app, "ten", |_, _| ids.borrow().len() == 10);
    for peer in &mut peers {
        peer.write_all(b"only one\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    pump(&mut driver, &mut app, "nine or ten closes", |_, _| closed.borrow().len() >= 9);
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let closed = closed.borrow();
    assert!(closed.iter().all(|(_, reason)| *reason == Reason::Aborted), "{closed:?}");
    assert_eq!(driver.len(), 10 - closed.len());
    let mut peers_cut = 0;
    for peer in &mut peers {
        peer.set_nonblocking(true).unwrap();
        let cut = peer.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        peers_cut += usize::from(cut);
    }
    assert_eq!(peers_cut, closed.len(), "each abort was a reset");
}

#[test]
fn a4_connection_made_inside_closed_is_served() {
    let (mut driver, _, address) = listening::<Talk>(Config::default());
    let made = log::<Id>();
    let events = log();
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| match heard {
        Heard::Closed(_, _) if made.borrow().is_empty() => {
            // To ourselves: both ends live in this driver.
            let id = driver.connect(Address::Tcp(address), Connection::new(Talk)).unwrap();
            driver.send(id, b"hello from inside\n".to_vec()).unwrap();
            made.borrow_mut().push(id);
        }
        Heard::Event(_, line) => events.borrow_mut().push(line),
        _ => {}
    });
    drop(connect(address));
    pump(&mut driver, &mut app, "the event", |_, _| !events.borrow().is_empty());
    assert_eq!(*events.borrow(), ["hello from inside"]);
    assert_eq!(driver.len(), 2);
}

#[test]
fn a4_listener_removed_inside_accept_still_lets_that_one_in() {
    let (mut driver, listener, address) = listening::<Talk>(Config::default());
    let events = log();
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| match heard {
        Heard::Accept(id) => {
            assert_eq!(id, listener);
            driver.stop_listening(id);
            assert_eq!(driver.local_address(id), None);
            driver.stop_listening(id);
        }
        Heard::Event(id, line) => {
            driver.send(id, b"served\n".to_vec()).unwrap();
            events.borrow_mut().push(line);
        }
        _ => {}
    });
    let mut peer = connect(address);
    peer.write_all(b"in time\n").unwrap();
    pump(&mut driver, &mut app, "the event", |_, _| !events.borrow().is_empty());
    pump_for(&mut driver, &mut app, Duration::from_millis(10));
    assert_eq!(read_line(&mut peer), "served\n");
    assert!(TcpStream::connect_timeout(&address, PATIENCE).is_err(), "nobody listens any more");
}

#[test]
fn a4_source_that_unregisters_itself_inside_its_callback_is_gone() {
    let mut driver = Driver::<Talk>::new(Config::default()).unwrap();
    let heard_by = log::<Id>();
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| {
        let Heard::Source(id, SourceEvent::Readable) = heard else { panic!("{heard:?}") };
        heard_by.borrow_mut().push(id);
        let fd = driver.unregister(id).expect("it was there");
        assert!(driver.unregister(id).is_none());
        assert!(driver.source(id).is_none());
        // The same descriptor again, under another id.
        if heard_by.borrow().len() < 3 {
            driver.register(fd, Interest::READABLE, None).unwrap();
        }
    });
    driver.register(signalled(), Interest::READABLE, None).unwrap();
    pump(&mut driver, &mut app, "three ids", |_, _| heard_by.borrow().len() == 3);
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let mut ids = heard_by.borrow().clone();
    ids.dedup();
    assert_eq!(ids.len(), 3, "an id is never used again");
    assert!(driver.is_done());
}

#[test]
fn fault_20_event_of_a_descriptor_that_was_replaced_in_the_same_round_is_dropped() {
    let mut driver = Driver::<Talk>::new(Config::default()).unwrap();
    let events = log();
    let others = log::<Id>();
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| {
        let Heard::Source(id, event) = heard else { panic!("{heard:?}") };
        events.borrow_mut().push((id, event));
        for other in others.take().into_iter().filter(|other| *other != id) {
            drop(driver.unregister(other));
            // Quiet, with the number and the place in the table of the one that had news.
            let quiet = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
            driver.register(quiet, Interest::READABLE, None).unwrap();
        }
    });
    for _ in 0..2 {
        others.borrow_mut().push(driver.register(signalled(), Interest::READABLE, None).unwrap());
    }
    pump(&mut driver, &mut app, "the first event", |_, _| !events.borrow().is_empty());
    assert_eq!(events.borrow().len(), 1, "{:?}", events.borrow());
}

#[test]
fn peer_that_is_aborted_in_opened_sees_a_reset_and_has_one_report() {
    let (mut driver, _, address) = listening::<Talk>(Config::default());
    let closed = log();
    let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| match heard {
        Heard::Opened(id) => driver.abort(id),
        Heard::Closed(_, report) => closed.borrow_mut().push(report.reason),
        _ => {}
    });
    let mut peer = connect(address);
    pump(&mut driver, &mut app, "the close", |_, _| !closed.borrow().is_empty());
    assert_eq!(*closed.borrow(), [Reason::Aborted]);
    read_reset(&mut peer);
}
