//! `drywire serve` over TLS, and peers that have it from others (W8; FAULTS 74, 75, 80).

use crate::support::{Program, Server, bounded, drywire, installed, noise, read_to_end, until};
use drywire_core::layer::{Layer, Sink};
use drywire_tls::{Client, Identity, RootCertStore};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

crate::support::on_every_driver!(
    w8_python_has_its_files_and_its_ends_over_tls,
    w8_python_starts_tls_in_the_middle_and_cannot_say_more_with_it,
    w8_openssl_talks_to_a_protocol_that_knows_nothing_of_it,
    fault_74_renegotiation_is_refused,
    fault_80_who_speaks_plainly_gets_an_alert_and_the_close,
    fault_75_stream_that_is_cut_is_logged_as_cut,
);

/// A directory with a certificate, its key, and a file.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(place.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(place.path("big"), noise(3_000_000)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn serve(&self, protocol: &str, driver: &str) -> Server {
        self.serve_with(protocol, driver, &[])
    }

    fn serve_with(&self, protocol: &str, driver: &str, more: &[&str]) -> Server {
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| text(&self.path(name)));
        let mut args = vec![protocol, "--driver", driver, "--tls-cert", &cert, "--tls-key", &key];
        args.extend(more);
        let root = text(self.0.path());
        if protocol == "dialog" {
            args.extend(["--root", &root]);
        }
        Server::start(&args)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn w8_python_has_its_files_and_its_ends_over_tls(driver: &str) {
    let place = Place::new();
    let said =
        python(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/tls/peer.py"), &place, || place.serve("dialog", driver));
    assert!(said.is_none_or(|said| said.starts_with(b"same TLSv1.3")));
}

fn w8_python_starts_tls_in_the_middle_and_cannot_say_more_with_it(driver: &str) {
    let place = Place::new();
    let said = python(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/tls/starttls.py"), &place, || {
        place.serve_with("dialog", driver, &["--starttls"])
    });
    assert!(said.is_none_or(|said| said == b"same\n"));
}

/// What a client in Python says at its end; it has failed if it did not like something. `None` where
/// there is no Python.
fn python(script: &str, place: &Place, serve: impl FnOnce() -> Server) -> Option<Vec<u8>> {
    let python = installed(&["python3"], "python3", "to talk to")?;
    let server = serve();
    let mut python = Command::new(python);
    python.args([script, &server.address]).args(["cert.pem", "big"].map(|name| place.path(name)));
    python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = Program::start(&mut python);
    let stdout = python.stdout();
    let said = bounded("the talk", move || read_to_end(stdout));
    python.exits_with(0);
    Some(said)
}

fn w8_openssl_talks_to_a_protocol_that_knows_nothing_of_it(driver: &str) {
    let Some(openssl) = installed(&["openssl"], "openssl", "to talk to") else { return };
    let place = Place::new();
    let server = place.serve("line-echo", driver);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Command::new(&openssl);
        client.args(["s_client", "-quiet", version, "-verify_return_error", "-connect", &server.address, "-CAfile"]);
        client.arg(place.path("cert.pem"));
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = Program::start(&mut client);
        client.stdin().write_all(b"hello\nquit\n").unwrap();
        let stdout = client.stdout();
        let said = bounded("the echo", move || read_to_end(stdout));
        assert_eq!(said, b"hello\nquit\n", "{version}");
        client.wait();
    }
}

/// `R` on a line of its own makes OpenSSL ask for it.
fn fault_74_renegotiation_is_refused(driver: &str) {
    let Some(openssl) = installed(&["openssl"], "openssl", "to talk to") else { return };
    let place = Place::new();
    let server = place.serve("line-echo", driver);
    let mut client = Command::new(&openssl);
    client.args(["s_client", "-tls1_2", "-connect", &server.address]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = Program::start(&mut client);
    let mut stdin = client.stdin();
    stdin.write_all(b"R\n").unwrap();
    client.stderr.wait_for("RENEGOTIATING");
    client.stderr.wait_for("no renegotiation");
    client.exits_with(1);
}

fn fault_80_who_speaks_plainly_gets_an_alert_and_the_close(driver: &str) {
    let server = Place::new().serve("line-echo", driver);
    let mut peer = server.connect();
    peer.write_all(b"hello\nquit\n").unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).unwrap();
    assert_eq!((said[0], said.len()), (21, 7), "an alert, and no line: {}", said.escape_ascii());
}

fn fault_75_stream_that_is_cut_is_logged_as_cut(driver: &str) {
    let place = Place::new();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| text(&place.path(name)));
    let mut server = drywire(&["serve", "line-echo", "--listen", "127.0.0.1:0", "--driver", driver, "--log", "debug"]);
    let server = Server::start_command(server.args(["--tls-cert", &cert, "--tls-key", &key]));
    let peer = server.connect();
    peer.shutdown(Shutdown::Write).unwrap();
    read_to_end(&peer);
    server.program.stderr.wait_for("the stream ended during the handshake");
}

