//! Reading is paused and resumed (row A6; DESIGN 4.1), and input is bounded (rows B3, B4).

use crate::support::ms;
use crate::support::net::Chops;
use crate::support::rig::Rig;
use crate::support::scenario::{At, Scenario};
use crate::support::script::{Hooks, Script};
use drywire_core::{Limits, Protocol, Transport};

#[test]
fn b3_default_limits_are_those_of_the_seed() {
    assert_eq!(Limits::DEFAULT.input_bytes, 10 * 1024);
    assert_eq!(Limits::DEFAULT.output_bytes, 256 * 1024);
}

#[test]
fn b4_all_that_arrived_is_handled_in_one_turn() {
    let mut rig = Rig::new(Script::default());
    rig.net.reads = Chops::of(&[3]);
    rig.net.incoming.extend(b"one\ntwo\nthree\nfo");
    rig.turn();
    assert_eq!(rig.sent(), "hello\none[0]\ntwo[1]\nthree[2]\n");
    assert_eq!(rig.conn.held_bytes(), 2);
}

#[test]
fn a6_paused_reading_leaves_input_in_the_transport_until_resumed() {
    let mut rig = Rig::new(Script::default());
    rig.feed("p 10\nbehind\n");
    rig.feed("later\n");
    assert!(!rig.wait.read);
    assert_eq!(rig.net.reading, [false]);
    assert_eq!(rig.net.incoming.len(), 6);
    assert_eq!(rig.sent(), "hello\n[0]\n");
    rig.at(ms(10));
    assert_eq!(rig.net.reading, [false, true]);
    assert_eq!(rig.sent(), "hello\n[0]\nbehind[1]\nlater[2]\n");
}

/// What was read before the pause is delivered though nothing arrives any more.
#[test]
fn a6_resuming_delivers_what_was_held_without_new_input() {
    let mut rig = Rig::new(Script::default());
    rig.feed("p 10\nbehind\n");
    rig.at(ms(10));
    assert_eq!(rig.sent(), "hello\n[0]\nbehind[1]\n");
}

#[test]
fn a6_end_of_input_waits_behind_a_pause() {
    let mut rig = Rig::new(Script::default());
    rig.feed("p 10\nbehind\nrest").feed_end();
    assert!(rig.close.is_none());
    rig.at(ms(10));
    assert_eq!(rig.sent(), "hello\n[0]\nbehind[1]\nrest 4\n");
    assert!(rig.close.is_some());
}

/// Reading pauses when output does not fit, and not before.
#[test]
fn a6_back_pressure_pauses_reading_once_and_resumes_once() {
    let mut rig = Scenario::new().at(At::BlockedOnBytes);
    assert_eq!(rig.net.reading, [false]);
    for _ in 0..2999 {
        rig.net.room = 1;
        rig.settle();
    }
    assert_eq!(rig.net.reading, [false], "no flapping");
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.reading, [false, true]);
}

#[test]
fn a6_full_queue_that_empties_within_the_turn_does_not_flap() {
    let mut rig = Rig::new(Script::default());
    rig.feed("w 1900\n".repeat(30));
    rig.feed("e 1\n".repeat(30));
    assert!(rig.net.reading.is_empty());
    assert_eq!(rig.events.len(), 30);
}

/// DESIGN 3: what `consume` waits for may be another call.
#[test]
fn b4_what_was_not_taken_is_offered_again_after_another_call() {
    let allowed = std::rc::Rc::new(std::cell::Cell::new(false));
    let (ask, allow) = (std::rc::Rc::clone(&allowed), allowed);
    let protocol = Hooks::new()
        .on_consume(move |input, cx| {
            if !ask.get() {
                return Ok(0);
            }
            cx.write(input)?;
            Ok(input.len())
        })
        .on_command(move |_, _| {
            allow.set(true);
            Ok(())
        });
    let mut rig = Rig::new(protocol);
    rig.feed("waits");
    assert_eq!(rig.sent(), "");
    rig.turn_with(|live| live.handle_command(1).expect("nothing stands in the way"));
    assert_eq!(rig.sent(), "waits");
}

#[test]
fn nothing_is_read_beyond_the_bound() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        cx.disable_read();
        Ok(0)
    }));
    rig.feed(vec![b'x'; 5000]);
    assert_eq!(rig.conn.held_bytes(), 1024);
    assert_eq!(rig.net.incoming.len(), 5000 - 1024);
}

/// Known-bad control: a transport whose announcements do not alternate is noticed.
#[test]
#[should_panic(expected = "announced level did not change")]
fn announcement_that_changes_nothing_is_noticed() {
    Rig::new(Hooks::new()).net.on_reading(true);
}

#[test]
fn unfinished_message_over_many_reads_is_whole() {
    for read in [1, 100, 4000, 4096, 5000] {
        let limits = Limits { input_bytes: 20_000, output_bytes: 20_000, ..Hooks::LIMITS };
        let protocol = Hooks::new().on_consume(|input, cx| {
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
            cx.write(&input[..=end])?;
            Ok(end + 1)
        });
        let mut rig = Rig::on(drywire_core::Connection::new(protocol).with_limits(limits));
        rig.net.reads = Chops::of(&[read, 0]);
        let mut line = crate::support::pattern(15_000);
        line.push(b'\n');
        let mut data = line.repeat(3);
        data.extend(b"tail");
        rig.feed(&data);
        assert!(rig.net.taken == line.repeat(3), "reads of {read}");
        assert_eq!(rig.conn.held_bytes(), 4);
    }
}
