//! The same bytes are the same talk, however they are split (FAULTS 16, 17).

use crate::shared::rich::{self, Op, Rich};
use crate::wire::{Peer, Talk, talk};
use drywire_core::framing::{Decode, Delimiter, Encode, LengthPrefix, Lines, Messages};
use drywire_core::{Connection, FileError, Limits, Protocol, Reason, Refused, Writer};
use drywire_protocols::{ByteEcho, Dialog, Hub, LineEcho};
use std::fmt::Debug;

/// Text only, so that there are bad messages.
#[derive(Clone, Copy, Debug)]
struct Text;

impl Decode for Text {
    type Message = String;
    type Error = ();

    fn decode(&self, payload: &[u8]) -> Result<String, ()> {
        core::str::from_utf8(payload).map(str::to_owned).map_err(|_| ())
    }
}

impl Encode for Text {
    type Message = String;

    fn encode(&self, message: &String, out: &mut Writer<'_>) -> Result<(), Refused> {
        out.write(message.as_bytes())
    }
}

/// What must not depend on the split. How much of what comes after the end was
/// read is not among it.
#[derive(Debug, PartialEq)]
struct Seen<Event, Error> {
    output: Vec<u8>,
    events: Vec<Event>,
    files: Vec<Vec<u8>>,
    end: Option<Reason<Error>>,
}

fn seen<P: Protocol>(talk: Talk<P>) -> Seen<P::Event, P::Error> {
    Seen {
        output: talk.output,
        events: talk.events,
        files: talk.opened.into_iter().map(|(_, name)| name).collect(),
        end: talk.close.map(|report| report.reason),
    }
}

fn table(name: &[u8]) -> Result<u64, FileError> {
    match name {
        [] => Err(FileError::NotFound),
        [b'n', ..] => Err(FileError::Forbidden),
        [first, ..] => Ok(rich::file_len(*first)),
    }
}

fn same<P: Protocol>(protocol: impl Fn() -> P, says: &[u8], reads: &[u8], writes: &[u8], late: bool)
where
    P::Event: PartialEq + Debug,
    P::Error: PartialEq + Debug,
{
    let limits = Limits { linger_bytes: u32::MAX, ..P::LIMITS };
    let run = |reads: &[u8], writes: &[u8], opens_late| {
        let content = |name: &[u8], at| rich::file_byte(name[0], at);
        let peer = Peer { reads, writes, opens_late, files: table, content, ..Peer::says(says) };
        seen(talk(Connection::new(protocol()).with_limits(limits), &peer, []))
    };
    let whole = run(&[], &[], false);
    assert_eq!(run(&[1], &[], false), whole, "read byte by byte");
    assert_eq!(run(&[], &[1], false), whole, "written byte by byte");
    assert_eq!(run(reads, writes, late), whole, "split as told");
}

/// The rich protocol's messages without what is a question of time: how much an
/// abort cuts off, and when there is room.
fn without_haste(says: &[u8]) -> Vec<u8> {
    let mut messages = says.to_vec();
    let mut at = 0;
    while at < messages.len() && messages[at] <= rich::LONGEST {
        let end = messages.len().min(at + 1 + usize::from(messages[at]));
        for pair in messages[at + 1..end].chunks_exact_mut(2) {
            let haste = Op::all(pair).any(|op| matches!(op, Op::Abort | Op::Room(_) | Op::Careless(_) | Op::Stale));
            if haste {
                pair[0] = 0;
            }
        }
        at = end;
    }
    messages
}

/// Protocol and portions come first; the rest is sent.
pub fn split(data: &[u8]) {
    let Some(([which, a, b, c, d], says)) = data.split_first_chunk() else { return };
    // A portion of 0 alone would never move.
    let (reads, writes) = ([*a, *b, 1], [*c, *d, 1]);
    let late = which & 128 != 0;
    match which % 8 {
        0 => same(|| ByteEcho, says, &reads, &writes, late),
        1 => same(|| LineEcho, says, &reads, &writes, late),
        2 => same(Dialog::new, says, &reads, &writes, late),
        3 => same(|| Messages::new(Lines::new(40), Text), says, &reads, &writes, late),
        4 => same(|| Messages::new(Delimiter::new(b"aba", 40), Text), says, &reads, &writes, late),
        5 => same(|| Messages::new(LengthPrefix::u16_be(40), Text), says, &reads, &writes, late),
        6 => same(|| Hub::with_longest(300), says, &reads, &writes, late),
        _ => same(Rich::default, &without_haste(says), &reads, &writes, late),
    }
}
