//! Many threads and several workers at once. The threads end by themselves: each sends
//! a fixed number of commands, and a worker that is not woken for ten seconds fails.

use drywire_server::{Handle, Id, Inbox, Order, Room, SendError, ServerHandle, Table};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

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
                    Order::Command(_)
                    | Order::Group(_)
                    | Order::Close(_)
                    | Order::Abort(_)
                    | Order::Connect(_)
                    | Order::Shutdown => {
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
        Order::Group(_) | Order::Abort(_) | Order::Connect(_) | Order::Shutdown | Order::Stop => panic!("{order:?}"),
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
