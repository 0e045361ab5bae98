//! The promises, one after the other: which runs are made, and what is compared.

use super::Kit;
use super::finding::{Call, Check, Finding, Found, in_words};
use super::manner::{Manner, Sizes, Step};
use super::panics::caught;
use super::rules::{Trouble, trouble};
use super::run::{Ran, Run};
use crate::Random;
use drywire_core::{Protocol, Workspace};
use std::fmt::Debug;

/// Places that are tried one by one in an input, and writes that are refused. A
/// longer row is sampled with as many from a seed.
const EVERY: usize = 48;

/// Deadlines that pass while a connection is open and nobody says anything.
const QUIET_DEADLINES: usize = 40;

/// How long a row the input is repeated to, to see whether something grows, in bytes;
/// its output gets sixteen times as long at most.
const ROW_BYTES: usize = 64 * 1024;

/// All checks of one input.
pub(super) struct Checks<'k, P: Protocol> {
    kit: &'k Kit<P>,
    /// Lent from run to run, as a worker does.
    workspace: Workspace,
}

impl<'k, P: Protocol> Checks<'k, P>
where
    P::Event: Debug,
    P::Error: Debug,
{
    pub(super) fn new(kit: &'k Kit<P>) -> Checks<'k, P> {
        Checks { kit, workspace: Workspace::new() }
    }

    /// The first promise that does not hold.
    pub(super) fn all(&mut self, input: &[u8]) -> Result<(), Finding> {
        let whole = self.session(input, Step::End);
        let plain = self.run(&whole, &Manner::PLAIN)?;
        self.same(Check::Determinism, &whole, &plain, &Manner::PLAIN)?;
        let mut random = Random::new(input.len() as u64);
        self.splits(&whole, &plain, input.len(), &mut random)?;
        self.trailing(input)?;
        self.full(&whole, &plain)?;
        self.slow_peers(&whole, &plain)?;
        self.quiet(input)?;
        self.ends(input, &mut random)?;
        self.many(input, plain.seen.output.len())
    }

    /// The input, the commands, a look, and an end.
    fn session<'a>(&self, input: &'a [u8], end: Step<'a>) -> Vec<Step<'a>> {
        let mut steps = vec![Step::Bytes(input)];
        steps.extend((0..self.kit.commands.len()).map(Step::Command));
        steps.extend([Step::Rest, end]);
        steps
    }

    fn splits(&mut self, steps: &[Step<'_>], plain: &Ran, len: usize, random: &mut Random) -> Result<(), Finding> {
        let mut manners = vec![Sizes::again_and_again(&[1]), Sizes::again_and_again(&[1, 0])];
        manners.extend(places(len, random).into_iter().filter(|at| *at > 0).map(|at| Sizes::then_all(&[at, 0])));
        for _ in 0..EVERY / 4 {
            let mut sizes: Vec<usize> =
                (0..random.between(1, 6)).map(|_| random.between(0, len.clamp(1, 99))).collect();
            sizes.push(random.between(1, 9));
            manners.push(Sizes::again_and_again(&sizes));
        }
        for reads in manners {
            self.same(Check::Split, steps, plain, &Manner { reads, ..Manner::PLAIN })?;
        }
        Ok(())
    }

    /// The same with something behind it, in one read and in two.
    fn trailing(&mut self, input: &[u8]) -> Result<(), Finding> {
        if input.is_empty() {
            return Ok(());
        }
        for behind in [&b"\n"[..], b"\0", b"\xff\xfe", b"a", input] {
            let both = [input, behind].concat();
            let steps = [Step::Bytes(&both), Step::End];
            let cut = Manner { reads: Sizes::then_all(&[input.len(), 0]), ..Manner::PLAIN };
            let apart = self.run(&steps, &cut)?;
            self.same(Check::Trailing, &steps, &apart, &Manner::PLAIN)?;
        }
        Ok(())
    }

    fn full(&mut self, steps: &[Step<'_>], plain: &Ran) -> Result<(), Finding> {
        for full_at in (1..=EVERY as u32).chain((6..20).map(|power| 1 << power)) {
            let manner = Manner { full_at, ..Manner::PLAIN };
            if !self.same(Check::Full, steps, plain, &manner)?.full_came {
                break;
            }
            let reads = Sizes::again_and_again(&[1, 0]);
            self.same(Check::Full, steps, plain, &Manner { reads, ..manner })?;
        }
        let limits = self.kit.limits;
        for (bytes, events) in [(limits.output_bytes, 1), (600, 2), (100, limits.events), (40, 3), (10, limits.events)]
        {
            let tight = Some((bytes.min(limits.output_bytes), events.min(limits.events)));
            let manner = Manner { tight, writes: Sizes::again_and_again(&[7, 0]), ..Manner::PLAIN };
            let ran = self.run(steps, &manner)?;
            let is_of_tightness = ran.seen.end.as_ref().is_some_and(|end| end.is_of_tightness);
            // A reply that fits no longer is refused rightly.
            if !is_of_tightness {
                self.compare(Check::Full, steps, plain, &ran, &manner)?;
            }
        }
        Ok(())
    }

    fn slow_peers(&mut self, steps: &[Step<'_>], plain: &Ran) -> Result<(), Finding> {
        let slow = [&[1][..], &[1, 0], &[0, 3], &[0, 0, 5, 1]];
        for writes in slow.map(Sizes::again_and_again) {
            let manner = Manner { writes, ..Manner::PLAIN };
            self.same(Check::SlowPeer, steps, plain, &manner)?;
            let reads = Sizes::again_and_again(&[2, 0, 1]);
            self.same(Check::SlowPeer, steps, plain, &Manner { reads, opens_later: true, ..manner })?;
        }
        for (budget, opens_later) in [(1, false), (1, true), (usize::MAX, true)] {
            self.same(Check::SlowPeer, steps, plain, &Manner { budget, opens_later, ..Manner::PLAIN })?;
        }
        Ok(())
    }

    /// Nobody says anything, and time passes.
    fn quiet(&mut self, input: &[u8]) -> Result<(), Finding> {
        let mut steps = self.session(input, Step::Deadlines(QUIET_DEADLINES));
        steps.extend([Step::Rest, Step::End]);
        self.run(&steps, &Manner::PLAIN).map(drop)?;
        self.run(&[Step::Rest, Step::Deadlines(QUIET_DEADLINES), Step::Rest, Step::End], &Manner::PLAIN).map(drop)
    }

    /// Every kind of end, everywhere.
    fn ends(&mut self, input: &[u8], random: &mut Random) -> Result<(), Finding> {
        for at in places(input.len(), random) {
            for end in [Step::End, Step::Reset, Step::Drain, Step::Close, Step::Abort] {
                // What the peer or the application ends, the other may leave standing.
                for manner in [Manner::PLAIN, Manner { opens_later: true, budget: 1, ..Manner::PLAIN }] {
                    self.run(&[Step::Bytes(&input[..at]), end, Step::End], &manner)?;
                }
            }
        }
        Ok(())
    }

    /// The same again and again. What the connection holds is bounded by itself; what
    /// the protocol holds only its own scales can tell.
    fn many(&mut self, input: &[u8], output: usize) -> Result<(), Finding> {
        let row = input.repeat((ROW_BYTES / input.len().max(output / 16).max(1)).max(1));
        self.run(&[Step::Bytes(&row), Step::End], &Manner::PLAIN).map(drop)
    }

    /// Runs, and compares with a run that was plain.
    pub(super) fn same(
        &mut self,
        check: Check,
        steps: &[Step<'_>],
        plain: &Ran,
        manner: &Manner,
    ) -> Result<Ran, Finding> {
        let ran = self.run(steps, manner)?;
        self.compare(check, steps, plain, &ran, manner)?;
        Ok(ran)
    }

    fn compare(
        &self,
        check: Check,
        steps: &[Step<'_>],
        plain: &Ran,
        ran: &Ran,
        manner: &Manner,
    ) -> Result<(), Finding> {
        let Some(difference) = ran.seen.differs_from(&plain.seen) else { return Ok(()) };
        let got = format!("{}; what differs is {difference}", ran.seen);
        Err(found(trouble(check, &plain.seen.to_string(), &got), steps, manner))
    }

    pub(super) fn run(&mut self, steps: &[Step<'_>], manner: &Manner) -> Result<Ran, Finding> {
        let (kit, workspace) = (self.kit, &mut self.workspace);
        match caught(|| Run::new(kit, workspace, manner).go(steps)) {
            Ok(result) => result.map_err(|trouble| found(trouble, steps, manner)),
            Err(panic) => {
                self.workspace = Workspace::new();
                Err(found(trouble(Check::Panic, "no panic", &panic), steps, manner))
            }
        }
    }
}

/// The input is filled in by whoever called.
fn found(trouble: Trouble, steps: &[Step<'_>], manner: &Manner) -> Finding {
    let Trouble { check, expected, got } = trouble;
    Finding::new(Found {
        check,
        input: Vec::new(),
        call: Call::Check,
        steps: in_words(steps),
        manner: manner.to_string(),
        expected,
        got,
    })
}

/// Every place in an input of `len` bytes, its ends included; of a long one, a sample.
fn places(len: usize, random: &mut Random) -> Vec<usize> {
    if len <= EVERY {
        return (0..=len).collect();
    }
    let mut places: Vec<usize> = (0..EVERY).map(|_| random.between(0, len)).collect();
    places.extend([0, 1, len - 1, len]);
    places.sort_unstable();
    places.dedup();
    places
}
