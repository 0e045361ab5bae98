//! Framings and typed messages inside of a connection.

use super::super::{CodecError, Decode, Delimiter, Encode, Framing, LengthPrefix, Lines, Messages};
use super::{CRLF_DOT, PREFIXES};
use crate::action::Action;
use crate::close::Reason;
use crate::connection::{Connection, Live};
use crate::context::Context;
use crate::error::Stop;
use crate::layer::{Layer, LayerError, Sink};
use crate::limits::{Limit, Limits};
use crate::output::{Refused, Writer};
use crate::protocol::Protocol;
use crate::time::Time;
use crate::workspace::Workspace;
use core::convert::Infallible;
use core::fmt::Debug;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// What a connection did: everything it told the application and wrote, and how it ended.
#[derive(Debug, PartialEq)]
struct Outcome<Event, Error> {
    events: Vec<Event>,
    sent: Vec<u8>,
    closed: Option<Reason<Error>>,
}

/// Performs what is due; the transport takes everything.
fn settle<P: Protocol, L: Layer>(live: &mut Live<'_, P, L>, outcome: &mut Outcome<P::Event, P::Error>)
where
    P::Event: Debug,
    P::Error: Debug,
{
    for _ in 0..100_000 {
        match live.poll() {
            Action::Event(event) => outcome.events.push(event),
            Action::Write(write) => {
                let before = outcome.sent.len();
                write.with_slices(|slices, _| outcome.sent.extend_from_slice(&slices.concat()));
                write.wrote(outcome.sent.len() - before);
            }
            Action::Close(report) => outcome.closed = Some(report.reason),
            Action::HalfClose | Action::DisableRead | Action::EnableRead => {}
            Action::Wait(_) | Action::Again => return,
            action @ (Action::StreamFile(_) | Action::ReadFile(_) | Action::OpenFile(_) | Action::CloseFile(_)) => {
                panic!("nothing here has to do with files: {action:?}")
            }
        }
    }
    panic!("no end of actions");
}

/// One turn for each piece of input, one for each command, and one for the end.
fn run<'a, P: Protocol, L: Layer>(
    connection: &mut Connection<P, L>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    commands: Vec<P::Command>,
) -> Outcome<P::Event, P::Error>
where
    P::Event: Debug,
    P::Command: Debug,
    P::Error: Debug,
{
    let mut outcome = Outcome { events: Vec::new(), sent: Vec::new(), closed: None };
    let mut workspace = Workspace::new();
    for piece in pieces {
        let mut live = connection.lend(&mut workspace, Time::ZERO);
        live.read_with(|slot| {
            slot[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        });
        settle(&mut live, &mut outcome);
    }
    for command in commands {
        let mut live = connection.lend(&mut workspace, Time::ZERO);
        live.handle_command(command).expect("the one before was handled");
        settle(&mut live, &mut outcome);
    }
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.read_with(|_| Ok(0));
    settle(&mut live, &mut outcome);
    outcome
}

/// Sends every frame back.
struct Echo<F>(F);

impl<F: Framing> Protocol for Echo<F> {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(frame) = cx.check(self.0.find(input))? else { return Ok(0) };
        let written = self.0.frame(cx.writer(), |out| out.write(frame.payload));
        cx.wrote(written)?;
        Ok(frame.len)
    }
}

/// `wire` comes back the same, whatever the pieces and whichever write is refused.
#[track_caller]
fn echoes<F: Framing + Clone>(framing: &F, wire: &[u8]) {
    for size in [1, 2, 3, 5, wire.len()] {
        for nth in 0..12 {
            let mut connection = Connection::new(Echo(framing.clone()));
            connection.inject_full(nth);
            let outcome = run(&mut connection, wire.chunks(size), vec![]);
            assert_eq!(outcome.sent, wire, "in pieces of {size}, write {nth} refused");
            assert_eq!(outcome.closed, Some(Reason::Finished));
        }
    }
}

