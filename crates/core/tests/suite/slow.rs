//! Slow peers: the first byte, whole messages, rates (W5; FAULTS 1, 2, 3, 58).

use crate::support::layers::Records;
use crate::support::rig::Rig;
use crate::support::scenario::{At, Scenario, answer};
use crate::support::script::Hooks;
use crate::support::{ms, pattern};
use drywire_core::{Connection, Limit, Limits, Protocol, Reason};

/// Lines, with a message limit and nothing else.
fn lines(message_ms: u32) -> Rig<Hooks> {
    Scenario::new().limits(Limits { message_ms, stall_ms: 0, files: 1, ..Hooks::LIMITS }).at(At::Active)
}

/// Takes each byte as a part of a message that ends with `]`. Command 0 stops reading,
/// 1 goes on.
fn parts(limits: Limits) -> Rig<Hooks> {
    let protocol = Hooks::new()
        .on_consume(|input, cx| {
            if input[0] != b']' {
                cx.unfinished();
            }
            Ok(1)
        })
        .on_command(|n, cx| {
            if n == 0 {
                cx.disable_read()
            } else {
                cx.enable_read()
            }
            Ok(())
        });
    let mut rig = Rig::on(Connection::new(protocol).with_limits(Limits { stall_ms: 0, ..limits }));
    rig.settle();
    rig
}

/// 100 bytes a second, and half a second to fall behind.
const RATE: Limits = Limits { min_rate: 100, rate_ms: 500, ..Hooks::LIMITS };

/// Time passes, and what is due on the way is not late.
fn on_time(rig: &mut Rig<Hooks>, now: u64) -> &mut Rig<Hooks> {
    while let Some(deadline) = rig.wait.deadline.filter(|at| *at < ms(now)) {
        rig.at(deadline);
    }
    rig.at(ms(now))
}

fn command(rig: &mut Rig<Hooks>, n: u32) {
    rig.turn_with(|live| live.handle_command(n).expect("nothing stands in the way"));
    rig.settle();
}

#[test]
fn fault_1_a_byte_at_a_time_does_not_put_a_message_off() {
    let mut rig = lines(100);
    assert_eq!(rig.wait.deadline, None, "no message, no deadline");
    for now in (40..140).step_by(10) {
        rig.at(ms(now)).feed("x");
        assert_eq!(rig.wait.deadline, Some(ms(140)));
    }
    rig.at(ms(139));
    assert!(rig.sent().is_empty());
    rig.at(ms(140));
    assert_eq!(rig.sent(), "-500 message not whole within 100 ms\r\n");
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Message(100)));
}

#[test]
fn fault_1_slow_message_that_is_whole_in_time_is_served_and_the_next_has_as_long() {
    let mut rig = lines(100);
    for round in 0..3 {
        for byte in 0..9 {
            rig.at(ms(round * 100 + byte * 11)).feed("x");
        }
        rig.at(ms(round * 100 + 99)).feed("\n");
        assert_eq!(rig.wait.deadline, None);
    }
    assert_eq!(rig.sent(), "xxxxxxxxx\n".repeat(3));
}

/// A message that ends and another that begins in one read.
#[test]
fn message_behind_one_that_is_whole_has_a_deadline_of_its_own() {
    let mut rig = lines(100);
    rig.feed("on").at(ms(70)).feed("e\ntw");
    assert_eq!((rig.sent(), rig.wait.deadline), ("one\n", Some(ms(170))));
}

#[test]
fn message_is_not_late_while_a_file_is_opened() {
    let mut rig = lines(100);
    rig.net.answer_later = true;
    rig.feed("f\nunfin");
    assert_eq!(rig.wait.deadline, None);
    rig.at(ms(10_000));
    answer(&mut rig);
    rig.settle();
    assert_eq!(rig.wait.deadline, Some(ms(10_100)));
}

#[test]
fn message_is_not_late_while_the_output_is_full() {
    let mut rig = lines(100);
    rig.net.room = 0;
    rig.feed("w\nw\nunfin");
    assert_eq!(rig.wait.deadline, None);
    rig.net.room = usize::MAX;
    rig.at(ms(10_000));
    assert_eq!(rig.wait.deadline, Some(ms(10_100)));
}

/// What is left of its time is kept, whole and to the nanosecond.
#[test]
fn time_in_which_reading_is_disabled_does_not_count() {
    let mut rig = parts(Limits { message_ms: 800, ..RATE });
    rig.feed("[");
    assert_eq!(rig.wait.deadline, Some(ms(500)), "more of it has to come");
    for pause in [0, 5_000, 10_000] {
        rig.at(ms(100 + pause));
        command(&mut rig, 0);
        assert_eq!(rig.wait.deadline, None);
        rig.at(ms(5_100 + pause));
        command(&mut rig, 1);
        assert_eq!(rig.wait.deadline, Some(ms(5_500 + pause)));
    }
    rig.at(ms(15_500));
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Rate(100)));
}

