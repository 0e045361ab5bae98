//! Plays scripts against a running driver, several peers at a time, all of them on
//! the same servers: one for each protocol.

use super::client::{connect, converse};
use super::compare::{MISMATCHES_AT_MOST, Outcome, Verdict};
use super::reference::{bytes, class, dialog, expected, lines, messages, narrator};
use super::script::{Script, Speaks};
use super::{Saw, Transcript, fixture, seeds};
use crate::subject::{Capability, Options, Running, Scene, Subject, Testable};
use crate::suite::say;
use drywire_core::Connection;
use drywire_server::Address;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Peers at a time.
const PEERS: usize = 8;

/// Plays the scripts of these seeds on servers of `S`, and compares each transcript
/// with the one it must be. Those that need what `S` does not declare are left out.
///
/// # Panics
/// When the driver does not even start.
#[must_use]
pub fn play<S: Subject>(seeds: Range<u64>) -> Outcome {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fixture::write_to(directory.path()).expect("a place for files");
    let root = S::CAN.contains(&Capability::Files).then(|| directory.path().to_owned());
    let options = Options { root, drain_timeout: Duration::from_secs(1), ..Options::default() };

    let set = |speaks| match speaks {
        Speaks::Lines => set::<S, _>(&options, lines),
        Speaks::Bytes => set::<S, _>(&options, bytes),
        Speaks::Dialog => set::<S, _>(&options, dialog),
        Speaks::Narrator => set::<S, _>(&options, narrator),
        Speaks::Messages => set::<S, _>(&options, messages),
    };
    let (stages, stops): (Vec<_>, Vec<_>) = Speaks::ALL.into_iter().map(set).unzip();
    let begun = Instant::now();
    let verdicts = play_all(&seeds, S::CAN, &stages);
    let elapsed = begun.elapsed();
    stops.into_iter().for_each(|stop| stop());
    let mut outcome = Outcome::new(S::NAME, elapsed, verdicts);
    let wrong = stages.iter().filter_map(|stage| stage.wrong_reports());
    outcome.mismatches.extend(wrong.map(|what| (seeds.start, what)));
    outcome
}

/// Plays them, and fails the test that calls it when a transcript is wrong. `path` is
/// the test's own, with its crate.
///
/// # Panics
/// When the driver fails.
pub fn judge<S: Subject>(path: &str) {
    let outcome = play::<S>(seeds());
    say(&format!("note: transcripts: {outcome}"));
    let test = path.split_once("::").map_or(path, |(_, test)| test);
    let mut told = String::new();
    for (seed, what) in &outcome.mismatches {
        let again = format!("DRYWIRE_SEEDS={seed}..{} cargo test -- --exact {test}", seed + 1);
        writeln!(told, "{}, seed {seed}: {what}\n  again: {again}", S::NAME).expect("a string takes everything");
    }
    assert!(told.is_empty(), "\n{told}");
}

fn play_all(seeds: &Range<u64>, can: &[Capability], stages: &[Box<dyn Stage>]) -> BTreeMap<u64, Verdict> {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicUsize::new(0));
    let verdicts = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..PEERS {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) < MISMATCHES_AT_MOST {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let script = Script::from_seed(seed);
                    let expected = expected(&script);
                    if !script.needs(&expected).iter().all(|needed| can.contains(needed)) {
                        continue;
                    }
                    let stage = &stages[Speaks::ALL.iter().position(|s| *s == script.speaks).expect("one of all")];
                    let verdict = Verdict::new(&script, &stage.play(&script), &expected);
                    failed.fetch_add(usize::from(verdict.different.is_some()), Ordering::Relaxed);
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, verdict);
                }
            });
        }
    });
    verdicts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A running server, whatever it speaks.
trait Stage: Sync {
    fn play(&self, script: &Script) -> Result<Transcript, String>;

    /// Once the server is gone: a connection that has not exactly one report (I4).
    fn wrong_reports(&self) -> Option<String>;
}

/// Ends a server.
type Stop = Box<dyn FnOnce()>;

struct Server<S, P: Testable> {
    scene: Scene<P>,
    address: SocketAddr,
    subject: PhantomData<fn() -> S>,
    /// Held from the connect to the accept, so that each knows which number it is.
    door: Mutex<()>,
}

fn set<S: Subject, P: Testable>(
    options: &Options,
    make: impl Fn() -> Connection<P> + Send + 'static,
) -> (Box<dyn Stage>, Stop) {
    let scene = Scene::new(make);
    let anywhere = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let running = S::serve(&anywhere, options.clone(), scene.clone()).expect("a free port");
    let Address::Tcp(address) = running.address() else { panic!("{} listens on TCP", S::NAME) };
    let server = Server::<S, P> { scene, address, subject: PhantomData, door: Mutex::new(()) };
    (Box::new(server), Box::new(|| running.stop()))
}

impl<S: Subject, P: Testable> Stage for Server<S, P> {
    fn play(&self, script: &Script) -> Result<Transcript, String> {
        let (stream, number) = {
            let _door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
            let number = self.scene.look(<[_]>::len);
            let stream = connect::<S>(self.address, script.reading).map_err(|error| format!("connect: {error}"))?;
            self.wait("an accept", || self.scene.look(|seen| seen.len() > number).then_some(()))?;
            (stream, number)
        };
        let received = converse(script, stream, S::PATIENCE).map_err(|what| self.explained(number, &what))?;
        let (report, events) = self.wait("a report", || {
            self.scene.look(|seen| {
                let seen = &seen[number];
                let report = seen.reports.first()?;
                let events = seen.events.iter().map(|event| format!("{event:?}")).collect();
                Some(((class(&report.reason), report.counters), events))
            })
        })?;
        let (reason, counters) = report;
        let output = received.output;
        // I1, from the driver's side.
        let all = received.saw == Saw::End;
        let same = counters.sent == output.len() as u64 || S::IS_TLS;
        if all && !same || counters.sent < output.len() as u64 {
            return Err(format!("the report says {} bytes were sent, {} arrived", counters.sent, output.len()));
        }
        let taken = (!S::IS_TLS).then(|| counters.received - counters.discarded);
        Ok(Transcript { taken, output, saw: received.saw, events, reason })
    }

    fn wrong_reports(&self) -> Option<String> {
        self.scene.look(|seen| {
            let number = seen.iter().position(|seen| seen.reports.len() != 1)?;
            Some(format!("I4: connection {number} of a server has {} reports", seen[number].reports.len()))
        })
    }
}

impl<S: Subject, P: Testable> Server<S, P> {
    /// What went wrong with a peer, and what the driver says to it.
    fn explained(&self, number: usize, what: &str) -> String {
        let reason = self.scene.look(|seen| seen[number].reports.first().map(|report| class(&report.reason)));
        format!("{what}; the driver's reason: {}", reason.as_deref().unwrap_or("none yet"))
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        let give_up = Instant::now() + S::PATIENCE;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if Instant::now() > give_up {
                return Err(format!("waited {:?} for {what}", S::PATIENCE));
            }
            thread::sleep(Duration::from_micros(50));
        }
    }
}
