//! What a driver has to offer to be tested: one `impl`.

use crate::hands::Hook;
use drywire_core::{CloseReport, Connection, Protocol};
use drywire_server::{Address, Commons, Config, Target};
use std::fmt::{self, Debug, Display};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A driver under test. Implement it, and call [`suite!`](crate::suite).
pub trait Subject: 'static {
    /// What it is called in tables and failures.
    const NAME: &'static str;

    /// What it can do; the rest is listed as not applicable.
    const CAN: &'static [Capability];

    /// How long a check waits for anything before it fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Its peers have to speak TLS to it, as [`wire::Tls`](crate::wire::Tls) does.
    const IS_TLS: bool = false;

    /// A server or client that runs, on threads of its own.
    type Running<P: Testable>: Running;

    /// Listens on `address` (port 0 picks a free one) and serves whoever connects.
    ///
    /// # Errors
    /// The address cannot be listened on. The words name it and say what to do, such
    /// as to take another port or another path (row E10).
    fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<Self::Running<P>>;

    /// Connects to `target`, a name or an address, by its deadline, and runs one
    /// connection, the one [`Scene::accept`] gives, to its end. Only called when
    /// [`Capability::Client`] is declared.
    ///
    /// # Errors
    /// What is known at once. That nobody answers is a reason in the report.
    fn connect<P: Testable>(target: &Target, options: Options, scene: Scene<P>) -> io::Result<Self::Running<P>> {
        let _ = (target, options, scene);
        panic!("{} declares no clients", Self::NAME)
    }
}

/// A driver that runs.
pub trait Running: Send + 'static {
    /// Where it listens; of a client nobody asks.
    fn address(&self) -> Address;

    /// Begins to shut down: nobody new, everybody gets what is owed.
    fn shutdown(&self);

    /// What is counted of its connections. Only asked for when
    /// [`Capability::Admission`] is declared.
    fn commons(&self) -> Option<Commons> {
        None
    }

    /// Waits until it has ended by itself, after a shutdown or when a client's
    /// connection has ended. All its threads are gone then.
    fn join(self);

    /// Ends it now. All its threads, tasks and descriptors are gone when this returns.
    fn stop(self);
}

/// A protocol the suite can run.
pub trait Testable:
    Protocol<Event: Debug + Send, Command: Send, Error: Debug + Display + Send> + Send + 'static
{
}
impl<P: Protocol<Event: Debug + Send, Command: Send, Error: Debug + Display + Send> + Send + 'static> Testable for P {}

/// What a driver may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Serves TCP: bytes and lines come back, in order.
    Echo,
    /// Serves Unix sockets too.
    Unix,
    /// Connects too.
    Client,
    /// Each direction ends by itself.
    HalfClose,
    /// A peer that does not read is not read from.
    Backpressure,
    /// Files beneath a root are streamed.
    Files,
    /// Idle, stall and linger deadlines are kept.
    Deadlines,
    /// Bounds of input and output, and the answer to a peer that breaks them.
    Limits,
    /// A reset ends one connection, with its reason.
    Resets,
    /// Lives through a lack of descriptors.
    Exhaustion,
    /// One busy peer does not starve the others.
    Fairness,
    /// Shuts down gracefully.
    Shutdown,
    /// Commands reach connections from other threads.
    Commands,
    /// Runs an application over a [`Worker`](drywire_server::Worker), with what
    /// [`Staged`](crate::Staged) passes on, and [`Options::tick`].
    Callbacks,
    /// Caps on connections and memory, and a polite refusal.
    Admission,
}

impl Capability {
    /// Everything the suite knows.
    pub const ALL: &'static [Capability] = &[
        Capability::Echo,
        Capability::Unix,
        Capability::Client,
        Capability::HalfClose,
        Capability::Backpressure,
        Capability::Files,
        Capability::Deadlines,
        Capability::Limits,
        Capability::Resets,
        Capability::Exhaustion,
        Capability::Fairness,
        Capability::Shutdown,
        Capability::Commands,
        Capability::Callbacks,
        Capability::Admission,
    ];
}

