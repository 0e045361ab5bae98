//! Which certificate a client is shown, by the name it asks for.

use crate::error::TlsError;
use crate::identity::Identity;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{DnsName, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::iter;
use std::sync::{Arc, PoisonError, RwLock};

/// What is shown now. All of it is in one place, so it changes in one step.
#[derive(Debug)]
pub(crate) struct Shown {
    provider: Arc<CryptoProvider>,
    now: RwLock<Arc<Choice>>,
}

impl Shown {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        first: Identity,
        others: impl IntoIterator<Item = Identity>,
    ) -> Result<Shown, TlsError> {
        let now = RwLock::new(Arc::new(Choice::new(&provider, first, others)?));
        Ok(Shown { provider, now })
    }

    /// Shows these from now on; what was shown stays when one of them cannot be used.
    pub(crate) fn replace(&self, first: Identity, others: impl IntoIterator<Item = Identity>) -> Result<(), TlsError> {
        let next = Arc::new(Choice::new(&self.provider, first, others)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // No longer than for the copy: whoever reloads does not wait for certificates to be parsed.
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(now.of(hello.server_name()).clone())
    }
}

#[derive(Debug)]
struct Choice {
    first: Arc<CertifiedKey>,
    others: Vec<Arc<CertifiedKey>>,
}

impl Choice {
    fn new(
        provider: &CryptoProvider,
        first: Identity,
        others: impl IntoIterator<Item = Identity>,
    ) -> Result<Choice, TlsError> {
        let certify = |identity: Identity| identity.certify(provider).map(Arc::new);
        Ok(Choice { first: certify(first)?, others: others.into_iter().map(certify).collect::<Result<_, _>>()? })
    }

    /// The first that is valid for this name, or the first of all.
    fn of(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        if self.others.is_empty() {
            return &self.first;
        }
        let Some(name) = name.and_then(|name| DnsName::try_from(name).ok()) else { return &self.first };
        let name = ServerName::DnsName(name);
        // One after the other, and each is parsed anew: webpki judges a certificate, it makes no list
        // of names.
        iter::once(&self.first).chain(&self.others).find(|shown| is_valid(shown, &name)).unwrap_or(&self.first)
    }
}

fn is_valid(shown: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = shown.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.and_then(|certificate| verify_server_name(&certificate, name)).is_ok()
}
