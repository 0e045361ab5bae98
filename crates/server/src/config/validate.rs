//! What settings may be, and in words what is wrong with those that may not.

use super::{Config, Listen, Timeouts, TlsFiles};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use thiserror::Error;

/// More event loops than any machine has cores, and few enough to start.
const MOST_WORKERS: usize = 1024;

/// What a Unix socket's address has room for on Linux: 108 bytes with a NUL.
const LONGEST_PATH: usize = 107;

/// Deadlines are kept in milliseconds of 32 bits.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64 - 1);

/// Where in a file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// One setting that cannot be, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigError {
    /// The setting as the file has it, such as `workers`, `timeouts.idle` or `listen[0]`; empty
    /// when it is about the file as a whole.
    pub key: String,
    /// Where the file says so; `None` for what was not read from one.
    pub at: Option<Position>,
    /// What is wrong, and what would be right.
    pub words: String,
}

/// `12:9: workers: …`, with as much of it as is known.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.at {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.words)
    }
}

/// Everything that is wrong with a configuration, in the order of the file, a line each.
/// Never empty.
///
/// Bound: [`ConfigErrors::MOST`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// No more are told at once; one who has so many does not read them all.
    pub const MOST: usize = 100;

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Whether a server can run with these settings, as far as that can be seen without the
    /// system: nothing is opened, no file is looked at.
    ///
    /// # Errors
    /// All that is wrong at once, in words.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut found = Found(Vec::new());
        found.check("workers", (1..=MOST_WORKERS).contains(&self.workers), || {
            format!("{} workers; it takes 1 to {MOST_WORKERS}", self.workers)
        });
        found.at_least_one("backlog", self.backlog);
        found.check("backlog", i32::try_from(self.backlog).is_ok(), || "more than any system has room for".into());
        found.check("keep-alive", self.keep_alive.is_none_or(is_kept_alive), || {
            "the system counts whole seconds, 1s to 9h; for no keep-alive write none".into()
        });
        found.at_least_one("max-connections", self.max_connections);
        found.at_least_one("max-connections-per-address", self.max_connections_per_address);
        found.at_least_one("memory-bytes", self.memory_bytes);
        found.check("tick", self.tick != Some(Duration::ZERO), || "would never end; for no tick write none".into());
        found.check("connect-timeout", !self.connect_timeout.is_zero(), || {
            "no connection stands at once; write 1ms or more".into()
        });
        found.at_least_one("commands-per-connection", self.commands_per_connection);
        found.at_least_one("command-bytes-per-connection", self.command_bytes_per_connection);
        found.check("commands", self.commands >= self.commands_per_connection as usize, || {
            format!(
                "fewer than commands-per-connection, {}: one connection could take all",
                self.commands_per_connection
            )
        });
        found.at_least_one("events", self.events);
        found.at_least_one("budget-bytes", self.budget_bytes);
        found.at_least_one("budget-messages", self.budget_messages);
        found.check_timeouts(&self.timeouts);
        let TlsFiles { cert, key } = &self.tls;
        let other = if cert.is_some() { "tls.cert" } else { "tls.key" };
        found.check(other, cert.is_some() == key.is_some(), || {
            let missing = if cert.is_some() { "key" } else { "cert" };
            format!("without tls.{missing}; a certificate and its key go together")
        });
        found.check_places(&self.listen);
        if found.0.is_empty() { Ok(()) } else { Err(ConfigErrors(found.0)) }
    }
}

/// What Linux takes for `TCP_KEEPIDLE`: at most 32767 s.
fn is_kept_alive(after: Duration) -> bool {
    after.subsec_nanos() == 0 && (1..=9 * 3600).contains(&after.as_secs())
}

struct Found(Vec<ConfigError>);

impl Found {
    fn check(&mut self, key: impl Into<String>, is_fine: bool, words: impl FnOnce() -> String) {
        if !is_fine && self.0.len() < ConfigErrors::MOST {
            self.0.push(ConfigError { key: key.into(), at: None, words: words() });
        }
    }

    fn at_least_one<T: Default + PartialEq>(&mut self, key: &str, value: T) {
        self.check(key, value != T::default(), || "0 would stop everything; write 1 or more".into());
    }

    fn check_timeouts(&mut self, timeouts: &Timeouts) {
        let Timeouts { first_byte, message, idle, stall, min_rate: _, close } = *timeouts;
        for (key, timeout) in
            [("first-byte", first_byte), ("message", message), ("idle", idle), ("stall", stall), ("close", close)]
        {
            let timeout = timeout.unwrap_or_default();
            self.check(format!("timeouts.{key}"), timeout <= LONGEST_TIMEOUT, || {
                "longer than 49 days; for no timeout write none".into()
            });
            let is_rounded_to_none = !timeout.is_zero() && timeout < Duration::from_millis(1);
            self.check(format!("timeouts.{key}"), !is_rounded_to_none, || "shorter than 1ms".into());
        }
    }

