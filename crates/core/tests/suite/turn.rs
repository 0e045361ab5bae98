//! The one loop: budget, readiness, and what it costs (C1; DESIGN 4.1, 4.3, 4.5, 4.6).

use crate::support::net::{Chops, Net};
use crate::support::pattern;
use crate::support::script::{Hooks, Script};
use drywire_core::{Action, Budget, Connection, Limits, Protocol, Ready, Time, Turn, Workspace, turn};
use std::cell::Cell;
use std::rc::Rc;

fn echo() -> Connection<Hooks> {
    Connection::new(Hooks::new().on_consume(|input, cx| {
        cx.write(input)?;
        Ok(input.len())
    }))
}

/// C1: the actions the card names, among others, in the order they are due.
#[test]
fn c1_bytes_and_time_in_actions_out() {
    let (mut conn, mut workspace, mut net) = (Connection::new(Script::default()), Workspace::new(), Net::new());
    net.put_file(b"big", pattern(9));
    let mut input = vec![&b"e 5\nf big\np 7\nx\n"[..]];
    let mut names = Vec::new();
    for now in [Time::ZERO, crate::support::ms(7)] {
        let mut live = conn.lend(&mut workspace, now);
        loop {
            let (name, answer) = match live.poll() {
                Action::Write(write) => {
                    let n = write.with_slices(|slices, _| slices.iter().map(|slice| slice.len()).sum());
                    write.wrote(n);
                    ("write", None)
                }
                Action::StreamFile(part) => {
                    let len = part.len();
                    part.sent(len);
                    ("stream file", None)
                }
                Action::ReadFile(_) => unreachable!("there are no layers"),
                Action::OpenFile(open) => ("open file", Some(open.id())),
                Action::CloseFile(_) => ("close file", None),
                Action::Event(5) => ("event", None),
                Action::Event(other) => panic!("event {other}"),
                Action::DisableRead => ("disable read", None),
                Action::EnableRead => ("enable read", None),
                Action::HalfClose => ("half-close", None),
                Action::Again => unreachable!("no bound of messages was said"),
                Action::Close(_) => ("close", None),
                Action::Wait(wait) => {
                    let Some(data) = input.pop().filter(|_| wait.read) else { break };
                    live.read_with(|slot| {
                        slot[..data.len()].copy_from_slice(data);
                        Ok(data.len())
                    });
                    ("wait", None)
                }
            };
            names.push(name);
            if let Some(id) = answer {
                live.handle_file(id, Ok(9)).expect("it is waited for");
            }
            if name == "half-close" {
                live.read_with(|_| Ok(0));
            }
        }
    }
    let first = ["write", "wait", "event", "open file", "write", "stream file", "close file", "write", "disable read"];
    assert_eq!(names[..9], first);
    assert_eq!(names[9..], ["write", "half-close", "close"]);
}

/// FAULTS 22, 44: a busy peer gives way, and nothing is lost.
#[test]
fn fault_22_44_budget_ends_the_turn_and_the_next_goes_on() {
    let (mut conn, mut workspace, mut net) = (echo(), Workspace::new(), Net::new());
    net.incoming.extend(pattern(100_000));
    let mut ready = Ready::UNKNOWN;
    let mut turns = 0;
    loop {
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        let before = net.taken.len();
        let mut budget = Budget::bytes(5000);
        match turn(&mut live, &mut net, &mut ready, &mut budget) {
            Turn::Again => turns += 1,
            Turn::Wait(_) => break,
            other @ (Turn::Event(_) | Turn::Closed(_)) => panic!("{other:?}"),
        }
        assert!(net.taken.len() - before < 5000 + 1024 + 4096, "one action beyond the budget at most");
        assert!(turns < 1000);
    }
    assert!(turns >= 20);
    assert!(net.taken == pattern(100_000));
}

/// FAULTS 44: small messages run a budget out too.
#[test]
fn fault_44_small_actions_cost_something() {
    let (mut conn, mut workspace, mut net) = (echo(), Workspace::new(), Net::new());
    net.incoming.extend(pattern(10_000));
    net.reads = Chops::of(&[1]);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    let ended = turn(&mut live, &mut net, &mut { Ready::UNKNOWN }, &mut Budget::bytes(5000));
    assert!(matches!(ended, Turn::Again));
    assert!(net.taken.len() < 100);
}

/// A message of one byte is echoed, and told as an event if it is `!`. With it comes how many were
/// consumed.
fn letters() -> (Connection<Hooks>, Rc<Cell<usize>>) {
    let consumed = Rc::new(Cell::new(0));
    let count = Rc::clone(&consumed);
    let hooks = Hooks::new().on_consume(move |input, cx| {
        cx.write(&input[..1])?;
        if input[0] == b'!' {
            cx.emit(u32::from(input[0]))?;
        }
        count.set(count.get() + 1);
        Ok(1)
    });
    let limits = Limits { output_bytes: 256 * 1024, ..Hooks::LIMITS };
    (Connection::new(hooks).with_limits(limits), consumed)
}

