//! TLS that begins in the middle of a connection, when its protocol says so.

use crate::client::Client;
use crate::error::TlsError;
use crate::layer::{Tls, failed};
use crate::server::Server;
use drywire_core::escape::escaped;
use drywire_core::layer::{Layer, LayerError, Sink};
use rustls::pki_types::ServerName;
use tracing::debug;

/// Nothing at all until the protocol asks for an upgrade
/// ([`Context::upgrade`](drywire_core::Context::upgrade)), TLS from then on. Made by
/// [`Server::starttls`] and [`Client::starttls`]. It is upgraded once.
#[derive(Debug)]
pub struct StartTls(State);

#[derive(Debug)]
enum State {
    Plain(Side),
    /// Boxed: who never upgrades does not pay for it.
    Tls(Box<Tls>),
}

/// Whose side it will be.
#[derive(Debug)]
enum Side {
    Server(Server),
    Client(Client, ServerName<'static>),
}

impl Side {
    fn begin(&self) -> Result<Tls, TlsError> {
        match self {
            Side::Server(server) => server.accept(),
            Side::Client(client, name) => client.begin(name.clone()),
        }
    }
}

impl StartTls {
    pub(crate) fn server(server: Server) -> StartTls {
        StartTls(State::Plain(Side::Server(server)))
    }

    pub(crate) fn client(client: Client, name: ServerName<'static>) -> StartTls {
        StartTls(State::Plain(Side::Client(client, name)))
    }

    /// What is spoken since the upgrade; `None` before it.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        match &self.0 {
            State::Plain(_) => None,
            State::Tls(tls) => Some(tls),
        }
    }
}

impl Layer for StartTls {
    const BEGINS_PLAIN: bool = true;

    fn receive(&mut self, received: &[u8], plain: &mut Sink<'_>, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        match &mut self.0 {
            State::Plain(_) => ().receive(received, plain, wire),
            State::Tls(tls) => tls.receive(received, plain, wire),
        }
    }

    fn is_holding(&self) -> bool {
        self.tls().is_some_and(Layer::is_holding)
    }

    fn is_partial(&self) -> bool {
        self.tls().is_some_and(Layer::is_partial)
    }

    fn has_ended(&self) -> bool {
        self.tls().is_some_and(Layer::has_ended)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Sink<'_>) -> Result<usize, LayerError> {
        match &mut self.0 {
            State::Plain(_) => ().send(plain, wire),
            State::Tls(tls) => tls.send(plain, wire),
        }
    }

    fn is_opening(&self) -> bool {
        self.tls().is_some_and(Layer::is_opening)
    }

    fn upgrade(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        let State::Plain(side) = &self.0 else { return Err(failed("it is spoken already")) };
        let mut tls = side.begin().map_err(|error| {
            debug!(error = %escaped(&error), "TLS cannot begin");
            failed("the engine cannot begin")
        })?;
        let opened = tls.open(wire);
        self.0 = State::Tls(Box::new(tls));
        opened
    }

    fn receive_end(&mut self) -> Result<(), LayerError> {
        match &mut self.0 {
            State::Plain(_) => Ok(()),
            State::Tls(tls) => tls.receive_end(),
        }
    }

    fn send_end(&mut self, wire: &mut Sink<'_>) -> Result<(), LayerError> {
        match &mut self.0 {
            State::Plain(_) => Ok(()),
            State::Tls(tls) => tls.send_end(wire),
        }
    }
}
