//! The hub without its sockets: numbers, queues, and what is due. Pure, and an application
//! for every driver.
//!
//! What its owner asks changes the queues here and nothing else; [`State::perform`] tells the
//! connections what is due of it. The worker's rounds tell this what came, and what is due
//! because of that it tells them at once.

use crate::error::Error;
use crate::input::{Input, Queue};
use crate::number::{Map, Number};
use crate::peer::{Ends, Peer, Performed, Stage, WINDOW};
use bytes::Bytes;
use drywire_core::{CloseReport, Connection, Limits};
use drywire_protocols::{BadMessage, Hub as Messages, HubEvent};
use drywire_server::{Address, Application, Config, ConnectError, Id, Net, Notice, Worker};
use std::collections::VecDeque;

/// What the queues of a hub may hold.
///
/// A queue that is full takes one message more if it is empty, so that each message has a
/// chance. A connection whose input queue is full is not read from until half of that is
/// taken; its peer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The longest message, in and out, in bytes.
    pub message_bytes: u32,
    /// Input of one connection. Reading stops behind the message that fills it, and what was
    /// read with that one comes on top: up to [`Config::budget_bytes`], or one message.
    pub input_bytes: usize,
    /// Input of all connections; what one round reads comes on top.
    pub all_input_bytes: usize,
    /// Output of one connection.
    pub output_bytes: usize,
    /// Output of all connections. Messages that share their bytes count for each.
    pub all_output_bytes: usize,
}

impl Bounds {
    /// Bytes in front of each message.
    pub(crate) const PREFIX: usize = 8;

    /// Messages of up to 16 MiB; 1 MiB of input and 32 MiB of output for one connection, 64 and
    /// 512 MiB for all.
    pub const DEFAULT: Bounds = Bounds {
        message_bytes: 16 << 20,
        input_bytes: 1 << 20,
        all_input_bytes: 64 << 20,
        output_bytes: 32 << 20,
        all_output_bytes: 512 << 20,
    };

    /// A connection may be as slow and as silent as it likes: its peer may be busy with
    /// something that takes days.
    fn limits(&self) -> Limits {
        Limits {
            stall_ms: Limits::NEVER,
            idle_ms: Limits::NEVER,
            first_byte_ms: Limits::NEVER,
            message_ms: Limits::NEVER,
            min_rate: Limits::NEVER,
            linger_ms: LINGER_MS,
            ..Messages::limits(self.message_bytes)
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::DEFAULT
    }
}

/// How long a close waits for the peer's own end. Who calls `shutdown` waits for it.
const LINGER_MS: u32 = 1000;

/// The part of a memory budget that one connection's turn may need at most: one in so many.
const BUDGET_TURNS: usize = 8;

/// A hub without its sockets; see the module.
pub struct State {
    bounds: Bounds,
    next: Number,
    peers: Map<Number, Peer>,
    numbers: Map<Id, Number>,
    input: Queue,
    input_bytes: usize,
    /// All input is as much as it may be, and was not half of that since.
    is_full: bool,
    output_bytes: usize,
    /// Each once: `Peer::is_due`.
    due: VecDeque<Number>,
    /// Things that were told: connections that came and went, messages, ends.
    told: u64,
    /// Why the last connection of ours that failed has.
    failed: Option<ConnectError>,
    /// As many numbers may be in use at once.
    most: usize,
}

impl State {
    /// A hub without connections.
    #[must_use]
    pub fn new(bounds: Bounds, most_connections: usize) -> State {
        State {
            bounds,
            next: Number::FIRST,
            peers: Map::default(),
            numbers: Map::default(),
            input: Queue::default(),
            input_bytes: 0,
            is_full: false,
            output_bytes: 0,
            due: VecDeque::new(),
            told: 0,
            failed: None,
            most: most_connections,
        }
    }

