//! Listening: sockets that others connect to, and who is let in.

use crate::driver::Driver;
use crate::io_error::AddressError;
use crate::listener::Listener;
use crate::slot::Slot;
use crate::stream::Stream;
use drywire_core::Protocol;
use drywire_core::layer::Layer;
use drywire_server::{ACCEPTS_PER_TURN, Address, Application, Id, Log, Verdict, classify, escaped};
use mio::Token;
use std::fmt;
use std::io;
use tracing::{Level, debug, error, warn};

impl<P: Protocol, L: Layer> Driver<P, L> {
    /// Listens on an address. Port 0 picks a free one; a socket file that nobody
    /// listens on any more is replaced.
    ///
    /// # Errors
    /// [`AddressError`], which names the address and the way out (row E10).
    pub fn listen(&mut self, address: &Address) -> Result<Id, AddressError> {
        let listener = Listener::bind(address)?;
        self.add_listener(listener).map_err(|source| AddressError {
            what: "listen on",
            address: address.clone(),
            source,
        })
    }

    /// Listens on a socket that is open already: inherited, or with options of
    /// one's own.
    ///
    /// # Errors
    /// The poller's.
    pub fn listen_on(&mut self, socket: impl Into<ListenSocket>) -> io::Result<Id> {
        self.add_listener(socket.into().0)
    }

    /// The address a listener is bound to.
    pub fn local_address(&self, listener: Id) -> Option<Address> {
        match self.table.get(listener)? {
            Slot::Listener(listener) => listener.local_address().ok(),
            Slot::Connection(_) | Slot::Source(_) => None,
        }
    }

    /// Stops listening; connections stay.
    pub fn stop_listening(&mut self, listener: Id) {
        if matches!(self.table.get(listener), Some(Slot::Listener(_)))
            && let Some(Slot::Listener(mut listener)) = self.table.remove(listener)
        {
            listener.deregister(self.poll.registry());
        }
    }

    fn add_listener(&mut self, listener: Listener) -> io::Result<Id> {
        let id = self.insert(Slot::Listener(listener))?;
        let Some(Slot::Listener(listener)) = self.table.get_mut(id) else { unreachable!("just inserted") };
        if let Err(error) = listener.register(self.poll.registry(), Token(id.to_token())) {
            self.table.remove(id);
            return Err(error);
        }
        Ok(id)
    }
}

impl<P, L> Driver<P, L>
where
    P: Protocol<Error: fmt::Display>,
    L: Layer,
{
    pub(crate) fn accept<A: Application<Self, P, L>>(&mut self, listener: Id, application: &mut A) {
        for _ in 0..ACCEPTS_PER_TURN {
            let now = self.now;
            let Some(Slot::Listener(entry)) = self.table.get_mut(listener) else { return };
            if entry.backoff.paused_until(now).is_some() {
                return;
            }
            let refused = match entry.accept() {
                Ok((stream, peer)) => {
                    entry.backoff.on_accepted();
                    self.welcome(listener, stream, peer, application);
                    continue;
                }
                Err(refused) => refused,
            };
            let pause = match classify(&refused) {
                Verdict::WouldBlock => return,
                Verdict::GoOn => match entry.backoff.on_lost(now) {
                    None => continue,
                    Some(pause) => pause,
                },
                Verdict::Resources => entry.backoff.on_refused(now),
                Verdict::Fatal => {
                    error!(%listener, error = %refused, "listener failed");
                    self.stop_listening(listener);
                    return application.listener_failed(self, listener, &refused);
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

    fn welcome<A: Application<Self, P, L>>(
        &mut self,
        listener: Id,
        stream: Stream,
        peer: Address,
        application: &mut A,
    ) {
        let Some(connection) = application.accept(self, listener, &peer) else {
            debug!(peer = %escaped(&peer), "turned away");
            return;
        };
        match self.add(stream, connection) {
            Ok(id) => {
                if tracing::enabled!(Level::DEBUG)
                    && let Some(Slot::Connection(entry)) = self.table.get_mut(id)
                {
                    entry.peer = Some(Box::new(peer));
                }
                application.opened(self, id);
            }
            // That connection's problem alone (FAULTS 8).
            Err(refused) => warn!(peer = %escaped(&peer), error = %refused, "cannot serve"),
        }
    }
}

/// A listening socket of any kind.
#[derive(Debug)]
pub struct ListenSocket(Listener);

impl From<std::net::TcpListener> for ListenSocket {
    fn from(socket: std::net::TcpListener) -> ListenSocket {
        ListenSocket(socket.into())
    }
}

impl From<std::os::unix::net::UnixListener> for ListenSocket {
    fn from(socket: std::os::unix::net::UnixListener) -> ListenSocket {
        ListenSocket(socket.into())
    }
}