#[test]
fn false_full_changes_no_echo() {
    echoes(&Lines::new(64), b"one\n\ntwo and a bit\nthree\n");
    echoes(&Delimiter::new(CRLF_DOT, 64), b"one\r\n.\r\n\r\n.\r\ntwo\r\n.\r\n");
    for (prefix, three) in PREFIXES {
        echoes(&prefix(64), &[three, b"abc", three, b"def", three, b"ghi"].concat());
    }
}

/// A request: a number and a name.
#[derive(Clone, Copy, Debug)]
struct Requests;

impl Decode for Requests {
    type Message = (u32, String);
    type Error = &'static str;

    fn decode(&self, payload: &[u8]) -> Result<(u32, String), &'static str> {
        let (number, name) = payload.split_first_chunk().ok_or("too short")?;
        let name = str::from_utf8(name).map_err(|_| "not text")?;
        Ok((u32::from_be_bytes(*number), name.to_string()))
    }
}

impl Encode for Requests {
    type Message = (u32, String);

    fn encode(&self, (number, name): &(u32, String), out: &mut Writer<'_>) -> Result<(), Refused> {
        out.u32_be(*number)?;
        out.write(name.as_bytes())
    }
}

/// A reply: one integer of each kind (row W10).
#[derive(Clone, Copy, Debug)]
struct Replies;

type Integers = (u8, [u16; 2], [u32; 2], [u64; 2], [i16; 2], [i32; 2], [i64; 2]);

impl Encode for Replies {
    type Message = Integers;

    fn encode(&self, n: &Integers, out: &mut Writer<'_>) -> Result<(), Refused> {
        out.u8(n.0)?;
        out.u16_be(n.1[0])?;
        out.u16_le(n.1[1])?;
        out.u32_be(n.2[0])?;
        out.u32_le(n.2[1])?;
        out.u64_be(n.3[0])?;
        out.u64_le(n.3[1])?;
        out.i16_be(n.4[0])?;
        out.i16_le(n.4[1])?;
        out.i32_be(n.5[0])?;
        out.i32_le(n.5[1])?;
        out.i64_be(n.6[0])?;
        out.i64_le(n.6[1])
    }
}

/// The next integer of a payload.
fn next<const N: usize>(payload: &mut &[u8]) -> [u8; N] {
    let (bytes, rest) = payload.split_first_chunk().expect("a reply is as long as its integers");
    *payload = rest;
    *bytes
}

impl Decode for Replies {
    type Message = Integers;
    type Error = Infallible;

    fn decode(&self, mut payload: &[u8]) -> Result<Integers, Infallible> {
        let p = &mut payload;
        Ok((
            u8::from_be_bytes(next(p)),
            [u16::from_be_bytes(next(p)), u16::from_le_bytes(next(p))],
            [u32::from_be_bytes(next(p)), u32::from_le_bytes(next(p))],
            [u64::from_be_bytes(next(p)), u64::from_le_bytes(next(p))],
            [i16::from_be_bytes(next(p)), i16::from_le_bytes(next(p))],
            [i32::from_be_bytes(next(p)), i32::from_le_bytes(next(p))],
            [i64::from_be_bytes(next(p)), i64::from_le_bytes(next(p))],
        ))
    }
}

fn request(number: u32, name: &str) -> (u32, String) {
    (number, name.to_string())
}

const FRAMING: LengthPrefix = LengthPrefix::u16_be(64);

#[test]
fn w3_messages_arrive_as_they_were_sent() {
    let sent = vec![request(1, "one"), request(u32::MAX, ""), request(7, "line\r\nfeed")];
    let client = run(&mut Connection::new(Messages::new(FRAMING, (Replies, Requests))), [], sent.clone());
    assert_eq!(client.closed, Some(Reason::Finished));
    for size in 1..=client.sent.len() {
        let mut server = Connection::new(Messages::new(FRAMING, (Requests, Replies)));
        let server = run(&mut server, client.sent.chunks(size), vec![]);
        assert_eq!(server, Outcome { events: sent.clone(), sent: vec![], closed: Some(Reason::Finished) });
    }
}

