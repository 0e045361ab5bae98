//! Queues are bounded, and who is slow is slow alone.

use crate::support::{LONG, Two, framed, next_message, pattern, stranger, target, tcp};
use bytes::Bytes;
use drywire_hub::{Block, Bounds, Config, Error, Hub, Input, Number};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn bounded(bounds: Bounds) -> (Hub, std::net::SocketAddr) {
    let mut hub = Hub::with(bounds, Config::default()).unwrap();
    let address = tcp(&hub.listen(target("127.0.0.1:0")).unwrap()[0]);
    (hub, address)
}

/// Writes messages until the peer takes no more; how many bytes it took.
fn flood(peer: &mut TcpStream, hub: &mut Hub) -> usize {
    peer.set_nonblocking(true).unwrap();
    let message = framed(&pattern(5000)).repeat(20);
    let (mut sent, mut at, mut idle) = (0, 0, 0);
    while idle < 20 && sent < 1 << 30 {
        match peer.write(&message[at..]) {
            Ok(n) => (sent, at, idle) = (sent + n, (at + n) % message.len(), 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => idle += 1,
            Err(error) => panic!("{error}"),
        }
        hub.do_io(Block::AtMost(Duration::from_millis(if idle > 0 { 5 } else { 0 }))).unwrap();
    }
    peer.set_nonblocking(false).unwrap();
    sent
}

fn queued(hub: &Hub, number: Number) -> usize {
    let of = |(from, input): (Number, &Input)| match input {
        Input::Message(message) if from == number => message.len(),
        Input::Message(_) | Input::Opened | Input::Ended | Input::Closed(_) => 0,
    };
    hub.input_queue().map(of).sum()
}

/// What waits in the kernel for a connection is not ours: a few megabytes.
const KERNEL: usize = 16 << 20;

#[test]
fn h14_full_input_queue_stops_its_peer_and_no_other() {
    let bounds = Bounds { input_bytes: 300_000, ..Bounds::DEFAULT };
    let (mut hub, address) = bounded(bounds);
    let (mut talks, number) = stranger(&mut hub, address);
    let (mut other, other_number) = stranger(&mut hub, address);
    let sent = flood(&mut talks, &mut hub);
    assert!(sent < KERNEL, "{sent} bytes were taken");
    // The default budget of a turn is a megabyte.
    let held = queued(&hub, number);
    assert!((250_000..=300_000 + (1 << 20)).contains(&held), "{held} bytes wait");
    other.write_all(&framed(b"not stopped")).unwrap();
    let until = Instant::now() + LONG;
    let message = loop {
        hub.do_io(Block::No).unwrap();
        if let Some(input) = hub.take_input_of(other_number).unwrap() {
            break input;
        }
        assert!(Instant::now() < until, "it waits for the one that talks");
    };
    assert_eq!(message, Input::Message("not stopped".into()));
    // It goes on, and nothing is lost.
    let mut got = 0;
    while got + 5008 <= sent {
        let (from, message) = next_message(&mut hub);
        assert!(from == number && message == pattern(5000));
        got += 5008;
    }
}

#[test]
fn h14_all_input_is_bounded_too() {
    let bounds = Bounds { input_bytes: 1 << 20, all_input_bytes: 2 << 20, ..Bounds::DEFAULT };
    let config = Config { budget_bytes: 64 << 10, ..Config::default() };
    let mut hub = Hub::with(bounds, config).unwrap();
    let address = tcp(&hub.listen(target("127.0.0.1:0")).unwrap()[0]);
    let mut peers: Vec<_> = (0..10).map(|_| stranger(&mut hub, address)).collect();
    for (peer, _) in &mut peers {
        flood(peer, &mut hub);
    }
    let held: usize = peers.iter().map(|(_, number)| queued(&hub, *number)).sum();
    assert!((1 << 20..=(2 << 20) + 10 * (128 << 10)).contains(&held), "{held} bytes wait");
    let (mut got, mut any) = (0, true);
    while any {
        any = hub.do_io(Block::AtMost(Duration::from_millis(100))).unwrap();
        while let Some((_, Input::Message(message))) = hub.take_input().unwrap() {
            (got, any) = (got + message.len(), true);
        }
    }
    assert!(got > held, "and it goes on");
}

#[test]
fn h14_slow_reader_fills_its_own_queue_and_stalls_nobody() {
    let bounds = Bounds { output_bytes: 1 << 20, ..Bounds::DEFAULT };
    let (mut hub, address) = bounded(bounds);
    let (mut slow, slow_number) = stranger(&mut hub, address);
    let (mut other, other_number) = stranger(&mut hub, address);
    let message = Bytes::from(pattern(100_000));
    let (mut submitted, mut refused) = (0, None);
    for _ in 0..1000 {
        match hub.submit(slow_number, message.clone()) {
            Ok(()) => submitted += 1,
            Err(Error::Full { number, message }) => {
                refused = Some((number, message));
                break;
            }
            Err(error) => panic!("{error}"),
        }
        hub.do_io(Block::No).unwrap();
    }
    assert_eq!(refused, Some((slow_number, message.clone())), "the message comes back");
    for _ in 0..100 {
        other.write_all(&framed(b"ping")).unwrap();
        assert_eq!(next_message(&mut hub), (other_number, b"ping".to_vec()));
        hub.submit(other_number, "pong").unwrap();
        hub.do_io(Block::No).unwrap();
        let mut heard = [0; 12];
        std::io::Read::read_exact(&mut other, &mut heard).unwrap();
    }
    // It reads at last: everything that was accepted is there.
    let reading = std::thread::spawn(move || {
        let mut heard = vec![0; submitted * 100_008];
        std::io::Read::read_exact(&mut slow, &mut heard).map(|()| heard)
    });
    while hub.output_queue().next().is_some() {
        hub.do_io(Block::AtMost(LONG)).unwrap();
    }
    assert!(reading.join().unwrap().unwrap() == framed(&message).repeat(submitted));
}

#[test]
fn h14_message_that_is_too_long_is_refused_before_it_is_queued() {
    let mut two = Two::new();
    let error = two.client.submit(two.of_client, vec![0; (16 << 20) + 1]).unwrap_err();
    assert!(error.to_string().contains("16777217") && error.to_string().contains("16777216"), "{error}");
    assert_eq!(two.client.output_queue().count(), 0);
}

/// Each sends before it takes: with reading off while output is owed, both would wait for
/// ever.
#[test]
fn h14_two_hubs_that_send_at_once_do_not_wait_for_each_other() {
    let mut two = Two::new();
    let message = Bytes::from(pattern(1 << 20));
    for _ in 0..30 {
        two.client.submit(two.of_client, message.clone()).unwrap();
        two.server.submit(two.of_server, message.clone()).unwrap();
    }
    let (mut to_server, mut to_client) = (0, 0);
    two.until(|server, client| {
        for (hub, count) in [(server, &mut to_server), (client, &mut to_client)] {
            while let Some((_, input)) = hub.take_input().unwrap() {
                assert!(input == Input::Message(message.clone()));
                *count += 1;
            }
        }
        (to_server, to_client) == (30, 30)
    });
}

#[test]
fn h1_as_many_connections_as_may_be_and_no_more() {
    let config = Config { max_connections: 2, ..Config::default() };
    let mut hub = Hub::with(Bounds::DEFAULT, config).unwrap();
    let address = tcp(&hub.listen(target("127.0.0.1:0")).unwrap()[0]);
    let (peer, number) = stranger(&mut hub, address);
    let _other = stranger(&mut hub, address);
    assert!(matches!(hub.accept(), Err(Error::TooMany(2))));
    assert!(matches!(hub.connect(address), Err(Error::TooMany(2))));
    drop(peer);
    hub.close(number).unwrap();
    let until = Instant::now() + LONG;
    while !matches!(hub.input_queue().last(), Some((_, Input::Closed(_)))) {
        hub.do_io(Block::AtMost(LONG)).unwrap();
        assert!(Instant::now() < until);
        if matches!(hub.input_queue().last(), Some((_, Input::Ended))) {
            hub.take_input().unwrap();
        }
    }
    assert!(matches!(hub.accept(), Err(Error::TooMany(2))), "its end was not taken yet");
    assert!(matches!(hub.take_input().unwrap(), Some((n, Input::Closed(_))) if n == number));
    stranger(&mut hub, address);
}
