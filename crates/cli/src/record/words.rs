//! Sizes and times in words, and what the commands on recordings say alike.

use drywire_core::Limit;
use drywire_core::record::{ReasonKind, Text};
use std::time::Duration;

/// `1 byte`, `512 bytes`.
pub(super) fn bytes_in_words(n: u64) -> String {
    match n {
        1 => "1 byte".into(),
        n => format!("{n} bytes"),
    }
}

/// As [`drywire_core::Reason`] says it; what it holds is there as `Debug` wrote it.
pub(super) fn reason_in_words(kind: ReasonKind, text: &Text<'_>) -> String {
    let with = |what: &str| match text.len {
        0 => what.to_owned(),
        _ => {
            // `Limit(Input(4096))`: the outer name is said already.
            let inner = text.front.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
            format!("{what}: {}", inner.unwrap_or(&text.front))
        }
    };
    match kind {
        ReasonKind::Finished => "finished".into(),
        ReasonKind::Requested => "closed by the application".into(),
        ReasonKind::Peer => with("protocol error"),
        ReasonKind::Limit => match limit_in_words(&text.front) {
            Some(words) => format!("limit: {words}"),
            None => with("limit"),
        },
        ReasonKind::Misuse => with("misuse"),
        ReasonKind::Transport => with("transport"),
        ReasonKind::File => with("file"),
        ReasonKind::Layer => with("layer"),
        ReasonKind::Stalled => "the peer stopped taking output".into(),
        ReasonKind::Aborted => "aborted".into(),
    }
}

/// `Limit(Input(4096))` as [`Limit`] itself says it.
fn limit_in_words(text: &str) -> Option<String> {
    let (name, number) = text.strip_prefix("Limit(")?.strip_suffix("))")?.split_once('(')?;
    let limit = match name {
        "Input" => Limit::Input(number.parse().ok()?),
        "Frame" => Limit::Frame(number.parse().ok()?),
        "Output" => Limit::Output(number.parse().ok()?),
        "Events" => Limit::Events(number.parse().ok()?),
        "Parts" => Limit::Parts(number.parse().ok()?),
        "Idle" => Limit::Idle(number.parse().ok()?),
        "FirstByte" => Limit::FirstByte(number.parse().ok()?),
        "Handshake" => Limit::Handshake(number.parse().ok()?),
        "Message" => Limit::Message(number.parse().ok()?),
        "Rate" => Limit::Rate(number.parse().ok()?),
        _ => return None,
    };
    Some(limit.to_string())
}

/// `0.3 ms`, `4.2 s`, `3 min 20 s`: three figures, as a person says it.
pub(super) fn duration_in_words(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let (value, unit) = match duration {
        d if d.is_zero() => return "0 s".into(),
        d if d < Duration::from_micros(1) => (nanos, "ns"),
        d if d < Duration::from_millis(1) => (nanos / 1e3, "µs"),
        d if d < Duration::from_secs(1) => (nanos / 1e6, "ms"),
        d if d < Duration::from_secs(100) => (nanos / 1e9, "s"),
        d => return humantime::format_duration(Duration::from_secs(d.as_secs())).to_string(),
    };
    let figures = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.figures$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_said_once() {
        let text = |front: &'static str| Text { front: front.into(), len: front.len() as u32, crc: 0 };
        let long = "limit: message longer than the input limit of 4096 bytes";
        assert_eq!(reason_in_words(ReasonKind::Limit, &text("Limit(Input(4096))")), long);
        assert_eq!(reason_in_words(ReasonKind::Limit, &text("Limit(Opens)")), "limit: Opens");
        let bounds = [Limit::Frame(1), Limit::Output(2), Limit::Events(3), Limit::Parts(4)];
        let deadlines = [Limit::Idle(5), Limit::FirstByte(6), Limit::Handshake(7), Limit::Message(8), Limit::Rate(9)];
        for limit in bounds.into_iter().chain(deadlines) {
            let front = format!("Limit({limit:?})");
            let text = Text { len: front.len() as u32, front: front.into(), crc: 0 };
            assert_eq!(reason_in_words(ReasonKind::Limit, &text), format!("limit: {limit}"));
        }
        assert_eq!(reason_in_words(ReasonKind::Finished, &text("Finished")), "finished");
        assert_eq!(reason_in_words(ReasonKind::Peer, &text("")), "protocol error");
    }

    #[test]
    fn durations_have_three_figures_and_a_unit_a_person_would_take() {
        for (nanos, words) in [
            (0, "0 s"),
            (7, "7 ns"),
            (1_500, "1.5 µs"),
            (312_345, "312 µs"),
            (4_200_000_000, "4.2 s"),
            (99_960_000_000, "100 s"),
            (200_000_000_000, "3m 20s"),
        ] {
            assert_eq!(duration_in_words(Duration::from_nanos(nanos)), words);
        }
    }
}