#[test]
fn fault_2_body_that_keeps_the_rate_is_never_cut() {
    let mut rig = parts(Limits { message_ms: 600, ..RATE });
    for step in 0..2_000 {
        rig.at(ms(step * 400)).feed([b'x'; 40]);
        assert_eq!(rig.wait.deadline, Some(ms(step * 400 + 500)));
    }
    rig.feed("]");
    assert_eq!((rig.wait.deadline, rig.close.is_none()), (None, true));
}

/// It may fall behind by what half a second is worth, and not once more by as much.
#[test]
fn fault_2_body_below_the_rate_is_cut() {
    let mut rig = parts(RATE);
    rig.feed("[");
    let mut now = 0;
    while rig.sent().is_empty() {
        now += 100;
        assert!(now < 2_000, "half the rate is too slow");
        on_time(&mut rig, now).feed("55555");
    }
    assert_eq!((now, rig.sent()), (900, "-500 message slower than 100 bytes per second\r\n"));
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Rate(100)));
}

#[test]
fn fault_2_what_came_fast_is_no_credit_for_a_pause() {
    let mut rig = parts(RATE);
    rig.feed(vec![b'x'; 100_000]).at(ms(499));
    assert_eq!((rig.close.is_none(), rig.wait.deadline), (true, Some(ms(500))));
    rig.at(ms(500));
    assert!(rig.sent().contains("slower"));
}

/// A message that is taken at once, when it is whole, comes in at a rate too.
#[test]
fn fault_2_rate_counts_what_is_not_taken_yet() {
    let mut rig = Scenario::new().limits(Limits { stall_ms: 0, ..RATE }).at(At::Active);
    for step in 0..20 {
        rig.at(ms(step * 300)).feed([b'x'; 30]);
        assert_eq!(rig.wait.deadline, Some(ms(step * 300 + 500)));
    }
    rig.at(ms(19 * 300 + 500));
    assert!(rig.sent().contains("slower"));
}

#[test]
fn between_messages_no_rate_is_asked_for() {
    let mut rig = parts(Limits { message_ms: 100, ..RATE });
    rig.feed("[body]");
    assert_eq!(rig.wait.deadline, None);
    rig.at(ms(1_000_000)).feed("[]");
    assert_eq!((rig.wait.deadline, rig.close.is_none()), (None, true));
}

#[test]
fn each_part_of_a_message_has_as_long_as_a_message() {
    let mut rig = parts(Limits { message_ms: 100, ..Hooks::LIMITS });
    rig.feed("[");
    for step in 1..50 {
        assert_eq!(rig.wait.deadline, Some(ms(step * 90 + 10)));
        rig.at(ms(step * 90)).feed("x");
    }
    rig.at(ms(49 * 90 + 100));
    assert!(rig.sent().contains("not whole within 100 ms"));
}

/// FAULTS 58: what waits in the transport after a pause of the whole process goes first.
#[test]
fn fault_58_late_turn_is_no_slow_peer() {
    let mut reading = parts(RATE);
    reading.feed("[").at(ms(60_000));
    assert!(reading.sent().contains("slower"), "nothing waited there");

    let mut reading = parts(RATE);
    reading.feed("[");
    reading.net.incoming.extend(b"ten bytes!");
    reading.at(ms(60_000));
    assert_eq!((reading.sent(), reading.wait.deadline), ("", Some(ms(60_100))));

    let mut line = lines(100);
    line.feed("in ");
    line.net.incoming.extend(b"time\n");
    assert_eq!(line.at(ms(60_000)).sent(), "in time\n");
}

#[test]
fn first_byte_has_its_time_from_the_opening_on() {
    let limits = Limits { first_byte_ms: 50, stall_ms: 0, ..Hooks::LIMITS };
    let mut silent = Scenario::new().limits(limits).at(At::Active);
    assert_eq!(silent.wait.deadline, Some(ms(50)));
    silent.at(ms(50));
    assert_eq!(silent.sent(), "-500 nothing said for 50 ms\r\n");
    silent.feed_end();
    assert_eq!(silent.report().reason, Reason::Limit(Limit::FirstByte(50)));

    let mut speaks = Scenario::new().limits(limits).at(At::Active);
    speaks.at(ms(49)).feed("x");
    assert_eq!(speaks.wait.deadline, None);
}

/// A peer that listens first has its time when we have said what we had to say.
#[test]
fn first_byte_has_its_time_from_what_we_said_on() {
    let limits = Limits { first_byte_ms: 50, stall_ms: 0, ..Hooks::LIMITS };
    let greets = Hooks::new().on_open(|cx| cx.write(&[b'x'; 100]));
    let mut rig = Rig::on(Connection::new(greets).with_limits(limits));
    for now in (0..400).step_by(40) {
        rig.net.room = 10;
        rig.at(ms(now));
        assert_eq!(rig.wait.deadline, Some(ms(now + 50)));
    }
    rig.net.room = usize::MAX;
    rig.at(ms(410));
    assert!(rig.sent().ends_with("x-500 nothing said for 50 ms\r\n"), "{}", rig.sent());
}

