//! `drywire`: serves protocols, and talks to servers, from a command line.
//!
//! Here: from arguments to an exit status. What can be typed is in `args`, what
//! it does in `demo`, `serve`, `check`, `connect`, `hub`, `record` and `sim`; which driver runs it in
//! `run`, and with several workers in `crew`; signals are heard in `signals`, and obeyed in `control`.
//!
//! Standard output is for data alone: the bound address, the bytes received.
//! Everything said to a person goes to standard error, through `log`.

mod args;
mod budget;
mod check;
mod connect;
mod control;
mod crew;
mod demo;
mod hub;
mod log;
mod record;
mod relay;
mod run;
mod serve;
mod signals;
mod sim;

use args::{Args, Command, Protocol};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use drywire_core::escape::printable;
use log::{LogLine, say, say_last};
use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| wrong_arguments(error));
    let _last_words = match log::start() {
        Ok(last_words) => last_words,
        Err(error) => {
            let why = format!("drywire: no thread for standard error: {error}; allow more of them (ulimit -u)\n");
            let _ = io::stderr().write_all(why.as_bytes());
            return ExitCode::FAILURE;
        }
    };
    // What simulated servers warn of is what is being done to them.
    let quiet = matches!(args.command, Command::Sim(_)).then_some(LevelFilter::OFF);
    start_logging(args.log.or(quiet));
    let result: Result<ExitCode, Box<dyn Error>> = match args.command {
        Command::Demo(args) => match args.server().unwrap_or_else(|error| wrong_usage(&error)) {
            Some((driver, root)) => demo::serve(driver, root).map(done).map_err(Box::from),
            None => demo::run(&args).map_err(Box::from),
        },
        Command::Serve(args) => {
            if args.root.is_some() && args.protocol != Protocol::Dialog {
                wrong_usage("--root is for dialog, the echoes serve no files");
            }
            if args.starttls && args.protocol != Protocol::Dialog {
                wrong_usage("--starttls is for dialog, the others have no word for it");
            }
            serve::run(&args).map(done).map_err(Box::from)
        }
        Command::Check(args) => check::run(&args).map_err(Box::from),
        Command::Connect(args) => connect::run(&args).map(done).map_err(Box::from),
        Command::Hub(args) => hub::run(&args).map(done).map_err(Box::from),
        Command::Sim(args) => sim::run(&args).map_err(Box::from),
        Command::Replay(args) => record::replay::run(&args).map_err(Box::from),
        Command::Trace(args) => record::trace::run(&args).map_err(Box::from),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say_last(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// Fit for a terminal, even where a peer chose a part of the text. Its lines stay: what is quoted in them
/// was made one line where it was quoted.
fn lines(text: impl fmt::Display) -> String {
    text.to_string().split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A name, which may have been chosen by others than the person who reads it.
fn path_in_words(path: &Path) -> String {
    printable(&path.display())
}

/// The level of the command line, or else what RUST_LOG says.
fn start_logging(level: Option<LevelFilter>) {
    let warn = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let filter = match (level, std::env::var_os(EnvFilter::DEFAULT_ENV)) {
        (Some(level), _) => EnvFilter::default().add_directive(level.into()),
        (None, None) => warn.parse_lossy(""),
        (None, Some(text)) => warn.parse(text.to_string_lossy()).unwrap_or_else(|error| {
            wrong_usage(&format!("the environment variable {}: {error}", EnvFilter::DEFAULT_ENV))
        }),
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogLine)
        .with_ansi(io::stderr().is_terminal() && !no_color)
        // It would say so on standard error, which is what just failed, and panic.
        .log_internal_errors(false)
        .init();
}

fn wrong_usage(message: &str) -> ! {
    wrong_arguments(Args::command().error(ErrorKind::ArgumentConflict, printable(message)))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list is clap's, and open")]
/// Quotes what was typed, which a script may have from elsewhere.
fn wrong_arguments(mut error: clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let steering = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) if printable(text) != *text => Some((kind, printable(text))),
        _ => None,
    });
    for (kind, text) in steering.collect::<Vec<_>>() {
        error.insert(kind, ContextValue::String(text));
        // They quote it once more, in texts that cannot be taken apart.
        error.remove(ContextKind::Suggested);
    }
    let _ = io::stderr().lock().write_all(lines(error.render()).as_bytes());
    std::process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_71_names_and_lines_steer_no_terminal() {
        assert_eq!(path_in_words(Path::new("a\x1b[31m/b\n.dwr")), r"a\x1b[31m/b\n.dwr");
        assert_eq!(lines("one\x1b[2J\ntwo\r"), "one\\x1b[2J\ntwo\\r");
    }
}
