//! A program with a loop of its own runs a server beside its other work (rows A2,
//! A3). The loop knows two things of the driver: a descriptor that is readable when
//! something happened, and when to come by anyway.
//!
//! ```text
//! cargo run -p drywire-examples --bin own_loop
//! ```
//!
//! Type `count` to hear how many are connected, and `stop` to end. A report comes
//! every second, or every so many milliseconds as the first argument says. (The
//! descriptor is epoll's; a driver whose mio was built for poll(2) has none.)

use drywire_driver_mio::{Accept, Config, Driver};
use drywire_protocols::LineEcho;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Write};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let every = Duration::from_millis(std::env::args().nth(1).map_or(Ok(1000), |ms| ms.parse())?);
    let mut driver: Driver<LineEcho> = Driver::new(Config::default())?;
    let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
    let mut application = Accept(|| LineEcho);

    let mut out = io::stdout().lock();
    let stdin = io::stdin();
    writeln!(out, "listening on {}", driver.local_address(listener).expect("just made"))?;
    let mut typed = Typed { bytes: Vec::new(), ended: false };
    let mut next_report = Instant::now() + every;
    let mut reports = 0;

    while !driver.is_done() {
        // Whoever is due first ends the wait.
        let ours = next_report.saturating_duration_since(Instant::now());
        let timeout = driver.next_timeout().map_or(ours, |theirs| theirs.min(ours));
        let timeout = Timespec { tv_sec: timeout.as_secs().try_into()?, tv_nsec: timeout.subsec_nanos().into() };
        let mut fds = [PollFd::new(&driver, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        // An input that has ended is readable for ever.
        let watched = if typed.ended { 1 } else { 2 };
        match poll(&mut fds[..watched], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_typing = !fds[1].revents().is_empty();

        // Whether the descriptor was readable does not matter: a deadline has none, and
        // a round without news is cheap.
        driver.wait(Some(Duration::ZERO))?;
        driver.dispatch(&mut application);

        if is_typing {
            typed.read(&stdin)?;
        }
        while let Some(line) = typed.next_line() {
            match &line[..] {
                b"count" => writeln!(out, "{} connected", driver.len())?,
                b"stop" => driver.shutdown(),
                other => writeln!(out, "count or stop, not {}", other.escape_ascii())?,
            }
        }
        if Instant::now() >= next_report {
            next_report += every;
            reports += 1;
            writeln!(out, "report {reports}: {} connected", driver.len())?;
        }
    }
    writeln!(out, "stopped")?;
    Ok(())
}

/// Lines from standard input, as they come. Not `BufRead`: it would keep bytes where
/// poll(2) does not see them.
struct Typed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Typed {
    /// Takes what is there; does not wait, for poll(2) said that there is something.
    fn read(&mut self, stdin: &io::Stdin) -> io::Result<()> {
        let mut slot = [0; 1024];
        let n = rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut slot))?;
        self.bytes.extend_from_slice(&slot[..n]);
        self.ended = n == 0;
        Ok(())
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}
