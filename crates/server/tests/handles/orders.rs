//! What comes out of an inbox: in which order, until when, and with how many wakes.

use crate::worker::{Worker, names};
use drywire_server::{AskError, Handle, Order, SendError, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[test]
fn orders_come_in_the_order_given() {
    let mut worker = Worker::new(8);
    let (_, a) = worker.connect(8);
    let (_, b) = worker.connect(8);
    a.send(1).unwrap();
    b.send(2).unwrap();
    a.send(3).unwrap();
    a.close();
    b.abort();
    assert_eq!(names(worker.take()), ["1", "2", "3", "close 0.1", "abort 1.1"]);
    assert!(worker.take().is_empty());
}

#[test]
fn orders_are_appended_to_what_the_driver_still_has() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(8);
    let mut orders = Vec::new();
    for n in 0..3 {
        handle.send(n).unwrap();
        worker.inbox.take(&mut orders);
    }
    assert_eq!(names(orders), ["0", "1", "2"]);
}

#[test]
fn fault_63_handle_outlives_its_connection() {
    let mut worker = Worker::new(8);
    let (id, handle) = worker.connect(8);
    assert!(handle.is_open());
    drop(worker.links.remove(id));

    assert!(!handle.is_open());
    assert_eq!(handle.send(1), Err(SendError::Closed(1)));
    handle.close();
    handle.abort();
    assert!(worker.take().is_empty());
    assert_eq!(worker.wakes(), 0);
    assert_eq!(handle.id(), id);
}

#[test]
fn fault_20_order_for_a_reused_slot_finds_nothing() {
    let mut worker = Worker::new(8);
    let (id, handle) = worker.connect(8);
    handle.send(1).unwrap();
    handle.close();
    worker.links.remove(id);
    let (new, _) = worker.connect(8);
    for order in worker.take() {
        match order {
            Order::Command(posted) => assert!(!worker.links.contains(posted.id())),
            Order::Close(id) => assert!(!worker.links.contains(id)),
            Order::Group(_) | Order::Abort(_) | Order::Connect(_) | Order::Shutdown | Order::Stop => {
                panic!("{order:?}")
            }
        }
    }
    assert!(worker.links.contains(new));
    assert_eq!(worker.inbox.dropped(), 1);
}

#[test]
fn fault_64_ends_are_never_refused_for_lack_of_room() {
    let mut worker = Worker::new(1);
    let (_, full) = worker.connect(1);
    let (_, starved) = worker.connect(0);
    full.send(1).unwrap();
    assert_eq!(starved.send(2), Err(SendError::Full(2)));
    starved.close();
    starved.abort();
    full.close();
    assert_eq!(names(worker.take()), ["1", "close 1.1", "abort 1.1", "close 0.1"]);
}

#[test]
fn fault_73_ends_are_idempotent_and_later_sends_typed() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(8);
    let same = handle.clone();
    handle.close();
    same.close();
    assert!(!same.is_open());
    assert_eq!(same.send(1), Err(SendError::Closed(1)));
    assert_eq!(names(worker.take()), ["close 0.1"]);

    same.abort();
    handle.abort();
    handle.close();
    assert_eq!(names(worker.take()), ["abort 0.1"]);
    assert!(worker.take().is_empty());
}

#[test]
fn fault_67_wakes_are_coalesced_until_the_next_take() {
    let mut worker = Worker::new(100);
    let (_, a) = worker.connect(50);
    let (_, b) = worker.connect(50);
    for turn in 1..=3 {
        for n in 0..5 {
            a.send(n).unwrap();
            b.send(n).unwrap();
        }
        assert_eq!(worker.wakes(), turn);
        names(worker.take());
    }
    assert_eq!(a.send(0).and(a.send(1)), Ok(()));
    a.close();
    assert_eq!(worker.wakes(), 4);
}

#[test]
fn refused_send_wakes_nobody() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(0);
    assert!(handle.send(1).is_err());
    assert_eq!(worker.wakes(), 0);
}

