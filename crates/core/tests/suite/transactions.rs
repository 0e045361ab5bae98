//! One handler call is one transaction (rows B9, B10; DESIGN 3.1, 3.2).

use crate::support::net::Chops;
use crate::support::rig::Rig;
use crate::support::script::{Bad, Hooks, Script};
use crate::support::{cases, ms};
use drywire_core::{Connection, Limit, Limits, Misuse, Protocol, Reason, Stop, Timer};
use proptest::prelude::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// A protocol whose only call writes, emits, arms a timer, asks for a file, and
/// then answers with `result`.
fn does_everything_then(result: impl Fn() -> Result<usize, Stop<Bad>> + 'static) -> Hooks {
    Hooks::new()
        .on_consume(move |_, cx| {
            cx.write(b"output")?;
            cx.write_shared(vec![b's'; 600].into())?;
            cx.emit(7)?;
            cx.set_timer(Timer::new(0), ms(1));
            cx.open_file(b"file")?;
            result()
        })
        .on_timer(|_, cx| cx.write(b"timer"))
}

#[test]
fn b10_call_that_fails_leaves_nothing_behind() {
    let mut rig = Rig::new(does_everything_then(|| Err(Bad("no").into())));
    rig.feed("x").feed_end();
    assert_eq!(rig.sent(), "-500 no\r\n");
    assert!(rig.events.is_empty());
    assert!(rig.net.asked.is_empty());
    assert_eq!(rig.report().reason, Reason::Peer(Bad("no")));
}

/// Whoever catches a panic aborts the connection; half of a call is then not sent, told, or
/// left open.
#[test]
fn fault_59_call_that_panics_is_undone_like_one_that_fails() {
    let mut rig = Rig::new(does_everything_then(|| panic!("on purpose")));
    let panicked = catch_unwind(AssertUnwindSafe(|| rig.feed("x").turn()));
    assert!(panicked.is_err());
    assert_eq!(rig.conn.held_bytes(), 1, "its input, and nothing that it wrote");
    rig.turn_with(|live| live.abort());
    assert_eq!(rig.sent(), "");
    assert!(rig.events.is_empty() && rig.net.asked.is_empty());
    assert_eq!(rig.report().reason, Reason::Aborted);
    assert_eq!(rig.report().counters.unsent, 0, "nothing of it was owed");
}

#[test]
fn fault_59_what_was_committed_before_a_panic_is_told_and_owed() {
    let hooks = Hooks::new().on_consume(|input, cx| {
        assert!(input[0] != b'!', "on purpose");
        cx.emit(1)?;
        cx.write(&input[..1])?;
        Ok(1)
    });
    let mut rig = Rig::new(hooks);
    assert!(catch_unwind(AssertUnwindSafe(|| rig.feed("ab!c").turn())).is_err());
    rig.turn_with(|live| live.abort());
    assert_eq!(rig.events, [1, 1]);
    assert_eq!((rig.sent(), rig.report().counters.unsent), ("", 2));
}

#[test]
fn fault_59_file_whose_handler_panics_is_closed() {
    let hooks = Hooks::new().on_consume(|input, cx| cx.open_file(b"a").map(|_| input.len())).on_file(|opened, cx| {
        cx.stream_file(opened.id, 0, 3)?;
        panic!("on purpose")
    });
    let mut rig = Rig::new(hooks);
    rig.net.put_file(b"a", b"abc".to_vec());
    assert!(catch_unwind(AssertUnwindSafe(|| rig.feed("x").turn())).is_err());
    assert_eq!(rig.net.open.len(), 1, "nobody has closed it yet");
    rig.turn_with(|live| live.abort());
    assert_eq!((rig.net.closed_files.len(), rig.report().counters.unsent), (1, 0));
}

/// The control of the tests above: the same call, committed, leaves all of it.
#[test]
fn b10_call_that_succeeds_leaves_all_of_it() {
    let mut rig = Rig::new(does_everything_then(|| Ok(1)));
    rig.feed("x").at(ms(1));
    assert!(rig.sent().starts_with("outputsss") && rig.sent().ends_with("timer"));
    assert_eq!(rig.events, [7]);
    assert_eq!(rig.net.asked.len(), 1);
}

