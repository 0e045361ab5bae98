//! What a check does in an application's callbacks, on any driver that runs a
//! [`Worker`](drywire_server::Worker): what it hears, and what it may do then.

use crate::subject::Testable;
use crate::wire::Wire;
use drywire_core::Connection;
use drywire_server::{Address, ConnectError, DrainReport, Id, Net, SendError, Worker};
use std::fmt;
use std::time::Duration;

/// A check's own part of the application; it may panic.
pub type Hook<P> = Box<dyn FnMut(&mut dyn Hands<P>, &Heard<'_, P>) + Send>;

/// What an application hears.
pub enum Heard<'a, P: Testable> {
    /// The worker begins.
    Started,
    /// The worker has ended.
    Stopped,
    /// Somebody connected.
    Accept,
    /// A connection stands.
    Opened(Id),
    /// A protocol said something.
    Event(Id, &'a P::Event),
    /// All that was owed is taken.
    WrittenOut(Id),
    /// A connection has ended; why, in words.
    Closed(Id, &'a str),
    /// Something about the server, in words.
    Notice(&'a str),
    /// The tick.
    Tick,
    /// A named timer.
    Timer(&'static str),
}

/// By hand, because a derived one would ask the same of `P`.
impl<P: Testable> fmt::Debug for Heard<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Started => f.write_str("started"),
            Heard::Stopped => f.write_str("stopped"),
            Heard::Accept => f.write_str("accept"),
            Heard::Opened(id) => write!(f, "opened {id}"),
            Heard::Event(id, event) => write!(f, "event {id} {event:?}"),
            Heard::WrittenOut(id) => write!(f, "written out {id}"),
            Heard::Closed(id, reason) => write!(f, "closed {id} {reason}"),
            Heard::Notice(notice) => f.write_str(notice),
            Heard::Tick => f.write_str("tick"),
            Heard::Timer(name) => write!(f, "timer {name}"),
        }
    }
}

/// A worker, whatever its sockets are.
#[expect(missing_docs, reason = "each is the worker's method of that name, or asks for what one gives")]
pub trait Hands<P: Testable> {
    fn send(&mut self, id: Id, command: P::Command) -> Result<(), SendError<P::Command>>;
    fn close(&mut self, id: Id);
    fn abort(&mut self, id: Id);
    fn connect(&mut self, address: &Address, connection: Connection<P>) -> Result<Id, ConnectError>;
    fn has(&self, id: Id) -> bool;
    fn set_timer(&mut self, name: &'static str, after: Duration);
    fn repeat_timer(&mut self, name: &'static str, period: Duration);
    fn cancel_timer(&mut self, name: &str) -> bool;
    fn shutdown(&mut self);
    fn panics(&self) -> u64;
    fn drain_report(&self) -> Option<&DrainReport>;
}

/// A worker over a wire.
pub(crate) struct OnWire<'a, P: Testable, W: Wire, N: Net>(pub(crate) &'a mut Worker<P, W::Layer, N>);

impl<P: Testable, W: Wire, N: Net> Hands<P> for OnWire<'_, P, W, N> {
    fn send(&mut self, id: Id, command: P::Command) -> Result<(), SendError<P::Command>> {
        self.0.send(id, command)
    }

    fn close(&mut self, id: Id) {
        self.0.close(id);
    }

    fn abort(&mut self, id: Id) {
        self.0.abort(id);
    }

    fn connect(&mut self, address: &Address, connection: Connection<P>) -> Result<Id, ConnectError> {
        self.0.connect(address, connection.on_layer(W::connects()))
    }

    fn has(&self, id: Id) -> bool {
        self.0.connection(id).is_some()
    }

    fn set_timer(&mut self, name: &'static str, after: Duration) {
        self.0.set_timer(name, after);
    }

    fn repeat_timer(&mut self, name: &'static str, period: Duration) {
        self.0.repeat_timer(name, period);
    }

    fn cancel_timer(&mut self, name: &str) -> bool {
        self.0.cancel_timer(name)
    }

    fn shutdown(&mut self) {
        self.0.shutdown();
    }

    fn panics(&self) -> u64 {
        self.0.panics()
    }

    fn drain_report(&self) -> Option<&DrainReport> {
        self.0.drain_report()
    }
}
