//! `drywire hub`: messages to a hub and back, for scripts.
//!
//! One connection on any driver. A thread reads what there is to send, because reading may
//! wait, and hands it over message by message; what comes is printed where it comes. What
//! a message is read from is in `messages`.

mod messages;

use crate::args::Hub as Args;
use crate::run::{self, Service};
use crate::say;
use bytes::Bytes;
use drywire_core::{CloseReport, Connection, Limit, Limits, Reason};
use drywire_driver_mio::{ConnectError as NotConnected, Target};
use drywire_protocols::{BadMessage, Hub, HubCommand, HubEvent};
use drywire_server::{Application, Config, Handle, Id, Net, Notice, Receipt, SendError, Worker};
use messages::{InputError, Messages};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Bytes of messages that are on their way and not taken by the transport yet; a longer
/// message goes alone.
const WINDOW_BYTES: u32 = 256 * 1024;

/// What a message counts for beside its bytes, which may be none.
const MESSAGE_BYTES: u32 = 64;

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

/// A receipt comes in any case; it may take as long as the server likes.
const A_WHILE: Duration = Duration::from_secs(3600);

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

/// What the thread that reads and the application tell each other.
struct Shared(Mutex<Told>);

#[derive(Default)]
struct Told {
    input: Input,
    /// The server will say nothing more, so it is sent nothing more either.
    is_server_done: bool,
    /// As many messages came as were expected.
    have_all_come: bool,
}

/// ```text
///     a message is read           the last is handed over
///  Reading ◀─────────▶ Sending    ┌──────────▶ Sent
///     │   it is handed over       │ the server has ended before
///     └───────────────┴───────────┼──────────▶ Unwanted
///                                 └──────────▶ Failed
/// ```
#[derive(Default)]
enum Input {
    /// Waits for the next message.
    #[default]
    Reading,
    /// Waits until there is room for one.
    Sending,
    /// Everything is handed over.
    Sent,
    /// There was more, and nobody to take it.
    Unwanted,
    Failed(InputError),
}

impl Shared {
    /// Nothing done under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Client<'a> {
    fn new(args: &'a Args) -> io::Result<Client<'a>> {
        // Not `Stdout`, which writes line by line.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let told = Told { have_all_come: args.expect == Some(0), ..Told::default() };
        Ok(Client {
            args,
            shared: Arc::new(Shared(Mutex::new(told))),
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
        let limits = Limits { idle_ms, stall_ms: idle_ms, ..Hub::limits(self.args.longest) };
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
        let (files, longest, shared) = (self.args.files.clone(), self.args.longest, self.shared.clone());
        let ends = self.args.expect.is_none();
        let read = move || Feeder { to, shared, ends, on_their_way: VecDeque::new(), bytes: 0 }.run(files, longest);
        // Nobody waits for it: the process may end while it reads.
        if let Err(error) = thread::Builder::new().name("input".into()).spawn(read) {
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

/// Reads what there is to send, on a thread of its own, and hands it over.
///
/// Bound: a message that is read, and [`WINDOW_BYTES`] or one message on their way.
struct Feeder {
    to: Handle<HubCommand>,
    shared: Arc<Shared>,
    /// Our direction ends behind the last message.
    ends: bool,
    /// Oldest first, each with what it counts for.
    on_their_way: VecDeque<(Receipt, usize)>,
    bytes: usize,
}

impl Feeder {
    fn run(mut self, files: Vec<PathBuf>, longest: u32) {
        let mut messages = Messages::new(files, longest);
        let input = loop {
            match messages.next() {
                Ok(Some(message)) => {
                    if !self.hand_over(message) {
                        break Input::Unwanted;
                    }
                }
                Ok(None) => break Input::Sent,
                Err(error) => break Input::Failed(error),
            }
        };
        self.finish(input);
    }

    /// False when nobody wants it.
    fn hand_over(&mut self, message: Bytes) -> bool {
        let mut told = self.shared.lock();
        if told.is_server_done {
            return false;
        }
        told.input = Input::Sending;
        drop(told);
        let is_taken = self.send(message.len(), HubCommand::Send(message));
        self.shared.lock().input = Input::Reading;
        is_taken
    }

    /// Waits for room. False when the connection has ended.
    fn send(&mut self, len: usize, mut command: HubCommand) -> bool {
        let bytes = len + MESSAGE_BYTES as usize;
        while self.bytes + bytes > WINDOW_BYTES as usize && self.wait_for_oldest() {}
        loop {
            match self.to.send_tracked(command) {
                Ok(receipt) => {
                    self.on_their_way.push_back((receipt, bytes));
                    self.bytes += bytes;
                    return true;
                }
                Err(SendError::Closed(_)) => return false,
                Err(SendError::Full(refused) | SendError::TooLarge(refused)) => command = refused,
            }
            assert!(self.wait_for_oldest(), "there is room for the longest message when no other is on its way");
        }
    }

    /// Until the transport has taken it, or the connection has ended. False when nothing
    /// is on its way.
    fn wait_for_oldest(&mut self) -> bool {
        let Some((receipt, bytes)) = self.on_their_way.pop_front() else { return false };
        while receipt.wait(A_WHILE).is_none() {}
        self.bytes -= bytes;
        true
    }

    fn finish(mut self, input: Input) {
        let mut told = self.shared.lock();
        let is_sent = matches!(input, Input::Sent);
        told.input = input;
        match (is_sent, self.ends) {
            (true, true) => {
                drop(told);
                self.send(0, HubCommand::End);
            }
            (true, false) if !told.have_all_come => {}
            (true, false) | (false, _) => self.to.close(),
        }
    }
}
