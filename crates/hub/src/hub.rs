//! A hub on driver-mio: the operations of the original, and [`Hub::do_io`].

use crate::error::Error;
use crate::input::Input;
use crate::number::Number;
use crate::peer::{Ends, Stage};
use crate::state::{Bounds, State};
use bytes::Bytes;
use drywire_driver_mio::{Address, Config, ConnectError, Descriptor, Driver, Id, Stream, Target};
use drywire_protocols::Hub as Messages;
use drywire_server::Whom;
use std::fmt;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

/// Whether [`Hub::do_io`] waits when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// It does not.
    No,
    /// Until something is done.
    Yes,
    /// The same, for this long at most.
    AtMost(Duration),
}

/// Many message connections under numbers. See the crate's documentation for the original
/// names of what it does.
///
/// Nothing happens between two calls: bytes move in [`Hub::do_io`], and in those calls that say
/// that they wait. Dropped, it drops all connections with what was not sent;
/// [`Hub::shutdown`] sends it first.
pub struct Hub {
    driver: Driver<Messages>,
    state: State,
    listeners: Vec<Id>,
    drain_timeout: Duration,
    is_shut_down: bool,
}

/// How long to wait for room that is somebody else's to free.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(10);

/// Rounds in which nothing moved though somebody was ready: then there is nothing to do.
const IDLE_ROUNDS: usize = 4;

impl Hub {
    /// A hub without connections, with [`Bounds::DEFAULT`].
    ///
    /// # Errors
    /// [`Error::System`]: there is no poller to be had.
    pub fn new() -> Result<Hub, Error> {
        Hub::with(Bounds::DEFAULT, Config::default())
    }

