//! Listening: sockets that others connect to, and who is let in.

use super::outgoing::Line;
use super::slot::{Listening, Slot};
use super::{Worker, table_is_full};
use crate::accept::{ACCEPTS_PER_TURN, Verdict, classify};
use crate::address::Address;
use crate::admission::{Origin, Refusal};
use crate::application::{Application, Notice};
use crate::escape::escaped;
use crate::io_error::AddressError;
use crate::log_limit::Log;
use crate::net::Net;
use crate::table::Id;
use drywire_core::Protocol;
use drywire_core::layer::Layer;
use std::fmt;
use std::io;
use tracing::{Level, debug, error, warn};

impl<P: Protocol, L: Layer, N: Net> Worker<P, L, N> {
    /// Listens on an address. Port 0 picks a free one; a socket file that nobody
    /// listens on any more is replaced.
    ///
    /// # Errors
    /// [`AddressError`], which names the address and the way out (row E10).
    pub fn listen(&mut self, address: &Address) -> Result<Id, AddressError> {
        self.insert_listener(|net, id| net.listen(id, address))
            .map_err(|source| AddressError::listening(address.clone(), source))
    }

    /// Listens on a socket that is open already: inherited, or with options of
    /// one's own.
    ///
    /// # Errors
    /// The poller's.
    pub fn listen_on(&mut self, socket: impl Into<N::Bound>) -> io::Result<Id> {
        self.insert_listener(|net, id| net.listen_on(id, socket.into()))
    }

    /// The address a listener is bound to.
    pub fn local_address(&self, listener: Id) -> Option<Address> {
        match self.table.get(listener)? {
            Slot::Listener(listening) => self.net.local_address(&listening.socket),
            Slot::Connection(_) | Slot::Source(_) => None,
        }
    }

    /// Stops listening; connections stay. Those that were not accepted yet are reset, unless the
    /// socket is held elsewhere too; [`Worker::shutdown`] accepts them first.
    pub fn stop_listening(&mut self, listener: Id) {
        if matches!(self.table.get(listener), Some(Slot::Listener(_)))
            && let Some(Slot::Listener(listening)) = self.table.remove(listener)
        {
            if let Some(last_call) = self.last_call.as_mut().filter(|_| listening.is_closing) {
                last_call.listeners -= 1;
            }
            self.net.release_listener(listening.socket);
        }
    }

    fn insert_listener(&mut self, listen: impl FnOnce(&mut N, Id) -> io::Result<N::Listener>) -> io::Result<Id> {
        let net = &mut self.net;
        let make = |id| listen(net, id).map(|socket| Slot::Listener(Listening::new(socket)));
        self.table.try_insert_with(make).unwrap_or_else(|| Err(table_is_full()))
    }
}

impl<P, L, N> Worker<P, L, N>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
    N: Net,
{
    pub(super) fn accept<A: Application<N, P, L>>(&mut self, listener: Id, application: &mut A) {
        for _ in 0..ACCEPTS_PER_TURN {
            let now = self.now;
            let Some(Slot::Listener(listening)) = self.table.get_mut(listener) else { return };
            if listening.backoff.paused_until(now).is_some() {
                return;
            }
            let refused = match self.net.accept(&mut listening.socket) {
                Ok((stream, peer)) => {
                    listening.backoff.on_accepted();
                    self.welcome(listener, stream, peer, application);
                    continue;
                }
                Err(refused) => refused,
            };
            let pause = match classify(&refused) {
                // At once, because a connection that comes between the two calls is reset.
                Verdict::WouldBlock if listening.is_closing => return self.stop_listening(listener),
                Verdict::WouldBlock => return,
                Verdict::GoOn => match listening.backoff.on_lost(now) {
                    None => continue,
                    Some(pause) => pause,
                },
                Verdict::Resources => listening.backoff.on_refused(now),
                Verdict::Fatal => {
                    error!(%listener, error = %refused, "listener failed");
                    self.stop_listening(listener);
                    self.call("notice", application, |worker, application| {
                        application.notice(worker, Notice::ListenerFailed { listener, error: &refused });
                    });
                    return;
                }
            };
            if let Log::Write { suppressed } = pause.log {
                warn!(%listener, error = %refused, suppressed, "cannot accept, trying again later");
            }
            // The connections wait in the kernel, and no edge will tell of them.
            self.push_alarm(pause.until, listener);
            return;
        }
        self.make_ready(listener);
    }

    fn welcome<A: Application<N, P, L>>(&mut self, listener: Id, stream: N::Open, peer: Address, application: &mut A) {
        let place = match self.place(Origin::of(&peer)) {
            Ok(place) => place,
            Err(refusal) => return self.refuse(stream, &peer, refusal),
        };
        let mut made = None;
        self.call("accept", application, |worker, application| made = application.accept(worker, listener, &peer));
        let Some(connection) = made else {
            self.stats.turned_away += 1;
            debug!(peer = %escaped(&peer), "turned away");
            return;
        };
        let mut limits = *connection.limits();
        self.config.timeouts.apply(&mut limits);
        let connection = connection.with_limits(limits);
        if let Err(refusal) = self.prepare(&connection) {
            return self.refuse(stream, &peer, refusal);
        }
        match self.insert(connection, place, |net, id| net.register(id, stream).map(Line::Stands)) {
            Ok(id) => {
                self.stats.accepted += 1;
                if (tracing::enabled!(Level::DEBUG) || self.last_call.is_some())
                    && let Some(Slot::Connection(entry)) = self.table.get_mut(id)
                {
                    entry.peer = Some(Box::new(peer));
                }
                self.call_about(id, application, |worker, application| application.opened(worker, id));
                if self.last_call.is_some() {
                    self.await_first_bytes(id);
                }
            }
            // That connection's problem alone (FAULTS 8).
            Err(refused) => {
                if let Log::Write { suppressed } = self.refusals.on_event(self.now) {
                    warn!(peer = %escaped(&peer), error = %refused, suppressed, "cannot serve");
                }
            }
        }
    }

    /// There is no room for a peer: it is told so, as far as that goes without waiting
    /// for it, and counted (FAULTS 25, 26).
    fn refuse(&mut self, stream: N::Open, peer: &Address, refusal: Refusal) {
        self.stats.on_refused(refusal);
        // Behind TLS the words would be a broken record to it.
        let words = if L::BEGINS_PLAIN { &*self.config.refusal } else { "" };
        self.net.refuse(stream, words.as_bytes());
        if let Log::Write { suppressed } = self.refusals.on_event(self.now) {
            warn!(peer = %escaped(peer), reason = %refusal, suppressed, "refused");
        }
    }
}
