//! SIGTERM at any point of a busy server (FAULTS 57): every byte the server says it has
//! sent was received by its client, or the report of the shutdown names that client.
//!
//! `DRYWIRE_POINTS=17..18` repeats one point; which one is printed when it fails.

mod clients;
mod judge;
#[expect(dead_code, reason = "the other tests of the program use the rest")]
#[path = "../cli/support.rs"]
mod support;

use clients::{Client, Manner};
use judge::{Told, Verdict, judge};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::{Server, noise, on_every_driver};
use tempfile::TempDir;

/// Points, over all drivers.
const POINTS: usize = 200;
/// How many are tried at a time.
const AT_ONCE: usize = 2;

const SMALL: usize = 1000;
/// More than a socket's buffers hold, so that a slow reader is owed something.
const BIG: usize = 12 << 20;

/// One way to stop a busy server, made from its number.
#[derive(Clone, Copy, Debug)]
struct Point {
    driver: &'static str,
    service: &'static str,
    workers: &'static str,
    drain_timeout: &'static str,
    /// From when the clients are connected.
    signal_after: Duration,
    second_after: Option<Duration>,
}

impl Point {
    fn number(n: usize) -> Point {
        let mut random = Random(n as u64);
        let (drain_timeout, second_after) = match random.below(15) {
            0..3 => ("0", None),
            3..7 => (["5ms", "30ms"][random.below(2)], None),
            // The same wish once more, or an urgent one.
            7 => ("20s", Some(Duration::from_micros(random.below(30_000) as u64))),
            8 => ("none", Some(Duration::from_millis(1100 + random.below(30) as u64))),
            _ => ("20s", None),
        };
        Point {
            driver: ["mio", "tokio", "smol"][n % 3],
            service: ["line-echo", "dialog"][n / 3 % 2],
            workers: ["1", "2", "4"][n / 6 % 3],
            drain_timeout,
            signal_after: Duration::from_micros(random.below(40_000) as u64),
            second_after,
        }
    }
}

/// What was seen of one point.
struct Run {
    clients: Vec<Client>,
    told: Told,
}

fn run(point: &Point, root: &TempDir, manners: &[Manner]) -> Run {
    let root = root.path().to_str().expect("a temporary directory");
    let mut args = vec![point.service, "--driver", point.driver, "--log", "debug"];
    args.extend(["--workers", point.workers, "--drain-timeout", point.drain_timeout]);
    if point.service == "dialog" {
        args.extend(["--root", root]);
    }
    let mut server = Server::start(&args);
    let address: SocketAddr = server.address.parse().expect("an address");
    let is_dialog = point.service == "dialog";
    let clients: Vec<_> = manners.iter().map(|manner| clients::start(address, *manner, is_dialog)).collect();
    thread::sleep(point.signal_after);
    server.program.signal(Signal::TERM);
    if let Some(after) = point.second_after {
        thread::sleep(after);
        // It may have ended by itself, and waits to be reaped.
        server.program.signal(Signal::TERM);
    }
    let stderr = server.program.exits_with(0);
    let clients = clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect();
    Run { clients, told: Told::read(&stderr) }
}

fn root() -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("small"), noise(SMALL)).expect("space");
    fs::write(root.path().join("big"), noise(BIG)).expect("space");
    root
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was seen is of use to whoever reads the test's output")]
fn fault_57_sigterm_at_two_hundred_points_loses_nothing_that_the_report_does_not_name() {
    let points = std::env::var("DRYWIRE_POINTS").ok().map_or(0..POINTS, |text| {
        let (from, to) = text.split_once("..").expect("FROM..TO");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    let is_whole = points == (0..POINTS);
    let root = root();
    let next = AtomicUsize::new(points.start);
    let sum = Mutex::new(Verdict::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= points.end {
                        return;
                    }
                    let point = Point::number(n);
                    let run = run(&point, &root, &Manner::ALL);
                    match judge(&run.clients, &run.told) {
                        Ok(verdict) => sum.lock().expect("nobody panics with it").add(&verdict),
                        Err(why) => {
                            panic!(
                                "{why}\nrepeat it with DRYWIRE_POINTS={n}..{}: {point:?}\n{}",
                                n + 1,
                                run.told.stderr
                            )
                        }
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().expect("nobody panicked with it");
    println!("{points:?}: {sum:?}");
    if is_whole {
        // It would prove nothing if all were cut, or none.
        assert!(sum.whole > POINTS && sum.named > POINTS / 4 && sum.torn > 0, "{sum:?}");
    }
}

on_every_driver!(control_report_that_hides_a_cut_connection_or_a_byte_is_found_out);

/// The words of a real server, with one thing taken away or changed.
fn control_report_that_hides_a_cut_connection_or_a_byte_is_found_out(driver: &'static str) {
    let point = Point {
        driver,
        service: "dialog",
        workers: "2",
        drain_timeout: "5ms",
        signal_after: Duration::from_millis(60),
        second_after: None,
    };
    let run = run(&point, &root(), &[Manner::Deaf, Manner::Asking]);
    let verdict = judge(&run.clients, &run.told).expect("the server is honest");
    assert!(verdict.torn > 0, "the deaf client has not all of it: {verdict:?}");

    let silent = Told { named: Vec::new(), ..run.told.clone() };
    assert!(judge(&run.clients, &silent).expect_err("nobody is named").contains("not named"));

    let mut forgetful = run.told.clone();
    forgetful.closed.pop();
    assert!(judge(&run.clients, &forgetful).expect_err("an end is missing").contains("no close line"));

    let mut modest = run.told.clone();
    modest.closed.iter_mut().for_each(|closed| closed.sent = 1);
    assert!(judge(&run.clients, &modest).expect_err("too few bytes").contains("only 1 bytes"));
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below n")
    }
}
