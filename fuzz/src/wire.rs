//! A simulated peer: says what it is told in portions, takes in portions, and keeps
//! files that are a length and a pattern. Nothing here is random.

use drywire_core::layer::Layer;
use drywire_core::{
    Blocked, Budget, CloseReport, Connection, FileError, FileId, OpenFile, Opening, Protocol, Ready, SendFileError,
    Time, Transport, Turn, Wait, Workspace, turn,
};
use std::collections::BTreeMap;

/// More turns than any input of a fuzzer needs (I3).
const TURNS: usize = 1_000_000;

/// The content of a file, at an offset, by its name.
type Content = fn(&[u8], u64) -> u8;

/// What a peer does, and in which portions.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) says: &'a [u8],
    /// After that: ends, or stays silent.
    pub(crate) ends: bool,
    /// Sizes of successive reads and writes, repeated; 0 is a would-block.
    pub(crate) reads: &'a [u8],
    pub(crate) writes: &'a [u8],
    /// Bytes a turn may move before it is cut short.
    pub(crate) budget: usize,
    /// Files are opened at once, or answered in a later turn.
    pub(crate) opens_late: bool,
    /// Lengths of the files there are, and why others cannot be had.
    pub(crate) files: fn(&[u8]) -> Result<u64, FileError>,
    pub(crate) content: Content,
}

impl<'a> Peer<'a> {
    /// Says `says` whole, ends, and takes everything.
    pub(crate) fn says(says: &'a [u8]) -> Peer<'a> {
        Peer {
            says,
            ends: true,
            reads: &[],
            writes: &[],
            budget: usize::MAX,
            opens_late: false,
            files: |_| Err(FileError::NotFound),
            content: |_, _| 0,
        }
    }
}

/// Everything a peer and an application see of one connection.
#[derive(Debug)]
pub(crate) struct Talk<P: Protocol> {
    pub(crate) output: Vec<u8>,
    pub(crate) events: Vec<P::Event>,
    /// `None`: it waits for its peer for ever.
    pub(crate) close: Option<CloseReport<P::Error>>,
    pub(crate) opened: Vec<(FileId, Vec<u8>)>,
}

struct Net<'a> {
    peer: &'a Peer<'a>,
    said: usize,
    reads_made: usize,
    writes_made: usize,
    output: Vec<u8>,
    half_closed: bool,
    open: BTreeMap<FileId, (Vec<u8>, u64)>,
    opened: Vec<(FileId, Vec<u8>)>,
    unanswered: Option<FileId>,
    moved: bool,
}

/// The next size of a row, `n` at most.
fn portion(sizes: &[u8], made: &mut usize, n: usize) -> Result<usize, Blocked> {
    let size = match sizes {
        [] => usize::MAX,
        _ => usize::from(sizes[*made % sizes.len()]),
    };
    *made += 1;
    if size == 0 { Err(Blocked::WouldBlock) } else { Ok(size.min(n)) }
}

impl Net<'_> {
    fn answer(&mut self, id: FileId, name: &[u8]) -> Result<u64, FileError> {
        let len = (self.peer.files)(name)?;
        assert!(self.open.insert(id, (name.to_vec(), len)).is_none(), "{id:?} was opened twice");
        Ok(len)
    }

    fn admit(&mut self, n: usize) -> Result<usize, Blocked> {
        assert!(!self.half_closed, "a write after the half-close");
        self.moved = true;
        portion(self.peer.writes, &mut self.writes_made, n)
    }
}

