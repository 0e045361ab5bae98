//! Every phase × every input: nothing panics, nothing is lost, one close.

use crate::support::ms;
use crate::support::rig::Rig;
use crate::support::scenario::{At, Scenario, answer};
use crate::support::script::{Bad, Hooks};
use drywire_core::{Counters, DRAIN_LINGER_MS, Limits, Misuse, Protocol, Reason, Timer, TransportError};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Line,
    HalfLine,
    Flood,
    End,
    Reset,
    BrokenPipe,
    Writable,
    Command,
    FileAnswer,
    WrongFileAnswer,
    Drain,
    Close,
    Abort,
    HourLater,
    InjectFull,
}

const INPUTS: [Input; 15] = [
    Input::Line,
    Input::HalfLine,
    Input::Flood,
    Input::End,
    Input::Reset,
    Input::BrokenPipe,
    Input::Writable,
    Input::Command,
    Input::FileAnswer,
    Input::WrongFileAnswer,
    Input::Drain,
    Input::Close,
    Input::Abort,
    Input::HourLater,
    Input::InjectFull,
];

#[track_caller]
fn put_in(rig: &mut Rig<Hooks>, input: Input) {
    match input {
        Input::Line => drop(rig.feed("line\n")),
        Input::HalfLine => drop(rig.feed("li")),
        Input::Flood => drop(rig.feed([b'x'; 5000])),
        Input::End => drop(rig.feed_end()),
        Input::Reset => {
            rig.net.read_fault = Some(TransportError::Reset);
            rig.settle();
        }
        Input::BrokenPipe => {
            rig.net.write_fault = Some(TransportError::BrokenPipe);
            rig.settle();
        }
        Input::Writable => {
            rig.net.room = usize::MAX;
            rig.settle();
        }
        Input::Command => {
            let closed = rig.close.is_some();
            rig.turn_with(|live| match (live.can_take_command(), live.handle_command(7)) {
                (true, Ok(())) => {}
                (false, Err((7, Misuse::CommandWaiting | Misuse::Closed))) => {}
                (can, answer) => panic!("{can} {answer:?}"),
            });
            assert!(!closed || rig.close.is_some());
        }
        Input::FileAnswer => {
            if rig.net.asked.len() > rig.net.open.len() + rig.net.closed_files.len() && rig.close.is_none() {
                answer(rig);
            }
        }
        Input::WrongFileAnswer => {
            // No connection of these scenarios asked for a hundred files.
            let id = late_id();
            rig.turn_with(|live| assert!(live.handle_file(id, Ok(5)).is_err()));
        }
        Input::Drain => drop(rig.turn_with(|live| live.drain())),
        Input::Close => drop(rig.turn_with(|live| live.close())),
        Input::Abort => drop(rig.turn_with(|live| live.abort())),
        Input::HourLater => {
            let later = rig.now + Duration::from_secs(3600);
            rig.at(later);
        }
        Input::InjectFull => {
            rig.conn.inject_full(1);
            rig.settle();
        }
    }
}

/// An id no scenario reaches.
fn late_id() -> drywire_core::FileId {
    let mut rig = Rig::new(crate::support::scenario::letters());
    rig.feed("f\n".repeat(10));
    rig.net.asked.last().expect("it asked").0
}

/// Lets everything end: the transport takes all, the peer ends, time passes.
#[track_caller]
fn wind_up(rig: &mut Rig<Hooks>) {
    put_in(rig, Input::Writable);
    put_in(rig, Input::FileAnswer);
    put_in(rig, Input::End);
    put_in(rig, Input::Close);
    rig.run_out(10);
    if rig.close.is_none() {
        put_in(rig, Input::Abort);
    }
    let Counters { received, sent, discarded, unsent } = rig.report().counters;
    assert_eq!(sent, rig.net.taken.len() as u64);
    assert!(discarded <= received);
    if unsent > 0 {
        assert!(rig.report().reason.is_abort(), "I1: {unsent} bytes are missing, and {:?}", rig.report().reason);
    }
    let opened = rig.net.asked.len();
    assert!(rig.net.closed_files.len() <= opened);
}

