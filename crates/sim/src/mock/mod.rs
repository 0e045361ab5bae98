//! A mock transport: a test writes down, wait by wait, what the poller says and what
//! the socket answers, and what must come out (row A9).
//!
//! ```
//! use drywire_core::Reason;
//! use drywire_protocols::LineEcho;
//! use drywire_sim::mock::Mock;
//!
//! let mut mock = Mock::new(LineEcho);
//! mock.wait(|on| on.read(b"hello\nquit\n").write(3).would_block()).expect(b"hel");
//! mock.wait(|on| on.writable()).expect(b"lo\nquit\n").expect_half_close();
//! mock.wait(|on| on.end()).expect_close(&Reason::Finished);
//! ```
//!
//! Each [`Mock::wait`] is one turn of the real [`turn`]. It fails when an entry is
//! left over at the end of its wait, when one is used twice (a read after the one that
//! would block, a write after one that failed), and when the poller says what nobody
//! wanted to hear: readable while [`Wait::read`] is off, writable while
//! [`Wait::write`] is. Bytes that are written are compared exactly, and none may be
//! left when the mock is dropped. A failure names the line of the test where the entry
//! was written.

mod script;
mod wire;

pub use script::On;
pub use wire::Wire;

use core::panic::Location;
use drywire_core::layer::Layer;
use drywire_core::{
    Budget, CloseReport, Connection, FileError, Live, Protocol, Ready, Reason, Time, Turn, Wait, Workspace, turn,
};
use script::Input;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::thread;
use wire::{Answer, Written};

/// One connection, and the script it is taken through.
#[derive(Debug)]
pub struct Mock<P: Protocol, L: Layer = ()> {
    conn: Connection<P, L>,
    workspace: Workspace,
    wire: Wire,
    now: Time,
    ready: Ready,
    /// What the turn before said; nothing before the first, and when the budget ended it.
    wait: Option<Wait>,
    /// Not expected yet.
    events: VecDeque<P::Event>,
    close: Option<CloseReport<P::Error>>,
}

impl<P: Protocol> Mock<P> {
    /// A mock for a fresh connection of this protocol. Nothing happens before the
    /// first wait, in which everything is tried once.
    pub fn new(protocol: P) -> Mock<P> {
        Mock::on(Connection::new(protocol))
    }
}

impl<P: Protocol, L: Layer> Mock<P, L> {
    /// A mock for a connection with limits or layers of its own.
    pub fn on(conn: Connection<P, L>) -> Mock<P, L> {
        Mock {
            conn,
            workspace: Workspace::new(),
            wire: Wire::new(),
            now: Time::ZERO,
            ready: Ready::UNKNOWN,
            wait: None,
            events: VecDeque::new(),
            close: None,
        }
    }

    /// A file the protocol finds under `name`. Any other name is not found.
    #[must_use]
    pub fn file(mut self, name: impl AsRef<[u8]>, contents: impl Into<Vec<u8>>) -> Self {
        self.wire.disk.insert(name.as_ref().to_vec(), Ok(contents.into()));
        self
    }

    /// A name that cannot be opened.
    #[must_use]
    pub fn refuse_file(mut self, name: impl AsRef<[u8]>, error: FileError) -> Self {
        self.wire.disk.insert(name.as_ref().to_vec(), Err(error));
        self
    }

    /// Files are answered in the wait that says [`On::opened`].
    #[must_use]
    pub fn opens_later(mut self) -> Self {
        self.wire.ledger.opens_later = true;
        self
    }

    /// As on epoll: a read that does not fill its slot has emptied the socket. Without
    /// it reading goes on until it would block.
    #[must_use]
    pub fn short_reads_exhaust(mut self) -> Self {
        self.wire.short_read_exhausts = true;
        self
    }

    /// One wait, and the turn behind it.
    ///
    /// # Panics
    /// When the script and what happened do not agree; see [the module](self).
    #[track_caller]
    pub fn wait(&mut self, script: impl FnOnce(On<P::Command>) -> On<P::Command>) -> &mut Self {
        self.wait_by(turn, script)
    }

    /// One wait, with a loop of your own in the place of [`turn`].
    ///
    /// # Panics
    /// As [`Mock::wait`].
    #[track_caller]
    pub fn wait_by(
        &mut self,
        mut turn: impl FnMut(&mut Live<'_, P, L>, &mut Wire, &mut Ready, &mut Budget) -> Turn<P::Event, P::Error>,
        script: impl FnOnce(On<P::Command>) -> On<P::Command>,
    ) -> &mut Self {
        let on = script(On::nothing());
        self.check_interest(&on);
        self.pass_time(&on);
        self.ready.read |= !on.reads.is_empty();
        self.ready.hang_up |= on.hang_up;
        self.wire.begin_wait();
        (self.wire.reads, self.wire.writes) = (on.reads.into(), on.writes.into());

        let Mock { conn, workspace, wire, now, ready, wait, events, close } = self;
        let mut live = conn.lend(workspace, *now);
        if on.writable.is_some() {
            live.handle_writable();
        }
        for input in on.inputs {
            put_in(&mut live, wire, input);
        }
        let mut budget = Budget::bytes(on.budget);
        *wait = loop {
            match turn(&mut live, wire, ready, &mut budget) {
                Turn::Event(event) => events.push_back(event),
                Turn::Wait(wait) => break Some(wait),
                Turn::Again => break None,
                Turn::Closed(report) => {
                    assert!(close.is_none(), "mock: a second close report");
                    *close = Some(report);
                    break Some(Wait::default());
                }
            }
        };
        drop(live);
        self.check_used();
        self
    }

    /// Compares what was written since the last time, file bytes included. Exactly
    /// these bytes, no more and no less.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let (expected, sent) = (bytes.as_ref(), std::mem::take(&mut self.wire.sent));
        let same = expected.iter().zip(&sent).take_while(|(a, b)| a == b).count();
        assert!(
            expected == sent,
            "mock: other bytes were written, from byte {same} on\n  expected  b\"{}\"\n  written   b\"{}\"",
            expected.escape_ascii(),
            sent.escape_ascii(),
        );
        self
    }

