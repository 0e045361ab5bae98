//! One busy peer does not starve the others (row A5, FAULTS 22).

use super::byte_echo;
use crate::noise::Noise;
use crate::peer::{read_line, send};
use crate::stage::Stage;
use crate::subject::{Subject, Testable};
use crate::suite::say;
use drywire_core::{Connection, Context, Protocol, Stop};
use drywire_protocols::ByteEcho;
use rustix::net::{RecvFlags, recv};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const QUIET: usize = 99;
const ROUNDS: usize = 8;

/// Beside somebody who sends and reads as fast as it can.
pub fn fault_22_quiet_peers_are_served_beside_one_that_floods_the_echo<S: Subject>() {
    compare::<S, ByteEcho>(byte_echo, |mut peer, stop| {
        let mut reader = peer.try_clone().expect("a descriptor");
        let reading = thread::spawn(move || {
            let mut slot = vec![0; 256 * 1024];
            let mut got = 0;
            while let Ok(n @ 1..) = reader.read(&mut slot) {
                got += n as u64;
            }
            got
        });
        thread::spawn(move || {
            let piece = vec![b'x'; 256 * 1024];
            while !stop.load(Ordering::Relaxed) {
                peer.write_all(&piece).expect("the server reads");
            }
            peer.shutdown(Shutdown::Both).expect("connected");
            reading.join().expect("it only reads")
        })
    });
}

/// Beside somebody who takes faster than the server makes what it sends: its
/// connection is never at an end of its work, and only a budget ends its turn.
pub fn fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream<S: Subject>() {
    compare::<S, Fountain>(
        || Connection::new(Fountain(0)),
        |mut peer, stop| {
            send(&mut peer, &[Fountain::OPEN]);
            thread::spawn(move || {
                let mut slot = vec![0; 1 << 20];
                let mut got = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Linux throws away what TRUNC asks for without copying it.
                    got += recv(&peer, &mut slot[..], RecvFlags::TRUNC).expect("the stream is endless").1 as u64;
                }
                got
            })
        },
    );
}

/// The byte echo, until one byte asks for bytes without end, which take their time to
/// be computed.
struct Fountain(u64);

impl Fountain {
    const OPEN: u8 = b'!';
    const PIECE: usize = 64 * 1024;
    /// As much work as makes some hundred mebibytes a second.
    const WORK: u64 = 4;
}

impl Protocol for Fountain {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        if input[0] == Fountain::OPEN {
            cx.request_room(Some(Fountain::PIECE));
            return Ok(1);
        }
        cx.write(input)?;
        Ok(input.len())
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        let mut piece = [0; Fountain::PIECE];
        for n in 0..Fountain::WORK {
            Noise::new(n).fill(self.0, &mut piece);
        }
        cx.write(&piece)?;
        self.0 += Fountain::PIECE as u64;
        cx.request_room(Some(Fountain::PIECE));
        Ok(())
    }
}

/// A line of each quiet peer in turn, first alone, then beside `busy`, which moves
/// bytes until it is told to stop and says how many. A starved peer would wait for as
/// long as that lasts.
#[track_caller]
fn compare<S: Subject, P: Testable>(
    make: fn() -> Connection<P>,
    busy: impl FnOnce(TcpStream, Arc<AtomicBool>) -> JoinHandle<u64>,
) {
    let stage = Stage::<S, P>::serve(make);
    let mut quiet: Vec<TcpStream> = (0..QUIET).map(|_| stage.peer()).collect();
    let alone = ping_pong(&mut quiet);
    let stop = Arc::new(AtomicBool::new(false));
    let moving = busy(stage.peer(), stop.clone());
    let begun = Instant::now();
    thread::sleep(Duration::from_millis(50));
    let beside = ping_pong(&mut quiet);
    stop.store(true, Ordering::Relaxed);
    let bytes = moving.join().expect("the server serves it");
    let rate = (bytes >> 20) as f64 / begun.elapsed().as_secs_f64();
    assert!(rate > 20.0, "the busy one moved {rate:.0} MiB/s only: nothing was shown");
    say(&format!(
        "note: {}: a ping-pong takes {:?} at the median, {:?} at the 99th percentile; beside {rate:.0} MiB/s \
         {:?} and {:?}, {:.1} times as long",
        S::NAME,
        alone.median,
        alone.high,
        beside.median,
        beside.high,
        beside.median.as_secs_f64() / alone.median.as_secs_f64(),
    ));
    // Other programs use this machine too; the busy one would never end by itself.
    assert!(beside.median < Duration::from_millis(50), "FAULTS 22: {beside:?} beside {rate:.0} MiB/s");
    assert!(beside.high < Duration::from_millis(250), "FAULTS 22: {beside:?} beside {rate:.0} MiB/s");
}

#[derive(Debug)]
struct Latency {
    median: Duration,
    /// The 99th percentile.
    high: Duration,
}

/// Everybody's turn comes in every round, or a read times out.
#[track_caller]
fn ping_pong(peers: &mut [TcpStream]) -> Latency {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        for (n, peer) in peers.iter_mut().enumerate() {
            let line = format!("round {round} of quiet peer {n}\n");
            let start = Instant::now();
            send(peer, line.as_bytes());
            assert_eq!(read_line(peer), line, "I5");
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    Latency { median: times[times.len() / 2], high: times[times.len() * 99 / 100] }
}