#[test]
fn false_full_changes_no_message() {
    let commands = vec![request(1, "one"), request(2, ""), request(3, "three")];
    let wire = b"\0\x07\0\0\0\x01one\0\x04\0\0\0\x02\0\x09\0\0\0\x03three";
    for nth in 0..12 {
        let mut connection = Connection::new(Messages::new(FRAMING, Requests));
        connection.inject_full(nth);
        let outcome = run(&mut connection, [&wire[..]], commands.clone());
        assert_eq!(outcome.sent, wire, "write {nth} refused");
        assert_eq!(outcome.events, commands, "write {nth} refused");
        assert_eq!(outcome.closed, Some(Reason::Finished));
    }
}

#[test]
fn more_messages_than_may_wait_all_arrive() {
    let limits = Limits { events: 3, ..Limits::DEFAULT };
    let mut connection = Connection::new(Messages::new(FRAMING, Requests)).with_limits(limits);
    let commands: Vec<_> = (0..100).map(|n| request(n, "x")).collect();
    let wire = run(&mut connection, [], commands.clone()).sent;
    let mut connection = Connection::new(Messages::new(FRAMING, Requests)).with_limits(limits);
    assert_eq!(run(&mut connection, [&wire[..]], vec![]).events, commands);
}

#[test]
fn bad_message_closes_after_those_before_it() {
    let mut connection = Connection::new(Messages::new(FRAMING, Requests));
    let outcome = run(&mut connection, [&b"\0\x04\0\0\0\x01\0\x02no\0\x04\0\0\0\x02"[..]], vec![]);
    assert_eq!(outcome.events, [request(1, "")]);
    assert_eq!(outcome.closed, Some(Reason::Peer(CodecError::BadMessage("too short"))));
    let reason = outcome.closed.expect("closed");
    assert_eq!(format!("{reason}"), "protocol error: bad message: too short");
}

#[test]
fn end_inside_a_frame_is_an_error_of_the_peer() {
    let mut connection = Connection::new(Messages::new(FRAMING, Requests));
    let outcome = run(&mut connection, [&b"\0\x04\0\0\0\x01\0\x04\0\0"[..]], vec![]);
    assert_eq!(outcome.events, [request(1, "")]);
    assert_eq!(outcome.closed, Some(Reason::Peer(CodecError::Truncated(4))));
    let mut connection = Connection::new(Messages::new(Lines::new(64), Requests));
    let outcome = run(&mut connection, [&b"12345\n1234"[..]], vec![]);
    assert_eq!(outcome.closed, Some(Reason::Peer(CodecError::Truncated(4))));
}

#[test]
fn fault_41_h14_huge_announcement_closes_and_holds_nothing() {
    let mut connection = Connection::new(Messages::new(LengthPrefix::u64_le(1 << 20), Requests));
    let outcome = run(&mut connection, [&[0xFF; 8][..]], vec![]);
    assert_eq!(outcome.closed, Some(Reason::Limit(Limit::Frame(1 << 20))));
    assert_eq!(connection.held_bytes(), 0);
}

#[test]
fn fault_43_announced_bytes_cost_memory_only_as_they_arrive() {
    let mut connection = Connection::new(Messages::new(LengthPrefix::u64_le(4096), Requests));
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.read_with(|slot| {
        slot[..8].copy_from_slice(&4096_u64.to_le_bytes());
        Ok(8)
    });
    while !matches!(live.poll(), Action::Wait(_)) {}
    drop(live);
    assert_eq!(connection.held_bytes(), 8);
}

#[test]
fn frame_beyond_the_connections_own_bound_meets_that() {
    let limits = Limits { input_bytes: 16, ..Limits::DEFAULT };
    let frame = |payload: usize| [&[u8::try_from(payload).expect("small")][..], &vec![b'x'; payload]].concat();
    let outcome = |wire: &[u8]| {
        let mut connection = Connection::new(Messages::new(LengthPrefix::u8(64), Requests)).with_limits(limits);
        run(&mut connection, wire.chunks(16), vec![]).closed
    };
    assert_eq!(outcome(&frame(15)), Some(Reason::Finished));
    assert_eq!(outcome(&frame(16)), Some(Reason::Limit(Limit::Input(16))));
}

