//! The tape of a connection: when it ends, what is in its file, and that no byte of
//! it can be changed unnoticed. Replaying it is tested in `drywire-sim`.

use crate::support::cases;
use crate::support::net::Net;
use crate::support::script::Script;
use drywire_core::record::{Ended, Entry, Keep, Located, Mask, ReadError, Reader, ReasonKind, Tape, Why, masked};
use drywire_core::{
    Blocked, Budget, Connection, Context, Limits, Protocol, Ready, Stop, Time, TransportError, Turn, Workspace, turn,
};
use proptest::prelude::*;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Files that tapes have finished.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<Vec<Vec<u8>>>>);

impl Files {
    fn tape(&self) -> Tape<Script> {
        let files = self.clone();
        Tape::new("script", move |file| files.0.lock().expect("nobody panics with it").push(file))
    }

    fn count(&self) -> usize {
        self.0.lock().expect("nobody panics with it").len()
    }

    #[track_caller]
    fn only(&self) -> Vec<u8> {
        let files = self.0.lock().expect("nobody panics with it");
        assert_eq!(files.len(), 1, "done is called once");
        files[0].clone()
    }
}

/// Turns until nothing moves. True when it has closed.
fn run<P: Protocol>(connection: &mut Connection<P>, input: &[u8], ends: bool) -> bool {
    let mut net = Net::new();
    net.incoming.extend(input);
    net.incoming_end = ends;
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::from_nanos(1_000));
    let (mut ready, mut budget) = (Ready::UNKNOWN, Budget::DEFAULT);
    loop {
        match turn(&mut live, &mut net, &mut ready, &mut budget) {
            Turn::Event(_) => {}
            Turn::Wait(_) | Turn::Again => return false,
            Turn::Closed(_) => return true,
        }
    }
}

fn recording(input: &[u8]) -> Vec<u8> {
    let files = Files::default();
    let tape = files.tape().note("a note");
    assert!(run(&mut Connection::new(Script::default()).recorded(tape), input, true));
    files.only()
}

fn last(file: &[u8]) -> Entry<'_> {
    Reader::new(file).expect("undamaged").entries().last().expect("it has an end").expect("undamaged").entry
}

#[test]
fn file_is_finished_once_when_the_report_was_taken() {
    let files = Files::default();
    let mut connection = Connection::new(Script::default()).recorded(files.tape());
    assert!(!run(&mut connection, b"line\n", false));
    assert_eq!(files.count(), 0);
    assert!(run(&mut connection, b"", true));
    assert_eq!(files.count(), 1);
    run(&mut connection, b"", true);
    drop(connection);
    assert_eq!(last(&files.only()), Entry::End(Ended::Closed));
}

#[test]
fn file_is_finished_once_when_the_connection_is_dropped() {
    let files = Files::default();
    let mut connection = Connection::new(Script::default()).recorded(files.tape());
    run(&mut connection, b"line\n", false);
    drop(connection);
    assert_eq!(last(&files.only()), Entry::End(Ended::Dropped));
}

#[test]
fn file_is_finished_once_in_a_panic() {
    let files = Files::default();
    let mut connection = Connection::new(Script::default()).recorded(files.tape());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let mut workspace = Workspace::new();
        connection.lend(&mut workspace, Time::ZERO).read_with(|_| panic!("in the transport"));
    }));
    assert!(panicked.is_err());
    assert_eq!(last(&files.only()), Entry::End(Ended::Dropped));
}

#[test]
fn recorded_connections_can_move_between_threads() {
    fn is_plain<T: Send + Sync>(_: &T) {}
    is_plain(&Connection::new(Script::default()).recorded(Files::default().tape()));
}

#[test]
fn a_turn_is_recorded_in_the_order_it_happened() {
    let file = recording(b"hello\nrest");
    let entries: Vec<_> = Reader::new(&file).expect("undamaged").entries().map(Result::unwrap).collect();
    assert!(entries.iter().zip(0..).all(|(located, number)| located.number == number));
    assert!(entries.iter().all(|located| located.time == Time::from_nanos(1_000)));
    let words: Vec<String> = entries.iter().map(|located| located.entry.to_string()).collect();
    assert_eq!(
        words,
        [
            "turn at 1µs",
            "read: 10 bytes (slot of 256)",
            "\"hello\\nrest\"",
            "write: 15 bytes offered",
            "the transport took 15 bytes (crc bf50f8a7)",
            "wait for input; held: input 4, output 0; read",
            "read: end of input (slot of 252)",
            "write: 7 bytes offered",
            "the transport took 7 bytes (crc 873f7148)",
            "closed: Finished (Finished); received 10, sent 22, discarded 0, unsent 0",
            "end of the recording",
        ]
    );
}

