//! Many connections on one hub: what a message costs is the same whoever else is there.

#![expect(clippy::print_stdout, reason = "the figures are what a reader of the test's output wants")]

use drywire_hub::{Block, Bounds, Config, Hub, Input, Number};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections that do nothing, beside those that talk.
const MANY: usize = 5000;

/// Messages through one hub, there and back.
const MESSAGES: usize = if cfg!(feature = "longest") { 10_000_000 } else { 1_000_000 };

/// One at a time: each takes ten thousand descriptors.
static TURN: Mutex<()> = Mutex::new(());

/// Descriptors for both ends of this many connections.
fn allow(connections: usize) -> MutexGuard<'static, ()> {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = 2 * connections as u64 + 200;
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(needed);
        setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
    }
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listening() -> (Hub, SocketAddr) {
    let config = Config { max_connections: 2 * MANY, ..Config::default() };
    let mut hub = Hub::with(Bounds::DEFAULT, config).unwrap();
    let address = hub.listen("127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap()[0].to_string();
    (hub, address.parse().unwrap())
}

/// Lets in as many as there are, and forgets that it was told.
fn accept(hub: &mut Hub, most: usize) {
    for _ in 0..most {
        hub.accept().unwrap();
    }
}

/// Time that this thread has used.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A hub that echoes, ten peers that talk to it, and some that are silent.
struct Served {
    hub: Hub,
    talking: Vec<TcpStream>,
    _silent: Vec<TcpStream>,
    looks_at_all: bool,
}

const BURST: usize = 20;

impl Served {
    fn new(silent: usize) -> Served {
        let (mut hub, address) = listening();
        let mut connect = |n: usize| -> Vec<TcpStream> {
            let connect = |_| {
                let peer = TcpStream::connect(address).unwrap();
                peer.set_nodelay(true).unwrap();
                accept(&mut hub, 1);
                peer
            };
            (0..n).map(connect).collect()
        };
        // Half before and half behind those that talk.
        let mut idle = connect(silent / 2);
        let talking = connect(10);
        idle.extend(connect(silent - silent / 2));
        Served { hub, talking, _silent: idle, looks_at_all: false }
    }

    /// One burst of each who talks, and the answers. The time that the hub took.
    fn round(&mut self) -> Duration {
        let burst = [&8_u64.to_le_bytes()[..], b"8 bytes!"].concat().repeat(BURST);
        for peer in &mut self.talking {
            peer.write_all(&burst).unwrap();
        }
        let begun = cpu();
        let mut left = BURST * self.talking.len();
        while left > 0 {
            self.hub.do_io(Block::Yes).unwrap();
            if self.looks_at_all {
                // What a hub does that asks about each of its connections.
                std::hint::black_box(self.hub.connections());
            }
            while let Some((number, input)) = self.hub.take_input().unwrap() {
                let Input::Message(message) = input else { panic!("{number}: {input:?}") };
                self.hub.submit(number, message).unwrap();
                left -= 1;
            }
        }
        self.hub.do_io(Block::No).unwrap();
        let took = cpu() - begun;
        let mut heard = vec![0; burst.len()];
        for peer in &mut self.talking {
            peer.read_exact(&mut heard).unwrap();
            assert!(heard == burst);
        }
        took
    }
}

/// How much more one costs than the other: of pairs of slices the one in the middle.
fn ratio(few: &mut Served, many: &mut Served) -> f64 {
    let slice = |served: &mut Served| (0..20).map(|_| served.round()).sum::<Duration>().as_secs_f64();
    slice(few);
    slice(many);
    let mut ratios: Vec<f64> = (0..41)
        .map(|n| {
            // Whoever comes second finds the machine as the first has left it.
            if n % 2 == 0 {
                let few = slice(few);
                slice(many) / few
            } else {
                let many = slice(many);
                many / slice(few)
            }
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// On epoll: poll(2) itself looks at every descriptor, and costs fourteen times as much here.
#[test]
#[cfg(not(mio_unsupported_force_poll_poll))]
fn h12_do_io_costs_what_is_ready_and_not_what_is_there() {
    let _turn = allow(MANY + 20);
    let (mut few, mut many) = (Served::new(10), Served::new(MANY));
    // A machine that is busy with something else may be wrong once, not three times.
    let ratios: Vec<f64> = (0..3).map(|_| ratio(&mut few, &mut many)).collect();
    let best = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    println!("the same traffic beside {MANY} idle connections costs {ratios:.3?} of what it costs beside 10");
    assert!(best <= 1.1, "{ratios:?}");
    // The control: a hub that looks at each connection is found out.
    many.looks_at_all = true;
    few.looks_at_all = true;
    let found = ratio(&mut few, &mut many);
    println!("one that looks at all of them: {found:.2}");
    assert!(found > 1.1, "{found}");
}

#[test]
fn h1_millions_of_messages_through_thousands_of_connections() {
    let _turn = allow(MANY);
    let (mut hub, address) = listening();
    let mut client = Hub::with(Bounds::DEFAULT, Config { max_connections: MANY, ..Config::default() }).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut echoed, mut ended) = (0_usize, 0);
        while ended < MANY {
            hub.do_io(Block::Yes).unwrap();
            while let Some((number, input)) = hub.take_input().unwrap() {
                match input {
                    Input::Message(message) => {
                        hub.submit(number, message).unwrap();
                        echoed += 1;
                    }
                    Input::Ended => hub.close(number).unwrap(),
                    Input::Closed(closed) => {
                        assert_eq!((closed.counters.unsent, closed.counters.discarded), (0, 0), "{closed:?}");
                        ended += 1;
                    }
                    Input::Opened => {}
                }
            }
        }
        (echoed, cpu())
    });
    let numbers: Vec<Number> = (0..MANY).map(|_| client.connect(address).unwrap()).collect();
    let mut sent: HashMap<Number, u64> = numbers.iter().map(|number| (*number, 0)).collect();
    let mut heard = sent.clone();
    let (mut submitted, mut came) = (0, 0);
    let begun = Instant::now();
    // A few on their way on each connection, so that none waits long for its turn.
    const EACH: usize = 10;
    while came < MESSAGES {
        if submitted - came < MANY {
            for number in &numbers {
                for _ in 0..EACH.min(MESSAGES - submitted) {
                    let next = sent.get_mut(number).unwrap();
                    client.submit(*number, next.to_le_bytes().to_vec()).unwrap();
                    *next += 1;
                    submitted += 1;
                }
            }
        }
        client.do_io(Block::Yes).unwrap();
        while let Some((number, input)) = client.take_input().unwrap() {
            let Input::Message(message) = input else { panic!("{number}: {input:?}") };
            let next = heard.get_mut(&number).unwrap();
            assert_eq!(message, next.to_le_bytes()[..], "{number}: in order, none lost, none twice");
            *next += 1;
            came += 1;
        }
    }
    let took = begun.elapsed();
    assert_eq!(client.shutdown().unwrap(), []);
    let (echoed, cpu) = serving.join().unwrap();
    assert_eq!(echoed, MESSAGES);
    let per_message = cpu.as_nanos() / MESSAGES as u128;
    println!("{MESSAGES} messages through {MANY} connections in {took:.1?}; the server took {per_message} ns for each");
}