    /// The next event is this one.
    ///
    /// # Panics
    /// When there is none, or another.
    #[track_caller]
    pub fn expect_event(&mut self, event: &P::Event) -> &mut Self
    where
        P::Event: Debug + PartialEq,
    {
        let told = self.events.pop_front();
        assert!(told.as_ref() == Some(event), "mock: expected the event {event:?}, told was {told:?}");
        self
    }

    /// Our direction has ended.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect_half_close(&mut self) -> &mut Self {
        assert!(self.wire.ledger.half_closed, "mock: our direction has not ended");
        self
    }

    /// The connection waits for exactly this.
    ///
    /// # Panics
    /// When it does not, or has not come to a wait.
    #[track_caller]
    pub fn expect_wait(&mut self, wait: Wait) -> &mut Self {
        assert!(self.wait == Some(wait), "mock: expected {wait:?}, waited for is {:?}", self.wait);
        self
    }

    /// The connection is closed, for this reason, and with every file closed.
    ///
    /// # Panics
    /// When it is open, or closed for another reason.
    #[track_caller]
    pub fn expect_close(&mut self, reason: &Reason<P::Error>) -> &mut Self
    where
        P::Error: Debug + PartialEq,
    {
        match &self.close {
            Some(report) => assert!(report.reason == *reason, "mock: closed for {:?}, not {reason:?}", report.reason),
            None => panic!("mock: still open, waiting for {:?}", self.wait),
        }
        assert!(self.wire.ledger.open.is_empty(), "mock: {} files were left open", self.wire.ledger.open.len());
        self
    }

    /// The report, once it is closed.
    pub fn report(&self) -> Option<&CloseReport<P::Error>> {
        self.close.as_ref()
    }

    /// The connection, to look at.
    pub fn connection(&self) -> &Connection<P, L> {
        &self.conn
    }

    /// The time of the last turn.
    pub fn now(&self) -> Time {
        self.now
    }

    /// A poller tells nobody what nobody asked for.
    #[track_caller]
    fn check_interest(&self, on: &On<P::Command>) {
        let Some(wait) = self.wait else { return };
        if let (false, Some(Written { what, at })) = (wait.read, on.reads.first()) {
            panic!("mock: its interest was off: nobody waits for input\n  the read of \"{what}\", written at {at}");
        }
        if let (false, Some(at)) = (wait.write, on.writable) {
            panic!("mock: its interest was off: nobody waits to write\n  \"writable\", written at {at}");
        }
    }

    #[track_caller]
    fn pass_time(&mut self, on: &On<P::Command>) {
        self.now = self.now + on.passed;
        if let Some(at) = on.to_deadline {
            match self.wait.and_then(|wait| wait.deadline) {
                Some(deadline) => self.now = self.now.max(deadline),
                None => panic!("mock: there is no deadline, as is written at {at}"),
            }
        }
    }

    /// Every entry of the wait was used, once.
    #[track_caller]
    fn check_used(&mut self) {
        if let Some(broken) = self.wire.ledger.broken.take() {
            panic!("mock: {broken}");
        }
        let left = |what: &str, entries: &VecDeque<Written<Answer>>| {
            if let Some(entry) = entries.front() {
                panic!("mock: left unconsumed: a {what}, \"{}\", written at {}", entry.what, entry.at);
            }
        };
        left("read", &self.wire.reads);
        left("write", &self.wire.writes);
    }
}

/// # Panics
/// When the connection does not take what is written there.
#[track_caller]
fn put_in<P: Protocol, L: Layer>(live: &mut Live<'_, P, L>, wire: &mut Wire, input: Written<Input<P::Command>>) {
    let at: &Location<'_> = input.at;
    match input.what {
        Input::Command(command) => {
            if let Err((_, why)) = live.handle_command(command) {
                panic!("mock: the command was refused: {why}\n  written at {at}");
            }
        }
        Input::Opened => {
            let Some((id, name)) = wire.ledger.asked.pop_front() else {
                panic!("mock: no file was asked for, as is written at {at}")
            };
            let result = wire.answer(id, &name);
            live.handle_file(id, result).unwrap_or_else(|why| panic!("mock: {why}, at {at}"));
        }
        Input::Drain => live.drain(),
        Input::Close => live.close(),
        Input::Abort => live.abort(),
    }
}

/// Looks whether everything that came out was expected.
impl<P: Protocol, L: Layer> Drop for Mock<P, L> {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        assert!(self.wire.sent.is_empty(), "mock: written and never expected: b\"{}\"", self.wire.sent.escape_ascii());
        assert!(self.events.is_empty(), "mock: {} events were never expected", self.events.len());
    }
}