#[test]
fn worker_is_asked_to_end_once_each_way() {
    let mut worker = Worker::new(0);
    let (_, handle) = worker.connect(0);
    let server = worker.inbox.server_handle();
    let signals = server.clone();
    server.shutdown();
    signals.shutdown();
    assert!(handle.is_open(), "a draining connection still takes commands");
    assert_eq!(names::<u8>(worker.take()), ["shutdown"]);
    server.shutdown();
    signals.abort();
    server.abort();
    server.shutdown();
    assert_eq!(names(worker.take()), ["stop"]);

    drop(worker);
    server.abort();
    signals.shutdown();
}

#[test]
fn fault_63_end_of_the_worker_ends_its_handles_and_leaks_nothing() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(8);
    let command = Arc::new(());
    handle.send(command.clone()).unwrap();

    // The links stay for a moment: a driver's fields are dropped in some order.
    let Worker { inbox, links, wakes } = worker;
    drop(inbox);
    assert_eq!(Arc::strong_count(&command), 1, "what waited was dropped");
    assert!(!handle.is_open());
    assert_eq!(handle.send(command.clone()), Err(SendError::Closed(command.clone())));
    handle.abort();
    assert_eq!(wakes.load(Ordering::SeqCst), 1);

    // The closure that wakes is the queue's: when it is gone, all is gone.
    drop(links);
    assert_eq!(Arc::strong_count(&wakes), 2);
    drop(handle);
    assert_eq!(Arc::strong_count(&wakes), 1);
}

#[test]
fn worker_that_is_gone_is_not_woken() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(8);
    let server = worker.inbox.server_handle();
    let Worker { inbox, links, wakes } = worker;
    drop(inbox);
    assert_eq!(handle.send(1), Err(SendError::Closed(1)));
    handle.close();
    handle.abort();
    server.shutdown();
    server.abort();
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    drop(links);
}

/// A command that talks back while it is dropped.
struct Talkative(Option<Handle<Talkative>>);

impl Drop for Talkative {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            _ = handle.send(Talkative(None));
            handle.close();
        }
    }
}

#[test]
fn fault_65_command_that_uses_its_handle_while_dropped_does_not_deadlock() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(8);
    handle.send(Talkative(Some(handle.clone()))).unwrap();
    drop(worker.take());
    assert_eq!(worker.inbox.dropped(), 1);
    assert!(!handle.is_open());

    let (_, handle) = worker.connect(8);
    handle.send(Talkative(Some(handle.clone()))).unwrap();
    drop(worker);
    assert!(!handle.is_open());
}

#[test]
fn fault_59_panic_while_orders_are_handled_drops_and_counts_the_rest() {
    let mut worker = Worker::new(8);
    let (_, handle) = worker.connect(8);
    (0..3).for_each(|n| handle.send(n).unwrap());
    let orders = worker.take();
    let turn = || {
        let mut orders = orders.into_iter();
        let _first = orders.next();
        panic!("as told");
    };
    assert!(catch_unwind::<_, ()>(AssertUnwindSafe(turn)).is_err());
    assert_eq!(worker.inbox.dropped(), 3);
    handle.send(1).unwrap();
}

#[test]
fn w6_connection_is_asked_for_within_the_bound_of_commands_until_the_end() {
    let mut worker = Worker::<u8>::new(2);
    let (_, handle) = worker.connect(8);
    let server = worker.inbox.server_handle();
    server.connect(Target::name("example.org", 25)).unwrap();
    handle.send(1).unwrap();
    assert_eq!(worker.wakes(), 1);
    assert_eq!(server.connect(Target::name("example.net", 25)), Err(AskError::Full));
    assert_eq!(handle.send(2), Err(SendError::Full(2)));
    assert_eq!(names(worker.take()), ["connect example.org:25", "1"]);

    server.connect(Target::name("example.net", 25)).unwrap();
    assert_eq!(worker.wakes(), 2);
    server.shutdown();
    assert_eq!(server.connect(Target::name("example.com", 25)), Err(AskError::Closed));
    assert_eq!(names(worker.take()), ["connect example.net:25", "shutdown"]);
    drop(worker);
    assert_eq!(server.connect(Target::name("example.com", 25)), Err(AskError::Closed));
}
