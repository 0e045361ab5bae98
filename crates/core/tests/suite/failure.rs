//! Postponed failure: last words, discarded input, lingering (row B8; DESIGN 3.3).

use crate::support::net::Chops;
use crate::support::pair::Pair;
use crate::support::probe::Probe;
use crate::support::rig::Rig;
use crate::support::script::{Bad, Hooks};
use crate::support::{ms, pattern};
use drywire_core::{Connection, ERROR_REPLY_BYTES, FileError, Limit, Limits, Protocol, Reason, TransportError};

/// `!` fails, after writing; everything else is echoed.
fn fails_at_bang() -> Hooks {
    Hooks::new().on_consume(|input, cx| match input.iter().position(|byte| *byte == b'!') {
        Some(0) => {
            cx.write(b"junk")?;
            Err(Bad("bang").into())
        }
        at => {
            let n = at.unwrap_or(input.len());
            cx.write(&input[..n])?;
            Ok(n)
        }
    })
}

/// FAULTS 55.
#[test]
fn b8_fault_55_failed_call_is_rolled_back_answered_flushed_and_closed() {
    let mut rig = Rig::new(fails_at_bang());
    rig.net.writes = Chops::of(&[1]);
    rig.feed("good!never seen");
    assert_eq!(rig.sent(), "good-500 bang\r\n");
    assert!(rig.net.half_closed && rig.close.is_none(), "our direction ends first");
    let calls = rig.conn.protocol().calls;
    rig.feed("nor this").feed_end();
    assert_eq!(rig.conn.protocol().calls, calls, "nothing is consumed after the error");
    assert_eq!(rig.sent(), "good-500 bang\r\n");
    assert_eq!(rig.report().reason, Reason::Peer(Bad("bang")));
    assert!(!rig.report().is_abort());
    let counters = rig.report().counters;
    assert_eq!((counters.received, counters.discarded, counters.unsent), (23, 19, 0));
}

#[test]
fn b8_reply_has_room_when_the_queue_is_exactly_full() {
    let limits = Limits { output_bytes: 1000, ..Hooks::LIMITS };
    let protocol = Hooks::new()
        .on_consume(|input, cx| {
            if input[0] == b'!' {
                return Err(Bad("bang").into());
            }
            cx.write(&[b'x'; 1000])?;
            Ok(1)
        })
        .on_reply(|_, reply| write!(reply, "{}\r\n", "e".repeat(10_000)));
    let mut rig = Rig::on(Connection::new(protocol).with_limits(limits));
    rig.net.room = 0;
    rig.feed("a!");
    assert_eq!(rig.conn.held_bytes(), 1000 + ERROR_REPLY_BYTES);
    rig.net.room = usize::MAX;
    rig.feed_end();
    let reply = &rig.sent()[1000..];
    assert_eq!(reply.len(), ERROR_REPLY_BYTES);
    assert!(reply.starts_with("eee") && reply.ends_with("e\r\n"), "cut, and still a line");
}

#[test]
fn b8_no_reply_after_our_half_close() {
    let mut rig = Rig::new(Hooks::new().on_consume(|input, cx| {
        if input[0] == b'h' {
            cx.write(b"done")?;
            cx.half_close();
            return Ok(1);
        }
        Err(Bad("late").into())
    }));
    rig.feed("h").feed("x").feed_end();
    assert_eq!(rig.sent(), "done");
    assert_eq!(rig.report().reason, Reason::Peer(Bad("late")));
}

/// FAULTS 27, at the bound exactly and under every way to arrive.
#[test]
fn b8_fault_27_endless_line_is_refused_at_the_bound() {
    for reads in [1, 7, 1023, 1024, 5000] {
        let protocol =
            Hooks::new().on_consume(|input, _| Ok(input.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1)));
        let mut rig = Rig::new(protocol);
        rig.net.reads = Chops::of(&[reads]);
        rig.feed([&vec![b'x'; 1023][..], b"\n"].concat());
        assert_eq!(rig.sent(), "", "1024 bytes fit");
        rig.feed(vec![b'x'; 1024]).feed_end();
        assert_eq!(rig.sent(), "-500 message longer than the input limit of 1024 bytes\r\n");
        assert_eq!(rig.report().reason, Reason::Limit(Limit::Input(1024)));
    }
}

