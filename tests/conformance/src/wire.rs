//! What is spoken between a driver and its peers, below the protocol: nothing, or TLS.

use drywire_core::layer::Layer;
use drywire_tls::{Client, Identity, RootCertStore, Server};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use std::sync::{Arc, LazyLock};

/// What a driver has below its protocols.
pub trait Wire: 'static {
    /// The layer itself.
    type Layer: Layer + Send + 'static;

    /// Its peers speak TLS.
    const IS_TLS: bool;

    /// The layer for a peer that came.
    fn accepts() -> Self::Layer;

    /// The layer for a connection that we make.
    fn connects() -> Self::Layer;
}

/// Nothing.
#[derive(Debug)]
pub struct Plain;

impl Wire for Plain {
    type Layer = ();
    const IS_TLS: bool = false;

    fn accepts() {}

    fn connects() {}
}

/// TLS, with a certificate made for this process.
#[derive(Debug)]
pub struct Tls;

impl Wire for Tls {
    type Layer = drywire_tls::Tls;
    const IS_TLS: bool = true;

    fn accepts() -> drywire_tls::Tls {
        SITE.server.accept().expect("it was set up")
    }

    fn connects() -> drywire_tls::Tls {
        SITE.client.connect(NAME).expect("a name")
    }
}

const NAME: &str = "localhost";

/// Our side, and the peers': these go to rustls themselves and know nothing of `drywire_tls`.
struct Site {
    server: Server,
    client: Client,
    peers_server: Arc<ServerConfig>,
    peers_client: Arc<ClientConfig>,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a name");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
    let der: CertificateDer<'static> = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    Site {
        server: Server::new(identity).expect("a pair"),
        client: Client::new(roots.clone()).expect("somebody to trust"),
        peers_server: Arc::new(
            server.expect("versions").with_no_client_auth().with_single_cert(vec![der], key).expect("a pair"),
        ),
        peers_client: Arc::new(client.expect("versions").with_root_certificates(roots).with_no_client_auth()),
    }
});

/// A peer's own end of TLS, when it connects.
pub(crate) fn peer_that_connects() -> rustls::Connection {
    let name = ServerName::try_from(NAME).expect("a name");
    ClientConnection::new(SITE.peers_client.clone(), name).expect("it was set up").into()
}

/// The same, when it is connected to.
pub(crate) fn peer_that_accepts() -> rustls::Connection {
    ServerConnection::new(SITE.peers_server.clone()).expect("it was set up").into()
}
