//! How long the lines of quiet peers take on mio, alone and beside a peer that takes a stream without
//! end: what a budget costs the others, on a machine with nothing else to do (FAULTS 22).
//!
//! ```text
//! beside [quiet=99] [rounds=50] [budget=1048576]
//! ```
//!
//! One line of JSON for each: microseconds, of the median, the mean, and the 99th percentile.

use drywire_core::{Context, Protocol, Stop};
use drywire_driver_mio::{Accept, Address, Config, Driver};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The byte echo, until one byte asks for bytes without end.
struct Fountain;

const OPEN: u8 = b'!';
const PIECE: usize = 64 * 1024;

impl Protocol for Fountain {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        if input[0] == OPEN {
            cx.request_room(Some(PIECE));
            return Ok(1);
        }
        cx.write(input)?;
        Ok(input.len())
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(&[b'x'; PIECE])?;
        cx.request_room(Some(PIECE));
        Ok(())
    }
}

/// A line of each peer in turn, `rounds` times.
fn ping_pong(peers: &mut [TcpStream], rounds: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        for peer in &mut *peers {
            let start = Instant::now();
            peer.write_all(b"a line of some length\n").expect("the server reads");
            peer.read_exact(&mut [0; 22]).expect("the echo");
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    times
}

fn report(case: &str, times: &[Duration], rest: &str) -> String {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).expect("not that many");
    let (median, high) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    format!(
        "{{\"case\":\"{case}\",\"median_us\":{:.0},\"mean_us\":{:.0},\"p99_us\":{:.0}{rest}}}",
        micros(median),
        micros(mean),
        micros(high)
    )
}

fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).expect("it listens");
    peer.set_nodelay(true).expect("a TCP socket");
    peer
}

fn main() -> ExitCode {
    let (mut quiet, mut rounds, mut budget) = (99, 50, 1 << 20);
    for argument in std::env::args().skip(1) {
        let known = match argument.split_once('=') {
            Some(("quiet", n)) => n.parse().map(|n| quiet = n).is_ok(),
            Some(("rounds", n)) => n.parse().map(|n| rounds = n).is_ok(),
            Some(("budget", n)) => n.parse().map(|n| budget = n).is_ok(),
            _ => false,
        };
        if !known || quiet == 0 || rounds == 0 {
            let _ = writeln!(io::stderr(), "usage: beside [quiet=99] [rounds=50] [budget=1048576]");
            return ExitCode::from(2);
        }
    }
    let config = Config { budget_bytes: budget, ..Config::default() };
    let mut driver: Driver<Fountain> = Driver::new(config).expect("a poller");
    let listener = driver.listen(&"127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let Some(Address::Tcp(address)) = driver.local_address(listener) else { panic!("a TCP listener") };
    let server = driver.server_handle();
    let serving = thread::spawn(move || driver.run(&mut Accept(|| Fountain)).expect("the poller works"));

    let mut peers: Vec<_> = (0..quiet).map(|_| connect(address)).collect();
    ping_pong(&mut peers, 1);
    let alone = ping_pong(&mut peers, rounds);
    let (stop, mut busy) = (AtomicBool::new(false), connect(address));
    let (beside, moved) = thread::scope(|scope| {
        let taking = scope.spawn(|| {
            busy.write_all(&[OPEN]).expect("the server reads");
            let (mut slot, mut got) = (vec![0; 1 << 20], 0_u64);
            while !stop.load(Ordering::Relaxed) {
                got += busy.read(&mut slot).expect("the stream is endless") as u64;
            }
            got
        });
        thread::sleep(Duration::from_millis(50));
        let beside = ping_pong(&mut peers, rounds);
        stop.store(true, Ordering::Relaxed);
        (beside, taking.join().expect("it only reads"))
    });
    server.abort();
    serving.join().expect("the driver does not panic");
    let moved = format!(",\"budget\":{budget},\"moved_MiB\":{}", moved >> 20);
    let said = writeln!(io::stdout(), "{}\n{}", report("alone", &alone, ""), report("beside", &beside, &moved));
    if said.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
