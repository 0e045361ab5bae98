//! A connection, its transport and its application, all drawn from a seed: what is
//! recorded here is replayed by the tests.

use drywire_core::layer::Layer;
use drywire_core::record::Tape;
use drywire_core::{
    Blocked, Budget, Connection, FileError, FileId, OpenFile, Opening, Protocol, Ready, SendFileError, Time, Transport,
    TransportError, Turn, Wait, Workspace, turn,
};
use drywire_sim::Random;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

/// How a transport behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Nothing goes wrong and nothing is split.
    Calm,
    /// Everything is split, and blocks now and then.
    Fair,
    /// It fails, too, and so do files.
    Foul,
}

/// A transport that gives and takes as a seed says.
pub(crate) struct Wire {
    pub(crate) input: Vec<u8>,
    ends: bool,
    random: Random,
    weather: Weather,
    pub(crate) output: Vec<u8>,
    later: Vec<(FileId, Result<u64, FileError>)>,
    open: BTreeMap<FileId, u64>,
}

impl Wire {
    fn portion(&mut self, most: usize) -> Result<usize, Blocked> {
        if self.weather == Weather::Calm {
            return Ok(most);
        }
        if self.weather == Weather::Foul && self.random.one_in(100) {
            let errors = [TransportError::Reset, TransportError::BrokenPipe, TransportError::Other(-77)];
            return Err(Blocked::Failed(self.random.pick(&errors)));
        }
        if self.random.one_in(4) {
            return Err(Blocked::WouldBlock);
        }
        Ok(if self.random.one_in(3) { most } else { self.random.between(1, most.min(40)) })
    }

    fn file(&mut self, id: FileId) -> Result<u64, FileError> {
        if self.weather == Weather::Foul && self.random.one_in(10) {
            return Err(self.random.pick(&[FileError::Truncated, FileError::Io(5)]));
        }
        Ok(*self.open.get(&id).expect("the file is open"))
    }
}

impl Transport for Wire {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        if self.input.is_empty() {
            return if self.ends { Ok(0) } else { Err(Blocked::WouldBlock) };
        }
        let n = self.portion(slot.len().min(self.input.len()))?;
        slot[..n].copy_from_slice(&self.input[..n]);
        self.input.drain(..n);
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let offered = slices.concat();
        let n = self.portion(offered.len())?;
        self.output.extend_from_slice(&offered[..n]);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        let whole = self.file(id).map_err(SendFileError::File)?;
        let len = usize::try_from(len.min(whole - offset)).expect("files are small");
        self.portion(len).map(|n| n as u64).map_err(SendFileError::Output)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        let whole = self.file(id)?;
        let n = usize::try_from(whole - offset).expect("files are small").min(slot.len());
        slot[..n].fill(b'f');
        Ok(if self.weather == Weather::Calm { n } else { self.random.between(1, n) })
    }

    /// A name says how long its file is.
    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        let len = std::str::from_utf8(request.name()).ok().and_then(|name| name.parse().ok());
        let result = len.ok_or(FileError::NotFound);
        if let Ok(len) = result {
            self.open.insert(request.id(), len);
        }
        if self.weather != Weather::Calm && self.random.one_in(2) {
            self.later.push((request.id(), result));
            return Opening::Later;
        }
        Opening::Done(result)
    }

    fn close_file(&mut self, id: FileId) {
        self.open.remove(&id);
    }

    fn half_close(&mut self) {}
}

/// What the application does beside: now and then, a command.
pub(crate) type Commands<P> = fn(&mut Random) -> Option<<P as Protocol>::Command>;

pub(crate) fn no_commands<P: Protocol>(_: &mut Random) -> Option<P::Command> {
    None
}

/// A tape, and where its file will be.
pub(crate) fn tape<P>(name: &str) -> (Tape<P>, mpsc::Receiver<Vec<u8>>)
where
    P: Protocol<Event: std::fmt::Debug, Command: drywire_core::record::Record, Error: std::fmt::Debug>,
{
    let (send, receive) = mpsc::channel();
    (Tape::new(name, move |file| send.send(file).expect("the test waits for it")), receive)
}

