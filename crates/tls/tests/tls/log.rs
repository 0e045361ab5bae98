//! What the layer logs of a peer: its certificate's names are whatever its issuer let through.

use crate::support::{Authority, Pair};
use drywire_tls::{Client, Server};
use std::io;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged at debug level while `work` runs, on this thread.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn fault_71_name_in_a_certificate_forges_no_line() {
    let authority = Authority::new();
    let forged = "x\n2026-01-01T00:00:00Z ERROR forged \x1b[31m";
    let long = "y".repeat(2000);
    let server = Server::new(authority.identity_for(&[forged, &long])).unwrap();
    let client = Client::new(authority.roots()).unwrap();
    // Loggers that come and go on other threads make tracing forget, for a moment, that anybody listens.
    let text = (0..100).map(|_| {
        logged(|| {
            let mut pair = Pair::to("another.example", &client, &server);
            pair.carry(usize::MAX);
            assert!(pair.client.failed.is_some(), "it asked for another name");
        })
    });
    let text = text.into_iter().find(|text| !text.is_empty()).expect("it is logged");
    assert!(text.contains("TLS failed") && text.contains("another.example"), "{text}");
    for line in text.lines() {
        assert!(!line.starts_with("2026-01-01") && !line.contains('\x1b'), "{line}");
        assert!(line.len() < 600, "{} bytes", line.len());
    }
    assert!(text.contains(r"x\n2026-01-01T00:00:00Z ERROR forged \x1b[31m"), "{text}");
}
