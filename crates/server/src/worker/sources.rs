//! Descriptors that are none of our connections (row A10), and what is told of them.

use super::slot::{Slot, Source};
use super::{Worker, table_is_full};
use crate::application::{Application, SourceEvent};
use crate::net::{Interest, Net, News};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Protocol, Time};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Watches a descriptor that is none of our connections (row A10). Events go
    /// to [`Application::source`], edge by
    /// edge: handle each to exhaustion.
    ///
    /// What no poller takes, such as a regular file, is always ready. With a
    /// timeout, silence is an event too. Where edges are made of levels (poll(2),
    /// smol), what stays writable is told again every round: ask for writability only
    /// while there is something to write.
    ///
    /// # Errors
    /// The poller's.
    pub fn register(&mut self, fd: OwnedFd, interest: Interest, timeout: Option<Duration>) -> io::Result<Id> {
        let net = &mut self.net;
        let make = |id| {
            net.watch(id, fd, interest).map(|watched| {
                Slot::Source(Source {
                    watched,
                    interest,
                    timeout,
                    deadline: Time::NEVER,
                    alarm: Time::NEVER,
                    queued: false,
                })
            })
        };
        let id = self.table.try_insert_with(make).unwrap_or_else(|| Err(table_is_full()))?;
        self.requeue_if_always_ready(id);
        self.set_source_timeout(id, timeout);
        Ok(id)
    }

    /// The descriptor behind a source, to read and write it.
    pub fn source(&self, id: Id) -> Option<BorrowedFd<'_>> {
        match self.table.get(id)? {
            Slot::Source(source) => Some(source.watched.as_fd()),
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
        self.net.set_interest(&mut source.watched, interest)?;
        self.requeue_if_always_ready(id);
        Ok(())
    }

    /// Sets or takes back a source's timeout; it starts now.
    pub fn set_source_timeout(&mut self, id: Id, timeout: Option<Duration>) {
        let now = self.net.now();
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
            Slot::Source(source) => Some(self.net.unwatch(source.watched)),
            Slot::Connection(_) | Slot::Listener(_) => None,
        }
    }

    pub(super) fn requeue_if_always_ready(&mut self, id: Id) {
        if let Some(Slot::Source(source)) = self.table.get(id)
            && self.net.is_always_ready(&source.watched)
        {
            self.make_ready(id);
        }
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    pub(super) fn on_source_news<A: Application<N, P, L>>(&mut self, id: Id, news: News, application: &mut A) {
        let Some(Slot::Source(source)) = self.table.get_mut(id) else { return };
        let interest = source.interest;
        let news = self.net.look(&mut source.watched, news);
        if news.read && interest.is_readable() {
            self.tell_source(id, SourceEvent::Readable, application);
        }
        if news.write && interest.is_writable() {
            self.tell_source(id, SourceEvent::Writable, application);
        }
        if news.failed && self.source(id).is_some() {
            self.call("source", application, |worker, application| {
                application.source(worker, id, SourceEvent::Failed);
            });
            self.unregister(id);
        } else if let Some(Slot::Source(source)) = self.table.get_mut(id) {
            self.net.arm_source(&mut source.watched);
        }
    }

    pub(super) fn tell_source<A: Application<N, P, L>>(&mut self, id: Id, event: SourceEvent, application: &mut A) {
        let now = self.now;
        if let Some(Slot::Source(source)) = self.table.get_mut(id) {
            source.deadline = source.timeout.map_or(Time::NEVER, |timeout| now + timeout);
            let deadline = source.deadline;
            self.set_alarm(id, deadline);
            // It would be told the same again, for ever where edges are made of levels.
            if !self.call("source", application, |worker, application| application.source(worker, id, event)) {
                self.unregister(id);
            }
        }
    }
}
