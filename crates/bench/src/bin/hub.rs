//! What a message through a hub costs beside connections that do nothing, as a share of what it costs
//! without them (row H12): the time of the hub's own thread, on a machine with nothing else to do.
//!
//! ```text
//! hub [idle=5000]
//! ```
//!
//! Prints the ratio, which is to be 1.1 at most on epoll, and as a control that of a hub that looks at
//! each of its connections. poll(2) looks at every descriptor itself, and costs fourteen times as much.

use drywire_hub::{Block, Bounds, Config, Hub, Input};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Messages of each peer at once.
const BURST: usize = 20;

/// A hub that echoes, ten peers that talk to it, and some that are silent.
struct Served {
    hub: Hub,
    talking: Vec<TcpStream>,
    _silent: Vec<TcpStream>,
    looks_at_all: bool,
}

impl Served {
    fn new(silent: usize) -> Served {
        let config = Config { max_connections: silent + 100, ..Config::default() };
        let mut hub = Hub::with(Bounds::DEFAULT, config).expect("a hub");
        let address = hub.listen("127.0.0.1:0".parse::<SocketAddr>().expect("an address")).expect("a free port");
        let address: SocketAddr = address[0].to_string().parse().expect("an address");
        let mut connect = |n: usize| -> Vec<TcpStream> {
            let connect = |_| {
                let peer = TcpStream::connect(address).expect("it listens");
                peer.set_nodelay(true).expect("a TCP socket");
                hub.accept().expect("there is room");
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

    /// One burst of each peer that talks, and the answers. The time that the hub took.
    fn round(&mut self) -> Duration {
        let burst = [&8_u64.to_le_bytes()[..], b"8 bytes!"].concat().repeat(BURST);
        for peer in &mut self.talking {
            peer.write_all(&burst).expect("the hub reads");
        }
        let begun = cpu();
        let mut left = BURST * self.talking.len();
        while left > 0 {
            self.hub.do_io(Block::Yes).expect("a poller");
            if self.looks_at_all {
                // What a hub does that asks about each of its connections.
                black_box(self.hub.connections());
            }
            while let Some((number, input)) = self.hub.take_input().expect("a hub") {
                let Input::Message(message) = input else { panic!("{number}: {input:?}") };
                self.hub.submit(number, message).expect("it is open");
                left -= 1;
            }
        }
        self.hub.do_io(Block::No).expect("a poller");
        let took = cpu() - begun;
        let mut heard = vec![0; burst.len()];
        for peer in &mut self.talking {
            peer.read_exact(&mut heard).expect("the answers");
            assert!(heard == burst, "every message comes back");
        }
        took
    }
}

/// Time that this thread has used.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().expect("positive"), now.tv_nsec.try_into().expect("below a second"))
}

/// How much more one costs than the other: of pairs of slices the one in the middle.
fn ratio(few: &mut Served, many: &mut Served) -> f64 {
    let slice = |served: &mut Served| (0..20).map(|_| served.round()).sum::<Duration>().as_secs_f64();
    slice(few);
    slice(many);
    let mut ratios: Vec<f64> = (0..41)
        .map(|n| {
            // The one that comes second finds the machine as the first has left it.
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

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "idle=5000".to_owned());
    let Some(idle) = argument.strip_prefix("idle=").and_then(|n| n.parse().ok()) else {
        let _ = writeln!(io::stderr(), "usage: hub [idle=5000]");
        return ExitCode::from(2);
    };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
    let (mut few, mut many) = (Served::new(10), Served::new(idle));
    let plain = ratio(&mut few, &mut many);
    (few.looks_at_all, many.looks_at_all) = (true, true);
    let looks = ratio(&mut few, &mut many);
    let report = format!("{{\"idle\":{idle},\"ratio\":{plain:.3},\"ratio_of_one_that_looks_at_all\":{looks:.3}}}");
    if writeln!(io::stdout(), "{report}").is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
