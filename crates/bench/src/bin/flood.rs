//! What one honest peer waits beside peers that send nothing but empty messages of the hub, as fast
//! as the server takes them.
//!
//! ```text
//! flood [runs=5] [peers=50] [secs=2] NAME:COMMAND…
//! ```
//!
//! `{port}` in a command is replaced. The honest peer sends a message of 64 bytes, waits for its echo
//! and 5 ms more, and begins again. Servers take turns within a run; the figures are medians over the runs. The CPU
//! time is that of the server's main thread, for each message of the flood that came back.
//!
//! The server belongs on one core and this program on another, or the peers' own waiting is in the
//! figure: `taskset -c 1 flood 'mio:taskset -c 0 drywire serve hub --listen 127.0.0.1:{port}'`.

use drywire_bench::{Result, Server, median, percentile};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An empty message is eight bytes of length, all zero.
const EMPTY: usize = 8;

/// One write of a flooding peer.
static FLOOD: [u8; 64 * 1024] = [0; 64 * 1024];

/// Of the honest peer: 56 bytes behind their length.
const HONEST: [u8; 64] = {
    let mut message = [b'h'; 64];
    let mut at = 0;
    while at < 8 {
        message[at] = if at == 0 { 56 } else { 0 };
        at += 1;
    }
    message
};

/// Between two of its messages. A peer that asks without a pause is most of the load once it is
/// answered at once, and the CPU time of the flood's messages would be that of its own.
const PAUSE: Duration = Duration::from_millis(5);

struct Peer {
    name: String,
    command: String,
    /// A value for each run.
    p50_ns: Vec<u64>,
    p99_ns: Vec<u64>,
    messages_per_second: Vec<u64>,
    cpu_ps: Vec<u64>,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "flood: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let (mut runs, mut flooding, mut secs, mut peers) = (5, 50, 2.0, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("runs", n)) => runs = n.parse()?,
            Some(("peers", n)) => flooding = n.parse()?,
            Some(("secs", n)) => secs = n.parse()?,
            _ => peers.push(named(&argument)?),
        }
    }
    for run in 0..runs {
        for peer in &mut peers {
            write!(io::stderr(), "\rrun {} of {runs}: {:<20}", run + 1, peer.name)?;
            measure_once(peer, flooding, Duration::from_secs_f64(secs))?;
        }
    }
    writeln!(io::stderr())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<16} {:>10} {:>10} {:>14} {:>12}", "server", "p50 ms", "p99 ms", "messages/s", "CPU ns each")?;
    for peer in &peers {
        let ms = |values: &[u64]| median(values) / 1e6;
        writeln!(
            out,
            "{:<16} {:>10.3} {:>10.3} {:>14.0} {:>12.2}",
            peer.name,
            ms(&peer.p50_ns),
            ms(&peer.p99_ns),
            median(&peer.messages_per_second),
            median(&peer.cpu_ps) / 1e3,
        )?;
    }
    Ok(())
}

fn named(argument: &str) -> Result<Peer> {
    let (name, command) =
        argument.split_once(':').ok_or_else(|| format!("`{argument}` is no server; write NAME:COMMAND"))?;
    Ok(Peer {
        name: name.to_owned(),
        command: command.to_owned(),
        p50_ns: Vec::new(),
        p99_ns: Vec::new(),
        messages_per_second: Vec::new(),
        cpu_ps: Vec::new(),
    })
}

fn measure_once(peer: &mut Peer, flooding: usize, lasts: Duration) -> Result<()> {
    let server = Server::start(&peer.name, &peer.command)?;
    let address = server.address();
    let (is_over, echoed) = (AtomicBool::new(false), AtomicU64::new(0));
    let (bytes, cpu, took, waits) = thread::scope(|scope| -> Result<(u64, u64, Duration, Vec<u64>)> {
        let flood = scope.spawn(|| flood(address, flooding, &is_over, &echoed).map_err(|error| error.to_string()));
        // The first requests meet a flood that is still filling its buffers.
        thread::sleep(Duration::from_millis(200));
        let (begin, before) = (Instant::now(), (echoed.load(Ordering::Relaxed), server.cpu_ns()));
        let waits = wait_in_line(address, lasts);
        // The last answer may take as long as a slow server lets it.
        let (took, after) = (begin.elapsed(), (echoed.load(Ordering::Relaxed), server.cpu_ns()));
        is_over.store(true, Ordering::Relaxed);
        flood.join().map_err(|_| "the flood panicked")??;
        Ok((after.0 - before.0, after.1? - before.1?, took, waits?))
    })?;
    let messages = bytes / EMPTY as u64;
    peer.p50_ns.push(percentile(&waits, 0.5) as u64);
    peer.p99_ns.push(percentile(&waits, 0.99) as u64);
    peer.messages_per_second.push((messages as f64 / took.as_secs_f64()) as u64);
    peer.cpu_ps.push((cpu as f64 * 1e3 / messages as f64) as u64);
    Ok(())
}

/// What the honest peer waited for each answer, in nanoseconds.
fn wait_in_line(address: SocketAddr, lasts: Duration) -> Result<Vec<u64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut waits, mut answer, end) = (Vec::new(), [0; HONEST.len()], Instant::now() + lasts);
    while Instant::now() < end {
        let begin = Instant::now();
        stream.write_all(&HONEST)?;
        stream.read_exact(&mut answer)?;
        waits.push(u64::try_from(begin.elapsed().as_nanos())?);
        thread::sleep(PAUSE);
        if answer != HONEST {
            return Err("the honest peer's answer is not what it sent".into());
        }
    }
    Ok(waits)
}

/// Floods from `flooding` connections until it is over, and counts the bytes that come back.
fn flood(address: SocketAddr, flooding: usize, is_over: &AtomicBool, echoed: &AtomicU64) -> Result<()> {
    let mut streams = (0..flooding).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<TcpStream>>>()?;
    for stream in &streams {
        stream.set_nonblocking(true)?;
    }
    let (mut sink, second) = (vec![0; 1 << 20], Timespec { tv_sec: 1, tv_nsec: 0 });
    while !is_over.load(Ordering::Relaxed) {
        let mut ready: Vec<PollFd<'_>> =
            streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN | PollFlags::OUT)).collect();
        poll(&mut ready, Some(&second))?;
        let ready: Vec<PollFlags> = ready.iter().map(PollFd::revents).collect();
        for (stream, ready) in streams.iter_mut().zip(ready) {
            if ready.contains(PollFlags::IN) {
                // Discarded inside the kernel: the peers are to cost little.
                match recv(&*stream, &mut sink, RecvFlags::TRUNC) {
                    Ok((_, 0)) => return Err("the server closed a connection of the flood".into()),
                    Ok((_, n)) => _ = echoed.fetch_add(n as u64, Ordering::Relaxed),
                    Err(error) if error == rustix::io::Errno::AGAIN => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if ready.contains(PollFlags::OUT) {
                match stream.write(&FLOOD) {
                    Ok(n) => _ = n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(())
}
