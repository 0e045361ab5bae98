//! How whoever waits learns that what was owed has been taken, and what became of a
//! command.

use crate::support::layers::Records;
use crate::support::rig::Rig;
use crate::support::script::Hooks;
use drywire_core::layer::Layer;
use drywire_core::{Connection, Limits, Protocol, Reason, TransportError};
use std::convert::Infallible;

/// A command writes as many bytes as it says.
fn writes() -> Hooks {
    Hooks::new().on_command(|n, cx| cx.write(&vec![b'x'; n as usize]))
}

/// Commands that write, to a peer that takes nothing yet.
fn blocked<L: Layer>(layer: L, bytes: u32) -> Rig<Hooks, L> {
    let mut rig = Rig::on(Connection::with_layer(writes(), layer).with_limits(Limits::DEFAULT));
    rig.net.room = 0;
    rig.turn_with(|live| live.handle_command(bytes).expect("it is idle"));
    rig
}

#[test]
fn w2_mark_is_passed_when_the_last_byte_before_it_is_taken() {
    let mut rig = blocked((), 10);
    let mut first = rig.conn.mark();
    rig.turn_with(|live| live.handle_command(5).expect("it is idle"));
    let mut second = rig.conn.mark();
    for taken in 1..=15 {
        rig.net.room = 1;
        rig.turn();
        assert_eq!(rig.net.taken.len(), taken);
        assert_eq!((rig.conn.is_past(&mut first), rig.conn.is_past(&mut second)), (taken >= 10, taken >= 15));
    }
    assert!(rig.conn.is_past(&mut rig.conn.mark()), "nothing is owed");
}

#[test]
fn w2_mark_counts_the_contents_of_files() {
    let protocol = Hooks::new()
        .on_command(|_, cx| cx.open_file(b"file").map(|_| ()))
        .on_file(|opened, cx| cx.stream_file(opened.id, 0, opened.result.expect("it is there")));
    let mut rig = Rig::new(protocol);
    rig.net.put_file(b"file", vec![b'f'; 100]);
    rig.net.room = 0;
    rig.turn_with(|live| live.handle_command(0).expect("it is idle"));
    let mut mark = rig.conn.mark();
    rig.net.room = 99;
    rig.turn();
    assert!(!rig.conn.is_past(&mut mark));
    rig.net.room = 1;
    rig.turn();
    assert!(rig.conn.is_past(&mut mark));
}

#[test]
fn w4_written_out_is_true_once_when_nothing_is_owed_any_more() {
    let mut rig = blocked((), 10);
    for taken in 1..=10 {
        rig.net.room = 1;
        rig.turn();
        assert_eq!(rig.conn.take_written_out(), taken == 10);
    }
    assert!(!rig.conn.take_written_out(), "it was said");
    rig.net.room = 100;
    rig.turn_with(|live| live.handle_command(5).expect("it is idle"));
    assert!(rig.conn.take_written_out());
    rig.net.room = 1;
    rig.turn_with(|live| live.handle_command(5).expect("it is idle"));
    rig.turn_with(|live| live.abort());
    assert!(!rig.conn.take_written_out(), "what was dropped is not written out");
}

/// What a layer says by itself was written by nobody.
#[test]
fn w4_handshake_is_not_written_out_and_what_waited_for_it_is() {
    let mut rig = Rig::on(Connection::with_layer(writes(), Records::with_handshake()));
    rig.settle();
    assert!(rig.net.taken.len() == 1 && !rig.conn.take_written_out());
    rig.turn_with(|live| live.handle_command(5).expect("it is idle"));
    assert!(!rig.conn.take_written_out(), "the layer waits for the peer");
    rig.feed([crate::support::layers::HELLO]);
    assert!(rig.conn.take_written_out() && !rig.conn.take_written_out());
    rig.turn_with(|live| live.close());
    assert!(rig.net.taken.ends_with(&[0]) && !rig.conn.take_written_out(), "nor is its end");
}

