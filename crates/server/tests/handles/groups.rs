//! Groups: one message for many connections of several workers, slow members, members
//! that come and go.

use crate::worker::Worker;
use drywire_server::{Dropped, Group, Handle, Id, Order, Room, SendError, Sent, Share, Slow, Standing};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

impl<C> Worker<C> {
    /// Handles what came; what each connection got, and who was closed.
    fn turn(&mut self) -> (HashMap<Id, Vec<C>>, Vec<Id>) {
        let (mut got, mut closed) = (HashMap::new(), Vec::new());
        for order in self.take() {
            match order {
                Order::Command(posted) => got.entry(posted.id()).or_insert_with(Vec::new).push(posted.into_command()),
                Order::Group(share) => got.entry(share.id()).or_insert_with(Vec::new).extend(all(share)),
                Order::Close(id) => closed.push(id),
                Order::Abort(_) | Order::Connect(_) | Order::Shutdown | Order::Stop => panic!("nobody asked"),
            }
        }
        (got, closed)
    }
}

/// Everything a share has.
fn all<C>(share: Share<C>) -> Vec<C> {
    let (mut got, mut rest) = (Vec::new(), Some(share));
    while let Some(share) = rest {
        let (next, left) = share.next();
        got.extend(next.map(|posted| posted.into_command()));
        rest = left;
    }
    got
}

/// What a command takes of the bounds by bytes.
fn weight<C: Clone>(command: C) -> u32 {
    let mut worker = Worker::new(1024);
    let (_, handle) = worker.connect(64);
    handle.send(command).unwrap();
    handle.inspect().waiting_bytes
}

#[test]
fn w7_message_reaches_members_of_all_workers_in_the_order_sent() {
    let (mut left, mut right) = (Worker::new(1024), Worker::new(1024));
    let group = Group::new(u32::MAX, Slow::Skip);
    let members = [left.connect(64).1, left.connect(64).1, right.connect(64).1];
    let (_, stranger) = right.connect(64);
    for member in &members {
        assert!(group.join(member));
        assert!(!group.join(&member.clone()), "it is one already");
    }
    for n in 0..3 {
        assert_eq!(group.send(n), Ok(Sent { sent: 3, ..Sent::default() }));
    }
    let (got, _) = left.turn();
    assert_eq!((&got[&members[0].id()], &got[&members[1].id()]), (&vec![0, 1, 2], &vec![0, 1, 2]));
    let (got, _) = right.turn();
    assert_eq!((&got[&members[2].id()], got.get(&stranger.id())), (&vec![0, 1, 2], None));
    assert_eq!((left.wakes.load(Ordering::SeqCst), right.wakes.load(Ordering::SeqCst)), (1, 1), "FAULTS 67");
    assert!(left.take().is_empty());
}

#[test]
fn w7_message_that_comes_while_others_are_taken_out_is_not_lost() {
    let mut worker = Worker::new(1024);
    let group = Group::new(u32::MAX, Slow::Skip);
    let (_, handle) = worker.connect(64);
    group.join(&handle);
    group.send(1).unwrap();
    let Some(Order::Group(share)) = worker.take().pop() else { panic!("a share") };
    group.send(2).unwrap();
    assert!(worker.take().is_empty(), "it is announced already");
    let (first, rest) = share.next();
    assert_eq!(first.unwrap().into_command(), 1);
    let (second, rest) = rest.unwrap().next();
    assert_eq!(second.unwrap().into_command(), 2);
    assert!(rest.is_none(), "spent");
    group.send(3).unwrap();
    assert_eq!(worker.turn().0[&handle.id()], [3]);
}

#[test]
fn w7_slow_members_are_skipped() {
    let mut worker = Worker::new(1024);
    let group = Group::new(2 * weight(0), Slow::Skip);
    let (_, handle) = worker.connect(64);
    group.join(&handle);
    let reports: Vec<Sent> = (0..4).map(|n| group.send(n).unwrap()).collect();
    let (sent, skipped) = (Sent { sent: 1, ..Sent::default() }, Sent { skipped: 1, ..Sent::default() });
    assert_eq!(reports, [sent, sent, skipped, skipped]);
    assert_eq!(worker.turn().0[&handle.id()], [0, 1]);
    assert_eq!(group.send(4), Ok(sent), "it has caught up");
    assert_eq!(worker.inbox.dropped(), 0, "what is skipped was never accepted");
}

