//! A whole world from one number: peers, a network, a disk and a clock around the same
//! worker that every driver runs, and checks after every step.
//!
//! A seed says what is served, who comes, what they say and how they behave, which
//! faults there are and when they strike. In a third of the worlds a layer stands between
//! protocol and network. The same seed gives the same world, on every machine, in every
//! number of threads.
//!
//! ```
//! let outcome = drywire_sim::world::run(7);
//! assert_eq!(outcome.violation, None);
//! assert!(outcome.stats.events > 0);
//! ```
//!
//! An *event* is one thing that happened: a call of the transport, an arrival, a peer's
//! read, a piece of news, a callback, a fault. That is what is counted, and what the
//! hash of a world is made from.

mod actor;
mod agenda;
mod beats;
mod crowd;
mod disk;
mod hasty;
mod host;
mod house;
mod line;
mod looks;
mod net;
mod plan;
mod receipts;
mod record;
mod run;
mod shrink;
mod shutdown;
mod speak;
mod state;
mod swarm;
mod veil;
mod violation;
mod wire;

pub use plan::Cut;
pub use shrink::{Shrunk, shrink};
pub use swarm::{Fault, Strike};
pub use violation::{Invariant, Violation};

use actor::Actor;
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use hasty::Hasty;
use plan::{Plan, Speech};
use run::World;
use speak::Speak;
use state::State;
use std::panic::{AssertUnwindSafe, catch_unwind};
use veil::{Between, Veil};

/// What came of one world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it came from.
    pub seed: u64,
    /// The promise that was broken first, if one was.
    pub violation: Option<Violation>,
    /// What happened in it.
    pub stats: Stats,
    /// A number made of everything that happened, in order.
    pub hash: u64,
    /// Every strike of a fault, in order.
    pub strikes: Vec<Strike>,
    /// Everything that happened, a line each; empty unless it was asked for.
    pub timeline: Vec<String>,
    /// What the spared peer was sent, and how that ended; `None` when nobody is spared.
    pub(crate) transcript: Option<(Vec<u8>, u32)>,
    /// Bytes in the peers' scripts.
    pub(crate) scripts: Vec<usize>,
}

/// What happened in one world, or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Things that happened.
    pub events: u64,
    /// Connections that were registered.
    pub connections: u64,
    /// How often each fault struck, in the order of [`Fault::ALL`].
    pub faults: Vec<u64>,
}

impl Stats {
    /// Adds those of another world.
    pub fn add(&mut self, other: &Stats) {
        self.events += other.events;
        self.connections += other.connections;
        self.faults.resize(Fault::COUNT, 0);
        for (sum, n) in self.faults.iter_mut().zip(&other.faults) {
            *sum += n;
        }
    }
}

/// A part that is broken on purpose, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The poller swallows news of bytes that arrived.
    DropsEdge,
    /// The network loses a byte.
    DropsByte,
    /// The network has a byte twice.
    DoublesByte,
    /// A file is not closed.
    LeaksFile,
    /// The checker hears of a report twice.
    ReportsTwice,
    /// A stream is always said to be ready.
    Spins,
    /// A connection waits for a time that is over.
    EarlyDeadline,
    /// Our end does not reach the network.
    ForgetsEnd,
    /// The protocol changes itself before it writes.
    Hasty,
    /// What a neighbour does changes what the spared peer hears.
    Disturbs,
    /// The code under test panics.
    Panics,
    /// Something in the world is not from the seed.
    Varies,
}

/// A world to run: a seed, and what is different from it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where everything comes from.
    pub seed: u64,
    /// What is left out.
    pub cut: Cut,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
    /// Whether to keep the timeline.
    pub trace: bool,
}

impl Setup {
    /// All of the seed's world.
    #[must_use]
    pub fn new(seed: u64) -> Setup {
        Setup { seed, cut: Cut::default(), sabotage: None, trace: false }
    }

    /// Runs it once.
    #[must_use]
    pub fn run(&self) -> Outcome {
        let mut plan = Plan::new(self.seed, &self.cut);
        if self.sabotage == Some(Sabotage::Hasty) {
            return self.run_as::<Hasty>(Plan { speech: Speech::Lines, ..plan });
        }
        if self.sabotage == Some(Sabotage::Disturbs) && plan.victim == Some(0) && self.cut.peers.is_empty() {
            plan.scripts[0].says.reverse();
        }
        match plan.speech {
            Speech::Bytes => self.run_as::<ByteEcho>(plan),
            Speech::Lines => self.run_as::<LineEcho>(plan),
            Speech::Dialog => self.run_as::<Dialog>(plan),
            Speech::Actor => self.run_as::<Actor>(plan),
        }
    }

    fn run_as<P: Speak>(&self, plan: Plan) -> Outcome {
        if plan.is_veiled { self.run_over::<P, Veil>(plan) } else { self.run_over::<P, ()>(plan) }
    }

    fn run_over<P: Speak, L: Between>(&self, plan: Plan) -> Outcome {
        let mut world: World<P, L> = World::new(State::new(plan, self.sabotage, self.trace));
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        let violation = match result {
            Ok(result) => result.err(),
            Err(panic) => Some(Violation::new(Invariant::Panic, None, said(&*panic))),
        };
        let (state, left) = world.end();
        let violation = violation.or(left);
        let state = state.borrow();
        let strikes = state.plan.swarm.struck.clone();
        let mut faults = vec![0; Fault::COUNT];
        for strike in &strikes {
            faults[strike.fault.index()] += 1;
        }
        let transcript = state.plan.victim.map(|victim| {
            let line = &state.lines[victim];
            let record = line.record.borrow();
            (record.output.clone(), line.reports)
        });
        Outcome {
            seed: self.seed,
            violation,
            stats: Stats { events: state.events, connections: state.connections, faults },
            hash: state.hash,
            strikes,
            timeline: state.timeline.clone().unwrap_or_default(),
            transcript,
            scripts: state.lines.iter().map(|line| line.script.says.len()).collect(),
        }
    }

    /// Runs it, and again where something is to be compared: without the others, when
    /// a peer is spared (I5); as it is, for some seeds, which must give the same.
    #[must_use]
    pub fn run_and_compare(&self) -> Outcome {
        let outcome = self.run();
        if outcome.violation.is_some() {
            return outcome;
        }
        let broken = |invariant, line, text: &str| Some(Violation::new(invariant, line, text));
        if let Some(transcript) = &outcome.transcript
            && outcome.scripts.len() > 1
        {
            let mut alone = self.clone();
            alone.cut.peers.extend(1..outcome.scripts.len());
            let alone = alone.run();
            if alone.violation.is_some() || alone.transcript.as_ref() != Some(transcript) {
                let violation = alone.violation.or_else(|| {
                    broken(Invariant::Neighbours, Some(0), "it is sent something else when the others are not there")
                });
                return Outcome { violation, ..outcome };
            }
        }
        if self.seed % 16 == 3 {
            let again = self.run();
            if again.hash != outcome.hash || again.stats != outcome.stats {
                let violation = broken(Invariant::Repeats, None, "the same seed gave another world");
                return Outcome { violation, ..outcome };
            }
        }
        outcome
    }
}

/// Runs the world of a seed, with all checks.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    Setup::new(seed).run_and_compare()
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}