#[test]
fn b9_nothing_taken_means_more_is_needed() {
    let seen = Rc::new(Cell::new(0));
    let log = Rc::clone(&seen);
    let mut rig = Rig::new(Hooks::new().on_consume(move |input, cx| {
        log.set(input.len());
        if input.len() < 4 {
            return Ok(0);
        }
        cx.write(&input[..4])?;
        Ok(4)
    }));
    rig.feed("abc");
    assert_eq!((seen.get(), rig.sent()), (3, ""));
    rig.feed("defg");
    assert_eq!((seen.get(), rig.sent()), (3, "abcd"));
    rig.feed("h");
    assert_eq!(rig.sent(), "abcdefgh");
}

#[test]
fn b9_taking_more_than_there_is_is_misuse() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| {
        cx.write(b"half")?;
        Ok(input.len() + 1)
    }));
    rig.feed("x").feed_end();
    assert_eq!(rig.report().reason, Reason::Misuse(Misuse::ConsumedTooMuch));
    assert!(rig.sent().starts_with("-500 consume took more"));
}

/// FAULTS 54: all or nothing, and the peer notices nothing but the wait.
#[test]
fn fault_54_full_is_undone_and_made_again_once() {
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let mut rig = Rig::new(Hooks::new().on_consume(move |_, cx| {
        count.set(count.get() + 1);
        cx.write(&[b'1'; 2000])?;
        cx.emit(1)?;
        cx.write(&[b'2'; 2000])?;
        Ok(1)
    }));
    rig.net.room = 0;
    rig.feed("ab");
    assert_eq!((calls.get(), rig.events.len()), (2, 1), "the second call was undone, its event too");
    assert_eq!(rig.conn.held_bytes(), 4000 + 1);
    // Freed one byte at a time it must not be tried at every byte.
    for _ in 0..4000 {
        rig.net.room = 1;
        rig.settle();
    }
    assert_eq!((calls.get(), rig.events.len()), (3, 2), "one replay");
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.taken, [[b'1'; 2000], [b'2'; 2000]].concat().repeat(2));
}

#[test]
fn ignored_refusal_still_undoes_the_call() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        let _ = cx.write(&[b'x'; 3000]);
        let _ = cx.emit(1);
        let _ = cx.write(b"tail");
        Ok(1)
    }));
    rig.net.room = 0;
    rig.feed("ab");
    assert_eq!(rig.events.len(), 1);
    rig.net.room = usize::MAX;
    rig.settle();
    let whole = [&[b'x'; 3000][..], b"tail"].concat();
    assert_eq!(rig.net.taken, whole.repeat(2), "the small write after the refused one did not slip in");
    assert_eq!(rig.events.len(), 2);
}

#[test]
fn full_outranks_an_error_of_the_same_call() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| match cx.write(&[b'x'; 3000]) {
        Ok(()) => Ok(1),
        Err(_) if input.len() == 1 => Err(Bad("because it was refused").into()),
        Err(stop) => Err(stop),
    }));
    rig.net.room = 0;
    rig.feed("ab");
    rig.net.room = usize::MAX;
    rig.settle();
    assert!(rig.close.is_none());
    assert_eq!(rig.net.taken.len(), 6000);
}

#[test]
fn what_never_fits_is_a_limit() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        for _ in 0..5 {
            cx.write(&[b'x'; 1000])?;
        }
        Ok(1)
    }));
    rig.feed("a").feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Output(4096)));
    assert_eq!(rig.sent(), "-500 one reply longer than the output limit of 4096 bytes\r\n");
}

#[test]
fn exactly_the_bound_fits() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        cx.write(&[b'x'; 4096])?;
        assert_eq!(cx.available(), 0);
        Ok(1)
    }));
    rig.feed("a");
    assert_eq!(rig.net.taken.len(), 4096);
}

/// A refusal kept from an earlier call, returned where nothing was refused, would
/// wait for room that is there already.
#[test]
fn stop_of_an_earlier_call_is_misuse() {
    let mut kept = None;
    let mut rig = Rig::new(Hooks::new().on_consume(move |_, cx| {
        if let Some(stop) = kept.take() {
            return Err(stop);
        }
        kept = cx.write(&[b'x'; 3000]).err();
        Ok(1)
    }));
    rig.net.room = 0;
    rig.feed("ab");
    rig.net.room = usize::MAX;
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Misuse(Misuse::StaleFull));
}

