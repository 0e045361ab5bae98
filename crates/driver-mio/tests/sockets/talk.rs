//! A protocol between an application and a peer, and an application made of one
//! closure: for tests of what callbacks and handles may do.

use crate::harness::Report;
use drywire_core::{Connection, Context, Limits, Protocol, Stop};
use drywire_driver_mio::{Address, Application, Id, Mio, Notice, SourceEvent, Worker};
use std::convert::Infallible;

/// Lines from the peer are events, commands are sent as they are.
#[derive(Debug)]
pub(crate) struct Talk;

impl Protocol for Talk {
    type Event = String;
    type Command = Vec<u8>;
    type Error = Infallible;

    const LIMITS: Limits = Limits { linger_ms: 200, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        cx.emit(String::from_utf8_lossy(&input[..end]).into_owned())?;
        Ok(end + 1)
    }

    fn command(&mut self, command: &Vec<u8>, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(command)
    }
}

/// What an application hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Accept(Id),
    Opened(Id),
    Event(Id, String),
    Closed(Id, Report<Talk>),
    Source(Id, SourceEvent),
    ListenerFailed,
}

/// An application that is one closure.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: FnMut(&mut Worker<Talk>, Heard)> Application<Mio, Talk> for Each<F> {
    fn accept(&mut self, driver: &mut Worker<Talk>, listener: Id, _: &Address) -> Option<Connection<Talk>> {
        (self.0)(driver, Heard::Accept(listener));
        Some(Connection::new(Talk))
    }

    fn opened(&mut self, driver: &mut Worker<Talk>, id: Id) {
        (self.0)(driver, Heard::Opened(id));
    }

    fn event(&mut self, driver: &mut Worker<Talk>, id: Id, event: String) {
        (self.0)(driver, Heard::Event(id, event));
    }

    fn closed(&mut self, driver: &mut Worker<Talk>, id: Id, report: Report<Talk>) {
        (self.0)(driver, Heard::Closed(id, report));
    }

    fn source(&mut self, driver: &mut Worker<Talk>, id: Id, event: SourceEvent) {
        (self.0)(driver, Heard::Source(id, event));
    }

    fn notice(&mut self, driver: &mut Worker<Talk>, notice: Notice<'_>) {
        if let Notice::ListenerFailed { .. } = notice {
            (self.0)(driver, Heard::ListenerFailed);
        }
    }
}
