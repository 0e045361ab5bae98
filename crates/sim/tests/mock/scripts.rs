//! Sessions of our protocols, wait by wait.

use drywire_core::{Connection, FileError, Limit, Limits, Protocol, Reason, Stop, Time, TransportError, Wait};
use drywire_core::{
    Context, Refused, Writer,
    framing::{Decode, Encode, Lines, Messages},
};
use drywire_protocols::{BadCommand, Dialog, LineEcho};
use drywire_sim::mock::Mock;
use std::convert::Infallible;
use std::time::Duration;

const READ: Wait = Wait { read: true, write: false, deadline: None };

#[test]
fn line_in_two_reads_and_a_short_write() {
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on).expect_wait(READ);
    mock.wait(|on| on.read(b"hel").read(b"lo\nquit\n").write(4).write(2)).expect("hello\nquit\n");
    mock.expect_half_close();
    mock.wait(|on| on.end()).expect_close(&Reason::Finished);
    assert_eq!(mock.report().map(|report| report.counters.sent), Some(11));
}

#[test]
fn blocked_write_waits_with_a_deadline_and_goes_on() {
    let stall = Time::ZERO + Duration::from_millis(Limits::DEFAULT.stall_ms.into());
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("one\n").would_block()).expect_wait(Wait { write: true, deadline: Some(stall), ..READ });
    mock.wait(|on| on.writable().write(1).would_block()).expect("o");
    mock.wait(|on| on.writable()).expect("ne\n").expect_wait(READ);
}

#[test]
fn fault_9_end_of_input_with_output_pending_flushes_first() {
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("one\ntwo").end().write(2).would_block()).expect("on");
    mock.wait(|on| on.writable()).expect("e\ntwo").expect_close(&Reason::Finished);
}

#[test]
fn fault_6_silence_ends_at_the_deadline_and_not_before() {
    let limits = Limits { idle_ms: 50, linger_ms: 0, ..Limits::DEFAULT };
    let mut mock = Mock::on(Connection::new(LineEcho).with_limits(limits));
    mock.wait(|on| on.read("a\n")).expect("a\n");
    mock.wait(|on| on.after(Duration::from_millis(49))).expect("");
    mock.wait(|on| on.deadline()).expect("error: nothing moved for 50 ms\n");
    mock.expect_close(&Reason::Limit(Limit::Idle(50)));
    assert_eq!(mock.now(), Time::ZERO + Duration::from_millis(50));
}

#[test]
fn fault_5_peer_that_takes_nothing_is_stalled() {
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("a\n").would_block());
    mock.wait(|on| on.deadline()).expect_close(&Reason::Stalled);
}

#[test]
fn fault_7_11_12_13_failures_of_the_transport_are_typed() {
    for error in [TransportError::Reset, TransportError::TimedOut, TransportError::Other(5)] {
        let mut mock = Mock::new(LineEcho);
        mock.wait(|on| on.read("a\n").write(1)).expect("a\n");
        mock.wait(|on| on.read_fails(error)).expect_close(&Reason::Transport(error));
    }
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("a\n").write(1).write_fails(TransportError::BrokenPipe)).expect("a");
    mock.expect_close(&Reason::Transport(TransportError::BrokenPipe));
}

#[test]
fn fault_15_readiness_without_bytes_changes_nothing() {
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read_would_block()).expect_wait(READ);
    mock.wait(|on| on.read_would_block()).expect_wait(READ);
    mock.wait(|on| on.read("a\n").read_would_block()).expect("a\n");
}

#[test]
fn fault_21_hang_up_reads_on_behind_a_short_read() {
    let mut mock = Mock::new(LineEcho).short_reads_exhaust();
    mock.wait(|on| on.read("a\n")).expect("a\n");
    mock.wait(|on| on.hang_up().read("b\n").end()).expect("b\n").expect_close(&Reason::Finished);
}

