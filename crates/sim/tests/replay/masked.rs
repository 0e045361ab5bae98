//! Secrets do not get into a recording, and it can be replayed all the same.

use crate::records::{Records, encode};
use crate::stage::{find, reseal, run, run_calmly, tape};
use crate::talk::Talk;
use drywire_core::Connection;
use drywire_core::record::{Entry, Mask, Reader, masked};
use drywire_protocols::{ByteEcho, LineEcho};
use drywire_sim::replay::{Options, Replayed, replay};

const TEXT: &[u8] = b"USER me\nPASS hunter2hunter2\nemit hunter2\nfile hunter2\nfail hunter2\n";

fn mask() -> Mask {
    Mask::after(["PASS ", "emit ", "file ", "fail "])
}

#[test]
fn secret_is_nowhere_in_a_masked_file() {
    for seed in 0..50 {
        let (tape, file) = tape("talk");
        let connection = Connection::new(Talk::default()).recorded(tape.masked_by(mask()));
        run(connection, seed, TEXT.to_vec(), crate::stage::no_commands::<Talk>);
        let file = file.recv().expect("it has ended");
        assert!(file.windows(4).all(|window| !b"hunter2hunter2".windows(4).any(|part| part == window)));
        let reader = Reader::new(&file).expect("undamaged");
        assert!(reader.header().masked);
        for located in reader.entries() {
            let entry = located.expect("undamaged").entry;
            if let Entry::Wrote { crc, .. } | Entry::OpenFile { crc, .. } = entry {
                assert_eq!(crc, None);
            } else if let Entry::Event(text) = entry {
                assert_eq!((text.len, text.crc), (0, 0));
            }
        }
        let replayed = replay(&file, Talk::default, Options::default()).expect("undamaged");
        assert!(replayed.is_identical(), "seed {seed}: {replayed}");
        assert!(replayed.to_string().ends_with("; masked, so contents were not compared"));
    }
}

/// Names, events, errors of the protocol, files and a layer: a copy that is masked afterwards has none of them more.
#[test]
fn masked_copy_is_the_file_of_a_masked_tape() {
    for seed in 0..50 {
        let talk = |is_masked: bool| {
            let (tape, file) = tape("talk");
            let tape = if is_masked { tape.masked_by(mask()) } else { tape };
            run(
                Connection::new(Talk::default()).recorded(tape),
                seed,
                TEXT.to_vec(),
                crate::stage::no_commands::<Talk>,
            );
            file.recv().expect("it has ended")
        };
        assert!(masked(&talk(false), mask()) == Ok(talk(true)), "seed {seed}");
        let layered = |is_masked: bool| {
            let (tape, file) = tape("line-echo");
            let tape = if is_masked { tape.masked_by(mask()) } else { tape };
            run_calmly(Connection::with_layer(LineEcho, Records::default()).recorded(tape), &encode(TEXT));
            file.recv().expect("it has closed")
        };
        assert!(masked(&layered(false), mask()) == Ok(layered(true)));
    }
}

/// The control: without a mask it is all there.
#[test]
fn secret_is_in_a_file_without_a_mask() {
    let (tape, file) = tape("talk");
    run_calmly(Connection::new(Talk::default()).recorded(tape), TEXT);
    let file = file.recv().expect("it has closed");
    find(&file, b"PASS hunter2hunter2");
    find(&file, b"Line(\"hunter2");
    find(&file, b"Bad(\"hunter2");
}

#[test]
fn plain_bytes_of_a_layer_are_masked() {
    let (tape, file) = tape("line-echo");
    let text = encode(b"USER me\nPASS hunter2\n");
    run_calmly(Connection::with_layer(LineEcho, Records::default()).recorded(tape.masked_by(mask())), &text);
    let file = file.recv().expect("it has closed");
    find(&file, b"USER me\nPASS *******\n");
    let replayed = replay(&file, || LineEcho, Options::default()).expect("undamaged");
    assert!(replayed.is_identical(), "{replayed}");
}

#[test]
fn lengths_are_compared_though_contents_are_not() {
    let (tape, file) = tape("byte-echo");
    run_calmly(Connection::new(ByteEcho).recorded(tape.masked_by(Mask::nothing())), b"some text");
    let mut file = file.recv().expect("it has closed");
    let at = find(&file, b"text");
    file[at] = b'T';
    reseal(&mut file);
    assert!(matches!(replay(&file, || ByteEcho, Options::default()), Ok(Replayed::Identical(_))));
    let half = replay(&file, || Half, Options::default()).expect("undamaged");
    assert!(!half.is_identical(), "{half}");
}

/// Echoes half of it.
struct Half;

impl drywire_core::Protocol for Half {
    type Event = std::convert::Infallible;
    type Command = std::convert::Infallible;
    type Error = std::convert::Infallible;

    fn consume(
        &mut self,
        input: &[u8],
        cx: &mut drywire_core::Context<'_, Half>,
    ) -> Result<usize, drywire_core::Stop<Self::Error>> {
        cx.write(&input[..input.len() / 2])?;
        Ok(input.len())
    }
}
