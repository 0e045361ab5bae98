//! What a demo sets up and takes down again, however it ends: the directory and the
//! servers' processes. What they serve is in `server`.

use super::DemoError;
use super::server::Served;
use crate::args::Driver;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server that has closed everything ends within this time.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// Clones are the same site. Once it is taken down, nothing is built on it.
#[derive(Clone)]
pub(super) struct Site(Arc<Mutex<Option<Standing>>>);

struct Standing {
    root: TempDir,
    processes: Vec<Arc<Mutex<Child>>>,
}

impl Site {
    pub(super) fn new() -> io::Result<Site> {
        let standing = Standing { root: tempfile::tempdir()?, processes: Vec::new() };
        Ok(Site(Arc::new(Mutex::new(Some(standing)))))
    }

    /// Writes files: never into a directory that is being removed.
    pub(super) fn fill(&self, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        write(standing(&mut lock(&self.0))?.root.path())
    }

    /// A server for the files that are there.
    pub(super) fn start(&self, driver: Driver) -> Result<Server, DemoError> {
        let start = || {
            let mut site = lock(&self.0);
            let site = standing(&mut site)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["demo", "--serve", &driver.to_string()]).arg(site.root.path());
            // Ctrl-C in a terminal is for us; the servers end when we say so.
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn()?;
            let stdin = child.stdin.take();
            let stdout = BufReader::new(child.stdout.take().expect("asked for a pipe"));
            let process = Arc::new(Mutex::new(child));
            site.processes.push(Arc::clone(&process));
            Ok(Server { driver, process, stdin, stdout })
        };
        start().map_err(|source| DemoError::Start { driver, source })
    }

    /// Leaves nothing behind. Nobody waits for an answer any more, so that servers
    /// that still run are killed: one that hangs ends as well.
    pub(super) fn take_down(&self) {
        let Some(Standing { root, processes }) = lock(&self.0).take() else { return };
        for process in &processes {
            let _ = lock(process).kill();
        }
        for process in &processes {
            let _ = lock(process).wait();
        }
        drop(root);
    }
}

fn standing(site: &mut Option<Standing>) -> io::Result<&mut Standing> {
    site.as_mut().ok_or_else(|| io::Error::other("the demo is over"))
}

/// Also after a panic elsewhere: this is how things are cleared away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that serves on one driver. It ends when its standard input does, so
/// it never outlives us, even if we are killed.
pub(super) struct Server {
    driver: Driver,
    process: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(super) fn address(&mut self) -> Result<SocketAddr, DemoError> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        line.trim_end().parse().map_err(|_| self.blame(line))
    }

    /// Tells it to end, and reads what it has to say.
    pub(super) fn finish(mut self) -> Result<Served, DemoError> {
        drop(self.stdin.take());
        let text = io::read_to_string(&mut self.stdout)?;
        let status = self.status_within(LAST_MOMENTS);
        match Served::parse(&text) {
            Some(served) if status.is_some_and(|status| status.success()) => Ok(served),
            Some(_) | None => Err(self.blame(text)),
        }
    }

    /// What to say when talking to it failed: that may be because it died.
    pub(super) fn failed(&self, source: io::Error) -> DemoError {
        match self.status_within(Duration::from_millis(500)) {
            Some(_) => self.blame(String::new()),
            None => DemoError::Client { driver: self.driver, source },
        }
    }

    /// It closed its standard output, or wrote something strange.
    fn blame(&self, text: String) -> DemoError {
        let driver = self.driver;
        // What says something may live on.
        let patience = if text.is_empty() { LAST_MOMENTS } else { Duration::ZERO };
        match self.status_within(patience) {
            Some(status) if !status.success() => DemoError::Died { driver, status },
            Some(_) | None => DemoError::Server { driver, text },
        }
    }

    /// Asks again and again: who waits holds the lock, and nobody could kill it.
    fn status_within(&self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            let status = lock(&self.process).try_wait().ok().flatten();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}
