//! What can be typed, and what it may be. What is done with it is in the file of
//! each command.

use crate::record::{Changes, bytes};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use drywire_core::escape::printable;
use drywire_core::record::Keep;
use drywire_driver_mio::{Listen, Target};
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

/// Serves network protocols, and talks to servers.
#[derive(Debug, Parser)]
#[command(name = "drywire", version, after_help = EXIT_STATUS, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// What to log on standard error [default: RUST_LOG if that is set, else warn]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level())]
    pub(crate) log: Option<LevelFilter>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 when it did what it was told, 1 after a failure, 2 for a wrong command line,\n\
    3 when the drivers of a demo or a replay differ, a recording is damaged, a simulated world fails,\n\
    or a configuration is wrong,\n\
    128 and the signal's number when one ended a demo.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Serve(Serve),
    Check(Check),
    Connect(Connect),
    Hub(Hub),
    Sim(Sim),
    Replay(Replay),
    Trace(Trace),
}

/// Runs one protocol on every driver at once, and compares what they did.
///
/// Each driver serves the same files in a process of its own; a client talks the
/// same talk to each of them. The table at the end says what it cost and whether every
/// byte and every end was the same.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Requests to each driver
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) requests: u32,
    /// What the talk is made from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Be one of the servers: the driver, and the directory
    #[arg(long, hide = true, num_args = 2, value_names = ["DRIVER", "DIR"])]
    serve: Option<Vec<OsString>>,
}

impl Demo {
    /// The server to be, if it is to be one.
    pub(crate) fn server(&self) -> Result<Option<(Driver, &Path)>, String> {
        let Some([driver, root]) = self.serve.as_deref() else { return Ok(None) };
        let known = Driver::ALL.into_iter().find(|known| *driver == *known.to_string());
        let driver = known.ok_or_else(|| format!("--serve: there is no driver {}", printable(&driver.display())))?;
        Ok(Some((driver, Path::new(root))))
    }
}

/// Serves a protocol until it is stopped.
///
/// Prints the addresses it listens on, a line each, and nothing else on standard output.
///
/// SIGINT (Ctrl-C) and SIGTERM stop it: nobody new is let in, connections get what
/// they are owed until the drain timeout, and what is open then is cut. Each that
/// did not finish is named on standard error. Another signal, 1 s after the first or
/// later, ends it at once.
///
/// SIGHUP reads the certificate and its key again, and nothing else. When the terminal that
/// it was started from is gone, it stops as for SIGTERM; an ignored one (nohup) stays ignored.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// What to speak
    pub(crate) protocol: Protocol,
    // As `help`: rustdoc would take the IPv6 address for a link.
    #[arg(long, value_name = "ADDR")]
    #[arg(
        help = "Where to listen: IP:PORT, as 127.0.0.1:2525 or [::1]:2525 (port 0 picks a free one), unix:PATH, or \
                  systemd:NAME for sockets that systemd has opened; may be given again [default: 127.0.0.1:2525]"
    )]
    pub(crate) listen: Vec<Listen>,
    /// Take the settings from this file; an option given here counts instead of what the file says
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Event loops; each connection lives on one of them [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// The directory that dialog serves files from [default: the current directory]; not the private key, the
    /// configuration and recordings, should they lie there
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Speak TLS, and show this certificate (PEM; those that vouch for it behind it); SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key (PEM, not encrypted); keep it outside of what is served
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate that is made now and that nobody vouches for: for development
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) tls_self_signed: bool,
    /// Begin without TLS, and go over to it when the peer says STARTTLS (dialog)
    #[arg(long)]
    pub(crate) starttls: bool,
    /// What it runs on: the protocol is the same
    #[arg(long, value_enum, default_value_t = Driver::Mio)]
    pub(crate) driver: Driver,
    /// Close a connection on which nothing moves for this long: 30s, 5min, …, or none
    #[arg(long, value_name = "DURATION", value_parser = idle_ms)]
    pub(crate) idle_timeout: Option<u32>,
    /// When stopped, wait this long for connections that are owed something: 0, 30s, …, or none for no end [default: 8s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) drain_timeout: Option<Duration>,
    /// Record every connection into this directory, a file each: what its peer sent, and all that came of it
    #[arg(long, value_name = "DIR")]
    pub(crate) record: Option<PathBuf>,
    /// Bytes a recording may have, in memory until its connection ends: 4096 or more, 64KiB, 1MiB, …
    #[arg(long, value_name = "N", default_value = "1MiB", value_parser = record_bytes, requires = "record")]
    pub(crate) record_bytes: u32,
    /// Keep the last bytes of a connection instead of the first: can be traced, not replayed
    #[arg(long, requires = "record")]
    pub(crate) record_ring: bool,
    /// Recordings this server leaves in the directory; the oldest go
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..), requires = "record")]
    pub(crate) record_keep: u32,
    /// Blank the rest of each line, or of each message and line in one, that begins with this, as "PASS "; may be
    /// given again
    #[arg(long, value_name = "PREFIX", value_parser = clap::builder::NonEmptyStringValueParser::new(), requires = "record")]
    pub(crate) record_mask: Vec<String>,
}

