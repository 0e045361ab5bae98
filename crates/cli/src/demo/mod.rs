//! `drywire demo`: the dialog on every driver side by side, and whether they did
//! the same.
//!
//! Here: threads, signals, progress, and the table. What is said is in `talk`, who
//! says it in `client`, who answers in `server`; `site` is what is set up for it.

mod client;
mod server;
mod site;
mod talk;

use crate::args::{Demo, Driver};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
pub(crate) use server::run as serve;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use site::Site;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;
use talk::Talk;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum DemoError {
    #[error("cannot write the files to serve: {0}")]
    Files(io::Error),
    #[error("cannot start the server on {driver}: {source}")]
    Start { driver: Driver, source: io::Error },
    #[error("the server on {driver} failed: {status}")]
    Died { driver: Driver, status: ExitStatus },
    #[error("the server on {driver} said nothing of use: {text:?}")]
    Server { driver: Driver, text: String },
    #[error("talking to {driver} failed: {source}")]
    Client { driver: Driver, source: io::Error },
    #[error("cannot print the table: {0}")]
    Output(io::Error),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// The exit status when drivers differ.
const DIFFERENT: u8 = 3;

/// What shells add to the number of a signal to make an exit status of it.
const SIGNALLED: u8 = 128;

/// What a demo ends with.
enum News {
    Done(thread::Result<Result<(Vec<Row>, Verdict), DemoError>>),
    Signal(u8),
}

/// Waits for what comes first, the rows or a signal, and takes everything down.
/// Threads that are at work even then end with the process.
pub(crate) fn run(args: &Demo) -> Result<ExitCode, DemoError> {
    let (news, inbox) = mpsc::channel();
    let is_over = watch_signals(news.clone())?;
    let site = Site::new().map_err(DemoError::Files)?;
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let (seed, requests) = (args.seed, args.requests);
    thread::spawn({
        let (site, bars) = (site.clone(), bars.clone());
        move || {
            let done = catch_unwind(AssertUnwindSafe(|| compare(seed, requests, &site, &bars)));
            // After a signal nobody waits for this.
            let _ = news.send(News::Done(done));
        }
    });
    let news = inbox.recv().expect("whoever watches signals never drops the sender");
    site.take_down();
    // Before anything is drawn: a terminal that is paused takes nothing.
    is_over.store(true, Ordering::Relaxed);
    let _ = bars.clear();
    bars.set_draw_target(ProgressDrawTarget::hidden());
    let (rows, verdict) = match news {
        News::Signal(number) => return Ok(ExitCode::from(SIGNALLED + number)),
        News::Done(done) => done.unwrap_or_else(|panic| resume_unwind(panic))?,
    };
    print_table(requests, &rows, &verdict).map_err(DemoError::Output)?;
    Ok(match verdict {
        Verdict::Identical => ExitCode::SUCCESS,
        Verdict::Different { .. } => ExitCode::from(DIFFERENT),
    })
}

/// Tells of SIGINT and SIGTERM. Once the flag that it returns is set, they do again
/// what they do by default.
fn watch_signals(news: Sender<News>) -> io::Result<Arc<AtomicBool>> {
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register_conditional_default(signal, Arc::clone(&is_over))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = news.send(News::Signal(signal as u8));
        }
    });
    Ok(is_over)
}

/// The first driver that fails ends it; the others are not waited for.
fn compare(seed: u64, requests: u32, site: &Site, bars: &MultiProgress) -> Result<(Vec<Row>, Verdict), DemoError> {
    let preparing = bars.add(spinner());
    preparing.enable_steady_tick(Duration::from_millis(100));
    let talk = Arc::new(Talk::new(seed, requests));
    site.fill(|root| talk.write_files(root)).map_err(DemoError::Files)?;
    preparing.finish_and_clear();
    bars.remove(&preparing);

    let (results, inbox) = mpsc::channel();
    for driver in Driver::ALL {
        let bar = bars.add(progress(driver, talk.reply_bytes()));
        let (site, talk, results) = (site.clone(), Arc::clone(&talk), results.clone());
        thread::spawn(move || {
            // After a failure nobody waits for this.
            let _ = results.send(run_driver(driver, &site, &talk, &bar));
        });
    }
    drop(results);
    let mut rows = inbox.iter().collect::<Result<Vec<Row>, _>>()?;
    assert_eq!(rows.len(), Driver::ALL.len(), "a client does not panic");
    rows.sort_by_key(|row| Driver::ALL.iter().position(|driver| *driver == row.driver));
    let verdict = Verdict::of(&rows, talk.transcript_hash());
    Ok((rows, verdict))
}

/// Whether the drivers did the same, and that what is right.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Identical,
    Different { expected: u64 },
}

impl Verdict {
    fn of(rows: &[Row], expected: u64) -> Verdict {
        match rows.iter().all(|row| row.hash == expected) {
            true => Verdict::Identical,
            false => Verdict::Different { expected },
        }
    }
}

/// What one driver did.
struct Row {
    driver: Driver,
    bytes: u64,
    cpu: Duration,
    hash: u64,
}

