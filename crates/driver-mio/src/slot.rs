//! What stands behind an id: a connection, a listener, somebody else's descriptor.

use crate::listener::Listener;
use crate::stream::Stream;
use drywire_core::layer::Layer;
use drywire_core::{Connection, Live, Protocol, Ready, Time};
use drywire_server::{Address, Link, Posted};
use mio::Interest;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

// A connection is the largest by far, and what nearly every slot holds: boxing it
// would cost an allocation each and save nothing.
#[expect(clippy::large_enum_variant, reason = "see above")]
pub(crate) enum Slot<P: Protocol, L: Layer> {
    Connection(Entry<P, L>),
    Listener(Listener),
    Source(Source),
}

/// One connection and what the driver keeps beside it. As small as can be: a
/// server is measured by what an idle one costs.
pub(crate) struct Entry<P: Protocol, L: Layer> {
    pub(crate) connection: Connection<P, L>,
    pub(crate) stream: Stream,
    /// The earliest alarm set for it.
    pub(crate) alarm: Time,
    /// Made when the first handle is asked for.
    pub(crate) linked: Option<Box<Linked<P::Command>>>,
    /// Kept for the close line of the log, when somebody reads it.
    pub(crate) peer: Option<Box<Address>>,
    pub(crate) ready: Ready,
    /// It stands in the ready list.
    pub(crate) queued: bool,
    /// Our direction is to end as soon as the stream is connected.
    pub(crate) ends_later: bool,
    /// We connect, and the poller has not said yet that it worked.
    pub(crate) connecting: bool,
}

/// The way for commands into a connection.
pub(crate) struct Linked<C> {
    pub(crate) link: Link<C>,
    /// Commands the connection could not take yet. Bound: the link's.
    pub(crate) waiting: VecDeque<Posted<C>>,
    /// Close when the last of them is handled.
    pub(crate) close: bool,
}

impl<P: Protocol, L: Layer> Entry<P, L> {
    pub(crate) fn new(connection: Connection<P, L>, stream: Stream) -> Entry<P, L> {
        Entry {
            connection,
            stream,
            alarm: Time::NEVER,
            linked: None,
            peer: None,
            ready: Ready::UNKNOWN,
            queued: false,
            ends_later: false,
            connecting: false,
        }
    }
}

/// Hands over the next command that waits, if the connection can take one.
/// False when there was nothing to do.
pub(crate) fn feed<P: Protocol, L: Layer>(
    linked: &mut Option<Box<Linked<P::Command>>>,
    live: &mut Live<'_, P, L>,
) -> bool {
    let Some(linked) = linked else { return false };
    if linked.waiting.is_empty() {
        return std::mem::take(&mut linked.close) && {
            live.close();
            true
        };
    }
    if !live.can_take_command() {
        return false;
    }
    linked.waiting.pop_front().is_some_and(|posted| live.handle_command(posted.into_command()).is_ok())
}

/// A descriptor registered beside the connections (row A10).
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) fd: OwnedFd,
    pub(crate) interest: Interest,
    pub(crate) timeout: Option<Duration>,
    /// When it times out; [`Time::NEVER`] without a timeout.
    pub(crate) deadline: Time,
    pub(crate) alarm: Time,
    /// No poller takes it, so it is always ready.
    pub(crate) always_ready: bool,
    pub(crate) queued: bool,
}
