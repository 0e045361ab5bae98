//! What a server's own code implements: who is let in, what happens with events.

use crate::address::Address;
use crate::net::Net;
use crate::table::Id;
use crate::target::{ConnectError, Target};
use crate::worker::Worker;
use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Connection, Protocol};
use std::io;
use std::time::Duration;

/// The application beside the connections of a worker. Everything is optional.
///
/// Every method may add, change and remove connections through `worker` (row A4);
/// none of them runs inside a connection, so it may close the one it hears about,
/// or any other (FAULTS 60, 61). Methods run on the worker's thread, or in its task, and
/// must not block it. A worker cannot make a round, so a round inside a round does not
/// compile (FAULTS 62).
///
/// *Guaranteed*, unless [`OnPanic::Stop`](crate::OnPanic::Stop) is asked for: a panic in a
/// method that is about one connection, or in a handler of its protocol, ends that
/// connection and nothing else (FAULTS 59). Nothing more is told of it but
/// [`closed`](Application::closed), with
/// [`Reason::Panicked`](drywire_core::Reason::Panicked). A panic in `accept` turns the peer
/// away, one in `source` removes the source and closes its descriptor; one in any other
/// method ends that call only. All are logged and counted
/// ([`Worker::panics`]).
///
/// Written for every `N`, it runs on every driver.
pub trait Application<N: Net, P: Protocol, L: Layer = ()> {
    /// The worker is about to serve. Once, before anything else.
    fn started(&mut self, worker: &mut Worker<P, L, N>) {
        let _ = worker;
    }

    /// A shutdown is through, or a driver's `run` has nothing left to wait for, or the
    /// driver is being dropped by one of its functions. Once, after everything else;
    /// what it adds to the worker is nobody's any more. [`Worker::drain_report`] says what
    /// became of the connections.
    fn stopped(&mut self, worker: &mut Worker<P, L, N>) {
        let _ = worker;
    }

    /// Somebody connected. `None` turns the peer away: the stream is closed. So does
    /// an application that does not implement this.
    fn accept(&mut self, worker: &mut Worker<P, L, N>, listener: Id, peer: &Address) -> Option<Connection<P, L>> {
        let _ = (worker, listener, peer);
        None
    }

    /// The connection `id` stands: it was accepted and is about to have its first
    /// turn, or it was ours to make and that has worked.
    fn opened(&mut self, worker: &mut Worker<P, L, N>, id: Id) {
        let _ = (worker, id);
    }

    /// The protocol of `id` has something to say.
    fn event(&mut self, worker: &mut Worker<P, L, N>, id: Id, event: P::Event) {
        let _ = (worker, id, event);
    }

    /// The connection `id` owed its peer something, and the transport has taken the
    /// last byte of it. At most once in a turn, however many messages that was; not when
    /// the turn ends with the connection, because `closed` says so then.
    fn written_out(&mut self, worker: &mut Worker<P, L, N>, id: Id) {
        let _ = (worker, id);
    }

    /// The connection `id` has ended. Exactly once for each, last; also for one
    /// that was never opened because nobody answered.
    fn closed(&mut self, worker: &mut Worker<P, L, N>, id: Id, report: CloseReport<P::Error>) {
        let _ = (worker, id, report);
    }

    /// Something happened to the server as a whole.
    fn notice(&mut self, worker: &mut Worker<P, L, N>, notice: Notice<'_>) {
        let _ = (worker, notice);
    }

    /// A period of [`Config::tick`](crate::Config::tick) has passed, or several at once.
    fn tick(&mut self, worker: &mut Worker<P, L, N>) {
        let _ = worker;
    }

    /// A named timer has come: see [`Worker::set_timer`].
    fn timer(&mut self, worker: &mut Worker<P, L, N>, name: &'static str) {
        let _ = (worker, name);
    }

    /// Something happened to a descriptor registered beside the connections (row A10).
    fn source(&mut self, worker: &mut Worker<P, L, N>, id: Id, event: SourceEvent) {
        let _ = (worker, id, event);
    }
}

/// What happens to a server as a whole (row W4).
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A listener failed for good and was removed; connections stay.
    ListenerFailed {
        /// Which.
        listener: Id,
        /// Why.
        error: &'a io::Error,
    },
    /// A connection of ours will never stand; its close report follows.
    ConnectFailed {
        /// Which.
        id: Id,
        /// Whom it was for, and why, in words.
        error: &'a ConnectError,
    },
    /// Another thread asks for a connection, through
    /// [`ServerHandle::connect`](crate::ServerHandle::connect): make it with
    /// [`Worker::connect`], or do not.
    ConnectAsked {
        /// Whom it is for, and by when.
        target: &'a Target,
    },
    /// A shutdown was asked for and begins: connections that wait at a socket of ours may still be
    /// accepted, and the open ones are about to be asked to finish.
    ShutdownBegan {
        /// How many they are.
        open: usize,
        /// How long they have.
        timeout: Duration,
    },
}

