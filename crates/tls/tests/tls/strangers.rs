//! Peers that speak something else, or badly (FAULTS 74, 77, 80).

use crate::support::{Authority, End, Pair, pattern};
use drywire_tls::{Client, Server};

/// Alerts have this type of record.
const ALERT: u8 = 21;

#[test]
fn fault_80_who_speaks_plainly_gets_an_alert_and_the_close() {
    for words in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"EHLO localhost\r\n", &[0; 100], &[0xff; 100], b"SSH-2.0-OpenSSH_9.9\r\n"]
    {
        let authority = Authority::new();
        let mut server = End::new(Server::new(authority.identity("localhost")).unwrap().accept().unwrap());
        server.hears(words);
        assert!(server.failed.is_some(), "{}", words.escape_ascii());
        assert_eq!((server.plain.len(), server.wire.first()), (0, Some(&ALERT)), "{}", words.escape_ascii());

        let mut client = End::new(Client::new(authority.roots()).unwrap().connect("localhost").unwrap());
        client.wire.clear();
        client.hears(words);
        assert!(client.failed.is_some(), "{}", words.escape_ascii());
    }
}

#[test]
fn fault_77_record_that_was_changed_or_is_too_long_ends_with_an_alert() {
    let spoil: [fn(&mut Vec<u8>); 3] = [
        |record| *record.last_mut().unwrap() ^= 1,
        |record| record[5] ^= 0x80,
        // A length of 65,535.
        |record| record[3..5].fill(0xff),
    ];
    for (spoil, why) in spoil.into_iter().zip(["changed on its way", "changed on its way", "too long"]) {
        let mut pair = Pair::plain().shaken();
        pair.client.says = pattern(300);
        pair.client.speak();
        spoil(&mut pair.client.wire);
        let mut record = std::mem::take(&mut pair.client.wire);
        record.extend(pattern(70_000));
        pair.server.hears(&record);
        let failed = pair.server.failed.expect("it is found");
        assert!(failed.reason.contains(why), "{failed}");
        assert_eq!(pair.server.plain.len(), 0);
        assert!(!pair.server.wire.is_empty(), "an alert");
    }
}

/// Any byte of a client's handshake, changed: never a panic, never a handshake that is through with
/// what was changed.
#[test]
fn fault_77_handshake_with_any_byte_changed_fails_or_never_ends() {
    let authority = Authority::new();
    let server = Server::new(authority.identity("localhost")).unwrap();
    let client = Client::new(authority.roots()).unwrap();
    let len = Pair::new(&client, &server).client.wire.len();
    // The version of a record is nobody's word (RFC 8446 §5.1): it is ignored.
    for at in (0..len).filter(|at| !(1..3).contains(at)) {
        let mut pair = Pair::new(&client, &server);
        pair.client.wire[at] ^= 0x41;
        pair.carry(usize::MAX);
        assert!(
            pair.client.tls.is_handshaking() || pair.client.failed.is_some() || pair.server.failed.is_some(),
            "{at}"
        );
    }
}