/// Whether the server shows the certificate of this place: a client that trusts nobody else gets
/// through a handshake.
fn is_shown(server: &Server, place: &Place) -> bool {
    let identity = Identity::from_pem_files(place.path("cert.pem"), place.path("key.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificates()[0].clone()).unwrap();
    let mut tls = Client::new(roots).unwrap().connect("localhost").unwrap();
    let (mut peer, mut wire, mut plain) = (server.connect(), Vec::new(), Vec::new());
    tls.open(&mut Sink::unbounded(&mut wire)).unwrap();
    let mut slot = [0; 4096];
    while tls.is_handshaking() {
        peer.write_all(&std::mem::take(&mut wire)).unwrap();
        let n = peer.read(&mut slot).unwrap();
        let received = tls.receive(&slot[..n], &mut Sink::unbounded(&mut plain), &mut Sink::unbounded(&mut wire));
        if n == 0 || received.is_err() {
            return false;
        }
    }
    true
}

#[test]
fn w8_hang_up_reads_the_certificate_again_and_a_bad_one_changes_nothing() {
    let (place, before, next) = (Place::new(), Place::new(), Place::new());
    let copy = |from: &Place, name: &str| std::fs::copy(from.path(name), place.path(name)).unwrap();
    copy(&before, "cert.pem");
    copy(&before, "key.pem");
    let server = place.serve("line-echo", "mio");
    assert!(is_shown(&server, &before) && !is_shown(&server, &next));
    // Half a renewal: the pair does not fit.
    copy(&next, "cert.pem");
    server.program.signal(Signal::HUP);
    server.program.stderr.wait_for("the certificate stays as it was");
    server.program.stderr.wait_for("issued together");
    assert!(is_shown(&server, &before) && !is_shown(&server, &next));
    copy(&next, "key.pem");
    server.program.signal(Signal::HUP);
    server.program.stderr.wait_for("the certificate was read again");
    assert!(is_shown(&server, &next) && !is_shown(&server, &before));
}

/// To open a FIFO without a writer waits for ever, and a device may have no end.
#[test]
fn w8_hang_up_does_not_wait_for_what_is_no_regular_file() {
    let place = Place::new();
    let mut server = place.serve("line-echo", "mio");
    let replaced: [fn(&Path); 3] = [
        |path| rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap(),
        |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        |path| std::fs::create_dir(path).unwrap(),
    ];
    for (n, replace) in replaced.into_iter().enumerate() {
        std::fs::rename(place.path("key.pem"), place.path(&format!("key.{n}"))).unwrap();
        replace(&place.path("key.pem"));
        server.program.signal(Signal::HUP);
        let why = "the certificate stays as it was: cannot read";
        until("it says why", || (server.program.stderr.text().matches(why).count() == n + 1).then_some(()));
        assert!(
            server.program.stderr.text().ends_with("it is not a regular file; check the path, and who may read it\n")
        );
        std::fs::rename(place.path("key.pem"), place.path(&format!("other.{n}"))).unwrap();
        std::fs::rename(place.path(&format!("key.{n}")), place.path("key.pem")).unwrap();
        assert!(is_shown(&server, &place));
    }
    server.program.signal(Signal::HUP);
    server.program.stderr.wait_for("the certificate was read again");
    server.program.signal(Signal::TERM);
    server.program.exits_with(0);
}

#[test]
fn w8_certificate_of_the_moment_is_said_loudly() {
    let server = Server::start(&["line-echo", "--tls-self-signed"]);
    server.program.stderr.wait_for("nobody vouches for");
    server.program.stderr.wait_for("openssl s_client");
}

#[test]
fn w8_settings_that_cannot_be_used_are_said_in_words() {
    let place = Place::new();
    let other = Place::new();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| text(&place.path(name)));
    let foreign = text(&other.path("key.pem"));
    for (args, code, words) in [
        (&["--tls-cert", &cert][..], 2, "--tls-key"),
        (&["--tls-cert", "/nowhere", "--tls-key", &key], 1, "cannot read /nowhere"),
        (&["--tls-cert", &key, "--tls-key", &key], 1, "has no certificate"),
        (&["--tls-cert", &cert, "--tls-key", &cert], 1, "has no private key"),
        (&["--tls-cert", &cert, "--tls-key", &foreign], 1, "issued together"),
    ] {
        let mut server = drywire(&["serve", "line-echo", "--listen", "127.0.0.1:0"]);
        let said = Program::start(server.args(args)).exits_with(code);
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn w8_configuration_names_the_certificate() {
    let place = Place::new();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| text(&place.path(name)));
    let config = place.path("drywire.toml");
    std::fs::write(&config, format!("listen = [\"127.0.0.1:0\"]\n[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n"))
        .unwrap();
    let mut server = drywire(&["serve", "line-echo", "--config"]);
    let server = Server::start_command(server.arg(&config));
    let mut peer = server.connect();
    peer.write_all(b"hello\n").unwrap();
    let mut first = [0];
    peer.read_exact(&mut first).unwrap();
    assert_eq!(first, [21], "an alert: it speaks TLS");
}

#[test]
fn w8_starttls_without_a_certificate_says_what_is_missing() {
    let place = Place::new();
    let root = text(place.0.path());
    let output = drywire(&["serve", "dialog", "--starttls", "--root", &root]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--tls-cert and --tls-key") && said.contains("--tls-self-signed"), "{said}");
    let output = drywire(&["serve", "line-echo", "--starttls"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a wrong command line");
}
