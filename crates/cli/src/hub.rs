//! `drywire hub`: messages to a hub and back, for scripts.
//!
//! One connection on any driver; what comes is printed here, where it comes. What there is to
//! send is read in `messages`, and handed over by a thread of its own in `feeder`, because
//! reading may wait.

mod feeder;
mod messages;

use crate::args::Hub as Args;
use crate::run::{self, Service};
use crate::say;
use drywire_core::{CloseReport, Connection, Limit, Limits, Reason};
use drywire_driver_mio::{ConnectError as NotConnected, Target};
use drywire_protocols::{BadMessage, Hub, HubEvent};
use drywire_server::{Application, Config, Id, Net, Notice, Worker};
use feeder::{Feeder, Input, Shared, WINDOW_BYTES};
use messages::InputError;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum HubError {
    #[error("{0}")]
    NotConnected(#[from] NotConnected),
    #[error("{0}")]
    Input(#[from] InputError),
    #[error("the connection to {target} broke: {reason}; what was received may be incomplete")]
    Broken { target: Target, reason: Reason<BadMessage> },
    #[error("{target} ended {bytes} bytes into a message; what came before is whole, see there why it broke off")]
    Cut { target: Target, bytes: usize },
    #[error(
        "{target} announced a message longer than {longest} bytes; check that it is a hub, or allow more with --longest"
    )]
    TooLong { target: Target, longest: usize },
    #[error("{target} ended before all was sent; see there why")]
    EndedEarly { target: Target },
    #[error("{target} ended after {came} of {expected} messages; see there why, or expect fewer")]
    TooFew { target: Target, came: u64, expected: u64 },
    #[error("gave up on {target}: nothing moved for {}", humantime::format_duration(*.timeout))]
    Idle { target: Target, timeout: Duration },
    #[error("standard output failed: {0}")]
    Output(io::Error),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Messages that may wait to be handled. A bound of the worker's, which has to have one.
const WAITING: u32 = 1024;

/// What one of them weighs beside its bytes, at most.
const COMMAND_BYTES: u32 = 1024;

/// For what a connection and its worker may hold beside the longest messages.
const MEMORY_BYTES: usize = 1 << 30;

/// Both directions of a connection may hold several of the longest, in buffers that are
/// powers of two.
const LONGEST_IN_MEMORY: usize = 16;

/// The server has ended; how long there may be nothing to read before there is taken to be
/// nothing more.
const QUIET: Duration = Duration::from_millis(300);

/// Whoever expects a number of messages closes behind them, and waits so long for the server's
/// own end, which tells that it has received all.
const LINGER_MS: u32 = 1000;

/// Of standard output, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The names of timers.
const FLUSH: &str = "flush";
const QUIET_INPUT: &str = "quiet input";

/// Connects, and returns when all is said on both sides.
pub(crate) fn run(args: &Args) -> Result<(), HubError> {
    messages::check(&args.files, args.longest)?;
    let config = Config {
        commands_per_connection: WAITING,
        command_bytes_per_connection: args.longest.max(WINDOW_BYTES).saturating_add(COMMAND_BYTES * WAITING),
        memory_bytes: (args.longest as usize).saturating_mul(LONGEST_IN_MEMORY).saturating_add(MEMORY_BYTES),
        ..Config::default()
    };
    let mut client = Client::new(args)?;
    run::run(args.driver, config, &mut client)?;
    client.result.expect("a driver returns when its only connection was reported")
}

struct Client<'a> {
    args: &'a Args,
    shared: Arc<Shared>,
    /// Once it stands.
    server: Option<Id>,
    out: BufWriter<File>,
    /// A timer is set for it.
    is_flush_due: bool,
    came: u64,
    /// The first word stands.
    result: Option<Result<(), HubError>>,
}

