//! Several certificates, and which of them a client is shown (W8).

use crate::support::{Authority, End, Pair};
use drywire_tls::{CertificateDer, Client, Identity, Server, TlsError, default_provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use std::thread;

/// Certificates for names of one's own choice, which can be told apart.
struct Identities {
    authority: Authority,
    pems: Vec<(String, String)>,
}

impl Identities {
    /// One for each of these, which may have several names.
    fn new(of: &[&[&str]]) -> Identities {
        let authority = Authority::new();
        let pems = of.iter().map(|names| authority.pem_for_all(names)).collect();
        Identities { authority, pems }
    }

    fn identity(&self, n: usize) -> Identity {
        Identity::from_pem(self.pems[n].0.as_bytes(), self.pems[n].1.as_bytes()).unwrap()
    }

    /// The certificate of one, with the key of another.
    fn bad(&self) -> Identity {
        Identity::from_pem(self.pems[0].0.as_bytes(), self.pems[1].1.as_bytes()).unwrap()
    }

    fn others(&self) -> impl Iterator<Item = Identity> {
        (1..self.pems.len()).map(|n| self.identity(n))
    }

    fn server(&self) -> Server {
        let builder = Server::builder(self.identity(0));
        self.others().fold(builder, drywire_tls::ServerBuilder::also).build().unwrap()
    }

    /// Which of them somebody is shown who asks for this name.
    #[track_caller]
    fn shown(&self, server: &Server, name: &str) -> usize {
        let shown = shown(server, name);
        let is_shown = |n: &usize| self.identity(*n).certificates()[0] == shown;
        (0..self.pems.len()).find(is_shown).expect("one of these is shown")
    }

    fn client(&self) -> Client {
        Client::new(self.authority.roots()).unwrap()
    }
}

/// Takes any certificate, or none could be seen that is not valid for the name.
#[derive(Debug)]
struct Anything(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("it offers TLS 1.3 alone")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The certificate that somebody is shown who asks for this name, valid for it or not.
fn shown(server: &Server, name: &str) -> CertificateDer<'static> {
    let provider = default_provider();
    let anything = Arc::new(Anything(provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(anything)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = End::new(server.accept().unwrap());
    // There and back.
    for _ in 0..2 {
        let mut hello = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut hello).unwrap();
        }
        server.hears(&hello);
        let wire = std::mem::take(&mut server.wire);
        let mut wire = &wire[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!server.tls.is_handshaking() && server.failed.is_none());
    client.peer_certificates().unwrap()[0].clone()
}

#[test]
fn w8_first_certificate_that_is_valid_for_the_name_is_shown() {
    let identities = Identities::new(&[&["a.example"], &["a.example", "b.example"], &["b.example", "c.example"]]);
    let server = identities.server();
    for (name, n) in [("a.example", 0), ("b.example", 1), ("c.example", 2), ("C.Example", 2)] {
        assert_eq!(identities.shown(&server, name), n, "{name}");
        let pair = Pair::to(name, &identities.client(), &server).shaken();
        assert_eq!(pair.client.tls.peer_certificates(), Some(identities.identity(n).certificates()), "{name}");
    }
}

#[test]
fn w8_wildcard_is_valid_for_one_label() {
    let identities = Identities::new(&[&["a.example"], &["*.b.example"], &["x.b.example", "b.example"]]);
    let server = identities.server();
    // An exact name behind a wildcard comes too late: their order is whoever made the server's.
    for (name, n) in [("any.b.example", 1), ("x.b.example", 1), ("x.y.b.example", 0), ("b.example", 2)] {
        assert_eq!(identities.shown(&server, name), n, "{name}");
    }
}

#[test]
fn w8_unknown_name_and_no_name_are_shown_the_first() {
    let identities = Identities::new(&[&["a.example", "127.0.0.1"], &["b.example", "127.0.0.2"]]);
    let server = identities.server();
    // An IP address is not asked for, so nobody knows that the second would be valid for it.
    for name in ["elsewhere.example", "127.0.0.1", "127.0.0.2"] {
        assert_eq!(identities.shown(&server, name), 0, "{name}");
    }
    let pair = Pair::to("127.0.0.1", &identities.client(), &server).shaken();
    assert_eq!(pair.server.tls.server_name(), None);
    assert_eq!(pair.client.tls.peer_certificates(), Some(identities.identity(0).certificates()));
}

#[test]
fn w8_session_from_before_a_reload_is_resumed_without_a_certificate() {
    let (old, new) = (Identities::new(&[&["a.example"], &["b.example"]]), Identities::new(&[&["c.example"]]));
    let (server, client) = (old.server(), old.client());
    let first = Pair::to("b.example", &client, &server).shaken();
    assert!(!first.client.tls.is_resumed());
    server.reload(new.identity(0)).unwrap();
    let second = Pair::to("b.example", &client, &server).shaken();
    assert!(second.client.tls.is_resumed() && second.server.tls.is_resumed());
    assert_eq!(second.client.tls.peer_certificates(), Some(old.identity(1).certificates()), "that of then");
    assert_eq!(new.shown(&server, "b.example"), 0, "whoever is new is shown the new one");
}

#[test]
fn w8_reload_takes_the_place_of_all_that_was_shown() {
    let names: &[&[&str]] = &[&["a.example"], &["b.example"]];
    let (old, new) = (Identities::new(names), Identities::new(names));
    let server = old.server();
    let clone = server.clone();
    assert_eq!((old.shown(&server, "a.example"), old.shown(&server, "b.example")), (0, 1));
    server.reload_all(new.identity(0), new.others()).unwrap();
    assert_eq!((new.shown(&clone, "a.example"), new.shown(&clone, "b.example")), (0, 1));
    server.reload(old.identity(0)).unwrap();
    assert_eq!((old.shown(&clone, "a.example"), old.shown(&clone, "b.example")), (0, 0), "one is left");
}

#[test]
fn w8_one_bad_pair_of_several_changes_nothing() {
    let names: &[&[&str]] = &[&["a.example"], &["b.example"], &["c.example"]];
    let (old, new) = (Identities::new(names), Identities::new(names));
    let server = old.server();
    for bad in 0..3 {
        let mut identities = (0..3).map(|n| if n == bad { new.bad() } else { new.identity(n) });
        let error = server.reload_all(identities.next().unwrap(), identities).unwrap_err();
        assert!(matches!(error, TlsError::Pair(_)), "{error}");
        for (n, names) in names.iter().enumerate() {
            assert_eq!(old.shown(&server, names[0]), n, "{} of 3 is bad", bad + 1);
        }
    }
    let built = Server::builder(new.identity(0)).also(new.bad()).build();
    assert!(matches!(built, Err(TlsError::Pair(_))));
}

/// Both times somebody has the name, in another place: it is only missing in between.
#[test]
fn w8_reload_is_one_step() {
    let identities = Identities::new(&[&["a.example"], &["b.example"]]);
    let server = identities.server();
    let reloader = {
        let server = server.clone();
        let turned = Identities { authority: Authority::new(), pems: identities.pems.clone() };
        thread::spawn(move || {
            for round in 0..400 {
                let (first, other) = (turned.identity(round % 2), turned.identity(1 - round % 2));
                server.reload_all(first, [other]).unwrap();
            }
        })
    };
    let mut looked = 0;
    while !reloader.is_finished() && looked < 100_000 {
        assert_eq!(identities.shown(&server, "b.example"), 1);
        looked += 1;
    }
    reloader.join().unwrap();
    assert!(looked > 0);
}
