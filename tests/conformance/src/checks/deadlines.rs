//! Deadlines watch progress: idling, stalling, lingering (FAULTS 3, 5, 6).

use crate::noise::assert_same;
use crate::pace::{Pace, honest};
use crate::peer::{flood_to_the_end, read_end, read_line, read_reset, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::talk::Talk;
use drywire_core::{Connection, Limit, Limits, Protocol, Reason};
use drywire_protocols::{ByteEcho, LineEcho};
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

/// The answer, a clean end, and the bound that was met in the report; not before time.
pub fn fault_6_silent_peer_gets_the_answer_for_idling_and_is_closed<S: Subject>() {
    honest(300, |pace| {
        let idle_ms = pace.ms(300);
        let limits = Limits { idle_ms, ..Limits::DEFAULT };
        let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
        let start = Instant::now();
        // Silent as it is, it has to be in time with its handshake.
        let (number, mut peer) = stage.known_peer();
        pace.rest();
        assert_same(&read_end(&mut peer), format!("error: nothing moved for {idle_ms} ms\n").as_bytes());
        assert!(start.elapsed() >= pace.time(290), "too early: {:?}", start.elapsed());
        drop(peer);
        assert_eq!(stage.report(number).reason, Reason::Limit(Limit::Idle(idle_ms)));
    });
}

/// Every byte counts as life, also one that is no message yet.
pub fn fault_6_peer_that_says_a_little_is_not_idle<S: Subject>() {
    // Half of it, because a byte may be on its way before the call that sends it returns.
    honest(300, |pace| {
        let limits = Limits { idle_ms: pace.ms(600), ..Limits::DEFAULT };
        let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
        let mut peer = stage.peer();
        for _ in 0..15 {
            send(&mut peer, b"x");
            thread::sleep(pace.time(100));
            pace.step();
        }
        send(&mut peer, b"\n");
        pace.rest();
        assert_eq!(read_line(&mut peer), format!("{}\n", "x".repeat(15)));
    });
}

/// The report says so, and the peer sees a reset, not an end.
pub fn fault_3_5_peer_that_takes_nothing_is_cut_as_stalled<S: Subject>() {
    let limits = Limits { stall_ms: 500, ..ByteEcho::LIMITS };
    let stage =
        Stage::<S, ByteEcho>::serve_with(Options::NARROW, move || Connection::new(ByteEcho).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    let start = Instant::now();
    // Whoever writes may be told of the reset; then the read no more.
    let told = flood_to_the_end(&mut peer, 32 << 20, || stage.scene.look(|seen| !seen[number].reports.is_empty()));
    let report = stage.report(number);
    assert!(start.elapsed() >= Duration::from_millis(490), "too early: {:?}", start.elapsed());
    assert_eq!(report.reason, Reason::Stalled);
    assert!(report.counters.unsent > 0, "{:?}", report.counters);
    if !told {
        assert!(read_reset(&mut peer).iter().all(|byte| *byte == 0));
    }
}

/// It takes several times the stall's length, and a little all the time.
pub fn fault_3_slow_but_live_download_is_not_cut<S: Subject>() {
    // The window opens when several pieces were taken, and the kernel may tell of it late.
    honest(100, |pace| {
        let limits = Limits { stall_ms: pace.ms(800), output_bytes: 4 << 20, ..Talk::LIMITS };
        slow_reader_gets_all::<S>(pace, limits, pace.time(2500));
    });
}

/// Takes a little all the time, for so long, and then the rest.
pub(super) fn slow_reader_gets_all<S: Subject>(pace: &mut Pace, limits: Limits, slow_for: Duration) {
    const OWED: usize = 2 << 20;
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, move || Connection::new(Talk).with_limits(limits));
    let (number, mut peer) = stage.known_narrow_peer();
    send(&mut peer, format!("owe {OWED}\nbye\n").as_bytes());
    let (start, mut got, mut slot) = (Instant::now(), Vec::new(), vec![0; 1000]);
    loop {
        let n = peer.read(&mut slot).unwrap_or_else(|error| panic!("cut after {} bytes: {error}", got.len()));
        pace.step();
        got.extend_from_slice(&slot[..n]);
        if n == 0 {
            break;
        }
        if start.elapsed() < slow_for {
            thread::sleep(Duration::from_millis(10));
        } else {
            slot.resize(64 * 1024, 0);
        }
    }
    pace.rest();
    Talk::noise().assert_at(0, &got);
    assert_eq!(got.len(), OWED, "I1");
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Finished);
}

/// The connection has said its last word; a peer that stays is not waited for.
pub fn linger_ends_though_the_peer_never_does<S: Subject>() {
    let limits = Limits { linger_ms: 200, ..Limits::DEFAULT };
    let stage = Stage::<S, LineEcho>::serve(move || Connection::new(LineEcho).with_limits(limits));
    let (number, mut peer) = stage.known_peer();
    let start = Instant::now();
    send(&mut peer, b"quit\n");
    assert_same(&read_end(&mut peer), b"quit\n");
    assert_eq!(stage.report(number).reason, Reason::Finished);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(190), "its end was not waited for: {took:?}");
    // Our socket is still open, and theirs is gone.
    assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
}
