//! A server's side: what all its connections share.

use crate::default_provider;
use crate::error::TlsError;
use crate::identity::Identity;
use crate::layer::Tls;
use crate::starttls::StartTls;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// What a server shows its peers, and asks of them. Cheap to clone; all clones are one.
///
/// Sessions are resumed by tickets, which only this server and its clones can read.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
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
    identity: Identity,
    provider: CryptoProvider,
    alpn: Vec<Vec<u8>>,
    clients: Option<ClientCertificates>,
}

impl ServerBuilder {
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
        let ServerBuilder { identity, provider, alpn, clients } = self;
        let provider = Arc::new(provider);
        let current = Arc::new(Current(RwLock::new(Arc::new(identity.certify(&provider)?))));
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
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = if is_optional { verifier.allow_unauthenticated() } else { verifier };
                let unusable = |error: rustls::server::VerifierBuilderError| {
                    TlsError::Setup(rustls::Error::General(error.to_string()))
                };
                builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let mut config = builder.with_cert_resolver(current.clone());
        config.alpn_protocols = alpn;
        config.ticketer = ticketer()?;
        Ok(Server { config: Arc::new(config), provider, current })
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
        ServerBuilder { identity, provider: default_provider(), alpn: Vec::new(), clients: None }
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

    /// Shows this from now on, to all that connect, from any thread; connections that stand go on.
    ///
    /// # Errors
    /// [`TlsError::Pair`]; then the one before stays.
    pub fn reload(&self, identity: Identity) -> Result<(), TlsError> {
        let next = Arc::new(identity.certify(&self.provider)?);
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("alpn", &self.config.alpn_protocols.len()).finish_non_exhaustive()
    }
}

/// What is shown now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, TlsError> {
    #[cfg(feature = "ring")]
    return rustls::crypto::ring::Ticketer::new().map_err(TlsError::Setup);
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Setup);
}