/// Layers gather, and what they made of it is longer: only its last byte counts.
#[test]
fn w2_mark_behind_layers_is_passed_with_the_last_byte_that_they_made_of_it() {
    for bytes in [1, 100, 101, 1000, 40_000] {
        let whole = {
            let mut rig = blocked(Records::default(), bytes);
            rig.net.room = usize::MAX;
            rig.turn();
            rig.net.taken.len()
        };
        assert!(whole > bytes as usize, "the layer adds something");
        let mut rig = blocked(Records::default(), bytes);
        let mut mark = rig.conn.mark();
        rig.net.room = whole - 1;
        rig.turn();
        assert!(!rig.conn.is_past(&mut mark), "{bytes} bytes, one byte of {whole} is still owed");
        rig.net.room = 1;
        rig.turn();
        assert!(rig.conn.is_past(&mut mark), "{bytes} bytes");
    }
}

#[test]
fn w2_mark_behind_a_handshake_is_not_passed_before_it() {
    let mut rig = Rig::on(Connection::with_layer(writes(), Records::with_handshake()));
    rig.turn_with(|live| live.handle_command(10).expect("it is idle"));
    let mut mark = rig.conn.mark();
    assert!(!rig.conn.is_past(&mut mark), "it waits for the peer");
    rig.feed([crate::support::layers::HELLO]);
    assert!(rig.conn.is_past(&mut mark));
}

#[test]
fn fault_66_what_was_dropped_is_never_past_its_mark() {
    fn fails<P: Protocol<Command = u32>, L: Layer>(mut rig: Rig<P, L>) {
        let mut before = rig.conn.mark();
        rig.net.write_fault = Some(TransportError::Reset);
        rig.turn();
        assert!(rig.close.is_some());
        assert!(!rig.conn.is_past(&mut before) && !rig.conn.is_past(&mut rig.conn.mark()));
    }
    fails(blocked((), 10));
    fails(blocked(Records::default(), 10));
    fails(blocked(Records::default(), 40_000));
}

#[test]
fn fault_66_command_that_no_handler_dealt_with_is_held_to_the_end() {
    // Undone for want of room, and not made again before the end.
    let mut rig = blocked((), 200 * 1024);
    assert!(!rig.conn.holds_command(), "handled");
    rig.turn_with(|live| live.handle_command(100 * 1024).expect("it is idle"));
    assert!(rig.conn.holds_command() && !rig.conn.is_ending());
    rig.turn_with(|live| live.abort());
    assert_eq!(rig.close.as_ref().map(|report| &report.reason), Some(&Reason::Aborted));
    assert!(rig.conn.holds_command() && rig.conn.is_ending());
}

#[test]
fn fault_66_command_whose_handler_gave_up_was_in_vain() {
    // More than could ever be owed, so the call is undone and the connection ends.
    let mut rig = Rig::new(writes());
    rig.turn_with(|live| live.handle_command(Limits::DEFAULT.output_bytes + 1).expect("it is idle"));
    assert!(rig.conn.holds_command() && rig.conn.is_ending());
}

#[test]
fn fault_66_command_that_ends_the_connection_was_handled() {
    let mut rig = Rig::new(Hooks::new().on_command(|_, cx| {
        cx.close();
        Ok(())
    }));
    rig.turn_with(|live| live.handle_command(1).expect("it is idle"));
    assert!(!rig.conn.holds_command() && rig.conn.is_ending());
}

#[test]
fn fault_64_command_weighs_its_own_size_unless_its_protocol_knows_better() {
    struct Knows;
    impl Protocol for Knows {
        type Event = Infallible;
        type Command = Vec<u8>;
        type Error = Infallible;
        fn consume(
            &mut self,
            input: &[u8],
            _: &mut drywire_core::Context<'_, Self>,
        ) -> Result<usize, drywire_core::Stop<Infallible>> {
            Ok(input.len())
        }
        fn weigh(command: &Vec<u8>) -> usize {
            size_of::<Vec<u8>>() + command.capacity()
        }
    }
    assert_eq!(Hooks::weigh(&7), 4);
    assert_eq!(Knows::weigh(&Vec::with_capacity(100)), size_of::<Vec<u8>>() + 100);
}
