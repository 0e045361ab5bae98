//! The layer over an engine that is no cryptography: its bytes come from a seed, so that a world with
//! it is the same world again, to the byte.

use super::{CUT, CUT_EARLY, Session, failed};
use crate::engine::Engine;
use drywire_core::layer::{Layer, LayerError, Sink};
use drywire_core::{CloseReport, Connection, Protocol, Reason};
use drywire_protocols::{ByteEcho, LineEcho};
use drywire_server::{Address, Application, Config, Id, Net, Worker};
use drywire_sim::stage::{Setup, Stage};
use rustls::Error;
use std::convert::Infallible;

/// Frames of a kind, a length and that many bytes. Each side greets some times, and answers a
/// greeting with its next.
struct Mock {
    seed: u64,
    /// Greetings we have not sent, and those that have not come.
    to_greet: u32,
    to_hear: u32,
    partial: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    has_ended: bool,
}

const GREETING: u8 = 1;
const PLAIN: u8 = 2;
const END: u8 = 3;
const MASK: u8 = 0x5A;

impl Mock {
    /// The client speaks first.
    fn new(seed: u64, is_client: bool) -> Mock {
        let rounds = 1 + (seed % 3) as u32;
        let (partial, plain, out) = (Vec::new(), Vec::new(), Vec::new());
        let mut mock = Mock { seed, to_greet: rounds, to_hear: rounds, partial, plain, out, has_ended: false };
        if is_client {
            mock.greet();
        }
        mock
    }

    fn word(&mut self) -> usize {
        self.seed = self.seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.seed >> 33) as usize
    }

    fn greet(&mut self) {
        if self.to_greet > 0 {
            self.to_greet -= 1;
            let bytes = vec![0xEE; self.word() % 3000];
            self.put(GREETING, &bytes);
        }
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.out.push(kind);
        self.out.extend((bytes.len() as u16).to_be_bytes());
        self.out.extend(bytes.iter().map(|byte| byte ^ MASK));
    }

    /// A frame that is whole. False when none is.
    fn take_frame(&mut self) -> Result<bool, Error> {
        let [kind, high, low, rest @ ..] = &self.partial[..] else { return Ok(false) };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if rest.len() < len {
            return Ok(false);
        }
        let kind = *kind;
        let bytes: Vec<u8> = self.partial.drain(..3 + len).skip(3).map(|byte| byte ^ MASK).collect();
        match (kind, self.to_hear) {
            (GREETING, 1..) => {
                self.to_hear -= 1;
                self.greet();
            }
            (PLAIN, 0) => self.plain.extend(bytes),
            (END, 0) => self.has_ended = true,
            (_, _) => return Err(Error::General("out of order".into())),
        }
        Ok(true)
    }
}

impl Engine for Mock {
    fn receive(&mut self, input: &[u8]) -> Result<usize, Error> {
        let n = input.len().min(1 + self.word() % 5000);
        self.partial.extend_from_slice(&input[..n]);
        while !self.has_ended && self.take_frame()? {}
        Ok(n)
    }

    fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    fn plain(&mut self) -> &[u8] {
        &self.plain
    }

    fn took(&mut self, n: usize) {
        self.plain.drain(..n);
    }

    fn send(&mut self, plain: &[u8]) -> Result<usize, LayerError> {
        let n = plain.len().min(1 + self.word() % 16_000);
        self.put(PLAIN, &plain[..n]);
        Ok(n)
    }

    fn end(&mut self) {
        self.put(END, &[]);
    }

    fn put_out(&mut self, wire: &mut Sink<'_>) {
        wire.push(&self.out);
        self.out.clear();
    }

