//! How a value of each kind looks in the file.

use super::Findings;
use crate::config::{Listen, OnPanic, PortReuse};
use crate::secrets::Secrets;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

/// The word for "there is none".
const NONE: &str = "none";

/// How a `T` is read and written.
pub(super) struct Kind<T> {
    read: fn(&Spanned<DeValue<'_>>, &mut Findings) -> Option<T>,
    /// `None` for what only silence says.
    write: fn(&T) -> Option<String>,
}

impl<T> Kind<T> {
    /// `None` when it was wrong, which the findings say then.
    pub(super) fn read(&self, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<T> {
        (self.read)(value, findings)
    }

    pub(super) fn write(&self, value: &T) -> Option<String> {
        (self.write)(value)
    }
}

/// What a value is, for "a number, not …".
pub(super) fn what(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "this is a text",
        DeValue::Integer(_) => "this is a number",
        DeValue::Float(_) => "this is a broken number",
        DeValue::Boolean(_) => "this is true or false",
        DeValue::Datetime(_) => "this is a date",
        DeValue::Array(_) => "this is a list",
        DeValue::Table(_) => "this is a table",
    }
}

/// How many of something.
pub(super) fn count<T: TryFrom<u64> + ToString>() -> Kind<T> {
    Kind { read: |value, findings| number(value, findings, "a number, such as 64"), write: |n| Some(n.to_string()) }
}

/// Bytes: a number, or text with a unit.
pub(super) fn size<T: TryFrom<u64> + ToString>() -> Kind<T> {
    Kind { read: |value, findings| bytes(value, findings), write: |n| Some(n.to_string()) }
}

/// Bytes per second.
pub(super) fn timeout_rate() -> Kind<Option<u32>> {
    Kind {
        read: |value, findings| match value.get_ref().as_str() {
            Some(NONE) => Some(Some(0)),
            Some(_) | None => bytes(value, findings).map(Some),
        },
        write: |rate| Some(if (*rate)? == 0 { quoted(NONE) } else { rate.as_ref()?.to_string() }),
    }
}

/// True or false.
pub(super) fn flag() -> Kind<bool> {
    Kind {
        read: |value, findings| match value.get_ref().as_bool() {
            Some(flag) => Some(flag),
            None => findings.none(value, &format!("{}; write true or false", what(value.get_ref()))),
        },
        write: |flag| Some(flag.to_string()),
    }
}

/// A duration that may be left out with the word for none.
pub(super) fn optional() -> Kind<Option<Duration>> {
    Kind {
        read: |value, findings| duration(value, findings),
        write: |duration| Some(duration.map_or_else(|| quoted(NONE), |duration| in_words(&duration))),
    }
}

/// A duration; none is for ever.
pub(super) fn wait() -> Kind<Duration> {
    Kind {
        read: |value, findings| Some(duration(value, findings)?.unwrap_or(Duration::MAX)),
        write: |wait| Some(if *wait == Duration::MAX { quoted(NONE) } else { in_words(wait) }),
    }
}

/// A timeout that silence leaves open, and the word for none turns off.
pub(super) fn timeout() -> Kind<Option<Duration>> {
    Kind {
        read: |value, findings| {
            let read = duration(value, findings)?;
            if read == Some(Duration::ZERO) {
                return findings.none(value, "nothing is done in no time; for no timeout write \"none\"");
            }
            Some(Some(read.unwrap_or(Duration::ZERO)))
        },
        write: |timeout| Some(if (*timeout)?.is_zero() { quoted(NONE) } else { in_words(timeout.as_ref()?) }),
    }
}

/// A path.
pub(super) fn path() -> Kind<Option<PathBuf>> {
    Kind {
        read: |value, findings| match value.get_ref().as_str() {
            Some("") | None => findings.none(value, "this is no path; write \"/srv/files\""),
            Some(path) => Some(Some(path.into())),
        },
        write: |path| Some(quoted(path.as_ref()?.to_str()?)),
    }
}

/// Files and directories.
pub(super) fn paths() -> Kind<Secrets> {
    const WANTED: &str = "write [\"/srv/files/key.pem\"]";
    Kind {
        read: |value, findings| {
            let DeValue::Array(paths) = value.get_ref() else {
                return findings.none(value, &format!("this is no list; {WANTED}"));
            };
            let mut read = Secrets::default();
            for path in paths {
                match path.get_ref().as_str() {
                    Some("") | None => return findings.none(path, &format!("this is no path; {WANTED}")),
                    Some(path) => read.add(path),
                }
            }
            Some(read)
        },
        write: |secrets| {
            let paths: Option<Vec<String>> = secrets.paths().iter().map(|path| Some(quoted(path.to_str()?))).collect();
            Some(format!("[{}]", paths?.join(", ")))
        },
    }
}

/// Words.
pub(super) fn text() -> Kind<String> {
    Kind {
        read: |value, findings| match value.get_ref().as_str() {
            Some(text) => Some(text.into()),
            None => findings.none(value, "these are no words; write \"421 too busy\\r\\n\""),
        },
        write: |text| Some(quoted(text)),
    }
}

/// When workers listen with sockets of their own.
pub(super) fn reuse() -> Kind<PortReuse> {
    const WORDS: [(&str, PortReuse); 3] = [("auto", PortReuse::Auto), ("on", PortReuse::On), ("off", PortReuse::Off)];
    Kind { read: |value, findings| word(value, findings, &WORDS), write: |reuse| spelled(reuse, &WORDS) }
}

/// What a panic ends.
pub(super) fn panics() -> Kind<OnPanic> {
    const WORDS: [(&str, OnPanic); 2] = [("isolate", OnPanic::Isolate), ("stop", OnPanic::Stop)];
    Kind { read: |value, findings| word(value, findings, &WORDS), write: |on| spelled(on, &WORDS) }
}

/// Places to listen on.
pub(super) fn places() -> Kind<Vec<Listen>> {
    Kind {
        read: |value, findings| {
            let DeValue::Array(places) = value.get_ref() else {
                return findings.none(value, "this is no list; write [\"127.0.0.1:2525\"]");
            };
            let mut read = Vec::new();
            for (n, value) in places.iter().enumerate() {
                findings.enter(format!("listen[{n}]"), value.span());
                // One that is wrong has its place all the same, so that the numbers stay right.
                read.push(place(value, findings).unwrap_or(Listen::Systemd("?".repeat(n + 1))));
            }
            Some(read)
        },
        write: |places| {
            let mut written = Vec::new();
            for place in places {
                // Not as it is displayed, which is for people.
                written.push(match place {
                    Listen::Tcp(address) => quoted(&address.to_string()),
                    Listen::Systemd(name) => quoted(&format!("systemd:{name}")),
                    Listen::Unix { path, mode } => {
                        let address = quoted(&format!("unix:{}", path.display()));
                        match mode {
                            Some(mode) => format!("{{ address = {address}, mode = \"{mode:04o}\" }}"),
                            None => address,
                        }
                    }
                });
            }
            Some(format!("[{}]", written.join(", ")))
        },
    }
}

fn place(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Listen> {
    if let Some(text) = value.get_ref().as_str() {
        return parsed(text, value, findings);
    }
    let Some(table) = value.get_ref().as_table() else {
        return findings.none(value, &format!("{}; write \"127.0.0.1:2525\"", what(value.get_ref())));
    };
    let (mut at, mut permissions) = (None, None);
    for (name, value) in table {
        match name.get_ref().as_ref() {
            "address" => match value.get_ref().as_str() {
                Some(text) => at = Some(parsed(text, value, findings)?),
                None => return findings.none(value, "the address is a text, as \"127.0.0.1:2525\""),
            },
            "mode" => permissions = Some((mode(value, findings)?, value)),
            other => {
                let words =
                    format!("there is no key `{}` here; there are address, mode", crate::escape::escaped(&other));
                findings.here(name.span(), &words);
            }
        }
    }
    match (at, permissions) {
        (Some(Listen::Unix { path, .. }), Some((mode, _))) => Some(Listen::Unix { path, mode: Some(mode) }),
        (Some(Listen::Tcp(_) | Listen::Systemd(_)), Some((_, value))) => {
            findings.none(value, "a mode is for the file of unix:PATH; leave it out here")
        }
        (Some(place), None) => Some(place),
        (None, _) => findings.none(value, "there is no address here; write { address = \"unix:/run/dialog.sock\" }"),
    }
}

fn parsed(text: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Listen> {
    text.parse().map_err(|error: crate::config::ParseListenError| findings.here(value.span(), &error.to_string())).ok()
}

/// Octal, as everybody writes it: 0o660, or as text "660" or "0660". 660 itself is 0o1224, and meant by nobody.
fn mode(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<u32> {
    let digits = match value.get_ref() {
        DeValue::String(text) => Some(text.as_ref()),
        DeValue::Integer(number) if number.radix() == 8 => Some(number.as_str()),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    };
    match digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()) {
        Some(mode) => Some(mode),
        None => findings.none(value, "a mode is octal; write \"0660\" or 0o660"),
    }
}

fn number<T: TryFrom<u64>>(value: &Spanned<DeValue<'_>>, findings: &mut Findings, wanted: &str) -> Option<T> {
    let Some(number) = value.get_ref().as_integer() else {
        return findings.none(value, &format!("{}; write {wanted}", what(value.get_ref())));
    };
    match whole(number).and_then(|n| T::try_from(n).ok()) {
        Some(n) => Some(n),
        None if number.as_str().starts_with('-') => findings.none(value, "less than nothing; write 1 or more"),
        None => findings.none(value, "more than there can be"),
    }
}

fn whole(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn bytes<T: TryFrom<u64>>(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<T> {
    const UNITS: [(&str, u64); 5] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];
    const WANTED: &str = "a number of bytes, or one with B, KiB, MiB, GiB or TiB as \"64KiB\"";
    let Some(text) = value.get_ref().as_str() else { return number(value, findings, WANTED) };
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return findings.none(value, &format!("this is no size; write {WANTED}"));
    }
    match digits.parse::<u64>().ok().and_then(|n| T::try_from(n.checked_mul(unit)?).ok()) {
        Some(n) => Some(n),
        None => findings.none(value, "more bytes than there can be"),
    }
}

/// `Some(None)` for the word for none.
fn duration(value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Option<Duration>> {
    let words = match (value.get_ref().as_str(), value.get_ref().as_integer()) {
        (Some(NONE), _) => return Some(None),
        (Some(text), _) => match humantime::parse_duration(text) {
            Ok(duration) => return Some(Some(duration)),
            Err(error) => format!("{error}; write \"30s\", \"250ms\", \"1min 30s\" or \"{NONE}\""),
        },
        (None, Some(number)) => format!("a duration has a unit; write \"{0}s\" or \"{0}ms\"", number.as_str()),
        (None, None) => format!("{}; write a duration, as \"30s\"", what(value.get_ref())),
    };
    findings.none(value, &words)
}

fn word<T: Copy>(value: &Spanned<DeValue<'_>>, findings: &mut Findings, words: &[(&str, T)]) -> Option<T> {
    let known = words.iter().find(|(word, _)| value.get_ref().as_str() == Some(word));
    if known.is_none() {
        let words: Vec<String> = words.iter().map(|(word, _)| quoted(word)).collect();
        findings.here(value.span(), &format!("write {}", words.join(" or ")));
    }
    known.map(|(_, value)| *value)
}

fn spelled<T: PartialEq>(value: &T, words: &[(&str, T)]) -> Option<String> {
    words.iter().find(|(_, known)| known == value).map(|(word, _)| quoted(word))
}

fn in_words(duration: &Duration) -> String {
    quoted(&humantime::format_duration(*duration).to_string())
}

/// A text of TOML, with what may not stand in one escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => quoted += &format!("\\u{:04x}", u32::from(char)),
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

impl Findings {
    /// For a value of which nothing can be made.
    fn none<T>(&mut self, value: &Spanned<DeValue<'_>>, words: &str) -> Option<T> {
        self.here(value.span(), words);
        None
    }
}