#[test]
fn every_phase_takes_every_input() {
    for at in At::ALL {
        for input in INPUTS {
            let mut rig = Scenario::new().at(at);
            println_context(at, &[input]);
            put_in(&mut rig, input);
            wind_up(&mut rig);
        }
    }
}

#[test]
fn every_phase_takes_every_two_inputs() {
    if cfg!(miri) {
        return; // Each input alone is enough there.
    }
    for at in At::ALL {
        for first in INPUTS {
            for second in INPUTS {
                let mut rig = Scenario::new().at(at);
                println_context(at, &[first, second]);
                put_in(&mut rig, first);
                put_in(&mut rig, second);
                wind_up(&mut rig);
            }
        }
    }
}

/// Shown by the harness when the test fails.
#[expect(clippy::print_stdout, reason = "captured, and shown with a failure")]
fn println_context(at: At, inputs: &[Input]) {
    println!("{at:?} × {inputs:?}");
}

/// FAULTS 73.
#[test]
fn fault_73_after_the_close_everything_is_idempotent_or_a_typed_error() {
    let mut rig = Scenario::new().at(At::Closed);
    let report = rig.report().clone();
    for _ in 0..2 {
        rig.turn_with(|live| {
            live.close();
            live.drain();
            live.abort();
            assert_eq!(live.handle_command(1), Err((1, Misuse::Closed)));
            assert!(!live.can_take_command());
        });
    }
    rig.feed("more").feed_end().at(ms(1_000_000));
    assert_eq!(rig.close, Some(report));
    assert_eq!(rig.net.incoming.len(), 4);
    assert!(rig.conn.is_closed());
}

#[test]
fn commands_of_one_turn_go_out_in_one_write() {
    let mut rig = Scenario::new().at(At::Active);
    let before = rig.net.writes_made;
    rig.turn_with(|live| {
        for n in 1..=3 {
            assert!(live.handle_command(n).is_ok());
        }
    });
    assert_eq!(rig.sent(), "command 1\ncommand 2\ncommand 3\n");
    assert_eq!(rig.net.writes_made, before + 1);
}

#[test]
fn timer_that_is_due_goes_before_a_command() {
    let timer = Timer::new(0);
    let hooks = Hooks::new()
        .on_open(move |cx| {
            cx.set_timer(timer, ms(1));
            Ok(())
        })
        .on_timer(|_, cx| cx.write(b"timer\n"))
        .on_command(|_, cx| cx.write(b"command\n"));
    let mut rig = Rig::new(hooks);
    rig.turn();
    rig.now = ms(1);
    rig.turn_with(|live| assert!(live.handle_command(1).is_ok()));
    assert_eq!(rig.sent(), "timer\ncommand\n");
}

#[test]
fn command_that_finds_no_room_is_kept_and_made_again() {
    let mut rig = Scenario::new().at(At::Active);
    rig.net.room = 0;
    rig.feed("w\n");
    rig.conn.inject_full(1);
    rig.turn_with(|live| assert!(live.handle_command(1).is_ok()));
    assert!(!rig.wait.read, "reading pauses until there is room");
    rig.turn_with(|live| assert_eq!(live.handle_command(2), Err((2, Misuse::CommandWaiting))));
    rig.net.room = usize::MAX;
    rig.settle();
    assert!(rig.sent().ends_with("wcommand 1\n"));
}

#[test]
fn close_comes_after_the_commands_that_were_accepted() {
    let mut rig = Scenario::new().at(At::Active);
    rig.turn_with(|live| {
        live.handle_command(1).expect("it is idle");
        live.close();
        assert!(!live.can_take_command());
    });
    assert_eq!(rig.sent(), "command 1\n");
    rig.feed_end();
    assert_eq!(rig.report().reason, Reason::Requested);
}

