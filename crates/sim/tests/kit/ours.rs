//! The kit over our own protocols, framings and codecs, with inputs that mean
//! something and inputs that do not.
//!
//! `PROPTEST_CASES` overrides the number of cases.

use bytes::Bytes;
use drywire_core::framing::{Decode, Delimiter, Encode, Framing, LengthPrefix, Lines, Messages};
use drywire_core::{Protocol, Refused, Writer};
use drywire_protocols::{ByteEcho, Dialog, Hub, HubCommand, HubEcho, LineEcho};
use drywire_sim::kit::Kit;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::fmt::Debug;

/// No regression files: what is found becomes a test with a name.
pub(crate) fn cases(cases: u32) -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Payloads are messages as they stand; one of them is none.
#[derive(Clone, Copy)]
struct Plain;

impl Decode for Plain {
    type Message = Vec<u8>;
    type Error = &'static str;

    fn decode(&self, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        if payload == b"bad" { Err("bad") } else { Ok(payload.to_vec()) }
    }
}

impl Encode for Plain {
    type Message = Vec<u8>;

    fn encode(&self, message: &Vec<u8>, out: &mut Writer<'_>) -> Result<(), Refused> {
        // In two pieces: a refusal may stand between them.
        let (front, back) = message.split_at(message.len() / 2);
        out.write(front)?;
        out.write(back)
    }
}

fn messages<F: Framing + Copy + 'static>(framing: F) -> Kit<Messages<F, Plain>> {
    Kit::new(move || Messages::new(framing, Plain)).command(|| b"hello".to_vec()).command(Vec::new)
}

fn dialog() -> Kit<Dialog> {
    Kit::new(Dialog::new).file("a", "twelve bytes").file("empty", []).file("long", vec![b'x'; 3000])
}

/// Either what the protocol speaks, or anything.
fn input(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    let any = prop::collection::vec(any::<u8>(), 0..9);
    prop::collection::vec(prop_oneof![5 => word, 1 => any], 0..9).prop_map(|pieces| pieces.concat())
}

fn holds<P: Protocol>(kit: &Kit<P>, input: &[u8], choices: &[u8]) -> Result<(), TestCaseError>
where
    P::Event: Debug,
    P::Error: Debug,
{
    kit.find(input).map_err(|finding| TestCaseError::fail(finding.to_string()))?;
    // The same words as a session that somebody else made up.
    let session = [choices, &[0x1f], input].concat();
    for session in [choices, &session] {
        kit.find_in(session).map_err(|finding| TestCaseError::fail(finding.to_string()))?;
    }
    Ok(())
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..60)
}

const LINES: &[&str] = &["hello\n", "quit\n", "a\r\n", "\n", "x", "quit", "\r", "one two three four five\n"];
const REQUESTS: &[&str] =
    &["GET a\n", "GET empty\r\n", "GET long\n", "GET nowhere\n", "SIZE a\n", "NOOP\n", "NOOP\n", "QUIT\n", "HELO\n"];
const MESSAGES: &[&str] =
    &["\0\0\0\0\0\0\0\0", "\u{5}\0\0\0\0\0\0\0hello", "\u{1}\0\0\0\0\0\0\0\n", "\0\u{2}\0\0\0\0\0\0", "\0", "x"];
const FRAMES: &[&str] =
    &["\0", "\u{1}x", "\u{3}bad", "\u{5}hello", "\0\0\0\u{2}ab", "\0\u{1}z", "\u{1}\0z", "\r\n.\r\n", "bad\n"];

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn echoes_keep_their_promises(input in input(LINES), choices in choices()) {
        holds(&Kit::new(|| ByteEcho), &input, &choices)?;
        holds(&Kit::new(|| LineEcho), &input, &choices)?;
        holds(&Kit::new(|| LineEcho).limits(LineEcho::SMALL), &input, &choices)?;
    }

    #[test]
    fn dialog_keeps_its_promises(input in input(REQUESTS), choices in choices()) {
        holds(&dialog(), &input, &choices)?;
    }

    #[test]
    fn messages_of_the_hub_keep_their_promises(input in input(MESSAGES), choices in choices()) {
        let echo = || Kit::new(|| HubEcho::with_longest(300)).limits(Hub::limits(300));
        holds(&echo(), &input, &choices)?;
        let hub = Kit::new(|| Hub::with_longest(300)).limits(Hub::limits(300));
        let hub = hub.command(|| HubCommand::Send("a message".into())).command(|| Bytes::new().into());
        holds(&hub, &input, &choices)?;
    }

    #[test]
    fn framings_and_codecs_keep_their_promises(input in input(FRAMES), choices in choices()) {
        holds(&messages(Lines::new(30)), &input, &choices)?;
        holds(&messages(Lines::crlf(30)), &input, &choices)?;
        holds(&messages(Delimiter::new(b"\r\n.\r\n", 40)), &input, &choices)?;
        holds(&messages(LengthPrefix::u8(200)), &input, &choices)?;
        holds(&messages(LengthPrefix::u16_le(300)), &input, &choices)?;
        holds(&messages(LengthPrefix::u32_be(300)), &input, &choices)?;
        holds(&messages(LengthPrefix::u64_le(300)), &input, &choices)?;
    }
}

#[test]
fn long_inputs_are_sampled() {
    let lines = "a line of some length\n".repeat(300);
    Kit::new(|| ByteEcho).check(&lines);
    Kit::new(|| LineEcho).limits(LineEcho::SMALL).check(&lines);
    dialog().check("GET long\nSIZE a\n".repeat(20));
}

#[test]
fn line_that_is_too_long_is_refused_the_same_way_everywhere() {
    Kit::new(|| LineEcho).limits(LineEcho::SMALL).check(["ok\n", &"x".repeat(5000)].concat());
}
