//! What stands behind an id: a connection, a listener, somebody else's descriptor.

use super::commands::Linked;
use super::outgoing::Line;
use crate::accept::Backoff;
use crate::address::Address;
use crate::admission::Place;
use crate::net::{Interest, Net, News};
use drywire_core::layer::Layer;
use drywire_core::{Connection, Protocol, Ready, Time};
use std::time::Duration;

// A connection is the largest by far, and what nearly every slot holds: boxing it
// would cost an allocation each and save nothing.
#[expect(clippy::large_enum_variant, reason = "see above")]
pub(super) enum Slot<P: Protocol, L: Layer, N: Net> {
    Connection(Entry<P, L, N>),
    Listener(Listening<N>),
    Source(Source<N>),
}

/// One connection and what the worker keeps beside it. As small as can be: a
/// server is measured by what an idle one costs.
pub(super) struct Entry<P: Protocol, L: Layer, N: Net> {
    pub(super) connection: Connection<P, L>,
    pub(super) line: Line<N>,
    /// The earliest alarm set for it.
    pub(super) alarm: Time,
    /// Made when the first handle is asked for.
    pub(super) linked: Option<Linked<P::Command>>,
    /// Kept for the close line of the log when somebody reads it, while we connect, and
    /// from the beginning of a shutdown on.
    pub(super) peer: Option<Box<Address>>,
    pub(super) ready: Ready,
    /// The transport may take output again, and no turn has tried yet.
    pub(super) writable: bool,
    /// Its place among all connections of the server; given back with it.
    _place: Place,
    /// What is counted of the memory behind it, in bytes.
    pub(super) held: usize,
    /// It stands in the ready list.
    pub(super) queued: bool,
    /// Its last turn used up much of its budget: news of it waits for its place in the ready list.
    pub(super) is_busy: bool,
    /// It stands among those who wait for memory.
    pub(super) is_starved: bool,
    /// It was cut because there was no memory for it.
    pub(super) is_shed: bool,
}

impl<P: Protocol, L: Layer, N: Net> Entry<P, L, N> {
    /// For the next turn.
    pub(super) fn note(&mut self, news: News) {
        self.ready.read |= news.read || news.hang_up;
        self.ready.hang_up |= news.hang_up;
        self.ready.urgent |= news.urgent;
        self.writable |= news.write || news.failed;
    }

    pub(super) fn new(connection: Connection<P, L>, line: Line<N>, place: Place) -> Entry<P, L, N> {
        Entry {
            connection,
            line,
            alarm: Time::NEVER,
            linked: None,
            peer: None,
            ready: Ready::UNKNOWN,
            writable: false,
            _place: place,
            held: 0,
            queued: false,
            is_busy: false,
            is_starved: false,
            is_shed: false,
        }
    }
}

/// One listening socket, and how it is doing.
pub(super) struct Listening<N: Net> {
    pub(super) socket: N::Listener,
    pub(super) backoff: Backoff,
    /// It stands in the ready list.
    pub(super) queued: bool,
    /// The worker stops, and closes this as soon as its queue is empty.
    pub(super) is_closing: bool,
}

impl<N: Net> Listening<N> {
    pub(super) fn new(socket: N::Listener) -> Listening<N> {
        Listening { socket, backoff: Backoff::new(), queued: false, is_closing: false }
    }
}

/// A descriptor registered beside the connections (row A10).
pub(super) struct Source<N: Net> {
    pub(super) watched: N::Source,
    pub(super) interest: Interest,
    pub(super) timeout: Option<Duration>,
    /// When it times out; [`Time::NEVER`] without a timeout.
    pub(super) deadline: Time,
    pub(super) alarm: Time,
    pub(super) queued: bool,
}
