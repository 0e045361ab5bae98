//! Connections of our own, until they stand: a name is looked up, one address after
//! the other is tried, and all of it has a deadline.
//!
//! A connection that does not stand has no turns. What is asked of it waits, in its
//! bounds: commands, the close, the drain. An abort ends it at once.

use super::Worker;
use super::commands::Linked;
use super::slot::{Entry, Slot};
use crate::address::Address;
use crate::application::{Application, Notice};
use crate::escape::escaped;
use crate::io_error::AddressError;
use crate::net::{Connecting, Net, News, Release};
use crate::table::Id;
use crate::target::{ConnectError, Target, Whom};
use drywire_core::layer::Layer;
use drywire_core::{
    Blocked, Budget, CloseReport, Connection, FileError, FileId, OpenFile, Opening, Protocol, Ready, SendFileError,
    Time, Transport, TransportError, Turn, Wait, turn,
};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;
use std::vec;
use tracing::debug;

/// Look-ups of one worker at a time. Each may hold a thread for as long as the
/// system's resolver is patient, half a minute often.
pub(super) const LOOKUPS: usize = 4;

/// Names that may wait for one of these.
pub(super) const NAMES_WAITING: usize = 1024;

/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// Where the bytes of a connection go.
pub(super) enum Line<N: Net> {
    /// To its peer.
    Stands(N::Stream),
    /// Nowhere yet.
    Coming(Box<Coming<N>>),
}

impl<N: Net> Line<N> {
    pub(super) fn stream(&self) -> Option<&N::Stream> {
        match self {
            Line::Stands(stream) => Some(stream),
            Line::Coming(_) => None,
        }
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut N::Stream> {
        match self {
            Line::Stands(stream) => Some(stream),
            Line::Coming(_) => None,
        }
    }

    /// The socket, when there is one, to be released.
    pub(super) fn into_stream(self) -> Option<N::Stream> {
        match self {
            Line::Stands(stream) => Some(stream),
            Line::Coming(coming) => match coming.step {
                Step::Trying(attempt) => Some(attempt.stream),
                Step::Waiting | Step::LookingUp | Step::Next { .. } | Step::Failed(_) => None,
            },
        }
    }
}

/// A connection on its way.
pub(super) struct Coming<N: Net> {
    target: Target,
    within: Duration,
    deadline: Time,
    step: Step<N>,
}

/// ```text
///            there is room          answered        an address is left
///  Waiting ───────────────▶ LookingUp ──────▶ Next ────────────────▶ Trying ──▶ it stands
///     │ too many wait           │ no such      │ ▲                     │
///     ▼                         ▼ name         │ └──── refused, or its │
///   Failed ◀────────────────────┴──────────────┘       share is over ──┘
/// ```
///
/// An address begins in `Trying`. The deadline ends it from anywhere.
enum Step<N: Net> {
    /// Other names are being looked up.
    Waiting,
    LookingUp,
    /// These are left, and the one before failed like this.
    Next {
        rest: vec::IntoIter<SocketAddr>,
        error: ConnectError,
    },
    Trying(Attempt<N>),
    Failed(ConnectError),
}

struct Attempt<N: Net> {
    stream: N::Stream,
    address: Address,
    /// Each address has an equal share of the time that is left.
    until: Time,
    rest: vec::IntoIter<SocketAddr>,
}

/// How far it has come.
enum Came<N: Net> {
    Stands(N::Stream),
    Failed(ConnectError),
    /// Come again by then, or when the poller has news.
    Waits(Time),
}

impl<N: Net> Coming<N> {
    /// As far as it goes now. A connection that stands is told before a deadline that
    /// is over: after a pause of the whole process the clock knows more than the poller
    /// (FAULTS 58).
    fn advance(&mut self, id: Id, now: Time, net: &mut N, ready: &mut Ready) -> Came<N> {
        loop {
            match mem::replace(&mut self.step, Step::LookingUp) {
                step @ (Step::Waiting | Step::LookingUp) => {
                    self.step = step;
                    if self.deadline <= now {
                        return Came::Failed(self.timed_out());
                    }
                    return Came::Waits(self.deadline);
                }
                Step::Trying(attempt) => {
                    let error = match net.connecting(&attempt.stream) {
                        Connecting::Stands => return Came::Stands(attempt.stream),
                        Connecting::Failed => net.take_error(&attempt.stream),
                        Connecting::Pending if now < attempt.until => {
                            let until = attempt.until;
                            self.step = Step::Trying(attempt);
                            return Came::Waits(until);
                        }
                        Connecting::Pending => TransportError::TimedOut,
                    };
                    // Should it come to stand in this moment, its peer sees that nobody wants it.
                    net.release(attempt.stream, Release::Reset);
                    let error = AddressError::connecting(attempt.address, error).into();
                    self.step = Step::Next { rest: attempt.rest, error };
                }
                Step::Next { .. } if self.deadline <= now => return Came::Failed(self.timed_out()),
                Step::Next { mut rest, error } => {
                    let Some(address) = rest.next() else { return Came::Failed(error) };
                    let shares = u32::try_from(rest.len() + 1).unwrap_or(u32::MAX);
                    let until = now + self.deadline.saturating_since(now) / shares;
                    let address = Address::Tcp(address);
                    // What the poller said was about the one before.
                    *ready = Ready::UNKNOWN;
                    self.step = match net.connect(id, &address) {
                        Ok(stream) => Step::Trying(Attempt { stream, address, until, rest }),
                        Err(source) => Step::Next { rest, error: AddressError::new(address, source).into() },
                    };
                }
                Step::Failed(error) => return Came::Failed(error),
            }
        }
    }

