//! `drywire trace`: the timeline as text.

use crate::support::{Program, drywire, read_to_end};
use crate::tapes::{Talk, fixed, of_an_unknown_protocol};
use drywire_core::record::{Keep, Mask};
use std::fs;
use std::path::Path;
use std::process::Stdio;

#[track_caller]
fn trace(path: &Path, args: &[&str], status: i32) -> (String, String) {
    let mut command = drywire(&["trace", path.to_str().unwrap()]);
    let mut program = Program::start(command.args(args));
    let stdout = String::from_utf8(read_to_end(program.stdout())).unwrap();
    (stdout, program.exits_with(status))
}

const FIXED: &str = r#"line-echo: finished
peer 127.0.0.1:4711, driver by hand
limits: input 10240, output 262144, linger 1048576 within 5 s, stall 60 s, idle none, first byte none, message none, rate none, events 64, files 8
34 entries in 1.46 s; from the peer 34 bytes, to the peer 34 bytes

  entry       seconds  who             bytes   held in  held out  what
      1      0.000000  peer                6                      sends "hello\n"
      3                protocol            6                      sends
      5                protocol                      0         0  waits for input
      7      0.250000  peer                8                      sends "again\nun"
      9                protocol            6                      offers, 2 bytes taken
     11                protocol            4                      offers, none taken
     12                protocol                      2         4  waits for input and the transport to take output, until 60.250000
     14      0.253000  transport                                  can take output
     15                protocol            4                      offers, 1 byte taken
     17                protocol            3                      offers, none taken
     18                protocol                      2         3  waits for input and the transport to take output, until 60.253000
     20      0.255000  transport                                  can take output
     21                protocol            3                      sends
     23                protocol                      2         0  waits for input
     25      1.455000  peer               20                      sends "finished\n\x1b[31m\xff\"<b>\n"
     27                protocol           22                      sends
     29                protocol                      0         0  waits for input
     31      1.460000  peer                                       ends its direction
     32                protocol                                   closed: finished; received 34, sent 34
     33                recorder                                   ends
"#;

#[test]
fn fixed_recording_has_this_timeline() {
    let directory = tempfile::tempdir().unwrap();
    let (said, stderr) = trace(&fixed().write(directory.path(), "a"), &[], 0);
    assert_eq!(said, FIXED, "{said}");
    assert_eq!(stderr, "");
}

#[test]
fn part_of_it_and_shorter_excerpts_can_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = fixed().write(directory.path(), "a");
    let (said, _) = trace(&path, &["--from", "251ms", "--to", "1454ms", "--bytes", "0"], 0);
    assert!(!said.contains("hello") && !said.contains(" 0.250000 ") && said.contains(" 0.253000 "), "{said}");
    assert!(!said.contains(" 1.455000 "), "{said}");
    let (said, _) = trace(&path, &["--bytes", "3"], 0);
    assert!(said.contains("sends \"hel\" and 3 bytes more\n"), "{said}");
}

#[test]
fn what_repeats_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let talk = Talk::new().says_and_takes(&[b'\n'; 200], 1);
    let path =
        (0..99).fold(talk, |talk, _| talk.after(1).takes(1)).after(1).takes(200).ends().write(directory.path(), "a");
    let (said, _) = trace(&path, &[], 0);
    assert!(said.contains(" turns more like this one, 98 bytes taken\n"), "{said}");
    assert!(said.lines().count() < 30, "{said}");
}

#[test]
fn what_is_missing_or_blanked_is_said_first() {
    let directory = tempfile::tempdir().unwrap();
    let ring = (0..500).fold(Talk::kept(Keep::Last(4096), None), |talk, _| talk.after(1).says(b"round and round\n"));
    let (said, _) = trace(&ring.write(directory.path(), "ring"), &[], 0);
    assert!(said.contains("\nThe beginning was not kept: this starts with entry "), "{said}");
    let full = (0..500).fold(Talk::kept(Keep::First(4096), None), |talk, _| talk.after(1).says(b"round and round\n"));
    let (said, _) = trace(&full.write(directory.path(), "full"), &[], 0);
    assert!(said.contains("\nThe recording stopped at its bound, the connection went on.\n"), "{said}");
    let masked = Talk::kept(Keep::DEFAULT, Some(Mask::after(["PASS "]))).says(b"PASS hunter2\n");
    let (said, _) = trace(&masked.write(directory.path(), "masked"), &[], 0);
    assert!(said.contains("\nRecorded with a mask: ") && said.contains("\"PASS *******\\n\""), "{said}");
}

#[test]
fn damage_is_named_and_the_rest_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let talk = (0..300).fold(Talk::new(), |talk, _| talk.after(1).says(b"and another line\n"));
    let mut file = talk.after(1).ends().after(1).ends().file();
    let at = file.len() / 2;
    file[at] ^= 0xff;
    let path = directory.path().join("a");
    fs::write(&path, &file).unwrap();
    let (said, stderr) = trace(&path, &[], 3);
    let words = format!("byte {at} is 0x{:02x}, was 0x{:02x}", file[at], file[at] ^ 0xff);
    assert!(said.contains(&words) && said.contains("closed: finished"), "{said}");
    assert_eq!(stderr, format!("drywire: {}: {words}\n", path.display()));
    file[30] ^= 1;
    fs::write(&path, &file).unwrap();
    let (said, stderr) = trace(&path, &[], 3);
    assert!(said.is_empty() && stderr.contains(": byte 30 is "), "{stderr}");
    fs::write(&path, b"something else").unwrap();
    let (said, stderr) = trace(&path, &[], 1);
    assert_eq!(said, "");
    assert_eq!(stderr, format!("drywire: {}: not a recording: it does not begin like one\n", path.display()));
}

#[test]
fn fault_71_nothing_in_a_recording_steers_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::write(&path, of_an_unknown_protocol()).unwrap();
    let (said, stderr) = trace(&path, &[], 0);
    assert!(said.starts_with(r"silence\x1b[2J: ") && !said.contains('\x1b') && stderr.is_empty(), "{said}");
    let talk = Talk::new().says(b"\x1b[31m\x9b\r\x07\n");
    let (said, _) = trace(&talk.write(directory.path(), "b"), &[], 0);
    assert!(!said.contains(['\x1b', '\r', '\x07']) && said.contains(r"\x1b[31m\x9b\r\x07\n"), "{said}");
}

#[test]
fn fault_56_reader_who_has_seen_enough_ends_it_quietly() {
    let directory = tempfile::tempdir().unwrap();
    let talk = (0..5000).fold(Talk::new(), |talk, _| talk.after(1).says(b"and another line\n"));
    let path = talk.write(directory.path(), "a");
    let nobody_reads = Stdio::from(std::io::pipe().unwrap().1);
    let mut command = drywire(&["trace", path.to_str().unwrap()]);
    assert_eq!(Program::start(command.stdout(nobody_reads)).exits_with(0), "");
}
