//! Every call into code that is not ours: an application's callbacks, and the turns in
//! which a protocol's handlers run. What a panic in one of them ends (FAULTS 59).
//!
//! Nothing here is unsound after a panic, because nothing half-changed is used again: a
//! handler's call is undone while it unwinds (that is the core's), its connection is
//! aborted, and the memory it had borrowed is replaced. With `panic = "abort"` a panic ends
//! the process, as everywhere, and [`OnPanic`] means nothing.

use super::slot::{Entry, Slot};
use super::{Stage, Worker, commands};
use crate::application::Application;
use crate::config::OnPanic;
use crate::escape::escaped;
use crate::log_limit::Log;
use crate::net::{Net, Release};
use crate::table::Id;
use drywire_core::layer::Layer;
use drywire_core::{Budget, CloseReport, Protocol, Reason, Turn, Workspace, planted, turn};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tracing::error;

/// What a panic said.
pub(super) type Payload = Box<dyn Any + Send>;

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Panics of protocols and callbacks that were caught: see [`OnPanic`].
    pub fn panics(&self) -> u64 {
        self.stats.panics
    }

    /// Makes a call, and catches its panic unless that is to end the worker.
    pub(super) fn caught(&mut self, call: impl FnOnce(&mut Self)) -> Result<(), Payload> {
        match self.config.on_panic {
            OnPanic::Stop => {
                call(self);
                Ok(())
            }
            OnPanic::Isolate => catch_unwind(AssertUnwindSafe(|| call(self))),
        }
    }

    /// `what` panicked. Where is told by the panic hook, which knows.
    pub(super) fn note_panic(&mut self, what: &dyn fmt::Display, payload: Payload) {
        self.stats.panics += 1;
        if let Log::Write { suppressed } = self.panics.on_event(self.now) {
            let said = payload.downcast_ref::<&str>().copied();
            let said = said.or(payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
            error!(%what, said = %escaped(&said), suppressed, "panicked; what it was about is ended");
        }
        // What was thrown may throw when it is dropped.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
    }

    /// Closes the stream of a connection, completes what was asked of it, and drops the rest:
    /// that is the protocol's code too.
    pub(super) fn let_go(&mut self, id: Id, entry: Entry<P, L, N>, report: &CloseReport<P::Error>) {
        let Entry { connection, line, linked, .. } = entry;
        if let Some(stream) = line.into_stream() {
            self.net.release(stream, if report.is_abort() { Release::Reset } else { Release::Close });
        }
        let dropped = self.caught(|worker| {
            commands::end(linked, &report.reason, worker.now);
            drop(connection);
        });
        if let Err(payload) = dropped {
            self.note_panic(&id, payload);
        }
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    /// Makes a call that is about one connection: if it panics, that one is ended.
    pub(super) fn call_about<A: Application<N, P, L>>(
        &mut self,
        id: Id,
        application: &mut A,
        call: impl FnOnce(&mut Self, &mut A),
    ) {
        if let Err(payload) = self.caught(|worker| call(worker, application)) {
            self.note_panic(&id, payload);
            self.end_panicked(id, application);
        }
    }

    /// Makes a call that is about no connection. False when it panicked, and that was all.
    pub(super) fn call<A: Application<N, P, L>>(
        &mut self,
        what: &str,
        application: &mut A,
        call: impl FnOnce(&mut Self, &mut A),
    ) -> bool {
        let result = self.caught(|worker| call(worker, application));
        let came_back = result.is_ok();
        if let Err(payload) = result {
            self.note_panic(&what, payload);
        }
        came_back
    }

    /// The first round is about to begin.
    pub(super) fn begin<A: Application<N, P, L>>(&mut self, application: &mut A) {
        if self.stage == Stage::New {
            self.stage = Stage::Started;
            self.start_tick();
            self.call("started", application, |worker, application| application.started(worker));
        }
    }

    /// There will be no more rounds.
    pub(super) fn finish<A: Application<N, P, L>>(&mut self, application: &mut A) {
        if self.stage == Stage::Started {
            self.stage = Stage::Stopped;
            self.call("stopped", application, |worker, application| application.stopped(worker));
        }
    }

    /// Ends a connection whose code panicked. Nothing more is told of it but its end: what
    /// the application thinks of it may be half-changed.
    #[cold]
    fn end_panicked<A: Application<N, P, L>>(&mut self, id: Id, application: &mut A) {
        self.workspace = Workspace::new();
        // Dropping an event or what was owed is the protocol's code too.
        let aborted = self.caught(|worker| worker.abort_silently(id));
        if let Err(payload) = aborted {
            self.note_panic(&id, payload);
        }
        // It was its end that panicked.
        let Some(Slot::Connection(entry)) = self.table.get(id) else { return };
        let report = CloseReport { reason: Reason::Panicked, counters: entry.connection.counters() };
        planted!(PanicUntold: {
            let report = CloseReport { reason: Reason::Aborted, counters: report.counters };
            return self.part_with(id, report, application);
        });
        self.part_with(id, report, application);
    }

    /// Discards what a connection holds, and closes its files.
    fn abort_silently(&mut self, id: Id) {
        let Some(Slot::Connection(entry)) = self.table.get_mut(id) else { return };
        let mut live = entry.connection.lend(&mut self.workspace, self.now);
        live.abort();
        // Whoever does not stand yet has had no turn, and nothing to be rid of.
        let Some(stream) = entry.line.stream_mut() else { return };
        let mut wire = self.net.wire(id, stream);
        while let Turn::Event(event) = turn(&mut live, &mut wire, &mut entry.ready, &mut Budget::bytes(usize::MAX)) {
            drop(event);
        }
    }
}
