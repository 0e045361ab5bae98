//! Deadlines: timers, idle, stall, linger (DESIGN 4.1; FAULTS 3, 6, 58, 69).

use crate::support::net::Chops;
use crate::support::rig::Rig;
use crate::support::scenario::{At, Scenario};
use crate::support::script::{Hooks, Script};
use crate::support::{cases, ms, pattern};
use drywire_core::{Connection, Limit, Limits, Protocol, Reason, Time, Timer};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn timers_fire_in_order_once_each() {
    let mut rig = Rig::new(Script::default());
    rig.feed("t 0 30\nt 1 10\nt 2 20\n");
    assert_eq!(rig.wait.deadline, Some(ms(10)));
    rig.at(ms(9));
    assert!(!rig.sent().contains("timer"));
    rig.run_out(10);
    assert!(rig.sent().ends_with("timer at 10ms\ntimer at 20ms\ntimer at 30ms\n"));
    assert_eq!(rig.wait.deadline, None);
}

#[test]
fn late_turn_fires_all_that_came_due_earliest_first() {
    let mut rig = Rig::new(Hooks::new().on_open(arm_three).on_timer(|timer, cx| write!(cx, "{timer:?} ")));
    fn arm_three(cx: &mut crate::support::script::Cx<'_>) -> crate::support::script::Done {
        for (number, at) in [(0, 30), (1, 10), (2, 20)] {
            cx.set_timer(Timer::new(number), ms(at));
        }
        Ok(())
    }
    rig.settle().at(ms(1000));
    assert_eq!(rig.sent(), "Timer(1) Timer(2) Timer(0) ");
}

#[test]
fn moved_and_cleared_timers() {
    let mut rig = Rig::new(
        Hooks::new()
            .on_open(|cx| {
                cx.set_timer(Timer::new(0), ms(5));
                cx.set_timer(Timer::new(1), ms(6));
                Ok(())
            })
            .on_consume(|_, cx| {
                cx.set_timer(Timer::new(0), ms(50));
                cx.clear_timer(Timer::new(1));
                Ok(1)
            })
            .on_timer(|timer, cx| write!(cx, "{timer:?}")),
    );
    rig.feed("x").run_out(5);
    assert_eq!((rig.sent(), rig.now), ("Timer(0)", ms(50)));
}

/// A timer may be due at once; it must not keep the turn busy for ever.
#[test]
fn i3_timers_that_set_each_other_to_now_end_the_turn() {
    let protocol = Hooks::new()
        .on_open(|cx| {
            cx.set_timer(Timer::new(0), Time::ZERO);
            Ok(())
        })
        .on_timer(|timer, cx| {
            let now = cx.now();
            cx.set_timer(Timer::new(if timer == Timer::new(0) { 1 } else { 0 }), now);
            Ok(())
        });
    let mut rig = Rig::new(protocol);
    rig.turn();
    assert_eq!(rig.conn.protocol().calls, 1);
    for n in 1..5 {
        rig.now = rig.wait.deadline.expect("a timer is armed");
        rig.turn();
        assert_eq!(rig.conn.protocol().calls, 1 + n, "one call a turn");
    }
}

#[test]
fn fault_69_deadlines_saturate() {
    let protocol = Hooks::new().on_open(|cx| {
        let far = cx.now() + Duration::MAX;
        cx.set_timer(Timer::new(0), far);
        Ok(())
    });
    let limits = Limits { idle_ms: u32::MAX, stall_ms: u32::MAX, linger_ms: u32::MAX, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::new(protocol).with_limits(limits));
    rig.at(Time::from_nanos(u64::MAX - 5));
    assert_eq!(rig.wait.deadline, None);
    rig.turn_with(|live| live.close());
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Requested);
}

fn idle_after(idle_ms: u32) -> Rig<Hooks> {
    let limits = Limits { idle_ms, stall_ms: 100, ..Hooks::LIMITS };
    let mut rig = Scenario::new().limits(limits).at(At::Active);
    rig.net.put_file(b"file", pattern(100_000));
    rig
}

/// FAULTS 6.
#[test]
fn fault_6_idle_is_answered_and_closed() {
    let mut rig = idle_after(50);
    rig.at(ms(30)).feed("x\n");
    assert_eq!(rig.wait.deadline, Some(ms(80)));
    rig.at(ms(80));
    assert_eq!(rig.sent(), "x\n-500 nothing moved for 50 ms\r\n");
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Idle(50)));
}

#[test]
fn idle_counts_file_bytes_and_does_not_fire_while_bytes_move() {
    let mut rig = idle_after(50);
    rig.net.room = 0;
    rig.feed("f\n");
    for step in 1..100 {
        rig.net.room = 500;
        rig.at(ms(step * 40));
    }
    rig.net.room = usize::MAX;
    rig.settle();
    assert!(rig.close.is_none() && rig.net.taken.len() == 102_000 && !rig.net.taken.contains(&b'-'));
}

/// It is we who keep the peer waiting.
#[test]
fn idle_does_not_count_while_a_file_is_opened() {
    let mut rig = idle_after(50);
    rig.net.answer_later = true;
    rig.feed("f\n");
    assert_eq!(rig.wait.deadline, None);
    rig.at(ms(10_000));
    assert!(rig.close.is_none());
}

