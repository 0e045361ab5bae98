//! What crosses threads, under every kind of schedule: shuttle runs each scene
//! thousands of times and decides at each lock and atomic who goes on.
//!
//! Built with `--cfg shuttle` only; `.ci/run` does it. A lost wake shows as a
//! deadlock, which shuttle reports with the schedule that leads to it.
#![cfg(shuttle)]

use drywire_core::Time;
use drywire_server::{
    Dropped, Group, Handle, Inbox, Link, Order, Outcome, Room, SendError, Sent, Share, Slow, Standing, Table, Target,
};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

/// Schedules of a scene: so many at random, so many with few but adverse switches.
const RANDOM: usize = 10_000;
const ADVERSE: usize = 5_000;

/// Points at which an adverse schedule overrules its priorities.
const SWITCHES: usize = 3;

fn explore(scene: fn()) {
    shuttle::check_random(scene, RANDOM);
    shuttle::check_pct(scene, ADVERSE, SWITCHES);
}

/// What a worker waits on.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
    rings: AtomicUsize,
}

impl Bell {
    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// Counts how commands end: each is handed over, given back, or dropped unseen.
#[derive(Debug, Default)]
struct Ends {
    dropped: AtomicUsize,
}

#[derive(Debug)]
struct Command(Arc<Ends>, bool);

impl Command {
    fn new(ends: &Arc<Ends>) -> Command {
        Command(ends.clone(), false)
    }

    /// It was seen; its drop is nobody's loss.
    fn seen(mut self) {
        self.1 = true;
    }
}

/// For each member of a group.
impl Clone for Command {
    fn clone(&self) -> Command {
        Command(self.0.clone(), self.1)
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn inbox<C: Send + 'static>(capacity: usize) -> (Inbox<C>, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    let ringer = bell.clone();
    (Inbox::new(capacity, move || ringer.ring()), bell)
}

fn link<C>(inbox: &Inbox<C>, capacity: u32) -> Link<C> {
    let mut ids = Table::new();
    inbox.link(ids.insert_with(|id| id).expect("the first fits"), Room::commands(capacity))
}

/// Sends `n` and says how many were accepted.
fn send_all(handle: &Handle<Command>, ends: &Arc<Ends>, n: usize) -> usize {
    let send = |_: &usize| match handle.send(Command::new(ends)) {
        Ok(()) => true,
        Err(SendError::Full(command) | SendError::TooLarge(command) | SendError::Closed(command)) => {
            command.seen();
            false
        }
    };
    (0..n).filter(send).count()
}

/// Takes until it is told to stop; nothing but a wake makes it look. Returns how
/// many commands came and how often it looked.
fn work(inbox: &mut Inbox<Command>, bell: &Bell) -> (usize, usize) {
    let (mut came, mut takes, mut orders) = (0, 0, Vec::new());
    loop {
        bell.wait();
        takes += 1;
        inbox.take(&mut orders);
        for order in orders.drain(..) {
            match order {
                Order::Command(posted) => {
                    posted.into_command().seen();
                    came += 1;
                }
                Order::Stop => return (came, takes),
                Order::Group(share) => {
                    for command in all(share) {
                        command.seen();
                        came += 1;
                    }
                }
                Order::Close(_) | Order::Abort(_) | Order::Connect(_) | Order::Shutdown => {}
            }
        }
    }
}

/// Everything a share has; others may put more into it meanwhile.
fn all<C>(share: Share<C>) -> Vec<C> {
    let (mut got, mut rest) = (Vec::new(), Some(share));
    while let Some(share) = rest {
        let (next, left) = share.next();
        got.extend(next.map(|posted| posted.into_command()));
        rest = left;
    }
    got
}

#[test]
fn fault_66_67_every_accepted_command_comes_once_and_no_wake_is_lost() {
    explore(|| {
        let (mut inbox, bell) = inbox(100);
        let (link, server, ends) = (link(&inbox, 100), inbox.server_handle(), Arc::new(Ends::default()));
        let worker = thread::spawn({
            let bell = bell.clone();
            move || (work(&mut inbox, &bell), inbox.dropped())
        });
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (handle, ends) = (link.handle(), ends.clone());
                thread::spawn(move || send_all(&handle, &ends, 2))
            })
            .collect();
        let accepted: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        server.abort();
        let ((came, takes), dropped) = worker.join().unwrap();
        assert_eq!((accepted, came, dropped), (4, 4, 0));
        assert_eq!(ends.dropped.load(Ordering::SeqCst), 0);
        let rings = bell.rings.load(Ordering::SeqCst);
        assert!(rings <= takes + 1, "{rings} wakes for {takes} takes");
    });
}