#[test]
fn payload_too_long_for_its_prefix_fails_only_its_own_connection() {
    let mut connection = Connection::new(Messages::new(LengthPrefix::u8(64), Requests));
    let commands = vec![request(1, &"x".repeat(251)), request(2, &"x".repeat(252))];
    let outcome = run(&mut connection, [], commands);
    assert_eq!(outcome.sent.len(), 256, "the frame before it is sent, of itself nothing is");
    assert_eq!(outcome.closed, Some(Reason::Limit(Limit::Frame(255))));
}

#[test]
fn w10_integers_come_back_as_they_were_written() {
    let replies: Vec<Integers> = vec![
        (0, [0, 1], [0, 1], [0, 1], [0, -1], [0, -1], [0, -1]),
        (0x12, [0x1234; 2], [0x1234_5678; 2], [0x1234_5678_9ABC_DEF0; 2], [-2; 2], [-0x1234_5678; 2], [-3; 2]),
        (
            u8::MAX,
            [u16::MAX; 2],
            [u32::MAX; 2],
            [u64::MAX; 2],
            [i16::MIN, i16::MAX],
            [i32::MIN, i32::MAX],
            [i64::MIN, i64::MAX],
        ),
    ];
    let server = run(&mut Connection::new(Messages::new(FRAMING, (Requests, Replies))), [], replies.clone());
    let mut client = Connection::new(Messages::new(FRAMING, (Replies, Requests)));
    assert_eq!(run(&mut client, server.sent.chunks(7), vec![]).events, replies);
}

/// Numbers, one a line; `None` is the end.
struct Numbers;

impl Decode for Numbers {
    type Message = Option<i64>;
    type Error = core::num::ParseIntError;

    fn decode(&self, payload: &[u8]) -> Result<Option<i64>, Self::Error> {
        String::from_utf8_lossy(payload).parse().map(Some)
    }

    fn end(&self) -> Option<Option<i64>> {
        Some(None)
    }

    fn cut(&self) -> Option<Option<i64>> {
        Some(Some(i64::MAX))
    }
}

impl Encode for Numbers {
    type Message = i64;

    fn encode(&self, n: &i64, out: &mut Writer<'_>) -> Result<(), Refused> {
        out.decimal(*n)
    }
}

#[test]
fn e9_application_that_hears_of_the_end_answers_after_it() {
    let mut connection = Connection::new(Messages::new(Lines::new(64), (Numbers, Numbers)));
    let mut outcome = run(&mut connection, [&b"1\n-2\n"[..]], vec![]);
    assert_eq!(outcome.events, [Some(1), Some(-2), None]);
    assert_eq!(outcome.closed, None);
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.handle_command(i64::MIN).expect("open");
    live.close();
    settle(&mut live, &mut outcome);
    assert_eq!(outcome.sent, format!("{}\n", i64::MIN).into_bytes());
    assert_eq!(outcome.closed, Some(Reason::Requested));
}

/// Ends where its layer does not.
struct Cut;

impl Layer for Cut {
    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, _: &mut Sink<'_>) -> Result<(), LayerError> {
        plain.push(received);
        Ok(())
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        wire.push(plain);
        Ok(plain.len())
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        Err(CUT)
    }
}

const CUT: LayerError = LayerError { layer: "cut", reason: "by the test" };

#[test]
fn fault_75_application_hears_of_a_cut_where_its_codec_says_so_and_answers_after_it() {
    let mut connection = Connection::with_layer(Messages::new(Lines::new(64), (Numbers, Numbers)), Cut);
    // The last line may be half of one: it is not told, and no error.
    let mut outcome = run(&mut connection, [&b"1\n-2"[..]], vec![]);
    assert_eq!((outcome.events.as_slice(), &outcome.closed), (&[Some(1), Some(i64::MAX)][..], &None));
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.handle_command(7).expect("open");
    live.close();
    settle(&mut live, &mut outcome);
    assert_eq!((outcome.sent.as_slice(), outcome.closed), (&b"7\n"[..], Some(Reason::Layer(CUT))));
}
