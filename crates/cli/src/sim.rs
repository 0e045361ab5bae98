//! `drywire sim`: one world for each seed, on all cores, until one fails.
//!
//! Here: threads, progress, and what is printed. What a world is and what is checked in
//! it is in `drywire_sim::world`; which seeds fail does not depend on the threads.

use crate::args::Sim;
use drywire_sim::world::{self, Fault, Outcome, Setup, Shrunk, Stats};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::num::NonZero;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// The exit status when a world fails.
const FAILED: u8 = 3;

/// Worlds that are run to shorten one failure.
const SHRINK_RUNS: usize = 1500;

/// Lines of a timeline that are printed, the last ones.
const TIMELINE: usize = 60;

/// Strikes of faults that are printed, the first ones.
const STRIKES: usize = 20;

pub(crate) fn run(args: &Sim) -> io::Result<ExitCode> {
    // What panics in a world is reported with its seed.
    panic::set_hook(Box::new(|_| {}));
    let (text, code) = match args.seed {
        Some(seed) => one(seed),
        None => many(args),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    Ok(code)
}

/// Repeats one world, with everything that happens in it.
fn one(seed: u64) -> (String, ExitCode) {
    let outcome = Setup { trace: true, ..Setup::new(seed) }.run_and_compare();
    let mut text = String::new();
    for line in &outcome.timeline {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\nseed {seed}: {} events, hash {:016x}", outcome.stats.events, outcome.hash);
    match outcome.violation {
        None => (text, ExitCode::SUCCESS),
        Some(violation) => {
            let _ = writeln!(text, "{violation}\n");
            text.push_str(&report(&world::shrink(&Setup::new(seed), SHRINK_RUNS)));
            (text, ExitCode::from(FAILED))
        }
    }
}

fn many(args: &Sim) -> (String, ExitCode) {
    let start = Instant::now();
    let next = AtomicU64::new(args.seeds.start);
    // The lowest seed that failed; beyond it nobody looks.
    let end = AtomicU64::new(args.seeds.end);
    let found: Mutex<(Stats, Option<Outcome>)> = Mutex::default();
    let bar = progress(args.seeds.end - args.seeds.start);
    let threads = args.threads.map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut stats = Stats::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = world::run(seed);
                    stats.add(&outcome.stats);
                    bar.inc(1);
                    if outcome.violation.is_some() {
                        end.fetch_min(seed, Ordering::Relaxed);
                        let mut found = found.lock().expect("nobody panics with it");
                        if found.1.as_ref().is_none_or(|other| seed < other.seed) {
                            found.1 = Some(outcome);
                        }
                    }
                }
                found.lock().expect("nobody panics with it").0.add(&stats);
            });
        }
    });
    bar.finish_and_clear();
    let (stats, failed) = found.into_inner().expect("nobody panics with it");
    let elapsed = start.elapsed().as_secs_f64();
    let Some(failed) = failed else {
        let seeds = args.seeds.end - args.seeds.start;
        return (summary(seeds, &stats, elapsed), ExitCode::SUCCESS);
    };
    let mut text = String::new();
    if let Some(violation) = &failed.violation {
        let _ = writeln!(text, "seed {} fails after {elapsed:.1} s: {violation}\n", failed.seed);
    }
    text.push_str(&report(&world::shrink(&Setup::new(failed.seed), SHRINK_RUNS)));
    (text, ExitCode::from(FAILED))
}

fn progress(worlds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} worlds  {elapsed}");
    ProgressBar::with_draw_target(Some(worlds), ProgressDrawTarget::stderr())
        .with_style(style.expect("a template of ours"))
}

/// The longest row of lines that is folded when it comes again and again.
const ROW: usize = 8;

