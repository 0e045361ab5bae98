//! Server CPU for sending one large file, peer against peer in the same run.
//!
//! ```text
//! files [runs=5] [mib=1024] [dir=DIR] NAME:http|dialog:COMMAND…
//! ```
//!
//! The file is made below DIR, the system's folder for temporary files by default; on
//! a disk in memory the disk is out of the figure. `{port}` and `{dir}` in a command
//! are replaced. Each server is started once; in each run each of them sends the
//! file once, in turn, to a client that discards it inside the kernel. The CPU time is the server process's own, from
//! the scheduler's books, user and system. The first peer is the reference.
//!
//! On one core (`taskset -c 1`) server and client take turns, and the figure does
//! not depend on how the host shares its cores. Where the congestion control paces
//! (BBR), loopback is bimodal: measure in a network namespace (`unshare -n`) with
//! the loopback up and reno chosen.

use drywire_bench::{Result, Server, median};
use rustix::net::{RecvFlags, recv};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

struct Peer {
    name: String,
    request: &'static str,
    server: Server,
    /// Server CPU per run, in nanoseconds.
    cpu: Vec<u64>,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "files: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let default = std::env::temp_dir().join("drywire-files");
    let (mut runs, mut mib, mut dir, mut specs) = (5, 1024, default.to_string_lossy().into_owned(), Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("runs", n)) => runs = n.parse()?,
            Some(("mib", n)) => mib = n.parse()?,
            Some(("dir", path)) => dir = path.to_owned(),
            _ => specs.push(argument),
        }
    }
    let len = mib * 1024 * 1024;
    make_file(&dir, len)?;
    let mut peers = specs.iter().map(|spec| start(spec, &dir)).collect::<Result<Vec<Peer>>>()?;
    for run in 0..runs {
        for peer in &mut peers {
            let before = peer.server.cpu_ns()?;
            fetch(peer, len)?;
            // What the server does after the last byte is part of the price.
            sleep(Duration::from_millis(20));
            peer.cpu.push(peer.server.cpu_ns()? - before);
            write!(io::stderr(), "\rrun {} of {runs}: {:<20}", run + 1, peer.name)?;
        }
    }
    writeln!(io::stderr())?;
    let mut out = io::stdout().lock();
    let reference = median(&peers.first().ok_or("name at least one peer as NAME:http|dialog:COMMAND")?.cpu);
    writeln!(out, "{:<16} {:>14} {:>8}", "peer", "CPU ms/GiB", "ratio")?;
    for peer in &peers {
        let median = median(&peer.cpu);
        let per_gib = median / 1e6 * 1024.0 / mib as f64;
        writeln!(out, "{:<16} {per_gib:>14.1} {:>8.3}", peer.name, median / reference)?;
    }
    Ok(())
}

fn make_file(dir: &str, len: u64) -> Result<()> {
    fs::create_dir_all(dir)?;
    let path = format!("{dir}/big");
    if fs::metadata(&path).is_ok_and(|data| data.len() == len) {
        return Ok(());
    }
    let mut file = fs::File::create(&path)?;
    let block: Vec<u8> = (0..1u32 << 20).map(|i| (i % 251) as u8).collect();
    for _ in 0..len >> 20 {
        file.write_all(&block)?;
    }
    Ok(())
}

fn start(spec: &str, dir: &str) -> Result<Peer> {
    let mut parts = spec.splitn(3, ':');
    let (Some(name), Some(protocol), Some(command)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("`{spec}` is no peer; write NAME:http|dialog:COMMAND").into());
    };
    let request = match protocol {
        "http" => "GET /big HTTP/1.1\r\nHost: bench\r\n\r\n",
        "dialog" => "GET big\n",
        other => return Err(format!("`{other}` is neither http nor dialog").into()),
    };
    let server = Server::start(name, &command.replace("{dir}", dir))?;
    Ok(Peer { name: name.to_owned(), request, server, cpu: Vec::new() })
}

/// Fetches the file once and discards it.
fn fetch(peer: &Peer, len: u64) -> Result<()> {
    let mut stream = TcpStream::connect(peer.server.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(peer.request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.contains("OK") {
        return Err(format!("{}: answered {line:?}", peer.name).into());
    }
    while peer.request.contains("HTTP") && line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut left = len - (reader.buffer().len() as u64).min(len);
    let stream = reader.into_inner();
    let mut slot = vec![0; 1 << 20];
    while left > 0 {
        let want = slot.len().min(usize::try_from(left)?);
        match recv(&stream, &mut slot[..want], RecvFlags::TRUNC)? {
            (_, 0) => return Err(format!("{}: the file ended {left} bytes early", peer.name).into()),
            (_, n) => left -= n as u64,
        }
    }
    Ok(())
}
