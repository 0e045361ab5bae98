//! Messages of the hub (rows H8, H9, H14; FAULTS 40 to 43).

use crate::sent::Sent;
use crate::wire::Peer;
use bytes::Bytes;
use drywire_core::layer::{Layer, LayerError, Sink};
use drywire_core::record::Record;
use drywire_core::{Action, CloseReport, Connection, Limit, Read, Reason, Time, Wait, Workspace};
use drywire_protocols::{BadMessage, Hub, HubCommand, HubEcho, HubEvent};
use proptest::prelude::*;

/// As it stands on the wire.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}

#[test]
fn h14_messages_of_every_size_come_back_the_empty_one_too() {
    let sizes = [0, 1, 255, 256, 65_535, 65_536, 1 << 20, 0];
    let all: Vec<u8> = sizes.iter().flat_map(|size| framed(&pattern(*size))).collect();
    let peer = Peer::says(&all);
    let peers = [peer.clone(), peer.clone().cut(&[1, 7, 9, 4096, 100_000]), Peer { takes: 5000, ..peer }];
    for peer in peers {
        let seen = peer.meets(HubEcho::new());
        assert_eq!(seen.sent, Sent::of(&all));
        assert_eq!(seen.report.expect("closed").reason, Reason::Finished);
    }
}

#[test]
fn h14_longest_message_comes_back_and_one_byte_more_is_refused() {
    let longest = pattern(100_000);
    let meet = |said: &[u8]| Peer::says(said).meets_with(HubEcho::with_longest(100_000), Hub::limits(100_000));
    assert_eq!(meet(&framed(&longest)).sent, Sent::of(&framed(&longest)));
    let seen = meet(&framed(&[&longest[..], b"!"].concat()));
    assert_eq!((seen.sent, seen.report.unwrap().reason), (Sent::new(), Reason::Limit(Limit::Frame(100_000))));
}

#[test]
fn fault_41_42_length_beyond_the_bound_ends_the_connection_and_takes_no_memory() {
    for length in [(16_u64 << 20) + 1, 1 << 32, 1 << 40, 1 << 63, u64::MAX] {
        for peer in [Peer::says(&length.to_le_bytes()), Peer::says(&length.to_le_bytes()).byte_by_byte()] {
            let seen = peer.stays().meets(HubEcho::new());
            assert_eq!(seen.report.expect("closed").reason, Reason::Limit(Limit::Frame(16 << 20)), "{length}");
            assert_eq!((seen.sent, seen.peak_bytes < 8), (Sent::new(), true), "{length}");
        }
    }
}

#[test]
fn fault_43_announced_message_takes_memory_as_its_bytes_arrive() {
    let mut talk = Talk::new(Hub::new());
    talk.hears(&(16_u64 << 20).to_le_bytes());
    for n in 1..=100 {
        talk.hears(&[b'x'; 1000]);
        assert_eq!(talk.connection.held_bytes(), 8 + n * 1000);
        // What came, and the place for one more read.
        let heap = talk.connection.heap_bytes();
        assert!(heap < 2 * n * 1000 + (64 << 10) + 8192, "{heap} bytes behind {n} kB");
    }
}

#[test]
fn h14_message_cut_at_every_byte_of_its_length_is_told() {
    let message = framed(b"hi");
    for n in 1..message.len() {
        let seen = Peer::says(&[&framed(b"whole")[..], &message[..n]].concat()).meets(HubEcho::new());
        assert_eq!(seen.report.expect("closed").reason, Reason::Peer(BadMessage::Truncated(n)));
        assert_eq!(seen.sent, Sent::of(&framed(b"whole")), "what was whole is answered");
    }
}

/// One end of a connection, by hand.
struct Talk<L: Layer = ()> {
    connection: Connection<Hub, L>,
    workspace: Workspace,
    events: Vec<HubEvent>,
    sent: Vec<u8>,
    report: Option<CloseReport<BadMessage>>,
    now: Time,
}

impl Talk {
    fn new(hub: Hub) -> Talk {
        Talk::over((), hub)
    }
}

