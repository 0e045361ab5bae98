//! Handles and inboxes together: bounds, order, ends, races, wakes.
//!
//! The threads here end by themselves: each sends a fixed number of commands, and
//! a worker that is not woken for ten seconds fails.

use drywire_core::Time;
use drywire_server::{
    Address, Dropped, Handle, Id, Inbox, Link, Order, Outcome, Posted, Receipt, Room, SendError, ServerHandle,
    Standing, Table,
};
use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// A worker without a loop: the test takes its turns by hand.
struct Worker<C> {
    inbox: Inbox<C>,
    links: Table<Link<C>>,
    wakes: Arc<AtomicUsize>,
}

impl<C> Worker<C> {
    fn new(capacity: usize) -> Worker<C> {
        Worker::weighing(capacity, |_| size_of::<C>())
    }

    fn weighing(capacity: usize, weigh: fn(&C) -> usize) -> Worker<C> {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let inbox = Inbox::weighing(capacity, weigh, move || _ = counter.fetch_add(1, Ordering::SeqCst));
        Worker { inbox, links: Table::new(), wakes }
    }

    fn connect(&mut self, capacity: u32) -> (Id, Handle<C>) {
        self.connect_with(Room::commands(capacity))
    }

    fn connect_with(&mut self, room: Room) -> (Id, Handle<C>) {
        let id = self.links.insert_with(|id| self.inbox.link(id, room)).unwrap();
        (id, self.links.get(id).unwrap().handle())
    }

    fn take(&mut self) -> Vec<Order<C>> {
        let mut orders = Vec::new();
        self.inbox.take(&mut orders);
        orders
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }
}

/// What an order is, without the machinery in it.
fn names<C>(orders: Vec<Order<C>>) -> Vec<String>
where
    C: ToString,
{
    let name = |order: Order<C>| match order {
        Order::Command(posted) => posted.into_command().to_string(),
        Order::Group(share) => format!("group {}", share.id()),
        Order::Close(id) => format!("close {id}"),
        Order::Abort(id) => format!("abort {id}"),
        Order::Shutdown => "shutdown".to_owned(),
        Order::Stop => "stop".to_owned(),
    };
    orders.into_iter().map(name).collect()
}

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
            Order::Group(_) | Order::Abort(_) | Order::Shutdown | Order::Stop => panic!("{order:?}"),
        }
    }
    assert!(worker.links.contains(new));
    assert_eq!(worker.inbox.dropped(), 1);
}

#[test]
fn fault_64_place_is_held_until_the_command_is_handed_over() {
    let mut worker = Worker::new(100);
    let (_, handle) = worker.connect(2);
    handle.send(1).unwrap();
    handle.send(2).unwrap();
    assert_eq!(handle.send(3), Err(SendError::Full(3)));

    // Taken by the driver, but the connection has no room yet.
    let mut orders = worker.take();
    assert_eq!(handle.send(3), Err(SendError::Full(3)));

    let Some(Order::Command(second)) = orders.pop() else { panic!("{orders:?}") };
    assert_eq!(second.into_command(), 2);
    handle.send(3).unwrap();
    assert_eq!(handle.send(4), Err(SendError::Full(4)));

    drop(orders);
    handle.send(4).unwrap();
    assert_eq!(worker.inbox.dropped(), 1, "the first one was dropped");
}

#[test]
fn fault_64_flood_for_one_connection_leaves_room_for_others() {
    let mut worker = Worker::new(100);
    let (_, flooded) = worker.connect(10);
    let (_, other) = worker.connect(10);
    assert_eq!((0..1000).filter(|n| flooded.send(*n).is_ok()).count(), 10);
    assert_eq!(other.send(1), Ok(()));
}

