//! A client's side.

use crate::default_provider;
use crate::error::TlsError;
use crate::identity::Identity;
use crate::layer::Tls;
use crate::starttls::StartTls;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// Whom a client trusts, and what it shows. Cheap to clone; clones share the sessions that can be
/// resumed.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

/// How a client is set up; made by [`Client::builder`].
#[derive(Debug)]
pub struct ClientBuilder {
    roots: RootCertStore,
    provider: CryptoProvider,
    alpn: Vec<Vec<u8>>,
    identity: Option<Identity>,
}

impl ClientBuilder {
    /// With this provider of cryptography instead of [`default_provider`].
    #[must_use]
    pub fn provider(self, provider: CryptoProvider) -> ClientBuilder {
        ClientBuilder { provider, ..self }
    }

    /// Offers these protocols, the best first.
    #[must_use]
    pub fn alpn<A: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = A>) -> ClientBuilder {
        ClientBuilder { alpn: protocols.into_iter().map(|name| name.as_ref().to_vec()).collect(), ..self }
    }

    /// Shows this to servers that ask for it.
    #[must_use]
    pub fn identity(self, identity: Identity) -> ClientBuilder {
        ClientBuilder { identity: Some(identity), ..self }
    }

    /// The client.
    ///
    /// # Errors
    /// [`TlsError::Pair`], [`TlsError::Setup`].
    pub fn build(self) -> Result<Client, TlsError> {
        let ClientBuilder { roots, provider, alpn, identity } = self;
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (certificates, key) = identity.into_parts();
                builder.with_client_auth_cert(certificates, key).map_err(TlsError::Pair)?
            }
        };
        config.alpn_protocols = alpn;
        Ok(Client { config: Arc::new(config) })
    }
}

impl Client {
    /// Trusts servers for whom one of these vouches.
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    pub fn new(roots: RootCertStore) -> Result<Client, TlsError> {
        Client::builder(roots).build()
    }

    /// The same, and more to say.
    #[must_use]
    pub fn builder(roots: RootCertStore) -> ClientBuilder {
        ClientBuilder { roots, provider: default_provider(), alpn: Vec::new(), identity: None }
    }

    /// The layer for a connection to the server of this name, a DNS name or an IP address.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn connect(&self, name: &str) -> Result<Tls, TlsError> {
        self.begin(named(name)?)
    }

    /// The layer that becomes this when the protocol asks for it (STARTTLS).
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn starttls(&self, name: &str) -> Result<StartTls, TlsError> {
        Ok(StartTls::client(self.clone(), named(name)?))
    }

    pub(crate) fn begin(&self, name: ServerName<'static>) -> Result<Tls, TlsError> {
        Ok(Tls::new(ClientConnection::new(self.config.clone(), name).map_err(TlsError::Setup)?))
    }
}

fn named(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("alpn", &self.config.alpn_protocols.len()).finish_non_exhaustive()
    }
}
