//! Being told when there is room again (rows B5, B12; DESIGN 3.5).

use crate::support::net::Chops;
use crate::support::pair::Pair;
use crate::support::pattern;
use crate::support::probe::Probe;
use crate::support::rig::Rig;
use crate::support::script::{Cx, Done, Hooks};
use drywire_core::Connection;
use std::cell::RefCell;
use std::rc::Rc;

/// Writes 3000 bytes, asks for room, and records what is available when told.
fn asks_for(bytes: Option<usize>) -> (Hooks, Rc<RefCell<Vec<usize>>>) {
    let told = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&told);
    let protocol = Hooks::new()
        .on_consume(move |_, cx| {
            cx.write(&[b'x'; 3000])?;
            cx.request_room(bytes);
            Ok(1)
        })
        .on_room(move |cx| {
            log.borrow_mut().push(cx.available());
            Ok(())
        });
    (protocol, told)
}

#[test]
fn b12_room_for_n_bytes_is_told_once_when_it_is_there() {
    let (protocol, told) = asks_for(Some(2000));
    let mut rig = Rig::new(protocol);
    rig.net.room = 0;
    rig.feed("x");
    rig.net.room = 903;
    rig.settle();
    assert!(told.borrow().is_empty(), "one byte is missing");
    rig.net.room = 1;
    rig.settle();
    assert_eq!(*told.borrow(), [2000]);
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(told.borrow().len(), 1);
}

#[test]
fn b12_room_without_n_is_told_when_nothing_is_owed() {
    let (protocol, told) = asks_for(None);
    let mut rig = Rig::new(protocol);
    rig.net.room = 2999;
    rig.feed("x");
    assert!(told.borrow().is_empty());
    rig.net.room = 1;
    rig.settle();
    assert_eq!(*told.borrow(), [4096]);
}

#[test]
fn b12_more_room_than_the_bound_is_the_bound_and_none_is_at_once() {
    let (protocol, told) = asks_for(Some(usize::MAX));
    let mut rig = Rig::new(protocol);
    rig.feed("x");
    assert_eq!(*told.borrow(), [4096]);
    let (protocol, told) = asks_for(Some(0));
    let mut rig = Rig::new(protocol);
    rig.net.room = 0;
    rig.feed("x");
    assert_eq!(*told.borrow(), [1096]);
}

#[test]
fn b12_room_call_that_finds_no_room_is_made_again_in_the_same_turn() {
    let protocol = Hooks::new()
        .on_consume(|_, cx| {
            cx.write(&[b'x'; 3000])?;
            cx.request_room(Some(0));
            Ok(1)
        })
        .on_room(|cx| cx.write(&[b'r'; 3000]));
    let mut rig = Rig::new(protocol);
    rig.net.incoming.extend(b"x");
    rig.turn();
    assert_eq!(rig.net.taken.len(), 6000);
}

/// Asking again without writing must not keep the turn busy for ever, and is not
/// forgotten either.
#[test]
fn i3_room_that_is_asked_for_again_in_vain_ends_the_turn() {
    let told = Rc::new(RefCell::new(0));
    let log = Rc::clone(&told);
    let mut rig = Rig::new(Hooks::new().on_consume(ask).on_room(move |cx| {
        *log.borrow_mut() += 1;
        cx.request_room(Some(1));
        Ok(())
    }));
    fn ask(_: &[u8], cx: &mut Cx<'_>) -> Done<usize> {
        cx.request_room(Some(1));
        Ok(1)
    }
    rig.net.incoming.extend(b"x");
    rig.turn();
    assert_eq!(*told.borrow(), 1);
    rig.turn();
    assert_eq!(*told.borrow(), 2);
}

#[test]
fn b12_producer_that_follows_room_sends_everything_through_a_narrow_pipe() {
    let data = pattern(50_000);
    for piece in [1, 333, 1000] {
        let mut probe = Probe::sending(data.clone());
        probe.piece = piece;
        let mut pair = Pair::new(Connection::new(probe), Connection::new(Probe { ends: true, ..Probe::default() }), 77);
        pair.run();
        assert!(pair.b.conn.protocol().got == data && pair.b.conn.protocol().got_end);
    }
}

#[test]
fn b5_writability_is_wanted_only_while_something_is_owed() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| {
        cx.write(input)?;
        Ok(input.len())
    }));
    rig.settle();
    assert!(!rig.wait.write);
    rig.net.room = 1;
    rig.feed("abc");
    assert!(rig.wait.write);
    rig.net.room = usize::MAX;
    rig.settle();
    assert!(!rig.wait.write);
    assert_eq!(rig.sent(), "abc");
}

/// FAULTS 15, 16: spurious would-blocks and one-byte writes change nothing.
#[test]
fn fault_15_16_one_byte_writes_with_would_blocks_are_byte_identical() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| {
        cx.write(&input[..1])?;
        cx.write_shared(vec![b'-'; 600].into())?;
        Ok(1)
    }));
    rig.net.writes = Chops::of(&[1, 0, 0, 1, 0]);
    rig.net.reads = Chops::of(&[5, 0]);
    rig.feed(pattern(50));
    let expected: Vec<u8> = pattern(50).into_iter().flat_map(|byte| [&[byte][..], &[b'-'; 600]].concat()).collect();
    assert!(rig.net.taken == expected);
}
