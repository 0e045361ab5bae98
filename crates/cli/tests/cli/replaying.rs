//! `drywire replay`: identical, different, damaged, and none of these.

use crate::support::{Program, drywire, read_to_end};
use crate::tapes::{Talk, fixed, of_an_unknown_protocol};
use drywire_core::record::{Keep, Mask};
use std::fs;
use std::path::Path;

/// What it prints, when it ends with this status.
#[track_caller]
fn replay(args: &[&str], status: i32) -> String {
    let mut command = drywire(&["replay"]);
    let mut program = Program::start(command.args(args));
    let stdout = read_to_end(program.stdout());
    let stderr = program.exits_with(status);
    String::from_utf8(stdout).unwrap() + &stderr
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn recording_replays_identically_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = fixed().write(directory.path(), "a.dwr");
    let said = replay(&[text(&path)], 0);
    let line = format!("{}: identical: ", path.display());
    assert!(said.starts_with(&line) && said.contains(" entries, 1.46 s of talk, "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn each_changed_byte_is_reported_at_that_byte() {
    let directory = tempfile::tempdir().unwrap();
    let whole = fixed().file();
    let path = directory.path().join("changed.dwr");
    for at in (0..whole.len()).step_by(whole.len() / 23) {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        fs::write(&path, &changed).unwrap();
        let said = replay(&[text(&path)], 3);
        let line = format!("{}: byte {at} is 0x{:02x}, was 0x{:02x}\n", path.display(), changed[at], whole[at]);
        assert_eq!(said, line);
    }
}

#[test]
fn what_if_limits_are_named_and_show_the_first_difference() {
    let directory = tempfile::tempdir().unwrap();
    let path = Talk::new().says(b"short\n").after(1203).says(&[b'x'; 40]).after(9).ends().write(directory.path(), "a");
    let said = replay(&[text(&path), "--limits", "input=32,events=3"], 3);
    let with = "different with input 32 bytes instead of 10240 bytes, events 3 instead of 64, at 1.203000 s, entry ";
    assert!(said.contains(with), "{said}");
    assert!(said.contains("\n  recorded: ") && said.contains("\n  with these limits: "), "{said}");
    let same = replay(&[text(&path), "--limits", "input=64,stall=5s"], 0);
    let with = "identical with input 64 bytes instead of 10240 bytes, stall 5s instead of 1m: ";
    assert!(same.contains(with), "{same}");
}

#[test]
fn idle_limit_that_was_not_there_comes_before_the_next_turn() {
    let directory = tempfile::tempdir().unwrap();
    let talk = Talk::new().says(b"a\n").after(5000).says(b"b\n").after(1).ends();
    let said = replay(&[text(&talk.write(directory.path(), "a")), "--limits", "idle=2s"], 3);
    assert!(said.contains("different with idle 2s instead of none, at 5.000000 s, entry "), "{said}");
    assert!(said.contains("\n  with these limits: turn at "), "{said}");
}

#[test]
fn files_that_are_no_whole_recordings_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let whole = fixed().file();
    let mut newer = whole.clone();
    newer.splice(8.., newer_header(&whole));
    let ring = (0..2000).fold(Talk::kept(Keep::Last(4096), None), |talk, _| talk.after(1).says(b"round and round\n"));
    let mut mixed = whole.clone();
    mixed[60..70].fill(0xee);
    for (name, contents, status, says) in [
        ("empty", Vec::new(), 3, "the file is empty"),
        ("cut", whole[..whole.len() - 3].to_vec(), 3, "the end is missing"),
        ("magic", whole[..5].to_vec(), 3, "the end is missing"),
        ("other", b"#!/bin/sh\necho hello\n".to_vec(), 1, "not a recording"),
        ("newer", newer, 1, "a recording of version 4, which this drywire cannot read"),
        ("ring", ring.after(1).ends().file(), 1, "can be traced, not replayed"),
        ("mixed", mixed, 3, "damaged: more than one byte"),
        ("unknown", of_an_unknown_protocol(), 1, r"no protocol "),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        let said = replay(&[text(&path)], status);
        assert!(said.starts_with(&format!("{}: ", path.display())) && said.contains(says), "{name}: {said}");
        assert!(!said.contains('\x1b'), "{said}");
    }
    let missing = replay(&["/nowhere/at/all.dwr"], 1);
    assert!(missing.starts_with("drywire: cannot read /nowhere/at/all.dwr: No such file"), "{missing}");
}

/// The header of a version that does not exist yet: right in every checksum.
fn newer_header(whole: &[u8]) -> Vec<u8> {
    let mut rest = whole[8..].to_vec();
    let len = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
    rest[12] = 4;
    let check = crc(&rest[12..12 + len]).to_le_bytes();
    rest[4..8].copy_from_slice(&check);
    let check = crc(&rest[..8]).to_le_bytes();
    rest[8..12].copy_from_slice(&check);
    rest
}

/// CRC-32 as everybody knows it, a bit at a time.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn one_that_differs_decides_the_status_and_the_others_are_still_done() {
    let directory = tempfile::tempdir().unwrap();
    fixed().write(directory.path(), "1.dwr");
    let mut broken = fixed().file();
    broken[40] ^= 1;
    fs::write(directory.path().join("2.dwr"), broken).unwrap();
    fixed().write(directory.path(), "3.dwr");
    fs::write(directory.path().join("notes.txt"), "no recording").unwrap();
    let said = replay(&[text(directory.path()), "/nowhere.dwr"], 3);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[0].contains("1.dwr: identical") && lines[2].contains("3.dwr: identical"), "{said}");
    assert!(lines[1].contains("2.dwr: byte 40 is"), "{said}");
}