#[test]
fn fault_66_end_of_a_worker_races_with_senders() {
    explore(|| {
        let (mut inbox, bell) = inbox(3);
        let (link, server, ends) = (link(&inbox, 2), inbox.server_handle(), Arc::new(Ends::default()));
        let handles = [link.handle(), link.handle()];
        let worker = thread::spawn(move || {
            let (came, _) = work(&mut inbox, &bell);
            // As a worker's own end does not: a connection's link may outlive it.
            drop(inbox);
            drop(link);
            came
        });
        let senders = handles.map(|handle| {
            let ends = ends.clone();
            thread::spawn(move || {
                let accepted = send_all(&handle, &ends, 2);
                (accepted, handle)
            })
        });
        server.abort();
        let came = worker.join().unwrap();
        let mut accepted = 0;
        for sender in senders {
            let (n, handle) = sender.join().unwrap();
            accepted += n;
            assert!(!handle.is_open());
            assert_eq!(send_all(&handle, &ends, 1), 0, "a send that begins after the end");
        }
        // What was accepted and did not come was dropped: it does not wait in a queue nobody empties.
        assert_eq!(accepted, came + ends.dropped.load(Ordering::SeqCst));
    });
}

#[test]
fn fault_63_66_end_of_a_connection_races_with_a_send() {
    explore(|| {
        let (mut inbox, _) = inbox(100);
        let (link, ends) = (link(&inbox, 100), Arc::new(Ends::default()));
        let handle = link.handle();
        let is_gone = Arc::new(AtomicBool::new(false));
        let sender = thread::spawn({
            let (ends, is_gone) = (ends.clone(), is_gone.clone());
            move || {
                let before = is_gone.load(Ordering::SeqCst);
                let accepted = send_all(&handle, &ends, 1);
                assert!(!before || accepted == 0, "a send that begins after the end");
                accepted + send_all(&handle, &ends, 1)
            }
        });
        let mut orders = Vec::new();
        inbox.take(&mut orders);
        drop(link);
        is_gone.store(true, Ordering::SeqCst);
        drop(orders);
        let accepted = sender.join().unwrap();
        inbox.take(&mut Vec::new());
        assert_eq!(inbox.dropped(), accepted as u64, "nobody took one, so all that were accepted are counted");
        assert_eq!(ends.dropped.load(Ordering::SeqCst), accepted);
    });
}

#[test]
fn fault_73_close_and_abort_come_once_and_overtake_no_send() {
    explore(|| {
        let (mut inbox, bell) = inbox(100);
        let link = link(&inbox, 100);
        let threads = [0, 1].map(|n| {
            let handle = link.handle();
            thread::spawn(move || {
                let accepted = handle.send(n).is_ok();
                handle.close();
                assert_eq!(handle.send(9), Err(SendError::Closed(9)), "after a close of one's own");
                if n == 1 {
                    handle.abort();
                }
                handle.close();
                accepted
            })
        });
        let accepted = threads.map(|thread| thread.join().unwrap());
        bell.wait();
        let (mut orders, mut came) = (Vec::new(), Vec::new());
        inbox.take(&mut orders);
        for order in orders {
            match order {
                Order::Command(posted) => came.push(posted.into_command()),
                Order::Close(_) => came.push(10),
                Order::Abort(_) => came.push(11),
                Order::Group(_) | Order::Connect(_) | Order::Shutdown | Order::Stop => unreachable!("nobody asked"),
            }
        }
        let commands: Vec<i32> = came.iter().copied().take_while(|n| *n < 10).collect();
        assert_eq!(commands.len(), accepted.iter().filter(|accepted| **accepted).count());
        // A close that comes after an abort is no news.
        assert_eq!(came[commands.len()..], [10, 11]);
    });
}

