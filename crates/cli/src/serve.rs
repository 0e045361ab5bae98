//! `drywire serve`: one protocol, on as many workers as one likes, until a signal.

use crate::args::{Protocol, Serve};
use crate::budget::{self, TooSmall};
use crate::check::{self, FileError};
use crate::control::{Control, Reload, connections};
use crate::crew::{self, Crew};
use crate::log::say_last;
use crate::record::{Recorder, Recording, ShelfError};
use crate::{path_in_words, say, signals};
use drywire_core::layer::Layer;
use drywire_core::record::Record;
use drywire_core::{Connection, Limits};
use drywire_driver_mio::StartError;
use drywire_protocols::{ByteEcho, Dialog, HubEcho, LineEcho};
use drywire_server::{Address, Application, Config, DrainReport, Id, Net, Notice, Secrets, Worker, Workers};
use drywire_tls::{Identity, Server as TlsServer, TlsError};
use std::fmt;
use std::fs::DirEntry;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use thiserror::Error;

const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 2525);

/// How long standard output may take to take the addresses, before serving begins without.
const PRINT_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub(crate) enum ServeError {
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Config(#[from] FileError),
    #[error("cannot serve files from {}: {source}; name a directory that exists with --root", path_in_words(.path))]
    Root { path: PathBuf, source: io::Error },
    #[error("cannot print the address: {0}")]
    Output(io::Error),
    #[error("{0}")]
    Budget(#[from] TooSmall),
    #[error("{0}")]
    Record(#[from] ShelfError),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error(
        "--starttls needs a certificate: --tls-cert and --tls-key, [tls] in the configuration, or --tls-self-signed"
    )]
    NoCertificate,
    #[error("the listening socket failed: {0}")]
    Listener(String),
    #[error("{0}")]
    System(#[from] io::Error),
}

pub(crate) fn run(args: &Serve) -> Result<(), ServeError> {
    let config = settings(args)?;
    budget::check(args.protocol, &config, args.tls_self_signed || config.tls.cert.is_some())?;
    match args.protocol {
        Protocol::ByteEcho => serve(args, config, || ByteEcho, "anything"),
        Protocol::LineEcho => serve(args, config, || LineEcho, "a line, and  quit  at the end"),
        Protocol::Dialog => {
            let root = config.root.as_deref().expect("the dialog has one");
            say(format_args!("serving the files below {}", path_in_words(root)));
            let request = first_request(root, &config.secrets);
            match args.starttls {
                false => serve(args, config, Dialog::new, &request),
                true => serve_starttls(args, config, &request),
            }
        }
        Protocol::Hub => serve(args, config, HubEcho::new, "eight times Ctrl-@ for an empty message"),
    }
}

/// `try_it`: what to type first.
fn serve<P, F>(args: &Serve, config: Config, protocol: F, try_it: &str) -> Result<(), ServeError>
where
    P: Recorded,
    F: Fn() -> P + Clone + Send + 'static,
{
    let Some((tls, reload)) = tls(args, &config)? else {
        let try_it = TryIt { with: With::Connect, words: try_it };
        return serve_over(args, config, protocol, || (), None, try_it);
    };
    let try_it = TryIt { with: With::OpenSsl, words: try_it };
    // What can be wrong with a server was found when it was made.
    serve_over(args, config, protocol, move || tls.accept().expect("it was set up"), reload, try_it)
}

/// In the open, until the peer asks for TLS.
fn serve_starttls(args: &Serve, config: Config, try_it: &str) -> Result<(), ServeError> {
    let (tls, reload) = tls(args, &config)?.ok_or(ServeError::NoCertificate)?;
    let try_it = TryIt { with: With::Connect, words: try_it };
    serve_over(args, config, Dialog::with_starttls, move || tls.starttls(), reload, try_it)
}

/// Over this layer.
fn serve_over<P, L, F, M>(
    args: &Serve,
    config: Config,
    protocol: F,
    layer: M,
    reload: Option<Reload>,
    try_it: TryIt<'_>,
) -> Result<(), ServeError>
where
    P: Recorded,
    L: Layer + Send + 'static,
    F: Fn() -> P + Clone + Send + 'static,
    M: Fn() -> L + Clone + Send + 'static,
{
    let recorder = Recorder::new(args, config.root.as_deref())?;
    let (drain_timeout, limits, all) = (config.drain_timeout, limits::<P>(args), Arc::default());
    let mut site = Site { protocol, layer, limits, recorder, drain_timeout, reload, all, try_it };
    let result = crew::run(args.driver, config, &mut site);
    site.finish(result)
}

/// What is spoken below the protocol, if anything is, and how it is renewed.
fn tls(args: &Serve, config: &Config) -> Result<Option<(TlsServer, Option<Reload>)>, ServeError> {
    if args.tls_self_signed {
        say(format_args!(
            "TLS with a certificate that was made just now and that nobody vouches for: for development only"
        ));
        let identity = Identity::self_signed(&["localhost", "127.0.0.1", "::1"])?;
        return Ok(Some((TlsServer::new(identity)?, None)));
    }
    let (Some(cert), Some(key)) = (config.tls.cert.clone(), config.tls.key.clone()) else { return Ok(None) };
    // What was read is a secret, though its path may name another file a moment later: seen before and behind it.
    let secrets = config.secrets.clone();
    let read = move || {
        secrets.look();
        let identity = Identity::from_pem_files(&cert, &key);
        secrets.look();
        identity
    };
    let server = TlsServer::new(read()?)?;
    let shown = server.clone();
    let reload = move || shown.reload(read()?);
    Ok(Some((server, Some(Box::new(reload)))))
}

/// What the file says, and what was typed counts instead.
fn settings(args: &Serve) -> Result<Config, ServeError> {
    let mut config = match &args.config {
        Some(file) => check::read(file)?,
        None => Config::new(),
    };
    if !args.listen.is_empty() {
        config.listen.clone_from(&args.listen);
    }
    if config.listen.is_empty() {
        config.listen.push(SocketAddr::from(DEFAULT_ADDRESS).into());
    }
    if let Some(workers) = args.workers {
        config.workers = workers.into();
    }
    if args.tls_cert.is_some() {
        // Replaced, but no less a secret.
        config.tls.key.iter().for_each(|key| config.secrets.add(key));
        (config.tls.cert, config.tls.key) = (args.tls_cert.clone(), args.tls_key.clone());
    }
    if let Some(timeout) = args.drain_timeout {
        config.drain_timeout = timeout;
    }
    if let Some(ms) = args.idle_timeout {
        config.timeouts.idle = Some(Duration::from_millis(ms.into()));
    }
    match args.protocol {
        // They serve no files, whatever the file says.
        Protocol::ByteEcho | Protocol::LineEcho | Protocol::Hub => config.root = None,
        Protocol::Dialog => {
            let root = args.root.clone().or(config.root).unwrap_or_else(|| ".".into());
            config.root = Some(open_root(&root)?);
        }
    }
    for secret in [&args.config, &config.tls.key, &args.record].into_iter().flatten() {
        config.secrets.add(secret);
    }
    Ok(config)
}

fn limits<P: drywire_core::Protocol>(args: &Serve) -> Limits {
    match args.idle_timeout {
        None => P::LIMITS,
        Some(0) => Limits { idle_ms: 0, ..P::LIMITS },
        // A peer that takes nothing is one on which nothing moves, whatever it is owed.
        Some(idle_ms) => Limits { idle_ms, stall_ms: idle_ms.min(P::LIMITS.stall_ms), ..P::LIMITS },
    }
}

/// What a protocol has to be so that it can be served by several workers, and recorded.
trait Recorded:
    drywire_core::Protocol<Event: fmt::Debug + Send, Command: Record + Send, Error: fmt::Display + fmt::Debug + Send>
    + Send
    + 'static
{
}

impl<P> Recorded for P where
    P: drywire_core::Protocol<
            Event: fmt::Debug + Send,
            Command: Record + Send,
            Error: fmt::Display + fmt::Debug + Send,
        > + Send
        + 'static
{
}

/// The server as a whole.
struct Site<'a, F, M, C> {
    protocol: F,
    layer: M,
    limits: Limits,
    recorder: Recorder,
    drain_timeout: Duration,
    reload: Option<Reload>,
    all: Arc<All<C>>,
    try_it: TryIt<'a>,
}

/// How a person can see it work.
struct TryIt<'a> {
    with: With,
    /// What to type first.
    words: &'a str,
}

