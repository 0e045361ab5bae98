//! What the peers of scripts say. Weights are chosen so that most dialogs are long
//! and every way to end one comes up in a few hundred seeds.

use super::fixture::{ABSENT, HUGE, LARGE, SMALL};
use super::script::Speaks;
use drywire_sim::Random;

/// What makes the [`Narrator`](super::Narrator) abort: always the last a peer says.
pub(super) const ABORT: &[u8] = b"ABORT\n";

/// The longest message of [`Speaks::Messages`], in bytes.
pub(super) const LONGEST_MESSAGE: u32 = 4096;

/// Messages for this protocol, whole ones but perhaps the last.
pub(super) fn draw(speaks: Speaks, random: &mut Random) -> Vec<Vec<u8>> {
    let draw = match speaks {
        Speaks::Bytes => return blobs(random),
        Speaks::Lines => echo_line,
        Speaks::Dialog => request,
        Speaks::Narrator => told,
        Speaks::Messages => framed,
    };
    let mut messages = Vec::new();
    let mut half_closed = false;
    for _ in 0..random.between(1, 30) {
        let message = draw(random);
        // Behind the protocol's own end, the peer sees that end or the reset: a race.
        if half_closed && message == ABORT {
            continue;
        }
        half_closed |= message == b"HALF\n";
        let is_abort = message == ABORT;
        messages.push(message);
        if is_abort {
            return messages;
        }
    }
    if random.one_in(4) {
        let len = random.between(1, 300);
        messages.push(text(len, random));
    }
    messages
}

/// Bytes of any value, from one to several times what the echo's queue holds.
fn blobs(random: &mut Random) -> Vec<Vec<u8>> {
    let count = random.between(1, 8);
    (0..count)
        .map(|_| {
            let len = random.pick(&[1, 100, 5000, 16 * 1024, 50_000]);
            let len = random.between(1, len);
            random.bytes(len)
        })
        .collect()
}

fn echo_line(random: &mut Random) -> Vec<u8> {
    let mut line = match random.between(0, 39) {
        0 => b"quit".to_vec(),
        // Around the bound, which counts the line's end.
        1 => filled(4096, random),
        2 => random.bytes(40).into_iter().filter(|byte| *byte != b'\n').collect(),
        _ => {
            let len = random.between(0, 400);
            text(len, random)
        }
    };
    line.extend_from_slice(if random.one_in(4) { b"\r\n" } else { b"\n" });
    line
}

fn request(random: &mut Random) -> Vec<u8> {
    let mut line = match random.between(0, 79) {
        0..=34 => b"NOOP".to_vec(),
        35..=54 => format!("GET {}", name(random)).into_bytes(),
        55..=74 => format!("SIZE {}", name(random)).into_bytes(),
        75..=76 => b"QUIT".to_vec(),
        77 => filled(10 * 1024, random),
        _ => random.pick(&[&b""[..], b"HELO", b"GET", b"GET ", b"noop", b"NOOP NOOP", b"SIZE"]).to_vec(),
    };
    line.extend_from_slice(if random.one_in(4) { b"\r\n" } else { b"\n" });
    line
}

fn told(random: &mut Random) -> Vec<u8> {
    let mut line = match random.between(0, 119) {
        0..=59 => {
            let len = random.between(0, 200);
            [b"SAY ", &text(len, random)[..]].concat()
        }
        60..=74 => format!("MANY {}", random.between(1, 63)).into_bytes(),
        75..=87 => format!("POUR {}", random.between(1, 12)).into_bytes(),
        88..=95 => b"REST".to_vec(),
        96..=109 => format!("GET {}", name(random)).into_bytes(),
        110..=111 => b"HALF".to_vec(),
        112..=113 => b"FAIL".to_vec(),
        114..=115 => b"ABORT".to_vec(),
        116..=117 => b"BYE".to_vec(),
        118 => format!("MANY {}", random.between(64, 70)).into_bytes(),
        _ => filled(4096, random),
    };
    line.push(b'\n');
    line
}

fn framed(random: &mut Random) -> Vec<u8> {
    let message = match random.between(0, 59) {
        0..=4 => Vec::new(),
        5..=7 => filled(LONGEST_MESSAGE as usize, random),
        8 => {
            // Far beyond the bound; what would follow does not matter.
            let length: u64 = random.pick(&[1 << 32, 1 << 40, 1 << 63, u64::MAX]);
            return length.to_le_bytes().to_vec();
        }
        _ => {
            let len = random.between(1, 400);
            random.bytes(len)
        }
    };
    [&(message.len() as u64).to_le_bytes()[..], &message].concat()
}

fn name(random: &mut Random) -> &'static str {
    match random.between(0, 99) {
        0..=51 => random.pick(&SMALL),
        52..=69 => random.pick(&LARGE),
        70..=71 => HUGE,
        _ => random.pick(&ABSENT).0,
    }
}

/// A line around `bound`, without its end: fits just, or just not, or is far longer.
fn filled(bound: usize, random: &mut Random) -> Vec<u8> {
    let low = bound - 3;
    let len = if random.one_in(3) { 2 * bound } else { random.between(low, bound + 2) };
    text(len, random)
}

fn text(len: usize, random: &mut Random) -> Vec<u8> {
    random.bytes(len).into_iter().map(|byte| b' ' + byte % 95).collect()
}