/// Says what is wrong in a configuration, by line, or what it would run.
///
/// Standard output has a line for each mistake, as drywire.toml:12:9: ..., and the exit
/// status is 3 then. Nothing is opened and nobody is served.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The configuration, a file in TOML
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What is to be served with it [default: any of them]
    #[arg(value_enum)]
    pub(crate) protocol: Option<Protocol>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Every byte comes back
    ByteEcho,
    /// Every line comes back; `quit` ends
    LineEcho,
    /// GET, SIZE, NOOP and QUIT, for the files below a directory
    Dialog,
    /// Every message comes back; eight bytes of length stand in front of each
    Hub,
}

impl Protocol {
    /// The name that is typed, and that recordings have.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::ByteEcho => "byte-echo",
            Protocol::LineEcho => "line-echo",
            Protocol::Dialog => "dialog",
            Protocol::Hub => "hub",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// mio, a thread for each worker
    Mio,
    /// tokio, a task for each worker
    Tokio,
    /// async-io, the reactor of smol
    Smol,
}

impl Driver {
    pub(crate) const ALL: [Driver; 3] = [Driver::Mio, Driver::Tokio, Driver::Smol];
}

/// The name that is typed.
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Mio => "mio",
            Driver::Tokio => "tokio",
            Driver::Smol => "smol",
        })
    }
}

/// Connects to a server: sends standard input, prints what comes back.
///
/// At the end of input (Ctrl-D in a terminal) it ends its direction and reads on
/// until the server closes. When the server closes first, it is done as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Connect {
    #[arg(value_name = "ADDR")]
    #[arg(help = "The server: NAME:PORT, IP:PORT, as localhost:2525, 127.0.0.1:2525 or [::1]:2525, or unix:PATH")]
    pub(crate) target: Target,
    /// Give up when the connection does not stand by then, the name's look-up included: 2s, 1min, …, or none
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    /// Give up when nothing moves, or the server takes nothing, for this long: 30s, 5min, …, or none
    #[arg(long, value_name = "DURATION", default_value = "none", value_parser = idle_ms)]
    pub(crate) idle_timeout: u32,
}

/// Sends messages to a hub, and prints those that come.
///
/// Each FILE is one message, in this order; without any, each line of standard input is
/// one, without its line feed. Behind the last it ends its direction, and prints what
/// comes until the server ends. When the server ends first, an input that has nothing to say for 0.3 s
/// has said all.
///
/// The exit status is 0 when all was sent and the server ended between two messages, or as
/// many came as were expected.
#[derive(Debug, clap::Args)]
pub(crate) struct Hub {
    #[arg(value_name = "ADDR")]
    #[arg(help = "The server: NAME:PORT, IP:PORT, as localhost:2525, 127.0.0.1:2525 or [::1]:2525, or unix:PATH")]
    pub(crate) target: Target,
    /// A message each; - is all of standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What it runs on: the protocol is the same
    #[arg(long, value_enum, default_value_t = Driver::Mio)]
    pub(crate) driver: Driver,
    /// Close when all is sent and N messages have come, instead of ending our direction: for servers that drop what they owe
    /// when their peer ends, as GAP's IOHub does
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<u64>,
    /// Print the length of each message on a line before it, and nothing behind it, instead of a line feed behind it
    #[arg(long, conflicts_with = "raw")]
    pub(crate) lengths: bool,
    /// Print messages with nothing between them
    #[arg(long)]
    pub(crate) raw: bool,
    /// The longest message, in either direction: 4096, 64KiB, 16MiB, …, up to 1024MiB
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = longest)]
    pub(crate) longest: u32,
    /// Give up when the connection does not stand by then, the name's look-up included: 2s, 1min, …, or none
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) connect_timeout: Duration,
    /// Give up when nothing moves, or the server takes nothing, for this long: 30s, 5min, …, or none
    #[arg(long, value_name = "DURATION", default_value = "none", value_parser = idle_ms)]
    pub(crate) idle_timeout: u32,
}

