//! Many connections on one hub. That a message costs the same whoever else is there is measured by
//! `drywire-bench`, on a machine that has time for it.

#![expect(clippy::print_stdout, reason = "the figures are what a reader of the test's output wants")]

use drywire_hub::{Block, Bounds, Config, Hub, Input, Number};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::net::SocketAddr;
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

/// Time that this thread has used.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
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
