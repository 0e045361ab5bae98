//! Certificates, two layers with a wire between them, and the application of simulated worlds.

use drywire_core::layer::{Layer, LayerError, Sink};
use drywire_core::{CloseReport, Connection, Protocol, Reason};
use drywire_server::{Address, Application, Id, Net, Worker};
use drywire_tls::{Client, CryptoProvider, Identity, ProtocolVersion, RootCertStore, Server, Tls, default_provider};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::CipherSuiteCommon;
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use std::sync::atomic::{AtomicU32, Ordering};

/// Somebody who vouches for others.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Authority {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    pub(crate) fn pem_for(&self, name: &str) -> (String, String) {
        self.pem_for_all(&[name])
    }

    /// One certificate for all of these.
    pub(crate) fn pem_for_all(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.identity_for(&[name])
    }

    pub(crate) fn identity_for(&self, names: &[&str]) -> Identity {
        let (certificate, key) = self.pem_for_all(names);
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }
}

/// Only what `version` has, and keys that may encrypt so many records.
pub(crate) fn provider_of(version: ProtocolVersion, records: u64) -> CryptoProvider {
    let mut provider = default_provider();
    provider.cipher_suites.retain(|suite| suite.version().version == version);
    for suite in &mut provider.cipher_suites {
        let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
            suite: common.suite,
            hash_provider: common.hash_provider,
            confidentiality_limit: records,
        };
        *suite = match *suite {
            SupportedCipherSuite::Tls12(suite) => {
                let limited = Tls12CipherSuite { common: common(&suite.common), ..*suite };
                SupportedCipherSuite::Tls12(Box::leak(Box::new(limited)))
            }
            SupportedCipherSuite::Tls13(suite) => {
                let limited = Tls13CipherSuite { common: common(&suite.common), ..*suite };
                SupportedCipherSuite::Tls13(Box::leak(Box::new(limited)))
            }
        };
    }
    provider
}

/// One end: its layer, and what came out of it.
pub(crate) struct End {
    pub(crate) tls: Tls,
    /// For the other end.
    pub(crate) wire: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    /// What it wants to say, until it can.
    pub(crate) says: Vec<u8>,
    /// Plain bytes that one call may put out.
    pub(crate) room: usize,
    pub(crate) failed: Option<LayerError>,
}

impl End {
    pub(crate) fn new(tls: Tls) -> End {
        let mut end =
            End { tls, wire: Vec::new(), plain: Vec::new(), says: Vec::new(), room: usize::MAX, failed: None };
        end.tls.open(&mut Sink::unbounded(&mut end.wire)).unwrap();
        end
    }

    /// These bytes come from the wire, then whatever is held back.
    pub(crate) fn hears(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        loop {
            let mut plain = Vec::new();
            let result =
                self.tls.receive(bytes, &mut Sink::new(&mut plain, self.room), &mut Sink::unbounded(&mut self.wire));
            assert!(plain.len() <= self.room);
            self.plain.extend(plain);
            bytes = &[];
            if let Err(error) = result {
                self.failed = Some(error);
                return;
            }
            if !self.tls.is_holding() {
                return self.speak();
            }
        }
    }

    /// Says what it wants to, as far as it can.
    pub(crate) fn speak(&mut self) {
        while !self.says.is_empty() {
            let n = self.tls.send(&self.says, &mut Sink::unbounded(&mut self.wire)).unwrap();
            if n == 0 {
                return;
            }
            self.says.drain(..n);
        }
    }

    pub(crate) fn ends(&mut self) {
        self.tls.send_end(&mut Sink::unbounded(&mut self.wire)).unwrap();
    }
}

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
}

impl Pair {
    pub(crate) fn new(client: &Client, server: &Server) -> Pair {
        Pair::to("localhost", client, server)
    }

    /// The client knows the server by this name.
    pub(crate) fn to(name: &str, client: &Client, server: &Server) -> Pair {
        Pair { client: End::new(client.connect(name).unwrap()), server: End::new(server.accept().unwrap()) }
    }

    /// The usual two.
    pub(crate) fn plain() -> Pair {
        let authority = Authority::new();
        let server = Server::new(authority.identity("localhost")).unwrap();
        Pair::new(&Client::new(authority.roots()).unwrap(), &server)
    }

    /// Carries what each has for the other, in pieces of at most `piece` bytes, until both are silent.
    pub(crate) fn carry(&mut self, piece: usize) {
        self.client.speak();
        self.server.speak();
        while self.client.failed.is_none() && self.server.failed.is_none() {
            let (to_server, to_client) = (take(&mut self.client.wire, piece), take(&mut self.server.wire, piece));
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            self.server.hears(&to_server);
            self.client.hears(&to_client);
        }
    }

    pub(crate) fn shaken(mut self) -> Pair {
        self.carry(usize::MAX);
        assert!(!self.client.tls.is_handshaking() && !self.server.tls.is_handshaking());
        self
    }
}

/// Lets everybody in, and keeps how connections ended.
pub(crate) struct App<P: Protocol, L: Layer> {
    connection: Box<dyn Fn() -> Connection<P, L>>,
    pub(crate) ended: Vec<Reason<P::Error>>,
    /// Bytes that were owed to those and not taken.
    pub(crate) unsent: u64,
}

impl<P: Protocol, L: Layer> App<P, L> {
    pub(crate) fn new(connection: impl Fn() -> Connection<P, L> + 'static) -> App<P, L> {
        App { connection: Box::new(connection), ended: Vec::new(), unsent: 0 }
    }
}

impl<N: Net, P: Protocol, L: Layer> Application<N, P, L> for App<P, L> {
    fn accept(&mut self, _: &mut Worker<P, L, N>, _: Id, _: &Address) -> Option<Connection<P, L>> {
        Some((self.connection)())
    }

    fn closed(&mut self, _: &mut Worker<P, L, N>, _: Id, report: CloseReport<P::Error>) {
        self.ended.push(report.reason);
        self.unsent += report.counters.unsent;
    }
}

fn take(wire: &mut Vec<u8>, most: usize) -> Vec<u8> {
    let n = wire.len().min(most);
    wire.drain(..n).collect()
}

pub(crate) fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}