    fn timed_out(&self) -> ConnectError {
        ConnectError::TimedOut { target: self.target.clone(), within: self.within }
    }

    fn on_resolved(&mut self, result: io::Result<Vec<SocketAddr>>) {
        let target = self.target.clone();
        let nothing = |target| ConnectError::Unresolved { target, source: io::Error::other("it has no address") };
        self.step = match result {
            Ok(mut found) => {
                found.truncate(ADDRESSES);
                Step::Next { rest: found.into_iter(), error: nothing(target) }
            }
            Err(source) => Step::Failed(ConnectError::Unresolved { target, source }),
        };
    }
}

/// The look-ups of one worker.
#[derive(Default)]
pub(super) struct Lookups {
    /// Asked of the net and not answered, whether anybody waits for it or not. Bound:
    /// [`LOOKUPS`].
    running: usize,
    /// Bound: [`NAMES_WAITING`].
    waiting: VecDeque<Id>,
}

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Connects, without waiting: to an address, or to a name and a port, which is
    /// looked up off the loop. The id is good at once, for commands, handles, the close:
    /// what is asked of it waits until it stands.
    ///
    /// When it stands, [`Application::opened`] is called. When it will not, there is a
    /// [`Notice::ConnectFailed`] with words for a person, and then the one
    /// [`Application::closed`] (with [`Reason::Transport`](drywire_core::Reason::Transport)).
    /// By the deadline it is one of the two: [`Target::within`], or
    /// [`Config::connect_timeout`](crate::Config::connect_timeout).
    ///
    /// A name is looked up anew each time. Its addresses, the first eight, are tried one after
    /// the other, in the order they come in; each has an equal share of the time that is
    /// left. *True today*: a second address is not tried beside the first (RFC 8305).
    /// A shutdown gives up on what does not stand and has no commands waiting.
    ///
    /// Bound: four names are looked up at a time, 1024 wait.
    ///
    /// # Errors
    /// What is known at once: of an address, such as a path that does not exist, or that
    /// there is no room. There is no notice of it, and no report.
    pub fn connect(&mut self, to: impl Into<Target>, connection: Connection<P, L>) -> Result<Id, ConnectError> {
        let target = to.into();
        let within = target.within.unwrap_or(self.config.connect_timeout);
        let deadline = self.net.now() + within;
        let coming = |step| Line::Coming(Box::new(Coming { target: target.clone(), within, deadline, step }));
        let id = match &target.whom {
            Whom::Address(address) => {
                let id = self.insert_own(connection, |net, id| {
                    let stream = net.connect(id, address)?;
                    let (address, rest) = (address.clone(), Vec::new().into_iter());
                    Ok(coming(Step::Trying(Attempt { stream, address, until: deadline, rest })))
                });
                id.map_err(|source| AddressError::new(address.clone(), source))?
            }
            Whom::Name { .. } => {
                let id = self.insert_own(connection, |_, _| Ok(coming(Step::Waiting)));
                let id = id.map_err(|source| ConnectError::NoRoom { target: target.clone(), source })?;
                self.wait_for_look_up(id);
                id
            }
        };
        self.set_alarm(id, deadline);
        Ok(id)
    }

    /// It is ours, and does not stand yet.
    pub fn is_coming(&self, id: Id) -> bool {
        matches!(self.table.get(id), Some(Slot::Connection(Entry { line: Line::Coming(_), .. })))
    }

    fn coming_mut(&mut self, id: Id) -> Option<&mut Coming<N>> {
        match self.table.get_mut(id)? {
            Slot::Connection(Entry { line: Line::Coming(coming), .. }) => Some(coming),
            Slot::Connection(_) | Slot::Listener(_) | Slot::Source(_) => None,
        }
    }

    fn wait_for_look_up(&mut self, id: Id) {
        let mut waiting = mem::take(&mut self.lookups.waiting);
        if waiting.len() >= NAMES_WAITING {
            // Who gave up meanwhile takes no place.
            waiting.retain(|id| self.is_coming(*id));
        }
        let is_full = waiting.len() >= NAMES_WAITING;
        if !is_full {
            waiting.push_back(id);
        }
        self.lookups.waiting = waiting;
        if is_full && let Some(coming) = self.coming_mut(id) {
            coming.step = Step::Failed(ConnectError::TooManyNames { target: coming.target.clone() });
        }
        self.begin_look_ups();
    }