    /// What a worker has to be told so that messages of the longest length pass.
    #[must_use]
    pub fn configure(bounds: &Bounds, config: Config) -> Config {
        let one_message = bounds.message_bytes.saturating_add(COMMAND_OVERHEAD);
        let turn = Connection::new(Messages::new()).with_limits(bounds.limits()).most_heap_bytes();
        Config {
            // Two more than the window, for reading.
            commands_per_connection: config.commands_per_connection.max(WINDOW as u32 + 2),
            command_bytes_per_connection: config.command_bytes_per_connection.max(one_message.saturating_mul(2)),
            memory_bytes: config.memory_bytes.max(turn.saturating_mul(BUDGET_TURNS)),
            ..config
        }
    }

    /// The connection to give to a worker.
    pub(crate) fn connection(&self, ends: Ends) -> Connection<Messages> {
        let messages = Messages::with_longest(self.bounds.message_bytes);
        let messages = match ends {
            Ends::Both | Ends::Input => messages,
            Ends::Output => messages.without_input(),
        };
        Connection::new(messages).with_limits(self.bounds.limits())
    }
}

/// What a command weighs beside its message, in bytes; roughly.
const COMMAND_OVERHEAD: u32 = 4096;

/// What its owner asks.
impl State {
    /// Adds a connection to a worker: `open` gives the worker a stream.
    ///
    /// # Errors
    /// [`Error::TooMany`], or what the worker says.
    pub fn add<N: Net>(
        &mut self,
        worker: &mut Worker<Messages, (), N>,
        stream: impl Into<N::Open>,
        ends: Ends,
    ) -> Result<Number, Error> {
        self.check_room()?;
        let id = worker.add(stream, self.connection(ends))?;
        Ok(self.begin(id, Stage::Open, ends))
    }

