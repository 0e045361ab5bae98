//! The operator's secrets are not served, on any driver.

use crate::support::{Server, drywire, read_to_end, until};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

crate::support::on_every_driver!(
    key_and_configuration_are_not_served_under_any_name,
    renewed_key_is_not_served_and_neither_are_those_before_it,
    recordings_are_not_served_wherever_they_are_moved_or_linked_to,
);

/// A directory that is served, with a pair in it as the README once had it.
struct Place {
    top: TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Place {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("notes"), "hello").unwrap();
        Place { top, root }
    }

    fn issue(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.root.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(self.root.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn serve(&self, driver: &str, args: &[&str]) -> Server {
        let mut command = drywire(&["serve", "dialog", "--driver", driver, "--listen", "127.0.0.1:0", "--root", "."]);
        Server::start_command(command.args(args).current_dir(&self.root))
    }
}

/// What is answered to a `GET` of each, in the open.
fn asked(server: &Server, names: &[&str]) -> String {
    let mut peer = server.connect();
    let requests: String = names.iter().map(|name| format!("GET {name}\n")).collect();
    peer.write_all((requests + "QUIT\n").as_bytes()).unwrap();
    String::from_utf8(read_to_end(&peer)).unwrap()
}

#[track_caller]
fn assert_hidden(server: &Server, names: &[&str]) {
    assert_eq!(asked(server, names), "-550 no such file\n".repeat(names.len()) + "OK\n", "{names:?}");
}

fn key_and_configuration_are_not_served_under_any_name(driver: &str) {
    let place = Place::new();
    place.issue();
    let at = |name: &str| place.root.join(name);
    fs::write(at("drywire.toml"), "secrets = [\"private\"]\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n").unwrap();
    fs::create_dir(at("private")).unwrap();
    fs::write(at("private/letters"), "dear").unwrap();
    fs::hard_link(at("key.pem"), at("a-key")).unwrap();
    std::os::unix::fs::symlink("key.pem", at("another-key")).unwrap();
    fs::hard_link(at("drywire.toml"), at("a-toml")).unwrap();
    let server = place.serve(driver, &["--starttls", "--config", "drywire.toml"]);
    server.program.stderr.wait_for("GET cert.pem\n");
    let secrets = ["key.pem", "a-key", "another-key", "drywire.toml", "a-toml", "private/letters"];
    assert_hidden(&server, &secrets);
    fs::rename(at("key.pem"), at("moved")).unwrap();
    assert_hidden(&server, &["moved", "a-key"]);
    let cert = fs::read_to_string(at("cert.pem")).unwrap();
    assert_eq!(asked(&server, &["notes", "cert.pem"]), format!("OK 5\nhelloOK {}\n{cert}OK\n", cert.len()));
}

fn renewed_key_is_not_served_and_neither_are_those_before_it(driver: &str) {
    let place = Place::new();
    place.issue();
    let renew = |kept: &str| {
        fs::rename(place.root.join("key.pem"), place.root.join(kept)).unwrap();
        place.issue();
    };
    let server = place.serve(driver, &["--starttls", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    renew("first");
    assert_hidden(&server, &["key.pem", "first"]);
    renew("second");
    renew("third");
    server.program.signal(Signal::HUP);
    server.program.stderr.wait_for("the certificate was read again");
    // No file is asked for between the two: it is the reading that has to be noticed.
    renew("fourth");
    assert_hidden(&server, &["key.pem", "first", "second", "fourth"]);
}

fn recordings_are_not_served_wherever_they_are_moved_or_linked_to(driver: &str) {
    let place = Place::new();
    let record = place.top.path().join("record");
    let server = place.serve(driver, &["--record", record.to_str().unwrap()]);
    asked(&server, &["notes"]);
    let recording = until("it is written", || {
        fs::read_dir(&record).unwrap().map(|entry| entry.unwrap().path()).find(|path| is_recording(path))
    });
    fs::hard_link(&recording, place.root.join("linked")).unwrap();
    assert_hidden(&server, &["linked"]);
    // As the writer names what is not finished.
    fs::write(record.join(".drywire-x.part"), "half").unwrap();
    fs::rename(&record, place.root.join("here")).unwrap();
    std::os::unix::fs::symlink("here", place.root.join("there")).unwrap();
    let name = recording.file_name().unwrap().to_str().unwrap();
    let (moved, through) = (format!("here/{name}"), format!("there/{name}"));
    assert_hidden(&server, &[&moved, &through, "here/.drywire-x.part", "linked"]);
    assert_eq!(asked(&server, &["notes"]), "OK 5\nhelloOK\n");
}

fn is_recording(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "dwr")
}
