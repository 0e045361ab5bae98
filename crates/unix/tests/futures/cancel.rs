//! Dropping a future: what its connections come to.

use crate::runtime::{Runtime, on_every_runtime};
use crate::scene::{PATIENCE, Recorder, connect, listening, pair, polled, until, within};
use drywire_core::{CloseReport, Connection, Context, Protocol, Reason, Stop};
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use drywire_server::{Address, Application, Config, Id, Net, OnPanic, Worker};
use drywire_unix::futures::{self, Driver, Reactor};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

on_every_runtime!(
    dropping_drive_ends_an_idle_connection_cleanly_and_reports_it,
    dropping_drive_resets_a_connection_that_is_owed_something,
    dropping_serve_reports_every_connection_and_frees_the_port,
    dropping_connect_before_it_stands_reports_it,
    connection_that_ended_is_returned_and_not_reported_twice,
    run_that_is_dropped_at_every_await_loses_nothing,
    panic_that_is_to_stop_the_worker_calls_its_application_no_more,
    i4_dropping_drive_reports_however_much_there_was_to_say,
);

fn dropping_drive_ends_an_idle_connection_cleanly_and_reports_it<R: Runtime>() {
    let (mut peer, ours) = pair();
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    peer.write_all(b"hello\nhalf").unwrap();
    R::block_on(async {
        let ours = open::<R>(ours);
        let drive = futures::drive::<_, _, R, _>(ours, Connection::new(LineEcho), Config::default(), &mut recorder);
        until("the echo", || arrived(&peer) == 6, drive).await;
    });
    let [(_, report)] = &recorder.closed[..] else { panic!("{:?}", recorder.closed) };
    assert_eq!(report.reason, Reason::Requested);
    assert_eq!(report.counters.unsent, 0);
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).expect("a clean end");
    assert_eq!(heard, b"hello\n");
}

fn dropping_drive_resets_a_connection_that_is_owed_something<R: Runtime>() {
    let (mut peer, ours) = pair();
    let mut recorder = Recorder::<Dialog>::new(|| Connection::new(Dialog::new()));
    // Little is asked and all of it is read, so that no unread input makes the kernel
    // send the reset by itself; much is owed, more than all buffers take.
    let dir = tempfile::tempdir().unwrap();
    std::fs::File::create(dir.path().join("big")).unwrap().set_len(256 << 20).unwrap();
    let config = Config { root: Some(dir.path().into()), ..Config::default() };
    peer.write_all(b"GET big\n").unwrap();
    R::block_on(async {
        let ours = open::<R>(ours);
        let drive = futures::drive::<_, _, R, _>(ours, Connection::new(Dialog::new()), config, &mut recorder);
        until("the first of it", || arrived(&peer) > 0, drive).await;
    });
    let [(_, report)] = &recorder.closed[..] else { panic!("{:?}", recorder.closed) };
    assert_eq!(report.reason, Reason::Aborted);
    assert!(report.counters.unsent > 0, "{report:?}");
    let error = peer.read_to_end(&mut Vec::new()).expect_err("half an answer is not to be taken for a whole one");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

fn dropping_serve_reports_every_connection_and_frees_the_port<R: Runtime>() {
    let address = free_address();
    let at = Address::Tcp(address);
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let peers = thread::spawn(move || {
        let peers: Vec<_> = (0..3)
            .map(|n| {
                let mut peer = connect_soon(address);
                writeln!(peer, "{n}").unwrap();
                peer.read_exact(&mut [0; 2]).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                peer
            })
            .collect();
        for mut peer in peers {
            assert_eq!(peer.read(&mut [0]).expect("a clean end"), 0);
        }
    });
    R::block_on(async {
        let serve = futures::serve::<_, _, R, _>(&at, Config::default(), &mut recorder);
        until("three peers", || served.load(Ordering::Relaxed) == 3, serve).await;
    });
    peers.join().unwrap();
    assert_eq!((recorder.opened.len(), recorder.closed.len()), (3, 3));
    TcpListener::bind(address).expect("the port is free again");
}

fn dropping_connect_before_it_stands_reports_it<R: Runtime>() {
    // Nobody accepts, and there is room for one or two: the next waits.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let at = Address::Tcp(address);
    let _fills: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50))).collect();
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let connect = futures::connect::<_, _, R, _>(&at, Connection::new(LineEcho), Config::default(), &mut recorder);
        assert!(within(Duration::from_millis(100), connect).await.is_none(), "nobody accepts");
    });
    assert!(recorder.opened.is_empty());
    assert_eq!(recorder.closed.len(), 1, "{:?}", recorder.closed);
}

