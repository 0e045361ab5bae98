//! Descriptors, threads and memory return to the baseline (I6, FAULTS 83).

use super::line_echo;
use crate::measure::{descriptors, resident_bytes, threads};
use crate::peer::{Peer, read_end, read_line, reset, send};
use crate::stage::Stage;
use crate::subject::Subject;
use crate::suite::say;
use drywire_protocols::LineEcho;
use std::thread;
use std::time::{Duration, Instant};

const WARM_UP: usize = 2_000;
const COUNT: usize = 20_000;

/// A connect, a line, a close: by the server, by the client, by a reset.
pub fn i6_twenty_thousand_short_connections_leave_nothing_behind<S: Subject>() {
    // What a runtime starts once for the whole process is there after the first.
    drop(Stage::<S, LineEcho>::serve(line_echo));
    let count = count::<S>();
    let threads_before = threads();
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    churn(&stage, WARM_UP);
    let (fds, tasks, memory) = (descriptors(), threads(), resident_bytes());
    churn(&stage, count / 2);
    let half = resident_bytes();
    churn(&stage, count / 2);
    let give_up = Instant::now() + S::PATIENCE;
    while descriptors() > fds || threads() > tasks {
        assert!(
            Instant::now() < give_up,
            "I6: {} descriptors instead of {fds}, {} threads instead of {tasks}",
            descriptors(),
            threads()
        );
        thread::sleep(Duration::from_millis(5));
    }
    let now = resident_bytes();
    let (before, between, after) = (memory >> 10, half >> 10, now >> 10);
    say(&format!(
        "note: {}: {before} KiB before {count} connections, {between} KiB after half of them, {after} KiB after all",
        S::NAME
    ));
    let (grown, later) = (now.saturating_sub(memory), now.saturating_sub(half));
    assert!(grown < 2 << 20, "I6: {grown} bytes more after {count} connections");
    // What a driver grows to once, it has by then.
    assert!(later < 512 << 10, "I6: {later} bytes more in the second half of {count} connections");
    drop(stage);
    // The kernel counts a thread for a moment after it was joined.
    let give_up = Instant::now() + S::PATIENCE;
    while threads() > threads_before {
        assert!(Instant::now() < give_up, "I6: threads are left of a driver that has ended");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A handshake is worth ten connections without one.
const fn count<S: Subject>() -> usize {
    if S::IS_TLS && !cfg!(feature = "longest") { COUNT / 5 } else { COUNT }
}

/// All of them ended and were reported when this returns. Two in three leave no port
/// in TIME_WAIT on the client's side, where ports are few.
#[track_caller]
fn churn<S: Subject>(stage: &Stage<S, LineEcho>, count: usize) {
    for n in 1..=count {
        come_and_go(stage.peer(), n);
        if n % 500 == 0 {
            stage.wait("the ends", |seen| seen.iter().all(|seen| seen.reports.len() == 1));
            assert!(stage.scene.forget_ended());
        }
    }
}

#[track_caller]
fn come_and_go(mut peer: Peer, n: usize) {
    if n.is_multiple_of(3) {
        send(&mut peer, b"quit\n");
        return assert_eq!(read_end(&mut peer), b"quit\n");
    }
    send(&mut peer, b"hello\n");
    assert_eq!(read_line(&mut peer), "hello\n");
    if n % 3 == 1 {
        reset(peer);
    }
}
