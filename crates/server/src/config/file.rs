//! The configuration as a file: which keys there are. How a value of each kind looks is in
//! `file/kinds.rs`.
//!
//! The keys are the names of [`Config`]'s fields with hyphens. Each stands in one table here,
//! which both reads and writes it. Every mistake is told, with its place.

mod kinds;

use super::{Config, ConfigError, ConfigErrors, Position};
use crate::escape::printable;
use kinds::{Kind, count, flag, optional, panics, path, paths, places, reuse, size, text, timeout, timeout_rate, wait};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One key: how it is read, and how it is written. A value that only silence says is `None`.
struct Key {
    name: &'static str,
    read: fn(&mut Config, &Spanned<DeValue<'_>>, &mut Findings),
    write: fn(&Config) -> Option<String>,
}

macro_rules! key {
    ($name:literal, $($field:ident).+, $kind:expr) => {
        Key {
            name: $name,
            read: |config, value, findings| {
                if let Some(read) = Kind::read(&$kind, value, findings) {
                    config.$($field).+ = read;
                }
            },
            write: |config| Kind::write(&$kind, &config.$($field).+),
        }
    };
}

struct Section {
    /// Empty for the keys at the top.
    name: &'static str,
    keys: &'static [Key],
}

/// Every key there is.
const SECTIONS: [Section; 4] = [
    Section {
        name: "",
        keys: &[
            key!("listen", listen, places()),
            key!("workers", workers, count()),
            key!("port-reuse", port_reuse, reuse()),
            key!("backlog", backlog, count()),
            key!("keep-alive", keep_alive, optional()),
            key!("no-delay", no_delay, flag()),
            key!("root", root, path()),
            key!("secrets", secrets, paths()),
            key!("max-connections", max_connections, count()),
            key!("max-connections-per-address", max_connections_per_address, count()),
            key!("refusal", refusal, text()),
            key!("memory-bytes", memory_bytes, size()),
            key!("tick", tick, optional()),
            key!("connect-timeout", connect_timeout, wait()),
            key!("drain-timeout", drain_timeout, wait()),
            key!("commands-per-connection", commands_per_connection, count()),
            key!("command-bytes-per-connection", command_bytes_per_connection, size()),
            key!("commands", commands, count()),
            key!("on-panic", on_panic, panics()),
            key!("events", events, count()),
            key!("budget-bytes", budget_bytes, size()),
            key!("budget-messages", budget_messages, count()),
        ],
    },
    Section {
        name: "timeouts",
        keys: &[
            key!("first-byte", timeouts.first_byte, timeout()),
            key!("message", timeouts.message, timeout()),
            key!("idle", timeouts.idle, timeout()),
            key!("stall", timeouts.stall, timeout()),
            key!("min-rate", timeouts.min_rate, timeout_rate()),
            key!("close", timeouts.close, timeout()),
        ],
    },
    Section { name: "tls", keys: &[key!("cert", tls.cert, path()), key!("key", tls.key, path())] },
    Section {
        name: "system-calls",
        keys: &[key!("openat2", system_calls.openat2, flag()), key!("sendfile", system_calls.sendfile, flag())],
    },
];

impl Config {
    /// The settings that a text in [TOML](https://toml.io) says; what it does not say has its
    /// default. They have been [validated](Config::validate).
    ///
    /// Keys are the names of the fields with hyphens. Durations are written `"30s"`, `"1min 30s"`,
    /// and `"none"` where there may be none; sizes as numbers of bytes or `"64KiB"`;
    /// places to listen on as `"127.0.0.1:2525"`, `"unix:/run/dialog.sock"`, `"systemd:dialog"`, or
    /// `{ address = "unix:/run/dialog.sock", mode = "0660" }`. `examples/drywire.toml` has every key.
    ///
    /// # Errors
    /// All that is wrong, each with line and column, in the order of the file.
    pub fn from_toml(text: &str) -> Result<Config, ConfigErrors> {
        let (document, grammar) = DeTable::parse_recoverable(text);
        let mut findings = Findings::default();
        for error in grammar {
            findings.at(error.span(), "", error.message().trim_end());
            findings.broken.extend(error.span().map(|place| place.start));
        }
        let mut config = Config::new();
        config.read(document.get_ref(), &mut findings);
        if let Err(errors) = config.validate() {
            for error in errors.iter() {
                // About what is wrong in itself there is nothing more to say.
                findings.about(&error.key, &error.words);
            }
        }
        findings.into_result(text, config)
    }

