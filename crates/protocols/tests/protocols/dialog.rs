//! The dialog.

use crate::sent::Sent;
use crate::wire::{Peer, Seen};
use drywire_core::{FileError, Limit, Limits, Reason};
use drywire_protocols::{BadCommand, Dialog};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// More than 32 bits can count.
const BIG: u64 = (4 << 30) + 7;

const BAD_COMMAND: &[u8] = b"-500 protocol error, bad command\n";
const LINE_TOO_LONG: &[u8] = b"-500 protocol error, line too long\n";

fn files() -> BTreeMap<Vec<u8>, Result<u64, FileError>> {
    let files: [(&[u8], _); 11] = [
        (b"hello", Ok(5)),
        (b"empty", Ok(0)),
        (b"deep/er/down", Ok(12)),
        (b" two  spaces ", Ok(13)),
        (b"\xff\0\r\xc3", Ok(4)),
        (b"big", Ok(BIG)),
        (b"../secret", Err(FileError::Forbidden)),
        (b"directory", Err(FileError::NotRegular)),
        (b"busy", Err(FileError::TooMany)),
        (b"broken", Err(FileError::Io(5))),
        (b"cut", Err(FileError::Truncated)),
    ];
    files.into_iter().map(|(name, result)| (name.to_vec(), result)).collect()
}

fn peer(input: &[u8]) -> Peer {
    Peer { files: files(), ..Peer::says(input) }
}

/// What a dialog comes to, said again in another way: split at LF, line by line.
fn answer_to(input: &[u8]) -> (Sent, Reason<BadCommand>) {
    let mut sent = Sent::new();
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    lines.pop();
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (verb, name) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        sent = match (verb, name) {
            (b"GET" | b"SIZE", Some(name)) if !name.is_empty() => {
                match files().get(name).copied().unwrap_or(Err(FileError::NotFound)) {
                    Ok(len) if verb == b"GET" => sent.bytes(format!("OK {len}\n").as_bytes()).file(name, len),
                    Ok(len) => sent.bytes(format!("OK {len}\n").as_bytes()),
                    Err(why) => sent.bytes(format!("-550 {why}\n").as_bytes()),
                }
            }
            (b"NOOP", None) => sent.bytes(b"OK\n"),
            (b"QUIT", None) => return (sent.bytes(b"OK\n"), Reason::Finished),
            _ => return (sent.bytes(BAD_COMMAND), Reason::Peer(BadCommand)),
        };
    }
    (sent, Reason::Finished)
}

#[track_caller]
fn closed(seen: Seen<BadCommand>, sent: &Sent, reason: &Reason<BadCommand>) {
    assert_eq!(seen.sent, *sent);
    assert_eq!(seen.report.expect("closed").reason, *reason);
}

/// Whole, byte by byte, and with another request behind; each with files that are
/// opened at once and later.
#[track_caller]
fn answers(line: &[u8], sent: &Sent) {
    for opens_late in [false, true] {
        let peer = |input: &[u8]| Peer { opens_late, ..peer(input) };
        closed(peer(line).meets(Dialog::new()), sent, &Reason::Finished);
        closed(peer(line).byte_by_byte().meets(Dialog::new()), sent, &Reason::Finished);
        let behind = [line, b"SIZE hello\r\nNO"].concat();
        let both = sent.clone().bytes(b"OK 5\n");
        closed(peer(&behind).meets(Dialog::new()), &both, &Reason::Finished);
        closed(peer(&behind).byte_by_byte().meets(Dialog::new()), &both, &Reason::Finished);
    }
}

/// The same for a line that ends the dialog, with what follows it dropped.
#[track_caller]
fn ends(line: &[u8], reply: &[u8], reason: &Reason<BadCommand>) {
    let sent = Sent::of(reply);
    closed(peer(line).meets(Dialog::new()), &sent, reason);
    closed(peer(line).byte_by_byte().meets(Dialog::new()), &sent, reason);
    closed(peer(line).stays().meets(Dialog::new()), &sent, reason);
    let behind = [line, b"GET hello\nNOOP\n"].concat();
    closed(peer(&behind).meets(Dialog::new()), &sent, reason);
    closed(peer(&behind).byte_by_byte().stays().meets(Dialog::new()), &sent, reason);
}

#[track_caller]
fn is_bad(line: &[u8]) {
    ends(line, BAD_COMMAND, &Reason::Peer(BadCommand));
}

#[test]
fn b13_get_answers_the_length_and_exactly_that_many_bytes() {
    answers(b"GET hello\n", &Sent::of(b"OK 5\n").file(b"hello", 5));
    answers(b"GET hello\r\n", &Sent::of(b"OK 5\n").file(b"hello", 5));
    answers(b"GET empty\n", &Sent::of(b"OK 0\n"));
    answers(b"GET deep/er/down\n", &Sent::of(b"OK 12\n").file(b"deep/er/down", 12));
    answers(b"GET big\n", &Sent::of(b"OK 4294967303\n").file(b"big", BIG));
}

