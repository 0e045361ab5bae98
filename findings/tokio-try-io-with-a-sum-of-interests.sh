#!/usr/bin/env bash
# tokio-try-io-with-a-sum-of-interests
#
# guess:    try_io(READABLE | WRITABLE, f) runs f as soon as one of the two is
#           ready, as ready(READABLE | WRITABLE) does; or else, as its page
#           warns, it panics or sleeps.
# truth:    Neither. With a sum of different interests it always returns
#           WouldBlock at once without calling f, and no cached readiness is
#           cleared. So `loop { s.ready(sum).await; s.try_io(sum, f) }` spins:
#           ready() reports ready every time. This holds for all 11 sums of
#           READABLE, WRITABLE, PRIORITY and ERROR; each alone works, and so
#           does READABLE | READABLE. async_io(sum, f) does call f.
# version:  tokio 1.54.1 (a known limit: tokio issue 5214, of 2022)
# source:   tokio docs, TcpStream::try_io ("combined interests"); src/io/interest.rs
#           Interest::mask(), which compares with the four single values and
#           gives Ready::EMPTY for the rest; src/runtime/io/registration.rs
#           Registration::try_io(); src/runtime/io/scheduled_io.rs ready_event()
#           uses mask(), Readiness::poll() uses Ready::intersection() (bit by bit,
#           src/io/ready.rs from_interest())
# date:     2026-11-29
# matters:  A server that waits for "either direction" and hands the same sum to
#           try_io burns a core for each such connection and moves no byte; call
#           try_io with one interest at a time, for each that ready() reported.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"

cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "sum"
version = "0.0.0"
edition = "2021"

[dependencies]
tokio = { version = "=1.54.1", features = ["net", "rt", "time"] }
socket2 = "=0.6.5"

[profile.dev]
debug = false

[workspace]
TOML

cat > "$dir/src/main.rs" <<'RS'
use std::io::{ErrorKind, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use tokio::io::{unix::AsyncFd, Interest};

const SINGLE: [(&str, Interest); 4] = [
    ("READABLE", Interest::READABLE),
    ("WRITABLE", Interest::WRITABLE),
    ("PRIORITY", Interest::PRIORITY),
    ("ERROR", Interest::ERROR),
];
const ROUNDS: u32 = 1000;

/// Compares what was seen with what is expected and remembers differences.
struct Report(bool);

impl Report {
    fn line(&mut self, what: &str, seen: &str, expected: &str) {
        println!("{what}: {seen}");
        if seen != expected {
            self.0 = true;
            println!("  different: expected {expected}");
        }
    }
}

/// What `try_io` did, given a function that hands it a closure.
fn tried(try_io: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>) -> String {
    let mut calls = 0;
    let result = try_io(&mut || {
        calls += 1;
        Ok(())
    });
    let result = match result {
        Ok(()) => "Ok".to_string(),
        Err(e) if e.kind() == ErrorKind::WouldBlock => "WouldBlock".to_string(),
        Err(e) => e.to_string(),
    };
    format!("{result}, calls of f: {calls}")
}

const RAN: &str = "Ok, calls of f: 1";
const NOT_RUN: &str = "WouldBlock, calls of f: 0";

/// Every sum of one or more of the first `n` interests: (name, terms, sum).
fn sums(n: usize) -> Vec<(String, u32, Interest)> {
    let mut all: Vec<_> = (1u32..1 << n)
        .map(|bits| {
            let of = || (0..n).filter(move |i| bits >> i & 1 == 1).map(|i| SINGLE[i]);
            let name = of().map(|(name, _)| name).collect::<Vec<_>>().join(" | ");
            let sum = of().map(|(_, i)| i).reduce(|a, b| a.add(b)).unwrap();
            (name, bits.count_ones(), sum)
        })
        .collect();
    all.sort_by_key(|(_, terms, _)| *terms);
    all
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    server.set_nonblocking(true)?;
    Ok((client, server))
}

/// Tries every sum of the first `n` interests, after each one alone became ready.
async fn every_sum(report: &mut Report, server: TcpStream, n: usize) -> Result<()> {
    let all = sums(n).pop().unwrap().2;
    // SAFETY: the stream owns its descriptor, and it is not replaced.
    let fd = unsafe { AsyncFd::register_with_interest(server, all) }?;
    for (_, interest) in &SINGLE[..n] {
        fd.ready(*interest).await?.retain_ready();
    }
    for (name, terms, sum) in sums(n) {
        let seen = tried(|f| fd.try_io(sum, |_| f()));
        report.line(&format!("  {name}"), &seen, if terms == 1 { RAN } else { NOT_RUN });
    }
    Ok(())
}

async fn run(report: &mut Report) -> Result<()> {
    let either = Interest::READABLE.add(Interest::WRITABLE);

    println!("TcpStream with bytes to read and room to write:");
    let (mut client, server) = pair()?;
    client.write_all(b"hello")?;
    let stream = tokio::net::TcpStream::from_std(server)?;
    stream.readable().await?;
    stream.writable().await?;
    for (name, interest, expected) in [
        ("READABLE", Interest::READABLE, RAN),
        ("WRITABLE", Interest::WRITABLE, RAN),
        ("READABLE | READABLE", Interest::READABLE.add(Interest::READABLE), RAN),
        ("READABLE | WRITABLE", either, NOT_RUN),
    ] {
        let seen = tried(|f| stream.try_io(interest, f));
        report.line(&format!("  {name}"), &seen, expected);
    }
    let (mut ready, mut calls, mut would_block) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let now = stream.ready(either).await?;
        ready += u32::from(now.is_readable() && now.is_writable());
        let result = stream.try_io(either, || {
            calls += 1;
            Ok(())
        });
        would_block += u32::from(result.is_err_and(|e| e.kind() == ErrorKind::WouldBlock));
    }
    report.line(
        &format!("  {ROUNDS} rounds of ready(sum), try_io(sum)"),
        &format!("ready {ready}, WouldBlock {would_block}, calls of f: {calls}"),
        &format!("ready {ROUNDS}, WouldBlock {ROUNDS}, calls of f: 0"),
    );
    let mut calls = 0;
    let result = stream.async_io(either, || {
        calls += 1;
        Ok(())
    });
    let result = result.await;
    report.line("  async_io(sum)", &format!("{result:?}, calls of f: {calls}"), "Ok(()), calls of f: 1");

    println!("AsyncFd with urgent data besides:");
    let (mut client, server) = pair()?;
    client.write_all(b"hello")?;
    socket2::SockRef::from(&client).send_out_of_band(b"!")?;
    every_sum(report, server, 3).await?;

    println!("AsyncFd of a connection that the peer has reset (all four are ready):");
    let (client, server) = pair()?;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    drop(client);
    every_sum(report, server, 4).await
}

fn main() -> Result<()> {
    let mut report = Report(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), run(&mut report)).await?
    })?;
    println!("{}", if report.0 { "changed" } else { "unchanged" });
    std::process::exit(report.0.into());
}
RS

cd "$dir"
timeout 900 cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2 | sort
timeout 60 target/debug/sum