/// Breaks protocols, core and worker in simulated worlds, one for each seed.
///
/// A world has a network, a disk and peers that fail on demand; what must hold is
/// checked after every step. A failure is shortened, and printed with the command that
/// repeats it.
#[derive(Debug, clap::Args)]
pub(crate) struct Sim {
    /// Which worlds: from the first number, up to the second
    #[arg(long, value_name = "A..B", default_value = "0..20000", value_parser = seeds)]
    pub(crate) seeds: Range<u64>,
    /// How many at a time [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Run one world alone, and print everything that happens in it
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "threads"])]
    pub(crate) seed: Option<u64>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with .. between them, as 0..1000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("there is no seed in it".into()) } else { Ok(range) }
}

/// Runs recordings through their protocol again, and compares.
///
/// Prints a line for each: "identical", or the first difference. The exit status is
/// 3 when one differs or is damaged.
///
/// With other limits the turns stay those that were recorded, up to where a shorter
/// timeout would have made one of its own: that is the first difference.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// Recordings, or directories of them
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// What if it had other limits: input=4096,output=64KiB,linger-bytes=0,linger=5s,stall=1min,idle=30s,events=8,files=2
    #[arg(long, value_name = "LIMITS", value_parser = Changes::parse)]
    pub(crate) limits: Option<Changes>,
    /// Replay it as if it had been recorded with this --record-mask; may be given again
    #[arg(long, value_name = "PREFIX", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) mask: Vec<String>,
}

/// Shows a recording: who did what, when, and what the connection waited for.
#[derive(Debug, clap::Args)]
pub(crate) struct Trace {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write one page for a browser instead, to this file (- is standard output)
    #[arg(long, value_name = "OUT")]
    pub(crate) html: Option<PathBuf>,
    /// Blank the rest of each line, or message, that begins with this, as "PASS ", and leave out names and texts; may be
    /// given again
    #[arg(long, value_name = "PREFIX", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) mask: Vec<String>,
    /// Write the masked recording instead, to this file (- is standard output): a copy that can be passed on
    #[arg(long, value_name = "OUT", requires = "mask", conflicts_with_all = ["html", "from", "to", "bytes"])]
    pub(crate) copy: Option<PathBuf>,
    /// Leave out what came before: 1.5s after the first turn, …
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) from: Option<Duration>,
    /// Leave out what came after
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) to: Option<Duration>,
    /// Bytes of each excerpt, at most 4096 [default: 64, on a page 120]
    #[arg(long, value_name = "N", value_parser = excerpt_bytes)]
    pub(crate) bytes: Option<usize>,
}

fn level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

/// Units: milliseconds, 0 for no timeout, as [`drywire_core::Limits`] has it.
pub(crate) fn idle_ms(text: &str) -> Result<u32, String> {
    let timeout = match duration(text)? {
        Duration::MAX => Duration::ZERO,
        timeout => timeout,
    };
    if !timeout.is_zero() && timeout < Duration::from_millis(1) {
        return Err("shorter than 1ms; 0 or none is for no timeout".into());
    }
    u32::try_from(timeout.as_millis()).map_err(|_| "longer than 49 days; write none for no timeout".into())
}

/// What a recording keeps at least is the core's to say.
fn record_bytes(text: &str) -> Result<u32, String> {
    match bytes(text)? {
        n if (n as usize) < Keep::LEAST => Err(format!("a recording has at least {} bytes", Keep::LEAST)),
        n => Ok(n),
    }
}

/// Several of them may be in memory.
fn longest(text: &str) -> Result<u32, String> {
    match bytes(text)? {
        n @ 1..=0x4000_0000 => Ok(n),
        _ => Err("from 1 to 1024MiB".into()),
    }
}

fn excerpt_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 0..=4096) => Ok(n),
        _ => Err("a number from 0 to 4096".into()),
    }
}

/// [`Duration::MAX`] for none.
fn duration(text: &str) -> Result<Duration, String> {
    match text {
        "none" => Ok(Duration::MAX),
        "0" => Ok(Duration::ZERO),
        text => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn idle_timeouts_are_milliseconds_and_none_is_0() {
        for (text, ms) in [("30s", 30_000), ("5min", 300_000), ("1ms", 1), ("0", 0), ("0s", 0), ("none", 0)] {
            assert_eq!(idle_ms(text), Ok(ms), "{text}");
        }
        assert_eq!(idle_ms("4294967295ms"), Ok(u32::MAX));
        for text in ["4294967296ms", "50days", "1us", "30", "", "-1s", "soon", "584000000000years"] {
            assert!(idle_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn drain_timeouts_may_be_nothing_or_endless() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1min 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("none"), Ok(Duration::MAX));
        assert!(duration("10").is_err());
    }

    #[test]
    fn seeds_are_a_range_with_something_in_it() {
        assert_eq!(seeds("0..300"), Ok(0..300));
        for text in ["", "7", "3..3", "4..3", "a..b", "1..", "-1..2"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