/// A timeline in which a row of lines that comes three times or more, but for its
/// numbers, is told by its first and its last.
fn folded(timeline: &[String]) -> Vec<String> {
    let words: Vec<String> = timeline.iter().map(|line| words(line)).collect();
    let mut told = Vec::new();
    let mut at = 0;
    while at < timeline.len() {
        let again = |row: usize| {
            let first = &words[at..(at + row).min(words.len())];
            words[at..].chunks_exact(row).take_while(|next| *next == first).count()
        };
        let (row, times) = (1..=ROW)
            .map(|row| (row, again(row)))
            .filter(|(_, times)| *times >= 3)
            .max_by_key(|(row, times)| (row * times, Reverse(*row)))
            .unwrap_or((1, 1));
        told.extend_from_slice(&timeline[at..at + row]);
        if times >= 3 {
            let lines = if row == 1 { "line".into() } else { format!("{row} lines") };
            told.push(format!("{:>15}  … the same {lines}, {} times more …", "", times - 2));
            told.extend_from_slice(&timeline[at + row * (times - 1)..at + row * times]);
        }
        at += row * times;
    }
    told
}

/// A line of a timeline without its time and its numbers; whose it is stays.
fn words(line: &str) -> String {
    let text = line.split_once(" ms  ").map_or(line, |(_, text)| text);
    let (who, what) = text.split_once(": ").unwrap_or(("", text));
    [who, &what.replace(|c: char| c.is_ascii_digit(), "")].join(": ")
}

/// One line: what was run, how fast, and what it was put through.
fn summary(seeds: u64, stats: &Stats, elapsed: f64) -> String {
    let mut text = format!(
        "{} seeds, {} events in {elapsed:.1} s ({} events/s), {} connections; faults:",
        HumanCount(seeds),
        HumanCount(stats.events),
        HumanCount((stats.events as f64 / elapsed) as u64),
        HumanCount(stats.connections),
    );
    for (fault, n) in Fault::ALL.iter().zip(&stats.faults) {
        let _ = write!(text, " {fault} {n}");
    }
    text.push('\n');
    text
}

/// What failed, how to repeat it, and what happened on the shortest way there.
fn report(shrunk: &Shrunk) -> String {
    let mut text = String::new();
    let timeline = folded(&shrunk.outcome.timeline);
    let before = timeline.len().saturating_sub(TIMELINE);
    if before > 0 {
        let _ = writeln!(text, "({before} lines before)");
    }
    for line in &timeline[before..] {
        let _ = writeln!(text, "{line}");
    }
    let cut = &shrunk.setup.cut;
    let (seed, runs) = (shrunk.setup.seed, shrunk.runs);
    let _ = writeln!(text, "\nshortened in {runs} runs, without peers {:?}; faults that struck:", cut.peers);
    let strikes = &shrunk.outcome.strikes;
    for strike in strikes.iter().take(STRIKES) {
        let _ = writeln!(text, "  {strike}");
    }
    if strikes.len() > STRIKES {
        let _ = writeln!(text, "  and {} more", strikes.len() - STRIKES);
    }
    if let Some(violation) = &shrunk.outcome.violation {
        let _ = writeln!(text, "\n{violation}");
    }
    let _ = writeln!(text, "repeat it with: drywire sim --seed {seed}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_and_again_is_told_twice() {
        let line = |n: usize, text: &str| format!("{n:>12.6} ms  peer {text}");
        let mut timeline = vec![line(0, "0: is open")];
        for n in 0..50 {
            timeline.push(line(n, &format!("0: reads {n} bytes")));
            timeline.push(line(n, &format!("0: write: {n} of {} bytes", 500 - n)));
        }
        timeline.push(line(99, "1: reads 4 bytes"));
        let told = folded(&timeline);
        assert_eq!(told.len(), 7, "{told:#?}");
        assert_eq!((&told[..3], &told[4..]), (&timeline[..3], &timeline[99..]));
        assert!(told[3].ends_with("… the same 2 lines, 48 times more …"), "{}", told[3]);
        assert_eq!(folded(&timeline[..5]), timeline[..5], "twice is not often");
    }
}