    /// The text that says these settings, key by key. What only silence can say, such as no root, is
    /// left out.
    ///
    /// *Guaranteed*: [`Config::from_toml`] reads the same from it, if they are valid and all paths
    /// are text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for section in &SECTIONS {
            let mut lines = section.keys.iter().filter_map(|key| Some((key.name, (key.write)(self)?))).peekable();
            if lines.peek().is_some() && !section.name.is_empty() {
                text += &format!("\n[{}]\n", section.name);
            }
            for (name, value) in lines {
                text += &format!("{name} = {value}\n");
            }
        }
        text
    }

    fn read(&mut self, document: &DeTable<'_>, findings: &mut Findings) {
        let [top, sections @ ..] = &SECTIONS;
        for (name, value) in document {
            if let Some(key) = top.keys.iter().find(|key| key.name == name.get_ref()) {
                findings.enter(key.name.into(), value.span());
                (key.read)(self, value, findings);
            } else if let Some(section) = sections.iter().find(|section| section.name == name.get_ref()) {
                match value.get_ref().as_table() {
                    Some(table) => self.read_section(section, table, findings),
                    None => {
                        let words = format!("{}, not a table", kinds::what(value.get_ref()));
                        findings.at(Some(value.span()), section.name, &words);
                    }
                }
            } else {
                findings.unknown(name, top, sections);
            }
        }
    }

    fn read_section(&mut self, section: &Section, table: &DeTable<'_>, findings: &mut Findings) {
        for (name, value) in table {
            match section.keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => {
                    findings.enter(format!("{}.{}", section.name, key.name), value.span());
                    (key.read)(self, value, findings);
                }
                None => findings.unknown(name, section, &[]),
            }
        }
    }
}

/// What was found wrong so far, and where which key is.
#[derive(Default)]
struct Findings {
    all: Vec<(usize, ConfigError)>,
    /// The key that is being read.
    key: String,
    places: HashMap<String, Range<usize>>,
    /// Where the grammar is broken: what was read there is nobody's word.
    broken: HashSet<usize>,
}

impl Findings {
    fn enter(&mut self, key: String, place: Range<usize>) {
        self.places.insert(key.clone(), place);
        self.key = key;
    }

    /// About the key that is being read.
    fn here(&mut self, place: Range<usize>, words: &str) {
        let key = self.key.clone();
        self.at(Some(place), &key, words);
    }

    fn at(&mut self, place: Option<Range<usize>>, key: &str, words: &str) {
        let offset = place.map_or(0, |place| place.start);
        if !self.broken.contains(&offset) {
            self.all.push((offset, ConfigError { key: key.into(), at: None, words: printable(words) }));
        }
    }

    /// About a key by its name, unless there was something to say about it already. What the file
    /// does not say is about the file.
    fn about(&mut self, key: &str, words: &str) {
        if self.all.iter().all(|(_, error)| error.key != key) {
            self.at(self.places.get(key).cloned(), key, words);
        }
    }

    fn unknown(&mut self, name: &Spanned<std::borrow::Cow<'_, str>>, section: &Section, sections: &[Section]) {
        let (asked, keys) = (name.get_ref(), section.keys.iter().map(|key| key.name));
        let known: Vec<&str> = keys.chain(sections.iter().map(|section| section.name)).collect();
        let place = if section.name.is_empty() { String::new() } else { format!(" in [{}]", section.name) };
        let elsewhere = || SECTIONS.iter().find(|other| other.keys.iter().any(|key| key.name == asked.as_ref()));
        let hint = match (closest(asked, &known), elsewhere()) {
            (_, Some(Section { name: "", .. })) => "; it belongs above the first [section]".into(),
            (_, Some(other)) => format!("; it belongs into [{}]", other.name),
            (Some(closest), None) => format!("; did you mean `{closest}`?"),
            (None, None) => format!("; there are {}", known.join(", ")),
        };
        self.at(Some(name.span()), "", &format!("there is no key `{}`{place}{hint}", crate::escape::escaped(asked)));
    }

    fn into_result(mut self, text: &str, config: Config) -> Result<Config, ConfigErrors> {
        if self.all.is_empty() {
            return Ok(config);
        }
        self.all.sort_by_key(|(offset, _)| *offset);
        self.all.truncate(ConfigErrors::MOST);
        let errors = self.all.into_iter().map(|(offset, mut error)| {
            error.at = Some(position(text, offset));
            error
        });
        Err(ConfigErrors(errors.collect()))
    }
}

fn position(text: &str, offset: usize) -> Position {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_starts = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Position {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + String::from_utf8_lossy(&before[line_starts..]).chars().count(),
    }
}

/// What somebody meant who wrote this, as far as one can tell.
fn closest<'a>(asked: &str, known: &[&'a str]) -> Option<&'a str> {
    let asked = asked.replace('_', "-").to_lowercase();
    let best = known.iter().map(|name| (strsim::jaro_winkler(&asked, name), *name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