#[test]
fn drain_calls_the_protocol_and_lets_it_finish() {
    let protocol = Hooks::new().on_drain(|cx| {
        cx.write(b"421 going\n")?;
        cx.close();
        Ok(())
    });
    let mut rig = Rig::new(protocol);
    rig.net.room = 0;
    rig.settle();
    rig.conn.inject_full(1);
    rig.turn_with(|live| live.drain());
    assert!(rig.close.is_none());
    rig.net.room = usize::MAX;
    rig.feed_end();
    assert_eq!(rig.sent(), "421 going\n");
    assert_eq!(rig.report().reason, Reason::Finished);
}

/// How long it still waits for the peer's end.
fn lingers_for(rig: &Rig<Hooks>) -> Option<Duration> {
    rig.wait.deadline.map(|deadline| deadline.saturating_since(rig.now))
}

const BRIEFLY: Duration = Duration::from_millis(DRAIN_LINGER_MS as u64);

#[test]
fn fault_57_drain_waits_briefly_for_a_peer_that_has_all_that_was_written() {
    let mut rig = Scenario::new().at(At::Active);
    rig.feed("w\n").at(ms(70)).turn_with(|live| live.drain());
    assert!(rig.net.half_closed);
    assert_eq!(lingers_for(&rig), Some(BRIEFLY));
    rig.at(ms(70) + BRIEFLY);
    assert_eq!(rig.report().reason, Reason::Finished);
}

#[test]
fn fault_57_drain_waits_as_ever_for_a_peer_that_is_owed_something() {
    let mut rig = Scenario::new().at(At::BlockedOnBytes);
    rig.turn_with(|live| live.drain());
    rig.net.room = usize::MAX;
    rig.settle();
    assert!(rig.net.half_closed);
    assert_eq!(lingers_for(&rig), Some(Duration::from_millis(Hooks::LIMITS.linger_ms.into())));
}

#[test]
fn fault_57_drain_shortens_a_linger_and_never_prolongs_one() {
    let mut rig = Scenario::new().at(At::Lingering);
    rig.at(ms(70)).turn_with(|live| live.drain());
    assert_eq!(lingers_for(&rig), Some(BRIEFLY));
    rig.at(ms(570)).turn_with(|live| live.drain());
    assert_eq!(lingers_for(&rig), Some(BRIEFLY / 2));
    let mut rig = Scenario::new().limits(Limits { linger_ms: 30, ..Hooks::LIMITS }).at(At::Active);
    rig.turn_with(|live| live.drain());
    assert_eq!(lingers_for(&rig), Some(Duration::from_millis(30)));
}

#[test]
fn connection_knows_whether_its_peer_was_heard_and_answered() {
    let mut rig = Scenario::new().at(At::Active);
    let told = |rig: &Rig<Hooks>| (rig.conn.is_unheard(), rig.conn.has_unread(), rig.conn.is_unanswered());
    assert_eq!(told(&rig), (true, false, false));
    rig.feed("half");
    assert_eq!(told(&rig), (false, true, true));
    rig.feed(" a line\n");
    assert_eq!(told(&rig), (false, false, false));
    rig.turn_with(|live| live.drain());
    rig.feed("too late");
    assert_eq!(told(&rig), (false, false, true), "discarded is not answered");
}

#[test]
fn abort_drops_what_is_owed_and_counts_it() {
    let mut rig = Scenario::new().at(At::BlockedOnBytes);
    put_in(&mut rig, Input::Abort);
    assert_eq!(rig.report().reason, Reason::Aborted);
    assert_eq!(rig.report().counters.unsent, 3000);
}

/// Known-bad control: a second close report would be noticed.
#[test]
#[should_panic(expected = "nothing follows the close")]
fn turn_that_goes_on_after_the_close_is_noticed() {
    let mut rig = Rig::new(Hooks::new().on_open(|_| Err(Bad("at once").into())));
    rig.settle();
    rig.close = Some(drywire_core::CloseReport { reason: Reason::Finished, counters: Counters::default() });
    rig.turn();
}
