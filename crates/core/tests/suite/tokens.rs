//! Tokens: dropping or forgetting one loses nothing (DESIGN 4.2), and so does
//! dropping a turn.

#![expect(clippy::wildcard_enum_match_arm, reason = "each test names the one action it expects")]
#![expect(clippy::drop_non_drop, clippy::forget_non_drop, reason = "that they have no `Drop` is what is tested")]

use crate::support::layers::{Escapes, Records};
use crate::support::rig::Rig;
use crate::support::scenario::{At, Scenario, letters};
use crate::support::script::{Hooks, Script};
use drywire_core::{Action, Blocked, Connection, Limits, Live, Misuse, Protocol, Read, Reason, Time, Wait, Workspace};
use std::mem::forget;

fn echo() -> Connection<Hooks> {
    Connection::new(Hooks::new().on_consume(|input, cx| {
        cx.write(input)?;
        Ok(input.len())
    }))
}

#[track_caller]
fn read(live: &mut Live<'_, Hooks>, data: &[u8]) {
    let read = live.read_with(|slot| {
        slot[..data.len()].copy_from_slice(data);
        Ok(data.len())
    });
    assert!(matches!(read, Read::Bytes { n, .. } if n == data.len()), "{read:?}");
}

/// Polls, expecting output, and hands the token to `answer`.
#[track_caller]
fn expect_write(live: &mut Live<'_, Hooks>, answer: impl FnOnce(drywire_core::Write<'_>)) {
    match live.poll() {
        Action::Write(write) => answer(write),
        action => panic!("{action:?}"),
    }
}

#[track_caller]
fn expect_wait(live: &mut Live<'_, Hooks>) -> Wait {
    match live.poll() {
        Action::Wait(wait) => wait,
        action => panic!("{action:?}"),
    }
}

#[test]
fn write_that_is_dropped_forgotten_or_blocked_waits_for_writability() {
    for how in 0..4 {
        let (mut conn, mut workspace) = (echo(), Workspace::new());
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        read(&mut live, b"hello");
        expect_write(&mut live, |write| match how {
            0 => drop(write),
            1 => forget(write),
            2 => write.blocked(),
            _ => write.wrote(0),
        });
        assert_eq!(
            expect_wait(&mut live),
            Wait { read: true, write: true, deadline: Some(crate::support::ms(60_000)) }
        );
        drop(live);
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        live.handle_writable();
        expect_write(&mut live, |write| {
            write.with_slices(|slices, more| assert_eq!((slices, more), (&[&b"hello"[..]][..], false)));
            write.wrote(5);
        });
        assert_eq!(expect_wait(&mut live), Wait { read: true, ..Wait::default() });
        drop(live);
        assert_eq!(conn.held_bytes(), 0);
    }
}

/// Else the kernel keeps a handshake for a fifth of a second, until more would follow.
#[test]
fn more_is_said_to_follow_only_what_layers_have_no_room_for() {
    let says = |n: usize| Hooks::new().on_open(move |cx| cx.write(&vec![b'x'; n]));
    let limits = Limits { output_bytes: 100_000, ..Hooks::LIMITS };
    let hint = |conn: Connection<Hooks, Records>| {
        let (mut conn, mut workspace, mut hint) = (conn.with_limits(limits), Workspace::new(), None);
        match conn.lend(&mut workspace, Time::ZERO).poll() {
            Action::Write(write) => write.with_slices(|_, more| hint = Some(more)),
            other => panic!("{other:?}"),
        }
        hint
    };
    let greets = Connection::with_layer(says(10), Records::with_handshake());
    assert_eq!(hint(greets), Some(false), "the greeting waits for the peer's part of the handshake");
    assert_eq!(hint(Connection::with_layer(says(50_000), Records::default())), Some(true));
}

