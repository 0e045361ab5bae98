//! A server over TLS in a simulated network: the worker that every driver runs, bytes that come in
//! pieces and late, writes that are cut, and peers that are on TLS themselves (W8; FAULTS 75, 80).

use crate::support::{App, Authority, End, pattern, provider_of};
use drywire_core::layer::Layer;
use drywire_core::{Connection, Limit, Reason, Time};
use drywire_protocols::ByteEcho;
use drywire_server::{Config, Id};
use drywire_sim::stage::{PeerId, Seen, Setup, Stage};
use drywire_tls::{CUT, Client, ProtocolVersion, Server, Tls, USED_UP};
use std::time::Duration;

/// A server that sends every byte back.
struct World {
    stage: Stage<ByteEcho, Tls>,
    echo: App<ByteEcho, Tls>,
    client: Client,
    listener: Id,
}

impl World {
    fn new(seed: u64, authority: &Authority) -> World {
        World::of(seed, authority, Server::new(authority.identity("localhost")).unwrap())
    }

    fn of(seed: u64, authority: &Authority, tls: Server) -> World {
        let setup = Setup { room_bytes: if seed.is_multiple_of(2) { 500 } else { 64 << 10 }, ..Setup::rough() };
        let mut stage = Stage::set_up(seed, Config::default(), setup);
        let listener = stage.worker().listen(&"127.0.0.1:443".parse().unwrap()).unwrap();
        World {
            stage,
            echo: App::new(move || Connection::with_layer(ByteEcho, tls.accept().unwrap())),
            client: Client::new(authority.roots()).unwrap(),
            listener,
        }
    }

    fn arrives(&mut self) -> (PeerId, End) {
        (self.stage.arrives(self.listener), End::new(self.client.connect("localhost").unwrap()))
    }

    /// Carries what each has for the other until both are silent.
    fn carry(&mut self, peer: PeerId, end: &mut End) {
        loop {
            end.speak();
            let wire = std::mem::take(&mut end.wire);
            self.stage.says(peer, &wire);
            self.stage.run_until_quiet(&mut self.echo);
            let heard = self.stage.take_heard(peer);
            if wire.is_empty() && heard.is_empty() {
                return;
            }
            end.hears(&heard);
            assert_eq!(end.failed, None);
        }
    }
}

#[test]
fn w8_bytes_and_ends_come_back_whatever_the_network_does() {
    let authority = Authority::new();
    for seed in 0..150 {
        let mut world = World::new(seed, &authority);
        let (peer, mut end) = world.arrives();
        let said = pattern(if seed.is_multiple_of(10) { 300_000 } else { 3000 });
        end.says.clone_from(&said);
        world.carry(peer, &mut end);
        assert!(end.plain == said, "seed {seed}\n{}", world.stage.timeline());
        // Our end is in the layer alone: the transport stays open, and the server ends all the same.
        end.ends();
        world.carry(peer, &mut end);
        assert!(end.tls.has_ended(), "seed {seed}: the server says goodbye");
        assert_eq!(world.echo.ended, [Reason::Finished], "seed {seed}");
        assert_eq!(world.stage.seen_end(peer), Some(Seen::End), "seed {seed}");
    }
}

#[test]
fn fault_75_peer_that_goes_without_goodbye_is_told_apart() {
    let authority = Authority::new();
    for seed in 0..50 {
        let mut world = World::new(seed, &authority);
        let (peer, mut end) = world.arrives();
        end.says = b"all of it?".to_vec();
        world.carry(peer, &mut end);
        world.stage.ends(peer);
        world.stage.run_until_quiet(&mut world.echo);
        let [Reason::Layer(error)] = &world.echo.ended[..] else { panic!("seed {seed}: {:?}", world.echo.ended) };
        assert_eq!(error.reason, CUT, "seed {seed}");
        assert_eq!(end.plain, b"all of it?");
    }
}

/// It ends its transport alone, before it has heard any.
#[test]
fn fault_75_peer_that_goes_without_goodbye_gets_what_it_is_owed() {
    let authority = Authority::new();
    for seed in 0..20 {
        let mut world = World::new(seed, &authority);
        let (peer, mut end) = world.arrives();
        world.carry(peer, &mut end);
        end.says = pattern(100_000);
        end.speak();
        world.stage.says(peer, std::mem::take(&mut end.wire));
        world.stage.ends(peer);
        let mut heard = vec![0];
        while !heard.is_empty() {
            world.stage.run_until_quiet(&mut world.echo);
            heard = world.stage.take_heard(peer);
            end.hears(&heard);
        }
        assert!(end.plain == pattern(100_000), "seed {seed}: {} bytes", end.plain.len());
        assert!(end.tls.has_ended(), "seed {seed}: our side says goodbye");
        let [Reason::Layer(error)] = &world.echo.ended[..] else { panic!("seed {seed}: {:?}", world.echo.ended) };
        assert_eq!((error.reason, world.echo.unsent), (CUT, 0), "seed {seed}");
        assert_eq!(world.stage.seen_end(peer), Some(Seen::End), "seed {seed}");
    }
}

