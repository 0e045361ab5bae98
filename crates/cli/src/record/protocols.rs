//! The protocols whose recordings can be run again, by the names in their headers.

use drywire_protocols::{ByteEcho, Dialog, HubEcho, LineEcho};
use drywire_sim::replay::{Replay, replay};

const KNOWN: [(&str, Replay); 4] = [
    ("byte-echo", |file, options| replay(file, || ByteEcho, options)),
    ("line-echo", |file, options| replay(file, || LineEcho, options)),
    ("dialog", |file, options| replay(file, Dialog::new, options)),
    ("hub", |file, options| replay(file, HubEcho::new, options)),
];

/// How to replay what this protocol recorded; `None` when we do not have it.
pub(super) fn by_name(name: &str) -> Option<Replay> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, replay)| *replay)
}

/// For a person who named another one.
pub(super) fn names() -> String {
    KNOWN.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Protocol;
    use clap::ValueEnum;

    #[test]
    fn whatever_can_be_served_can_be_replayed() {
        for protocol in Protocol::value_variants() {
            assert!(by_name(protocol.name()).is_some(), "{}", protocol.name());
        }
        assert!(by_name("gopher").is_none());
    }
}
