//! The recorder's file format: any bytes are read without harm, what was recorded is
//! read as it was, and a byte that changed is told.

use crate::shared::rich::Rich;
use drywire_core::record::{Entry, Keep, Reader, Tape};
use drywire_core::{Blocked, Connection, Live, Protocol, Time, Workspace};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Entries that one byte of a file can stand for, at most, and what a short entry
/// adds to its words.
const ENTRIES_A_BYTE: usize = 1;
const WORDS_A_BYTE: usize = 64;
const WORDS_AN_ENTRY: usize = 2_000;

/// Reads a file as far as it goes, whatever it is.
fn read_all(file: &[u8]) -> usize {
    let Ok(reader) = Reader::new(file) else { return 0 };
    let (mut entries, mut words, mut failures) = (0, 0, 0);
    for entry in reader.entries() {
        match entry {
            Ok(located) => {
                assert!(located.offset <= file.len(), "an entry behind the end");
                words += located.entry.to_string().len();
                assert_eq!(located.entry.clone().into_owned(), located.entry);
                entries += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                failures += 1;
            }
        }
        assert!(entries + failures <= ENTRIES_A_BYTE * file.len() + 1, "more entries than bytes");
    }
    assert!(
        words <= WORDS_A_BYTE * file.len() + WORDS_AN_ENTRY * entries,
        "{words} of words from {} bytes",
        file.len()
    );
    assert_eq!(reader.check().is_ok(), failures == 0, "the check finds what reading does");
    entries
}

/// A connection's life, as the bytes say: a time, what is read, what is taken.
fn live_through(connection: &mut Connection<Rich>, script: &[u8]) {
    let (mut workspace, mut now) = (Workspace::new(), Time::ZERO);
    for step in script.chunks(12) {
        now = now + Duration::from_millis(u64::from(step[0]));
        let mut live = connection.lend(&mut workspace, now);
        live.handle_writable();
        if step[0] % 16 == 1 && live.can_take_command() {
            live.handle_command(step[1..].to_vec()).expect("it can take one");
        }
        live.read_with(|slot| {
            let n = (step.len() - 1).min(slot.len());
            slot[..n].copy_from_slice(&step[1..=n]);
            if n == 0 { Err(Blocked::WouldBlock) } else { Ok(n) }
        });
        poll_all(&mut live, usize::from(step[0]));
    }
}

/// Polls to the wait; takes so many bytes, and opens no file.
fn poll_all(live: &mut Live<'_, Rich>, mut takes: usize) {
    use drywire_core::{Action, FileError};
    for _ in 0..100_000 {
        let asked = match live.poll() {
            Action::Write(write) => {
                let offered = write.with_slices(|slices, _| slices.iter().map(|slice| slice.len()).sum::<usize>());
                let n = offered.min(takes);
                takes -= n;
                if n == 0 {
                    write.blocked()
                } else {
                    write.wrote(n)
                }
                continue;
            }
            Action::OpenFile(request) => request.id(),
            Action::Wait(_) | Action::Again => return,
            Action::StreamFile(_) | Action::ReadFile(_) => unreachable!("no file was ever opened"),
            Action::CloseFile(_)
            | Action::Event(_)
            | Action::DisableRead
            | Action::EnableRead
            | Action::HalfClose
            | Action::Close(_) => continue,
        };
        live.handle_file(asked, Err(FileError::NotFound)).expect("it was asked for");
    }
    panic!("I3: it never waits");
}

/// The recording of a life.
fn record(script: &[u8], keep: Keep) -> Vec<u8> {
    let file = Arc::new(Mutex::new(Vec::new()));
    let done = file.clone();
    let tape = Tape::new("rich", move |bytes| *done.lock().expect("one thread") = bytes).keeping(keep);
    let mut connection = Connection::new(Rich::default()).recorded(tape);
    live_through(&mut connection, script);
    drop(connection);
    Arc::into_inner(file).expect("the tape is gone").into_inner().expect("one thread")
}

/// The same life, heard as it goes on. What the file says only at its end is left out.
fn hear(script: &[u8]) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let tape = Tape::listening(move |entry: Entry<'_>| ears.lock().expect("one thread").push(entry.to_string()));
    let mut connection = Connection::new(Rich::default()).recorded(tape);
    live_through(&mut connection, script);
    drop(connection);
    Arc::into_inner(heard).expect("the tape is gone").into_inner().expect("one thread")
}

/// The first byte says whether the rest is a file or a life.
pub fn recording(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 4 == 0 {
        read_all(rest);
        return;
    }
    let file = record(rest, Keep::DEFAULT);
    let entries = read_all(&file);
    let reader = Reader::new(&file).expect("it was just made");
    assert_eq!(reader.check(), Ok(()));
    assert_eq!(reader.header().limits, Rich::LIMITS);
    let read: Vec<String> = reader.entries().map(|entry| entry.expect("it was just made").entry.to_string()).collect();
    assert_eq!(read, hear(rest), "what is read is what happened");
    assert_eq!(entries, read.len());

    // A ring keeps an end of it, and that end is sound.
    let ring = record(rest, Keep::Last(Keep::LEAST));
    assert!(ring.len() <= Keep::LEAST);
    read_all(&ring);

    // One byte that is not what it was is told; wherever it is.
    let mut damaged = file;
    let at = (usize::from(*kind) * 2_654_435_761 + rest.len()) % damaged.len();
    damaged[at] ^= 1 << (kind % 8);
    read_all(&damaged);
    let told = Reader::new(&damaged).map_or(true, |reader| reader.check().is_err());
    assert!(told, "byte {at} changed and nobody noticed");
}
