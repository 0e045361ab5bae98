//! Known-bad controls: scripts that do not agree with what happens, and loops that
//! break a rule. Each must be told, with the line of this file where it is written.

use drywire_core::{Action, Budget, Live, Protocol, Read, Ready, Reason, Transport, TransportError, Turn, turn};
use drywire_protocols::{Dialog, LineEcho};
use drywire_sim::mock::{Mock, Wire};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What `test` fails with.
#[track_caller]
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the mock should have failed");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast_ref::<&str>().expect("the mock says what is wrong")).to_owned(),
    }
}

/// Fails with these words, and says where in this file.
#[track_caller]
fn fails_with(words: &str, test: impl FnOnce()) {
    let failure = failure(test);
    assert!(failure.contains(words), "{words:?} is missing in {failure:?}");
    assert!(!words.contains("written at") || failure.contains("controls.rs:"), "no place in {failure:?}");
}

#[test]
fn entry_that_is_left_over_is_told() {
    fails_with("left unconsumed: a read, \"b\"later\"\", written at", || {
        let mut mock = Mock::new(LineEcho).short_reads_exhaust();
        mock.wait(|on| on.read("a").read("later"));
    });
    fails_with("left unconsumed: a write, \"takes 3 bytes\", written at", || {
        Mock::new(LineEcho).wait(|on| on.read("no line yet").write(3));
    });
    fails_with("left unconsumed: a write, \"would block\", written at", || {
        Mock::new(LineEcho).wait(|on| on.read("a\n").would_block().would_block());
    });
    fails_with("left unconsumed: a read, \"the end of input\", written at", || {
        Mock::new(Dialog::new()).opens_later().wait(|on| on.read("GET a\n").end());
    });
}

#[test]
fn event_whose_interest_is_off_is_told() {
    fails_with("its interest was off: nobody waits for input\n  the read of \"b\"x\"\", written at", || {
        let mut mock = Mock::new(Dialog::new()).opens_later();
        mock.wait(|on| on.read("GET a\n"));
        mock.wait(|on| on.read("x"));
    });
    fails_with("its interest was off: nobody waits to write\n  \"writable\", written at", || {
        let mut mock = Mock::new(LineEcho);
        mock.wait(|on| on);
        mock.wait(|on| on.writable());
    });
    fails_with("its interest was off", || {
        let mut mock = Mock::new(LineEcho);
        mock.wait(|on| on.end());
        mock.wait(|on| on.read("after the end"));
    });
    fails_with("there is no deadline, as is written at", || {
        let mut mock = Mock::new(LineEcho);
        mock.wait(|on| on);
        mock.wait(|on| on.deadline());
    });
}

/// Goes on as `turn` does, but asks the transport again after a would-block.
fn reads_twice<P: Protocol>(
    live: &mut Live<'_, P>,
    wire: &mut Wire,
    ready: &mut Ready,
    budget: &mut Budget,
) -> Turn<P::Event, P::Error> {
    let ended = turn(live, wire, ready, budget);
    let read = live.read_with(|slot| wire.try_read(slot));
    assert!(matches!(read, Read::WouldBlock | Read::NotWanted));
    ended
}

/// Offers output again though the transport said that it would block.
fn writes_twice<P: Protocol>(
    live: &mut Live<'_, P>,
    wire: &mut Wire,
    ready: &mut Ready,
    budget: &mut Budget,
) -> Turn<P::Event, P::Error> {
    let ended = turn(live, wire, ready, budget);
    live.handle_writable();
    if let Action::Write(write) = live.poll() {
        let _ = write.with_slices(|slices, more| wire.try_write_vectored(slices, more));
    }
    ended
}

#[test]
fn answer_that_is_used_twice_is_told() {
    fails_with("used twice: a read after the one that was told \"would block\", written at", || {
        Mock::new(LineEcho).wait_by(reads_twice, |on| on.read("a").read_would_block());
    });
    fails_with("used twice: a write after the one that was told \"would block\", written at", || {
        Mock::new(LineEcho).wait_by(writes_twice, |on| on.read("a\n").would_block());
    });
    // The same loops, where nothing is asked twice.
    Mock::new(LineEcho).wait_by(reads_twice, |on| on.read("a"));
    Mock::new(LineEcho).wait_by(writes_twice, |on| on.read("a\n")).expect("a\n");
}

#[test]
fn other_bytes_than_expected_are_told() {
    fails_with("from byte 1 on\n  expected  b\"ab\\n\"\n  written   b\"aX\\n\"", || {
        Mock::new(LineEcho).wait(|on| on.read("aX\n")).expect("ab\n");
    });
    fails_with("other bytes were written, from byte 2 on", || {
        Mock::new(LineEcho).wait(|on| on.read("a\nb\n")).expect("a\n");
    });
    fails_with("written and never expected: b\"a\\n\"", || {
        Mock::new(LineEcho).wait(|on| on.read("a\n"));
    });
}

#[test]
fn other_ends_than_expected_are_told() {
    fails_with("still open", || {
        Mock::new(LineEcho).wait(|on| on).expect_close(&Reason::Finished);
    });
    fails_with("closed for Transport(Reset), not Finished", || {
        let mut mock = Mock::new(LineEcho);
        mock.wait(|on| on.read_fails(TransportError::Reset)).expect_close(&Reason::Finished);
    });
    fails_with("our direction has not ended", || {
        Mock::new(LineEcho).wait(|on| on.after(Duration::from_secs(1))).expect_half_close();
    });
    fails_with("no file was asked for, as is written at", || {
        Mock::new(LineEcho).wait(|on| on.opened());
    });
}
