//! `drywire demo`: the dialog on every driver side by side, and whether they did
//! the same.
//!
//! Here: processes, progress, and the table. What is said is in `talk`, who says it
//! in `client`, who answers in `server`.

mod client;
mod server;
mod talk;

use crate::args::{Demo, Driver};
use clap::ValueEnum;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use server::Served;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;
use talk::Talk;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum DemoError {
    #[error("cannot write the files to serve: {0}")]
    Files(io::Error),
    #[error("cannot start the server on {driver}: {source}")]
    Start { driver: Driver, source: io::Error },
    #[error("the server on {driver} said nothing of use: {text:?}; its own words are above")]
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

pub(crate) fn run(args: &Demo) -> Result<ExitCode, DemoError> {
    if let Some([driver, root]) = args.serve.as_deref() {
        let driver = Driver::from_str(driver, false).map_err(io::Error::other)?;
        server::run(driver, Path::new(root))?;
        return Ok(ExitCode::SUCCESS);
    }
    let root = tempfile::tempdir().map_err(DemoError::Files)?;
    let talk = Talk::new(args.seed, args.requests);
    talk.write_files(root.path()).map_err(DemoError::Files)?;

    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let rows = std::thread::scope(|scope| {
        let runs = Driver::ALL.map(|driver| {
            let bar = bars.add(progress(driver, talk.reply_bytes()));
            let (talk, root) = (&talk, root.path());
            scope.spawn(move || run_driver(driver, root, talk, &bar))
        });
        runs.into_iter().map(|run| run.join().expect("a client does not panic")).collect::<Result<Vec<Row>, _>>()
    })?;
    let _ = bars.clear();

    let verdict = Verdict::of(&rows, talk.transcript_hash());
    print_table(&mut io::stdout().lock(), args.requests, &rows, &verdict).map_err(DemoError::Output)?;
    Ok(match verdict {
        Verdict::Identical => ExitCode::SUCCESS,
        Verdict::Different { .. } => ExitCode::from(DIFFERENT),
    })
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

fn run_driver(driver: Driver, root: &Path, talk: &Talk, bar: &ProgressBar) -> Result<Row, DemoError> {
    let mut server = Server::start(driver, root)?;
    let address = server.address()?;
    let heard = client::talk_to(&address, talk, bar).map_err(|source| DemoError::Client { driver, source })?;
    let served = server.finish()?;
    bar.finish();
    let bytes = heard.iter().map(|heard| heard.sent + heard.received).sum();
    Ok(Row { driver, bytes, cpu: served.cpu, hash: talk::hash(&heard, &served.ends) })
}

/// A process that serves on one driver. It ends when its standard input does, so
/// it never outlives us.
struct Server {
    driver: Driver,
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(driver: Driver, root: &Path) -> Result<Server, DemoError> {
        let start = || {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["demo", "--serve", &driver.to_string()]).arg(root);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let mut process = start().map_err(|source| DemoError::Start { driver, source })?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("asked for a pipe"));
        Ok(Server { driver, process, stdin, stdout })
    }

    fn address(&mut self) -> Result<std::net::SocketAddr, DemoError> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        line.trim_end().parse().map_err(|_| DemoError::Server { driver: self.driver, text: line })
    }

    /// Tells it to end, and reads what it has to say.
    fn finish(&mut self) -> Result<Served, DemoError> {
        drop(self.stdin.take());
        let text = io::read_to_string(&mut self.stdout)?;
        let served = Served::parse(&text).ok_or(DemoError::Server { driver: self.driver, text });
        self.process.wait()?;
        served
    }
}

/// However it ends, no process is left behind.
impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
    }
}

fn progress(driver: Driver, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:6} {bar:40} {bytes:>11} of {total_bytes}  {elapsed}");
    ProgressBar::new(bytes).with_style(style.expect("a template of ours")).with_prefix(driver.to_string())
}

fn print_table(out: &mut impl Write, requests: u32, rows: &[Row], verdict: &Verdict) -> io::Result<()> {
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
        print_table(&mut text, 9, &rows, &verdict).unwrap();
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
}