/// Two threads send two commands each while nobody takes any; says how many were accepted.
fn accepted_of_four(of_inbox: usize, of_link: u32) -> usize {
    let (inbox, _) = inbox(of_inbox);
    let (link, ends) = (link(&inbox, of_link), Arc::new(Ends::default()));
    let senders = [link.handle(), link.handle()].map(|handle| {
        let ends = ends.clone();
        thread::spawn(move || send_all(&handle, &ends, 2))
    });
    senders.map(|sender| sender.join().unwrap()).iter().sum()
}

#[test]
fn fault_64_places_are_given_once_each() {
    explore(|| {
        assert_eq!(accepted_of_four(100, 3), 3);
        assert_eq!(accepted_of_four(3, 100), 3);
    });
}

#[test]
fn fault_64_all_places_come_back() {
    explore(|| {
        let (mut inbox, bell) = inbox(3);
        let (link, server, ends) = (link(&inbox, 2), inbox.server_handle(), Arc::new(Ends::default()));
        let senders = [link.handle(), link.handle()].map(|handle| {
            let ends = ends.clone();
            thread::spawn(move || send_all(&handle, &ends, 2))
        });
        let worker = thread::spawn(move || {
            let (came, _) = work(&mut inbox, &bell);
            (inbox, came)
        });
        let accepted: usize = senders.map(|sender| sender.join().unwrap()).iter().sum();
        server.abort();
        let (mut inbox, came) = worker.join().unwrap();
        assert_eq!(accepted, came);
        let handle = link.handle();
        assert_eq!(send_all(&handle, &ends, 3), 2, "all places are free again, and no more");
        let mut orders = Vec::new();
        inbox.take(&mut orders);
        assert_eq!(send_all(&handle, &ends, 1), 0, "taken is not handed over");
        drop(orders);
        assert_eq!(send_all(&handle, &ends, 3), 2);
    });
}

#[test]
fn what_a_worker_is_asked_for_comes_once_each_and_in_order() {
    explore(|| {
        let (mut inbox, bell) = inbox::<Command>(1);
        let threads = [0, 1].map(|_| {
            let server = inbox.server_handle();
            thread::spawn(move || {
                let is_asked = server.connect(Target::name("localhost", 1)).is_ok();
                server.shutdown();
                server.abort();
                usize::from(is_asked)
            })
        });
        let (mut asked, mut shutdowns, mut stops, mut orders) = (0, 0, 0, Vec::new());
        while stops == 0 {
            bell.wait();
            inbox.take(&mut orders);
            for order in orders.drain(..) {
                match order {
                    Order::Connect(_) => {
                        assert_eq!((shutdowns, stops), (0, 0), "nobody is asked after the end");
                        asked += 1;
                    }
                    Order::Shutdown => shutdowns += 1,
                    Order::Stop => stops += 1,
                    Order::Command(_) | Order::Group(_) | Order::Close(_) | Order::Abort(_) => {
                        unreachable!("nobody asked")
                    }
                }
            }
        }
        let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        inbox.take(&mut orders);
        assert!(orders.is_empty(), "{orders:?}");
        assert_eq!((asked, shutdowns, stops), (accepted, 1, 1));
    });
}

