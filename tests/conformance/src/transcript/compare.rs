//! When two transcripts are the same, and what a whole run of them comes to.

use super::reference::GONE;
use super::script::{End, Script};
use super::{Saw, Transcript};
use std::fmt;
use std::time::Duration;

/// A run ends early when so many scripts went wrong.
pub(super) const MISMATCHES_AT_MOST: usize = 8;

/// The first thing in which a transcript is not what it must be; see the
/// [module](super) for what is compared.
#[must_use]
pub fn difference(script: &Script, actual: &Transcript, expected: &Transcript) -> Option<String> {
    let reset_by_peer = matches!(script.end, End::Reset { .. });
    let aborted = expected.saw == Saw::Reset;
    let taken = actual.taken.or(expected.taken);
    output(&actual.output, &expected.output, reset_by_peer || aborted)
        .or_else(|| events(&actual.events, &expected.events, reset_by_peer))
        .or_else(|| match script.end {
            End::Reset { received } if actual.output.len() < received => {
                Some(format!("output: {} bytes, and the peer waited for {received}", actual.output.len()))
            }
            End::Reset { .. } if actual.reason == GONE && taken <= expected.taken => None,
            End::Reset { .. } | End::HalfClose | End::AfterTheOther if actual.reason != expected.reason => {
                Some(format!("reason: {} instead of {}", actual.reason, expected.reason))
            }
            End::Reset { .. } | End::HalfClose | End::AfterTheOther if taken != expected.taken => {
                Some(format!("taken: {taken:?} bytes of the peer instead of {:?}", expected.taken))
            }
            End::Reset { .. } | End::HalfClose | End::AfterTheOther => None,
        })
        .or_else(|| {
            let (saw, must) = (actual.saw, expected.saw);
            (saw != must).then(|| format!("the peer saw: {saw:?} instead of {must:?}"))
        })
}

fn output(actual: &[u8], expected: &[u8], may_be_cut: bool) -> Option<String> {
    let at = actual.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(actual.len().min(expected.len()));
    if at == actual.len() && (at == expected.len() || may_be_cut) {
        return None;
    }
    let around = |bytes: &[u8]| bytes[at..bytes.len().min(at + 24)].escape_ascii().to_string();
    Some(format!(
        "output: {} bytes instead of {}, different from {at} on: \"{}\" instead of \"{}\"",
        actual.len(),
        expected.len(),
        around(actual),
        around(expected)
    ))
}

fn events(actual: &[String], expected: &[String], may_be_cut: bool) -> Option<String> {
    let at = actual.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(actual.len().min(expected.len()));
    if at == actual.len() && (at == expected.len() || may_be_cut) {
        return None;
    }
    let event = |events: &[String]| events.get(at).cloned().unwrap_or_else(|| "none".into());
    Some(format!("events: the one after {at} is {} instead of {}", event(actual), event(expected)))
}

/// What became of one script: all that is kept of it.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    bytes: u64,
    hash: u64,
    pub(super) different: Option<String>,
}

impl Verdict {
    /// Compares what was played, or why it could not be, with what it must be.
    pub(super) fn new(script: &Script, played: &Result<Transcript, String>, expected: &Transcript) -> Verdict {
        let (different, actual) = match played {
            Ok(actual) => (difference(script, actual, expected), Some(actual)),
            Err(what) => (Some(what.clone()), None),
        };
        let cut = matches!(script.end, End::Reset { .. }) || expected.saw == Saw::Reset;
        let stands = if cut && different.is_none() { Some(expected) } else { actual };
        let hash = |stands: &Transcript| hash(stands, stands.taken.or(expected.taken));
        Verdict {
            bytes: actual.map_or(0, |actual| actual.taken.unwrap_or(0) + actual.output.len() as u64),
            hash: stands.map_or(0, hash),
            different: different.map(|what| format!("{:?}, {:?}: {what}", script.speaks, script.end)),
        }
    }
}

/// What became of the scripts of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which driver.
    pub driver: &'static str,
    /// Scripts played.
    pub scripts: usize,
    /// Bytes in their transcripts, both directions.
    pub bytes: u64,
    /// Of all transcripts, in the order of their seeds. Of a cut one that is as it
    /// must be, the reference stands for it.
    pub hash: u64,
    /// Seeds whose transcript is not as it must be, and what is different.
    pub mismatches: Vec<(u64, String)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Sums up verdicts, in the order of their seeds.
    pub(super) fn new(
        driver: &'static str,
        elapsed: Duration,
        verdicts: impl IntoIterator<Item = (u64, Verdict)>,
    ) -> Outcome {
        let mut outcome = Outcome { driver, scripts: 0, bytes: 0, hash: FNV, mismatches: Vec::new(), elapsed };
        for (seed, verdict) in verdicts {
            outcome.scripts += 1;
            outcome.bytes += verdict.bytes;
            outcome.hash = fnv(outcome.hash, verdict.hash.to_le_bytes());
            outcome.mismatches.extend(verdict.different.map(|what| (seed, what)));
        }
        outcome
    }
}

/// The line of a table.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { driver, scripts, bytes, hash, elapsed, mismatches } = self;
        let verdict = if mismatches.is_empty() { "identical" } else { "DIFFERENT" };
        let seconds = elapsed.as_secs_f32();
        write!(f, "{driver:<24} {scripts:>7} {bytes:>12}  {hash:016x}  {seconds:>6.1} s  {verdict}")
    }
}

/// FNV-1a: short, and nobody here wants to be fooled.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(start: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn hash(transcript: &Transcript, taken: Option<u64>) -> u64 {
    let Transcript { taken: _, output, saw, events, reason } = transcript;
    let text = format!("{} {saw:?} {reason} {events:?} ", taken.unwrap_or(0));
    fnv(FNV, text.bytes().chain(output.iter().copied()))
}
