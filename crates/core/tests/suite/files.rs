//! Files are part of the output (row B11; DESIGN 3.4; FAULTS 10, 46, 47).

use crate::support::net::{Chops, File};
use crate::support::rig::Rig;
use crate::support::scenario::{At, Scenario, answer, letters};
use crate::support::script::{Bad, Hooks, Script};
use crate::support::{ms, pattern};
use drywire_core::{Connection, FileError, Limit, Limits, Misuse, Protocol, Reason, Timer, TransportError};

fn with_file(len: usize) -> Rig<Script> {
    let mut rig = Rig::new(Script::default());
    rig.net.put_file(b"big", pattern(len));
    rig
}

const BIG: usize = if cfg!(miri) { 10_000 } else { 1_000_000 };

#[test]
fn b11_file_stands_in_the_middle_of_other_output_and_is_never_held() {
    let mut rig = with_file(BIG);
    rig.net.writes = Chops::of(&[999, 0, 1, 50_000]);
    rig.feed("f big\necho\n");
    let text = rig.sent();
    let head = format!("hello\nfile of {BIG}\n");
    let file = text.strip_prefix(&head).and_then(|rest| rest.strip_suffix("\necho[1]\n"));
    assert!(file.is_some_and(|file| file.as_bytes() == pattern(BIG)));
    assert!(rig.net.open.is_empty() && rig.net.closed_files.len() == 1);
}

#[test]
fn b11_two_ranges_of_one_file_and_one_close() {
    let mut rig = with_file(7);
    rig.feed("g big\n");
    assert_eq!(rig.sent(), "hello\nfile of 7\ndefg\n-then-\nabc\n");
    assert_eq!(rig.net.closed_files.len(), 1);
}

#[test]
fn b11_parts_of_one_call_are_bounded() {
    for (parts, fits) in [(8, true), (9, false)] {
        let mut rig = Rig::new(
            Hooks::new()
                .on_consume(|input, cx| cx.open_file(b"big").map(|_| input.len()))
                .on_file(move |opened, cx| (0..parts).try_for_each(|at| cx.stream_file(opened.id, at, 1))),
        );
        rig.net.put_file(b"big", pattern(20));
        rig.feed("x");
        if fits {
            assert_eq!(rig.sent().as_bytes(), &pattern(20)[..8]);
        } else {
            rig.feed_end();
            assert_eq!(rig.report().reason, Reason::Limit(Limit::Parts(8)));
        }
    }
}

#[test]
fn missing_file_is_an_answer_and_not_a_torn_reply() {
    let mut rig = with_file(7);
    rig.net.disk.insert(b"secret".to_vec(), Err(FileError::Forbidden));
    rig.feed("f none\nf secret\nf big\n");
    assert_eq!(rig.sent(), "hello\nno file: no such file\nno file: forbidden\nfile of 7\nabcdefg\n");
}

#[test]
fn open_is_a_barrier_for_input_and_commands_but_not_for_timers() {
    let mut rig = with_file(3);
    rig.net.answer_later = true;
    rig.feed("t 0 5\nf big\necho\n");
    assert_eq!(rig.sent(), "hello\n[0]\n");
    assert!(!rig.wait.read, "no input is wanted meanwhile");
    rig.turn_with(|live| assert!(!live.can_take_command()));
    rig.at(ms(5));
    assert_eq!(rig.sent(), "hello\n[0]\ntimer at 5ms\n");
    let (id, name) = rig.net.asked[0].clone();
    let result = rig.net.answer(id, &name);
    rig.turn_with(|live| live.handle_file(id, result).expect("it is waited for"));
    assert_eq!(rig.sent(), "hello\n[0]\ntimer at 5ms\nfile of 3\nabc\necho[2]\n");
}

#[test]
fn empty_file_is_closed_without_being_sent() {
    let mut rig = with_file(0);
    rig.feed("f big\ng big\n");
    assert_eq!(rig.sent(), "hello\nfile of 0\n\nfile of 0\n\n-then-\n\n");
    assert_eq!(rig.net.closed_files.len(), 2);
}

#[test]
fn file_nobody_queues_is_closed() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        cx.open_file(b"file")?;
        Ok(1)
    }));
    rig.net.put_file(b"file", pattern(5));
    rig.feed("ab");
    assert_eq!(rig.net.closed_files.len(), 2);
}

#[test]
fn file_of_a_call_that_fails_is_closed_and_the_reply_goes_out() {
    let protocol = letters().on_file(|opened, cx| {
        cx.write(b"header")?;
        cx.stream_file(opened.id, 0, 3)?;
        Err(Bad("changed my mind").into())
    });
    let mut rig = Rig::new(protocol);
    rig.net.put_file(b"file", pattern(5));
    rig.feed("f\n").feed_end();
    assert_eq!(rig.sent(), "-500 changed my mind\r\n");
    assert_eq!(rig.net.closed_files.len(), 1);
}