#[test]
fn fault_66_receipt_is_completed_once_whoever_ends_first() {
    explore(|| {
        let (mut inbox, bell) = inbox(100);
        let link = link(&inbox, 100);
        let (handle, server) = (link.handle(), inbox.server_handle());
        let sender = thread::spawn(move || {
            let receipts: Vec<_> = (0..2).filter_map(|n| handle.send_tracked(n).ok()).collect();
            server.abort();
            // A receipt that is not completed hangs here.
            receipts.iter().map(|receipt| receipt.wait(Duration::from_secs(1)).expect("completed")).collect::<Vec<_>>()
        });
        let (mut link, mut orders, mut written) = (Some(link), Vec::new(), 0);
        let mut stops = false;
        while !stops {
            bell.wait();
            inbox.take(&mut orders);
            for order in orders.drain(..) {
                match order {
                    // One is written; then the connection ends.
                    Order::Command(posted) => {
                        if let Some(link) = link.take() {
                            let _ = posted.into_command();
                            written += 1;
                            link.end(Dropped::Aborted, Time::ZERO);
                        }
                    }
                    Order::Stop => stops = true,
                    Order::Group(_) | Order::Close(_) | Order::Abort(_) | Order::Connect(_) | Order::Shutdown => {
                        unreachable!("nobody asked")
                    }
                }
            }
        }
        drop(inbox);
        let outcomes = sender.join().unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Written).count(), written);
        assert!(outcomes.iter().skip(1).all(|outcome| *outcome == Outcome::Dropped(Dropped::Aborted)));
    });
}

#[test]
fn fault_64_bytes_are_given_once_and_come_back() {
    explore(|| {
        let (mut inbox, _) = inbox::<u64>(100);
        let mut ids = Table::new();
        let first = inbox.link(ids.insert_with(|id| id).unwrap(), Room::commands(1)).handle();
        let probe = inbox.link(ids.insert_with(|id| id).unwrap(), Room::commands(1));
        assert!(first.send(0).is_err(), "its link is gone");
        probe.handle().send(0).unwrap();
        let one = probe.handle().inspect().waiting_bytes;
        inbox.take(&mut Vec::new());
        let link = inbox.link(ids.insert_with(|id| id).unwrap(), Room { commands: 100, bytes: 2 * one });
        let senders = [link.handle(), link.handle()].map(|handle| {
            thread::spawn(move || {
                let accepted = (0..2).filter(|n| handle.send(*n).is_ok()).count();
                assert!(handle.inspect().waiting_bytes <= 2 * one);
                accepted
            })
        });
        let mut orders = Vec::new();
        inbox.take(&mut orders);
        let came = orders.drain(..).count();
        let accepted: usize = senders.map(|sender| sender.join().unwrap()).iter().sum();
        assert!((2..=2 + came).contains(&accepted), "{accepted} accepted, {came} came");
        inbox.take(&mut orders);
        assert_eq!(came + orders.len(), accepted);
        drop(orders);
        assert_eq!((inbox.waiting_bytes(), inbox.server_handle().inspect().commands), (0, 0));
        assert_eq!(inbox.dropped(), 1 + accepted as u64);
    });
}

/// Two threads send to a group of two; one member ends meanwhile, one leaves and joins.
fn group_scene(slow: Slow, bytes: u32) {
    let (mut inbox, bell) = inbox(100);
    let (stays, ends) = (link(&inbox, 100), link(&inbox, 100));
    let (group, server, fates) = (Group::new(bytes, slow), inbox.server_handle(), Arc::new(Ends::default()));
    let handles = [stays.handle(), ends.handle()];
    handles.iter().for_each(|handle| assert!(group.join(handle)));
    let worker = thread::spawn(move || {
        let (came, _) = work(&mut inbox, &bell);
        (inbox, came)
    });
    let senders = [0, 1].map(|thread| {
        let (group, fates, handle) = (group.clone(), fates.clone(), handles[0].clone());
        thread::spawn(move || {
            let mut sum = Sent::default();
            for _ in 0..2 {
                sum += group.send(Command::new(&fates)).unwrap();
                if thread == 0 && group.leave(&handle) {
                    group.join(&handle);
                }
            }
            sum
        })
    });
    ends.end(Dropped::Failed, Time::ZERO);
    assert_eq!(handles[1].inspect().standing, Standing::Closed);
    let mut sum = Sent::default();
    for sender in senders {
        sum += sender.join().unwrap();
    }
    server.abort();
    let (mut inbox, came) = worker.join().unwrap();
    inbox.take(&mut Vec::new());
    assert_eq!(sum.sent as u64, came as u64 + inbox.dropped(), "{sum:?}");
    assert_eq!(inbox.waiting_bytes(), 0);
    assert!(sum.dropped as u64 <= inbox.dropped());
}

