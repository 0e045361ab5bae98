//! Rows of FAULTS that are a connection's own affair, on the mock: no server, no
//! driver, no socket. Rows that other tests of the core, of the protocols and of the
//! mock carry already are not repeated.

use drywire_core::{
    Action, Connection, Context, Failure, Limit, Limits, Misuse, Protocol, Reason, Reply, Stop, Time, Timer, Wait,
    Workspace,
};
use drywire_protocols::LineEcho;
use drywire_sim::kit::{Check, Kit};
use drywire_sim::mock::Mock;
use std::convert::Infallible;
use std::time::Duration;

const READ: Wait = Wait { read: true, write: false, deadline: None };

/// Answers `a` to everything but `b`, where it gives up half-way through its answer,
/// with an event, a timer and a half-close already asked for.
#[derive(Debug, Default)]
struct GivesUp;

impl Protocol for GivesUp {
    type Event = char;
    type Command = ();
    type Error = &'static str;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<&'static str>> {
        cx.write(b"the beginning of ")?;
        if input[0] == b'b' {
            cx.emit('b')?;
            cx.set_timer(Timer::new(0), cx.now() + Duration::from_millis(1));
            cx.half_close();
            return Err("b is refused".into());
        }
        cx.write(b"an answer\n")?;
        cx.emit('a')?;
        Ok(1)
    }

    fn error_reply(&self, why: &Failure<&'static str>, reply: &mut Reply<'_>) {
        writeln!(reply, "error: {why}");
    }
}

#[test]
fn fault_55_handler_that_fails_after_queueing_is_undone_answered_flushed_and_closed() {
    let mut mock = Mock::new(GivesUp);
    mock.wait(|on| on.read("aba").write(7).would_block()).expect("the beg").expect_event(&'a');
    mock.wait(|on| on.writable()).expect("inning of an answer\nerror: b is refused\n").expect_half_close();
    mock.wait(|on| on.end()).expect_close(&Reason::Peer("b is refused"));
    let counters = mock.report().expect("it is closed").counters;
    assert_eq!((counters.received, counters.discarded, counters.unsent), (3, 2, 0));
}

#[test]
fn fault_55_failure_is_the_same_under_every_split_and_every_full() {
    Kit::new(|| GivesUp).command(|| ()).check("aaba");
}

/// Answers a byte with so many bytes as it says.
struct Answers;

impl Protocol for Answers {
    type Event = Infallible;
    type Command = ();
    type Error = Infallible;

    const LIMITS: Limits = Limits { output_bytes: 100, linger_ms: 0, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        for _ in 0..input[0] {
            cx.write(b"x")?;
        }
        Ok(1)
    }
}

#[test]
fn fault_54_answer_over_the_cap_is_nothing_at_all_and_one_of_its_size_is_whole() {
    for ahead in 0..=3 {
        let mut mock = Mock::new(Answers);
        mock.wait(|on| on.read([ahead, 100]).would_block());
        mock.wait(|on| on.writable()).expect(vec![b'x'; 100 + usize::from(ahead)]).expect_wait(READ);
        mock.wait(|on| on.read([ahead, 101])).expect(vec![b'x'; ahead.into()]);
        mock.expect_close(&Reason::Limit(Limit::Output(100)));
    }
}

#[test]
fn fault_4_peer_that_asks_and_never_reads_is_not_read_at_the_cap() {
    let mut mock = Mock::on(Connection::new(LineEcho).with_limits(LineEcho::SMALL));
    let lines = "x".repeat(1023) + "\n";
    mock.wait(|on| on.read(lines.repeat(4)).would_block());
    let stall = Some(Time::ZERO + Duration::from_secs(60));
    mock.wait(|on| on.read(lines.repeat(4))).expect_wait(Wait { read: false, write: true, deadline: stall });
    assert_eq!(mock.connection().held_bytes(), 8192, "the caps of both directions and not a byte more");
    mock.wait(|on| on.writable()).expect(lines.repeat(8)).expect_wait(READ);
}

#[test]
fn fault_58_pause_of_the_process_is_not_the_peers_silence() {
    let limits = Limits { idle_ms: 50, stall_ms: 50, ..Limits::DEFAULT };
    let hour = Duration::from_secs(3600);
    let mut mock = Mock::on(Connection::new(LineEcho).with_limits(limits));
    mock.wait(|on| on.read("one\n")).expect("one\n");
    mock.wait(|on| on.after(hour).read("two\n").would_block()).expect("");
    mock.wait(|on| on.after(hour).writable()).expect("two\n");
    mock.wait(|on| on.after(hour)).expect("error: nothing moved for 50 ms\n");
}

