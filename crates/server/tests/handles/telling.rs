//! What a receipt, an inspection and an error say.

use crate::worker::Worker;
use drywire_core::Time;
use drywire_server::{Address, Dropped, Order, Outcome, Receipt, Room, SendError, Standing};
use std::error::Error;
use std::time::Duration;

#[test]
fn w2_receipt_says_what_became_of_the_command() {
    let mut worker = Worker::new(100);
    let (id, handle) = worker.connect(100);
    let receipts: Vec<_> = (0..3).map(|n| handle.send_tracked(n).unwrap()).collect();
    let mut orders = worker.take().into_iter();
    let Some(Order::Command(first)) = orders.next() else { panic!("three were sent") };
    assert_eq!(first.into_command(), 0);
    drop(orders.next());
    let third = orders.next();
    let link = worker.links.remove(id).unwrap();
    link.end(Dropped::Aborted, Time::ZERO);
    drop(third);
    let outcomes: Vec<_> = receipts.iter().map(Receipt::try_get).collect();
    let expected = [Outcome::Written, Outcome::Dropped(Dropped::Displaced), Outcome::Dropped(Dropped::Aborted)];
    assert_eq!(outcomes, expected.map(Some));
    assert_eq!(handle.send_tracked(3).unwrap_err(), SendError::Closed(3));

    let (_, handle) = worker.connect(100);
    let receipt = handle.send_tracked(4).unwrap();
    drop(worker);
    assert_eq!(receipt.try_get(), Some(Outcome::Dropped(Dropped::WorkerGone)));
}

#[test]
fn w2_inspection_says_how_the_connection_is_doing_and_how_it_was_left() {
    let mut worker: Worker<u8> = Worker::new(100);
    let second = |n: u64| Time::from_nanos(n * 1_000_000_000);
    let peer: Address = "127.0.0.1:25".parse().unwrap();
    let introduce = |id| worker.inbox.introduce(id, Room::commands(8), Some(peer.clone()), second(10));
    let id = worker.links.insert_with(introduce).unwrap();
    let handle = worker.links.get(id).unwrap().handle();
    let server = worker.inbox.server_handle();
    handle.set_tag(77);
    handle.send(1).unwrap();
    worker.inbox.publish(second(15), 3);
    worker.links.get(id).unwrap().publish(1000, second(12), false);

    let seen = handle.inspect();
    assert_eq!((seen.standing, seen.tag, seen.peer), (Standing::Open, 77, Some(peer.clone())));
    assert_eq!((seen.waiting_commands, seen.held_bytes), (1, 1000));
    assert_eq!((seen.age, seen.quiet), (Duration::from_secs(5), Duration::from_secs(3)));
    let all = server.inspect();
    assert_eq!((all.is_running, all.connections, all.commands), (true, 3, 1));
    assert_eq!(all.command_bytes, worker.inbox.waiting_bytes());

    worker.links.get(id).unwrap().publish(1000, second(12), true);
    assert_eq!(handle.inspect().standing, Standing::Closing, "it has begun to end by itself");
    worker.links.remove(id).unwrap().end(Dropped::Closed, second(16));
    drop(worker.take());
    worker.inbox.publish(second(100), 0);
    let left = handle.inspect();
    assert_eq!((left.standing, left.tag, left.peer), (Standing::Closed, 77, Some(peer)));
    assert_eq!((left.waiting_commands, left.waiting_bytes, left.held_bytes), (0, 0, 0));
    assert_eq!(left.age, Duration::from_secs(6), "it grows no older");

    let (_, other) = worker.connect(1);
    other.close();
    assert_eq!(other.inspect().standing, Standing::Closing, "it was asked to");
    drop(worker);
    assert_eq!((other.inspect().standing, server.inspect().is_running), (Standing::Closed, false));
}

#[test]
fn send_error_speaks_for_any_command() {
    struct Silent;
    fn speak<E: Error>(error: E) -> String {
        error.to_string()
    }
    assert_eq!(speak(SendError::Closed(Silent)), "the connection is closed");
    assert!(speak(SendError::Full(Silent)).starts_with("too many commands"));
    let Silent = SendError::Full(Silent).into_command();
}
