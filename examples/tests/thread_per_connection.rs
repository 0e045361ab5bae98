//! The driver in `thread_per_connection` keeps deadlines, though its calls block.
//! That it moves the right bytes is tested with all drivers, in `tests/conformance`.

#[expect(dead_code, unreachable_pub, reason = "a program, of which its driver is tested")]
#[path = "../src/bin/thread_per_connection.rs"]
mod thread_per_connection;

use drywire_core::{CloseReport, Connection, Limit, Limits, Live, Protocol, Reason};
use drywire_protocols::{Dialog, LineEcho};
use drywire_unix::files::Root;
use std::convert::Infallible;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use thread_per_connection::{serve, talk};

const PATIENCE: Duration = Duration::from_secs(60);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two ends of a connection: the peer's, and ours.
#[track_caller]
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer.set_write_timeout(Some(PATIENCE)).expect("not zero");
    (peer, listener.accept().expect("it has connected").0)
}

/// Runs the connection while `peer` does what it does, and may wait for the end; the report, and after
/// how long.
#[track_caller]
fn run<P: Protocol<Event = Infallible, Error: Send> + Send>(
    connection: Connection<P>,
    root: Option<&Root>,
    before_turn: impl FnMut(&mut Live<'_, P>) + Send,
    peer: impl FnOnce(TcpStream, &mpsc::Receiver<()>),
) -> (CloseReport<P::Error>, Duration)
where
    Connection<P>: Send,
{
    let (theirs, ours) = pair();
    let begun = Instant::now();
    let (tell, ended) = mpsc::channel();
    thread::scope(|scope| {
        let talking = scope.spawn(move || {
            let report = talk(ours, root, connection, before_turn, |never| match never {});
            let after = begun.elapsed();
            // The peer need not wait for it.
            let _ = tell.send(());
            (report, after)
        });
        peer(theirs, &ended);
        talking.join().expect("the connection's thread does not panic")
    })
}

fn received(mut peer: TcpStream) -> (usize, Result<usize, ErrorKind>) {
    let mut all = Vec::new();
    let end = peer.read_to_end(&mut all).map_err(|error| error.kind());
    (all.len(), end)
}

/// A file that no socket takes whole while nobody reads.
struct Film(tempfile::TempDir);

const FILM_BYTES: usize = 16 << 20;

impl Film {
    #[track_caller]
    fn new() -> Film {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("film"), vec![b'f'; FILM_BYTES]).expect("room for a file");
        Film(directory)
    }

    fn root(&self) -> Root {
        Root::open(Path::new(self.0.path())).expect("just made")
    }
}

#[test]
fn idle_is_measured_from_the_last_byte_and_not_from_the_wait_before_it() {
    // A peer that a busy machine makes too late for its deadline shows nothing, and has a longer one.
    for times in [1, 4, 16] {
        let limits = Limits { idle_ms: times * 1000, ..Limits::DEFAULT };
        let mut longest = Duration::ZERO;
        let (report, after) = run(
            Connection::new(LineEcho).with_limits(limits),
            None,
            |_| {},
            |mut peer, _| {
                let mut moved = Instant::now();
                for _ in 0..2 {
                    thread::sleep(times * ms(600));
                    // No whole line: an echo would be a byte that moves too.
                    let written = peer.write_all(b"x");
                    longest = longest.max(std::mem::replace(&mut moved, Instant::now()).elapsed());
                    assert!(written.is_ok() || longest > times * ms(1000), "it reads");
                }
                let (n, end) = received(peer);
                assert!(n > 0 && end.is_ok() || longest > times * ms(1000), "the last words: {n} bytes, {end:?}");
            },
        );
        if longest < times * ms(1000) {
            assert_eq!(report.reason, Reason::Limit(Limit::Idle(times * 1000)));
            return assert!(after >= times * ms(1200 + 1000) - ms(40), "cut off after {after:?}");
        }
    }
    panic!("the machine stands still for seconds");
}