#[test]
fn b13_size_answers_the_length_alone() {
    answers(b"SIZE hello\n", &Sent::of(b"OK 5\n"));
    answers(b"SIZE empty\r\n", &Sent::of(b"OK 0\n"));
    answers(b"SIZE big\n", &Sent::of(b"OK 4294967303\n"));
}

#[test]
fn b13_noop_is_fine_and_quit_is_the_last() {
    answers(b"NOOP\n", &Sent::of(b"OK\n"));
    answers(b"NOOP\r\n", &Sent::of(b"OK\n"));
    ends(b"QUIT\n", b"OK\n", &Reason::Finished);
    ends(b"QUIT\r\n", b"OK\n", &Reason::Finished);
    ends(b"NOOP\nQUIT\n", b"OK\nOK\n", &Reason::Finished);
}

#[test]
fn starttls_is_no_word_where_it_is_not_offered() {
    is_bad(b"STARTTLS\n");
    // Offered, over a layer that cannot: an end, and never a dialog that only seems to be private.
    let seen = peer(b"STARTTLS\n").stays().meets(Dialog::with_starttls());
    assert_eq!(seen.sent, Sent::of(b"OK\n"));
    assert!(matches!(seen.report.expect("closed").reason, Reason::Layer(_)));
    let seen = peer(b"STARTTLS\nNOOP\n").meets(Dialog::with_starttls());
    closed(
        seen,
        &Sent::of(b"-500 protocol error, bytes were sent ahead of the upgrade\n"),
        &Reason::Limit(Limit::Leftovers),
    );
}

#[test]
fn b13_names_are_bytes_behind_exactly_one_space() {
    answers(b"GET  two  spaces \n", &Sent::of(b"OK 13\n").file(b" two  spaces ", 13));
    answers(b"SIZE  two  spaces \r\n", &Sent::of(b"OK 13\n"));
    answers(b"GET hello \n", &Sent::of(b"-550 no such file\n"));
    answers(b"GET  \n", &Sent::of(b"-550 no such file\n"));
}

#[test]
fn b13_file_that_cannot_be_had_is_an_answer_and_the_dialog_goes_on() {
    answers(b"GET nowhere\n", &Sent::of(b"-550 no such file\n"));
    answers(b"SIZE nowhere\r\n", &Sent::of(b"-550 no such file\n"));
    answers(b"GET busy\n", &Sent::of(b"-550 too many open files\n"));
    answers(b"GET broken\n", &Sent::of(b"-550 os error 5\n"));
    answers(b"GET cut\n", &Sent::of(b"-550 file became shorter while it was sent\n"));
}

#[test]
fn fault_50_what_is_no_regular_file_is_refused() {
    answers(b"GET directory\n", &Sent::of(b"-550 not a regular file\n"));
    answers(b"SIZE directory\n", &Sent::of(b"-550 not a regular file\n"));
}

#[test]
fn fault_51_names_reach_the_driver_as_they_are_and_its_refusal_is_an_answer() {
    answers(b"GET ../secret\n", &Sent::of(b"-550 forbidden\n"));
    answers(b"SIZE ../secret\n", &Sent::of(b"-550 forbidden\n"));
    answers(b"GET %2e%2e/secret\n", &Sent::of(b"-550 no such file\n"));
    answers(b"GET hello\0.txt\n", &Sent::of(b"-550 no such file\n"));
}

#[test]
fn fault_28_30_72_nul_bare_cr_and_broken_utf8_stay_in_the_name() {
    answers(b"GET \xff\0\r\xc3\n", &Sent::of(b"OK 4\n").file(b"\xff\0\r\xc3", 4));
    answers(b"GET hello\r\r\n", &Sent::of(b"-550 no such file\n"));
    is_bad(b"NOOP\0\n");
    is_bad(b"NOOP\r\r\n");
    is_bad(b"GET\xc2\xa0hello\n");
}

#[test]
fn b8_b13_anything_else_is_a_bad_command_and_the_end() {
    for line in ["", "\r", " ", "HELO", "OK", "get hello", "Noop", "quit", " NOOP", "NOOP ", "NOOP extra", "QUIT now"] {
        is_bad(format!("{line}\n").as_bytes());
    }
    for line in ["GET", "GET ", "GET\thello", "GETS hello", "SIZE", "SIZE ", "SIZE\0hello"] {
        is_bad(format!("{line}\n").as_bytes());
        is_bad(format!("{line}\r\n").as_bytes());
    }
}

