//! Commands reach connections from other threads (row W2, FAULTS 63 to 67).

use crate::measure::busy_share;
use crate::peer::{Peer, read_end, read_line, send};
use crate::stage::Stage;
use crate::subject::{Options, Scene, Subject};
use crate::talk::Talk;
use drywire_core::Connection;
use std::io::BufRead;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const THREADS: usize = 4;

/// Numbered ones, to one connection and while lines of its peer are handled too.
pub fn w2_commands_of_four_threads_arrive_in_order_exactly_once<S: Subject>() {
    const EACH: u64 = 5_000;
    let stage = Stage::<S, Talk>::serve(|| Connection::new(Talk));
    let (number, mut peer) = stage.known_peer();
    open(&stage, number, &mut peer);
    let senders: Vec<_> = (0..THREADS).map(|thread| sender(&stage, number, thread, EACH, Arc::default())).collect();
    let mut writer = peer.second();
    let chatter = thread::spawn(move || {
        for n in 0..200 {
            send(&mut writer, format!("line {n}\n").as_bytes());
        }
    });
    let mut next = [0; THREADS];
    let mut lines = BufReader::new(&mut peer).lines();
    for _ in 0..THREADS as u64 * EACH {
        count(&lines.next().expect("more is to come").expect("in time"), &mut next);
    }
    drop(lines);
    for sending in senders {
        assert_eq!(sending.join().expect("it only sends"), EACH);
    }
    chatter.join().expect("the server reads");
    send(&mut peer, b"bye\n");
    assert_eq!(read_end(&mut peer), b"", "exactly once: nothing is left over");
    drop(peer);
    stage.report(number);
    stage.scene.look(|seen| assert_eq!(seen[number].events.len(), 1 + 200));
}

/// From the report on, every command comes back.
pub fn fault_63_command_after_the_close_is_refused<S: Subject>() {
    let stage = Stage::<S, Talk>::serve(|| Connection::new(Talk));
    let (number, mut peer) = stage.known_peer();
    open(&stage, number, &mut peer);
    assert_eq!(stage.scene.send(number, b"in time\n".into()), Ok(()));
    assert_eq!(read_line(&mut peer), "in time\n");
    drop(peer);
    stage.report(number);
    for _ in 0..100 {
        assert_eq!(stage.scene.send(number, b"late\n".into()), Err(b"late\n".into()));
    }
}

/// Sends race with the peer's `bye`: what arrives is a row without a gap, what does
/// not was sent to a connection that closed, and nobody hangs.
pub fn fault_66_commands_that_race_with_the_close_arrive_in_order_or_not_at_all<S: Subject>() {
    let stage = Stage::<S, Talk>::serve(|| Connection::new(Talk));
    for round in 0..20_u64 {
        let (number, mut peer) = stage.known_peer();
        open(&stage, number, &mut peer);
        let ended = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> =
            (0..THREADS).map(|thread| sender(&stage, number, thread, u64::MAX, ended.clone())).collect();
        thread::sleep(Duration::from_micros(100 * round));
        send(&mut peer, b"bye\n");
        let text = String::from_utf8(read_end(&mut peer)).expect("text");
        drop(peer);
        stage.report(number);
        ended.store(true, Ordering::Relaxed);
        let mut next = [0; THREADS];
        for line in text.lines() {
            count(line, &mut next);
        }
        for (sending, arrived) in senders.into_iter().zip(next) {
            let accepted = sending.join().expect("it only sends");
            assert!(arrived <= accepted, "round {round}: {arrived} arrived of {accepted} that were accepted");
        }
    }
}

/// One connection takes nothing: what is accepted for it is bounded, the rest comes back,
/// and others have room.
pub fn fault_64_flood_for_one_connection_is_refused_and_others_have_room<S: Subject>() {
    const LINE: usize = 1024;
    /// More than the output's bound, the commands that may wait and narrow sockets hold.
    const MOST: usize = 4 << 20;
    let stage = Stage::<S, Talk>::serve_with(Options::NARROW, || Connection::new(Talk));
    let (flooded, mut deaf) = stage.known_narrow_peer();
    open(&stage, flooded, &mut deaf);
    let (other, mut peer) = stage.known_peer();
    open(&stage, other, &mut peer);
    let line = |n: usize| format!("{n:0width$}\n", width = LINE - 1).into_bytes();
    let (mut accepted, mut refused) = (0, 0);
    // Full for good: nothing is taken between two refusals that are far apart.
    let mut last = Instant::now();
    while refused < 1000 || last.elapsed() < Duration::from_millis(200) {
        match stage.scene.send(flooded, line(accepted)) {
            Ok(()) => {
                (accepted, refused, last) = (accepted + 1, 0, Instant::now());
                assert!(accepted * LINE < MOST, "I2: {accepted} lines wait for one who takes none");
            }
            Err(back) => {
                assert_eq!(back, line(accepted));
                refused += 1;
                thread::yield_now();
            }
        }
    }
    assert_eq!(stage.scene.send(other, b"room\n".into()), Ok(()));
    assert_eq!(read_line(&mut peer), "room\n");
    let mut lines = BufReader::new(&mut deaf).lines();
    for n in 0..accepted {
        let got = lines.next().expect("more is to come").expect("in time");
        assert_eq!(got.parse(), Ok(n), "I1: accepted, so it comes");
    }
    drop(lines);
    send(&mut deaf, b"bye\n");
    assert_eq!(read_end(&mut deaf), b"", "what was refused does not come");
    drop(deaf);
    stage.report(flooded);
}

