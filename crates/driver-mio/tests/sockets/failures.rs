//! What goes wrong with one connection is that connection's alone, and has a name
//! (rows A8, B6, B7, FAULTS 7, 8, 11 to 13, 56, 83).

use crate::child::{descriptors, isolated};
use crate::harness::{Recorder, Served, connected, listening, pump, pump_for, quick};
use crate::peer::{connect, pattern, read_line, read_n, reset};
use crate::talk::Talk;
use drywire_core::{Connection, Limits, Protocol, Reason, TransportError};
use drywire_driver_mio::{Config, Driver};
use drywire_protocols::{ByteEcho, LineEcho};
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn line_echo() -> Connection<LineEcho> {
    Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT))
}

#[test]
fn fault_12_a8_reset_while_reading_has_its_name() {
    let mut app = Recorder::new(line_echo);
    let (mut driver, _, peer) = connected(Config::default(), &mut app);
    reset(peer);
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(app.report().reason, Reason::Transport(TransportError::Reset));
}

#[test]
fn fault_11_56_a8_peer_that_closed_before_we_write_is_a_broken_pipe_and_no_signal() {
    let mut driver = Driver::<Talk>::new(Config::default()).unwrap();
    let mut app = Recorder::new(|| Connection::new(Talk));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let id = driver.add(ours, Connection::new(Talk)).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    // It goes on reading nothing, so only the write can tell.
    theirs.shutdown(Shutdown::Read).unwrap();
    driver.send(id, pattern(1000)).unwrap();
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(app.report().reason, Reason::Transport(TransportError::BrokenPipe));
    assert_eq!(app.report().counters.unsent, 1000);
}

#[test]
fn fault_13_kernel_that_gives_up_on_a_peer_is_timed_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = crate::peer::connect_small(listener.local_addr().unwrap(), 4096);
    let (ours, _) = listener.accept().unwrap();
    // Data that is not taken for this long ends the connection, whatever we think.
    rustix::net::sockopt::set_tcp_user_timeout(&ours, 200).unwrap();
    let mut driver = Driver::<ByteEcho>::new(Config::default()).unwrap();
    let mut app = Recorder::new(|| Connection::new(ByteEcho));
    driver.add(ours, Connection::new(ByteEcho)).unwrap();
    peer.set_nonblocking(true).unwrap();
    let chunk = pattern(64 * 1024);
    pump(&mut driver, &mut app, "the kernel's patience", |_, app| {
        let _ = peer.write(&chunk);
        !app.closed.is_empty()
    });
    assert_eq!(app.report().reason, Reason::Transport(TransportError::TimedOut));
}

#[test]
fn b6_b7_fault_7_reset_in_the_middle_of_a_write_ends_that_connection_alone() {
    const LIMITS: Limits = Limits { output_bytes: 32 << 20, ..Limits::DEFAULT };
    let mut app = Recorder::new(|| Connection::new(Talk).with_limits(quick(LIMITS)));
    let (mut driver, id, peer) = connected(Config::default(), &mut app);
    let address = peer.peer_addr().unwrap();
    let mut others: Vec<_> = (0..5).map(|_| connect(address)).collect();
    pump(&mut driver, &mut app, "six", |_, app| app.opened.len() == 6);
    driver.send(id, pattern(30 << 20)).unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(30));
    assert!(driver.connection(id).unwrap().held_bytes() > 0, "it is in the middle");
    reset(peer);
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    let report = app.report();
    assert_eq!(report.reason, Reason::Transport(TransportError::Reset));
    assert_eq!(report.counters.sent + report.counters.unsent, 30 << 20, "I1: every byte is accounted for");
    for (peer, id) in others.iter_mut().zip(app.opened[1..].to_vec()) {
        driver.send(id, b"alive\n".to_vec()).unwrap();
        pump_for(&mut driver, &mut app, Duration::from_millis(5));
        assert_eq!(read_line(peer), "alive\n");
    }
    assert_eq!(app.closed.len(), 1);
}