/// What the keys do not allow any more is unsent, and the peer does not take what came for all.
#[test]
fn i1_keys_that_are_used_up_are_a_reset_behind_what_was_sent() {
    let authority = Authority::new();
    for seed in 0..20 {
        let provider = provider_of(ProtocolVersion::TLSv1_2, 64);
        let tls = Server::builder(authority.identity("localhost")).provider(provider).build().unwrap();
        let mut world = World::of(seed, &authority, tls);
        let (peer, mut end) = world.arrives();
        let mut said = 0;
        while world.echo.ended.is_empty() && said < 4000 {
            end.says = pattern(8);
            said += 8;
            end.speak();
            world.stage.says(peer, std::mem::take(&mut end.wire));
            world.stage.run_until_quiet(&mut world.echo);
            end.hears(&world.stage.take_heard(peer));
            // It lingers for a peer that does not end.
            world.stage.later(Duration::from_secs(if said > 2000 { 10 } else { 0 }));
            world.stage.run_until_quiet(&mut world.echo);
        }
        let [Reason::Layer(error)] = &world.echo.ended[..] else { panic!("seed {seed}: {:?}", world.echo.ended) };
        assert_eq!(error.reason, USED_UP, "seed {seed}");
        assert!(end.plain.len() > 8 * 50 && end.plain.len() < 8 * 64, "seed {seed}: {} bytes", end.plain.len());
        assert!(world.echo.unsent > 0 && !end.tls.has_ended(), "seed {seed}");
        assert_eq!(world.stage.seen_end(peer), Some(Seen::Reset), "seed {seed}");
    }
}

#[test]
fn fault_80_plain_words_end_that_connection_and_no_other() {
    let authority = Authority::new();
    for seed in 0..50 {
        let mut world = World::new(seed, &authority);
        let (peer, mut end) = world.arrives();
        world.carry(peer, &mut end);
        let plain = world.stage.arrives(world.listener);
        world.stage.says(plain, b"GET / HTTP/1.0\r\n\r\n");
        world.stage.run_until_quiet(&mut world.echo);
        assert_eq!(world.stage.heard(plain).first(), Some(&21), "seed {seed}: an alert");
        // It lingers for a peer that does not end.
        world.stage.later(Duration::from_secs(10));
        world.stage.run_until_quiet(&mut world.echo);
        assert!(matches!(world.echo.ended[..], [Reason::Layer(_)]), "seed {seed}: {:?}", world.echo.ended);
        end.says = b"still here".to_vec();
        world.carry(peer, &mut end);
        assert_eq!(end.plain, b"still here", "seed {seed}");
    }
}

/// A peer that connects and says nothing has a minute, the handshake included; so has one that says
/// hello and nothing more.
#[test]
fn w8_handshake_that_does_not_come_is_not_waited_for() {
    let authority = Authority::new();
    for says_hello in [false, true] {
        let mut world = World::new(1, &authority);
        let (peer, end) = world.arrives();
        if says_hello {
            world.stage.says(peer, &end.wire);
        }
        assert!(world.stage.run_until_idle(&mut world.echo, Duration::from_secs(3600)));
        assert_eq!(world.echo.ended, [Reason::Limit(Limit::Handshake(60_000))]);
        assert!(world.stage.now() >= Time::ZERO + Duration::from_secs(60));
        assert_eq!(world.stage.seen_end(peer), Some(Seen::End));
    }
}

/// A byte a second of a record, as of a line in the open.
#[test]
fn fault_1_record_that_drips_in_is_not_waited_for() {
    let authority = Authority::new();
    for seed in 0..4 {
        let mut world = World::new(seed, &authority);
        let (peer, mut end) = world.arrives();
        end.says = b"hello".to_vec();
        world.carry(peer, &mut end);
        end.says = pattern(4000);
        end.speak();
        let began = world.stage.now();
        for byte in std::mem::take(&mut end.wire).chunks(1) {
            if !world.echo.ended.is_empty() {
                break;
            }
            world.stage.says(peer, byte);
            world.stage.run_until_idle(&mut world.echo, Duration::from_secs(1));
        }
        assert_eq!(world.echo.ended, [Reason::Limit(Limit::Message(60_000))], "seed {seed}");
        let (now, due) = (world.stage.now(), began + Duration::from_secs(60));
        assert!(now >= due && now < due + Duration::from_secs(10), "seed {seed}: {now:?}");
    }
}