    /// The same with bounds and settings of one's own. Of the settings what is about listening
    /// on start-up, about files and about several workers means nothing here; where a message of
    /// the longest length would not fit the bounds for commands and memory, those are raised.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn with(bounds: Bounds, config: Config) -> Result<Hub, Error> {
        let config = State::configure(&bounds, config);
        let state = State::new(bounds, config.max_connections);
        let drain_timeout = config.drain_timeout;
        Ok(Hub { driver: Driver::new(config)?, state, listeners: Vec::new(), drain_timeout, is_shut_down: false })
    }

    /// Adds a stream that is open already, TCP or Unix.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::System`], [`Error::ShutDown`].
    pub fn add(&mut self, stream: impl Into<Stream>) -> Result<Number, Error> {
        self.check()?;
        self.state.add(&mut self.driver, stream, Ends::Both)
    }

    /// Adds a connection from an input and an output descriptor; one of them may be absent, and
    /// both may be duplicates of one (row H2). Its peer should be at the beginning of a message.
    ///
    /// # Errors
    /// [`Error::NoDescriptor`], and as [`Hub::add`].
    pub fn add_pair(&mut self, input: Option<Descriptor>, output: Option<Descriptor>) -> Result<Number, Error> {
        self.check()?;
        let ends = match (&input, &output) {
            (Some(_), Some(_)) => Ends::Both,
            (Some(_), None) => Ends::Input,
            (None, Some(_)) => Ends::Output,
            (None, None) => return Err(Error::NoDescriptor),
        };
        let stream = Stream::pair(input, output)?;
        self.state.add(&mut self.driver, stream, ends)
    }

    /// Connects to an address, or to a name and a port, of which each address is tried (row H10).
    /// Waits until the connection stands, or its deadline has passed
    /// ([`Target::within`], [`Config::connect_timeout`]); others are served meanwhile.
    ///
    /// # Errors
    /// [`Error::Connect`], with words for a person; [`Error::TooMany`], [`Error::ShutDown`].
    pub fn connect(&mut self, to: impl Into<Target>) -> Result<Number, Error> {
        self.check()?;
        self.state.check_room()?;
        let target = to.into();
        let id = self.driver.connect(&target, self.state.connection(Ends::Both))?;
        let number = self.state.begin(id, Stage::Coming, Ends::Both);
        while self.driver.is_coming(id) {
            self.round(None)?;
        }
        match self.state.id(number) {
            Ok(_) => Ok(number),
            Err(_) => Err(self.state.take_failed().unwrap_or(ConnectError::Gone { target }).into()),
        }
    }

    /// Listens on an address, or on all addresses of a name, which is looked up at once: whoever
    /// connects there is let in by [`Hub::do_io`] (row H4). Port 0 picks a free one, the same for all
    /// addresses. Returns where it listens.
    ///
    /// Several may be listened on; each call adds to those before.
    ///
    /// # Errors
    /// [`Error::Listen`] when no address can be listened on, [`Error::Unresolved`],
    /// [`Error::ShutDown`].
    pub fn listen(&mut self, on: impl Into<Target>) -> Result<Vec<Address>, Error> {
        self.check()?;
        let target = on.into();
        let addresses: Vec<Address> = match target.whom() {
            Whom::Address(address) => vec![address.clone()],
            Whom::Name { host, port } => match (host.as_str(), *port).to_socket_addrs() {
                Ok(addresses) => addresses.map(Address::Tcp).collect(),
                Err(source) => return Err(Error::Unresolved { host: host.clone(), source }),
            },
        };
        let (mut heard, mut failed) = (Vec::new(), None);
        for address in addresses {
            match self.driver.listen(&same_port(address, heard.first())) {
                Ok(listener) => {
                    heard.extend(self.driver.local_address(listener));
                    self.listeners.push(listener);
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            // Such as a name with an address of IPv6, on a machine that has none.
            Some(error) if heard.is_empty() => Err(error.into()),
            Some(_) | None => Ok(heard),
        }
    }

    /// Stops listening; connections stay (row H5).
    ///
    /// # Errors
    /// [`Error::ShutDown`].
    pub fn stop_listening(&mut self) -> Result<(), Error> {
        self.check()?;
        for listener in self.listeners.drain(..) {
            self.driver.stop_listening(listener);
        }
        Ok(())
    }

    /// Waits for one more connection by a socket it listens on (row H7). One that came in
    /// [`Hub::do_io`] and whose [`Input::Opened`] was not taken comes first. Others are served
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::NotListening`], [`Error::TooMany`], [`Error::ShutDown`], [`Error::System`].
    pub fn accept(&mut self) -> Result<Number, Error> {
        self.check()?;
        loop {
            if let Some(number) = self.state.take_opened() {
                return Ok(number);
            }
            // One that failed for good is gone, with a line in the log.
            self.listeners.retain(|listener| self.driver.local_address(*listener).is_some());
            if self.listeners.is_empty() {
                return Err(Error::NotListening);
            }
            self.state.check_room()?;
            self.round(None)?;
        }
    }

    /// Closes a connection behind what was submitted to it: [`Hub::do_io`] sends that first (row H3).
    /// What has come of it can be taken still, its end last.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::ShutDown`].
    pub fn close(&mut self, number: Number) -> Result<(), Error> {
        self.check()?;
        self.state.close(number)
    }

    /// Ends a connection with the next [`Hub::do_io`]; what was not sent is dropped, and what came
    /// of it and was not taken. Its end is still told.
    ///
    /// # Errors
    /// As [`Hub::close`].
    pub fn abort(&mut self, number: Number) -> Result<(), Error> {
        self.check()?;
        self.state.abort(number)
    }

    /// Queues a message; [`Hub::do_io`] sends it (row H8).
    ///
    /// # Errors
    /// As [`State::submit`], and [`Error::ShutDown`].
    pub fn submit(&mut self, number: Number, message: impl Into<Bytes>) -> Result<(), Error> {
        self.check()?;
        self.state.submit(number, message.into())
    }

    /// The oldest input of any connection; `None` when there is none (row H9).
    ///
    /// # Errors
    /// [`Error::ShutDown`].
    pub fn take_input(&mut self) -> Result<Option<(Number, Input)>, Error> {
        self.check()?;
        Ok(self.state.take_input())
    }

    /// The oldest input of one connection; `None` when there is none (row H9).
    ///
    /// # Errors
    /// As [`State::take_input_of`], and [`Error::ShutDown`].
    pub fn take_input_of(&mut self, number: Number) -> Result<Option<Input>, Error> {
        self.check()?;
        self.state.take_input_of(number)
    }

    /// What waits to be taken, the oldest first (row H11).
    pub fn input_queue(&self) -> impl Iterator<Item = (Number, &Input)> {
        self.state.input_queue()
    }

    /// What was submitted and is not known to have gone out, by connection (row H11).
    pub fn output_queue(&self) -> impl Iterator<Item = (Number, &Bytes)> {
        self.state.output_queue()
    }

    /// The connections whose end was not taken yet, in the order of their numbers.
    #[must_use]
    pub fn connections(&self) -> Vec<Number> {
        self.state.connections()
    }

    /// Serves all that is ready, until nothing is: sends what was submitted, receives, lets in
    /// whoever connects (row H12). True when anything was done.
    ///
    /// With [`Block::Yes`] it waits until something is done, unless something was received already
    /// and waits to be taken, or there is neither a connection nor a socket to listen on: then it
    /// does what it can at once, and returns.
    ///
    /// *Guaranteed*: it ends. Reading stops when the input queue is full.
    ///
    /// # Errors
    /// [`Error::ShutDown`], [`Error::System`].
    pub fn do_io(&mut self, block: Block) -> Result<bool, Error> {
        self.check()?;
        let deadline = match block {
            Block::AtMost(timeout) => Some(Instant::now() + timeout),
            Block::No | Block::Yes => None,
        };
        let (mut any, mut idle) = (false, 0);
        loop {
            if self.round(Some(Duration::ZERO))? {
                (any, idle) = (true, 0);
                continue;
            }
            idle += 1;
            if self.driver.next_timeout() == Some(Duration::ZERO) && idle < IDLE_ROUNDS {
                continue;
            }
            if any || block == Block::No || !self.state.is_input_empty() || self.driver.is_done() {
                return Ok(any);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            if self.round(left)? {
                (any, idle) = (true, 0);
            }
        }
    }

    /// Sends what was submitted, for as long as [`Config::drain_timeout`] allows, closes
    /// everything, and waits for that. The hub is of no use after it (row H6). Returns who was
    /// cut: whose output did not go out in time.
    ///
    /// Input that was not taken before is gone; both queues are empty then.
    ///
    /// # Errors
    /// [`Error::ShutDown`], [`Error::System`].
    pub fn shutdown(&mut self) -> Result<Vec<Number>, Error> {
        self.stop_listening()?;
        for number in self.state.connections() {
            self.state.close(number)?;
        }
        let deadline = Instant::now() + self.drain_timeout;
        self.serve_out(deadline)?;
        let cut: Vec<Number> = self.state.connections().into_iter().filter(|n| self.is_open(*n)).collect();
        for number in &cut {
            self.state.abort(*number)?;
        }
        // Each is told with the next round.
        self.serve_out(deadline + NO_ROOM_PAUSE)?;
        self.is_shut_down = true;
        self.state = State::new(Bounds::DEFAULT, 0);
        Ok(cut)
    }

    /// Whether [`Hub::shutdown`] was called.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }

    fn is_open(&self, number: Number) -> bool {
        matches!(self.state.id(number), Ok(Some(_)))
    }

    fn serve_out(&mut self, deadline: Instant) -> Result<(), Error> {
        while self.state.open() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.round(Some(left))?;
        }
        Ok(())
    }

    /// One round, which waits for `timeout` at most. Whether anything was done.
    fn round(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let before = (self.state.told(), self.driver.moved_bytes());
        let has_room = self.state.perform(&mut self.driver);
        let timeout = if has_room { timeout } else { Some(timeout.unwrap_or(NO_ROOM_PAUSE).min(NO_ROOM_PAUSE)) };
        self.driver.wait(timeout)?;
        self.driver.dispatch(&mut self.state);
        Ok(before != (self.state.told(), self.driver.moved_bytes()))
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_shut_down { Err(Error::ShutDown) } else { Ok(()) }
    }
}

/// Of a name with several addresses, and a free port: the one that the first has.
fn same_port(address: Address, first: Option<&Address>) -> Address {
    match (address, first) {
        (Address::Tcp(mut address), Some(Address::Tcp(first))) if address.port() == 0 => {
            address.set_port(first.port());
            Address::Tcp(address)
        }
        (address, _) => address,
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("state", &self.state)
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}