#[test]
fn fault_39_http_asks_for_no_file_and_then_says_a_bad_command() {
    let reply = [b"-550 no such file\n", BAD_COMMAND].concat();
    ends(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", &reply, &Reason::Peer(BadCommand));
    is_bad(b"POST / HTTP/1.1\r\nHost: here\r\n\r\n");
}

#[test]
fn b9_a_request_waits_until_its_line_is_whole() {
    let seen = peer(b"NOOP\nGET hel").stays().meets(Dialog::new());
    assert_eq!(seen.sent, Sent::of(b"OK\n"));
    assert_eq!(seen.report, None);
    assert_eq!(seen.peak_bytes, 7);
}

#[test]
fn b13_unterminated_last_line_is_dropped() {
    for last in [&b"QUIT"[..], b"GET hello", b"bogus", b"NOOP\r", b""] {
        let said = [b"NOOP\n", last].concat();
        closed(peer(&said).meets(Dialog::new()), &Sent::of(b"OK\n"), &Reason::Finished);
        closed(peer(&said).byte_by_byte().meets(Dialog::new()), &Sent::of(b"OK\n"), &Reason::Finished);
    }
}

#[test]
fn b13_big_file_then_unknown_line_is_answered_and_closed_after_the_flush() {
    let sent = Sent::of(b"OK 4294967303\n").file(b"big", BIG).bytes(BAD_COMMAND);
    let mut slow = peer(b"GET big\r\nBOGUS\r\nGET hello\r\n").stays();
    slow.takes = 50_000_000;
    slow.stutters = true;
    for peer in [peer(b"GET big\nBOGUS\nNOOP\n"), slow] {
        closed(peer.meets(Dialog::new()), &sent, &Reason::Peer(BadCommand));
    }
}

#[test]
fn b11_four_gigabytes_stream_in_constant_memory() {
    let said = b"GET big\n".repeat(20);
    let mut sent = Sent::new();
    for _ in 0..20 {
        sent = sent.bytes(b"OK 4294967303\n").file(b"big", BIG);
    }
    let mut peer = peer(&said);
    peer.takes = 100_000_000;
    peer.stutters = true;
    let seen = peer.meets(Dialog::new());
    assert!(seen.peak_bytes <= 400, "{} bytes held", seen.peak_bytes);
    assert!(seen.peak_files <= usize::from(Limits::DEFAULT.files), "{} files open", seen.peak_files);
    closed(seen, &sent, &Reason::Finished);
}

#[test]
fn fault_4_requests_without_reading_stop_at_the_bounds() {
    let mut peer = peer(&b"GET big\nNOOP\n".repeat(10_000));
    peer.takes = 0;
    let seen = peer.meets(Dialog::new());
    assert_eq!(seen.peak_files, 8);
    assert!(seen.received <= 3 * 10_240, "{} bytes read", seen.received);
    assert_eq!(seen.report.expect("closed after the stall").reason, Reason::Stalled);
}

#[test]
fn fault_9_end_of_input_lets_the_owed_answers_out() {
    for opens_late in [false, true] {
        let mut peer = Peer { opens_late, ..peer(b"GET big\nGET hello\nNOOP\n") };
        peer.takes = 1 << 30;
        peer.stutters = true;
        let sent = Sent::of(b"OK 4294967303\n").file(b"big", BIG).bytes(b"OK 5\n").file(b"hello", 5).bytes(b"OK\n");
        closed(peer.meets(Dialog::new()), &sent, &Reason::Finished);
    }
}

#[test]
fn fault_27_endless_line_is_refused_with_a_reply_and_closed() {
    let endless = [b"GET ", &[b'x'; 30_000][..], b"\nNOOP\n"].concat();
    for peer in [peer(&endless), peer(&endless).cut(&[997]), peer(&endless).stays()] {
        let seen = peer.meets(Dialog::new());
        assert!(seen.peak_bytes <= 10_240);
        closed(seen, &Sent::of(LINE_TOO_LONG), &Reason::Limit(Limit::Input(10_240)));
    }
}

#[test]
fn fault_27_longest_line_is_taken() {
    let longest = [b"GET ", &[b'x'; 10_235][..], b"\n"].concat();
    assert_eq!(longest.len(), 10_240);
    answers(&longest, &Sent::of(b"-550 no such file\n"));
}

#[test]
fn fault_31_both_line_ends_can_be_mixed() {
    let said = b"NOOP\r\nNOOP\nSIZE hello\r\nSIZE hello\nNOOP\r\n";
    let sent = Sent::of(b"OK\nOK\nOK 5\nOK 5\nOK\n");
    closed(peer(said).meets(Dialog::new()), &sent, &Reason::Finished);
    closed(peer(said).byte_by_byte().meets(Dialog::new()), &sent, &Reason::Finished);
}

#[test]
fn b8_other_limits_are_named_in_the_reply() {
    let idle = peer(b"NOOP\nNO").stays();
    let seen = idle.meets_with(Dialog::new(), Limits { idle_ms: 3000, ..Limits::DEFAULT });
    let sent = Sent::of(b"OK\n-500 protocol error, nothing moved for 3000 ms\n");
    closed(seen, &sent, &Reason::Limit(Limit::Idle(3000)));
}

#[test]
fn b8_b10_fault_55_half_an_answer_is_taken_back_before_the_error_reply() {
    // "OK " fits, the length does not: nothing of the answer may be left.
    let limits = Limits { output_bytes: 9, ..Limits::DEFAULT };
    for opens_late in [false, true] {
        let seen = Peer { opens_late, ..peer(b"GET hello\nGET big\nNOOP\n") }.meets_with(Dialog::new(), limits);
        let reply = b"-500 protocol error, one reply longer than the output limit of 9 bytes\n";
        let sent = Sent::of(b"OK 5\n").file(b"hello", 5).bytes(reply);
        closed(seen, &sent, &Reason::Limit(Limit::Output(9)));
    }
}

#[test]
fn b10_a_false_full_at_any_write_changes_nothing() {
    let said = b"GET hello\nSIZE hello\r\nGET nowhere\nNOOP\nGET empty\nSIZE nowhere\nGET big\nQUIT\nNOOP\n";
    let (sent, reason) = answer_to(said);
    for opens_late in [false, true] {
        for nth in 0..40 {
            for refuse in [vec![nth], vec![nth; 100]] {
                let peer = Peer { opens_late, refuse, ..peer(said) };
                closed(peer.clone().meets(Dialog::new()), &sent, &reason);
                closed(peer.cut(&[5]).meets(Dialog::new()), &sent, &reason);
            }
        }
    }
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(files().into_keys().chain([b"nowhere".to_vec()]).collect::<Vec<_>>());
    let line = prop_oneof![
        (prop::sample::select(vec!["GET ", "SIZE "]), name).prop_map(|(verb, name)| [verb.as_bytes(), &name].concat()),
        Just(b"NOOP".to_vec()),
    ];
    let lines = prop::collection::vec((line, prop::sample::select(vec!["\n", "\r\n"])), 0..20);
    let last = prop::sample::select(vec!["", "QUIT\n", "QUIT\r\nNOOP\n", "bogus\nNOOP\n", "\n", "GET hello"]);
    (lines, last).prop_map(|(lines, last)| {
        let mut script = Vec::new();
        for (line, end) in lines {
            script.extend([&line, end.as_bytes()].concat());
        }
        [&script, last.as_bytes()].concat()
    })
}

/// Bytes that come near to requests more often than chance would.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec!["GET ", "SIZE ", "NOOP", "QUIT", "hello", "nowhere", " ", "\r", "\r\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
        Just(b"\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// B9, B10, FAULTS 15 to 17: what comes back depends on the bytes alone, not
    /// on portions, slow peers, late files, small bounds or false refusals.
    #[test]
    fn b13_nothing_but_the_bytes_decides_the_answers(
        said in requests(),
        cuts in prop::collection::vec(1_usize..40, 1..6),
        takes in prop_oneof![1_usize..30, Just(usize::MAX)],
        stutters: bool,
        opens_late: bool,
        refuse in prop::collection::vec(0_u32..6, 0..60),
        output_bytes in prop_oneof![64_u32..100, Just(256 * 1024)],
        files_at_once in 1_u16..9,
    ) {
        let (sent, reason) = answer_to(&said);
        // Four gigabytes in portions of a few bytes are for nobody.
        let takes = if said.windows(7).any(|part| part == b"GET big") { usize::MAX } else { takes };
        let mut peer = peer(&said).cut(&cuts);
        (peer.takes, peer.stutters, peer.opens_late, peer.refuse) = (takes, stutters, opens_late, refuse);
        let limits = Limits { output_bytes, files: files_at_once, ..Limits::DEFAULT };
        let seen = peer.meets_with(Dialog::new(), limits);
        prop_assert_eq!(seen.sent, sent);
        prop_assert_eq!(seen.report.expect("closed").reason, reason);
    }

    /// FAULTS 17, 28, 72: no bytes make it panic, and every connection ends once.
    #[test]
    fn b13_any_bytes_are_answered_by_the_rules(
        said in anything(),
        cuts in prop::collection::vec(1_usize..40, 1..6),
        opens_late: bool,
    ) {
        let (sent, reason) = answer_to(&said);
        let peer = Peer { opens_late, ..peer(&said) };
        for peer in [peer.clone(), peer.cut(&cuts)] {
            let seen = peer.meets(Dialog::new());
            prop_assert_eq!(&seen.sent, &sent);
            prop_assert_eq!(&seen.report.expect("closed").reason, &reason);
        }
    }
}
