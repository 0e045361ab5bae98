//! Handles on connections and on the driver, from any thread (rows B2, W2, FAULTS 63,
//! 64, 66, 67, 73).

use crate::harness::{PATIENCE, POLL2, Recorder, Served, connected, listening, pump, pump_for};
use crate::peer::{connect, read_end, read_line, read_reset};
use crate::talk::{Each, Heard, Talk};
use drywire_core::{Connection, Reason};
use drywire_driver_mio::{Address, Config, Driver, Dropped, Handle, Outcome, Receipt, SendError, Standing, Worker};
use std::convert::Infallible;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

type Handles = Receiver<Handle<Vec<u8>>>;
type Reasons = Receiver<Reason<Infallible>>;

/// A server thread that gives out a handle for each connection, and the reasons of
/// their ends.
fn serve(config: Config) -> (Served<Talk, ()>, Handles, Reasons) {
    let (give, handles) = channel();
    let (tell, reasons) = channel();
    let served = Served::run(config, move |driver: &mut Driver<Talk>| {
        let mut app = Each(|driver: &mut Worker<Talk>, heard: Heard| match heard {
            Heard::Opened(id) => give.send(driver.handle(id).expect("it is open")).unwrap_or_default(),
            Heard::Closed(_, report) => tell.send(report.reason).unwrap_or_default(),
            Heard::Accept(_) | Heard::Event(..) | Heard::Source(..) | Heard::ListenerFailed => {}
        });
        driver.run(&mut app).expect("the poller works");
    });
    (served, handles, reasons)
}

#[test]
fn b2_connection_is_removed_from_another_thread() {
    let (server, handles, reasons) = serve(Config::default());
    let mut peer = server.connect();
    let handle = handles.recv_timeout(PATIENCE).unwrap();
    // It has no deadline of its own: one that is not woken sleeps for ever.
    handle.abort();
    read_reset(&mut peer);
    assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), Reason::Aborted);
    assert_eq!(handle.send(b"late".to_vec()), Err(SendError::Closed(b"late".to_vec())), "FAULTS 63");
    handle.abort();
    handle.close();
    assert!(!handle.is_open());
}

#[test]
fn fault_66_every_command_accepted_before_a_close_arrives() {
    let (server, handles, reasons) = serve(Config::default());
    for round in 0..20 {
        let mut peer = server.connect();
        let handle = handles.recv_timeout(PATIENCE).unwrap();
        let senders: Vec<_> = (0..4)
            .map(|n| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let mut accepted = 0;
                    for _ in 0..500 {
                        match handle.send(format!("{n}\n").into_bytes()) {
                            Ok(()) => accepted += 1,
                            Err(SendError::Full(_)) => thread::yield_now(),
                            Err(SendError::Closed(_) | SendError::TooLarge(_)) => break,
                        }
                    }
                    accepted
                })
            })
            .collect();
        // In the middle of it.
        for _ in 0..round * 20 {
            thread::yield_now();
        }
        let closing = handle.clone();
        let reading = thread::spawn(move || read_end(&mut peer));
        closing.close();
        let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        let got = reading.join().unwrap();
        assert_eq!(got.len(), 2 * accepted, "round {round}");
        assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), Reason::Requested);
    }
}

#[test]
fn fault_66_commands_that_race_with_an_abort_arrive_or_are_refused_in_order() {
    let (server, handles, _reasons) = serve(Config::default());
    for _ in 0..20 {
        let mut peer = server.connect();
        let handle = handles.recv_timeout(PATIENCE).unwrap();
        let sending = {
            let handle = handle.clone();
            thread::spawn(move || {
                for n in 0..10_000_u32 {
                    if let Err(SendError::Closed(_)) = handle.send(n.to_be_bytes().to_vec()) {
                        return true;
                    }
                }
                false
            })
        };
        thread::sleep(Duration::from_millis(1));
        handle.abort();
        let got = read_reset(&mut peer);
        sending.join().unwrap();
        let numbers: Vec<_> = got.chunks_exact(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "I1: in order, none twice");
    }
}

#[test]
fn fault_64_flood_through_a_handle_is_told_full_and_others_have_room() {
    let config = Config { commands_per_connection: 10, ..Config::default() };
    let mut app = Recorder::new(|| Connection::new(Talk));
    let (mut driver, id, first) = connected(config, &mut app);
    let second = connect(first.peer_addr().unwrap());
    pump(&mut driver, &mut app, "two", |_, app| app.opened.len() == 2);
    let other = app.opened[1];
    let handle = driver.handle(id).unwrap();
    let accepted = (0..100).filter(|_| handle.send(b"x\n".to_vec()).is_ok()).count();
    assert_eq!(accepted, 10);
    assert_eq!(handle.send(b"y".to_vec()), Err(SendError::Full(b"y".to_vec())));
    driver.send(other, b"room\n".to_vec()).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    assert_eq!(read_line(&mut { second }), "room\n");
    assert_eq!(handle.send(b"again\n".to_vec()), Ok(()), "what was handled makes room");
    drop(first);
}