#[test]
fn file_part_that_is_dropped_or_forgotten_waits_for_writability() {
    for forgotten in [false, true] {
        let mut rig = Scenario::new().at(At::Streaming);
        let mut live = rig.conn.lend(&mut rig.workspace, rig.now);
        live.handle_writable();
        match live.poll() {
            Action::StreamFile(part) => {
                assert_eq!((part.offset(), part.len(), part.is_empty()), (500, 500, false));
                if forgotten { forget(part) } else { drop(part) }
            }
            action => panic!("{action:?}"),
        }
        assert!(expect_wait(&mut live).write);
        drop(live);
        rig.net.room = usize::MAX;
        rig.settle();
        assert_eq!(rig.net.taken.len(), 3000);
        assert_eq!(rig.net.closed_files.len(), 1);
    }
}

#[test]
fn file_part_for_a_layer_that_is_dropped_or_forgotten_is_read_later() {
    for forgotten in [false, true] {
        let mut rig = Rig::on(Connection::with_layer(letters(), Escapes::default()));
        rig.net.put_file(b"file", vec![b'F'; 1000]);
        rig.net.answer_later = true;
        rig.feed("f\n");
        let (id, name) = rig.net.asked[0].clone();
        let result = rig.net.answer(id, &name);
        let mut live = rig.conn.lend(&mut rig.workspace, rig.now);
        live.handle_file(id, result).expect("it is waited for");
        match live.poll() {
            Action::Write(write) => write.wrote(2000),
            action => panic!("{action:?}"),
        }
        rig.net.taken.resize(2000, b'f');
        match live.poll() {
            Action::ReadFile(part) => {
                assert_eq!((part.id(), part.offset()), (id, 0));
                if forgotten { forget(part) } else { drop(part) }
            }
            action => panic!("{action:?}"),
        }
        assert!(matches!(live.poll(), Action::EnableRead));
        assert!(matches!(live.poll(), Action::Wait(wait) if wait.write));
        drop(live);
        rig.net.reading.push(true);
        rig.settle();
        assert_eq!(rig.net.taken.len(), 3000);
        assert_eq!(rig.net.closed_files.len(), 1);
    }
}

/// The request was made, so it waits for its answer, however its token ended.
#[test]
fn open_that_is_dropped_or_forgotten_still_waits_for_its_answer() {
    for forgotten in [false, true] {
        let mut rig = Scenario::new().at(At::Active);
        let mut live = rig.conn.lend(&mut rig.workspace, rig.now);
        read(&mut live, b"f\n");
        let id = match live.poll() {
            Action::OpenFile(open) => {
                let id = open.id();
                assert_eq!(open.name(), b"file");
                if forgotten {
                    forget(open)
                } else {
                    drop(open)
                }
                id
            }
            action => panic!("{action:?}"),
        };
        assert!(matches!(live.poll(), Action::DisableRead));
        assert_eq!(live.handle_file(id, Err(drywire_core::FileError::NotFound)), Ok(()));
        assert!(matches!(live.poll(), Action::EnableRead));
    }
}

#[test]
#[should_panic(expected = "the transport took 6 bytes of 5")]
fn transport_that_claims_to_have_written_more_is_found_out() {
    let (mut conn, mut workspace) = (echo(), Workspace::new());
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    read(&mut live, b"hello");
    expect_write(&mut live, |write| write.wrote(6));
}

#[test]
#[should_panic(expected = "the transport filled 2000 bytes of a slot of 1024")]
fn transport_that_claims_to_have_read_more_is_found_out() {
    let (mut conn, mut workspace) = (echo(), Workspace::new());
    conn.lend(&mut workspace, Time::ZERO).read_with(|_| Ok(2000));
}

#[test]
#[should_panic(expected = "the transport took 501 bytes of 500")]
fn transport_that_claims_to_have_sent_more_of_a_file_is_found_out() {
    let mut rig = Scenario::new().at(At::Streaming);
    let mut live = rig.conn.lend(&mut rig.workspace, rig.now);
    live.handle_writable();
    if let Action::StreamFile(part) = live.poll() {
        part.sent(501);
    }
}