/// A handler that arms its deadline at the first byte must not escape the bound.
#[test]
fn fault_27_line_that_comes_whole_is_refused_though_the_call_armed_a_timer() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        let due = cx.now() + std::time::Duration::from_secs(10);
        cx.set_timer(drywire_core::Timer::new(0), due);
        Ok(0)
    }));
    rig.feed(vec![b'x'; 1024]).feed_end();
    assert_eq!(rig.report().reason, Reason::Limit(Limit::Input(1024)));
}

#[test]
fn b8_rest_that_the_end_of_input_failed_on_counts_as_discarded() {
    for fails in [false, true] {
        let mut rig = Rig::new(Hooks::new().on_consume(|_, _| Ok(0)).on_end(move |rest, cx| {
            assert_eq!(rest, b"half");
            if fails {
                return Err(Bad("unfinished").into());
            }
            cx.close();
            Ok(())
        }));
        rig.net.incoming.extend(b"half");
        rig.feed_end();
        let discarded = if fails { 4 } else { 0 };
        assert_eq!((rig.report().counters.received, rig.report().counters.discarded), (4, discarded));
    }
}

#[test]
fn b8_input_after_the_error_is_discarded_within_a_byte_bound() {
    let limits = Limits { linger_bytes: 100, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::new(fails_at_bang()).with_limits(limits));
    rig.feed("!");
    rig.feed(vec![b'x'; 99]);
    assert!(rig.close.is_none());
    rig.feed("xy");
    assert_eq!(rig.report().reason, Reason::Peer(Bad("bang")));
    assert_eq!(rig.net.incoming.len(), 1, "and not a byte more");
}

#[test]
fn b8_input_after_the_error_is_discarded_within_a_time_bound() {
    let mut rig = Rig::new(fails_at_bang());
    rig.at(ms(7)).feed("!");
    assert_eq!(rig.wait.deadline, Some(ms(7 + u64::from(Hooks::LIMITS.linger_ms))));
    rig.at(ms(5006)).feed("still there");
    assert!(rig.close.is_none());
    rig.at(ms(5007));
    assert_eq!(rig.report().reason, Reason::Peer(Bad("bang")));
    assert_eq!(rig.sent(), "-500 bang\r\n");
}

#[test]
fn no_lingering_when_the_limits_say_so() {
    let limits = Limits { linger_ms: 0, ..Hooks::LIMITS };
    let mut rig = Rig::on(Connection::new(fails_at_bang()).with_limits(limits));
    rig.feed("!");
    assert_eq!(rig.sent(), "-500 bang\r\n");
    assert_eq!(rig.report().reason, Reason::Peer(Bad("bang")));
}

#[test]
fn reset_while_lingering_keeps_the_reason() {
    let mut rig = Rig::new(fails_at_bang());
    rig.feed("!");
    assert!(rig.net.half_closed);
    rig.net.read_fault = Some(TransportError::Reset);
    rig.settle();
    assert_eq!(rig.report().reason, Reason::Peer(Bad("bang")));
}

#[test]
fn reset_while_the_reply_is_owed_is_the_reason() {
    let mut rig = Rig::new(fails_at_bang());
    rig.net.room = 4;
    rig.feed("!");
    rig.net.read_fault = Some(TransportError::Reset);
    rig.settle();
    assert_eq!(rig.report().reason, Reason::Transport(TransportError::Reset));
    assert_eq!(rig.report().counters.unsent, "-500 bang\r\n".len() as u64 - 4);
}

/// FAULTS 11, 12, 13: typed, told apart, and once.
#[test]
fn fault_11_12_13_transport_failures_are_typed_closes() {
    for error in [TransportError::BrokenPipe, TransportError::Reset, TransportError::TimedOut, TransportError::Other(5)]
    {
        let mut reading = Rig::new(fails_at_bang());
        reading.feed("hello");
        reading.net.read_fault = Some(error);
        reading.settle();
        assert_eq!(reading.report().reason, Reason::Transport(error));
        assert_eq!(reading.report().counters.unsent, 0);

        let mut writing = Rig::new(fails_at_bang());
        writing.settle();
        writing.net.write_fault = Some(error);
        writing.feed("hello");
        assert_eq!(writing.report().reason, Reason::Transport(error));
        assert_eq!(writing.report().counters.unsent, 5);
    }
}

