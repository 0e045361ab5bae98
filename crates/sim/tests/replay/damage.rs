//! A changed byte is found where it is.

use crate::identical::comes_out_again;
use crate::stage::{lines, no_commands, reseal, tape};
use drywire_core::Connection;
use drywire_core::record::{Ended, Entry, ReadError, Reader};
use drywire_protocols::Dialog;
use drywire_sim::Random;
use drywire_sim::replay::{Options, ReplayError, replay};

/// More than three blocks.
fn recording() -> Vec<u8> {
    let text = lines(&mut Random::new(5), &["GET 900", "SIZE 4", "NOOP", "GET nothing"], 75);
    let file = comes_out_again(6, Dialog::new, Connection::new(Dialog::new()), text, no_commands::<Dialog>);
    assert!((3000..30_000).contains(&file.len()), "{} bytes", file.len());
    file
}

fn error(file: &[u8]) -> Option<ReadError> {
    match replay(file, Dialog::new, Options::default()) {
        Err(ReplayError::Read(error)) => Some(error),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn each_byte_that_is_changed_is_reported_at_its_offset() {
    let mut file = recording();
    for at in 0..file.len() {
        let was = file[at];
        for bits in [1, 0x80, 0xff, u8::try_from(at % 254).expect("below 254") + 1] {
            let is = was ^ bits;
            file[at] = is;
            assert_eq!(error(&file), Some(ReadError::Damaged { at, is, was }), "byte {at} of {}", file.len());
        }
        file[at] = was;
    }
    assert_eq!(error(&file), None);
}

#[test]
fn recording_that_is_cut_says_so_and_can_be_read_up_to_there() {
    let file = recording();
    let whole: Vec<_> = Reader::new(&file).expect("undamaged").entries().map(Result::unwrap).collect();
    for at in 0..file.len() {
        let cut = &file[..at];
        assert_eq!(error(cut), Some(ReadError::Truncated { at }));
        let Ok(reader) = Reader::new(cut) else { continue };
        let mut entries: Vec<_> = reader.entries().collect();
        assert_eq!(entries.pop(), Some(Err(ReadError::Truncated { at })));
        let entries: Vec<_> = entries.into_iter().map(Result::unwrap).collect();
        assert!(entries.len() * 1024 * 2 + 4096 > at, "{} entries of {at} bytes", entries.len());
        assert_eq!(entries[..], whole[..entries.len()]);
    }
}

#[test]
fn more_than_one_changed_byte_is_a_damaged_block_and_the_rest_can_be_read() {
    let file = recording();
    let whole: Vec<_> = Reader::new(&file).expect("undamaged").entries().map(Result::unwrap).collect();
    // In the payload of a block in the middle, and then in its head.
    let block = second_block(&file);
    for at in [block + 100, block + 4] {
        let mut damaged = file.clone();
        for index in 0..3 {
            damaged[at + index] ^= 0x5a;
        }
        let Some(ReadError::DamagedBlock { from, to }) = error(&damaged) else { panic!("{:?}", error(&damaged)) };
        assert!(from <= at && at + 3 <= to && to - from <= 12 + 1024, "{from} to {to}");
        let read: Vec<_> = Reader::new(&damaged).expect("the header is whole").entries().collect();
        assert_eq!(read.iter().filter(|entry| entry.is_err()).count(), 1);
        let read: Vec<_> = read.into_iter().flatten().collect();
        assert!(read.iter().all(|entry| whole.contains(entry)));
        assert_eq!(read.last().map(|last| &last.entry), Some(&Entry::End(Ended::Closed)));
    }
}

fn second_block(file: &[u8]) -> usize {
    let first = 8 + length(file, 8);
    first + length(file, first)
}

fn length(file: &[u8], block: usize) -> usize {
    12 + usize::from(u16::from_le_bytes([file[block + 2], file[block + 3]]))
}

#[test]
fn lost_block_and_bytes_behind_the_end_are_damage() {
    let file = recording();
    let (from, to) = (8 + 12 + usize::from(file[10]), second_block(&file));
    let lost = [&file[..from], &file[to..]].concat();
    assert_eq!(error(&lost), Some(ReadError::Malformed { at: from }));
    let longer = [&file[..], b"x"].concat();
    assert_eq!(error(&longer), Some(ReadError::DamagedBlock { from: file.len(), to: longer.len() }));
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    assert_eq!(error(b"GET / HTTP/1.1\r\n\r\n"), Some(ReadError::NotARecording));
    assert_eq!(error(b""), Some(ReadError::Truncated { at: 0 }));
    let mut file = recording();
    // Behind magic and head.
    file[20] = 9;
    reseal(&mut file);
    assert_eq!(error(&file), Some(ReadError::Version(9)));
}

/// Whatever stands in a file whose checksums are right: an answer, and no panic.
#[test]
fn forged_recordings_do_not_panic() {
    let file = recording();
    let mut payloads = Vec::new();
    let mut block = 8;
    while block < file.len() {
        let next = block + length(&file, block);
        payloads.extend(block + 12..next);
        block = next;
    }
    let random = &mut Random::new(1);
    let mut played = 0;
    for _ in 0..4_000 {
        let mut forged = file.clone();
        for _ in 0..random.between(1, 3) {
            let at = random.pick(&payloads);
            forged[at] = u8::try_from(random.between(0, 255)).expect("a byte");
        }
        reseal(&mut forged);
        played += usize::from(replay(&forged, Dialog::new, Options::default()).is_ok());
    }
    assert!(played > 100, "{played} could be played");
}

#[test]
fn recording_of_nothing_is_whole() {
    let (tape, file) = tape("dialog");
    drop(Connection::new(Dialog::new()).recorded(tape));
    let file = file.recv().expect("a drop ends the recording");
    assert_eq!(error(&file), None);
}
