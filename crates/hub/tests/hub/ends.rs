//! How connections end, and what others notice of it: nothing (row H14).

use crate::support::{LONG, framed, next, next_end, next_message, pattern, received, server, stranger};
use drywire_core::{Limit, Reason, TransportError};
use drywire_hub::{Block, Input};
use drywire_protocols::BadMessage;
use std::io::{Read, Write};
use std::net::Shutdown;

#[test]
fn h14_all_messages_come_before_the_end_and_answers_go_behind_it() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    let messages = [&b"one"[..], b"", b"three"];
    peer.write_all(&messages.map(framed).concat()).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    for message in messages {
        assert_eq!(next_message(&mut hub), (number, message.to_vec()));
    }
    assert_eq!(next(&mut hub), (number, Input::Ended));
    hub.submit(number, "an answer").unwrap();
    hub.close(number).unwrap();
    hub.do_io(Block::No).unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, framed(b"an answer"));
    drop(peer);
    assert_eq!(next_end(&mut hub), (number, drywire_hub::Closed { reason: Reason::Requested, ..end_of(32, 17) }));
}

/// The counters of a connection that has received and sent so much.
fn end_of(received: u64, sent: u64) -> drywire_hub::Closed {
    let counters = drywire_core::Counters { received, sent, ..Default::default() };
    drywire_hub::Closed { reason: Reason::Finished, counters }
}

#[test]
fn h14_broken_connection_is_told_and_no_other_is_disturbed() {
    let (mut hub, address) = server();
    let (mut other, other_number) = stranger(&mut hub, address);
    let (peer, number) = stranger(&mut hub, address);
    // Unread input makes the close a reset.
    hub.submit(number, "unread").unwrap();
    hub.do_io(Block::No).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    drop(peer);
    let (ended, closed) = next_end(&mut hub);
    assert_eq!((ended, closed.reason), (number, Reason::Transport(TransportError::Reset)));
    other.write_all(&framed(b"still here")).unwrap();
    assert_eq!(next_message(&mut hub), (other_number, b"still here".to_vec()));
}

#[test]
fn h14_fault_41_42_length_beyond_the_bound_ends_that_connection_alone() {
    let (mut hub, address) = server();
    let (mut other, other_number) = stranger(&mut hub, address);
    for length in [(16 << 20) + 1, 1_u64 << 40, 1 << 63, u64::MAX] {
        let (mut peer, number) = stranger(&mut hub, address);
        peer.write_all(&framed(b"before")).unwrap();
        peer.write_all(&length.to_le_bytes()).unwrap();
        assert_eq!(next_message(&mut hub), (number, b"before".to_vec()));
        peer.shutdown(Shutdown::Write).unwrap();
        let (ended, closed) = next_end(&mut hub);
        assert_eq!((ended, closed.reason), (number, Reason::Limit(Limit::Frame(16 << 20))), "{length}");
        other.write_all(&framed(b"still here")).unwrap();
        assert_eq!(next_message(&mut hub), (other_number, b"still here".to_vec()));
    }
}

#[test]
fn h14_header_cut_at_every_byte_ends_that_connection_alone() {
    let (mut hub, address) = server();
    let (mut other, other_number) = stranger(&mut hub, address);
    let message = framed(b"ab");
    for n in 1..message.len() {
        let (mut peer, number) = stranger(&mut hub, address);
        peer.write_all(&message[..n]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let (ended, closed) = next_end(&mut hub);
        assert_eq!((ended, closed.reason), (number, Reason::Peer(BadMessage::Truncated(n))));
        other.write_all(&message).unwrap();
        assert_eq!(next_message(&mut hub), (other_number, b"ab".to_vec()));
    }
}

#[test]
fn h14_messages_of_every_size_cross_both_ways() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    let sizes = [0, 1, 255, 256, 65_535, 65_536, 1 << 20, 16 << 20, 0];
    let all: Vec<u8> = sizes.iter().flat_map(|size| framed(&pattern(*size))).collect();
    let said = all.clone();
    let mut to = peer.try_clone().unwrap();
    let saying = std::thread::spawn(move || to.write_all(&said).unwrap());
    for size in sizes {
        assert!(next_message(&mut hub) == (number, pattern(size)), "{size}");
    }
    saying.join().unwrap();
    for size in sizes {
        hub.submit(number, pattern(size)).unwrap();
    }
    let reading = std::thread::spawn(move || {
        let mut heard = vec![0; all.len()];
        peer.read_exact(&mut heard).unwrap();
        assert!(heard == all);
        peer
    });
    while hub.output_queue().next().is_some() {
        hub.do_io(Block::AtMost(LONG)).unwrap();
    }
    let mut peer = reading.join().unwrap();
    assert_eq!(received(&mut peer), []);
}

#[test]
fn h3_abort_drops_what_came_and_was_not_taken_and_the_end_is_told() {
    let (mut hub, address) = server();
    let (mut peer, number) = stranger(&mut hub, address);
    peer.write_all(&framed(b"refused").repeat(3)).unwrap();
    assert_eq!(next_message(&mut hub), (number, b"refused".to_vec()));
    peer.write_all(&framed(b"later").repeat(3)).unwrap();
    hub.abort(number).unwrap();
    assert!(hub.submit(number, "late").unwrap_err().is_gone());
    assert_eq!(next_end(&mut hub), (number, drywire_hub::Closed { reason: Reason::Aborted, ..end_of(45, 0) }));
    assert!(hub.submit(number, "later").unwrap_err().is_gone());

    // One that has ended already.
    let (mut peer, number) = stranger(&mut hub, address);
    peer.write_all(&[&framed(b"before")[..], &[1; 8]].concat()).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    while !hub.input_queue().any(|(_, input)| matches!(input, Input::Closed(_))) {
        hub.do_io(Block::AtMost(std::time::Duration::from_millis(10))).unwrap();
    }
    hub.abort(number).unwrap();
    assert_eq!(next_end(&mut hub).1.reason, Reason::Limit(Limit::Frame(16 << 20)));
}
