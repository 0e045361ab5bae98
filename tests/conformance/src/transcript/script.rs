//! A script: what one peer does, step by step, drawn from a seed. What it says is in
//! `messages`.

use super::Transcript;
use super::messages::{self, ABORT};
use super::reference::{ABORTED, Input, run};
use crate::subject::Capability;
use drywire_sim::Random;
use std::time::Duration;

/// What one peer does.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where it comes from.
    pub seed: u64,
    /// The protocol at the other end.
    pub speaks: Speaks,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// What it does then.
    pub end: End,
    /// How it reads, meanwhile and afterwards.
    pub reading: Reading,
}

/// A protocol that scripts are spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// [`LineEcho`](drywire_protocols::LineEcho), with its small bounds.
    Lines,
    /// [`ByteEcho`](drywire_protocols::ByteEcho).
    Bytes,
    /// [`Dialog`](drywire_protocols::Dialog).
    Dialog,
    /// [`Narrator`](super::Narrator).
    Narrator,
    /// [`HubEcho`](drywire_protocols::HubEcho), with messages of up to 4096 bytes.
    Messages,
}

impl Speaks {
    /// All of them.
    pub const ALL: [Speaks; 5] = [Speaks::Lines, Speaks::Bytes, Speaks::Dialog, Speaks::Narrator, Speaks::Messages];
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends this, in one call.
    Send(Vec<u8>),
    /// Waits so long.
    Pause(Duration),
    /// Waits until it has received so many bytes in all: what is due for all it has
    /// sent so far.
    Await(usize),
}

/// The end of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ends its direction at once, and reads on until the other one ends.
    HalfClose,
    /// Reads until the other direction ends: the protocol ends this dialog by itself.
    AfterTheOther,
    /// Resets the connection, not before it has received so many bytes.
    Reset {
        /// How many.
        received: usize,
    },
}

/// How a peer reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Its receive buffer in bytes; `None` leaves it to the system.
    pub window: Option<usize>,
    /// It reads nothing for so long.
    pub late: Duration,
    /// So many pauses...
    pub pauses: u32,
    /// ...of this length, one after each read.
    pub pause: Duration,
}

impl Script {
    /// The script of this seed: the same for ever, as long as nobody changes the drawing.
    #[must_use]
    pub fn from_seed(seed: u64) -> Script {
        let mut random = Random::new(seed);
        let speaks = random.pick(&Speaks::ALL);
        let steps = cut(messages::draw(speaks, &mut random), &mut random);
        let end = draw_end(speaks, &sent(&steps), &mut random);
        let steps = if random.one_in(3) { in_dialog(speaks, steps, &mut random) } else { steps };
        Script { seed, speaks, steps, end, reading: draw_reading(&mut random) }
    }

    /// What a driver must declare for it. A protocol's answer to an error is in
    /// `expected`, where its reason is.
    pub(super) fn needs(&self, expected: &Transcript) -> Vec<Capability> {
        let sent = self.sent();
        let says = |what: &[u8]| {
            self.speaks == Speaks::Narrator
                && sent.split_inclusive(|byte| *byte == b'\n').any(|line| line.starts_with(what))
        };
        let failed = ["Limit(", "Peer("].iter().any(|kind| expected.reason.starts_with(kind));
        [
            (Capability::Echo, true),
            (Capability::Files, self.speaks == Speaks::Dialog || says(b"GET ")),
            (Capability::HalfClose, self.end == End::HalfClose || says(b"HALF\n")),
            (Capability::Resets, matches!(self.end, End::Reset { .. }) || says(ABORT)),
            (Capability::Limits, failed),
        ]
        .into_iter()
        .filter_map(|(capability, needed)| needed.then_some(capability))
        .collect()
    }

    /// All the peer sends, in one piece.
    #[must_use]
    pub fn sent(&self) -> Vec<u8> {
        sent(&self.steps)
    }
}

fn sent(steps: &[Step]) -> Vec<u8> {
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Send(bytes) => all.extend_from_slice(bytes),
            Step::Pause(_) | Step::Await(_) => {}
        }
    }
    all
}

/// Messages as they come from a network: several at once, in two parts, byte by byte.
fn cut(messages: Vec<Vec<u8>>, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for message in messages {
        match random.between(0, 9) {
            0..=3 => match steps.last_mut() {
                Some(Step::Send(before)) => before.extend_from_slice(&message),
                Some(Step::Pause(_) | Step::Await(_)) | None => steps.push(Step::Send(message)),
            },
            4..=5 => {
                let (front, back) = message.split_at(random.between(0, message.len()));
                steps.push(Step::Send(front.to_vec()));
                pause(3, random, &mut steps);
                steps.push(Step::Send(back.to_vec()));
            }
            6 if message.len() <= 40 => {
                for byte in message {
                    steps.push(Step::Send(vec![byte]));
                    pause(20, random, &mut steps);
                }
            }
            _ => steps.push(Step::Send(message)),
        }
        pause(8, random, &mut steps);
    }
    steps.retain(|step| !matches!(step, Step::Send(bytes) if bytes.is_empty()));
    steps
}

/// The same steps, but the peer waits for answers (a greeting first) before it goes
/// on, so that an answer held back until there is more input is never given.
fn in_dialog(speaks: Speaks, steps: Vec<Step>, random: &mut Random) -> Vec<Step> {
    let mut all = Vec::with_capacity(2 * steps.len());
    for step in steps {
        let before = sent(&all);
        // Behind an abort, what is due is chance.
        if all.len() < 30 && random.one_in(2) && !before.ends_with(ABORT) {
            let due = run(speaks, &before, Input::Resets, usize::MAX).expect("a reset ends every connection");
            all.push(Step::Await(due.output.len()));
        }
        all.push(step);
    }
    all
}

/// Up to 3 ms, once in `n` times.
fn pause(n: usize, random: &mut Random, steps: &mut Vec<Step>) {
    if random.one_in(n) {
        steps.push(Step::Pause(micros(3000, random)));
    }
}

/// An end with one outcome: which ones those are, the reference knows.
fn draw_end(speaks: Speaks, sent: &[u8], random: &mut Random) -> End {
    if let Some(ended) = run(speaks, sent, Input::EndsAfterTheOther, usize::MAX) {
        if ended.reason == ABORTED {
            return End::AfterTheOther;
        }
        if random.one_in(2) {
            return End::AfterTheOther;
        }
    }
    if !random.one_in(5) {
        return End::HalfClose;
    }
    let reset = run(speaks, sent, Input::Resets, usize::MAX).expect("a reset ends every connection");
    let all = reset.output.len();
    End::Reset { received: if random.one_in(3) { all } else { random.between(0, all) } }
}

fn draw_reading(random: &mut Random) -> Reading {
    Reading {
        window: random.one_in(6).then(|| random.pick(&[4 * 1024, 16 * 1024])),
        late: if random.one_in(5) { micros(6000, random) } else { Duration::ZERO },
        pauses: if random.one_in(4) { random.between(1, 10) as u32 } else { 0 },
        pause: micros(2000, random),
    }
}

fn micros(at_most: usize, random: &mut Random) -> Duration {
    Duration::from_micros(random.between(0, at_most) as u64)
}
