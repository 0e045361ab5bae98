//! What crosses threads, under every kind of schedule: shuttle runs each scene
//! thousands of times and decides at each lock and atomic who goes on.
//!
//! Built with `--cfg shuttle` only; `.ci/run` does it. A lost wake shows as a
//! deadlock, which shuttle reports with the schedule that leads to it.
#![cfg(shuttle)]

use drywire_server::{Handle, Inbox, Link, Order, SendError, Table};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::panic::catch_unwind;
use std::sync::Arc;

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
    inbox.link(ids.insert_with(|id| id).expect("the first fits"), capacity)
}

/// Sends `n` and says how many were accepted.
fn send_all(handle: &Handle<Command>, ends: &Arc<Ends>, n: usize) -> usize {
    let send = |_: &usize| match handle.send(Command::new(ends)) {
        Ok(()) => true,
        Err(SendError::Full(command) | SendError::Closed(command)) => {
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
                Order::Close(_) | Order::Abort(_) | Order::Shutdown => {}
            }
        }
    }
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
                Order::Shutdown | Order::Stop => unreachable!("nobody asked"),
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
fn shutdown_and_abort_of_a_worker_come_once_each() {
    explore(|| {
        let (mut inbox, bell) = inbox::<Command>(1);
        let threads = [0, 1].map(|_| {
            let server = inbox.server_handle();
            thread::spawn(move || {
                server.shutdown();
                server.abort();
            })
        });
        let (mut shutdowns, mut stops, mut orders) = (0, 0, Vec::new());
        while stops == 0 {
            bell.wait();
            inbox.take(&mut orders);
            for order in orders.drain(..) {
                match order {
                    Order::Shutdown => shutdowns += 1,
                    Order::Stop => stops += 1,
                    Order::Command(_) | Order::Close(_) | Order::Abort(_) => unreachable!("nobody asked"),
                }
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        inbox.take(&mut orders);
        assert!(orders.is_empty(), "{orders:?}");
        assert_eq!((shutdowns, stops), (1, 1));
    });
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
