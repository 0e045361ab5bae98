//! Half-close is first class (DESIGN 3.6; FAULTS 9).

use crate::support::pair::Pair;
use crate::support::probe::Probe;
use crate::support::rig::Rig;
use crate::support::script::{Hooks, Script};
use crate::support::{ms, pattern};
use drywire_core::{Connection, Reason, Timer};
use std::cell::RefCell;
use std::rc::Rc;

#[test]
fn end_of_input_comes_once_after_all_bytes_with_what_is_left() {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&ends);
    let protocol = Hooks::new()
        .on_consume(|input, cx| {
            let whole = input.len() / 4 * 4;
            cx.write(&input[..whole])?;
            Ok(whole)
        })
        .on_end(move |rest, cx| {
            log.borrow_mut().push(rest.to_vec());
            cx.write(b".")?;
            cx.set_timer(Timer::new(0), ms(5));
            Ok(())
        })
        .on_timer(|_, cx| {
            cx.write(b"!")?;
            cx.close();
            Ok(())
        });
    let mut rig = Rig::new(protocol);
    rig.net.incoming.extend(b"abcdefghij");
    rig.feed_end();
    assert_eq!(rig.sent(), "abcdefgh.");
    rig.at(ms(5));
    assert_eq!(rig.sent(), "abcdefgh.!", "our direction goes on after the peer's end");
    assert_eq!(*ends.borrow(), [b"ij"]);
    assert_eq!(rig.report().reason, Reason::Finished);
}

#[test]
fn end_of_input_waits_for_room_and_is_told_the_same_rest_again() {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&ends);
    let protocol = Hooks::new()
        .on_consume(|input, cx| {
            if input[0] == b'w' {
                cx.write(&[b'w'; 3000])?;
                return Ok(1);
            }
            Ok(0)
        })
        .on_end(move |rest, cx| {
            log.borrow_mut().push(rest.to_vec());
            cx.write(&[b'e'; 3000])?;
            cx.close();
            Ok(())
        });
    let mut rig = Rig::new(protocol);
    rig.net.room = 0;
    rig.feed("wrest").feed_end();
    assert!(rig.close.is_none());
    assert_eq!(rig.conn.held_bytes(), 3004);
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(*ends.borrow(), [b"rest", b"rest"]);
    assert_eq!(rig.net.taken.len(), 6000);
    assert_eq!(rig.report().reason, Reason::Finished);
}

#[test]
fn half_close_lets_queued_reply_out_and_input_go_on() {
    let mut rig = Rig::new(Script::default());
    rig.net.room = 0;
    rig.feed("w 100\nh\n");
    assert!(!rig.net.half_closed, "not before the last byte");
    rig.net.room = usize::MAX;
    rig.settle();
    assert!(rig.net.half_closed && rig.close.is_none());
    assert!(rig.sent().ends_with("bye after 1 lines\n"));
    let sent = rig.net.taken.len();
    rig.feed("q\n");
    rig.feed_end();
    assert_eq!(rig.net.taken.len(), sent);
    assert_eq!(rig.report().counters.received, 10);
}

#[test]
fn both_sides_half_close_and_nothing_is_lost() {
    let (to_a, to_b) = (pattern(20_000), pattern(31_000));
    for capacity in [1, 100, 4000, 100_000] {
        let a = Connection::new(Probe::sending(to_b.clone()));
        let b = Connection::new(Probe::sending(to_a.clone()));
        let mut pair = Pair::new(a, b, capacity);
        pair.run();
        assert!(pair.a.conn.protocol().got == to_a && pair.b.conn.protocol().got == to_b);
        assert_eq!(pair.a.report().reason, Reason::Finished);
        assert_eq!(pair.b.report().reason, Reason::Finished);
        assert_eq!(pair.a.report().counters.received, pair.b.report().counters.sent);
    }
}

/// Known-bad control: a transport that loses a byte is noticed.
#[test]
fn lost_byte_is_noticed() {
    let mut rig = Rig::new(Probe::sending(pattern(100)));
    rig.settle();
    rig.net.taken.remove(50);
    assert!(rig.net.taken != pattern(100));
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.turn()));
    assert!(checked.is_err(), "the bytes that were taken no longer match the counter");
}

#[test]
fn half_close_while_flushing_into_a_full_pipe_waits_its_turn() {
    let mut rig = Rig::new(Script::default());
    rig.net.room = 5;
    rig.feed("w 50\nh\nq\n");
    assert!(!rig.net.half_closed);
    for _ in 0..200 {
        rig.net.room = 1;
        rig.settle();
    }
    assert!(rig.sent().ends_with("bye after 1 lines\n"));
    assert!(rig.net.half_closed);
    rig.feed_end();
    assert_eq!(rig.report().counters.unsent, 0);
}