/// FAULTS 3, 5: measured by what the transport took.
#[test]
fn fault_3_5_stall_is_measured_by_bytes_taken() {
    let mut rig = Scenario::new().limits(Limits { stall_ms: 100, ..Hooks::LIMITS }).at(At::BlockedOnBytes);
    assert_eq!(rig.wait.deadline, Some(ms(100)));
    rig.net.room = 1;
    rig.at(ms(99));
    assert_eq!(rig.wait.deadline, Some(ms(199)));
    rig.feed("input is no progress");
    rig.at(ms(198));
    assert!(rig.close.is_none());
    rig.at(ms(199));
    assert_eq!(rig.report().reason, Reason::Stalled);
    assert_eq!(rig.report().counters.unsent, 2999);
}

#[test]
fn stall_counts_while_the_end_is_flushed() {
    let mut rig = Scenario::new().limits(Limits { stall_ms: 100, ..Hooks::LIMITS }).at(At::Flushing);
    rig.at(ms(100));
    assert_eq!(rig.report().reason, Reason::Stalled);
}

/// The end of the discarding is no deadline any more once it is over.
#[test]
fn flush_that_outlasts_the_discarding_waits_for_the_stall_only() {
    let limits = Limits { stall_ms: 100, linger_ms: 30, ..Hooks::LIMITS };
    let mut rig = Scenario::new().limits(limits).at(At::Flushing);
    assert_eq!((rig.wait.read, rig.wait.deadline), (true, Some(ms(30))));
    rig.at(ms(30));
    assert_eq!((rig.wait.read, rig.wait.deadline), (false, Some(ms(100))));
}

#[test]
fn timer_whose_call_waits_for_room_is_no_deadline() {
    let protocol = Hooks::new()
        .on_open(|cx| {
            cx.write(&[b'x'; 3000])?;
            cx.set_timer(Timer::new(0), ms(5));
            Ok(())
        })
        .on_timer(|_, cx| cx.write(&[b't'; 3000]));
    let limits = Limits { stall_ms: 0, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::new(protocol).with_limits(limits));
    rig.net.room = 0;
    rig.settle().at(ms(5));
    assert_eq!(rig.wait.deadline, None);
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.taken.len(), 6000);
}

#[test]
fn idle_does_not_count_after_the_peers_end() {
    let limits = Limits { idle_ms: 50, ..Hooks::LIMITS };
    let rig = Scenario::new().limits(limits).at(At::PeerEnded);
    assert_eq!(rig.wait.deadline, Some(ms(1_000_000)), "the protocol's own timer");
}

/// FAULTS 58: after a pause of the whole process what waits in the transport goes first.
#[test]
fn fault_58_late_turn_is_no_false_timeout() {
    let mut reading = idle_after(50);
    reading.net.incoming.extend(b"in time\n");
    reading.at(ms(60_000));
    assert_eq!(reading.sent(), "in time\n");
    assert!(reading.close.is_none());

    let mut writing = Scenario::new().limits(Limits { stall_ms: 100, ..Hooks::LIMITS }).at(At::BlockedOnBytes);
    writing.net.room = usize::MAX;
    writing.at(ms(60_000));
    assert!(writing.close.is_none());
    assert_eq!(writing.net.taken.len(), 6000);
}

#[test]
fn no_limits_no_deadlines() {
    for no in [0, Limits::NEVER] {
        let limits = Limits {
            idle_ms: no,
            stall_ms: no,
            first_byte_ms: no,
            message_ms: no,
            min_rate: no,
            files: 1,
            ..Hooks::LIMITS
        };
        for at in [At::Active, At::MidMessage, At::BlockedOnBytes, At::Streaming, At::Paused, At::HalfClosed] {
            let rig = Scenario::new().limits(limits).at(at);
            assert_eq!(rig.wait.deadline, None, "{at:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// DESIGN 4.1: a deadline is in the future, and a turn at that time acts on it,
    /// or a driver would spin. `Rig` checks the first after every turn.
    #[test]
    fn deadline_that_is_met_is_acted_on(
        lines in prop::collection::vec(prop_oneof![
            Just("w 900\n"), Just("t 0 7\n"), Just("t 1 7\n"), Just("p 3\n"), Just("f big\n"), Just("x\n"), Just("h\n"), Just("part"), Just("q\n"),
        ], 1..6),
        room in 0usize..3000,
        idle_ms in prop_oneof![Just(0u32), Just(11)],
        (first_byte_ms, message_ms) in (prop_oneof![Just(0u32), Just(5)], prop_oneof![Just(0u32), Just(9)]),
        min_rate in prop_oneof![Just(0u32), Just(100), Just(30_000)],
    ) {
        let slow = Limits { first_byte_ms, message_ms, min_rate, rate_ms: 13, ..Script::LIMITS };
        let limits = Limits { idle_ms, stall_ms: 20, linger_ms: 30, ..slow };
        let mut rig = Rig::on(Connection::new(Script::default()).with_limits(limits));
        rig.net.put_file(b"big", pattern(500));
        rig.net.room = room;
        rig.net.writes = Chops::of(&[300, 0]);
        rig.feed(lines.concat());
        for _ in 0..40 {
            let Some(deadline) = rig.wait.deadline else { break };
            let before = (format!("{:?}", rig.conn), rig.wait);
            rig.at(deadline);
            prop_assert_ne!((format!("{:?}", rig.conn), rig.wait), before, "nothing happened at {:?}", deadline);
        }
        prop_assert!(rig.wait.deadline.is_none(), "deadlines end");
    }
}