    fn begin_look_ups(&mut self) {
        while self.lookups.running < LOOKUPS {
            let Some(id) = self.lookups.waiting.pop_front() else { return };
            if let Some(Slot::Connection(Entry { line: Line::Coming(coming), .. })) = self.table.get_mut(id)
                && let Whom::Name { host, port } = &coming.target.whom
            {
                coming.step = Step::LookingUp;
                self.lookups.running += 1;
                self.net.resolve(id, host, *port);
            }
        }
    }

    /// An answer of [`Net::resolve`].
    pub(super) fn on_resolved(&mut self, id: Id, result: io::Result<Vec<SocketAddr>>) {
        debug_assert!(self.lookups.running > 0, "an answer for {id}, which nobody asked for");
        self.lookups.running = self.lookups.running.saturating_sub(1);
        // Nobody waits for it when it was aborted, or its deadline has passed.
        if let Some(coming) = self.coming_mut(id) {
            coming.on_resolved(result);
            self.make_ready(id);
        }
        self.begin_look_ups();
    }

    /// It does not stand, and nobody would miss it: a shutdown gives up on it.
    pub(super) fn is_coming_in_vain(&self, id: Id) -> bool {
        match self.table.get(id) {
            Some(Slot::Connection(Entry { line: Line::Coming(_), linked, .. })) => {
                !linked.as_ref().is_some_and(Linked::has_waiting)
            }
            Some(Slot::Connection(_) | Slot::Listener(_) | Slot::Source(_)) | None => false,
        }
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// What a connection has instead of a turn while it does not stand; its first turn,
    /// when it does.
    pub(super) fn come<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        let now = self.now;
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let Line::Coming(coming) = &mut entry.line else { return };
        if entry.connection.is_over() {
            return self.fall(id, None, application);
        }
        if entry.alarm <= now {
            entry.alarm = Time::NEVER;
        }
        match coming.advance(id, now, &mut self.net, &mut entry.ready) {
            Came::Stands(stream) => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    entry.peer = self.net.peer_address(&stream).map(Box::new);
                }
                entry.line = Line::Stands(stream);
                self.call_about(id, application, |worker, application| application.opened(worker, id));
                self.run_turn(id, application);
            }
            Came::Failed(error) => self.fall(id, Some(error), application),
            Came::Waits(until) => {
                if let Step::Trying(attempt) = &mut coming.step {
                    let wait = Wait { read: false, write: true, deadline: Some(until) };
                    let news = self.net.arm(&mut attempt.stream, &wait);
                    if news != News::default() {
                        self.make_ready(id);
                    }
                }
                self.set_alarm(id, until);
            }
        }
    }

    /// It will never stand.
    fn fall<A: Application<N, P, L>>(&mut self, id: Id, error: Option<ConnectError>, application: &mut A) {
        if let Some(error) = &error {
            debug!(%id, error = %escaped(error), "cannot connect");
            self.call("notice", application, |worker, application| {
                application.notice(worker, Notice::ConnectFailed { id, error });
            });
        }
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let mut live = entry.connection.lend(&mut self.workspace, self.now);
        if let Some(error) = error {
            live.handle_transport_error(error.transport_error());
        }
        let report = last_words(&mut live);
        drop(live);
        self.part_with(id, report, application);
    }
}

/// The report of a connection that is over before its first turn: there is nothing
/// before it.
fn last_words<P: Protocol, L: Layer>(live: &mut drywire_core::Live<'_, P, L>) -> CloseReport<P::Error> {
    let mut ready = Ready { read: false, ..Ready::UNKNOWN };
    match turn(live, &mut Nowhere, &mut ready, &mut Budget::bytes(usize::MAX)) {
        Turn::Closed(report) => report,
        Turn::Event(_) | Turn::Again | Turn::Wait(_) => unreachable!("no handler was called yet, so it only ends"),
    }
}

/// The transport of a connection that never stood.
struct Nowhere;

impl Transport for Nowhere {
    fn short_read_exhausts(&self) -> bool {
        true
    }

    fn try_read(&mut self, _: &mut [u8]) -> Result<usize, Blocked> {
        Err(Blocked::WouldBlock)
    }

    fn try_write_vectored(&mut self, _: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        Err(Blocked::WouldBlock)
    }

    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        Err(SendFileError::Output(Blocked::WouldBlock))
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        Err(FileError::NotFound)
    }

    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        Opening::Done(Err(FileError::NotFound))
    }

    fn close_file(&mut self, _: FileId) {}

    fn half_close(&mut self) {}
}
