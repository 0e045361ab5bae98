//! Handshakes, and what the two agree on (W8).

use crate::support::{Authority, End, Pair, pattern};
use drywire_core::layer::Layer;
use drywire_tls::{Client, ClientCertificates, Identity, ProtocolVersion, Server, TlsError};

#[test]
fn w8_bytes_cross_both_ways_however_the_wire_is_cut() {
    for piece in [1, 2, 7, 100, 4096, usize::MAX] {
        let mut pair = Pair::plain();
        // Said before the handshake, and heard after it.
        pair.client.says = pattern(if piece < 10 { 3000 } else { 200_000 });
        pair.server.says = pattern(5000);
        let (from_client, from_server) = (pair.client.says.clone(), pair.server.says.clone());
        pair.carry(piece);
        assert_eq!((pair.client.failed, pair.server.failed), (None, None), "in pieces of {piece}");
        assert!(pair.server.plain == from_client && pair.client.plain == from_server, "in pieces of {piece}");
        assert_eq!(pair.client.tls.version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(pair.server.tls.server_name(), Some("localhost"));
    }
}

#[test]
fn fault_78_plain_bytes_that_find_no_room_are_held_and_come_out_later() {
    let mut pair = Pair::plain().shaken();
    pair.server.room = 100;
    pair.client.says = pattern(100_000);
    let said = pair.client.says.clone();
    pair.carry(60_000);
    assert!(pair.server.plain == said);
}

#[test]
fn fault_79_alpn_is_agreed_on_or_the_connection_ends() {
    let authority = Authority::new();
    let server = Server::builder(authority.identity("localhost")).alpn(["two", "one"]).build().unwrap();
    let client = |offers: &[&str]| Client::builder(authority.roots()).alpn(offers).build().unwrap();
    let pair = Pair::new(&client(&["one", "two"]), &server).shaken();
    assert_eq!((pair.client.tls.alpn(), pair.server.tls.alpn()), (Some(&b"two"[..]), Some(&b"two"[..])));
    let pair = Pair::new(&client(&[]), &server).shaken();
    assert_eq!(pair.server.tls.alpn(), None);
    let mut pair = Pair::new(&client(&["three"]), &server);
    pair.carry(usize::MAX);
    assert_eq!(pair.server.failed.unwrap().reason, "no application protocol in common (ALPN)");
    let alert = std::mem::take(&mut pair.server.wire);
    pair.client.hears(&alert);
    assert_eq!(pair.client.failed.unwrap().reason, "no application protocol in common (ALPN)", "it is told");
}

#[test]
fn w8_client_certificates_are_asked_for_and_checked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server =
        |clients| Server::builder(authority.identity("localhost")).client_certificates(clients).build().unwrap();
    let required = server(ClientCertificates::Required(authority.roots()));
    let optional = server(ClientCertificates::Optional(authority.roots()));
    let anonymous = Client::new(authority.roots()).unwrap();
    let known = Client::builder(authority.roots()).identity(authority.identity("a client")).build().unwrap();
    let unknown = Client::builder(authority.roots()).identity(stranger.identity("a stranger")).build().unwrap();

    let pair = Pair::new(&known, &required).shaken();
    assert_eq!(pair.server.tls.peer_certificates().map(<[_]>::len), Some(1));
    let pair = Pair::new(&anonymous, &optional).shaken();
    assert!(pair.server.tls.peer_certificates().is_none());
    for (client, server, why) in [
        (&anonymous, &required, "the peer has no certificate"),
        (&unknown, &required, "the peer's certificate is not valid"),
        (&unknown, &optional, "the peer's certificate is not valid"),
    ] {
        let mut pair = Pair::new(client, server);
        pair.carry(usize::MAX);
        assert_eq!(pair.server.failed.unwrap().reason, why);
        assert!(!pair.server.wire.is_empty(), "an alert is put out with the error");
    }
}

#[test]
fn w8_server_that_nobody_vouches_for_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let client = Client::new(authority.roots()).unwrap();
    for identity in [stranger.identity("localhost"), authority.identity("elsewhere")] {
        let mut pair = Pair::new(&client, &Server::new(identity).unwrap());
        pair.carry(usize::MAX);
        assert_eq!(pair.client.failed.unwrap().reason, "the peer's certificate is not valid");
        let alert = std::mem::take(&mut pair.client.wire);
        pair.server.hears(&alert);
        assert_eq!(pair.server.failed.unwrap().reason, "the peer does not accept our certificate");
    }
}

#[test]
fn w8_sessions_are_resumed() {
    let authority = Authority::new();
    let server = Server::new(authority.identity("localhost")).unwrap();
    let client = Client::new(authority.roots()).unwrap();
    let first = Pair::new(&client, &server).shaken();
    assert!(!first.client.tls.is_resumed() && !first.server.tls.is_resumed());
    let second = Pair::new(&client, &server.clone()).shaken();
    assert!(second.client.tls.is_resumed() && second.server.tls.is_resumed());
    let other = Server::new(authority.identity("localhost")).unwrap();
    assert!(!Pair::new(&client, &other).shaken().server.tls.is_resumed(), "a ticket of somebody else");
}