#[test]
fn w7_oldest_messages_give_way_to_new_ones_and_are_counted() {
    let mut worker = Worker::new(1024);
    let group = Group::new(2 * weight(0), Slow::DropOldest);
    let (_, handle) = worker.connect(64);
    group.join(&handle);
    let reports: Vec<Sent> = (0..5).map(|n| group.send(n).unwrap()).collect();
    assert!(reports.iter().all(|report| report.sent == 1 && report.skipped == 0));
    assert_eq!(reports.iter().map(|report| report.dropped).sum::<usize>(), 3);
    assert_eq!((worker.inbox.dropped(), handle.inspect().waiting_commands), (3, 2));
    assert_eq!(worker.turn().0[&handle.id()], [3, 4]);

    // Also while its worker waits for it to take more, which is where most of them wait.
    group.send(5).unwrap();
    let orders = worker.take();
    (6..9).for_each(|n| _ = group.send(n).unwrap());
    assert!(worker.take().is_empty());
    let Some(Order::Group(share)) = orders.into_iter().next() else { panic!("a share") };
    assert_eq!(all(share), [7, 8]);
}

#[test]
fn w7_one_large_message_displaces_several_small_ones() {
    let mut worker: Worker<Vec<u8>> = Worker::weighing(100, Vec::len);
    let (_, handle) = worker.connect(64);
    handle.send(vec![0; 10]).unwrap();
    let small = handle.inspect().waiting_bytes;
    worker.turn();
    let group = Group::new(4 * small, Slow::DropOldest);
    group.join(&handle);
    (0..4).for_each(|_| _ = group.send(vec![0; 10]).unwrap());
    assert_eq!(group.send(vec![0; 2 * small as usize]).unwrap().dropped, 3, "two and some, its overhead counts");
    assert_eq!(handle.inspect().waiting_commands, 2);
    let too_large = group.send(vec![0; 4 * small as usize]);
    assert!(matches!(too_large, Err(SendError::TooLarge(_))), "it would fit nobody");
    assert_eq!(worker.turn().0[&handle.id()].len(), 2);
}

#[test]
fn w7_slow_members_are_closed_behind_what_they_were_sent() {
    let mut worker = Worker::new(1024);
    let group = Group::new(2 * weight(0), Slow::Close);
    let (id, slow) = worker.connect(64);
    let (_, other) = worker.connect(64);
    group.join(&slow);
    (0..2).for_each(|n| _ = group.send(n).unwrap());
    group.join(&other);
    assert_eq!(group.send(2), Ok(Sent { sent: 1, closed: 1, ..Sent::default() }));
    assert_eq!((group.len(), slow.inspect().standing), (1, Standing::Closing));
    let (got, closed) = worker.turn();
    assert_eq!((&got[&id], &got[&other.id()], closed), (&vec![0, 1], &vec![2], vec![id]));
}

/// The bounds of a connection are for all that is sent to it.
#[test]
fn w7_connection_that_is_full_for_other_reasons_is_slow_too() {
    let run = |slow| {
        let mut worker = Worker::new(1024);
        let (_, handle) = worker.connect_with(Room { commands: 2, bytes: u32::MAX });
        let group = Group::new(u32::MAX, slow);
        group.join(&handle);
        group.send(1).unwrap();
        handle.send(2).unwrap();
        let report = group.send(3).unwrap();
        (report, worker.turn().0[&handle.id()].clone())
    };
    let none = Sent::default();
    assert_eq!(run(Slow::Skip), (Sent { skipped: 1, ..none }, vec![1, 2]));
    assert_eq!(run(Slow::DropOldest), (Sent { sent: 1, dropped: 1, ..none }, vec![3, 2]));
    assert_eq!(run(Slow::Close), (Sent { closed: 1, ..none }, vec![1, 2]));
}