impl<L: Layer> Talk<L> {
    fn over(layer: L, hub: Hub) -> Talk<L> {
        let (connection, workspace) = (Connection::with_layer(hub, layer), Workspace::new());
        Talk { connection, workspace, events: Vec::new(), sent: Vec::new(), report: None, now: Time::ZERO }
    }

    /// `None` is the end of input.
    fn turn(&mut self, said: Option<&[u8]>, command: Option<HubCommand>) {
        let mut live = self.connection.lend(&mut self.workspace, self.now);
        if let Some(command) = command {
            live.handle_command(command).expect("nothing waits");
        }
        let mut said = said;
        loop {
            match live.poll() {
                Action::Event(event) => self.events.push(event),
                Action::Write(write) => {
                    let n = write.with_slices(|slices, _| {
                        slices.iter().for_each(|slice| self.sent.extend_from_slice(slice));
                        slices.iter().map(|slice| slice.len()).sum()
                    });
                    write.wrote(n);
                }
                Action::Close(report) => break self.report = Some(report),
                Action::Wait(Wait { read: true, .. }) if said != Some(b"") => {
                    let read = live.read_with(|slot| {
                        let bytes = said.unwrap_or_default();
                        slot[..bytes.len()].copy_from_slice(bytes);
                        Ok(bytes.len())
                    });
                    assert!(matches!(read, Read::Bytes { .. } | Read::End), "{read:?}");
                    said = Some(b"");
                }
                Action::Wait(_) | Action::Again => break,
                Action::HalfClose | Action::DisableRead | Action::EnableRead => {}
                action @ (Action::StreamFile(_) | Action::ReadFile(_) | Action::OpenFile(_) | Action::CloseFile(_)) => {
                    panic!("messages need no {action:?}")
                }
            }
        }
    }

    fn hears(&mut self, said: &[u8]) {
        self.turn(Some(said), None);
    }
}

fn says(message: &'static [u8]) -> Option<HubCommand> {
    Some(Bytes::from_static(message).into())
}

#[test]
fn h9_messages_are_told_in_order_and_the_end_after_all_of_them() {
    let mut talk = Talk::new(Hub::new());
    talk.hears(&[framed(b"one"), framed(b""), framed(b"three")].concat());
    talk.turn(None, None);
    let message = |text: &'static str| HubEvent::Message(text.into());
    assert_eq!(talk.events, [message("one"), message(""), message("three"), HubEvent::End]);
    assert!(talk.report.is_none(), "who has said all may still listen");
    talk.turn(Some(b""), says(b"an answer"));
    assert_eq!(talk.sent, framed(b"an answer"));
    talk.connection.lend(&mut talk.workspace, Time::ZERO).close();
    talk.turn(Some(b""), None);
    assert_eq!(talk.report.expect("closed").reason, Reason::Requested);
}

/// Ends where its layer does not.
struct Cut;

const CUT: LayerError = LayerError { layer: "cut", reason: "by the test" };

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

#[test]
fn fault_75_messages_before_a_cut_are_answered_and_no_end_is_told() {
    let mut talk = Talk::over(Cut, Hub::new());
    talk.hears(&[&framed(b"one")[..], &framed(b"two")[..9]].concat());
    talk.turn(None, None);
    assert_eq!(talk.events, [HubEvent::Message("one".into())]);
    assert!(talk.report.is_none(), "its answer is still to come");
    talk.turn(Some(b""), says(b"an answer"));
    assert_eq!(talk.sent, framed(b"an answer"));
    talk.now = Time::from_nanos(60_000_000_000);
    talk.turn(Some(b""), None);
    let report = talk.report.expect("closed");
    assert_eq!((report.reason, report.counters.unsent, report.counters.discarded), (Reason::Layer(CUT), 0, 9));
}

