//! TLS that begins in the middle of a connection (FAULTS 32 to 34; RFC 3207), in simulated networks,
//! and the injection that servers were open to for years (CVE-2011-0411), beside one that still is.

use crate::support::{App, Authority, End};
use drywire_core::layer::{Layer, Sink};
use drywire_core::{Connection, Limit, Reason};
use drywire_protocols::Dialog;
use drywire_server::Config;
use drywire_sim::stage::{PeerId, Setup, Stage};
use drywire_tls::{Client, Server, StartTls, Tls};

/// A server of the dialog, in the open until somebody says `STARTTLS`; and one peer of it.
struct World {
    stage: Stage<Dialog, StartTls>,
    app: App<Dialog, StartTls>,
    peer: PeerId,
    client: Client,
}

impl World {
    fn new(seed: u64, setup: Setup) -> World {
        let authority = Authority::new();
        let mut stage = Stage::set_up(seed, Config::default(), setup);
        let listener = stage.worker().listen(&"127.0.0.1:25".parse().unwrap()).unwrap();
        let tls = Server::new(authority.identity("localhost")).unwrap();
        let mut app = App::new(move || Connection::with_layer(Dialog::with_starttls(), tls.starttls()));
        let peer = stage.arrives(listener);
        stage.run_until_quiet(&mut app);
        World { stage, app, peer, client: Client::new(authority.roots()).unwrap() }
    }

    fn rough(seed: u64) -> World {
        World::new(seed, Setup { room_bytes: if seed.is_multiple_of(2) { 300 } else { 64 << 10 }, ..Setup::rough() })
    }
}

/// A server that is spoken to through somebody's hands.
trait Hears {
    /// These bytes come in; what goes out.
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8>;
}

impl Hears for World {
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.stage.says(self.peer, bytes);
        self.stage.run_until_quiet(&mut self.app);
        self.stage.take_heard(self.peer)
    }
}

/// What servers did until 2011: one buffer for all input, which outlives the change to TLS.
struct Vulnerable {
    server: Server,
    tls: Option<Tls>,
    input: Vec<u8>,
}

impl Hears for Vulnerable {
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match &mut self.tls {
            None => self.input.extend(bytes),
            Some(tls) => {
                tls.receive(bytes, &mut Sink::unbounded(&mut self.input), &mut Sink::unbounded(&mut out)).unwrap();
            }
        }
        while !self.tls.as_ref().is_some_and(Tls::is_handshaking) {
            let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else { break };
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let mut wire = Sink::unbounded(&mut out);
            match &mut self.tls {
                None => wire.push(b"OK\n"),
                Some(tls) => assert_eq!(tls.send(b"OK\n", &mut wire), Ok(3)),
            }
            if line == b"STARTTLS\n" {
                self.tls = Some(self.server.accept().unwrap());
            }
        }
        out
    }
}

/// Goes over to TLS with `server`, of which `answer` was heard already, and says `words`. What the
/// server says under TLS; `None` when it does not go over.
fn over_tls(server: &mut impl Hears, client: &Client, answer: &[u8], words: &[u8]) -> Option<Vec<u8>> {
    if answer != b"OK\n" {
        return None;
    }
    let mut end = End::new(client.connect("localhost").unwrap());
    end.says = words.to_vec();
    loop {
        end.speak();
        let wire = std::mem::take(&mut end.wire);
        let heard = server.hears(&wire);
        if wire.is_empty() && heard.is_empty() {
            return Some(end.plain);
        }
        end.hears(&heard);
        if end.failed.is_some() {
            return None;
        }
    }
}

#[test]
fn fault_33_34_dialog_goes_over_to_tls_whatever_the_network_does() {
    for seed in 0..100 {
        let mut world = World::rough(seed);
        assert_eq!(world.hears(b"NOOP\n"), b"OK\n");
        let (client, answer) = (world.client.clone(), world.hears(b"STARTTLS\n"));
        let said = over_tls(&mut world, &client, &answer, b"NOOP\nSTARTTLS\nSIZE no\n");
        let said = String::from_utf8(said.expect("it goes over")).unwrap();
        assert_eq!(said, "OK\n-503 TLS is spoken already\n-550 no such file\n", "seed {seed}");
        assert!(world.app.ended.is_empty(), "seed {seed}: and the dialog goes on");
    }
}

#[test]
fn fault_32_cve_2011_0411_injected_command_is_refused() {
    for seed in 0..100 {
        let mut world = World::rough(seed);
        // All of it in one segment, and read at once.
        let answer = world.hears(b"STARTTLS\nNOOP\n");
        let client = world.client.clone();
        match answer.strip_prefix(b"OK\n") {
            None => assert!(answer.starts_with(b"-500 "), "seed {seed}: {}", answer.escape_ascii()),
            // The network has cut it where it is harmless: what came later was taken for TLS.
            Some(b"") => assert_eq!(over_tls(&mut world, &client, &answer, b"NOOP\n"), None, "seed {seed}"),
            Some(alert) => assert_eq!(alert[0], 21, "seed {seed}: {}", alert.escape_ascii()),
        }
        world.stage.ends(world.peer);
        world.stage.run_until_quiet(&mut world.app);
        let by_us = matches!(world.app.ended[..], [Reason::Limit(Limit::Leftovers) | Reason::Layer(_)]);
        assert!(by_us, "seed {seed}: {:?}", world.app.ended);
    }
}

#[test]
fn fault_32_injected_command_gets_a_clear_answer_and_no_tls() {
    let mut world = World::new(0, Setup::calm());
    let answer = world.hears(b"NOOP\nSTARTTLS\nNOOP\n");
    assert_eq!(answer, b"OK\n-500 protocol error, bytes were sent ahead of the upgrade\n");
    let mut world = World::new(0, Setup::calm());
    assert_eq!(world.hears(b"STARTTLS\n"), b"OK\n");
    assert_eq!(world.hears(b"NOOP\n")[0], 21, "an alert: this is no TLS");
}

/// The control: the same attack on who keeps what it has read. The client says one word inside of
/// TLS, and hears the answer to the attacker's first.
#[test]
fn cve_2011_0411_works_on_a_server_that_keeps_its_buffer() {
    let authority = Authority::new();
    let client = Client::new(authority.roots()).unwrap();
    let mut server =
        Vulnerable { server: Server::new(authority.identity("localhost")).unwrap(), tls: None, input: Vec::new() };
    let answer = server.hears(b"STARTTLS\nNOOP\n");
    let said = over_tls(&mut server, &client, &answer, b"NOOP\n").expect("it goes over");
    assert_eq!(said, b"OK\nOK\n", "two answers to one word");
}

/// Who asks and then says nothing has the time of a first byte.
#[test]
fn fault_1_handshake_that_does_not_come_is_not_waited_for() {
    let mut world = World::new(3, Setup::calm());
    assert_eq!(world.hears(b"STARTTLS\n"), b"OK\n");
    let World { stage, app, .. } = &mut world;
    assert!(stage.run_until_idle(app, std::time::Duration::from_secs(3600)));
    assert_eq!(app.ended, [Reason::Limit(Limit::Handshake(60_000))]);
}