#[test]
fn w7_connection_in_many_groups_gets_the_messages_of_all() {
    let mut worker = Worker::new(1024);
    let (_, handle) = worker.connect(64);
    let groups: Vec<Group<usize>> = (0..10).map(|_| Group::new(u32::MAX, Slow::Skip)).collect();
    for (n, group) in groups.iter().enumerate() {
        group.join(&handle);
        group.send(n).unwrap();
    }
    assert_eq!(worker.turn().0[&handle.id()], (0..10).collect::<Vec<_>>());
}

#[test]
fn w7_members_that_left_or_ended_get_nothing_more() {
    let mut worker = Worker::new(1024);
    let group = Group::new(u32::MAX, Slow::Skip);
    let (_, leaver) = worker.connect(64);
    let (id, ended) = worker.connect(64);
    let (_, stays) = worker.connect(64);
    for handle in [&leaver, &ended, &stays] {
        group.join(handle);
    }
    group.send(1).unwrap();
    assert!(group.leave(&leaver));
    assert!(!group.leave(&leaver));
    drop(worker.links.remove(id));
    assert_eq!(group.send(2), Ok(Sent { sent: 1, gone: 1, ..Sent::default() }));
    assert_eq!(group.len(), 1);
    assert!(!group.join(&ended), "it has ended");
    let (got, _) = worker.turn();
    assert_eq!((&got[&leaver.id()], &got[&stays.id()]), (&vec![1], &vec![1, 2]));
    assert!(group.leave(&stays) && group.is_empty());
    assert_eq!(group.send(3), Ok(Sent::default()));
}

#[test]
fn fault_66_messages_that_wait_for_a_connection_that_ends_are_dropped_and_counted() {
    let mut worker = Worker::new(1024);
    let group = Group::new(u32::MAX, Slow::Skip);
    let message = Arc::new(());
    let (id, handle) = worker.connect(64);
    group.join(&handle);
    group.send(message.clone()).unwrap();
    group.send(message.clone()).unwrap();
    let orders = worker.take();
    group.send(message.clone()).unwrap();
    worker.links.remove(id).unwrap().end(Dropped::Closed, drywire_core::Time::ZERO);
    assert_eq!(Arc::strong_count(&message), 4);
    drop(orders);
    assert_eq!((Arc::strong_count(&message), worker.inbox.dropped(), worker.inbox.waiting_bytes()), (1, 3, 0));
    assert_eq!(group.send(message.clone()), Ok(Sent { gone: 1, ..Sent::default() }));

    // With the worker.
    let (_, handle) = worker.connect(64);
    group.join(&handle);
    group.send(message.clone()).unwrap();
    drop(worker);
    assert_eq!(Arc::strong_count(&message), 1);
    assert_eq!(group.send(message.clone()), Ok(Sent { gone: 1, ..Sent::default() }));
}

/// Nobody sends, so nobody notices that members have ended, but those who join.
#[test]
fn fault_83_group_that_connections_pass_through_does_not_grow() {
    let mut worker: Worker<u8> = Worker::new(1024);
    let group = Group::new(u32::MAX, Slow::Skip);
    let stay: Vec<_> = (0..10).map(|_| worker.connect(64).1).collect();
    stay.iter().for_each(|handle| assert!(group.join(handle)));
    for _ in 0..10_000 {
        let (id, handle) = worker.connect(64);
        assert!(group.join(&handle));
        drop(worker.links.remove(id));
        assert!(group.len() <= 40, "{}", group.len());
    }
    assert_eq!(group.send(0).unwrap().sent, 10);
    assert_eq!(group.len(), 10);
}