/// Plays `input` to `connection`; everything else is drawn from `seed`.
pub(crate) fn run<P: Protocol, L: Layer>(
    mut connection: Connection<P, L>,
    seed: u64,
    input: Vec<u8>,
    commands: Commands<P>,
) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut wire = Wire { random: Random::new(!seed), ..calm(input) };
    wire.weather = if seed.is_multiple_of(4) { Weather::Foul } else { Weather::Fair };
    let mut workspace = Workspace::new();
    let mut now = Time::from_nanos(seed % 1_000_000);
    let mut rest = std::mem::take(&mut wire.input);
    let mut wait = Wait::default();
    let is_foul = wire.weather == Weather::Foul;
    let is_near = |deadline: Time, now| deadline.saturating_since(now) < Duration::from_secs(1);
    for _ in 0..3_000 {
        let arrived = random.between(0, 30).min(rest.len());
        wire.input.extend(rest.drain(..arrived));
        wire.ends = rest.is_empty() && random.one_in(10);
        now = match wait.deadline {
            Some(deadline) if is_near(deadline, now) || is_foul && random.one_in(40) => deadline.max(now),
            Some(_) | None => now + Duration::from_micros(random.between(0, 5_000) as u64),
        };
        let mut live = connection.lend(&mut workspace, now);
        if wait.write && random.one_in(2) {
            live.handle_writable();
        }
        for (id, result) in std::mem::take(&mut wire.later) {
            // Sometimes nobody asks any more.
            let _ = live.handle_file(id, result);
        }
        if let Some(command) = commands(&mut random) {
            let _ = live.handle_command(command);
        }
        match random.between(0, if is_foul { 300 } else { 20_000 }) {
            0 => live.drain(),
            1 => live.close(),
            2 => live.abort(),
            3 => live.handle_transport_error(TransportError::TimedOut),
            _ => {}
        }
        let (mut ready, mut budget) = (Ready::UNKNOWN, Budget::bytes(random.between(100, 5_000)));
        budget = budget.messages(u32::try_from(random.between(1, 40)).expect("small"));
        loop {
            match turn(&mut live, &mut wire, &mut ready, &mut budget) {
                // A worker hands it over between two lends.
                Turn::Event(_) if random.one_in(3) => break,
                Turn::Event(_) => {}
                Turn::Wait(now) => {
                    wait = now;
                    break;
                }
                Turn::Again => break,
                Turn::Closed(_) => return wire.output,
            }
        }
    }
    wire.output
}

/// Plays `input` in one piece, without a fault, to the end.
pub(crate) fn run_calmly<P: Protocol, L: Layer>(connection: Connection<P, L>, input: &[u8]) -> Vec<u8> {
    run_each_second(connection, input, true)
}

/// The same by a peer that stays, and says nothing more.
pub(crate) fn run_until_late<P: Protocol, L: Layer>(connection: Connection<P, L>, input: &[u8]) -> Vec<u8> {
    run_each_second(connection, input, false)
}

fn run_each_second<P: Protocol, L: Layer>(mut connection: Connection<P, L>, input: &[u8], ends: bool) -> Vec<u8> {
    let mut wire = calm(input.to_vec());
    let mut workspace = Workspace::new();
    for round in 0..100 {
        wire.ends = ends && wire.input.is_empty();
        let now = Time::from_nanos(round * 1_000_000_000);
        let mut live = connection.lend(&mut workspace, now);
        let (mut ready, mut budget) = (Ready::UNKNOWN, Budget::DEFAULT);
        loop {
            match turn(&mut live, &mut wire, &mut ready, &mut budget) {
                Turn::Event(_) => {}
                Turn::Wait(_) | Turn::Again => break,
                Turn::Closed(_) => return wire.output,
            }
        }
    }
    panic!("it does not close");
}

fn calm(input: Vec<u8>) -> Wire {
    let (output, later, open) = Default::default();
    Wire { input, ends: false, random: Random::new(0), weather: Weather::Calm, output, later, open }
}

/// So many lines, each one of `lines`.
pub(crate) fn lines(random: &mut Random, lines: &[&str], count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.extend_from_slice(random.pick(lines).as_bytes());
        all.push(b'\n');
    }
    all
}

/// Makes all checksums of a recording right again, whatever stands in it now.
pub(crate) fn reseal(file: &mut [u8]) {
    let mut at = 8;
    while at < file.len() {
        let len = usize::from(u16::from_le_bytes([file[at + 2], file[at + 3]]));
        let (head, rest) = file[at..].split_at_mut(12);
        head[4..8].copy_from_slice(&crc32fast::hash(&rest[..len]).to_le_bytes());
        let check = crc32fast::hash(&head[..8]);
        head[8..].copy_from_slice(&check.to_le_bytes());
        at += 12 + len;
    }
}

/// Where `what` stands in `file`, for the first time.
#[track_caller]
pub(crate) fn find(file: &[u8], what: &[u8]) -> usize {
    file.windows(what.len()).position(|window| window == what).expect("it is in there")
}
