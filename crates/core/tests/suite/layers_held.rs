//! What layers hold back: for want of room, behind a pause, until a flush.

use crate::support::layers::{Escapes, Records};
use crate::support::rig::Rig;
use crate::support::script::{Hooks, Script};
use crate::support::{cases, ms};
use drywire_core::layer::{Layer, LayerError, Sink, Stack};
use drywire_core::{Connection, Limits, Protocol, Reason};
use proptest::prelude::*;

/// Every byte that comes becomes a hundred: decompression.
#[derive(Debug, Default)]
struct Swells {
    held: Vec<u8>,
}

impl Layer for Swells {
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
        self.held.extend(received.iter().flat_map(|byte| [*byte; 100]));
        let n = self.held.len().min(plain.room());
        plain.push(&self.held[..n]);
        self.held.drain(..n);
        Ok(())
    }

    fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        wire.push(plain);
        Ok(plain.len())
    }
}

fn echo() -> Hooks {
    Hooks::new().on_consume(|input, cx| {
        cx.write(input)?;
        Ok(input.len())
    })
}

#[test]
fn bytes_held_for_want_of_room_come_out_in_the_same_turn() {
    let mut rig = Rig::on(Connection::with_layer(echo(), Swells::default()));
    rig.net.incoming.extend(b"abcdefghijklmnopqrst");
    rig.turn();
    let expected: Vec<u8> = b"abcdefghijklmnopqrst".iter().flat_map(|byte| [*byte; 100]).collect();
    assert!(rig.net.taken == expected, "{}", rig.net.taken.len());
}

/// Room for three records is lent while they are made, and not kept for a line.
#[test]
fn i2_line_that_is_not_taken_holds_little() {
    let mut rig = Rig::on(Connection::with_layer(echo(), Records::default()));
    rig.settle();
    rig.net.room = 0;
    rig.feed([&[4][..], &b"line".map(|b| b ^ 0x55)].concat());
    assert!(rig.conn.held_bytes() >= 5 && rig.net.taken.is_empty());
    assert!(rig.conn.heap_bytes() < 8 * 1024, "{} bytes", rig.conn.heap_bytes());
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.net.taken.len(), 5);
}

/// Scar libevent#690: decrypted bytes parked while reading is off.
#[test]
fn bytes_held_behind_a_pause_are_delivered_without_a_socket_event() {
    let mut sender = Rig::on(Connection::with_layer(echo(), Records::default()));
    sender.feed([&[4][..], &b"p 5\n".map(|b| b ^ 0x55)].concat());
    let wire = sender.net.taken;
    assert_eq!(wire.len(), 5);

    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    let behind = [&[11][..], &b"w 1\nw 2\nend".map(|b| b ^ 0x55)].concat();
    rig.feed([wire, behind].concat());
    let paused = rig.net.taken.len();
    assert!(!rig.wait.read && rig.net.incoming.is_empty());
    rig.at(ms(5));
    assert!(rig.net.taken.len() > paused);
    assert_eq!(rig.conn.held_bytes(), 3);
}

#[test]
fn bytes_held_in_a_layer_behind_a_pause_are_delivered_without_a_socket_event() {
    let seen = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&seen);
    let protocol = Hooks::new()
        .on_consume(move |input, cx| {
            count.set(count.get() + input.len());
            cx.disable_read();
            Ok(input.len())
        })
        .on_command(|_, cx| {
            cx.enable_read();
            Ok(())
        });
    let mut rig = Rig::on(Connection::with_layer(protocol, Swells::default()));
    rig.feed([b'x'; 50]);
    assert_eq!(seen.get(), 1024, "5000 bytes came, 1024 may wait at a time");
    for _ in 0..4 {
        rig.turn_with(|live| live.handle_command(1).expect("nothing stands in the way"));
    }
    assert_eq!(seen.get(), 5000);
}

#[test]
fn end_of_input_waits_for_what_is_held() {
    let protocol = echo().on_end(|rest, cx| {
        write!(cx, "|{}", rest.len())?;
        cx.close();
        Ok(())
    });
    let mut rig = Rig::on(Connection::with_layer(protocol, Stack::new(Swells::default(), Swells::default())));
    rig.net.incoming.extend(b"ab");
    rig.feed_end();
    assert_eq!(rig.net.taken.len(), 20_000 + 2);
    assert!(rig.net.taken.ends_with(b"bb|0"));
    assert_eq!(rig.report().reason, Reason::Finished);
}

#[test]
fn gathered_output_goes_out_when_nothing_more_is_queued() {
    let mut rig = Rig::on(Connection::with_layer(Script::default(), Records::default()));
    rig.settle();
    assert_eq!(rig.net.taken.len(), 7, "one record, not full");
}

/// Known-bad control: a layer that puts out more than fits is found out.
#[test]
#[should_panic(expected = "a layer put out 20 bytes where 10 fit")]
fn layer_that_overflows_its_sink_is_found_out() {
    struct Overflows;
    impl Layer for Overflows {
        fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
            plain.push(&[received, received].concat());
            Ok(())
        }
        fn send(&mut self, plain: &[u8], _: &mut Sink<'_>) -> Result<usize, LayerError> {
            Ok(plain.len())
        }
    }
    let limits = Limits { input_bytes: 10, ..Hooks::LIMITS };
    Rig::on(Connection::with_layer(echo(), Overflows).with_limits(limits)).feed("0123456789");
}

proptest! {
    #![proptest_config(cases(100))]

    /// A stack by itself: what goes in at one end comes out at the other, whatever
    /// the room in between.
    #[test]
    fn stack_is_the_identity_under_any_room(
        data in prop::collection::vec(any::<u8>(), 0..3000),
        pieces in prop::collection::vec(1usize..400, 1..6),
        room in 1usize..300,
    ) {
        let stack = || Stack::new(Records::default(), Stack::new(Escapes::default(), Records::default()));
        let (mut sender, mut receiver) = (stack(), stack());
        let mut wire = Vec::new();
        let mut rest = &data[..];
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let n = sender.send(&rest[..rest.len().min(*piece)], &mut Sink::unbounded(&mut wire)).expect("no error");
            rest = &rest[n..];
            if piece % 2 == 0 {
                sender.flush(&mut Sink::unbounded(&mut wire)).expect("no error");
            }
        }
        sender.send_end(&mut Sink::unbounded(&mut wire)).expect("no error");

        let (mut got, mut none) = (Vec::new(), Vec::new());
        let mut wire = &wire[..];
        while !wire.is_empty() || receiver.is_holding() {
            let n = if receiver.is_holding() { 0 } else { wire.len().min(pieces[0]) };
            let mut plain = Vec::new();
            receiver.receive(&wire[..n], &mut Sink::new(&mut plain, room), &mut Sink::unbounded(&mut none)).expect("no error");
            prop_assert!(n > 0 || !plain.is_empty(), "I3: holds, and puts nothing out");
            got.extend(plain);
            wire = &wire[n..];
        }
        prop_assert!(receiver.receive_end().is_ok());
        prop_assert!(got == data);
    }
}