#[test]
fn first_byte_is_not_late_while_reading_is_disabled() {
    let limits = Limits { first_byte_ms: 50, ..Hooks::LIMITS };
    let mut rig = parts(limits);
    command(&mut rig, 0);
    assert_eq!(rig.wait.deadline, None);
    rig.at(ms(1_000));
    command(&mut rig, 1);
    assert_eq!(rig.wait.deadline, Some(ms(1_050)));
}

#[test]
fn fault_2_3_slow_reader_below_the_rate_has_stalled() {
    let limits = Limits { stall_ms: 200, min_rate: 1000, rate_ms: 100, ..Hooks::LIMITS };
    let mut rig = Scenario::new().limits(limits).at(At::BlockedOnBytes);
    let mut now = 0;
    while rig.close.is_none() {
        now += 20;
        assert!(now < 2_000, "half the rate is too slow");
        on_time(&mut rig, now - 1).net.room = 10;
        rig.at(ms(now));
    }
    assert_eq!(now, 200, "it had 100 ms, and lost 10 in each 20");
    assert_eq!(rig.report().reason, Reason::Stalled);
    assert!(rig.report().counters.unsent > 0);
}

/// File bytes are bytes, and the whole takes far longer than any limit.
#[test]
fn fault_3_slow_reader_above_the_rate_is_never_cut() {
    let limits = Limits { stall_ms: 200, min_rate: 1000, rate_ms: 100, files: 1, ..Hooks::LIMITS };
    let mut rig = Scenario::new().limits(limits).at(At::Active);
    rig.net.put_file(b"file", pattern(100_000));
    rig.net.room = 0;
    rig.feed("f\nq\n");
    for step in 1..=1_275 {
        rig.net.room = 80;
        rig.at(ms(step * 80));
        assert!(rig.close.is_none(), "cut after {step} steps");
    }
    assert_eq!(rig.net.taken.len(), 102_000);
    rig.net.room = usize::MAX;
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Finished);
}

/// The flush of a close is watched like any other output.
#[test]
fn fault_3_slow_reader_of_the_last_words_has_stalled_too() {
    let limits = Limits { stall_ms: 0, min_rate: 1000, rate_ms: 100, linger_ms: 0, ..Hooks::LIMITS };
    let mut rig = Scenario::new().limits(limits).at(At::Flushing);
    assert_eq!(rig.wait.deadline, Some(ms(100)));
    rig.at(ms(100));
    assert_eq!(rig.report().reason, Reason::Stalled);
}

/// What stands before layers that get no memory waits for us.
#[test]
fn fault_1_peer_is_not_late_with_what_there_was_no_memory_to_encode() {
    let protocol = Hooks::new().on_command(|n, cx| cx.write(&pattern(n as usize)));
    let limits = Limits { stall_ms: 1000, min_rate: 100, rate_ms: 1000, idle_ms: Limits::NEVER, ..Limits::DEFAULT };
    let mut rig = Rig::on(Connection::with_layer(protocol, Records::default()).with_limits(limits));
    rig.net.room = 0;
    rig.turn_with(|live| live.handle_command(100_000).expect("it is idle"));
    rig.net.room = usize::MAX;
    for now in [10, 500, 1500, 5000] {
        rig.now = ms(now);
        rig.turn_with(|live| live.flush_only());
        assert!(rig.close.is_none(), "at {now} ms: {:?}", rig.close);
        assert!(rig.wait.deadline.is_none_or(|at| at > rig.now), "it would spin");
    }
    assert!(rig.net.taken.len() < 100_000);
    rig.turn();
    assert!(rig.net.taken.len() > 100_000 && !rig.conn.is_owing());
    // The clock goes for the peer as ever.
    rig.net.room = 0;
    rig.turn_with(|live| live.handle_command(10).expect("it is idle"));
    rig.now = ms(6001);
    rig.turn_with(|live| live.flush_only());
    assert_eq!(rig.close.as_ref().map(|report| &report.reason), Some(&Reason::Stalled));
}

/// A server short of memory looks again and again, and that is no new time for a silent peer.
#[test]
fn first_byte_is_due_though_each_turn_begins_without_memory() {
    let limits = Limits { first_byte_ms: 50, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::new(Hooks::new()).with_limits(limits));
    rig.settle();
    assert_eq!(rig.wait.deadline, Some(ms(50)));
    for now in [20, 49] {
        rig.now = ms(now);
        rig.turn_with(|live| live.flush_only());
        rig.settle();
        assert_eq!(rig.wait.deadline, Some(ms(50)), "at {now} ms");
    }
    rig.now = ms(50);
    rig.turn_with(|live| live.flush_only());
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::FirstByte(50)));
}