/// The documentation of the format, as a file.
#[test]
fn file_is_laid_out_as_documented() {
    let files = Files::default();
    let mut connection = Connection::new(Script::default()).recorded(files.tape().note("n"));
    let mut workspace = Workspace::new();
    connection.lend(&mut workspace, Time::from_nanos(5)).read_with(|slot| {
        slot[..2].copy_from_slice(b"hi");
        Ok(2)
    });
    drop(connection);
    let file = files.only();
    let payload = |at: usize| at + 12..at + 12 + usize::from(file[at + 2]);
    assert_eq!(&file[..8], b"DRYWREC\n");
    assert_eq!((file[8], file[9], file[11]), (b'H', 0, 0));
    let header = [
        &b"\x03\x00\x06script\x01n"[..],
        // 256, 2048, 1 MiB, 5000, 60000, 0; 0, 0, 0, 60000; 4, 2, and the first entry.
        b"\x80\x02\x80\x10\x80\x80\x40\x88\x27\xe0\xd4\x03\x00",
        b"\x00\x00\x00\xe0\xd4\x03\x04\x02\x00",
    ];
    assert_eq!(file[payload(8)], header.concat());
    let block = payload(8).end;
    assert_eq!((file[block], file[block + 1]), (b'L', 0));
    let entries = b"\x00\x00\x00\x0a\x00\x02\x80\x02\x00\x02\x0b\x02hi\x1f\x01";
    assert_eq!(&file[payload(block)], entries);
    assert_eq!(payload(block).end, file.len());
}

/// Before first bytes, messages and rates were limited, none of them was: a recording of
/// then is replayed as what it was.
#[test]
fn file_of_version_1_is_read_with_none_of_the_later_limits() {
    let file = recording(b"hello\n");
    let end = 20 + usize::from(file[10]);
    let head =
        [&b"\x01\x00\x06script\x00"[..], b"\x80\x02\x80\x10\x80\x80\x40\x88\x27\xe0\xd4\x03\x07\x04\x02\x00"].concat();
    let mut block = vec![b'H', 0, u8::try_from(head.len()).expect("short"), 0];
    block.extend(crc32fast::hash(&head).to_le_bytes());
    block.extend(crc32fast::hash(&block).to_le_bytes());
    let old = [&file[..8], &block, &head, &file[end..]].concat();
    let reader = Reader::new(&old).expect("it can be read");
    let Limits { idle_ms, first_byte_ms, message_ms, min_rate, rate_ms, events, files, .. } = reader.header().limits;
    assert_eq!((idle_ms, first_byte_ms, message_ms, min_rate, rate_ms, events, files), (7, 0, 0, 0, 0, 4, 2));
    assert_eq!(reader.check(), Ok(()));
}

#[test]
fn every_byte_of_a_file_whatever_it_becomes_is_reported_where_it_is() {
    let mut file = recording(b"hello\ne 1\nf none\nx\n");
    assert!(file.len() > 150, "{} bytes", file.len());
    for at in 0..file.len() {
        let was = file[at];
        for is in (0..=255).filter(|is| *is != was) {
            file[at] = is;
            let result = Reader::new(&file).and_then(|reader| reader.check());
            assert_eq!(result, Err(ReadError::Damaged { at, is, was }));
        }
        file[at] = was;
    }
}

#[test]
fn waits_say_what_for() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&seen);
    let tape = Tape::listening(move |entry| {
        if let Entry::Wait { why, levels, .. } = entry {
            hear.lock().expect("nobody panics with it").push((why, levels.input, levels.output));
        }
    });
    let mut connection = Connection::new(Script::default()).recorded(tape);
    let mut net = Net::new();
    (net.room, net.answer_later) = (0, true);
    net.incoming.extend(b"w 2000\nw 2000\n");
    let mut workspace = Workspace::new();
    let mut turn = |net: &mut Net, writable: bool| {
        let mut live = connection.lend(&mut workspace, Time::ZERO);
        if writable {
            live.handle_writable();
        }
        let (mut ready, mut budget) = (Ready::UNKNOWN, Budget::DEFAULT);
        while !matches!(turn(&mut live, net, &mut ready, &mut budget), Turn::Wait(_)) {}
        seen.lock().expect("nobody panics with it").pop().expect("it waits")
    };
    // The greeting and the first line are owed, and the second line finds no room.
    assert_eq!(turn(&mut net, false), (Why::TRANSPORT.and(Why::FULL_OF_BYTES), 7, 2010));
    net.room = usize::MAX;
    assert_eq!(turn(&mut net, true), (Why::INPUT, 0, 0));
    net.incoming.extend(b"p 5\nf file\n");
    assert_eq!(turn(&mut net, false), (Why::READING_DISABLED, 7, 0));
}