#[test]
fn status_is_true_though_nobody_reads_the_lines() {
    let directory = tempfile::tempdir().unwrap();
    fixed().write(directory.path(), "1.dwr");
    let mut broken = fixed().file();
    broken[40] ^= 1;
    fs::write(directory.path().join("2.dwr"), broken).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = drywire(&["replay"]);
    Program::start(command.arg(directory.path()).stdout(writer)).exits_with(3);
}

#[test]
fn file_without_an_end_is_not_read_to_its_end() {
    let said = replay(&["/dev/zero"], 1);
    assert!(said.contains("not a recording"), "{said}");
}

#[test]
fn directory_without_recordings_says_what_they_are_called() {
    let directory = tempfile::tempdir().unwrap();
    let said = replay(&[text(directory.path())], 1);
    assert!(said.contains("there is no recording in ") && said.contains("end with .dwr"), "{said}");
}

#[test]
fn many_recordings_are_counted_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = fixed().file();
    (0..25).for_each(|n| fs::write(directory.path().join(format!("{n:02}.dwr")), &file).unwrap());
    let said = replay(&[text(directory.path())], 0);
    assert_eq!(said.matches(": identical: ").count(), 25, "{said}");
    assert!(said.ends_with("drywire: 25 recordings, 25 identical\n"), "{said}");
}

#[test]
fn masked_recording_replays_and_says_what_was_not_compared() {
    let directory = tempfile::tempdir().unwrap();
    let talk = Talk::kept(Keep::DEFAULT, Some(Mask::after(["PASS "])));
    let path = talk.says(b"PASS secret\n").after(1).ends().after(1).ends().write(directory.path(), "a");
    let said = replay(&[text(&path)], 0);
    assert!(said.ends_with("; masked, so only lengths were compared\n"), "{said}");
}

#[test]
fn wrong_limits_are_a_wrong_command_line() {
    for (limits, says) in [("input=0", "would read nothing"), ("speed=9", "no limit"), ("idle=9", "time unit")] {
        let said = replay(&["x.dwr", "--limits", limits], 2);
        assert!(said.contains(says), "{said}");
    }
    assert!(replay(&[], 2).contains("<FILE>"));
}