#[test]
fn file_call_that_finds_no_room_is_made_again_with_the_same_file() {
    let mut rig = Scenario::new().at(At::FileAnswered);
    assert_eq!(rig.net.open.len(), 1, "the file waits with its call");
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.taken.len(), 3000 + 2000 + 1000);
    assert_eq!(rig.net.asked.len(), 1);
}

#[test]
fn range_beyond_the_file_or_of_another_file_is_misuse() {
    for (offset, len) in [(0, 1001), (1001, 0), (1, 1000), (u64::MAX, 1)] {
        let protocol = letters().on_file(move |opened, cx| cx.stream_file(opened.id, offset, len));
        let mut rig = Rig::new(protocol);
        rig.net.put_file(b"file", pattern(1000));
        rig.feed("f\n").feed_end();
        assert_eq!(rig.report().reason, Reason::Misuse(Misuse::FileRange), "{offset}+{len}");
    }
}

#[test]
fn second_file_at_a_time_is_a_limit_and_so_is_any_when_none_is_allowed() {
    let twice = || {
        Hooks::new().on_consume(|_, cx| {
            cx.open_file(b"one")?;
            cx.open_file(b"two")?;
            Ok(1)
        })
    };
    let mut rig = Rig::new(twice());
    rig.feed("x").feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Opens));
    let none = Limits { files: 0, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::new(letters()).with_limits(none));
    rig.feed("f\n").feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Opens));
}

/// FAULTS 10.
#[test]
fn fault_10_peer_that_goes_while_a_file_streams_frees_it() {
    for error in [TransportError::BrokenPipe, TransportError::Reset] {
        let mut rig = Scenario::new().at(At::Streaming);
        rig.net.write_fault = Some(error);
        rig.settle();
        assert_eq!(rig.report().reason, Reason::Transport(error));
        assert_eq!(rig.net.closed_files.len(), 1);
        assert_eq!(rig.report().counters.unsent, 500);
    }
}

#[test]
fn abort_while_a_file_streams_frees_it() {
    let mut rig = Scenario::new().at(At::Streaming);
    rig.turn_with(|live| live.abort());
    assert_eq!(rig.report().reason, Reason::Aborted);
    assert_eq!(rig.net.closed_files.len(), 1);
}

#[test]
fn late_answer_after_a_close_closes_the_file() {
    let mut rig = Scenario::new().at(At::FileInFlight);
    rig.net.room = 0;
    rig.turn_with(|live| {
        live.close();
    });
    assert!(rig.close.is_none(), "a close asked for waits for the answer");
    answer(&mut rig);
    rig.net.room = usize::MAX;
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Requested);
    assert_eq!(rig.net.taken.len(), 3000, "the file was handled before the close");
}

#[test]
fn late_answer_while_the_end_is_flushed_closes_the_file() {
    let protocol = letters().on_timer(|_, cx| {
        cx.write(b"bye")?;
        cx.close();
        Ok(())
    });
    let protocol = protocol.on_open(|cx| {
        cx.set_timer(Timer::new(0), ms(9));
        Ok(())
    });
    let mut rig = Rig::new(protocol);
    rig.net.put_file(b"file", pattern(10));
    rig.net.answer_later = true;
    rig.feed("f\n");
    rig.net.room = 0;
    rig.at(ms(9));
    let id = answer(&mut rig);
    assert_eq!(rig.net.closed_files, [id]);
    rig.net.room = usize::MAX;
    rig.settle().feed_end();
    assert_eq!(rig.report().reason, Reason::Finished);
}

/// After the close the driver keeps the file; the connection says so.
#[test]
fn answer_after_the_close_is_refused() {
    let mut rig = Scenario::new().at(At::FileInFlight);
    rig.turn_with(|live| live.abort());
    assert!(rig.close.is_some());
    let (id, _) = rig.net.asked[0];
    rig.turn_with(|live| assert_eq!(live.handle_file(id, Ok(5)), Err(Misuse::Closed)));
}

#[test]
fn answer_nobody_waits_for_is_refused() {
    let mut rig = Scenario::new().at(At::FileInFlight);
    let id = answer(&mut rig);
    rig.turn_with(|live| assert_eq!(live.handle_file(id, Ok(5)), Err(Misuse::UnknownFile)));
}

/// FAULTS 47: the announced length, no more.
#[test]
fn fault_47_file_that_grows_is_sent_as_announced() {
    let mut rig = Rig::new(Script::default());
    rig.net.disk.insert(b"log".to_vec(), Ok(File { bytes: pattern(500), announced: 100 }));
    rig.feed("f log\n");
    assert_eq!(rig.net.taken, [&b"hello\nfile of 100\n"[..], &pattern(100), b"\n"].concat());
}

#[test]
fn files_in_the_queue_are_bounded_and_the_next_open_waits() {
    let limits = Limits { files: 2, ..Script::LIMITS };
    let mut rig = Rig::on(Connection::new(Script::default()).with_limits(limits));
    rig.net.put_file(b"big", pattern(50));
    rig.net.room = 6;
    rig.feed("f big\n".repeat(5));
    assert_eq!(rig.net.asked.len(), 2);
    assert!(rig.net.open.len() <= 2);
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.closed_files.len(), 5);
}