/// Threads send across two workers, each to the other's connection in turn, far faster
/// than they are served: nobody waits in a circle.
pub fn fault_65_workers_that_are_flooded_across_do_not_stand_still<S: Subject>() {
    const EACH: u64 = 5_000;
    let stages = [0, 1].map(|_| Stage::<S, Talk>::serve(|| Connection::new(Talk)));
    let mut peers = stages.each_ref().map(|stage| {
        let (number, mut peer) = stage.known_peer();
        open(stage, number, &mut peer);
        (number, peer)
    });
    let targets: [_; 2] = std::array::from_fn(|n| (stages[n].scene.clone(), peers[n].0));
    let senders = [0, 1].map(|thread| {
        let targets = targets.clone();
        thread::spawn(move || {
            let give_up = Instant::now() + S::PATIENCE;
            for n in 0..2 * EACH {
                let (scene, number) = &targets[(thread + usize::from(n % 2 == 1)) % 2];
                while scene.send(*number, format!("{thread} {}\n", n / 2).into_bytes()).is_err() {
                    assert!(Instant::now() < give_up, "the workers stand still");
                    thread::yield_now();
                }
            }
        })
    });
    for (_, peer) in &mut peers {
        let mut next = [0; THREADS];
        let mut lines = BufReader::new(peer).lines();
        for _ in 0..2 * EACH {
            count(&lines.next().expect("more is to come").expect("in time"), &mut next);
        }
        assert_eq!(next[..2], [EACH; 2]);
    }
    for sending in senders {
        sending.join().expect("it only sends");
    }
}

/// A storm of commands from four threads: everything comes, and when it is over the
/// worker sleeps. Wakes that were not coalesced would keep it awake, or its pipe full.
pub fn fault_67_storm_of_wakes_is_over_with_the_storm<S: Subject>() {
    const EACH: u64 = 20_000;
    let stage = Stage::<S, Talk>::serve(|| Connection::new(Talk));
    let (number, mut peer) = stage.known_peer();
    open(&stage, number, &mut peer);
    let senders: Vec<_> = (0..THREADS).map(|thread| sender(&stage, number, thread, EACH, Arc::default())).collect();
    let mut next = [0; THREADS];
    let mut lines = BufReader::new(&mut peer).lines();
    for _ in 0..THREADS as u64 * EACH {
        count(&lines.next().expect("more is to come").expect("in time"), &mut next);
    }
    drop(lines);
    for sending in senders {
        assert_eq!(sending.join().expect("it only sends"), EACH);
    }
    let share = busy_share();
    assert!(share < 0.05, "I3: {:.1} % of what a spinning thread takes after the storm", share * 100.0);
    assert_eq!(stage.scene.send(number, b"awake\n".into()), Ok(()));
    assert_eq!(read_line(&mut peer), "awake\n");
}

/// Waits until commands are taken: the driver may tell of it after the accept.
#[track_caller]
fn open<S: Subject>(stage: &Stage<S, Talk>, number: usize, peer: &mut Peer) {
    send(peer, b"open\n");
    stage.wait("the first line", |seen| seen[number].events.len() == 1);
    let give_up = Instant::now() + S::PATIENCE;
    while stage.scene.send(number, b"begin\n".into()).is_err() {
        assert!(Instant::now() < give_up, "no command is taken");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(read_line(peer), "begin\n");
}

/// Sends numbers until it has sent `count`, or is refused after the end; says how
/// many were accepted.
fn sender<S: Subject>(
    stage: &Stage<S, Talk>,
    number: usize,
    thread: usize,
    count: u64,
    ended: Arc<AtomicBool>,
) -> JoinHandle<u64> {
    let scene: Scene<Talk> = stage.scene.clone();
    thread::spawn(move || {
        let give_up = Instant::now() + S::PATIENCE;
        let mut accepted = 0;
        while accepted < count && Instant::now() < give_up {
            // Asked before the command: a refusal after the end is for good.
            let last = ended.load(Ordering::Relaxed);
            match scene.send(number, format!("{thread} {accepted}\n").into_bytes()) {
                Ok(()) => accepted += 1,
                Err(_) if last => break,
                Err(_) => thread::yield_now(),
            }
        }
        accepted
    })
}

/// The line is the next of its thread.
#[track_caller]
fn count(line: &str, next: &mut [u64; THREADS]) {
    let parts = line.split_once(' ');
    let parts = parts.and_then(|(thread, n)| Some((thread.parse::<usize>().ok()?, n.parse::<u64>().ok()?)));
    let Some((thread, n)) = parts else { panic!("I1: `{line}` was never sent") };
    let next = next.get_mut(thread).unwrap_or_else(|| panic!("I1: there is no thread {thread}"));
    assert_eq!(n, *next, "I1: of thread {thread}");
    *next += 1;
}