#[derive(PartialEq, Eq)]
enum With {
    Connect,
    OpenSsl,
}

/// What its workers share.
struct All<C> {
    workers: OnceLock<Workers<C>>,
    /// There is nothing left to listen on: why.
    failed: OnceLock<String>,
}

impl<C> Default for All<C> {
    fn default() -> All<C> {
        All { workers: OnceLock::new(), failed: OnceLock::new() }
    }
}

impl<C> All<C> {
    fn on_failed(&self, error: &io::Error) {
        let _ = self.failed.set(error.to_string());
        self.workers.get().expect("it has started").shutdown();
    }
}

impl<P, L, F, M> Crew<P, L> for Site<'_, F, M, P::Command>
where
    P: Recorded,
    L: Layer + Send + 'static,
    F: Fn() -> P + Clone + Send + 'static,
    M: Fn() -> L + Clone + Send + 'static,
{
    type Application = Server<F, M, P::Command>;
    type Error = ServeError;

    /// Catches signals, and says where it listens.
    fn start<N: Net>(
        &mut self,
        first: &mut Worker<P, L, N>,
        addresses: &[Address],
        workers: Workers<P::Command>,
    ) -> Result<(), ServeError> {
        // Before the addresses are printed: whoever reads them may send a signal next.
        let (commons, reload) = (first.commons().clone(), self.reload.take());
        let control = Control::new(workers.clone(), commons, self.drain_timeout, reload)?;
        signals::hear(move |request| control.on(request))?;
        let _ = self.all.workers.set(workers);
        print_addresses(addresses).map_err(ServeError::Output)?;
        match addresses.first() {
            Some(Address::Tcp(address)) if self.try_it.with == With::OpenSsl => {
                say(format_args!(
                    "try it:  openssl s_client -quiet -connect {address}   then type  {}",
                    self.try_it.words
                ));
            }
            Some(address) => {
                say(format_args!("try it:  {} connect {address}   then type  {}", program(), self.try_it.words));
            }
            None => {}
        }
        Ok(())
    }

    fn application(&mut self) -> Server<F, M, P::Command> {
        Server {
            protocol: self.protocol.clone(),
            layer: self.layer.clone(),
            limits: self.limits,
            recording: self.recorder.recording(),
            all: self.all.clone(),
            drained: None,
        }
    }
}

