//! One of the servers, in its own process: the dialog on one driver, and a report
//! at the end.

use super::DemoError;
use crate::args::Driver;
use crate::run::{self, Service};
use drywire_core::{CloseReport, Connection};
use drywire_protocols::{BadCommand, Dialog};
use drywire_server::{Address, Application, Config, Id, Interest, Net, SourceEvent, Worker};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// What a server says when it has ended.
pub(super) struct Served {
    /// CPU time of the process, from the first connection on.
    pub(super) cpu: Duration,
    /// Why each connection ended, in the order in which they came.
    pub(super) ends: Vec<String>,
}

impl Served {
    pub(super) fn parse(text: &str) -> Option<Served> {
        let (first, rest) = text.split_once('\n')?;
        let cpu = Duration::from_nanos(first.parse().ok()?);
        Some(Served { cpu, ends: rest.lines().map(str::to_owned).collect() })
    }
}

/// Serves until standard input ends. Says the address first, then what came of it.
pub(crate) fn run(driver: Driver, root: &Path) -> Result<(), DemoError> {
    let mut server = Server::default();
    let config = Config { root: Some(root.into()), ..Config::default() };
    run::run(driver, config, &mut server)?;
    let cpu = cpu_time().saturating_sub(server.idle);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", cpu.as_nanos())?;
    for end in &server.ends {
        writeln!(out, "{}", end.as_deref().unwrap_or("never ended"))?;
    }
    Ok(())
}

#[derive(Default)]
struct Server {
    numbers: HashMap<Id, usize>,
    ends: Vec<Option<String>>,
    /// CPU time that was spent before the first connection.
    idle: Duration,
}

impl<N: Net> Service<N, Dialog> for Server {
    type Error = DemoError;

    fn start(&mut self, worker: &mut Worker<Dialog, (), N>) -> Result<(), DemoError> {
        worker.register(standard_input()?, Interest::READABLE, None)?;
        let listener = worker.listen(&"127.0.0.1:0".parse().expect("an address")).map_err(io::Error::other)?;
        let address = worker.local_address(listener).expect("it listens");
        let mut out = io::stdout().lock();
        writeln!(out, "{address}")?;
        Ok(out.flush()?)
    }
}

impl<N: Net> Application<N, Dialog> for Server {
    fn accept(&mut self, _: &mut Worker<Dialog, (), N>, _: Id, _: &Address) -> Option<Connection<Dialog>> {
        if self.ends.is_empty() {
            self.idle = cpu_time();
        }
        Some(Connection::new(Dialog::new()))
    }

    fn opened(&mut self, _: &mut Worker<Dialog, (), N>, id: Id) {
        self.numbers.insert(id, self.ends.len());
        self.ends.push(None);
    }

    fn closed(&mut self, _: &mut Worker<Dialog, (), N>, id: Id, report: CloseReport<BadCommand>) {
        if let Some(number) = self.numbers.remove(&id) {
            self.ends[number] = Some(report.reason.to_string());
        }
    }

    /// Nothing is ever written to us: this is the end.
    fn source(&mut self, worker: &mut Worker<Dialog, (), N>, _: Id, _: SourceEvent) {
        worker.shutdown();
    }
}

/// Ours alone: the demo made the pipe for us.
fn standard_input() -> io::Result<OwnedFd> {
    let fd = io::stdin().as_fd().try_clone_to_owned()?;
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
}
