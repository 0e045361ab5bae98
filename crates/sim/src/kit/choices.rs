//! A session out of arbitrary bytes: they choose what arrives, how it is cut, the
//! commands, the times and the faults.
//!
//! ```text
//! byte 0: how it is read   byte 1: how it is written   byte 2: which write is full
//! byte 3: bit 0 files open later, bit 1 turns of one byte, bit 2 comes to its end by a reset
//! then steps:  0nnnnnnn  the next n+1 bytes arrive      10nnnnnn  command n
//!              110nnnnn  n+1 deadlines pass             111nnnnn  the end: see `Step`
//! ```

use super::manner::{Manner, Sizes, Step};

/// The steps that `choices` stand for, and a manner that must not show. At most
/// `commands` commands are known.
pub(super) fn read(choices: &[u8], commands: usize) -> (Vec<Step<'_>>, Manner) {
    let (head, mut rest) = choices.split_at(choices.len().min(4));
    let knob = |n: usize| head.get(n).copied().unwrap_or(0);
    let mut steps = Vec::new();
    while let Some((choice, behind)) = rest.split_first() {
        rest = behind;
        match choice >> 5 {
            0..4 => {
                let n = usize::from(*choice) + 1;
                let (bytes, behind) = rest.split_at(n.min(rest.len()));
                rest = behind;
                steps.push(Step::Bytes(bytes));
            }
            4 | 5 if commands > 0 => steps.push(Step::Command(usize::from(choice & 0x3f) % commands)),
            4 | 5 => {}
            6 => steps.push(Step::Deadlines(usize::from(choice & 0x1f) + 1)),
            _ => {
                steps.push(match choice & 0x1f {
                    0..8 => Step::End,
                    8..14 => Step::Reset,
                    14..20 => Step::Drain,
                    20..26 => Step::Close,
                    _ => Step::Abort,
                });
                break;
            }
        }
    }
    steps.push(if knob(3) & 4 == 0 { Step::End } else { Step::Reset });
    let manner = Manner {
        reads: sizes(knob(0)),
        writes: sizes(knob(1)),
        full_at: u32::from(knob(2)),
        tight: None,
        budget: if knob(3) & 2 == 0 { usize::MAX } else { 1 },
        opens_later: knob(3) & 1 == 1,
    };
    (steps, manner)
}

/// Two sizes and perhaps a would-block between them.
fn sizes(knob: u8) -> Sizes {
    let (a, b) = (usize::from(knob & 7), usize::from(knob >> 3 & 15));
    match (a, b, knob >> 7) {
        (0, 0, _) => Sizes::ALL,
        (a, b, 0) => Sizes::again_and_again(&[a, b]),
        (a, b, _) => Sizes::again_and_again(&[a, 0, b]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_steps() {
        let (steps, manner) = read(b"\x00\x01\x02\x03\x01ab\x80\xc2\xe0never", 1);
        assert_eq!(
            steps,
            [Step::Bytes(b"ab"), Step::Command(0), Step::Deadlines(3), Step::End, Step::End],
            "nothing but the last end comes after an end"
        );
        assert_eq!((manner.full_at, manner.budget, manner.opens_later), (2, 1, true));
    }

    #[test]
    fn no_bytes_are_a_session_too() {
        assert_eq!(read(b"", 0), (vec![Step::End], Manner::PLAIN));
    }
}
