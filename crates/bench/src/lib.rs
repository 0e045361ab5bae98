//! What the benchmarks share: a server to measure, its CPU time, and medians.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The error of every benchmark: a sentence.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A server in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `command`, with `{port}` in it replaced by a free port, and waits until it listens.
    ///
    /// # Errors
    /// When the command cannot be started, or does not listen within 10 s.
    pub fn start(name: &str, command: &str) -> Result<Server> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let command = command.replace("{port}", &port.to_string());
        let mut words = command.split_whitespace();
        let process = Command::new(words.next().ok_or("an empty command")?)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Server { process, address: (Ipv4Addr::LOCALHOST, port).into() };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(server.address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{name}: nothing listens on port {port} after 10 s").into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time of the process's main thread so far, in nanoseconds.
    ///
    /// # Errors
    /// When the system keeps no such figure, or the server has ended.
    pub fn cpu_ns(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.process.id()))?;
        Ok(text.split_whitespace().next().ok_or("the scheduler keeps no books here")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The value in the middle; not a number when there is none.
#[must_use]
pub fn median(values: &[u64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this part of the values lies; not a number when there is none.
#[must_use]
pub fn percentile(values: &[u64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |n| *n as f64)
}