/// FAULTS 44: so many messages and not one more, told to the application or not; then others have
/// their turns, and nothing is lost.
#[test]
fn fault_44_turn_consumes_as_many_messages_as_its_budget_says() {
    let text: Vec<u8> = b"abc!".repeat(2500);
    for messages in [1, 7, 100, 9_999, 10_000] {
        let ((mut conn, consumed), mut workspace, mut net) = (letters(), Workspace::new(), Net::new());
        net.incoming.extend(&text);
        let (mut ready, mut turns, mut events) = (Ready::UNKNOWN, 0, 0);
        loop {
            let before = consumed.get();
            let mut budget = Budget::bytes(usize::MAX).messages(messages);
            // An event leaves in the middle, and the budget goes on: with a turn of its own,
            // as a server does it.
            let ended = loop {
                let mut live = conn.lend(&mut workspace, Time::ZERO);
                match turn(&mut live, &mut net, &mut ready, &mut budget) {
                    Turn::Event(_) => events += 1,
                    ended @ (Turn::Wait(_) | Turn::Again | Turn::Closed(_)) => break ended,
                }
            };
            assert!(consumed.get() - before <= messages as usize);
            match ended {
                Turn::Again => turns += 1,
                Turn::Wait(wait) => break assert!(wait.read && !wait.write),
                other @ (Turn::Event(_) | Turn::Closed(_)) => panic!("{other:?}"),
            }
        }
        assert!(net.taken == text);
        assert_eq!((turns, events), (text.len() / messages as usize, 2500), "{messages} messages a turn");
    }
}

/// A command may be what input waited for, which is consumed with it: within the same bound.
#[test]
fn fault_44_command_consumes_no_more_than_its_turn_may() {
    let ((mut conn, consumed), mut workspace, mut net) = (letters(), Workspace::new(), Net::new());
    net.incoming.extend([b'x'; 100]);
    turn(
        &mut conn.lend(&mut workspace, Time::ZERO),
        &mut net,
        &mut { Ready::UNKNOWN },
        &mut Budget::DEFAULT.messages(5),
    );
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    let mut budget = Budget::DEFAULT.messages(7);
    live.consume_at_most(budget.messages_left());
    live.handle_command(0).expect("nothing stands in the way");
    assert_eq!((consumed.get(), live.messages_left()), (12, 0));
    assert!(matches!(turn(&mut live, &mut net, &mut { Ready::UNKNOWN }, &mut budget), Turn::Again));
    assert_eq!((consumed.get(), budget.messages_left()), (12, 0));
}

#[test]
fn short_read_saves_a_call_only_where_the_transport_says_so() {
    let cases = [(true, false, false, 1), (true, true, false, 2), (true, false, true, 2), (false, false, false, 2)];
    for (exhausts, hang_up, urgent, reads) in cases {
        let (mut conn, mut workspace, mut net) = (echo(), Workspace::new(), Net::new());
        let mut ready = Ready { read: true, hang_up, urgent };
        net.short_read_exhausts = exhausts;
        net.incoming.extend(b"short");
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        let ended = turn(&mut live, &mut net, &mut ready, &mut Budget::bytes(1 << 20));
        assert!(matches!(ended, Turn::Wait(wait) if wait.read), "{ended:?}");
        assert_eq!(net.reads_made, reads);
        assert!(!ready.read);
        assert!(!ready.urgent, "what the mark was in front of has been read");
    }
}

#[test]
fn read_that_fills_its_slot_is_followed_by_another() {
    let (mut conn, mut workspace, mut net) = (echo(), Workspace::new(), Net::new());
    net.short_read_exhausts = true;
    net.incoming.extend(pattern(1024));
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    let mut ready = Ready::UNKNOWN;
    turn(&mut live, &mut net, &mut ready, &mut Budget::bytes(1 << 20));
    assert_eq!(net.reads_made, 2);
}

/// Readiness that could not be used is not lost (FAULTS 21).
#[test]
fn fault_21_readiness_outlives_a_pause() {
    let (mut conn, mut workspace, mut net) = (echo(), Workspace::new(), Net::new());
    let mut ready = Ready::UNKNOWN;
    net.room = 0;
    net.incoming.extend(pattern(20_000));
    let mut budget = Budget::bytes(1 << 20);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    let ended = turn(&mut live, &mut net, &mut ready, &mut budget);
    assert!(matches!(ended, Turn::Wait(wait) if !wait.read && wait.write), "{ended:?}");
    assert!(ready.read, "the edge was not used up");
    drop(live);
    net.room = usize::MAX;
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    live.handle_writable();
    turn(&mut live, &mut net, &mut ready, &mut budget);
    assert!(net.taken == pattern(20_000));
}

#[test]
fn output_of_many_messages_leaves_in_one_write() {
    let (mut conn, mut workspace, mut net) = (Connection::new(Script::default()), Workspace::new(), Net::new());
    net.incoming.extend(b"one\ntwo\nthree\n");
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    turn(&mut live, &mut net, &mut { Ready::UNKNOWN }, &mut Budget::bytes(1 << 20));
    assert_eq!(net.writes_made, 1, "the greeting and all answers");
}

/// DESIGN 4.3, product target: 512 bytes per idle connection, with the driver's part and a handle.
#[test]
fn connection_that_is_idle_is_small() {
    #[derive(Debug)]
    struct LineEcho {
        _scanned: usize,
    }
    impl Protocol for LineEcho {
        type Event = std::convert::Infallible;
        type Command = std::convert::Infallible;
        type Error = std::convert::Infallible;
        fn consume(
            &mut self,
            _: &[u8],
            _: &mut drywire_core::Context<'_, LineEcho>,
        ) -> Result<usize, drywire_core::Stop<Self::Error>> {
            Ok(0)
        }
    }
    const MOST: usize = 248;
    let size = size_of::<Connection<LineEcho>>();
    assert!(size <= MOST, "{size} bytes");
}