/// No call of the transport's could say it: nothing is to be read or written.
#[test]
fn transport_failure_is_told_though_nothing_moves() {
    let mut rig = Rig::new(Hooks::new().on_open(|cx| {
        cx.disable_read();
        Ok(())
    }));
    rig.settle();
    rig.turn_with(|live| live.handle_transport_error(TransportError::Refused));
    rig.settle();
    assert_eq!(rig.report().reason, Reason::Transport(TransportError::Refused));
    // The rig fails on a second close.
    rig.turn_with(|live| live.handle_transport_error(TransportError::Reset));
    rig.settle();
}

/// FAULTS 9.
#[test]
fn fault_9_end_of_input_with_output_pending_flushes_first() {
    let mut rig = Rig::new(fails_at_bang());
    rig.net.room = 0;
    rig.feed("owed").feed_end();
    assert!(rig.close.is_none());
    rig.net.room = usize::MAX;
    rig.settle();
    assert_eq!(rig.sent(), "owed");
    assert_eq!(rig.report().reason, Reason::Finished);
}

/// A peer that writes everything before it reads anything still gets the reply.
#[test]
fn b8_peer_that_writes_before_it_reads_cannot_deadlock_the_flush() {
    let mut data = pattern(60_000);
    data[3000] = b'!';
    let limits = Limits { output_bytes: 8000, ..Hooks::LIMITS };
    let server = Connection::new(fails_at_bang()).with_limits(limits);
    let mut probe = Probe::sending(data.clone());
    probe.piece = 1000;
    let mut pair = Pair::new(server, Connection::new(probe), 2000);
    pair.run();
    let got = pair.b.conn.protocol().text();
    assert!(got.ends_with("-500 bang\r\n"), "{} bytes", got.len());
    assert_eq!(got.as_bytes()[..3000], data[..3000]);
    assert_eq!(pair.a.report().reason, Reason::Peer(Bad("bang")));
    assert_eq!(pair.b.report().reason, Reason::Finished);
}

#[test]
fn events_come_before_the_close_and_nothing_after() {
    let mut rig = Rig::new(Hooks::new().on_consume(|_, cx| {
        cx.emit(1)?;
        cx.emit(2)?;
        cx.abort();
        Ok(1)
    }));
    rig.feed("x");
    assert_eq!(rig.events, [1, 2]);
    assert_eq!(rig.report().reason, Reason::Aborted);
    assert!(rig.report().is_abort());
    rig.feed("more").feed_end();
}

#[test]
fn hook_is_told_limits_and_misuse_too() {
    let protocol = Hooks::new()
        .on_consume(|_, cx| {
            let id = cx.open_file(b"file")?;
            cx.stream_file(id, 0, 1)?;
            Ok(1)
        })
        .on_reply(|why, reply| writeln!(reply, "{why:?}"));
    let mut rig = Rig::new(protocol);
    rig.feed("x").feed_end();
    assert_eq!(rig.sent(), "Misuse(FileRange)\n");
}

/// FAULTS 46, 49: what was announced will not come, and is not made up.
#[test]
fn fault_46_49_file_failure_is_an_abort() {
    for error in [FileError::Truncated, FileError::Io(5)] {
        let mut rig = Rig::new(crate::support::scenario::letters());
        rig.net.put_file(b"file", vec![b'F'; 1000]);
        rig.net.room = 2400;
        rig.feed("f\n");
        if error == FileError::Truncated {
            rig.net.open.values_mut().for_each(|file| file.bytes.truncate(500));
        } else {
            rig.net.file_fault = Some(error);
        }
        rig.net.room = usize::MAX;
        rig.settle();
        assert_eq!(rig.report().reason, Reason::File(error));
        assert!(rig.report().is_abort());
        let sent = if error == FileError::Truncated { 2500 } else { 2400 };
        assert_eq!(rig.net.taken.len(), sent, "not a byte made up");
        assert_eq!(rig.report().counters.unsent, 3000 - sent as u64);
    }
}
