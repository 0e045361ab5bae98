//! Descriptors that are none of our connections (row A10), and what is told of them.

use crate::driver::Driver;
use crate::slot::{Slot, Source};
use crate::stream::POLL2;
use drywire_core::layer::Layer;
use drywire_core::{Protocol, Time};
use drywire_server::{Application, Id, SourceEvent};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

impl<P: Protocol, L: Layer> Driver<P, L> {
    /// Watches a descriptor that is none of our connections (row A10). Events go
    /// to [`Application::source`](drywire_server::Application::source), edge by
    /// edge: handle each to exhaustion.
    ///
    /// What no poller takes, such as a regular file, is always ready. With a
    /// timeout, silence is an event too. Under poll(2) what stays writable is told
    /// again every round: ask for writability only while there is something to write.
    ///
    /// # Errors
    /// The poller's.
    pub fn register(&mut self, fd: OwnedFd, interest: Interest, timeout: Option<Duration>) -> io::Result<Id> {
        let raw = fd.as_raw_fd();
        let source = Source {
            fd,
            interest,
            timeout,
            deadline: Time::NEVER,
            alarm: Time::NEVER,
            always_ready: false,
            queued: false,
        };
        let id = self.insert(Slot::Source(source))?;
        match self.poll.registry().register(&mut SourceFd(&raw), Token(id.to_token()), interest) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                if let Some(Slot::Source(source)) = self.table.get_mut(id) {
                    source.always_ready = true;
                }
                self.make_ready(id);
            }
            Err(error) => {
                self.table.remove(id);
                return Err(error);
            }
        }
        self.set_source_timeout(id, timeout);
        Ok(id)
    }

    /// The descriptor behind a source, to read and write it.
    pub fn source(&self, id: Id) -> Option<BorrowedFd<'_>> {
        match self.table.get(id)? {
            Slot::Source(source) => Some(source.fd.as_fd()),
            Slot::Connection(_) | Slot::Listener(_) => None,
        }
    }

    /// Changes what is asked of a source's descriptor. Readiness that is there
    /// already counts as news.
    ///
    /// # Errors
    /// The poller's. `NotFound` when there is no such source.
    pub fn set_source_interest(&mut self, id: Id, interest: Interest) -> io::Result<()> {
        let Some(Slot::Source(source)) = self.table.get_mut(id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        source.interest = interest;
        if source.always_ready {
            self.make_ready(id);
            return Ok(());
        }
        let raw = source.fd.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&raw), Token(id.to_token()), interest)
    }

    /// Sets or takes back a source's timeout; it starts now.
    pub fn set_source_timeout(&mut self, id: Id, timeout: Option<Duration>) {
        let now = self.clock();
        let Some(Slot::Source(source)) = self.table.get_mut(id) else { return };
        source.timeout = timeout;
        source.deadline = timeout.map_or(Time::NEVER, |timeout| now + timeout);
        let deadline = source.deadline;
        self.set_alarm(id, deadline);
    }

    /// Forgets a source and gives its descriptor back.
    pub fn unregister(&mut self, id: Id) -> Option<OwnedFd> {
        match self.table.get(id)? {
            Slot::Source(_) => {}
            Slot::Connection(_) | Slot::Listener(_) => return None,
        }
        match self.table.remove(id)? {
            Slot::Source(source) => {
                let raw = source.fd.as_raw_fd();
                let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
                Some(source.fd)
            }
            Slot::Connection(_) | Slot::Listener(_) => None,
        }
    }
}

impl<P, L> Driver<P, L>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
{
    pub(crate) fn on_source_event<A: Application<Self, P, L>>(&mut self, id: Id, event: &Event, application: &mut A) {
        if event.is_readable() {
            self.tell_source(id, SourceEvent::Readable, application);
        }
        if event.is_writable() {
            self.tell_source(id, SourceEvent::Writable, application);
        }
        let failed = event.is_error() || (event.is_read_closed() && event.is_write_closed());
        if failed && self.source(id).is_some() {
            application.source(self, id, SourceEvent::Failed);
            self.unregister(id);
        } else if POLL2 {
            // poll(2) takes an interest back when it was met.
            if let Some(Slot::Source(source)) = self.table.get_mut(id) {
                let raw = source.fd.as_raw_fd();
                let _ = self.poll.registry().reregister(&mut SourceFd(&raw), Token(id.to_token()), source.interest);
            }
        }
    }

    pub(crate) fn tell_source<A: Application<Self, P, L>>(&mut self, id: Id, event: SourceEvent, application: &mut A) {
        let now = self.now;
        if let Some(Slot::Source(source)) = self.table.get_mut(id) {
            source.deadline = source.timeout.map_or(Time::NEVER, |timeout| now + timeout);
            let deadline = source.deadline;
            self.set_alarm(id, deadline);
            application.source(self, id, event);
        }
    }
}