    fn check_places(&mut self, places: &[Listen]) {
        for (n, place) in places.iter().enumerate() {
            let key = format!("listen[{n}]");
            let picks_a_port = matches!(place, Listen::Tcp(address) if address.port() == 0);
            let is_new = places[..n].iter().all(|other| other.to_string() != place.to_string());
            self.check(&key, is_new || picks_a_port, || format!("{place} is there twice; remove one of them"));
            match place {
                Listen::Unix { path, mode } => {
                    let bytes = path.as_os_str().as_bytes();
                    self.check(&key, bytes.len() <= LONGEST_PATH, || {
                        format!("a socket's path has at most {LONGEST_PATH} bytes, this one has {}", bytes.len())
                    });
                    self.check(&key, !bytes.is_empty() && !bytes.contains(&0), || "this is no path of a file".into());
                    self.check(&key, mode.is_none_or(|mode| mode <= 0o777), || {
                        "the mode is up to 0o777: read, write and no more".into()
                    });
                }
                Listen::Systemd(name) => {
                    let is_name = !name.is_empty() && !name.contains(':');
                    self.check(&key, is_name, || "a socket's name is not empty and has no colon".into());
                }
                Listen::Tcp(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(config: &Config) -> Vec<String> {
        config.validate().err().map_or_else(Vec::new, |errors| errors.iter().map(|error| error.key.clone()).collect())
    }

    #[test]
    fn w5_defaults_are_valid_and_every_bound_is_on() {
        assert_eq!(Config::new().validate(), Ok(()));
        let config = Config::new();
        assert!(config.max_connections < usize::MAX && config.memory_bytes < usize::MAX && config.backlog > 0);
    }

    #[test]
    fn w5_all_that_is_wrong_is_said_at_once() {
        let mut config = Config::new().workers(0).backlog(0).tick(Duration::ZERO).keep_alive(Duration::from_millis(1));
        config.timeouts.idle = Some(Duration::MAX);
        config.timeouts.close = Some(Duration::from_nanos(1));
        let config = config.listen(Listen::Systemd(String::new()));
        let wrong = ["workers", "backlog", "keep-alive", "tick", "timeouts.idle", "timeouts.close", "listen[0]"];
        assert_eq!(keys(&config), wrong);
        assert!(config.validate().unwrap_err().to_string().starts_with("workers: 0 workers; it takes 1 to 1024\n"));
    }

    #[test]
    fn each_bound_is_checked_by_itself() {
        let cases: [(&str, Config); 10] = [
            ("workers", Config::new().workers(MOST_WORKERS + 1)),
            ("max-connections", Config::new().max_connections(0)),
            ("max-connections-per-address", Config::new().max_connections_per_address(0)),
            ("memory-bytes", Config::new().memory_bytes(0)),
            ("connect-timeout", Config::new().connect_timeout(Duration::ZERO)),
            ("commands", Config::new().commands(63)),
            ("command-bytes-per-connection", Config::new().command_bytes_per_connection(0)),
            ("events", Config::new().events(0)),
            ("budget-bytes", Config::new().budget_bytes(0)),
            ("budget-messages", Config::new().budget_messages(0)),
        ];
        for (key, config) in cases {
            assert_eq!(keys(&config), [key]);
        }
    }

    #[test]
    fn one_place_twice_is_an_error_and_two_picked_ports_are_not() {
        let on = |text: &str| text.parse::<Listen>().unwrap();
        let picked = Config::new().listen(on("127.0.0.1:0")).listen(on("127.0.0.1:0"));
        assert_eq!(keys(&picked), [""; 0]);
        let twice = Config::new().listen(on("unix:/a")).listen(Listen::Unix { path: "/a".into(), mode: Some(0o600) });
        assert_eq!(keys(&twice), ["listen[1]"]);
        let long = Config::new().listen(on(&format!("unix:/{}", "x".repeat(LONGEST_PATH))));
        assert_eq!(keys(&long), ["listen[0]"]);
        let mode = Config::new().listen(Listen::Unix { path: "/a".into(), mode: Some(0o1777) });
        assert_eq!(keys(&mode), ["listen[0]"]);
    }

    #[test]
    fn a_thousand_mistakes_are_a_hundred_lines() {
        let many = (0..1000).fold(Config::new(), |config, _| config.listen(Listen::Systemd(String::new())));
        assert_eq!(keys(&many).len(), ConfigErrors::MOST);
    }
}
