//! The dialog with a table of files, against a model that is its documentation.

use crate::wire::{Peer, talk};
use drywire_core::{Connection, FileError, Limit, Limits, Protocol, Reason};
use drywire_protocols::{BadCommand, Dialog};

/// The length of a file is what its name adds up to, but for some names.
fn table(name: &[u8]) -> Result<u64, FileError> {
    match name {
        b"no" => Err(FileError::NotFound),
        b".." => Err(FileError::Forbidden),
        b"dir" => Err(FileError::NotRegular),
        b"many" => Err(FileError::TooMany),
        b"io" => Err(FileError::Io(5)),
        b"e" => Ok(0),
        _ => Ok(name.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 1000),
    }
}

fn content(name: &[u8], offset: u64) -> u8 {
    name[usize::try_from(offset).expect("files are small here") % name.len()]
}

/// What the peer gets, and why it ends.
fn model(says: &[u8], max: usize) -> (Vec<u8>, Reason<BadCommand>) {
    let mut out = Vec::new();
    let mut rest = says;
    while let Some(end) = rest.iter().take(max).position(|byte| *byte == b'\n') {
        let mut line = &rest[..end];
        rest = &rest[end + 1..];
        if line.ends_with(b"\r") {
            line = &line[..line.len() - 1];
        }
        let words: Vec<&[u8]> = line.splitn(2, |byte| *byte == b' ').collect();
        match words[..] {
            [b"NOOP"] => out.extend(b"OK\n"),
            [b"QUIT"] => {
                out.extend(b"OK\n");
                return (out, Reason::Finished);
            }
            [verb @ (b"GET" | b"SIZE"), name] if !name.is_empty() => match table(name) {
                Err(error) => out.extend(format!("-550 {error}\n").bytes()),
                Ok(len) => {
                    out.extend(format!("OK {len}\n").bytes());
                    if verb == b"GET" {
                        out.extend((0..len).map(|at| content(name, at)));
                    }
                }
            },
            _ => {
                out.extend(b"-500 protocol error, bad command\n");
                return (out, Reason::Peer(BadCommand));
            }
        }
    }
    if rest.len() >= max {
        out.extend(b"-500 protocol error, line too long\n");
        return (out, Reason::Limit(Limit::Input(max)));
    }
    (out, Reason::Finished)
}

/// The first bytes say how it is split and bounded; the rest is sent.
pub fn dialog(data: &[u8]) {
    let Some(([bound, read, write, stutter, late], says)) = data.split_first_chunk() else { return };
    let max = u32::from(*bound) + 1;
    // The longest answer is an error's: 35 bytes.
    let limits = Limits {
        input_bytes: max,
        output_bytes: 64,
        linger_bytes: u32::MAX,
        files: u16::from(late & 3) + 1,
        ..Dialog::LIMITS
    };
    let (reads, writes) = ([*read, stutter & 15, 1], [*write, stutter >> 4, 1]);
    let peer =
        Peer { reads: &reads, writes: &writes, opens_late: late & 4 != 0, files: table, content, ..Peer::says(says) };
    let talk = talk(Connection::new(Dialog::new()).with_limits(limits), &peer, []);

    let (out, reason) = model(says, max as usize);
    assert_eq!(talk.output, out);
    let close = talk.close.expect("the peer ended");
    assert_eq!(close.reason, reason);
    assert_eq!(close.counters.unsent, 0);
}