#[test]
fn files_stand_between_answers() {
    let mut mock = Mock::new(Dialog::new()).file("a", "12 bytes of.").refuse_file("b", FileError::Forbidden);
    mock.wait(|on| on.read("GET a\nGET b\nGET c\nNOOP\n").write(6).write(5).would_block()).expect("OK 12\n12 by");
    mock.wait(|on| on.writable()).expect("tes of.-550 forbidden\n-550 no such file\nOK\n");
    mock.wait(|on| on.read("HELO\n")).expect("-500 protocol error, bad command\n").expect_half_close();
    mock.wait(|on| on.end()).expect_close(&Reason::Peer(BadCommand));
}

#[test]
fn file_that_is_answered_later_is_a_barrier() {
    let mut mock = Mock::new(Dialog::new()).file("a", "abc").opens_later();
    mock.wait(|on| on.read("GET a\nNOOP\n")).expect("").expect_wait(Wait::default());
    mock.wait(|on| on.opened()).expect("OK 3\nabcOK\n").expect_wait(READ);
}

#[test]
fn fault_10_46_49_file_that_fails_half_way_is_an_abort_and_is_closed() {
    for error in [FileError::Truncated, FileError::Io(5)] {
        let mut mock = Mock::new(Dialog::new()).file("a", "abc");
        mock.wait(|on| on.read("GET a\n").write(5).write(1).file_fails(error)).expect("OK 3\na");
        mock.expect_close(&Reason::File(error));
    }
    let mut mock = Mock::new(Dialog::new()).file("a", "abc");
    mock.wait(|on| on.read("GET a\n").write(5).write(1).write_fails(TransportError::Reset)).expect("OK 3\na");
    mock.expect_close(&Reason::Transport(TransportError::Reset));
}

#[test]
fn fault_22_turn_that_ran_out_of_budget_goes_on_without_news() {
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("a\n").budget(1)).expect("");
    mock.wait(|on| on).expect("a\n").expect_wait(READ);
}

#[test]
fn drain_close_and_abort_are_the_applications() {
    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("a\n").would_block()).expect("");
    mock.wait(|on| on.writable().end().close()).expect("a\n").expect_close(&Reason::Requested);

    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("a").drain()).expect_half_close();
    mock.wait(|on| on.end()).expect_close(&Reason::Finished);

    let mut mock = Mock::new(LineEcho);
    mock.wait(|on| on.read("a\n").would_block());
    mock.wait(|on| on.abort()).expect_close(&Reason::Aborted);
}

/// A payload is a message.
struct Plain;

impl Decode for Plain {
    type Message = Vec<u8>;
    type Error = Infallible;

    fn decode(&self, payload: &[u8]) -> Result<Vec<u8>, Infallible> {
        Ok(payload.to_vec())
    }
}

impl Encode for Plain {
    type Message = &'static str;

    fn encode(&self, message: &&'static str, out: &mut Writer<'_>) -> Result<(), Refused> {
        out.write(message.as_bytes())
    }
}

#[test]
fn commands_and_events_go_through_the_mock_too() {
    let mut mock = Mock::new(Messages::new(Lines::new(80), Plain));
    mock.wait(|on| on.read("one\ntwo\n")).expect_event(&b"one".to_vec()).expect_event(&b"two".to_vec());
    mock.wait(|on| on.command("three").write(2)).expect("three\n");
}

/// Reads in pauses of ten milliseconds.
struct Pausing;

impl Protocol for Pausing {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.write(&input[..1])?;
        cx.disable_read();
        cx.set_timer(drywire_core::Timer::new(0), cx.now() + Duration::from_millis(10));
        Ok(1)
    }

    fn timer(&mut self, _: drywire_core::Timer, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.enable_read();
        Ok(())
    }
}

#[test]
fn timers_are_deadlines_of_a_wait() {
    let pause = Time::ZERO + Duration::from_millis(10);
    let mut mock = Mock::new(Pausing);
    mock.wait(|on| on.read("ab")).expect("a").expect_wait(Wait { deadline: Some(pause), ..Wait::default() });
    mock.wait(|on| on.deadline()).expect("b");
    mock.wait(|on| on.after(Duration::from_secs(9))).expect_wait(READ);
}