    fn is_handshaking(&self) -> bool {
        self.to_greet + self.to_hear > 0
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Serves one protocol, and keeps how connections ended.
struct Serves<P> {
    seed: u64,
    protocol: P,
    ended: Vec<Reason<Infallible>>,
}

impl<P> Serves<P> {
    fn new(seed: u64, protocol: P) -> Serves<P> {
        Serves { seed, protocol, ended: Vec::new() }
    }
}

impl<N: Net, P: Protocol<Error = Infallible> + Copy> Application<N, P, Session<Mock>> for Serves<P> {
    fn accept(
        &mut self,
        _: &mut Worker<P, Session<Mock>, N>,
        _: Id,
        _: &Address,
    ) -> Option<Connection<P, Session<Mock>>> {
        Some(Connection::with_layer(self.protocol, Session::new(Mock::new(self.seed, false))))
    }

    fn closed(&mut self, _: &mut Worker<P, Session<Mock>, N>, _: Id, report: CloseReport<Infallible>) {
        self.ended.push(report.reason);
    }
}

/// What a peer has heard, how its connection ended, and the world as a number and in words.
type Outcome = (Vec<u8>, Vec<Reason<Infallible>>, u64, String);

/// Says 20,000 bytes to an echo in a rough network, and ends.
fn world(seed: u64) -> Outcome {
    let setup = Setup { room_bytes: if seed.is_multiple_of(2) { 400 } else { 64 << 10 }, ..Setup::rough() };
    let mut stage = Stage::set_up(seed, Config::default(), setup);
    let listener = stage.worker().listen(&"127.0.0.1:443".parse().unwrap()).unwrap();
    let mut echo = Serves::new(seed, ByteEcho);
    let peer = stage.arrives(listener);
    let mut end = Session::new(Mock::new(seed, true));
    let (mut wire, mut plain, mut says) = (Vec::new(), Vec::new(), pattern());
    end.open(&mut Sink::unbounded(&mut wire)).unwrap();
    let mut has_said_all = false;
    for _ in 0..10_000 {
        while !says.is_empty() && !end.is_opening() {
            let n = end.send(&says, &mut Sink::unbounded(&mut wire)).unwrap();
            says.drain(..n);
        }
        if says.is_empty() && !has_said_all {
            has_said_all = true;
            end.send_end(&mut Sink::unbounded(&mut wire)).unwrap();
        }
        stage.says(peer, std::mem::take(&mut wire));
        stage.run_until_quiet(&mut echo);
        let heard = stage.take_heard(peer);
        if heard.is_empty() && has_said_all {
            break;
        }
        end.receive(&heard, &mut Sink::unbounded(&mut plain), &mut Sink::unbounded(&mut wire)).unwrap();
    }
    assert_eq!(end.receive_end(), Ok(()), "seed {seed}: a goodbye\n{}", stage.timeline());
    (plain, echo.ended, stage.hash(), stage.timeline())
}

fn pattern() -> Vec<u8> {
    (0..20_000).map(|n| (n * 7 + n / 256) as u8).collect()
}

#[test]
fn w8_world_of_a_seed_is_the_same_world_again() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let (first, again) = (world(seed), world(seed));
        assert!(first.0 == pattern(), "seed {seed}: {} bytes\n{}", first.0.len(), first.3);
        assert_eq!(first.1, [Reason::Finished], "seed {seed}");
        assert!(first == again, "seed {seed}: {}\n--\n{}", first.3, again.3);
        hashes.insert(first.2);
    }
    assert_eq!(hashes.len(), 300, "and another seed is another world");
}

/// What is whole by then is answered, and only what the peer's own end is behind is all.
#[test]
fn fault_75_stream_that_is_cut_at_any_byte_answers_what_is_whole() {
    let mut client = Mock::new(0, true);
    let shaken = client.out.len();
    // How far the wire goes, and what was said by then.
    let mut wholes = vec![(shaken, String::new())];
    for piece in ["one\n", "tw", "o\n", "three\nfour\nfi", "ve"] {
        client.put(PLAIN, piece.as_bytes());
        let said = wholes.last().unwrap().1.clone() + piece;
        wholes.push((client.out.len(), said));
    }
    client.end();
    let wire = client.out;
    for cut in (0..shaken).step_by(100).chain(shaken..=wire.len()) {
        let mut stage = Stage::set_up(cut as u64, Config::default(), Setup::rough());
        let listener = stage.worker().listen(&"127.0.0.1:443".parse().unwrap()).unwrap();
        let mut echo = Serves::new(0, LineEcho);
        let peer = stage.arrives(listener);
        stage.says(peer, &wire[..cut]);
        stage.ends(peer);
        stage.run_until_quiet(&mut echo);
        let (mut end, mut heard) = (Session::new(Mock::new(0, true)), Vec::new());
        let came = stage.take_heard(peer);
        end.receive(&came, &mut Sink::unbounded(&mut heard), &mut Sink::unbounded(&mut Vec::new())).unwrap();
        let said = wholes.iter().rev().find(|(at, _)| *at <= cut).map(|(_, said)| said.as_str());
        let (owed, reason) = match said {
            None => ("", Reason::Layer(failed(CUT_EARLY))),
            Some(said) if cut == wire.len() => (said, Reason::Finished),
            Some(said) => (&said[..said.rfind('\n').map_or(0, |at| at + 1)], Reason::Layer(failed(CUT))),
        };
        assert_eq!((String::from_utf8_lossy(&heard), &echo.ended[..]), (owed.into(), &[reason][..]), "cut at {cut}");
        assert_eq!(end.has_ended(), cut >= shaken, "cut at {cut}: our goodbye");
    }
}