/// How a driver is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory files are opened beneath.
    pub root: Option<PathBuf>,
    /// How long a shutdown waits.
    pub drain_timeout: Duration,
    /// As in [`Config::max_connections`].
    pub max_connections: usize,
    /// As in [`Config::max_connections_per_address`].
    pub max_connections_per_address: usize,
    /// As in [`Config::memory_bytes`].
    pub memory_bytes: usize,
    /// As in [`Config::refusal`].
    pub refusal: &'static str,
    /// The sockets of TCP connections hold as little as they can: listen on what
    /// [`narrow_listener`](crate::narrow_listener) gives. Bytes come and go in small
    /// pieces then, and what a peer cannot take is held by the driver or not read at
    /// all, which is what several checks measure.
    pub narrow: bool,
    /// How often the application's `tick` is called. Only needed when
    /// [`Capability::Callbacks`] is declared.
    pub tick: Option<Duration>,
}

impl Options {
    /// Nothing special but narrow sockets.
    pub(crate) const NARROW: Options = Options { narrow: true, ..Options::PLAIN };

    const PLAIN: Options = Options {
        root: None,
        drain_timeout: Duration::from_secs(10),
        max_connections: 65_536,
        max_connections_per_address: 65_536,
        memory_bytes: 1 << 30,
        refusal: "",
        narrow: false,
        tick: None,
    };

    /// For drivers that have it from there.
    #[must_use]
    pub fn to_config(&self) -> Config {
        Config {
            root: self.root.clone(),
            drain_timeout: self.drain_timeout,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            memory_bytes: self.memory_bytes,
            refusal: self.refusal.into(),
            tick: self.tick,
            ..Config::default()
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::PLAIN
    }
}

/// What happens during a check: makes connections, and is told what they do.
///
/// Any thread may call it. Connections are numbered in the order of
/// [`Scene::accept`].
pub struct Scene<P: Testable> {
    shared: Arc<Mutex<State<P>>>,
}

struct State<P: Testable> {
    make: Box<dyn FnMut() -> Connection<P> + Send>,
    connections: Vec<Seen<P>>,
    /// Connections that were looked at and dropped; they had the first numbers.
    forgotten: usize,
    /// What the driver said of a connection after its end.
    late: Vec<String>,
    /// What a check does in callbacks; the application has it once it runs.
    hook: Option<Hook<P>>,
}

/// What was seen of one connection.
pub struct Seen<P: Testable> {
    /// Events in order.
    pub events: Vec<P::Event>,
    /// Close reports; a good driver gives one.
    pub reports: Vec<CloseReport<P::Error>>,
    sender: Option<Arc<Sender<P>>>,
}

/// Sends a command to one connection, from any thread and from several at once;
/// gives it back when it is refused.
pub type Sender<P> = Box<dyn Fn(<P as Protocol>::Command) -> Result<(), <P as Protocol>::Command> + Send + Sync>;

impl<P: Testable> Scene<P> {
    /// A scene in which everybody gets a connection of this kind.
    pub fn new(make: impl FnMut() -> Connection<P> + Send + 'static) -> Scene<P> {
        let state = State { make: Box::new(make), connections: Vec::new(), forgotten: 0, late: Vec::new(), hook: None };
        Scene { shared: Arc::new(Mutex::new(state)) }
    }

    /// For a check: what it does in the callbacks of the application that runs next.
    pub(crate) fn set_hook(&self, hook: Hook<P>) {
        self.lock().hook = Some(hook);
    }

    /// For the application: what a check does in its callbacks.
    pub(crate) fn take_hook(&self) -> Option<Hook<P>> {
        self.lock().hook.take()
    }