#[test]
fn turn_that_is_dropped_after_a_read_keeps_what_was_read() {
    let (mut conn, mut workspace) = (echo(), Workspace::new());
    read(&mut conn.lend(&mut workspace, Time::ZERO), b"kept");
    assert_eq!(conn.held_bytes(), 4);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    let again = live.read_with(|_| -> Result<usize, Blocked> { panic!("what is there goes first") });
    assert_eq!(again, Read::NotWanted);
    expect_write(&mut live, |write| write.with_slices(|slices, _| assert_eq!(slices, [&b"kept"[..]])));
}

#[test]
fn turn_that_is_forgotten_with_unread_input_is_misuse_and_not_silent_loss() {
    let (mut conn, mut workspace) = (echo(), Workspace::new());
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    read(&mut live, b"lost");
    forget(live);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    match live.poll() {
        Action::Close(report) => assert_eq!(report.reason, Reason::Misuse(Misuse::ForgottenTurn)),
        action => panic!("{action:?}"),
    }
    assert_eq!(expect_wait(&mut live), Wait::default());
}

#[test]
fn turn_that_is_forgotten_without_input_loses_nothing() {
    let (mut conn, mut workspace) = (echo(), Workspace::new());
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    read(&mut live, b"hello");
    expect_write(&mut live, |write| write.blocked());
    expect_wait(&mut live);
    drop(live);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    live.handle_writable();
    expect_write(&mut live, |write| write.wrote(2));
    forget(live);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    expect_write(&mut live, |write| write.with_slices(|slices, _| assert_eq!(slices, [&b"llo"[..]])));
}

/// Half an answer must not be taken for a whole one.
#[test]
fn turn_that_is_forgotten_with_output_owed_ends_as_an_abort() {
    let (mut conn, mut workspace) = (echo(), Workspace::new());
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    read(&mut live, b"hello");
    expect_write(&mut live, |write| write.wrote(2));
    read(&mut live, b"lost");
    forget(live);
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    match live.poll() {
        Action::Close(report) => assert!(report.counters.unsent == 3 && report.is_abort(), "{report:?}"),
        action => panic!("{action:?}"),
    }
}

/// A workspace that a forgotten turn left dirty harms no other connection.
#[test]
fn i5_forgotten_turn_of_one_connection_leaves_others_alone() {
    let (mut bad, mut good, mut workspace) = (echo(), echo(), Workspace::new());
    let mut live = bad.lend(&mut workspace, Time::ZERO);
    read(&mut live, b"secret");
    forget(live);
    let mut live = good.lend(&mut workspace, Time::ZERO);
    read(&mut live, b"mine");
    expect_write(&mut live, |write| write.with_slices(|slices, _| assert_eq!(slices, [&b"mine"[..]])));
}

#[test]
fn nothing_is_asked_of_the_transport_when_no_input_is_wanted() {
    for at in [At::BlockedOnBytes, At::FileInFlight, At::Paused, At::PeerEnded, At::Closed] {
        let mut rig = Scenario::new().at(at);
        let mut live = rig.conn.lend(&mut rig.workspace, rig.now);
        let read = live.read_with(|_| -> Result<usize, Blocked> { panic!("nobody wants it") });
        assert_eq!(read, Read::NotWanted, "{at:?}");
    }
}

/// Row A1: a plain value that goes to another thread and back.
#[test]
fn a1_connection_and_workspace_are_plain_values() {
    fn is_plain<T: Send + Sync + 'static>() {}
    is_plain::<Connection<Script>>();
    is_plain::<Workspace>();
    let mut rig = Rig::new(Script::default());
    rig.feed("half a li");
    let conn = std::thread::spawn(move || rig.conn).join().expect("nothing panics");
    let mut moved = Rig::on(conn);
    let mut live = moved.conn.lend(&mut moved.workspace, moved.now);
    live.read_with(|slot| {
        slot[..3].copy_from_slice(b"ne\n");
        Ok(3)
    });
    match live.poll() {
        Action::Write(write) => write.with_slices(|slices, _| assert_eq!(slices.concat(), b"half a line[0]\n")),
        action => panic!("{action:?}"),
    }
}
