//! A stack of layers, against no layer: what goes in at one end comes out at the
//! other, in whatever portions; and bytes that no layer made end in a typed error.

use crate::shared::layers::{Escapes, Records};
use crate::wire::{Peer, talk};
use drywire_core::layer::{Layer, Sink, Stack};
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_protocols::ByteEcho;

/// The three layers of the core's own tests, without a handshake: one side alone can talk.
fn stack() -> impl Layer {
    Stack::new(Records::default(), Stack::new(Escapes::default(), Records::default()))
}

fn unbounded(take: impl FnOnce(&mut Sink<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    take(&mut Sink::unbounded(&mut bytes));
    bytes
}

/// What a peer with the same layers puts on the wire for `plain`, its end included.
fn encode(plain: &[u8], portion: usize) -> Vec<u8> {
    let mut layer = stack();
    let mut wire = unbounded(|wire| layer.open(wire).expect("no handshake"));
    for piece in plain.chunks(portion) {
        let mut rest = piece;
        while !rest.is_empty() {
            wire.extend(unbounded(|wire| {
                let n = layer.send(rest, wire).expect("nothing is wrong with it");
                assert!(n > 0 && n <= rest.len(), "{n} of {}", rest.len());
                rest = &rest[n..];
            }));
        }
        wire.extend(unbounded(|wire| layer.flush(wire).expect("nothing is wrong with it")));
    }
    wire.extend(unbounded(|wire| layer.send_end(wire).expect("nothing is wrong with it")));
    wire
}

/// What the peer makes of `wire`, with room for a few bytes at a time.
fn decode(wire: &[u8], portion: usize) -> Vec<u8> {
    let (mut layer, mut plain) = (stack(), Vec::new());
    unbounded(|wire| layer.open(wire).expect("no handshake"));
    for piece in wire.chunks(portion) {
        let mut piece = piece;
        loop {
            let before = plain.len();
            let (room, mut out) = (before + portion, Vec::new());
            layer
                .receive(piece, &mut Sink::new(&mut plain, room), &mut Sink::unbounded(&mut out))
                .expect("the connection made it");
            assert!(plain.len() <= room, "more than there was room for");
            piece = &[];
            if !layer.is_holding() {
                break;
            }
            assert!(plain.len() > before, "it holds back though there is room");
        }
    }
    layer.receive_end().expect("a clean end");
    plain
}

/// Portions come first; the rest is what is said, either through the layers or as it is.
pub fn layers(data: &[u8]) {
    let Some(([raw, bound, a, b, c], says)) = data.split_first_chunk() else { return };
    let portion = usize::from(*a).max(1);
    let (reads, writes) = ([*a, b & 15, 1], [*c, b >> 4, 1]);
    let small = u32::from(*bound) + 1;
    let limits = Limits { input_bytes: small, output_bytes: small, linger_bytes: u32::MAX, ..ByteEcho::LIMITS };
    let wire = if raw % 2 == 0 { encode(says, portion) } else { says.to_vec() };
    let peer = Peer { reads: &reads, writes: &writes, ..Peer::says(&wire) };
    let talk = talk(Connection::with_layer(ByteEcho, stack()).with_limits(limits), &peer, []);
    let close = talk.close.expect("the peer ended");
    if raw % 2 == 0 {
        assert_eq!(close.reason, Reason::Finished);
        assert_eq!(decode(&talk.output, portion), says);
    } else {
        assert!(matches!(close.reason, Reason::Finished | Reason::Layer(_)), "{:?}", close.reason);
    }
}