#[test]
fn events_wait_in_a_bounded_queue_and_more_than_that_in_one_call_is_a_limit() {
    let limits = Limits { events: 4, ..Hooks::LIMITS };
    let emits = |n: u32| {
        Hooks::new().on_consume(move |_, cx| {
            for i in 0..n {
                cx.emit(i)?;
            }
            Ok(1)
        })
    };
    let mut rig = Rig::on(Connection::new(emits(3)).with_limits(limits));
    rig.feed("abc");
    assert_eq!(rig.events, [0, 1, 2].repeat(3), "in order, none lost, none twice");

    let mut rig = Rig::on(Connection::new(emits(5)).with_limits(limits));
    rig.feed("abc").feed_end();
    assert!(rig.events.is_empty());
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Events(4)));
}

#[test]
fn write_after_half_close_is_misuse() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        cx.half_close();
        cx.write(b"more")?;
        Ok(1)
    }));
    rig.feed("a").feed_end();
    assert_eq!(rig.report().reason, Reason::Misuse(Misuse::WriteAfterEnd));
    assert!(rig.sent().starts_with("-500 write after"), "the half-close was undone with the rest, so there is a reply");
}

/// The greeting too: with nothing owed it is made again at once.
#[test]
fn refused_open_is_made_again() {
    let mut rig = Rig::new(Hooks::new().on_open(|cx| cx.write(b"hello")));
    rig.conn.inject_full(1);
    rig.settle();
    assert_eq!(rig.sent(), "hello");
    assert_eq!(rig.conn.protocol().calls, 2);
}

/// A timer's call that found no room is made before anything that came later.
#[test]
fn refused_timer_keeps_its_place() {
    let echo = Hooks::new()
        .on_open(|cx| {
            cx.set_timer(Timer::new(0), ms(1));
            Ok(())
        })
        .on_timer(|_, cx| cx.write(b"timer "))
        .on_consume(|input, cx| {
            cx.write(input)?;
            Ok(input.len())
        });
    let mut rig = Rig::new(echo);
    rig.settle();
    rig.conn.inject_full(1);
    rig.now = ms(1);
    rig.turn_with(|live| {
        live.read_with(|slot| {
            slot[..5].copy_from_slice(b"input");
            Ok(5)
        });
    });
    assert_eq!(rig.sent(), "timer input");
}

#[test]
fn injected_full_says_when_it_has_come() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| {
        cx.write(input)?;
        Ok(input.len())
    }));
    rig.conn.inject_full(3);
    for (input, left, calls) in [("a", 2, 2), ("b", 1, 3), ("c", 0, 5), ("d", 0, 6)] {
        rig.feed(input);
        assert_eq!((rig.conn.full_in(), rig.conn.protocol().calls), (left, calls), "after {input}");
    }
    assert_eq!(rig.sent(), "abcd");
}

const LINES: &str =
    "w 10\nm 30\ne 3\ns 700\nf a\necho\nt 1 5\ng b\nw 900\nm 500\nw 1900\nm 800\np 3\nf none\ne 2\nlast\n";

/// What a script run sends and reports with every `nth` write refused once.
fn run_script(script: Script, inject: u32, writes: &[usize]) -> (String, Vec<u32>, String) {
    let mut rig = Rig::new(script);
    rig.net.put_file(b"a", vec![b'A'; 300]);
    rig.net.put_file(b"b", vec![b'B'; 51]);
    rig.net.writes = Chops::of(writes);
    rig.settle();
    rig.conn.inject_full(inject);
    rig.feed(LINES).run_out(20);
    rig.feed_end().run_out(20);
    (rig.sent().to_owned(), rig.events.clone(), format!("{:?}", rig.report().reason))
}

#[test]
fn false_full_at_every_write_changes_nothing() {
    let expected = run_script(Script::default(), 0, &[usize::MAX]);
    assert!(expected.0.contains("[14]"), "the script runs to its end: {}", expected.0.len());
    for nth in 1..60 {
        assert_eq!(run_script(Script::default(), nth, &[usize::MAX]), expected, "write {nth} refused");
    }
}

/// Known-bad control: a protocol that changes itself before it writes is found out.
#[test]
fn false_full_finds_a_protocol_that_changes_itself_first() {
    let bad = Script::changing_itself_first;
    let expected = run_script(bad(), 0, &[usize::MAX]);
    assert!((1..10).any(|nth| run_script(bad(), nth, &[usize::MAX]) != expected));
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn false_full_under_any_short_writes_changes_nothing(
        nth in 0u32..60,
        writes in prop::collection::vec(0usize..900, 1..6).prop_filter("moves", |w| w.iter().any(|n| *n > 0)),
    ) {
        prop_assert_eq!(run_script(Script::default(), nth, &writes), run_script(Script::default(), 0, &[usize::MAX]));
    }
}