impl<'a> Client<'a> {
    fn new(args: &'a Args) -> io::Result<Client<'a>> {
        // Not `Stdout`, which writes line by line.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Client {
            args,
            shared: Shared::new(args.expect == Some(0)),
            server: None,
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            is_flush_due: false,
            came: 0,
            result: None,
        })
    }

    fn target(&self) -> Target {
        self.args.target.clone()
    }

    fn on_message<N: Net>(&mut self, worker: &mut Worker<Hub, (), N>, id: Id, message: &[u8]) {
        if self.args.expect.is_some_and(|expected| self.came >= expected) {
            return; // what nobody waits for is not printed, however late the input ends
        }
        self.came += 1;
        if let Err(error) = self.print(message) {
            self.on_output_failed(error);
            return worker.abort(id);
        }
        if !mem::replace(&mut self.is_flush_due, true) {
            // In this round or the next: together with all that came in this turn.
            worker.set_timer(FLUSH, Duration::ZERO);
        }
        if self.args.expect == Some(self.came) {
            let mut told = self.shared.lock();
            told.have_all_come = true;
            if matches!(told.input, Input::Sent) {
                worker.close(id);
            }
        }
    }

    fn print(&mut self, message: &[u8]) -> io::Result<()> {
        if self.args.lengths {
            writeln!(self.out, "{}", message.len())?;
        }
        self.out.write_all(message)?;
        if self.args.lengths || self.args.raw { Ok(()) } else { self.out.write_all(b"\n") }
    }

    /// The first end counts: what fails after it is of no interest.
    fn on_output_failed(&mut self, error: io::Error) {
        // What is in the buffer would fail again.
        self.is_flush_due = false;
        // The reader of our output may have seen enough, as `head` has.
        let is_quiet = error.kind() == io::ErrorKind::BrokenPipe;
        self.result.get_or_insert(if is_quiet { Ok(()) } else { Err(HubError::Output(error)) });
    }

    /// The server ends first. What was handed over still goes to it.
    fn on_end<N: Net>(&mut self, worker: &mut Worker<Hub, (), N>, id: Id) {
        let mut told = self.shared.lock();
        told.is_server_done = true;
        match self.args.expect {
            Some(expected) if self.came < expected => {
                let error = HubError::TooFew { target: self.args.target.clone(), came: self.came, expected };
                self.result.get_or_insert(Err(error));
                worker.close(id);
            }
            _ => match told.input {
                // The connection closes by itself.
                Input::Sent => {}
                Input::Reading | Input::Sending | Input::Unwanted | Input::Failed(_) => {
                    worker.set_timer(QUIET_INPUT, QUIET);
                }
            },
        }
    }

    fn verdict(&self, reason: Reason<BadMessage>) -> Result<(), HubError> {
        let mut told = self.shared.lock();
        let target = self.target();
        match mem::take(&mut told.input) {
            Input::Failed(error) => return Err(error.into()),
            Input::Sent if told.have_all_come => return Ok(()),
            // It is of no interest then how the connection ended: there was more to say.
            Input::Sending | Input::Unwanted if told.is_server_done => return Err(HubError::EndedEarly { target }),
            Input::Reading | Input::Sending | Input::Sent | Input::Unwanted => {}
        }
        match reason {
            Reason::Finished | Reason::Requested => Ok(()),
            Reason::Peer(BadMessage::Truncated(bytes)) => Err(HubError::Cut { target, bytes }),
            Reason::Limit(Limit::Frame(longest)) => Err(HubError::TooLong { target, longest }),
            Reason::Limit(Limit::Idle(_)) | Reason::Stalled => {
                Err(HubError::Idle { target, timeout: Duration::from_millis(self.args.idle_timeout.into()) })
            }
            // It did not want what we were still sending.
            Reason::Transport(_) if told.is_server_done => Err(HubError::EndedEarly { target }),
            reason @ (Reason::Transport(_)
            | Reason::Limit(_)
            | Reason::Misuse(_)
            | Reason::File(_)
            | Reason::Layer(_)
            | Reason::Aborted
            | Reason::Panicked
            | Reason::Shed) => Err(HubError::Broken { target, reason }),
        }
    }
}

impl<N: Net> Service<N, Hub> for Client<'_> {
    type Error = HubError;

    fn start(&mut self, worker: &mut Worker<Hub, (), N>) -> Result<(), HubError> {
        let idle_ms = self.args.idle_timeout;
        let limits = Limits { idle_ms, stall_ms: idle_ms, linger_ms: LINGER_MS, ..Hub::limits(self.args.longest) };
        let connection = Connection::new(Hub::with_longest(self.args.longest)).with_limits(limits);
        worker.connect(self.target().within(self.args.connect_timeout), connection)?;
        Ok(())
    }
}

impl<N: Net> Application<N, Hub> for Client<'_> {
    /// Nothing is read before it stands: it may be meant for the next try.
    fn opened(&mut self, worker: &mut Worker<Hub, (), N>, id: Id) {
        self.server = Some(id);
        if self.args.files.is_empty() && io::stdin().is_terminal() {
            say(format_args!("connected to {}; each line is a message, end with Ctrl-D", self.args.target));
        }
        let Some(to) = worker.handle(id) else { return };
        let (files, longest) = (self.args.files.clone(), self.args.longest);
        let feeder = Feeder::new(to, self.shared.clone(), self.args.expect.is_none());
        // Nobody waits for it: the process may end while it reads.
        if let Err(error) = thread::Builder::new().name("input".into()).spawn(move || feeder.run(files, longest)) {
            self.result.get_or_insert(Err(error.into()));
            worker.abort(id);
        }
    }

    fn event(&mut self, worker: &mut Worker<Hub, (), N>, id: Id, event: HubEvent) {
        match event {
            HubEvent::Message(message) => self.on_message(worker, id, &message),
            HubEvent::End => self.on_end(worker, id),
        }
    }

    fn timer(&mut self, worker: &mut Worker<Hub, (), N>, name: &'static str) {
        let Some(server) = self.server else { return };
        match name {
            FLUSH if mem::take(&mut self.is_flush_due) => {
                if let Err(error) = self.out.flush() {
                    self.on_output_failed(error);
                    worker.abort(server);
                }
            }
            QUIET_INPUT => {
                // Bound: the thread ends with the next message it reads.
                if matches!(self.shared.lock().input, Input::Reading) {
                    worker.close(server);
                } else {
                    worker.set_timer(QUIET_INPUT, QUIET);
                }
            }
            _ => {}
        }
    }

    fn notice(&mut self, _: &mut Worker<Hub, (), N>, notice: Notice<'_>) {
        if let Notice::ConnectFailed { error, .. } = notice {
            self.result.get_or_insert(Err(error.clone().into()));
        }
    }

    fn closed(&mut self, worker: &mut Worker<Hub, (), N>, _: Id, report: CloseReport<BadMessage>) {
        worker.cancel_timer(FLUSH);
        worker.cancel_timer(QUIET_INPUT);
        if mem::take(&mut self.is_flush_due)
            && let Err(error) = self.out.flush()
        {
            self.on_output_failed(error);
        }
        if self.result.is_none() {
            self.result = Some(self.verdict(report.reason));
        }
    }
}
