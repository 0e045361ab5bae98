//! `drywire serve`: one protocol on one address, until a signal.

use crate::args::{Protocol, Serve};
use crate::record::{Recorder, ShelfError};
use crate::run::{self, Service};
use crate::{say, signals};
use drywire_core::record::Record;
use drywire_core::{Connection, Limits};
use drywire_protocols::{ByteEcho, Dialog, LineEcho};
use drywire_server::{
    Address, AddressError, Application, Config, DrainReport, Id, Interest, Net, Notice, SourceEvent, Worker,
};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum ServeError {
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("cannot serve files from {}: {source}; name a directory that exists with --root", .path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error("cannot print the address: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Record(#[from] ShelfError),
    #[error("the listening socket failed: {0}")]
    Listener(String),
    #[error("{0}")]
    System(#[from] io::Error),
}

pub(crate) fn run(args: &Serve) -> Result<(), ServeError> {
    match args.protocol {
        Protocol::ByteEcho => serve(args, None, || ByteEcho, "anything"),
        Protocol::LineEcho => serve(args, None, || LineEcho, "a line, and  quit  at the end"),
        Protocol::Dialog => {
            let root = open_root(args.root.as_deref().unwrap_or(Path::new(".")))?;
            say(format_args!("serving the files below {}", root.display()));
            let request = first_request(&root);
            serve(args, Some(root), Dialog::new, &request)
        }
    }
}

/// `try_it`: what to type first.
fn serve<P, F>(args: &Serve, root: Option<PathBuf>, protocol: F, try_it: &str) -> Result<(), ServeError>
where
    P: Recorded,
    F: FnMut() -> P,
{
    let recorder = Recorder::new(args, root.as_deref())?;
    let config = Config { root, drain_timeout: args.drain_timeout, ..Config::default() };
    let mut server = Server::new(args, protocol, try_it, recorder);
    let result = run::run(args.driver, config, &mut server);
    server.finish(result)
}

/// What a protocol has to be so that it can be served, and recorded.
trait Recorded: drywire_core::Protocol<Event: fmt::Debug, Command: Record, Error: fmt::Display + fmt::Debug> {}

impl<P: drywire_core::Protocol<Event: fmt::Debug, Command: Record, Error: fmt::Display + fmt::Debug>> Recorded for P {}

struct Server<'a, F> {
    protocol: F,
    listen: &'a Address,
    try_it: &'a str,
    limits: Limits,
    drain_timeout: Duration,
    recorder: Recorder,
    stop: Stop,
    /// What became of the connections, once it has stopped.
    drained: Option<DrainReport>,
}

impl<'a, F> Server<'a, F> {
    fn new<P: Recorded>(args: &'a Serve, protocol: F, try_it: &'a str, recorder: Recorder) -> Server<'a, F>
    where
        F: FnMut() -> P,
    {
        // A peer that takes nothing is one on which nothing moves, whatever it is owed.
        let stall_ms = match args.idle_timeout {
            0 => P::LIMITS.stall_ms,
            idle_ms => idle_ms.min(P::LIMITS.stall_ms),
        };
        let limits = Limits { idle_ms: args.idle_timeout, stall_ms, ..P::LIMITS };
        Server {
            protocol,
            listen: &args.listen,
            try_it,
            limits,
            drain_timeout: args.drain_timeout,
            recorder,
            stop: Stop::No,
            drained: None,
        }
    }

    /// The driver has gone, and all connections with it.
    fn finish(self, result: Result<(), ServeError>) -> Result<(), ServeError> {
        self.recorder.finish();
        result?;
        if let Some(report) = &self.drained {
            print_cut(report);
        }
        match self.stop {
            Stop::Failed(error) => Err(ServeError::Listener(error)),
            Stop::No | Stop::Asked => Ok(()),
        }
    }
}

enum Stop {
    No,
    Asked,
    /// There is nothing left to listen on.
    Failed(String),
}

impl<N, P, F> Service<N, P> for Server<'_, F>
where
    N: Net,
    P: Recorded,
    F: FnMut() -> P,
{
    type Error = ServeError;

    /// Catches signals, listens, and says where.
    fn start(&mut self, worker: &mut Worker<P, (), N>) -> Result<(), ServeError> {
        // Before the address is printed: whoever reads it may send a signal next.
        worker.register(signals::catch()?, Interest::READABLE, None)?;
        let listener = worker.listen(self.listen)?;
        let address = worker.local_address(listener).expect("it listens");
        print_address(&address).map_err(ServeError::Output)?;
        say(format_args!("try it:  {} connect {address}   then type  {}", program(), self.try_it));
        Ok(())
    }
}

impl<N, P, F> Application<N, P> for Server<'_, F>
where
    N: Net,
    P: Recorded,
    F: FnMut() -> P,
{
    fn accept(&mut self, _: &mut Worker<P, (), N>, _: Id, peer: &Address) -> Option<Connection<P>> {
        let connection = Connection::new((self.protocol)()).with_limits(self.limits);
        Some(self.recorder.record(connection, peer))
    }

    fn stopped(&mut self, worker: &mut Worker<P, (), N>) {
        self.drained = worker.drain_report().cloned();
    }

    /// The first signal drains, the second ends the drain (FAULTS 57).
    fn source(&mut self, worker: &mut Worker<P, (), N>, id: Id, _: SourceEvent) {
        let signals = worker.source(id).map_or(0, signals::take);
        for _ in 0..signals {
            worker.shutdown();
        }
        if signals == 0 || !matches!(self.stop, Stop::No) {
            return;
        }
        self.stop = Stop::Asked;
        if signals == 1 && !worker.is_empty() && !self.drain_timeout.is_zero() {
            let open = connections(worker.len());
            let within = match self.drain_timeout {
                Duration::MAX => String::new(),
                timeout => format!(" within {}", humantime::format_duration(timeout)),
            };
            say(format_args!("stopping; {open} may finish{within}, a second signal stops now"));
        }
    }

    fn notice(&mut self, worker: &mut Worker<P, (), N>, notice: Notice<'_>) {
        if let Notice::ListenerFailed { error, .. } = notice {
            self.stop = Stop::Failed(error.to_string());
            worker.shutdown();
        }
    }
}

/// Names who did not finish (FAULTS 57): everybody else has been sent all that is theirs.
fn print_cut(report: &DrainReport) {
    for cut in &report.cut {
        say(format_args!("not finished: {cut}"));
    }
    if report.unnamed > 0 {
        say(format_args!("not finished: {} more", connections(usize::try_from(report.unnamed).unwrap_or(usize::MAX))));
    }
    match usize::try_from(report.cut_in_all()).unwrap_or(usize::MAX) {
        0 => {}
        unfinished => say(format_args!("stopped; {} did not finish", connections(unfinished))),
    }
}

fn connections(n: usize) -> String {
    format!("{n} connection{}", if n == 1 { "" } else { "s" })
}

/// The only line on standard output. Whoever closed that does not want to know.
fn print_address(address: &Address) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{address}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// As it was called, so that what we say to type works.
fn program() -> String {
    std::env::args_os().next().map_or_else(|| "drywire".into(), |name| name.to_string_lossy().into_owned())
}

fn open_root(path: &Path) -> Result<PathBuf, ServeError> {
    path.canonicalize()
        .and_then(|root| match root.is_dir() {
            true => Ok(root),
            false => Err(io::ErrorKind::NotADirectory.into()),
        })
        .map_err(|source| ServeError::Root { path: path.into(), source })
}

/// A request that this directory can answer.
fn first_request(root: &Path) -> String {
    let names = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .take(1000)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let plain = |name: &String| !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_graphic());
    match names.filter_map(|entry| entry.file_name().into_string().ok()).filter(plain).min() {
        Some(name) => format!("GET {name}"),
        None => "NOOP".into(),
    }
}
