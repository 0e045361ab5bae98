//! What a server's own code implements: who is let in, what happens with events.

use crate::address::Address;
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{CloseReport, Connection, Protocol};
use std::io;

/// The application beside a driver `D` and the connections it runs.
///
/// Every method may add, change and remove connections through `driver` (row A4);
/// none of them runs inside a connection, so it may close the one it hears about,
/// or any other. Methods run on the driver's thread and must not block it.
///
/// Written for one driver, it may use all of that driver; written for every `D`,
/// it runs on all of them.
pub trait Application<D: ?Sized, P: Protocol, L: Layer = ()> {
    /// Somebody connected. `None` turns the peer away: the stream is closed.
    fn accept(&mut self, driver: &mut D, listener: Id, peer: &Address) -> Option<Connection<P, L>>;

    /// The connection `id` stands: it was accepted and is about to have its first
    /// turn, or it was ours to make and that has worked.
    fn opened(&mut self, driver: &mut D, id: Id) {
        let _ = (driver, id);
    }

    /// The protocol of `id` has something to say.
    fn event(&mut self, driver: &mut D, id: Id, event: P::Event) {
        let _ = (driver, id, event);
    }

    /// The connection `id` has ended. Exactly once for each, last; also for one
    /// that was never opened because nobody answered.
    fn closed(&mut self, driver: &mut D, id: Id, report: CloseReport<P::Error>) {
        let _ = (driver, id, report);
    }

    /// Something happened to a descriptor registered beside the connections (row A10).
    fn source(&mut self, driver: &mut D, id: Id, event: SourceEvent) {
        let _ = (driver, id, event);
    }

    /// A listener failed for good and was removed; connections stay.
    fn listener_failed(&mut self, driver: &mut D, listener: Id, error: &io::Error) {
        let _ = (driver, listener, error);
    }
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

impl<F: FnMut() -> P, D: ?Sized, P: Protocol> Application<D, P> for Accept<F> {
    fn accept(&mut self, _: &mut D, _: Id, _: &Address) -> Option<Connection<P>> {
        Some(Connection::new(self.0()))
    }
}