/// What a poller has to say about a registered descriptor (row B1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// It may be read; read it to exhaustion.
    Readable,
    /// It may be written; write it to exhaustion.
    Writable,
    /// Nothing happened within its timeout, which starts anew.
    TimedOut,
    /// It failed or hung up. The driver has forgotten it (row B2).
    Failed,
}

/// An application that only makes protocols, one for each peer.
#[derive(Clone, Copy, Debug)]
pub struct Accept<F>(pub F);

impl<F: FnMut() -> P, N: Net, P: Protocol> Application<N, P> for Accept<F> {
    fn accept(&mut self, _: &mut Worker<P, (), N>, _: Id, _: &Address) -> Option<Connection<P>> {
        Some(Connection::new(self.0()))
    }
}

/// An application that lets nobody in and hears nothing: for clients with a
/// protocol that needs no application.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl<N: Net, P: Protocol, L: Layer> Application<N, P, L> for Quiet {}

/// Passes everything on to an application, and keeps the report of one connection
/// from it: for a driver's `connect` and `drive`, which return that report, and
/// `connect_and_wait`.
#[derive(Debug)]
pub struct Watch<'a, A, E> {
    application: &'a mut A,
    id: Id,
    report: Option<CloseReport<E>>,
    error: Option<ConnectError>,
}

impl<'a, A, E> Watch<'a, A, E> {
    /// Watches `id` for `application`.
    pub fn new(application: &'a mut A, id: Id) -> Watch<'a, A, E> {
        Watch { application, id, report: None, error: None }
    }

    /// What came of a connection to `target`, after a round; `None` while it is on its way.
    pub fn outcome<P, L, N>(&mut self, worker: &Worker<P, L, N>, target: &Target) -> Option<Result<Id, ConnectError>>
    where
        P: Protocol<Error = E>,
        L: Layer,
        N: Net,
    {
        if self.report.is_some() {
            let gone = || ConnectError::Gone { target: target.clone() };
            return Some(Err(self.error.take().unwrap_or_else(gone)));
        }
        (!worker.is_coming(self.id)).then_some(Ok(self.id))
    }

    /// The report, once the connection has ended.
    pub fn take_report(&mut self) -> Option<CloseReport<E>> {
        self.report.take()
    }
}

impl<A, N, P, L> Application<N, P, L> for Watch<'_, A, P::Error>
where
    A: Application<N, P, L>,
    N: Net,
    P: Protocol,
    L: Layer,
{
    fn started(&mut self, worker: &mut Worker<P, L, N>) {
        self.application.started(worker);
    }

    fn stopped(&mut self, worker: &mut Worker<P, L, N>) {
        self.application.stopped(worker);
    }

    fn accept(&mut self, worker: &mut Worker<P, L, N>, listener: Id, peer: &Address) -> Option<Connection<P, L>> {
        self.application.accept(worker, listener, peer)
    }

    fn opened(&mut self, worker: &mut Worker<P, L, N>, id: Id) {
        self.application.opened(worker, id);
    }

    fn event(&mut self, worker: &mut Worker<P, L, N>, id: Id, event: P::Event) {
        self.application.event(worker, id, event);
    }

    fn written_out(&mut self, worker: &mut Worker<P, L, N>, id: Id) {
        self.application.written_out(worker, id);
    }

    fn closed(&mut self, worker: &mut Worker<P, L, N>, id: Id, report: CloseReport<P::Error>) {
        if id == self.id {
            self.report = Some(report);
        } else {
            self.application.closed(worker, id, report);
        }
    }

    fn source(&mut self, worker: &mut Worker<P, L, N>, id: Id, event: SourceEvent) {
        self.application.source(worker, id, event);
    }

    fn notice(&mut self, worker: &mut Worker<P, L, N>, notice: Notice<'_>) {
        if let Notice::ConnectFailed { id, error } = notice
            && id == self.id
        {
            self.error = Some(error.clone());
        }
        self.application.notice(worker, notice);
    }

    fn tick(&mut self, worker: &mut Worker<P, L, N>) {
        self.application.tick(worker);
    }

    fn timer(&mut self, worker: &mut Worker<P, L, N>, name: &'static str) {
        self.application.timer(worker, name);
    }
}