#[test]
fn w8_reload_shows_the_new_certificate_and_keeps_the_old_one_when_that_is_bad() {
    let authority = Authority::new();
    let server = Server::new(authority.identity("localhost")).unwrap();
    // A client of its own each time, or the session would be resumed.
    let shown = || {
        let pair = Pair::new(&Client::new(authority.roots()).unwrap(), &server).shaken();
        pair.client.tls.peer_certificates().unwrap()[0].clone()
    };
    let first = shown();
    assert_eq!(shown(), first);
    let standing = Pair::new(&Client::new(authority.roots()).unwrap(), &server).shaken();
    server.reload(authority.identity("localhost")).unwrap();
    let second = shown();
    assert_ne!(second, first);

    let ((certificate, _), (_, key)) = (authority.pem_for("localhost"), authority.pem_for("localhost"));
    let pair = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let error = server.reload(pair).unwrap_err();
    assert!(matches!(error, TlsError::Pair(_)) && error.to_string().contains("issued together"), "{error}");
    assert_eq!(shown(), second, "the one before stays");

    let mut standing = standing;
    standing.client.says = b"still here".to_vec();
    standing.carry(usize::MAX);
    assert_eq!(standing.server.plain, b"still here");
}

#[test]
fn w8_certificates_that_cannot_be_used_are_said_in_words() {
    let (certificate, key) = Authority::new().pem_for("localhost");
    let error = Identity::from_pem(key.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }) && error.to_string().contains("BEGIN CERTIFICATE"));
    let error = Identity::from_pem(certificate.as_bytes(), certificate.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::NoKey { .. }) && error.to_string().contains("BEGIN PRIVATE KEY"));
    let error = Identity::from_pem_files("/nowhere/cert.pem", "/nowhere/key.pem").unwrap_err();
    assert!(error.to_string().contains("/nowhere/cert.pem: No such file"), "{error}");
    let long = tempfile::NamedTempFile::new().unwrap();
    long.as_file().set_len((1 << 20) + 1).unwrap();
    for (path, why) in [(long.path(), "longer than 1 MiB"), ("/dev/zero".as_ref(), "not a regular file")] {
        let error = Identity::from_pem_files(path, path).unwrap_err();
        assert!(matches!(error, TlsError::File { .. }) && error.to_string().contains(why), "{error}");
    }
    let client = Client::new(Authority::new().roots()).unwrap();
    assert!(matches!(client.connect("no name"), Err(TlsError::Name(name)) if name == "no name"));
}

/// Every part of a flight, and of a record behind it, is a part of something; what is whole is not.
#[test]
fn fault_1_part_of_a_flight_or_of_a_record_is_told() {
    /// Brings all of it, byte by byte.
    fn drips(wire: &mut Vec<u8>, end: &mut End) {
        let wire = std::mem::take(wire);
        for (at, byte) in wire.iter().enumerate() {
            end.hears(&[*byte]);
            // A client answers the server's hello before the rest has come.
            let (is_whole, answers) = (at + 1 == wire.len(), !end.wire.is_empty());
            assert!(end.tls.is_partial() != is_whole || answers, "byte {at} of {}", wire.len());
            assert!(!end.tls.is_partial() || !is_whole);
        }
        assert_eq!(end.failed, None);
    }
    let Pair { mut client, mut server } = Pair::plain();
    drips(&mut client.wire, &mut server);
    assert!(server.tls.is_handshaking() && !client.tls.is_partial(), "the next flight has not begun");
    drips(&mut server.wire, &mut client);
    drips(&mut client.wire, &mut server);
    assert!(!server.tls.is_handshaking());
    client.hears(&std::mem::take(&mut server.wire));
    assert!(!client.tls.is_partial(), "tickets are whole");
    client.says = pattern(1000);
    client.speak();
    drips(&mut client.wire, &mut server);
    client.ends();
    drips(&mut client.wire, &mut server);
    assert!(server.tls.has_ended() && server.plain == pattern(1000));
}

/// Records that are whole, and carry a byte or two of the client's hello each.
#[test]
fn fault_1_flight_in_many_records_is_told_until_it_is_whole() {
    let Pair { client, mut server } = Pair::plain();
    let hello = &client.wire[5..];
    assert!(client.wire.len() == 5 + usize::from(u16::from_be_bytes([client.wire[3], client.wire[4]])), "one record");
    for (number, fragment) in hello.chunks(2).enumerate() {
        server.hears(&[&[22, 3, 1, 0, fragment.len() as u8], fragment].concat());
        assert_eq!(server.tls.is_partial(), number + 1 < hello.len().div_ceil(2), "record {number}");
    }
    assert!(server.failed.is_none() && !server.wire.is_empty());
}

/// A handshake is a few kilobytes; what else could a layer keep?
#[test]
fn w8_nothing_of_the_protocol_is_taken_before_the_handshake() {
    let pair = Pair::plain();
    let mut client: End = pair.client;
    client.says = pattern(1 << 20);
    client.speak();
    assert_eq!(client.says.len(), 1 << 20);
    assert!(client.wire.len() < 4096, "{} bytes", client.wire.len());
}
