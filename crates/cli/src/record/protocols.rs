//! The protocols whose recordings can be run again, by the names in their headers, and where a
//! secret begins in what each of them is sent.

use drywire_core::framing::LengthPrefix;
use drywire_core::record::Mask;
use drywire_protocols::{ByteEcho, Dialog, HubEcho, LineEcho};
use drywire_sim::replay::{Replay, replay};

/// The dialog that begins in the open: other words, so another protocol.
pub(super) const STARTTLS: &str = "dialog-starttls";

const KNOWN: [(&str, Replay); 5] = [
    ("byte-echo", |file, options| replay(file, || ByteEcho, options)),
    ("line-echo", |file, options| replay(file, || LineEcho, options)),
    ("dialog", |file, options| replay(file, Dialog::new, options)),
    (STARTTLS, |file, options| replay(file, Dialog::with_starttls, options)),
    ("hub", |file, options| replay(file, HubEcho::new, options)),
];

/// How to replay what this protocol recorded; `None` when we do not have it.
pub(super) fn by_name(name: &str) -> Option<Replay> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, replay)| *replay)
}

/// Blanks the rest of each line, or message, of this protocol that begins with one of `words`. Those we do not have
/// are taken for lines.
pub(super) fn mask(name: &str, words: &[String]) -> Mask {
    let words = words.iter().map(String::as_str);
    match is_of_messages(name) {
        true => Mask::in_messages(LengthPrefix::u64_le(usize::MAX), words),
        false => Mask::after(words),
    }
}

/// Its messages have their length in front.
pub(super) fn is_of_messages(name: &str) -> bool {
    name == "hub"
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

    /// One that is added, and whose messages begin elsewhere, has to say so.
    #[test]
    fn whatever_can_be_served_can_be_masked() {
        for protocol in Protocol::value_variants() {
            let (said, blank): (&[u8], &[u8]) = match protocol {
                Protocol::ByteEcho | Protocol::LineEcho | Protocol::Dialog => {
                    (b"NOOP\nPASS hunter2\r\nNOOP\n", b"NOOP\nPASS *******\r\nNOOP\n")
                }
                Protocol::Hub => (
                    b"\x04\0\0\0\0\0\0\0NOOP\x0c\0\0\0\0\0\0\0PASS hunter2\x04\0\0\0\0\0\0\0NOOP",
                    b"\x04\0\0\0\0\0\0\0NOOP\x0c\0\0\0\0\0\0\0PASS *******\x04\0\0\0\0\0\0\0NOOP",
                ),
            };
            let mut mask = mask(protocol.name(), &["PASS ".to_owned()]);
            let mut masked = said.to_vec();
            masked.iter_mut().for_each(|byte| mask.apply(std::slice::from_mut(byte)));
            assert_eq!(masked, blank, "{}", protocol.name());
        }
    }

    #[test]
    fn whatever_can_be_served_can_be_replayed() {
        for protocol in Protocol::value_variants() {
            assert!(by_name(protocol.name()).is_some(), "{}", protocol.name());
        }
        assert!(by_name("gopher").is_none());
    }
}