/// Nobody has to be told twice that it is over.
#[test]
fn h9_connection_whose_peer_has_ended_and_to_which_nobody_speaks_closes() {
    let mut talk = Talk::new(Hub::new());
    talk.turn(None, None);
    talk.now = Time::from_nanos(59_000_000_000);
    talk.turn(Some(b""), says(b"an answer"));
    talk.now = Time::from_nanos(118_000_000_000);
    talk.turn(Some(b""), None);
    assert!(talk.report.is_none(), "a minute from the last word on");
    talk.now = Time::from_nanos(119_000_000_000);
    talk.turn(Some(b""), None);
    assert_eq!(talk.report.expect("closed").reason, Reason::Finished);
}

#[test]
fn h8_end_is_said_behind_all_messages_and_closes_once_both_have_ended() {
    for we_end_first in [false, true] {
        let mut talk = Talk::new(Hub::new());
        talk.turn(Some(b""), says(b"all"));
        if we_end_first {
            talk.turn(Some(b""), Some(HubCommand::End));
            assert!(talk.report.is_none(), "the peer may still speak");
            talk.hears(&framed(b"more"));
            talk.turn(None, None);
            assert_eq!(talk.events, [HubEvent::Message("more".into()), HubEvent::End]);
        } else {
            talk.turn(None, None);
            talk.turn(Some(b""), Some(HubCommand::End));
        }
        assert_eq!((talk.sent, talk.report.expect("closed").reason), (framed(b"all"), Reason::Finished));
    }
}

#[test]
fn h14_nothing_is_read_while_reading_is_disabled() {
    let mut talk = Talk::new(Hub::new());
    talk.turn(Some(b""), Some(HubCommand::DisableRead));
    let mut live = talk.connection.lend(&mut talk.workspace, Time::ZERO);
    assert_eq!(live.read_with(|_| unreachable!("nobody takes it")), Read::NotWanted);
    drop(live);
    talk.turn(Some(&framed(b"late")), Some(HubCommand::EnableRead));
    assert_eq!(talk.events, [HubEvent::Message("late".into())]);
}

#[test]
fn h2_connection_without_an_input_stays_and_is_spoken_to() {
    let mut talk = Talk::new(Hub::new().without_input());
    talk.turn(None, None);
    talk.now = Time::from_nanos(3_600_000_000_000);
    talk.turn(Some(b""), says(b"hello"));
    assert_eq!((talk.events, talk.sent, talk.report.is_none()), (vec![], framed(b"hello"), true));
}

#[test]
fn c3_commands_read_back_as_they_are_recorded() {
    let sent = [Bytes::new(), Bytes::from_static(b"message")].map(HubCommand::Send);
    for command in sent.into_iter().chain([HubCommand::End, HubCommand::DisableRead, HubCommand::EnableRead]) {
        let mut tape = Vec::new();
        command.record(&mut tape);
        let rest = &mut &tape[..];
        assert_eq!((HubCommand::replay(rest), rest.len()), (Some(command), 0));
        assert_eq!(HubCommand::replay(&mut &tape[..tape.len() - 1]), None);
    }
    assert_eq!(HubCommand::replay(&mut &[4][..]), None);
}

/// Byte by byte what the table in the module's documentation says.
#[test]
fn h8_message_stands_behind_eight_bytes_of_length_least_first() {
    let mut talk = Talk::new(Hub::new());
    talk.turn(Some(b""), says(b"hello"));
    talk.turn(Some(b""), says(b""));
    assert_eq!(talk.sent, b"\x05\0\0\0\0\0\0\0hello\0\0\0\0\0\0\0\0");
}

proptest! {
    /// However the messages are cut on their way, the same come out.
    #[test]
    fn h14_cuts_make_no_difference(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
        cuts in prop::collection::vec(1..700_usize, 1..10),
    ) {
        let all: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
        prop_assert_eq!(Peer::says(&all).cut(&cuts).meets(HubEcho::new()).sent, Sent::of(&all));
        let mut talk = Talk::new(Hub::new());
        for portion in Peer::says(&all).cut(&cuts).says {
            talk.hears(&portion);
        }
        let told: Vec<HubEvent> = messages.into_iter().map(|message| HubEvent::Message(message.into())).collect();
        prop_assert_eq!(talk.events, told);
    }
}