#[test]
fn w7_a_thousand_members_share_one_buffer() {
    let mut worker: Worker<Arc<[u8]>> = Worker::weighing(1024, |bytes| bytes.len());
    let group = Group::new(u32::MAX, Slow::Skip);
    let handles: Vec<_> = (0..1000).map(|_| worker.connect(64).1).collect();
    handles.iter().for_each(|handle| assert!(group.join(handle)));
    let mut orders = Vec::new();
    let mut take = |worker: &mut Worker<Arc<[u8]>>| {
        worker.inbox.take(&mut orders);
        for order in orders.drain(..) {
            let Order::Group(share) = order else { panic!("{order:?}") };
            drop(share.next().0.unwrap().into_command());
        }
    };
    for _ in 0..2 {
        // Queues grow until they are warm; that of the inbox is two that take turns.
        group.send(Arc::from([0; 1000])).unwrap();
        take(&mut worker);
    }
    let mut sent = Sent::default();
    let allocated = allocation_counter::measure(|| sent += group.send(Arc::from([0; 1000])).unwrap());
    assert_eq!((sent.sent, allocated.count_total), (1000, 1), "{allocated:?}");
}

/// A message that talks back while it is dropped.
#[derive(Clone)]
struct Talkative(Option<(Group<Talkative>, Handle<Talkative>)>);

impl Drop for Talkative {
    fn drop(&mut self) {
        if let Some((group, handle)) = self.0.take() {
            _ = group.send(Talkative(None));
            group.join(&handle);
            _ = handle.send(Talkative(None));
        }
    }
}

#[test]
fn fault_65_message_that_uses_its_group_while_dropped_does_not_deadlock() {
    for slow in [Slow::Skip, Slow::DropOldest, Slow::Close] {
        let mut worker = Worker::new(1024);
        let (_, handle) = worker.connect(64);
        let group = Group::new(weight(Talkative(None)), slow);
        group.join(&handle);
        for _ in 0..3 {
            group.send(Talkative(Some((group.clone(), handle.clone())))).unwrap();
        }
        drop(worker.take());
        drop(worker);
    }
}

/// Threads send to groups across, members join, leave and end: what was accepted is
/// what came and what was dropped.
#[test]
fn fault_65_66_groups_across_workers_lose_and_double_nothing() {
    const ROUNDS: usize = 2_000;
    let mut workers = [Worker::<usize>::new(1024), Worker::new(1024)];
    let handles: Vec<_> =
        (0..8).map(|n| workers[n % 2].connect_with(Room { commands: 16, bytes: u32::MAX }).1).collect();
    let groups = [Group::new(4 * weight(0_usize), Slow::DropOldest), Group::new(4 * weight(0_usize), Slow::Skip)];
    let senders: Vec<_> = (0..2)
        .map(|thread| {
            let (handles, groups) = (handles.clone(), groups.clone());
            thread::spawn(move || {
                let mut sum = Sent::default();
                for n in 0..ROUNDS {
                    let group = &groups[(n + thread) % 2];
                    group.join(&handles[n % 8]);
                    sum += group.send(n).unwrap();
                    if n % 7 == 0 {
                        group.leave(&handles[(n / 7) % 8]);
                    }
                    if n == ROUNDS / 2 && thread == 0 {
                        handles[3].close();
                    }
                }
                sum
            })
        })
        .collect();
    let mut came = [0, 0];
    while !senders.iter().all(thread::JoinHandle::is_finished) {
        for (worker, came) in workers.iter_mut().zip(&mut came) {
            *came += worker.turn().0.values().map(Vec::len).sum::<usize>();
        }
    }
    let mut sum = Sent::default();
    senders.into_iter().for_each(|sender| sum += sender.join().unwrap());
    for (worker, came) in workers.iter_mut().zip(&mut came) {
        *came += worker.turn().0.values().map(Vec::len).sum::<usize>();
        assert_eq!(worker.inbox.waiting_bytes(), 0);
    }
    let dropped: u64 = workers.iter().map(|worker| worker.inbox.dropped()).sum();
    assert_eq!(sum.sent as u64, (came[0] + came[1]) as u64 + dropped);
    assert_eq!(sum.dropped as u64, dropped);
    assert!(came[0] > 0 && came[1] > 0 && dropped > 0, "{sum:?}");
}