/// What is sent in one turn at `now`, and what is waited for; `None` at the close.
fn turn_at(conn: &mut Connection<LineEcho>, now: Time, input: &[u8], sent: &mut Vec<u8>) -> Option<Wait> {
    let mut workspace = Workspace::new();
    let mut live = conn.lend(&mut workspace, now);
    // What has arrived goes before every deadline.
    if !input.is_empty() {
        live.read_with(|slot| {
            slot[..input.len()].copy_from_slice(input);
            Ok(input.len())
        });
    }
    loop {
        match live.poll() {
            Action::Write(write) => {
                let n = write.with_slices(|slices, _| {
                    sent.extend(slices.concat());
                    slices.concat().len()
                });
                write.wrote(n);
            }
            Action::Wait(wait) => return Some(wait),
            Action::Close(_) => return None,
            Action::HalfClose | Action::EnableRead | Action::DisableRead => {}
            other @ (Action::Again
            | Action::StreamFile(_)
            | Action::ReadFile(_)
            | Action::OpenFile(_)
            | Action::CloseFile(_)
            | Action::Event(_)) => panic!("{other:?}"),
        }
    }
}

const IDLE: Limits = Limits { idle_ms: 700, linger_ms: 100, ..Limits::DEFAULT };

#[test]
fn fault_68_only_differences_of_times_count() {
    let run = |start: Time| {
        let (mut conn, mut sent) = (Connection::new(LineEcho).with_limits(IDLE), Vec::new());
        let mut deadlines = Vec::new();
        for (after, input) in [(0, "one\n"), (200, "tw"), (900, "o\n"), (1599, ""), (1600, ""), (1700, "")] {
            let wait = turn_at(&mut conn, start + Duration::from_millis(after), input.as_bytes(), &mut sent);
            deadlines.push(wait.map(|wait| wait.deadline.map(|deadline| deadline.saturating_since(start))));
        }
        (sent, deadlines)
    };
    let from_zero = run(Time::ZERO);
    assert_eq!(from_zero.0, b"one\ntwo\nerror: nothing moved for 700 ms\n");
    assert_eq!(from_zero.1.last(), Some(&None), "it is closed at the end");
    for start in [1, 1_700_000_000_000_000_000, u64::MAX - 2_000_000_000] {
        assert_eq!(run(Time::from_nanos(start)), from_zero, "begun at {start} ns");
    }
}

/// A driver must not do it. One that does loses nothing, and cuts nobody.
#[test]
fn fault_68_time_that_goes_back_is_no_silence_and_loses_nothing() {
    let (mut conn, mut sent) = (Connection::new(LineEcho).with_limits(IDLE), Vec::new());
    for (now, input) in [(10_000, "one\n"), (3, "two\n"), (0, ""), (702, "three\n"), (9_000, "four\n")] {
        let now = Time::ZERO + Duration::from_millis(now);
        assert!(turn_at(&mut conn, now, input.as_bytes(), &mut sent).is_some(), "closed at {now:?}");
    }
    assert_eq!(sent, b"one\ntwo\nthree\nfour\n");
}

#[test]
fn fault_73_ends_are_idempotent_and_what_comes_after_them_typed() {
    let mut mock = Mock::new(GivesUp);
    mock.wait(|on| on.drain().close().drain().close().end()).expect_close(&Reason::Requested);
    mock.wait(|on| on.close().abort().drain()).expect_wait(Wait::default()).expect_close(&Reason::Requested);

    let (mut conn, mut workspace) = (Connection::new(GivesUp), Workspace::new());
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    live.abort();
    assert!(matches!(live.poll(), Action::Close(report) if report.reason == Reason::Aborted));
    assert_eq!(live.handle_command(()), Err(((), Misuse::Closed)));
}

/// Writes after it has half-closed.
struct WritesAfterTheEnd;

impl Protocol for WritesAfterTheEnd {
    type Event = Infallible;
    type Command = ();
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.write(input)?;
        cx.half_close();
        Ok(input.len())
    }
}

#[test]
fn fault_73_write_after_the_half_close_is_misuse_and_the_kit_says_so() {
    let mut mock = Mock::new(WritesAfterTheEnd);
    mock.wait(|on| on.read("a")).expect("a").expect_half_close();
    mock.wait(|on| on.read("b").end()).expect("").expect_close(&Reason::Misuse(Misuse::WriteAfterEnd));
    let finding = Kit::new(|| WritesAfterTheEnd).find("ab").expect_err("the second byte is an answer too many");
    assert_eq!(finding.check(), Check::Misuse, "{finding}");
}