#[test]
fn fault_65_66_group_and_its_members_race() {
    explore(|| group_scene(Slow::Skip, u32::MAX));
}

#[test]
fn fault_65_66_group_that_drops_its_oldest_races_with_the_worker() {
    explore(|| group_scene(Slow::DropOldest, 150));
}

#[test]
fn fault_65_66_group_that_closes_the_slow_races_with_the_worker() {
    explore(|| group_scene(Slow::Close, 150));
}

/// Two groups, two workers, everybody in both: nobody waits for another in a circle.
#[test]
fn fault_65_groups_and_workers_in_a_circle_do_not_deadlock() {
    explore(|| {
        let mut boxes = [inbox::<u32>(100).0, inbox::<u32>(100).0];
        let links = [link(&boxes[0], 100), link(&boxes[1], 100)];
        let groups = [Group::new(u32::MAX, Slow::DropOldest), Group::new(u32::MAX, Slow::Close)];
        for group in &groups {
            links.iter().for_each(|link| assert!(group.join(&link.handle())));
        }
        let threads = [0, 1].map(|n| {
            let (groups, handle) = (groups.clone(), links[n].handle());
            thread::spawn(move || {
                let mut sent = groups[n].send(1).unwrap().sent;
                groups[1 - n].leave(&handle);
                sent += groups[1 - n].send(2).unwrap().sent;
                sent
            })
        });
        let mut came = take_shares(&mut boxes);
        let sent: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        came += take_shares(&mut boxes);
        assert_eq!(came, sent);
    });
}

/// How many messages of groups came.
fn take_shares(boxes: &mut [Inbox<u32>]) -> usize {
    let mut orders = Vec::new();
    boxes.iter_mut().for_each(|inbox| inbox.take(&mut orders));
    let count = |order| match order {
        Order::Group(share) => all(share).len(),
        Order::Command(_) | Order::Close(_) | Order::Abort(_) | Order::Connect(_) | Order::Shutdown | Order::Stop => 0,
    };
    orders.into_iter().map(count).sum()
}

/// An inbox that remembers its wake before it has the command: a take in between
/// finds nothing, and the command waits for the next.
#[derive(Default)]
struct WakesTooEarly {
    woken: AtomicBool,
    orders: Mutex<Vec<u32>>,
    bell: Bell,
}

impl WakesTooEarly {
    fn send(&self, command: u32) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.bell.ring();
        }
        self.orders.lock().unwrap().push(command);
    }

    fn take(&self) -> Vec<u32> {
        self.bell.wait();
        self.woken.store(false, Ordering::SeqCst);
        std::mem::take(&mut self.orders.lock().unwrap())
    }
}

/// Known-bad control: a lost wake is found, both ways.
#[test]
fn lost_wake_would_be_found() {
    fn scene() {
        let inbox = Arc::new(WakesTooEarly::default());
        let sender = inbox.clone();
        let sender = thread::spawn(move || sender.send(1));
        while inbox.take().is_empty() {}
        sender.join().unwrap();
    }
    assert!(catch_unwind(|| shuttle::check_random(scene, RANDOM)).is_err());
    assert!(catch_unwind(|| shuttle::check_pct(scene, ADVERSE, SWITCHES)).is_err());
}
