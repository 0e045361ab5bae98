//! `drywire replay`: recordings through their protocol again, and the first difference
//! in words. How a replay goes is in `drywire_sim::replay`.

use super::limits::Changes;
use super::masking::{self, MaskError};
use super::shelf::SUFFIX;
use super::text::seconds;
use super::words::duration_in_words;
use super::{DIFFERENT, RecordError, damage_in_words, is_foreign, protocols, read_file};
use crate::args::Replay as Args;
use crate::path_in_words;
use crate::say;
use drywire_core::Time;
use drywire_core::escape::printable;
use drywire_core::record::{Ended, Entry, ReadError, Reader};
use drywire_sim::replay::{Difference, Identical, Options, ReplayError, Replayed};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What came of one recording. The exit status is that of the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Identical,
    /// It could not be read, or not be replayed.
    Failed,
    /// It came out different, or is damaged.
    Different,
}

/// Fewer are done before a person has read a bar.
const MANY: usize = 20;

/// Prints a line for each.
pub(crate) fn run(args: &Args) -> Result<ExitCode, RecordError> {
    let files = expand(&args.files)?;
    let bar = match files.len() {
        0..MANY => ProgressBar::hidden(),
        count => {
            let style = ProgressStyle::with_template("{bar:40} {pos} of {len} recordings  {elapsed}");
            let target = ProgressDrawTarget::stderr();
            ProgressBar::with_draw_target(Some(count as u64), target).with_style(style.expect("a template of ours"))
        }
    };
    let (mut worst, mut unlike) = (Outcome::Identical, 0);
    // Whoever closed standard output may still look at the exit status.
    let mut is_read = true;
    for path in &files {
        let (outcome, words) = match read_file(path) {
            Ok(file) if args.mask.is_empty() => replay(&file, args.limits.as_ref()),
            Ok(file) => match masking::copy(&file, &args.mask) {
                Ok(copy) => replay(&copy.file, args.limits.as_ref()),
                Err(error @ MaskError::Damaged(_)) => (Outcome::Different, error.to_string()),
                Err(error @ (MaskError::Foreign(_) | MaskError::NoFront)) => (Outcome::Failed, error.to_string()),
            },
            Err(error) => {
                bar.suspend(|| say(format_args!("{error}")));
                (Outcome::Failed, String::new())
            }
        };
        worst = worst.max(outcome);
        unlike += usize::from(outcome != Outcome::Identical);
        if is_read && !words.is_empty() {
            is_read = bar.suspend(|| print(path, &words))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if files.len() >= MANY {
        say(format_args!("{} recordings, {} identical", files.len(), files.len() - unlike));
    }
    Ok(match worst {
        Outcome::Identical => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Different => ExitCode::from(DIFFERENT),
    })
}

/// A directory stands for the recordings in it, oldest first.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, RecordError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let error = |source| RecordError::File { path: path.clone(), source };
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            if name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                inside.push(path.join(name));
            }
        }
        if inside.is_empty() {
            return Err(RecordError::NoRecordings { path: path.clone() });
        }
        inside.sort_unstable();
        files.append(&mut inside);
    }
    Ok(files)
}

/// `false` when nobody reads it any more.
fn print(path: &Path, words: &str) -> Result<bool, RecordError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}: {words}", path_in_words(path)).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).map_err(RecordError::Output),
    }
}

/// Replays one, and says what came of it.
fn replay(file: &[u8], changes: Option<&Changes>) -> (Outcome, String) {
    let unread = |error| {
        let outcome = if is_foreign(error) { Outcome::Failed } else { Outcome::Different };
        (outcome, damage_in_words(error))
    };
    // Damage first: what a header says is not to be believed before.
    let talk = match Talk::of(file) {
        Ok(talk) => talk,
        Err(error) => return unread(error),
    };
    let Some(play) = protocols::by_name(&talk.protocol) else {
        let name = printable(&talk.protocol);
        let names = protocols::names();
        return (Outcome::Failed, format!("this drywire has no protocol {name:?} to replay it with, only {names}"));
    };
    let (limits, changed) = match changes.map(|changes| changes.apply(talk.limits)) {
        Some((limits, changed)) => (Some(limits), changed),
        None => (None, Vec::new()),
    };
    let began = Instant::now();
    let replayed = play(file, Options { limits });
    let took = began.elapsed();
    let with = match changed.is_empty() {
        true => String::new(),
        false => format!(" with {}", changed.join(", ")),
    };
    match replayed {
        Ok(Replayed::Identical(identical)) => (Outcome::Identical, identical_in_words(&identical, &talk, &with, took)),
        Ok(Replayed::Different(difference)) => (Outcome::Different, difference_in_words(&difference, &talk, &with)),
        Err(ReplayError::Read(error)) => unread(error),
        Err(ReplayError::NoFront { first }) => {
            let words =
                format!("begins with entry {first}: what came before was not kept; can be traced, not replayed");
            (Outcome::Failed, words)
        }
        Err(error @ (ReplayError::Command { .. } | ReplayError::NoInput)) => (Outcome::Failed, printable(&error)),
    }
}

/// What a recording is about.
struct Talk {
    protocol: String,
    limits: drywire_core::Limits,
    began: Time,
    lasted: Duration,
}

impl Talk {
    fn of(file: &[u8]) -> Result<Talk, ReadError> {
        let reader = Reader::new(file)?;
        let header = reader.header();
        let (mut began, mut last) = (None, Time::ZERO);
        for located in reader.entries() {
            if let Entry::Lend { now, .. } = located?.entry {
                began.get_or_insert(now);
                last = now;
            }
        }
        let began = began.unwrap_or(last);
        Ok(Talk {
            protocol: header.protocol.to_owned(),
            limits: header.limits,
            began,
            lasted: last.saturating_since(began),
        })
    }
}

fn identical_in_words(identical: &Identical, talk: &Talk, with: &str, took: Duration) -> String {
    let mut words = format!(
        "identical{with}: {} entries, {} of talk, {}",
        identical.entries,
        duration_in_words(talk.lasted),
        duration_in_words(took)
    );
    match identical.ended {
        Ended::Closed => {}
        Ended::Dropped => words += "; dropped without a close",
        Ended::Full => words += "; up to the recording's bound",
    }
    if let Some(message) = &identical.panicked {
        let _ = write!(words, "; then the protocol panics: {}", printable(message));
    }
    if identical.masked {
        words += "; masked, so only lengths were compared";
    }
    words
}

fn difference_in_words(difference: &Difference, talk: &Talk, with: &str) -> String {
    let Difference { number, offset, time, recorded, now, byte } = difference;
    // As `trace` has it, so that it can be looked for there.
    let at = seconds(time.saturating_since(talk.began));
    let mut words = format!("different{with}, at {at} s, entry {number}, byte {offset} of the file");
    let now_is = if with.is_empty() { "now: " } else { "with these limits: " };
    let _ = write!(words, "\n  recorded: {}\n  {now_is}{}", printable(recorded), printable(now));
    if let Some(byte) = byte {
        let _ = write!(words, "\n  {byte}");
    }
    words
}