#[test]
fn report_of_a_failure_names_its_kind_and_its_reason() {
    let file = recording(b"x\n");
    let entries = Reader::new(&file).expect("undamaged").entries();
    let report = entries.flatten().find_map(|located| {
        let Entry::Report { kind, text, .. } = located.entry else { return None };
        Some((kind, text.to_string()))
    });
    assert_eq!(report, Some((ReasonKind::Peer, "Peer(Bad(\"told so\"))".into())));
}

#[test]
fn name_of_a_file_is_recorded_with_its_length() {
    let file = recording(b"f some-name\n");
    let entries = Reader::new(&file).expect("undamaged").entries();
    let name = entries.flatten().find_map(|located| {
        let Entry::OpenFile { len, name, crc, .. } = located.entry else { return None };
        Some((len, name.into_owned(), crc.is_some()))
    });
    assert_eq!(name, Some((9, b"some-name".to_vec(), true)));
}

/// A mask sees each byte once, however it comes.
#[test]
fn mask_sees_input_in_the_pieces_it_comes_in() {
    let files = Files::default();
    let tape = files.tape().masked_by(Mask::after(["PASS "]));
    let mut connection = Connection::new(Script::default()).recorded(tape);
    for piece in [&b"PA"[..], b"SS hun", b"ter2", b"\nPASS", b" x\n"] {
        run(&mut connection, piece, false);
    }
    drop(connection);
    let file = files.only();
    let mut all = Vec::new();
    for located in Reader::new(&file).expect("undamaged").entries() {
        if let Entry::Bytes(piece) = located.expect("undamaged").entry {
            all.extend_from_slice(&piece);
        }
    }
    assert_eq!(all, b"PASS *******\nPASS *\n");
}

/// A line of each kind the script has, with secrets in some.
const TALK: &[u8] = b"USER me\nPASS hunter2\nf some-name\nw 300\ne 1\nPASS x\nnonsense\n";

fn input_of(file: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for located in Reader::new(file).expect("a header").entries() {
        if let Entry::Bytes(piece) = located.expect("undamaged").entry {
            all.extend_from_slice(&piece);
        }
    }
    all
}

#[test]
fn copy_masked_afterwards_is_what_a_masked_tape_would_have_made() {
    for piece in [1, 3, 7, 200] {
        let talk = |mask: Option<Mask>| {
            let files = Files::default();
            let tape = match mask {
                Some(mask) => files.tape().masked_by(mask),
                None => files.tape(),
            };
            let mut connection = Connection::new(Script::default()).recorded(tape);
            // Many times over, so that there are several blocks.
            for piece in TALK.repeat(20).chunks(piece) {
                run(&mut connection, piece, false);
            }
            drop(connection);
            files.only()
        };
        let copy = masked(&talk(None), Mask::after(["PASS "])).expect("undamaged");
        assert!(copy == talk(Some(Mask::after(["PASS "]))), "in pieces of {piece}");
        assert!(copy.len() > 1500, "{} bytes are one block", copy.len());
        let all = input_of(&copy);
        assert!(all.windows(13).any(|window| window == b"PASS *******\n") && !all.windows(4).any(|w| w == b"hunt"));
    }
}

#[test]
fn copy_of_a_recording_without_its_front_is_masked_from_what_is_left() {
    let files = Files::default();
    let mut connection = Connection::new(Script::default()).recorded(files.tape().keeping(Keep::Last(4096)));
    for piece in TALK.repeat(100).chunks(5) {
        run(&mut connection, piece, false);
    }
    drop(connection);
    let file = files.only();
    let first = Reader::new(&file).expect("undamaged").header().first;
    assert!(first > 0);
    let copy = masked(&file, Mask::after(["PASS "]).from_next_line()).expect("undamaged");
    let reader = Reader::new(&copy).expect("undamaged");
    assert_eq!((reader.check(), reader.header().first >= first, reader.header().masked), (Ok(()), true, true));
    let (all, before) = (input_of(&copy), input_of(&file));
    assert_eq!(all.len(), before.len());
    assert!(!all.windows(4).any(|window| window == b"hunt" || window == b"ter2"));
    let times = |file: &[u8]| -> Vec<_> {
        let lends = |located: Located<'_>| matches!(located.entry, Entry::Lend { .. }).then_some(located.time);
        Reader::new(file).expect("undamaged").entries().flatten().filter_map(lends).collect()
    };
    assert_eq!(times(&copy), times(&file));
}

