//! The byte echo: what comes is what goes.

use crate::wire::{Peer, talk};
use drywire_core::{Connection, Limits, Protocol, Reason};
use drywire_protocols::ByteEcho;

/// The first bytes say how it is split and bounded; the rest is sent.
pub fn byte_echo(data: &[u8]) {
    let Some(([bound, read, write, stutter], says)) = data.split_first_chunk() else { return };
    let small = u32::from(*bound) + 1;
    let limits = Limits { input_bytes: small, output_bytes: small, ..ByteEcho::LIMITS };
    // A portion of 0 alone would never move.
    let (reads, writes) = ([*read, stutter & 15, 1], [*write, stutter >> 4, 1]);
    let peer = Peer { reads: &reads, writes: &writes, ..Peer::says(says) };
    let talk = talk(Connection::new(ByteEcho).with_limits(limits), &peer, []);

    assert_eq!(talk.output, says);
    let close = talk.close.expect("the peer ended");
    assert_eq!(close.reason, Reason::Finished);
    assert_eq!((close.counters.unsent, close.counters.discarded), (0, 0));
}