#[test]
fn a_peer_that_takes_nothing_stalls_and_sees_a_reset() {
    let film = Film::new();
    let limits = Limits { stall_ms: 300, ..Limits::DEFAULT };
    let connection = Connection::new(Dialog::new()).with_limits(limits);
    let (report, after) = run(
        connection,
        Some(&film.root()),
        |_| {},
        |mut peer, ended| {
            peer.write_all(b"GET film\n").expect("it reads");
            ended.recv_timeout(PATIENCE).expect("it stalls");
            let (n, end) = received(peer);
            assert!(n < FILM_BYTES && end == Err(ErrorKind::ConnectionReset), "half a film: {n} bytes, {end:?}");
        },
    );
    assert_eq!(report.reason, Reason::Stalled);
    assert!(after >= ms(280), "cut off after {after:?}");
}

#[test]
fn a_peer_that_sends_all_before_it_reads_gets_all() {
    let film = Film::new();
    let limits = Limits { linger_bytes: 64 << 20, ..Limits::DEFAULT };
    let connection = Connection::new(Dialog::new()).with_limits(limits);
    let (report, _) = run(
        connection,
        Some(&film.root()),
        |_| {},
        |mut peer, _| {
            peer.write_all(b"GET film\nQUIT\n").expect("it reads");
            // More than the sockets hold: only a server that discards it gets on.
            peer.write_all(&vec![b'x'; 8 << 20]).expect("it reads on");
            peer.shutdown(Shutdown::Write).expect("connected");
            let (n, end) = received(peer);
            assert_eq!((n, end), (FILM_BYTES + b"OK 16777216\nOK\n".len(), Ok(n)));
        },
    );
    assert_eq!(report.reason, Reason::Finished);
}

#[test]
fn a_peer_that_never_ends_is_waited_for_until_the_linger_is_over() {
    let limits = Limits { linger_ms: 300, ..Limits::DEFAULT };
    let (report, after) = run(
        Connection::new(LineEcho).with_limits(limits),
        None,
        |_| {},
        |mut peer, ended| {
            peer.write_all(b"quit\n").expect("it reads");
            let mut said = [0; 6];
            assert_eq!(peer.read(&mut said).expect("the echo"), 5);
            assert_eq!(peer.read(&mut said).expect("the end"), 0);
            ended.recv_timeout(PATIENCE).expect("it is closed, though we are not");
        },
    );
    assert_eq!(report.reason, Reason::Finished);
    assert!(after >= ms(280), "closed after {after:?}");
}

#[test]
fn an_idle_connection_hears_of_a_drain() {
    let begun = Instant::now();
    let mut drained = false;
    let drain = |live: &mut Live<'_, LineEcho>| {
        if begun.elapsed() > ms(200) && !std::mem::replace(&mut drained, true) {
            live.drain();
        }
    };
    let (report, _) = run(Connection::new(LineEcho), None, drain, |peer, _| {
        assert_eq!(received(peer), (0, Ok(0)));
    });
    assert_eq!(report.reason, Reason::Finished);
}

#[test]
fn serve_returns_when_its_threads_have_ended_and_lets_nobody_in_after_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, clients) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            serve(&listener, &stop, |stream| {
                talk(stream, None, Connection::new(LineEcho), |_| {}, |never| match never {});
                clients.fetch_add(1, Ordering::Relaxed);
            });
        });
        let mut peer = TcpStream::connect(address).expect("it listens");
        peer.write_all(b"one\n").expect("it reads");
        assert_eq!(peer.read(&mut [0; 9]).expect("the echo"), 4);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(received(TcpStream::connect(address).expect("it listens")), (0, Ok(0)), "closed, unheard");
        assert!(!serving.is_finished(), "the first one is still there");
        drop(peer);
        serving.join().expect("it does not panic");
    });
    assert_eq!(clients.into_inner(), 1);
}