#[test]
fn fault_67_many_commands_are_one_wake_up() {
    let mut app = Recorder::new(|| Connection::new(Talk));
    let config = Config { commands_per_connection: 10_000, ..Config::default() };
    let (mut driver, id, mut peer) = connected(config, &mut app);
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let handle = driver.handle(id).unwrap();
    thread::spawn(move || {
        for _ in 0..1000 {
            handle.send(b"x\n".to_vec()).unwrap();
        }
    })
    .join()
    .unwrap();
    driver.wait(Some(PATIENCE)).unwrap();
    driver.dispatch(&mut app);
    assert_eq!(crate::peer::read_n(&mut peer, 2000), b"x\n".repeat(1000), "all in one round");
    // Under poll(2) a read that would block asks about writing again, once.
    let more = pump_for(&mut driver, &mut app, Duration::from_millis(100));
    assert!(more <= 2, "{more} more wake-ups");
}

#[test]
fn handles_are_heard_while_connections_come_and_go() {
    let (server, handles, _reasons) = serve(Config::default());
    let mut peer = server.connect();
    let handle = handles.recv_timeout(PATIENCE).unwrap();
    let address = server.address;
    let (stop, stopped) = channel::<()>();
    // Registrations and wake-ups at the same time, thousands of times.
    let churn = thread::spawn(move || {
        while stopped.try_recv().is_err() {
            crate::peer::reset(TcpStream::connect(address).unwrap());
            while handles.try_recv().is_ok() {}
        }
    });
    for n in 0..3000 {
        handle.send(format!("{n}\n").into_bytes()).unwrap();
        assert_eq!(read_line(&mut peer), format!("{n}\n"));
    }
    stop.send(()).unwrap();
    churn.join().unwrap();
}

#[test]
fn wake_up_that_falls_together_with_the_end_of_another_connection_is_not_lost() {
    let (server, handles, _reasons) = serve(Config::default());
    let mut peer = server.connect();
    let handle = handles.recv_timeout(PATIENCE).unwrap();
    // mio's poll(2) loses one in some ten thousand, if we let it.
    for batch in 0..if POLL2 { 200_u32 } else { 10 } {
        let others: Vec<_> = (0..100).map(|_| server.connect()).collect();
        let victims: Vec<_> = others.iter().map(|_| handles.recv_timeout(PATIENCE).unwrap()).collect();
        for (n, victim) in (0_u32..).zip(victims) {
            // The last thing the server does before it sleeps is to forget the victim;
            // the command comes at any moment of that.
            victim.abort();
            let pause = Duration::from_nanos(u64::from((n * 1310 + batch * 170) % 60_000));
            let start = Instant::now();
            while start.elapsed() < pause {}
            handle.send(format!("{n}\n").into_bytes()).unwrap();
            assert_eq!(read_line(&mut peer), format!("{n}\n"));
        }
    }
}

#[test]
fn fault_63_handle_outlives_the_connection_and_the_driver() {
    let mut app = Recorder::new(|| Connection::new(Talk));
    let (mut driver, id, peer) = connected(Config::default(), &mut app);
    let handle = driver.handle(id).unwrap();
    let server = driver.server_handle();
    drop(peer);
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert!(driver.handle(id).is_none());
    assert!(matches!(driver.send(id, Vec::new()), Err(SendError::Closed(_))));
    assert!(matches!(handle.send(Vec::new()), Err(SendError::Closed(_))));
    drop(driver);
    assert!(matches!(handle.send(Vec::new()), Err(SendError::Closed(_))));
    handle.close();
    handle.abort();
    server.shutdown();
    server.abort();
}

#[test]
fn commands_wait_for_room_and_none_is_lost() {
    let (mut driver, _, address) = listening::<Talk>(Config { commands_per_connection: 1000, ..Config::default() });
    let mut app = Recorder::new(|| Connection::new(Talk));
    let mut peer = connect(address);
    pump(&mut driver, &mut app, "one", |_, app| app.opened.len() == 1);
    let id = app.opened[0];
    // A thousand times 64 KiB through a queue of 256 KiB, to a peer that begins late.
    let sent: Vec<u8> = crate::peer::pattern(64 * 1024);
    for _ in 0..1000 {
        driver.send(id, sent.clone()).unwrap();
    }
    driver.close(id);
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    let reading = thread::spawn(move || read_end(&mut peer));
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    let got = reading.join().unwrap();
    assert_eq!(got.len(), 1000 * sent.len());
    assert!(got.chunks_exact(sent.len()).all(|chunk| chunk == sent));
    assert_eq!(app.report().reason, Reason::Requested);
    let _ = connect(address).write_all(b"the driver still listens\n");
}