impl<F, M, C> Site<'_, F, M, C> {
    /// The workers have gone, and all connections with them.
    fn finish(self, result: Result<Vec<Server<F, M, C>>, ServeError>) -> Result<(), ServeError> {
        let drained = result.map(|workers| {
            workers.into_iter().filter_map(|worker| worker.drained).reduce(|mut all, one| {
                all.absorb(one);
                all
            })
        });
        if let Ok(Some(report)) = &drained {
            print_cut(report);
        }
        // Behind the report, which waits for no disk; each worker, gone by now, held an end of it.
        self.recorder.finish();
        drained?;
        match self.all.failed.get() {
            Some(error) => Err(ServeError::Listener(error.clone())),
            None => Ok(()),
        }
    }
}

/// One worker's part of it.
struct Server<F, M, C> {
    protocol: F,
    layer: M,
    limits: Limits,
    recording: Recording,
    all: Arc<All<C>>,
    /// What became of the connections, once it has stopped.
    drained: Option<DrainReport>,
}

impl<N, P, L, F, M> Application<N, P, L> for Server<F, M, P::Command>
where
    N: Net,
    P: Recorded,
    L: Layer,
    F: Fn() -> P,
    M: Fn() -> L,
{
    fn accept(&mut self, _: &mut Worker<P, L, N>, _: Id, peer: &Address) -> Option<Connection<P, L>> {
        let connection = Connection::with_layer((self.protocol)(), (self.layer)()).with_limits(self.limits);
        Some(self.recording.record(connection, peer))
    }

    fn stopped(&mut self, worker: &mut Worker<P, L, N>) {
        self.drained = worker.drain_report().cloned();
    }

    fn notice(&mut self, _: &mut Worker<P, L, N>, notice: Notice<'_>) {
        if let Notice::ListenerFailed { error, .. } = notice {
            self.all.on_failed(error);
        }
    }
}

/// Names who did not finish (FAULTS 57): everybody else has been sent all that is theirs.
fn print_cut(report: &DrainReport) {
    for cut in &report.cut {
        say_last(format_args!("not finished: {cut}"));
    }
    if report.unnamed > 0 {
        say_last(format_args!(
            "not finished: {} more",
            connections(usize::try_from(report.unnamed).unwrap_or(usize::MAX))
        ));
    }
    match usize::try_from(report.cut_in_all()).unwrap_or(usize::MAX) {
        0 => {}
        unfinished => say_last(format_args!("stopped; {} did not finish", connections(unfinished))),
    }
}

/// The only lines on standard output. Whoever closed that does not want to know. A pipe that is full does not keep
/// the server from serving: a thread of its own waits for it.
fn print_addresses(addresses: &[Address]) -> io::Result<()> {
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    let (tell, printed) = sync_channel(1);
    let print = move || {
        let mut out = io::stdout().lock();
        let _ = tell.send(out.write_all(lines.as_bytes()).and_then(|()| out.flush()));
    };
    thread::Builder::new().name("addresses".into()).spawn(print)?;
    match printed.recv_timeout(PRINT_PATIENCE) {
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            say(format_args!("serving, though standard output does not take the addresses"));
            Ok(())
        }
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
fn first_request(root: &Path, secrets: &Secrets) -> String {
    secrets.look();
    let is_public = |entry: &DirEntry| rustix::fs::stat(entry.path()).is_ok_and(|file| !secrets.include(&file));
    let names = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .take(1000)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()) && is_public(entry));
    let plain = |name: &String| !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_graphic());
    match names.filter_map(|entry| entry.file_name().into_string().ok()).filter(plain).min() {
        Some(name) => format!("GET {name}"),
        None => "NOOP".into(),
    }
}