impl Transport for Net<'_> {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        assert!(!slot.is_empty(), "an empty slot would read as the end");
        let left = &self.peer.says[self.said..];
        if left.is_empty() {
            return if self.peer.ends { Ok(0) } else { Err(Blocked::WouldBlock) };
        }
        self.moved = true;
        let n = portion(self.peer.reads, &mut self.reads_made, slot.len().min(left.len()))?;
        slot[..n].copy_from_slice(&left[..n]);
        self.said += n;
        Ok(n)
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        assert!((1..=16).contains(&slices.len()), "{} slices", slices.len());
        assert!(slices.iter().all(|slice| !slice.is_empty()), "an empty slice");
        let all = slices.concat();
        let n = self.admit(all.len())?;
        self.output.extend_from_slice(&all[..n]);
        Ok(n)
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        assert!(len > 0, "an empty part");
        let (name, whole) = self.open.get(&id).expect("only an open file is sent").clone();
        assert!(offset + len <= whole, "beyond the end of a file");
        // A file may be as long as a u64 says; what is compared is a piece.
        let n = self.admit(len.min(10_000) as usize).map_err(SendFileError::Output)?;
        self.output.extend((offset..offset + n as u64).map(|at| (self.peer.content)(&name, at)));
        Ok(n as u64)
    }

    fn read_file(&mut self, id: FileId, offset: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        self.moved = true;
        let (name, whole) = self.open.get(&id).expect("only an open file is read").clone();
        assert!(offset + slot.len() as u64 <= whole, "beyond the end of a file");
        for (place, at) in slot.iter_mut().zip(offset..) {
            *place = (self.peer.content)(&name, at);
        }
        Ok(slot.len())
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        self.moved = true;
        self.opened.push((request.id(), request.name().to_vec()));
        if self.peer.opens_late {
            self.unanswered = Some(request.id());
            return Opening::Later;
        }
        Opening::Done(self.answer(request.id(), request.name()))
    }

    fn close_file(&mut self, id: FileId) {
        assert!(self.open.remove(&id).is_some(), "{id:?} was closed twice, or never open");
    }

    fn half_close(&mut self) {
        assert!(!self.half_closed, "two half-closes");
        self.half_closed = true;
    }
}

/// The whole life of a connection with this peer: until it closes, or nothing would
/// ever happen again. The clock moves when nothing else can.
pub(crate) fn talk<P: Protocol, L: Layer>(
    mut connection: Connection<P, L>,
    peer: &Peer<'_>,
    commands: impl IntoIterator<Item = P::Command>,
) -> Talk<P> {
    let mut net = Net {
        peer,
        said: 0,
        reads_made: 0,
        writes_made: 0,
        output: Vec::new(),
        half_closed: false,
        open: BTreeMap::new(),
        opened: Vec::new(),
        unanswered: None,
        moved: false,
    };
    let (mut workspace, mut now, mut events) = (Workspace::new(), Time::ZERO, Vec::new());
    let mut commands = commands.into_iter().peekable();
    let mut close = None;
    for turn in 0.. {
        assert!(turn < TURNS, "I3: it never ends");
        let ended = turn_once(&mut connection, &mut workspace, now, &mut net, &mut commands, &mut events);
        match ended {
            Turn::Closed(report) => {
                close = Some(report);
                break;
            }
            Turn::Event(_) => unreachable!("events are kept"),
            Turn::Again => {}
            Turn::Wait(_) if net.moved => {}
            Turn::Wait(Wait { deadline: Some(deadline), .. }) => {
                assert!(deadline > now, "the deadline has passed");
                now = deadline;
            }
            Turn::Wait(_) => break,
        }
        net.moved = false;
    }
    if close.is_some() {
        assert!(net.open.is_empty(), "I6: {:?} stay open", net.open);
        assert_eq!(connection.held_bytes(), 0, "a closed connection holds nothing");
    }
    assert_eq!(connection.counters().sent, net.output.len() as u64, "sent bytes are counted");
    assert_eq!(connection.counters().received, net.said as u64, "received bytes are counted");
    Talk { output: net.output, events, close, opened: net.opened }
}

fn turn_once<P: Protocol, L: Layer>(
    connection: &mut Connection<P, L>,
    workspace: &mut Workspace,
    now: Time,
    net: &mut Net<'_>,
    commands: &mut core::iter::Peekable<impl Iterator<Item = P::Command>>,
    events: &mut Vec<P::Event>,
) -> Turn<P::Event, P::Error> {
    let mut live = connection.lend(workspace, now);
    live.handle_writable();
    if let Some(id) = net.unanswered.take() {
        let name = net.opened.last().expect("it was just asked for").1.clone();
        let result = net.answer(id, &name);
        if live.handle_file(id, result).is_err() {
            net.open.remove(&id);
        }
        net.moved = true;
    }
    if live.can_take_command() && commands.peek().is_some() {
        let command = commands.next().expect("there is one");
        assert!(live.handle_command(command).is_ok(), "it said that it can take one");
        net.moved = true;
    }
    let mut ready = Ready::UNKNOWN;
    let mut budget = Budget::bytes(net.peer.budget);
    loop {
        match turn(&mut live, net, &mut ready, &mut budget) {
            Turn::Event(event) => events.push(event),
            end @ (Turn::Wait(_) | Turn::Again | Turn::Closed(_)) => break end,
        }
    }
}