fn connection_that_ended_is_returned_and_not_reported_twice<R: Runtime>() {
    let (mut peer, ours) = pair();
    peer.write_all(b"hello\nquit\n").unwrap();
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    let reading = thread::spawn(move || {
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).map(|_| heard)
    });
    let report = R::block_on(async {
        let ours = open::<R>(ours);
        futures::drive::<_, _, R, _>(ours, Connection::new(LineEcho), Config::default(), &mut recorder).await
    });
    assert_eq!(report.unwrap().reason, Reason::Finished);
    assert!(recorder.closed.is_empty());
    assert_eq!(reading.join().unwrap().unwrap(), b"hello\nquit\n");
}

/// 1 MiB each way, while the future is dropped again and again in the middle of its
/// waiting.
fn run_that_is_dropped_at_every_await_loses_nothing<R: Runtime>() {
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
    let mut recorder = Recorder::<ByteEcho>::new(|| Connection::new(ByteEcho));
    // Many short rounds.
    let config = Config { budget_bytes: 4096, ..Config::default() };
    R::block_on(async {
        let (mut driver, address): (Driver<ByteEcho, (), R>, _) = listening(config);
        let expected = sent.clone();
        let peer = thread::spawn(move || {
            let peer = connect(address);
            let mut reader = peer.try_clone().unwrap();
            let writing = thread::spawn(move || {
                for piece in sent.chunks(1000) {
                    (&peer).write_all(piece).unwrap();
                }
                peer.shutdown(Shutdown::Write).unwrap();
            });
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).unwrap();
            writing.join().unwrap();
            heard
        });
        let mut drops = 0;
        let rounds = async {
            for polls in (1..=4).cycle() {
                if !recorder.closed.is_empty() {
                    break;
                }
                let run = polled(polls, driver.run(&mut recorder));
                // It may have nothing to be polled for.
                drops += usize::from(within(Duration::from_millis(5), run).await.flatten().is_none());
            }
        };
        within(PATIENCE, rounds).await.expect("the connection ends");
        assert!(drops > 20, "dropped {drops} times only");
        assert!(peer.join().unwrap() == expected, "I1");
    });
    assert_eq!(recorder.closed[0].1.reason, Reason::Finished);
}

/// Lets one in, and fails then.
struct Fails(usize);

impl<N: Net> Application<N, LineEcho> for Fails {
    fn accept(&mut self, _: &mut Worker<LineEcho, (), N>, _: Id, _: &Address) -> Option<Connection<LineEcho>> {
        self.0 += 1;
        assert!(self.0 == 1, "as it should");
        Some(Connection::new(LineEcho))
    }

    fn closed(&mut self, _: &mut Worker<LineEcho, (), N>, _: Id, _: CloseReport<Infallible>) {
        panic!("a second panic ends the process");
    }
}

fn panic_that_is_to_stop_the_worker_calls_its_application_no_more<R: Runtime>() {
    let address = free_address();
    let at = Address::Tcp(address);
    let peers = thread::spawn(move || [connect_soon(address), connect_soon(address)]);
    let result = std::panic::catch_unwind(|| {
        R::block_on(async {
            let mut fails = Fails(0);
            let config = Config { on_panic: OnPanic::Stop, ..Config::default() };
            let serve = futures::serve::<_, _, R, _>(&at, config, &mut fails);
            within(PATIENCE, serve).await
        })
    });
    assert!(result.is_err(), "the panic is the caller's");
    for mut peer in peers.join().unwrap() {
        assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)), "the sockets are closed");
    }
}

/// A port that was free a moment ago. Connections to it wait for a listener.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Bytes that have come to a peer, which are left there.
fn arrived(peer: &TcpStream) -> usize {
    peer.set_nonblocking(true).unwrap();
    let n = peer.peek(&mut [0; 16]).unwrap_or(0);
    peer.set_nonblocking(false).unwrap();
    n
}

fn connect_soon(address: SocketAddr) -> TcpStream {
    for _ in 0..10_000 {
        if let Ok(peer) = TcpStream::connect(address) {
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            return peer;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("nobody listens at {address}");
}

fn open<R: Reactor>(stream: TcpStream) -> R::Open {
    stream.set_nonblocking(true).unwrap();
    OwnedFd::from(stream).into()
}

/// Says thirty things about each input.
#[derive(Debug)]
struct Chatty;

impl Protocol for Chatty {
    type Event = ();
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        for _ in 0..30 {
            cx.emit(())?;
        }
        Ok(input.len())
    }
}

fn i4_dropping_drive_reports_however_much_there_was_to_say<R: Runtime>() {
    let (mut peer, ours) = pair();
    peer.write_all(b"x").unwrap();
    let mut recorder = Recorder::<Chatty>::new(|| Connection::new(Chatty));
    R::block_on(async {
        let config = Config { budget_bytes: 1, ..Config::default() };
        let drive = futures::drive::<_, _, R, _>(open::<R>(ours), Connection::new(Chatty), config, &mut recorder);
        assert!(polled(3, drive).await.is_none());
    });
    assert_eq!(recorder.closed.len(), 1, "I4");
}
