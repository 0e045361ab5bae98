//! `--limits`: what would have happened with other bounds.

use super::words::bytes_in_words;
use drywire_core::Limits;
use std::time::Duration;

/// Bounds to be changed, as they were typed: `input=4096,idle=30s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changes(Vec<Change>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Input(u32),
    Output(u32),
    LingerBytes(u32),
    Linger(u32),
    Stall(u32),
    Idle(u32),
    FirstByte(u32),
    Message(u32),
    MinRate(u32),
    Rate(u32),
    Events(u16),
    Files(u16),
}

/// For help and for whoever mistypes.
const NAMES: &str = "input, output, linger-bytes (bytes), linger, stall, idle, first-byte, message, rate-window (durations), \
                     min-rate (bytes per second), events, files";

impl Changes {
    /// As it is typed.
    pub(crate) fn parse(text: &str) -> Result<Changes, String> {
        text.split(',').map(Change::parse).collect::<Result<_, _>>().map(Changes)
    }

    /// `limits` with the changes, and each that is one in words.
    pub(super) fn apply(&self, mut limits: Limits) -> (Limits, Vec<String>) {
        let before = limits;
        for change in &self.0 {
            change.apply(&mut limits);
        }
        (limits, in_words(before, limits))
    }
}

impl Change {
    fn parse(text: &str) -> Result<Change, String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE; names: {NAMES}"))?;
        let count = || value.parse::<u16>().map_err(|error| format!("{name}: {error}"));
        Ok(match name.trim() {
            "input" => match bytes(value)? {
                0 => return Err("an input bound of 0 bytes would read nothing".into()),
                n => Change::Input(n),
            },
            "output" => Change::Output(bytes(value)?),
            "linger-bytes" => Change::LingerBytes(bytes(value)?),
            "linger" => Change::Linger(ms(value)?),
            "stall" => Change::Stall(ms(value)?),
            "idle" => Change::Idle(ms(value)?),
            "first-byte" => Change::FirstByte(ms(value)?),
            "message" => Change::Message(ms(value)?),
            "min-rate" => Change::MinRate(bytes(value)?),
            "rate-window" => Change::Rate(ms(value)?),
            "events" => Change::Events(count()?),
            "files" => Change::Files(count()?),
            other => return Err(format!("there is no limit {other:?}; names: {NAMES}")),
        })
    }

    fn apply(self, limits: &mut Limits) {
        match self {
            Change::Input(n) => limits.input_bytes = n,
            Change::Output(n) => limits.output_bytes = n,
            Change::LingerBytes(n) => limits.linger_bytes = n,
            Change::Linger(ms) => limits.linger_ms = ms,
            Change::Stall(ms) => limits.stall_ms = ms,
            Change::Idle(ms) => limits.idle_ms = ms,
            Change::FirstByte(ms) => limits.first_byte_ms = ms,
            Change::Message(ms) => limits.message_ms = ms,
            Change::MinRate(n) => limits.min_rate = n,
            Change::Rate(ms) => limits.rate_ms = ms,
            Change::Events(n) => limits.events = n,
            Change::Files(n) => limits.files = n,
        }
    }
}

fn in_words(before: Limits, after: Limits) -> Vec<String> {
    let bytes = |n: u32| bytes_in_words(n.into());
    let ms = |ms: u32| match ms {
        0 | Limits::NEVER => "none".into(),
        ms => humantime::format_duration(Duration::from_millis(ms.into())).to_string(),
    };
    let rate = |n: u32| match n {
        0 | Limits::NEVER => "none".into(),
        n => format!("{} per second", bytes(n)),
    };
    let pairs = [
        ("input", bytes(before.input_bytes), bytes(after.input_bytes)),
        ("output", bytes(before.output_bytes), bytes(after.output_bytes)),
        ("linger-bytes", bytes(before.linger_bytes), bytes(after.linger_bytes)),
        ("linger", ms(before.linger_ms), ms(after.linger_ms)),
        ("stall", ms(before.stall_ms), ms(after.stall_ms)),
        ("idle", ms(before.idle_ms), ms(after.idle_ms)),
        ("first-byte", ms(before.first_byte_ms), ms(after.first_byte_ms)),
        ("message", ms(before.message_ms), ms(after.message_ms)),
        ("min-rate", rate(before.min_rate), rate(after.min_rate)),
        ("rate-window", ms(before.rate_ms), ms(after.rate_ms)),
        ("events", before.events.to_string(), after.events.to_string()),
        ("files", before.files.to_string(), after.files.to_string()),
    ];
    let changed = pairs.into_iter().filter(|(_, before, after)| before != after);
    changed.map(|(name, before, after)| format!("{name} {after} instead of {before}")).collect()
}

/// A number of bytes, with KiB or MiB behind it or without.
pub(crate) fn bytes(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let (number, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(number), _) => (number.trim_end(), 1 << 10),
        (None, Some(number)) => (number.trim_end(), 1 << 20),
        (None, None) => (text, 1),
    };
    let number: u32 = number.parse().map_err(|_| format!("{text:?} is no number of bytes: 4096, 64KiB, 1MiB, …"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is more than 4 GiB"))
}

/// Milliseconds, 0 for none.
fn ms(text: &str) -> Result<u32, String> {
    crate::args::idle_ms(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_with_their_units() {
        let changes = Changes::parse(
            "input=64KiB, output=1MiB,linger-bytes=0,linger=none,stall=2s,idle=1min,events=1,files=0,\
             first-byte=5s,message=30s,min-rate=1KiB,rate-window=10s",
        );
        let (limits, words) = changes.unwrap().apply(Limits::DEFAULT);
        assert_eq!((limits.input_bytes, limits.output_bytes, limits.linger_bytes), (65536, 1 << 20, 0));
        assert_eq!((limits.linger_ms, limits.stall_ms, limits.idle_ms), (0, 2000, 60_000));
        assert_eq!((limits.events, limits.files), (1, 0));
        assert_eq!((limits.first_byte_ms, limits.message_ms), (5_000, 30_000));
        assert_eq!((limits.min_rate, limits.rate_ms), (1024, 10_000));
        assert_eq!(words.len(), 12);
        assert_eq!(words[8], "min-rate 1024 bytes per second instead of none");
        assert_eq!(words[0], "input 65536 bytes instead of 10240 bytes");
        assert_eq!(words[5], "idle 1m instead of none");
    }

    #[test]
    fn limits_that_change_nothing_are_not_named() {
        let (limits, words) = Changes::parse("input=10240,events=64").unwrap().apply(Limits::DEFAULT);
        assert_eq!((limits, words), (Limits::DEFAULT, Vec::new()));
    }

    #[test]
    fn what_is_no_limit_is_refused_in_words() {
        for (text, says) in [
            ("", "NAME=VALUE"),
            ("input", "NAME=VALUE"),
            ("speed=3", "there is no limit \"speed\""),
            ("input=0", "would read nothing"),
            ("input=big", "no number of bytes"),
            ("output=5000MiB", "more than 4 GiB"),
            ("idle=30", "time unit"),
            ("files=70000", "files: "),
            ("input=1,,", "NAME=VALUE"),
        ] {
            let error = Changes::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