    /// Queues a message (row H8).
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Closed`], [`Error::NoOutput`], [`Error::TooLong`],
    /// [`Error::Full`].
    pub fn submit(&mut self, number: Number, message: Bytes) -> Result<(), Error> {
        let longest = self.bounds.message_bytes;
        let Some(peer) = self.peers.get_mut(&number) else { return Err(Error::Unknown(number)) };
        match (peer.stage, peer.ends) {
            (Stage::Coming | Stage::Open, Ends::Both | Ends::Output) => {}
            (Stage::Coming | Stage::Open, Ends::Input) => return Err(Error::NoOutput(number)),
            (Stage::Closing | Stage::Aborting | Stage::Gone, _) => return Err(Error::Closed(number)),
        }
        let len = message.len();
        if len > longest as usize {
            return Err(Error::TooLong { number, len, longest });
        }
        let weight = Peer::weigh(&message);
        let fits = |held: usize, most: usize| held == 0 || held.saturating_add(weight) <= most;
        if !fits(peer.output_bytes, self.bounds.output_bytes) || !fits(self.output_bytes, self.bounds.all_output_bytes)
        {
            return Err(Error::Full { number, message });
        }
        peer.submit(message);
        self.output_bytes += weight;
        note_due(&mut self.due, number, peer);
        Ok(())
    }

    /// Closes a connection behind what was submitted to it; one that has ended already stays so
    /// (row H3).
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn close(&mut self, number: Number) -> Result<(), Error> {
        self.end(number, Stage::Closing)
    }

    /// Ends a connection; what was submitted to it and has not gone out is dropped, and so is
    /// what came of it and was not taken. Its end is still told.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn abort(&mut self, number: Number) -> Result<(), Error> {
        self.end(number, Stage::Aborting)?;
        while let Some(input) = self.pop(number) {
            if let Input::Closed(closed) = input {
                self.push(number, Input::Closed(closed));
                break;
            }
        }
        Ok(())
    }

    /// The oldest input of any connection (row H9).
    pub fn take_input(&mut self) -> Option<(Number, Input)> {
        let number = self.input.first()?;
        let input = self.take_input_of(number).expect("it has input");
        input.map(|input| (number, input))
    }

    /// The oldest input of one connection (row H9).
    ///
    /// # Errors
    /// [`Error::Unknown`]. The end of a connection is the last that is taken of it; from then on
    /// it is unknown.
    pub fn take_input_of(&mut self, number: Number) -> Result<Option<Input>, Error> {
        if !self.peers.contains_key(&number) {
            return Err(Error::Unknown(number));
        }
        let input = self.pop(number);
        if matches!(input, Some(Input::Closed(_))) {
            self.peers.remove(&number);
        }
        Ok(input)
    }

    /// A connection that came by a socket we listen on, and of which nothing was taken yet.
    pub(crate) fn take_opened(&mut self) -> Option<Number> {
        let opened = self.input.iter().find(|(_, input)| **input == Input::Opened)?.0;
        self.take_input_of(opened).expect("it has input").map(|_| opened)
    }

    /// What waits to be taken, the oldest first (row H11).
    pub fn input_queue(&self) -> impl Iterator<Item = (Number, &Input)> {
        self.input.iter()
    }

    /// What was submitted and has not gone out, by connection, each connection's in order (row
    /// H11). A message may be in the hands of its transport in part, or just now in full.
    pub fn output_queue(&self) -> impl Iterator<Item = (Number, &Bytes)> {
        let messages = |number: Number| self.peers[&number].output().map(move |message| (number, message));
        self.connections().into_iter().flat_map(messages)
    }

    /// The connections whose end was not taken yet, in the order of their numbers.
    #[must_use]
    pub fn connections(&self) -> Vec<Number> {
        let mut numbers: Vec<Number> = self.peers.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Connections that have not ended.
    #[must_use]
    pub fn open(&self) -> usize {
        self.numbers.len()
    }

    /// The worker's name for a connection that has not ended.
    pub(crate) fn id(&self, number: Number) -> Result<Option<Id>, Error> {
        let peer = self.peers.get(&number).ok_or(Error::Unknown(number))?;
        Ok((peer.stage != Stage::Gone).then_some(peer.id))
    }

    fn end(&mut self, number: Number, how: Stage) -> Result<(), Error> {
        let Some(peer) = self.peers.get_mut(&number) else { return Err(Error::Unknown(number)) };
        match peer.stage {
            Stage::Coming | Stage::Open => peer.stage = how,
            Stage::Closing if how == Stage::Aborting => peer.stage = how,
            Stage::Closing | Stage::Aborting | Stage::Gone => return Ok(()),
        }
        self.make_due(number);
        Ok(())
    }
}

/// What its driver needs.
impl State {
    /// Tells the connections what is due: messages to send, reading to go on, ends. To be called
    /// after calls that change something here, before the next round. False when the worker had no
    /// room for something, which is tried again next time.
    pub fn perform<N: Net>(&mut self, worker: &mut Worker<Messages, (), N>) -> bool {
        let mut all = true;
        for _ in 0..self.due.len() {
            let Some(number) = self.due.pop_front() else { break };
            let Some(peer) = self.peers.get_mut(&number) else { continue };
            peer.is_due = false;
            if peer.perform(worker) == Performed::NoRoom {
                all = false;
                self.make_due(number);
            }
        }
        all
    }

    /// Nothing waits to be taken.
    pub(crate) fn is_input_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Grows with each thing that happened to any connection.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    pub(crate) fn take_failed(&mut self) -> Option<ConnectError> {
        self.failed.take()
    }

    /// One more connection is allowed.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        if self.peers.len() < self.most { Ok(()) } else { Err(Error::TooMany(self.most)) }
    }

    /// A connection that the worker knows has a number from now on.
    pub(crate) fn begin(&mut self, id: Id, stage: Stage, ends: Ends) -> Number {
        let number = self.next;
        self.next = number.next();
        self.peers.insert(number, Peer::new(id, stage, ends));
        self.numbers.insert(id, number);
        if self.is_full {
            self.steer(number);
        }
        number
    }

    fn peer(&mut self, id: Id) -> Option<(Number, &mut Peer)> {
        let number = *self.numbers.get(&id)?;
        self.peers.get_mut(&number).map(|peer| (number, peer))
    }

    fn pop(&mut self, number: Number) -> Option<Input> {
        let peer = self.peers.get_mut(&number)?;
        let input = self.input.pop(&mut peer.row)?;
        let weight = input.weight();
        peer.input_bytes -= weight;
        self.input_bytes -= weight;
        if peer.is_full && peer.input_bytes <= self.bounds.input_bytes / 2 {
            peer.is_full = false;
            self.steer(number);
        }
        if self.is_full && self.input_bytes <= self.bounds.all_input_bytes / 2 {
            self.is_full = false;
            self.steer_all();
        }
        Some(input)
    }

    fn push(&mut self, number: Number, input: Input) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let weight = input.weight();
        self.input.push(number, &mut peer.row, input);
        self.told += 1;
        peer.input_bytes += weight;
        self.input_bytes += weight;
        if !peer.is_full && peer.input_bytes >= self.bounds.input_bytes {
            peer.is_full = true;
            self.steer(number);
        }
        if !self.is_full && self.input_bytes >= self.bounds.all_input_bytes {
            self.is_full = true;
            self.steer_all();
        }
    }

    /// Whether the connection is to be read from.
    fn steer(&mut self, number: Number) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        peer.shall_read = !peer.is_full && !self.is_full;
        if peer.shall_read != peer.is_reading {
            self.make_due(number);
        }
    }

    /// Rare: between two of these half of all input that may wait came or was taken.
    fn steer_all(&mut self) {
        for number in self.connections() {
            self.steer(number);
        }
    }

    fn make_due(&mut self, number: Number) {
        if let Some(peer) = self.peers.get_mut(&number) {
            note_due(&mut self.due, number, peer);
        }
    }
}

/// Something is to be done for it in the next round.
fn note_due(due: &mut VecDeque<Number>, number: Number, peer: &mut Peer) {
    if !std::mem::replace(&mut peer.is_due, true) {
        due.push_back(number);
    }
}

impl<N: Net> Application<N, Messages> for State {
    fn accept(&mut self, _: &mut Worker<Messages, (), N>, _: Id, _: &Address) -> Option<Connection<Messages>> {
        self.check_room().is_ok().then(|| self.connection(Ends::Both))
    }

    fn opened(&mut self, worker: &mut Worker<Messages, (), N>, id: Id) {
        self.told += 1;
        match self.peer(id) {
            Some((number, peer)) => {
                if peer.stage == Stage::Coming {
                    peer.stage = Stage::Open;
                }
                self.make_due(number);
            }
            None => {
                let number = self.begin(id, Stage::Open, Ends::Both);
                self.push(number, Input::Opened);
            }
        }
        self.perform(worker);
    }

    fn event(&mut self, worker: &mut Worker<Messages, (), N>, id: Id, event: HubEvent) {
        let Some((number, peer)) = self.peer(id) else { return };
        if peer.stage == Stage::Aborting {
            return;
        }
        match event {
            HubEvent::Message(message) => self.push(number, Input::Message(message)),
            HubEvent::End => {
                // Nobody can say anything any more.
                if peer.ends == Ends::Input && peer.stage == Stage::Open {
                    peer.stage = Stage::Closing;
                }
                self.push(number, Input::Ended);
                self.make_due(number);
            }
        }
        self.perform(worker);
    }

    fn written_out(&mut self, worker: &mut Worker<Messages, (), N>, id: Id) {
        self.told += 1;
        let Some((number, peer)) = self.peer(id) else { return };
        let (gone, has_more) = (peer.on_written_out(), peer.has_more());
        self.output_bytes -= gone;
        if has_more {
            self.make_due(number);
        }
        self.perform(worker);
    }

    fn closed(&mut self, _: &mut Worker<Messages, (), N>, id: Id, report: CloseReport<BadMessage>) {
        self.told += 1;
        let Some((number, peer)) = self.peer(id) else { return };
        let was_coming = peer.stage == Stage::Coming;
        let dropped = peer.on_gone();
        self.output_bytes -= dropped;
        self.numbers.remove(&id);
        if was_coming {
            self.peers.remove(&number);
        } else {
            self.push(number, Input::Closed(report));
        }
    }

    fn notice(&mut self, _: &mut Worker<Messages, (), N>, notice: Notice<'_>) {
        if let Notice::ConnectFailed { error, .. } = notice {
            self.failed = Some(error.clone());
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("open", &self.open())
            .field("input_bytes", &self.input_bytes)
            .field("output_bytes", &self.output_bytes)
            .finish_non_exhaustive()
    }
}
