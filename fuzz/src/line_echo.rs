//! The line echo, against a model that looks at one byte after the other.

use crate::wire::{Peer, talk};
use drywire_core::{Connection, Limit, Limits, Protocol, Reason};
use drywire_protocols::LineEcho;

/// What the peer gets, and whether a line was too long.
fn model(says: &[u8], max: usize) -> (Vec<u8>, bool) {
    let mut echo = Vec::new();
    let mut line = Vec::new();
    for byte in says {
        line.push(*byte);
        if *byte == b'\n' {
            echo.extend(&line);
            if line == b"quit\n" || line == b"quit\r\n" {
                return (echo, false);
            }
            line.clear();
        } else if line.len() == max {
            echo.extend(b"error: line too long\n");
            return (echo, true);
        }
    }
    echo.extend(line);
    (echo, false)
}

/// The first bytes say how it is split and bounded; the rest is sent.
pub fn line_echo(data: &[u8]) {
    let Some(([bound, read, write, stutter], says)) = data.split_first_chunk() else { return };
    let small = u32::from(*bound) + 1;
    let limits = Limits { input_bytes: small, output_bytes: small, linger_bytes: u32::MAX, ..LineEcho::LIMITS };
    let (reads, writes) = ([*read, stutter & 15, 1], [*write, stutter >> 4, 1]);
    let peer = Peer { reads: &reads, writes: &writes, ..Peer::says(says) };
    let talk = talk(Connection::new(LineEcho).with_limits(limits), &peer, []);

    let (echo, too_long) = model(says, small as usize);
    assert_eq!(talk.output, echo);
    let close = talk.close.expect("the peer ended");
    let reason = if too_long { Reason::Limit(Limit::Input(small as usize)) } else { Reason::Finished };
    assert_eq!(close.reason, reason);
    assert_eq!((close.counters.unsent, close.counters.received), (0, says.len() as u64));
}
