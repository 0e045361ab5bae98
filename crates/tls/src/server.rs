//! A server's side: what all its connections share.

use crate::default_provider;
use crate::error::TlsError;
use crate::identity::Identity;
use crate::layer::Tls;
use crate::shown::Shown;
use crate::starttls::StartTls;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::fmt;
use std::sync::Arc;

/// What a server shows its peers, and asks of them. Cheap to clone; all clones are one.
///
/// Sessions are resumed by tickets, which only this server and its clones can read.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// Certificates of clients.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// Who has none is let in.
    Optional(RootCertStore),
    /// Who has none is not.
    Required(RootCertStore),
}

/// How a server is set up; made by [`Server::builder`].
#[derive(Debug)]
pub struct ServerBuilder {
    first: Identity,
    others: Vec<Identity>,
    provider: CryptoProvider,
    alpn: Vec<Vec<u8>>,
    clients: Option<ClientCertificates>,
}

impl ServerBuilder {
    /// With this identity too, behind those before it.
    ///
    /// A client that asks for a name (SNI) is shown the first identity whose certificate is valid for
    /// it, a wildcard's too. The first of all is shown when none is valid, and to a client that asks
    /// for no name, as one does that connects to an IP address.
    #[must_use]
    pub fn also(mut self, identity: Identity) -> ServerBuilder {
        self.others.push(identity);
        self
    }

    /// With this provider of cryptography instead of [`default_provider`].
    #[must_use]
    pub fn provider(self, provider: CryptoProvider) -> ServerBuilder {
        ServerBuilder { provider, ..self }
    }

    /// Speaks these protocols, the best first; a client that offers protocols and none of these is
    /// refused (FAULTS 79). A client that offers none is let in.
    #[must_use]
    pub fn alpn<A: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = A>) -> ServerBuilder {
        ServerBuilder { alpn: protocols.into_iter().map(|name| name.as_ref().to_vec()).collect(), ..self }
    }

    /// Asks clients for a certificate.
    #[must_use]
    pub fn client_certificates(self, clients: ClientCertificates) -> ServerBuilder {
        ServerBuilder { clients: Some(clients), ..self }
    }

    /// The server.
    ///
    /// # Errors
    /// [`TlsError::Pair`], [`TlsError::Setup`].
    pub fn build(self) -> Result<Server, TlsError> {
        let ServerBuilder { first, others, provider, alpn, clients } = self;
        let provider = Arc::new(provider);
        let shown = Arc::new(Shown::new(provider.clone(), first, others)?);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let (roots, is_optional) = match clients {
                    ClientCertificates::Optional(roots) => (roots, true),
                    ClientCertificates::Required(roots) => (roots, false),
                };
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if is_optional { verifier.allow_unauthenticated() } else { verifier };
                let unusable = |error: rustls::server::VerifierBuilderError| {
                    TlsError::Setup(rustls::Error::General(error.to_string()))
                };
                builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let mut config = builder.with_cert_resolver(shown.clone());
        config.alpn_protocols = alpn;
        config.ticketer = ticketer()?;
        Ok(Server { config: Arc::new(config), shown })
    }
}

impl Server {
    /// A server with this identity, and nothing else said.
    ///
    /// # Errors
    /// As [`ServerBuilder::build`].
    pub fn new(identity: Identity) -> Result<Server, TlsError> {
        Server::builder(identity).build()
    }

    /// A server with this identity, and more to say.
    #[must_use]
    pub fn builder(identity: Identity) -> ServerBuilder {
        ServerBuilder {
            first: identity,
            others: Vec::new(),
            provider: default_provider(),
            alpn: Vec::new(),
            clients: None,
        }
    }

    /// The layer for one peer.
    ///
    /// # Errors
    /// [`TlsError::Setup`]; never in a server that could be built.
    pub fn accept(&self) -> Result<Tls, TlsError> {
        Ok(Tls::new(ServerConnection::new(self.config.clone()).map_err(TlsError::Setup)?))
    }

    /// The layer for one peer that becomes this when the protocol asks for it (STARTTLS).
    #[must_use]
    pub fn starttls(&self) -> StartTls {
        StartTls::server(self.clone())
    }

    /// Shows this from now on and nothing else, to all that connect, from any thread; connections
    /// that stand go on.
    ///
    /// A session that began before can still be resumed: then nothing is shown, and what its client
    /// knows is the certificate of then.
    ///
    /// # Errors
    /// [`TlsError::Pair`]; then what was shown before stays.
    pub fn reload(&self, identity: Identity) -> Result<(), TlsError> {
        self.reload_all(identity, [])
    }

    /// The same for several, by the name that is asked for as in [`ServerBuilder::also`]. They take the
    /// place of those before in one step.
    ///
    /// # Errors
    /// [`TlsError::Pair`] when any of them cannot be used; then all that was shown before stays.
    pub fn reload_all(&self, first: Identity, others: impl IntoIterator<Item = Identity>) -> Result<(), TlsError> {
        self.shown.replace(first, others)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("alpn", &self.config.alpn_protocols.len()).finish_non_exhaustive()
    }
}

fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, TlsError> {
    #[cfg(feature = "ring")]
    return rustls::crypto::ring::Ticketer::new().map_err(TlsError::Setup);
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Setup);
}
