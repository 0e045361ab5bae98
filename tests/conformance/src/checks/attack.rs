//! Attacks on the memory of a server, all at once (I2).

use crate::measure::resident_bytes;
use crate::peer::{Peer, connect, read_line, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use crate::suite::say;
use drywire_core::{Connection, Context, Failure, Limits, Protocol, Reply, Stop};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The budget, in bytes.
pub const BUDGET: usize = 16 << 20;
/// Attackers of each kind.
/// So many of each kind; fewer under TLS, where each costs this process two handshakes and two sessions.
const fn each<S: Subject>() -> usize {
    if S::IS_TLS { 100 } else { 200 }
}
const HONEST: usize = 5;
/// How long it lasts at least.
const ATTACK: Duration = Duration::from_secs(3);

/// What a process may use beside the budget, in bytes: the pools and buffers of a worker
/// (less than 8 MiB), what a runtime needs for a descriptor, the check's own threads and notes, and what an
/// allocator cannot give back at once.
pub const BESIDE_THE_BUDGET: usize = 32 << 20;

/// Lines come back; commands are a kilobyte each.
struct Target;

impl Protocol for Target {
    type Event = Infallible;
    type Command = u8;
    type Error = Infallible;
    const LIMITS: Limits = Limits { linger_ms: 200, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Target>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        cx.write(&input[..=end])?;
        Ok(end + 1)
    }

    fn command(&mut self, command: &u8, cx: &mut Context<'_, Target>) -> Result<(), Stop<Infallible>> {
        cx.write(&[*command; 1000])
    }

    fn error_reply(&self, _: &Failure<Infallible>, reply: &mut Reply<'_>) {
        reply.write(b"too long\n");
    }
}

/// Never-readers, half messages, endless lines and a flood through handles: what is
/// counted never passes the budget, the process does not grow by much more, and who behaves is served
/// during it and after it.
pub fn i2_memory_under_attack_stays_under_the_budget<S: Subject>() {
    let budget = if S::IS_TLS { BUDGET / 4 } else { BUDGET };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
    let options = Options { memory_bytes: budget, ..Options::default() };
    let stage = Stage::<S, Target>::serve_with(options, || Connection::new(Target));
    let mut honest: Vec<_> = (0..HONEST).map(|_| stage.known_peer().1).collect();
    for peer in &mut honest {
        exchange(peer);
    }
    let commons = stage.commons();
    let before = resident_bytes();
    let (stop, address) = (AtomicBool::new(false), stage.tcp());
    let (mut answers, mut most) = (0, before);
    thread::scope(|scope| {
        let stop = &stop;
        let _stops = StopOnDrop(stop);
        scope.spawn(move || attack::<S>(address, stop, |peer| peer.write(LINES).map(drop)));
        scope.spawn(move || attack::<S>(address, stop, |peer| peer.write(ENDLESS).map(drop)));
        scope.spawn(move || {
            let mut said = vec![0; each::<S>()];
            let mut n = 0;
            attack::<S>(address, stop, |peer| {
                n = (n + 1) % each::<S>();
                // Each says so much and then no more.
                if said[n] < 9000 { peer.write(&ENDLESS[..1000]).map(|more| said[n] += more) } else { Ok(()) }
            });
        });
        let scene = stage.scene.clone();
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let count = scene.look(<[_]>::len);
                for number in HONEST..count {
                    // Full or gone: both are answers.
                    let _ = scene.send(number, b'!');
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let begun = Instant::now();
        // On a machine that is busy it takes longer to be one.
        let hurts = || commons.stats().ended.shed > 0 || begun.elapsed() > 2 * S::PATIENCE;
        while begun.elapsed() < ATTACK || !hurts() {
            for peer in &mut honest {
                exchange(peer);
                answers += 1;
            }
            most = most.max(resident_bytes());
            assert!(commons.held_bytes() <= budget, "I2: {} bytes are counted", commons.held_bytes());
            if begun.elapsed() > ATTACK {
                // It does not hurt yet: the attackers need the processor more.
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let (counted, stats) = (commons.most_held_bytes(), commons.stats());
    say(&format!(
        "note: {}: {counted} bytes were counted at most, the process grew by {} KiB, {answers} answers; \
         {} were cut, {} refused, {} too long",
        S::NAME,
        (most - before) >> 10,
        stats.ended.shed,
        stats.refused_by_memory,
        stats.ended.limit
    ));
    assert!(counted <= budget, "I2: {counted} bytes were counted");
    assert!(counted > budget / 2, "that was no attack: {counted} bytes");
    assert!(stats.ended.shed > 0, "and nobody had to be cut: {stats:?}");
    assert!(most - before <= budget + BESIDE_THE_BUDGET, "I2: the process grew by {} bytes", most - before);
    // It is over: those who stayed are served, and all is given back.
    let give_up = Instant::now() + S::PATIENCE;
    while commons.connections() > HONEST {
        assert!(Instant::now() < give_up, "{} connections are left", commons.connections());
        thread::sleep(Duration::from_millis(5));
    }
    honest.iter_mut().for_each(exchange);
    assert!(commons.held_bytes() < BUDGET / 4, "I6: {} bytes are still counted", commons.held_bytes());
}

/// Takes what it is told, however heavy.
struct Load;

impl Protocol for Load {
    type Event = Infallible;
    type Command = Vec<u8>;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Load>) -> Result<usize, Stop<Infallible>> {
        cx.write(input)?;
        Ok(input.len())
    }

    fn command(&mut self, command: &Vec<u8>, cx: &mut Context<'_, Load>) -> Result<(), Stop<Infallible>> {
        cx.write(command)
    }

    fn weigh(command: &Vec<u8>) -> usize {
        size_of::<Vec<u8>>() + command.capacity()
    }
}

/// Heavy commands for peers that take none: what waits is counted before it does, the flood is told
/// that there is no room, and who behaves is served beside it. When the peers have gone all is given back.
pub fn i2_fault_64_flood_of_heavy_commands_stays_under_the_budget<S: Subject>() {
    const HEAVY: usize = 16 << 10;
    const DEAF: usize = 64;
    /// How long there is nothing but refusals.
    const FULL: Duration = Duration::from_secs(1);
    let options = Options { memory_bytes: BUDGET, ..Options::NARROW };
    let stage = Stage::<S, Load>::serve_with(options, || Connection::new(Load));
    let commons = stage.commons();
    let (_, mut honest) = stage.known_peer();
    exchange(&mut honest);
    let idle = commons.held_bytes();
    let deaf: Vec<_> = (0..DEAF).map(|_| stage.known_narrow_peer()).collect();
    let (before, mut most) = (resident_bytes(), 0);
    let (mut refused, begun) = (0_u64, Instant::now());
    // On a machine that is busy it takes longer to be one.
    let is_flood = |refused| refused > 0 && commons.most_held_bytes() > BUDGET / 2 || begun.elapsed() > S::PATIENCE;
    while begun.elapsed() < FULL || !is_flood(refused) {
        for (number, _) in &deaf {
            match stage.scene.send(*number, vec![b'!'; HEAVY]) {
                Ok(()) => {}
                Err(back) => {
                    assert_eq!(back.len(), HEAVY);
                    refused += 1;
                }
            }
            assert!(commons.held_bytes() <= BUDGET, "I2: {} bytes are counted", commons.held_bytes());
        }
        exchange(&mut honest);
        most = resident_bytes().max(most);
    }
    let counted = commons.most_held_bytes();
    let grown = most.saturating_sub(before);
    say(&format!("note: {}: {counted} bytes were counted at most, the process grew by {} KiB", S::NAME, grown >> 10));
    assert!(counted <= BUDGET, "I2: {counted} bytes were counted");
    assert!(counted > BUDGET / 2, "that was no flood: {counted} bytes");
    assert!(grown <= BUDGET + BESIDE_THE_BUDGET, "I2: the process grew by {grown} bytes");
    drop(deaf);
    stage.wait("all is given back", |_| commons.connections() == 1 && commons.held_bytes() <= idle + BUDGET / 16);
    exchange(&mut honest);
}

const LINES: &[u8] = &[b'\n'; 8192];
const ENDLESS: &[u8] = &[b'x'; 8192];

#[track_caller]
fn exchange(peer: &mut Peer) {
    send(peer, b"an honest line\n");
    assert_eq!(read_line(peer), "an honest line\n");
}

/// Peers that each say what `say` says, again and again, and never read; whoever is
/// thrown out comes again.
fn attack<S: Subject>(address: SocketAddr, stop: &AtomicBool, mut say: impl FnMut(&mut Peer) -> io::Result<()>) {
    let mut peers: Vec<Option<Peer>> = (0..each::<S>()).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for place in &mut peers {
            let peer = place.get_or_insert_with(|| {
                let peer = connect::<S>(address);
                peer.set_nonblocking(true);
                peer
            });
            let over = match say(peer) {
                Ok(()) => false,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
            if over || is_refused(peer) {
                *place = None;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The server has ended it. Nothing is read but what it sends then, which is short.
fn is_refused(peer: &mut Peer) -> bool {
    matches!(peer.peek(), Ok(0)) && matches!(peer.read(&mut [0]), Ok(0))
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
