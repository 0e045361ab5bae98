//! `drywire connect`: the client, interactive and batch (row E9).
//!
//! Two relays on one driver, the server's and that of standard input and output.
//! What one receives the other sends.

use crate::args::Connect;
use crate::relay::{Command, Event, Relay};
use crate::say;
use drywire_core::{CloseReport, Connection, Limit, Limits, Protocol, Reason, TransportError};
use drywire_driver_mio::{
    Address, Application, Config, ConnectError as NotConnected, Descriptor, Driver, Id, Mio, Notice, Quiet, SendError,
    Stream, Target, Worker,
};
use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::time::Duration;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    NotConnected(#[from] NotConnected),
    #[error("the connection to {target} broke: {reason}; what was received may be incomplete")]
    Broken { target: Target, reason: Reason<Infallible> },
    #[error("gave up on {target}: nothing moved for {}", humantime::format_duration(*.timeout))]
    Idle { target: Target, timeout: Duration },
    #[error("standard input or output failed: {0}")]
    Standard(io::Error),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Connects, and returns when the server has closed.
pub(crate) fn run(args: &Connect) -> Result<(), ConnectError> {
    let mut driver = Driver::new(Config::default())?;
    let limits = Limits { idle_ms: args.idle_timeout, stall_ms: args.idle_timeout, ..Relay::LIMITS };
    let target = args.target.clone().within(args.connect_timeout);
    let server = driver.connect(&target, Connection::new(Relay::new()).with_limits(limits))?;
    // Inherited descriptors are shared with the shell and others; see `Descriptor`.
    let standard = Stream::pair(Some(Descriptor::shared(io::stdin())?), Some(Descriptor::shared(io::stdout())?))?;
    let standard = driver.add(standard, Connection::new(Relay::paused()))?;
    let mut client = Client { target, server, standard, state: State::Connecting, input: Input::Open };
    loop {
        driver.wait(None)?;
        driver.dispatch(&mut client);
        if let State::Ended(result) = client.state {
            // Nothing more is said or heard; this is for the reports in the log.
            driver.close(server);
            driver.close(standard);
            for _ in 0..LAST_ROUNDS {
                driver.wait(Some(Duration::ZERO))?;
                driver.dispatch(&mut Quiet);
            }
            return result;
        }
    }
}

/// One for what is asked, one for what comes of it. What is stuck then stays so.
const LAST_ROUNDS: usize = 2;

struct Client {
    target: Target,
    server: Id,
    standard: Id,
    state: State,
    input: Input,
}

/// ```text
///             opened              the server ends, or something breaks
///  Connecting ──────▶ Connected ───────────────────────────────────────▶ Ended
///      └────────────────────── refused ────────────────────────────────────▲
/// ```
enum State {
    /// Nothing is read from standard input yet: it may be meant for the next try.
    Connecting,
    Connected,
    Ended(Result<(), ConnectError>),
}

#[derive(PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

impl Client {
    /// The first end counts: what breaks after it is of no interest.
    fn end(&mut self, result: Result<(), ConnectError>) {
        match self.state {
            State::Connecting | State::Connected => self.state = State::Ended(result),
            State::Ended(_) => {}
        }
    }

    fn why_server_closed(&self, reason: Reason<Infallible>) -> ConnectError {
        let target = self.target.clone();
        if let Reason::Limit(Limit::Idle(ms)) = reason {
            return ConnectError::Idle { target, timeout: Duration::from_millis(ms.into()) };
        }
        ConnectError::Broken { target, reason }
    }
}

impl Application<Mio, Relay> for Client {
    fn accept(&mut self, _: &mut Worker<Relay>, _: Id, _: &Address) -> Option<Connection<Relay>> {
        None // nothing listens
    }

    fn opened(&mut self, driver: &mut Worker<Relay>, id: Id) {
        debug_assert_eq!(id, self.server);
        self.state = State::Connected;
        if io::stdin().is_terminal() {
            say(format_args!("connected to {}; end with Ctrl-D", self.target));
        }
        pass(driver, self.standard, Command::Resume);
    }

    fn event(&mut self, driver: &mut Worker<Relay>, id: Id, event: Event) {
        let from_server = id == self.server;
        let other = if from_server { self.standard } else { self.server };
        match event {
            Event::Received(bytes) => pass(driver, other, Command::Send(bytes)),
            Event::Flushed => pass(driver, other, Command::Resume),
            Event::Ended if from_server => {
                // Reading went on only after the last chunk was printed, so this is all.
                if self.input == Input::Open && io::stdin().is_terminal() {
                    say(format_args!("{} closed the connection", self.target));
                }
                self.end(Ok(()));
            }
            Event::Ended => {
                self.input = Input::Ended;
                pass(driver, other, Command::End);
            }
        }
    }

    fn notice(&mut self, _: &mut Worker<Relay>, notice: Notice<'_>) {
        if let Notice::ConnectFailed { error, .. } = notice {
            self.end(Err(error.clone().into()));
        }
    }

    fn closed(&mut self, _: &mut Worker<Relay>, id: Id, report: CloseReport<Infallible>) {
        if id == self.server {
            let error = self.why_server_closed(report.reason);
            return self.end(Err(error));
        }
        let result = match report.reason {
            // The reader of our output has seen enough, as `head` has.
            Reason::Transport(TransportError::BrokenPipe) => Ok(()),
            Reason::Transport(TransportError::Other(code)) => {
                Err(ConnectError::Standard(io::Error::from_raw_os_error(code)))
            }
            reason @ (Reason::Transport(_)
            | Reason::Finished
            | Reason::Requested
            | Reason::Peer(_)
            | Reason::Limit(_)
            | Reason::Misuse(_)
            | Reason::File(_)
            | Reason::Layer(_)
            | Reason::Stalled
            | Reason::Aborted
            | Reason::Panicked
            | Reason::Shed) => Err(ConnectError::Standard(io::Error::other(reason.to_string()))),
        };
        self.end(result);
    }
}

fn pass(driver: &mut Worker<Relay>, to: Id, command: Command) {
    match driver.send(to, command) {
        Ok(()) => {}
        // Its report is on its way.
        Err(SendError::Closed(_)) => {}
        Err(SendError::Full(_) | SendError::TooLarge(_)) => {
            unreachable!("a chunk, its answer and an end are three commands")
        }
    }
}