/// Commands of 64 KiB, until one is refused for good: nothing has changed when another connection of
/// that worker was served several times. The peer reads none of it yet.
fn until_full(handle: &Handle<Vec<u8>>, (other, peer): (&Handle<Vec<u8>>, &mut TcpStream)) -> Vec<Receipt> {
    let (mut receipts, mut unchanged) = (Vec::new(), 0);
    while unchanged < 5 {
        let before = (receipts.len(), written(&receipts));
        loop {
            match handle.send_tracked(vec![b'x'; 64 * 1024]) {
                Ok(receipt) => receipts.push(receipt),
                Err(SendError::Full(_)) => break,
                Err(refused) => panic!("{refused:?}"),
            }
        }
        other.send(b"a turn\n".to_vec()).unwrap();
        assert_eq!(read_line(peer), "a turn\n");
        thread::sleep(Duration::from_millis(20));
        unchanged = if (receipts.len(), written(&receipts)) == before { unchanged + 1 } else { 0 };
    }
    receipts
}

fn written(receipts: &[Receipt]) -> usize {
    receipts.iter().filter(|receipt| receipt.try_get().is_some()).count()
}

#[test]
fn w2_receipt_says_written_when_the_transport_has_taken_it_and_not_before() {
    let (server, handles, _) = serve(Config::default());
    let mut peer = server.connect();
    let handle = handles.recv_timeout(PATIENCE).unwrap();
    let (mut other, other_handle) = (server.connect(), handles.recv_timeout(PATIENCE).unwrap());
    let receipts = until_full(&handle, (&other_handle, &mut other));
    let written = written(&receipts);
    assert!(written > 0, "the first ones fit into the sockets");
    assert!(receipts.len() - written >= 64, "{written} of {}: the rest waits for its peer", receipts.len());
    assert!(receipts[..written].iter().all(|receipt| receipt.try_get() == Some(Outcome::Written)), "in order");
    let seen = handle.inspect();
    assert_eq!((seen.standing, &seen.peer), (Standing::Open, &Some(Address::Tcp(peer.local_addr().unwrap()))));
    let owed = receipts.len() - written - seen.waiting_commands as usize;
    // What was handled together was offered together: of the last of it the sockets took a part.
    assert!(owed >= 1, "{owed} are handled, and not taken yet");
    assert!(seen.waiting_commands > 0 && seen.held_bytes > 0, "{seen:?}");
    assert!(seen.age >= seen.quiet && seen.quiet >= Duration::from_millis(60), "{seen:?}");

    let all = receipts.len() * 64 * 1024;
    let reading = thread::spawn(move || {
        let mut got = vec![0; all];
        std::io::Read::read_exact(&mut peer, &mut got).unwrap();
        peer
    });
    for receipt in &receipts {
        assert_eq!(receipt.wait(PATIENCE), Some(Outcome::Written));
    }
    let _peer = reading.join().unwrap();
    handle.close();
}

#[test]
fn fault_66_every_receipt_is_completed_when_the_connection_is_cut() {
    let (server, handles, reasons) = serve(Config::default());
    let peer = server.connect();
    let handle = handles.recv_timeout(PATIENCE).unwrap();
    handle.set_tag(9);
    let (mut other, other_handle) = (server.connect(), handles.recv_timeout(PATIENCE).unwrap());
    let receipts = until_full(&handle, (&other_handle, &mut other));
    handle.abort();
    assert_eq!(reasons.recv_timeout(PATIENCE).unwrap(), Reason::Aborted);
    let outcomes: Vec<_> = receipts.iter().map(|receipt| receipt.wait(PATIENCE).expect("completed")).collect();
    let dropped = outcomes.iter().filter(|outcome| **outcome == Outcome::Dropped(Dropped::Aborted)).count();
    let written = outcomes.iter().filter(|outcome| **outcome == Outcome::Written).count();
    // Those that wait, the one that the connection holds, and what it had not written yet.
    assert!(dropped >= 64 && written > 0 && dropped + written == outcomes.len(), "{outcomes:?}");
    let left = handle.inspect();
    assert_eq!((left.standing, left.waiting_commands, left.held_bytes, left.tag), (Standing::Closed, 0, 0, 9));
    drop(peer);
}

#[test]
fn w2_receipts_are_completed_when_the_worker_is_gone() {
    let mut app = Recorder::new(|| Connection::new(Talk));
    let (mut driver, id, _peer) = connected(Config::default(), &mut app);
    let handle = driver.handle(id).unwrap();
    let receipt = handle.send_tracked(b"never\n".to_vec()).unwrap();
    drop(driver);
    assert_eq!(receipt.try_get(), Some(Outcome::Dropped(Dropped::WorkerGone)));
}