#[test]
fn damaged_recording_is_not_masked() {
    let mut file = recording(b"hello\nPASS x\n");
    let at = file.len() - 20;
    file[at] ^= 0xff;
    assert!(masked(&file, Mask::nothing()).is_err());
}

#[test]
fn every_answer_of_a_transport_to_a_read_is_recorded() {
    let files = Files::default();
    let mut connection = Connection::new(Script::default()).recorded(files.tape());
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.read_with(|_| Err(Blocked::WouldBlock));
    live.read_with(|_| Err(Blocked::Failed(TransportError::Other(-5))));
    let _ = live.poll();
    live.read_with(|_| unreachable!("no input is wanted"));
    drop(live);
    drop(connection);
    let file = files.only();
    let entries = Reader::new(&file).expect("undamaged").entries();
    let words: Vec<String> = entries.flatten().map(|located| located.entry.to_string()).collect();
    assert_eq!(
        words,
        [
            "turn at 0ns",
            "read: nothing now (slot of 256)",
            "read: failed, os error -5 (slot of 256)",
            "closed: Transport (Transport(Other(-5))); received 0, sent 0, discarded 0, unsent 6",
            "end of the recording",
        ]
    );
}

proptest! {
    #![proptest_config(cases(256))]

    /// Whatever a file holds: entries, an error, an end.
    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..2000usize, xor in any::<u8>()) {
        let mut file = recording(b"hello\nf none\n");
        let at = cut % file.len();
        file[at] ^= xor;
        file.splice(at..(at + cut / 7).min(file.len()), bytes.iter().copied());
        for file in [&file[..], &bytes] {
            let Ok(reader) = Reader::new(file) else { continue };
            prop_assert!(reader.entries().count() <= 2 * file.len() + 2);
        }
    }

    #[test]
    fn bounds_hold_whatever_comes(
        lines in prop::collection::vec("(w [0-9]{1,3}|e 1|z[a-z]{0,200})", 0..150), bound in 0..20_000usize, keeps_last in any::<bool>(),
    ) {
        let files = Files::default();
        let keep = if keeps_last { Keep::Last(bound) } else { Keep::First(bound) };
        let mut connection = Connection::new(Script::default()).recorded(files.tape().keeping(keep));
        for line in lines {
            run(&mut connection, format!("{line}\n").as_bytes(), false);
        }
        drop(connection);
        let file = files.only();
        prop_assert!(file.len() <= bound.max(Keep::LEAST), "{} bytes in {bound}", file.len());
        let reader = Reader::new(&file).expect("undamaged");
        prop_assert_eq!(reader.check(), Ok(()));
        let ended = if keeps_last || !matches!(last(&file), Entry::End(Ended::Full)) { Ended::Dropped } else { Ended::Full };
        prop_assert_eq!(last(&file), Entry::End(ended));
        prop_assert!(keeps_last || reader.header().first == 0);
    }
}

/// FAULTS 59: as a driver ends it that has caught the panic.
#[test]
fn fault_59_recording_of_a_connection_whose_handler_panics_is_whole() {
    struct Fragile;

    impl Protocol for Fragile {
        type Event = Infallible;
        type Command = Infallible;
        type Error = Infallible;

        fn consume(&mut self, _: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
            panic!("on purpose")
        }
    }

    let files = Files::default();
    let store = files.clone();
    let tape = Tape::new("fragile", move |file| store.0.lock().expect("nobody panics with it").push(file));
    let mut connection = Connection::new(Fragile).recorded(tape);
    assert!(catch_unwind(AssertUnwindSafe(|| run(&mut connection, b"line\n", false))).is_err());
    assert_eq!(files.count(), 0, "it has not ended yet");
    connection.lend(&mut Workspace::new(), Time::from_nanos(1_000)).abort();
    assert!(run(&mut connection, b"", false));
    assert_eq!(last(&files.only()), Entry::End(Ended::Closed));
}