    /// For the driver: somebody connected, or we are about to. The number is the
    /// connection's name in the calls below.
    pub fn accept(&self) -> (usize, Connection<P>) {
        let mut state = self.lock();
        let connection = (state.make)();
        state.connections.push(Seen { events: Vec::new(), reports: Vec::new(), sender: None });
        (state.forgotten + state.connections.len() - 1, connection)
    }

    /// For the driver: commands for the connection go here. Only needed when
    /// [`Capability::Commands`] is declared.
    pub fn opened(&self, number: usize, sender: Sender<P>) {
        if let Some(seen) = self.lock().open(number, "opened") {
            seen.sender = Some(Arc::new(sender));
        }
    }

    /// For the driver: the protocol said something.
    pub fn event(&self, number: usize, event: P::Event) {
        if let Some(seen) = self.lock().open(number, "an event") {
            seen.events.push(event);
        }
    }

    /// For the driver: the connection has ended.
    pub fn closed(&self, number: usize, report: CloseReport<P::Error>) {
        let mut state = self.lock();
        let first = state.open(number, "another close report").is_some();
        if let Some(seen) = state.at(number) {
            debug_assert_eq!(first, seen.reports.is_empty());
            seen.reports.push(report);
        }
    }

    /// For a check: looks at what was seen so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Seen<P>]) -> T) -> T {
        look(&self.lock().connections)
    }

    /// For a check: sends a command from this thread, outside of the scene's lock.
    ///
    /// # Errors
    /// The command, when the connection or its driver refuses it.
    pub fn send(&self, number: usize, command: P::Command) -> Result<(), P::Command> {
        let sender = {
            let state = self.lock();
            let seen = number.checked_sub(state.forgotten).and_then(|at| state.connections.get(at));
            seen.and_then(|seen| seen.sender.clone())
        };
        match sender {
            Some(sender) => sender(command),
            None => Err(command),
        }
    }

    /// For a check with very many connections: forgets them all, once every one
    /// has ended. False when some have not.
    pub fn forget_ended(&self) -> bool {
        let mut state = self.lock();
        if state.connections.iter().any(|seen| seen.reports.is_empty()) {
            return false;
        }
        state.forgotten += state.connections.len();
        state.connections.clear();
        true
    }

    /// Whether every connection has had exactly one report, and nothing after it
    /// (I4); if not, in which way.
    ///
    /// # Errors
    /// The words.
    pub fn one_report_each(&self) -> Result<(), String> {
        let state = self.lock();
        let silent: Vec<usize> = (state.forgotten..)
            .zip(&state.connections)
            .filter(|(_, seen)| seen.reports.is_empty())
            .map(|(number, _)| number)
            .collect();
        if !silent.is_empty() {
            return Err(format!("I4: connections {silent:?} were accepted, and their ends were never reported"));
        }
        match &state.late[..] {
            [] => Ok(()),
            late => Err(format!("I4: after the one close report came {}", late.join(", "))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Testable> Seen<P> {
    /// Whether the driver has said where its commands go.
    pub(crate) fn is_opened(&self) -> bool {
        self.sender.is_some()
    }
}

impl<P: Testable> State<P> {
    /// The connection, if it has not ended yet; if it has, that is noted.
    fn open(&mut self, number: usize, what: &str) -> Option<&mut Seen<P>> {
        if self.at(number).is_none_or(|seen| !seen.reports.is_empty()) {
            self.late.push(format!("{what} for connection {number}"));
            return None;
        }
        self.at(number)
    }

    fn at(&mut self, number: usize) -> Option<&mut Seen<P>> {
        self.connections.get_mut(number.checked_sub(self.forgotten)?)
    }
}

impl<P: Testable> Clone for Scene<P> {
    fn clone(&self) -> Scene<P> {
        Scene { shared: self.shared.clone() }
    }
}

impl<P: Testable> Debug for Scene<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("connections", &self.lock().connections.len()).finish_non_exhaustive()
    }
}

impl<P: Testable> Debug for Seen<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("events", &self.events).field("reports", &self.reports).finish_non_exhaustive()
    }
}
