//! The end of a server: nobody new, everybody gets what is owed, until a deadline
//! (row E6, FAULTS 57).

use super::line_echo;
use crate::noise::assert_same;
use crate::pace::honest;
use crate::peer::{read_end, read_line, read_reset, read_rest, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::Talk;
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_protocols::LineEcho;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Who owes nothing is closed at once; `join` returns long before the deadline.
pub fn shutdown_with_an_idle_peer_ends_at_once<S: Subject>() {
    let options = Options { drain_timeout: 4 * S::PATIENCE, ..Options::default() };
    let mut stage = Stage::<S, LineEcho>::serve_with(options, line_echo);
    let (number, mut peer) = stage.known_peer();
    send(&mut peer, b"hello\n");
    assert_eq!(read_line(&mut peer), "hello\n");
    stage.shutdown();
    assert_same(&read_end(&mut peer), b"");
    drop(peer);
    stage.join();
    assert!(!stage.report(number).is_abort(), "{:?}", stage.report(number).reason);
}

/// Three peers: an idle one, one that is owed megabytes and reads them late, one
/// that never reads. The first two get what is theirs, the third is cut at the
/// deadline, not before, and reported with what it did not get.
pub fn fault_57_shutdown_lets_out_what_is_owed_and_cuts_who_never_reads<S: Subject>() {
    const OWED: u64 = 256 << 10;
    honest(1000, |pace| {
        pace.rest();
        let timeout = pace.time(1000);
        let limits = Limits { output_bytes: 2 << 20, ..Talk::LIMITS };
        let options = Options { drain_timeout: timeout, narrow: true, ..Options::default() };
        let mut stage = Stage::<S, Talk>::serve_with(options, move || Connection::new(Talk).with_limits(limits));
        let (idle, idle_peer) = stage.known_peer();
        let (late, mut late_peer) = stage.known_narrow_peer();
        let (deaf, mut deaf_peer) = stage.known_narrow_peer();
        for peer in [&mut late_peer, &mut deaf_peer] {
            send(peer, format!("owe {OWED}\nasked\n").as_bytes());
        }
        stage.wait("both requests", |seen| seen[late].events.len() == 1 && seen[deaf].events.len() == 1);

        let start = Instant::now();
        stage.shutdown();
        let reading = thread::spawn(move || {
            let got = [idle_peer, late_peer].map(|mut peer| read_rest(&mut peer));
            (got, start.elapsed())
        });
        stage.join();
        let took = start.elapsed();
        let ([nothing, got], reader_took) = reading.join().expect("it only reads");
        pace.took(reader_took);
        assert!(took >= timeout - pace.time(100), "who never reads was waited for, not only {took:?}");
        assert!(nothing.1.is_none() && got.1.is_none(), "both ends are clean: {:?}, {:?}", nothing.1, got.1);
        assert_same(&nothing.0, b"");
        assert_eq!(got.0.len() as u64, OWED, "I1");
        Talk::noise().assert_at(0, &got.0);
        assert!(!stage.report(idle).is_abort() && !stage.report(late).is_abort());

        let report = stage.report(deaf);
        assert_eq!(report.reason, Reason::Aborted);
        Stage::<S, Talk>::assert_counted(report.counters.sent + report.counters.unsent, OWED);
        let got = read_reset(&mut deaf_peer);
        assert!(got.len() as u64 <= report.counters.sent);
        Talk::noise().assert_at(0, &got);
    });
}

/// The port is free at once, while somebody is still waited for.
pub fn nobody_is_let_in_after_the_shutdown_began<S: Subject>() {
    const OWED: u64 = 4 << 20;
    let limits = Limits { output_bytes: 8 << 20, ..Talk::LIMITS };
    let options = Options { drain_timeout: 4 * S::PATIENCE, narrow: true, ..Options::default() };
    let mut stage = Stage::<S, Talk>::serve_with(options, move || Connection::new(Talk).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\nasked\n").as_bytes());
    stage.wait("the request", |seen| seen[number].events.len() == 1);
    stage.shutdown();
    // Who waits in the backlog when the listener closes is let in by the kernel, and reset.
    let give_up = Instant::now() + S::PATIENCE;
    while !TcpStream::connect(stage.tcp()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        assert!(Instant::now() < give_up, "somebody is still let in");
        thread::sleep(Duration::from_millis(5));
    }
    let got = read_end(&mut peer);
    assert_eq!(got.len() as u64, OWED, "I1: it was owed that all the same");
    drop(peer);
    stage.join();
}