#[test]
fn fault_8_resets_before_the_accept_cost_nobody_else_anything() {
    let (mut driver, _, address) = listening::<LineEcho>(Config::default());
    for _ in 0..50 {
        reset(connect(address));
    }
    let mut peer = connect(address);
    peer.write_all(b"hello\n").unwrap();
    let mut app = Recorder::new(line_echo);
    pump(&mut driver, &mut app, "the resets and the one", |driver, app| {
        app.opened.len() == app.closed.len() + 1 && driver.len() == 1
    });
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    assert_eq!(read_line(&mut peer), "hello\n");
    assert_eq!(app.failed, [], "the listener lives");
    assert!(app.closed.iter().all(|(_, report)| report.reason == Reason::Transport(TransportError::Reset)));
}

#[test]
fn a8_end_of_stream_is_no_error() {
    let mut app = Recorder::new(line_echo);
    let (mut driver, _, peer) = connected(Config::default(), &mut app);
    drop(peer);
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(app.report().reason, Reason::Finished);
}

#[test]
fn peer_that_resets_after_the_last_byte_has_lost_nothing() {
    let mut app = Recorder::new(line_echo);
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    peer.write_all(b"quit\n").unwrap();
    pump_for(&mut driver, &mut app, Duration::from_millis(20));
    assert_eq!(read_n(&mut peer, 5), b"quit\n");
    reset(peer);
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(app.report().reason, Reason::Finished);
}

#[test]
fn protocol_error_of_one_is_answered_and_ends_that_one() {
    let mut app = Recorder::new(line_echo);
    let (mut driver, _, mut peer) = connected(Config::default(), &mut app);
    let mut other = connect(peer.peer_addr().unwrap());
    peer.write_all(&vec![b'x'; LineEcho::LIMITS.input_bytes as usize + 1]).unwrap();
    other.write_all(b"fine\n").unwrap();
    let reading = std::thread::spawn(move || crate::peer::read_end(&mut peer));
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(reading.join().unwrap(), b"error: line too long\n");
    assert_eq!(read_line(&mut other), "fine\n");
    assert_eq!(driver.len(), 1);
}

isolated!(fault_83_churn_of_short_connections_leaves_nothing_behind, {
    let server = Served::<LineEcho>::start(Config::default(), line_echo);
    let mut warm = server.connect();
    warm.write_all(b"warm\n").unwrap();
    assert_eq!(read_line(&mut warm), "warm\n");
    let baseline = descriptors();
    let rounds = if std::env::var_os("DRYWIRE_LONG").is_some() { 20_000 } else { 5_000 };
    for n in 0..rounds {
        let mut peer = server.connect();
        match n % 3 {
            0 => reset(peer),
            1 => {
                peer.write_all(b"hello\n").unwrap();
                assert_eq!(read_line(&mut peer), "hello\n");
                // No port of ours is left in TIME_WAIT.
                reset(peer);
            }
            _ => {
                peer.write_all(b"quit\n").unwrap();
                assert_eq!(crate::peer::read_end(&mut peer), b"quit\n");
            }
        }
    }
    let mut open = descriptors();
    for _ in 0..6000 {
        if open == baseline {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        open = descriptors();
    }
    assert_eq!(open, baseline, "I6: descriptors are back");
    let ended = server.stop();
    assert_eq!(ended.opened, rounds + 1);
    assert_eq!(ended.closed.len(), ended.opened);
});

#[test]
fn listener_that_is_none_is_reported_and_removed() {
    // A connected socket in a listener's clothes: accept says EINVAL.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let false_listener = TcpListener::from(std::os::fd::OwnedFd::from(stream));
    let mut driver = Driver::<LineEcho>::new(Config::default()).unwrap();
    let mut app = Recorder::new(line_echo);
    let id = driver.listen_on(false_listener).unwrap();
    listener.accept().unwrap().0.write_all(b"an event").unwrap();
    pump(&mut driver, &mut app, "the report", |_, app| !app.failed.is_empty());
    assert_eq!(app.failed, [id]);
    assert!(driver.is_done(), "nothing is left");
    let error = io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error());
    assert_eq!(drywire_server::classify(&error), drywire_server::Verdict::Fatal);
}
