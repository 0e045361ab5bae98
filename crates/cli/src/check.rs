//! `drywire check`: what is wrong in a configuration, by line, or what it would run.

use crate::args::{Check, Protocol};
use crate::budget::{self, TooSmall};
use crate::path_in_words;
use clap::ValueEnum;
use drywire_server::{Config, ConfigErrors, Listen, PortReuse};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use thiserror::Error;

/// Files longer than this are none of ours; nobody writes so much by hand.
const MOST_BYTES: u64 = 1 << 20;

/// A file that says no configuration.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    #[error("cannot read {}: {source}", path_in_words(.path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}", Lines { path, errors })]
    Wrong { path: PathBuf, errors: ConfigErrors },
}

/// `drywire.toml:12:9: …`, as compilers have it.
struct Lines<'a> {
    path: &'a Path,
    errors: &'a ConfigErrors,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{error}", path_in_words(self.path))?;
        }
        Ok(())
    }
}

/// The configuration a file says.
pub(crate) fn read(path: &Path) -> Result<Config, FileError> {
    let text = std::fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, MOST_BYTES + 1), &mut text)?;
        match text.len() as u64 > MOST_BYTES {
            true => Err(io::Error::other("it is longer than 1 MiB")),
            false => Ok(text),
        }
    });
    let text = text.map_err(|source| FileError::Unreadable { path: path.into(), source })?;
    Config::from_toml(&text).map_err(|errors| FileError::Wrong { path: path.into(), errors })
}

/// Status 3 when something is wrong.
pub(crate) fn run(args: &Check) -> Result<ExitCode, FileError> {
    let (text, status) = match read(&args.file) {
        Ok(config) => match short_budgets(&config, args.protocol) {
            Ok(short) => (summary(&args.file, &config, &short), ExitCode::SUCCESS),
            Err(short) => (format!("{}: {short}\n", args.file.display()), ExitCode::from(3)),
        },
        Err(wrong @ FileError::Wrong { .. }) => (format!("{wrong}\n"), ExitCode::from(3)),
        Err(error @ FileError::Unreadable { .. }) => return Err(error),
    };
    // Whoever closed standard output has seen enough; the status stays true.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(status)
}

/// For which protocols the memory budget is too small, if not for all it may be used for.
fn short_budgets(config: &Config, protocol: Option<Protocol>) -> Result<Vec<TooSmall>, TooSmall> {
    let all = protocol.map_or(Protocol::value_variants().to_vec(), |protocol| vec![protocol]);
    let is_tls = config.tls.cert.is_some();
    let mut short: Vec<_> = all.iter().filter_map(|&protocol| budget::check(protocol, config, is_tls).err()).collect();
    if short.len() == all.len() { Err(short.swap_remove(0)) } else { Ok(short) }
}

fn summary(file: &Path, config: &Config, short: &[TooSmall]) -> String {
    let mut text = format!("{}: ok\n", path_in_words(file));
    let mut line = |what: &str, is: &dyn fmt::Display| writeln!(text, "  {what:<14}{is}").expect("memory takes it");
    match &config.listen[..] {
        [] => line("listens on", &"nothing yet; serve takes --listen, or 127.0.0.1:2525"),
        places => places.iter().for_each(|place| line("listens on", place)),
    }
    let reuse = match (config.workers, config.port_reuse) {
        (1, _) => "",
        (_, PortReuse::Off) => ", the first accepts for all",
        (_, PortReuse::Auto | PortReuse::On) => ", each with a socket of its own where the system has that",
    };
    line("workers", &format_args!("{}{reuse}", config.workers));
    let per_address = config.max_connections_per_address;
    line("connections", &format_args!("at most {}, {per_address} from one address", config.max_connections));
    line("memory", &format_args!("at most {} bytes in connections", config.memory_bytes));
    match &config.root {
        Some(root) => line("files", &format_args!("below {}", path_in_words(root))),
        None => line("files", &"none, unless serve is given --root"),
    }
    config.secrets.paths().iter().for_each(|path| line("never serves", &path_in_words(path)));
    for warning in warnings(config) {
        line("warning:", &warning);
    }
    short.iter().for_each(|short| line("warning:", short));
    text
}

/// What the text does not show, and this machine does, now.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut missing = |what: &str, path: &Path| {
        if !path.is_dir() {
            warnings.push(format!("{what} {} is no directory here", path_in_words(path)));
        }
    };
    if let Some(root) = &config.root {
        missing("root", root);
    }
    for place in &config.listen {
        match place {
            Listen::Unix { path, .. } => match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => missing(&format!("for {place},"), parent),
                Some(_) | None => {}
            },
            Listen::Tcp(_) | Listen::Systemd(_) => {}
        }
    }
    for path in config.secrets.paths().iter().filter(|path| !path.exists()) {
        warnings.push(format!("the secret {} is not there, which hides nothing", path_in_words(path)));
    }
    warnings
}