#[test]
fn fault_64_flood_for_many_connections_is_full_at_the_inbox() {
    let mut worker = Worker::new(4);
    let handles: Vec<_> = (0..3).map(|_| worker.connect(2).1).collect();
    let taken = handles.iter().flat_map(|h| [h.send(1), h.send(2)]).filter(Result::is_ok).count();
    assert_eq!(taken, 4);
    assert_eq!(handles[2].send(3), Err(SendError::Full(3)));
    drop(worker.take());
    assert_eq!(handles[2].send(3), Ok(()));
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
fn fault_64_worker_posts_within_the_same_bound_and_wakes_nobody() {
    let mut worker = Worker::new(1);
    let (id, handle) = worker.connect(2);
    handle.send(1).unwrap();
    let wakes = worker.wakes();
    let link = worker.links.get(id).unwrap();
    let posted = link.post(2).unwrap();
    assert_eq!(link.post(3).unwrap_err(), SendError::Full(3));
    assert_eq!(posted.into_command(), 2);
    drop(link.post(4).unwrap());
    handle.close();
    assert_eq!(worker.links.get(id).unwrap().post(5).unwrap_err(), SendError::Closed(5));
    assert_eq!((worker.wakes(), worker.inbox.dropped()), (wakes, 1));
    assert_eq!(names(worker.take()), ["1".to_owned(), format!("close {id}")]);
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
fn nothing_is_allocated_per_command_after_warm_up() {
    let mut worker = Worker::new(64);
    let (_, handle) = worker.connect(64);
    let mut orders = Vec::new();
    let mut turn = || {
        (0..64).for_each(|n| handle.send(n).unwrap());
        worker.inbox.take(&mut orders);
        orders.drain(..).for_each(drop);
    };
    // Two buffers take turns, so two turns warm them up.
    turn();
    turn();
    let allocated = allocation_counter::measure(|| (0..10).for_each(|_| turn()));
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn handles_go_to_any_thread_when_commands_can_be_sent() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<Handle<Cell<u8>>>();
    any_thread::<ServerHandle<Cell<u8>>>();
    any_thread::<Inbox<Cell<u8>>>();
    any_thread::<Link<Cell<u8>>>();
    fn with_its_worker<T: Send>() {}
    with_its_worker::<Posted<Cell<u8>>>();
}

#[test]
fn idle_connection_pays_one_pointer() {
    assert_eq!(size_of::<Option<Link<u64>>>(), size_of::<usize>());
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

/// What the loop of a real worker does, woken through a channel that counts.
struct Loop<C> {
    inbox: Inbox<C>,
    wakes: Receiver<()>,
    turns: usize,
}

impl<C> Loop<C> {
    fn new(capacity: usize) -> Loop<C> {
        let (wake, wakes) = channel();
        Loop { inbox: Inbox::new(capacity, move || _ = wake.send(())), wakes, turns: 0 }
    }

    /// Runs until it is told to stop; `on_order` gets everything else.
    fn run(&mut self, mut on_order: impl FnMut(Order<C>)) {
        let mut orders = Vec::new();
        let mut stopped = false;
        while !stopped {
            self.wakes.recv_timeout(Duration::from_secs(10)).expect("a wake was lost");
            self.turns += 1;
            self.inbox.take(&mut orders);
            for order in orders.drain(..) {
                match order {
                    Order::Stop => stopped = true,
                    Order::Command(_) | Order::Group(_) | Order::Close(_) | Order::Abort(_) | Order::Shutdown => {
                        on_order(order);
                    }
                }
            }
        }
    }
}

const THREADS: usize = 4;
const SENDS: usize = 5_000;

/// Many threads send to the same connections, one of which is closed by a thread
/// and one by the driver in mid-stream. Every command is accounted for once, each
/// sender's come in order, and there is at most one wake per turn.
#[test]
fn fault_66_67_closing_races_with_sending_lose_and_double_nothing() {
    let mut worker: Loop<(usize, usize)> = Loop::new(64);
    let mut links = Table::new();
    let ids: Vec<Id> =
        (0..3).map(|_| links.insert_with(|id| worker.inbox.link(id, Room::commands(16))).unwrap()).collect();
    let handles: Vec<_> = ids.iter().map(|id| links.get(*id).unwrap().handle()).collect();
    let server = worker.inbox.server_handle();

    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let handles = handles.clone();
            thread::spawn(move || {
                let (mut accepted, mut full, mut closed) = (0, 0, 0);
                for n in 0..SENDS {
                    if thread == 0 && n == SENDS / 2 {
                        handles[1].close();
                    }
                    match handles[n % 3].send((thread, n)) {
                        Ok(()) => accepted += 1,
                        Err(SendError::Full(c)) => {
                            assert_eq!(c, (thread, n));
                            full += 1;
                            thread::yield_now();
                        }
                        Err(SendError::Closed(c)) => {
                            assert_eq!(c, (thread, n));
                            closed += 1;
                        }
                        Err(SendError::TooLarge(_)) => panic!("there is no bound by bytes"),
                    }
                }
                assert_eq!(accepted + full + closed, SENDS);
                accepted
            })
        })
        .collect();
    let accepted = thread::spawn(move || {
        let accepted: usize = senders.into_iter().map(|s| s.join().unwrap()).sum();
        server.abort();
        accepted
    });

    let mut delivered = 0;
    let mut dropped = 0;
    let mut last: HashMap<(Id, usize), usize> = HashMap::new();
    let mut closes = Vec::new();
    worker.run(|order| match order {
        Order::Command(posted) => {
            let id = posted.id();
            if !links.contains(id) {
                dropped += 1;
                return;
            }
            let (thread, n) = posted.into_command();
            let before = last.insert((id, thread), n);
            assert!(before < Some(n), "{before:?} before {n}");
            assert!(!closes.contains(&id), "after the close");
            delivered += 1;
            if id == ids[2] && delivered > 200 {
                links.remove(id);
            }
        }
        Order::Close(id) => closes.push(id),
        Order::Group(_) | Order::Abort(_) | Order::Shutdown | Order::Stop => panic!("{order:?}"),
    });

    assert_eq!(accepted.join().unwrap(), delivered + dropped);
    assert_eq!(worker.inbox.dropped(), dropped as u64);
    assert_eq!(closes, [ids[1]]);
    assert!(worker.wakes.try_iter().count() <= 1, "at most one wake more than turns");
    assert!(worker.turns > 1);
}

/// Workers that send to each other from within their turns: a full inbox is an
/// answer, not a wait, so no circle of them can stand still.
#[test]
fn fault_65_workers_that_flood_each_other_do_not_deadlock() {
    let mut left: Loop<usize> = Loop::new(4);
    let mut right: Loop<usize> = Loop::new(4);
    let id = Table::new().insert(()).unwrap();
    let (to_left, to_right) = (left.inbox.link(id, Room::commands(4)), right.inbox.link(id, Room::commands(4)));
    let handles = [to_left.handle(), to_right.handle()];
    let servers = [left.inbox.server_handle(), right.inbox.server_handle()];

    let play = |worker: &mut Loop<usize>, other: Handle<usize>, servers: [ServerHandle<usize>; 2]| {
        let mut refused = 0;
        worker.run(|order| {
            let Order::Command(posted) = order else {
                return;
            };
            let n = posted.into_command();
            if n == 0 {
                servers.iter().for_each(ServerHandle::abort);
            }
            for _ in 0..8 {
                refused += usize::from(other.send(n.saturating_sub(1)).is_err());
            }
        });
        refused
    };
    handles[0].send(1_000).unwrap();
    let [to_left, to_right] = handles;
    let others = servers.clone();
    let thread = thread::spawn(move || play(&mut right, to_left, others));
    let refused = play(&mut left, to_right, servers);
    assert!(refused + thread.join().unwrap() > 0, "eight into four does not go");
}

/// What a command of this size takes of the bounds by bytes.
fn weight_of<C>(worker: &mut Worker<C>, command: C) -> u32 {
    let (_, handle) = worker.connect(1);
    handle.send(command).unwrap();
    let weight = handle.inspect().waiting_bytes;
    drop(worker.take());
    weight
}

#[test]
fn fault_64_bytes_are_bounded_from_the_send_on_and_their_overhead_counts() {
    let mut worker: Worker<Vec<u8>> = Worker::weighing(100, Vec::len);
    let one = weight_of(&mut worker, vec![0; 100]);
    assert!((100..300).contains(&one), "{one}");

    let (_, handle) = worker.connect_with(Room { commands: 100, bytes: 3 * one });
    for _ in 0..3 {
        handle.send(vec![0; 100]).unwrap();
    }
    assert_eq!(handle.send(Vec::new()), Err(SendError::Full(Vec::new())), "its overhead does not fit");
    assert_eq!(worker.inbox.waiting_bytes(), 3 * one as usize);
    assert_eq!(worker.inbox.server_handle().inspect().commands, 3);

    // Taken is not handled yet.
    let mut orders = worker.take();
    assert_eq!(handle.send(vec![0; 100]).map_err(SendError::into_command), Err(vec![0; 100]));
    let Some(Order::Command(posted)) = orders.pop() else { panic!("{orders:?}") };
    assert_eq!(posted.into_command().len(), 100);
    handle.send(vec![0; 100]).unwrap();
    drop(orders);
    assert_eq!(worker.inbox.waiting_bytes(), one as usize);
}

#[test]
fn fault_64_command_larger_than_the_bound_is_told_so() {
    let mut worker: Worker<Vec<u8>> = Worker::weighing(100, Vec::len);
    let one = weight_of(&mut worker, vec![0; 100]);
    let (id, handle) = worker.connect_with(Room { commands: 100, bytes: one });
    assert_eq!(handle.send(vec![0; 101]), Err(SendError::TooLarge(vec![0; 101])));
    let link = worker.links.get(id).unwrap();
    assert_eq!(link.post(vec![0; 101]).unwrap_err(), SendError::TooLarge(vec![0; 101]));
    assert_eq!(handle.send(vec![0; 100]), Ok(()));
    assert_eq!(handle.send(vec![0; 101]), Err(SendError::TooLarge(vec![0; 101])), "also when it is full");
    handle.close();
    assert_eq!(handle.send(vec![0; 101]), Err(SendError::Closed(vec![0; 101])), "the end is the better reason");
}

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
fn send_without_a_receipt_allocates_for_none() {
    let mut worker = Worker::new(64);
    let (_, handle) = worker.connect(64);
    let mut orders = Vec::new();
    for _ in 0..2 {
        (0..8).for_each(|n| handle.send(n).unwrap());
        worker.inbox.take(&mut orders);
        orders.clear();
    }
    let plain = allocation_counter::measure(|| handle.send(1).unwrap());
    let tracked = allocation_counter::measure(|| drop(handle.send_tracked(1).unwrap()));
    assert_eq!((plain.count_total, tracked.count_total), (0, 1));
}

/// Beside its entry in the table: what an idle connection with a handle costs.
#[test]
#[expect(clippy::print_stdout, reason = "the number is what is asked for")]
fn w2_handle_of_an_idle_connection_costs_at_most_128_bytes() {
    let mut worker: Worker<Vec<u8>> = Worker::new(64);
    worker.connect(64);
    let inbox = &worker.inbox;
    let id = Table::new().insert_with(|id| id).unwrap();
    let mut kept = None;
    let peer = || "[::1]:25".parse().ok();
    let held = allocation_counter::measure(|| {
        let link = inbox.introduce(id, Room { commands: 64, bytes: 1 << 20 }, peer(), Time::ZERO);
        kept = Some((link.handle(), link));
    });
    println!("an idle connection with a handle holds {} bytes for it", held.bytes_current);
    assert!(held.count_current == 1 && held.bytes_current <= 128, "{held:?}");
}