fn run_driver(driver: Driver, site: &Site, talk: &Talk, bar: &ProgressBar) -> Result<Row, DemoError> {
    let mut server = site.start(driver)?;
    let address = server.address()?;
    let heard = client::talk_to(&address, talk, bar).map_err(|source| server.failed(source))?;
    let served = server.finish()?;
    bar.finish();
    let bytes = heard.iter().map(|heard| heard.sent + heard.received).sum();
    Ok(Row { driver, bytes, cpu: served.cpu, hash: talk::hash(&heard, &served.ends) })
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} preparing what to say  {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("a template of ours"))
}

fn progress(driver: Driver, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:6} {bar:40} {bytes:>11} of {total_bytes}  {elapsed}");
    ProgressBar::new(bytes).with_style(style.expect("a template of ours")).with_prefix(driver.to_string())
}

/// The only thing on standard output, in one write. Whoever closed that does not
/// want to know.
fn print_table(requests: u32, rows: &[Row], verdict: &Verdict) -> io::Result<()> {
    let mut table = Vec::new();
    write_table(&mut table, requests, rows, verdict)?;
    let mut out = io::stdout().lock();
    match out.write_all(&table).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn write_table(out: &mut impl Write, requests: u32, rows: &[Row], verdict: &Verdict) -> io::Result<()> {
    writeln!(out, "{:8}{:>9}{:>14}{:>11}  transcript", "driver", "requests", "bytes", "CPU time")?;
    for row in rows {
        let same = match verdict {
            Verdict::Different { expected } if row.hash != *expected => "DIFFERENT",
            Verdict::Identical | Verdict::Different { .. } => "identical",
        };
        let (driver, bytes) = (row.driver.to_string(), HumanBytes(row.bytes).to_string());
        let cpu = format!("{:.3} s", row.cpu.as_secs_f64());
        writeln!(out, "{driver:8}{requests:>9}{bytes:>14}{cpu:>11}  {:016x}  {same}", row.hash)?;
    }
    writeln!(out)?;
    match verdict {
        Verdict::Identical => {
            writeln!(out, "One protocol, {} drivers: every byte and every end the same, and as expected.", rows.len())
        }
        Verdict::Different { expected } => writeln!(out, "The drivers differ; {expected:016x} was expected."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Heard;
    use std::os::unix::process::ExitStatusExt;

    /// The control: whatever differs, the hash does.
    #[test]
    fn transcripts_that_differ_in_anything_have_different_hashes() {
        let talk = Talk::new(7, 50);
        let same = |change: &dyn Fn(&mut Vec<Heard>, &mut Vec<String>)| {
            let (mut heard, mut ends) = talk.expected();
            change(&mut heard, &mut ends);
            talk::hash(&heard, &ends) == talk.transcript_hash()
        };
        assert!(same(&|_, _| {}));
        assert!(!same(&|heard, _| heard[0].digest ^= 1), "a byte");
        assert!(!same(&|heard, _| heard.swap(0, 1)), "a connection for another");
        assert!(!same(&|heard, _| heard[0].end = client::End::Reset), "a reset for an end");
        assert!(!same(&|_, ends| ends[0] = "aborted".into()), "a reason");
        assert!(!same(&|_, ends| drop(ends.pop())), "a report too few");
        assert!(!same(&|_, ends| ends.push("finished".into())), "a report too many");
    }

    #[test]
    fn table_names_the_driver_that_differs() {
        let row = |driver, hash| Row { driver, bytes: 2048, cpu: Duration::from_millis(12), hash };
        let rows = [row(Driver::Mio, 0xa), row(Driver::Tokio, 0xb), row(Driver::Smol, 0xa)];
        let verdict = Verdict::of(&rows, 0xa);
        assert_eq!(verdict, Verdict::Different { expected: 0xa });
        assert_eq!(Verdict::of(&rows[..1], 0xa), Verdict::Identical);
        let mut text = Vec::new();
        write_table(&mut text, 9, &rows, &verdict).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = |driver| text.lines().find(|line| line.starts_with(driver)).unwrap();
        assert!(line("tokio").ends_with("DIFFERENT") && line("mio").ends_with("identical"), "{text}");
        assert!(text.contains("2.00 KiB") && text.contains("0.012 s") && text.ends_with("was expected.\n"), "{text}");
    }

    #[test]
    fn talks_follow_from_their_seed() {
        assert_eq!(Talk::new(1, 100).transcript_hash(), Talk::new(1, 100).transcript_hash());
        assert_ne!(Talk::new(1, 100).transcript_hash(), Talk::new(2, 100).transcript_hash());
    }

    #[test]
    fn server_that_died_is_named_with_what_ended_it() {
        let died = |raw| DemoError::Died { driver: Driver::Tokio, status: ExitStatus::from_raw(raw) }.to_string();
        assert_eq!(died(9), "the server on tokio failed: signal: 9 (SIGKILL)");
        assert_eq!(died(1 << 8), "the server on tokio failed: exit status: 1");
        let strange = DemoError::Server { driver: Driver::Mio, text: "what?\n".into() }.to_string();
        assert_eq!(strange, "the server on mio said nothing of use: \"what?\\n\"");
    }
}
