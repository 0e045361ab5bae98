//! What a connection holds is what it says it holds, and a turn without memory does
//! not make it more.

use crate::support::{cases, ms};
use allocation_counter::measure;
use drywire_core::layer::Layer;
use drywire_core::{
    Action, Blocked, Budget, CloseReport, Connection, Context, Failure, FileError, FileId, Limit, Limits, OpenFile,
    Opening, Protocol, Ready, Reason, Reply, SendFileError, Stop, Time, Timer, Transport, Turn, Wait, Workspace, turn,
};
use proptest::prelude::*;
use std::convert::Infallible;

/// Each byte is an order: pieces of all sizes, shared ones, parts of files, or to wait
/// for more input.
struct Orders;

impl Protocol for Orders {
    type Event = u64;
    type Command = u8;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Orders>) -> Result<usize, Stop<Infallible>> {
        match input[0] % 8 {
            0 => cx.write(b"1")?,
            1 => cx.write(&[b'x'; 300])?,
            2 => cx.write(&[b'y'; 5000])?,
            3 => cx.write_shared(vec![b'z'; 512].into())?,
            4 => cx.write_shared(vec![b'z'; 20_000].into())?,
            5 => cx.emit(7)?,
            6 => {
                let place = cx.reserve(8)?;
                cx.writer().fill(place, &[0; 8]);
            }
            _ => {
                // The length of what has to be there stands in the order.
                let wanted = 1 + usize::from(input[0]) * 30;
                return Ok(if input.len() < wanted { 0 } else { wanted });
            }
        }
        Ok(1)
    }

    fn command(&mut self, _: &u8, cx: &mut Context<'_, Orders>) -> Result<(), Stop<Infallible>> {
        cx.write(b"command")
    }

    fn timer(&mut self, _: Timer, cx: &mut Context<'_, Orders>) -> Result<(), Stop<Infallible>> {
        cx.write(b"timer")
    }

    fn open(&mut self, cx: &mut Context<'_, Orders>) -> Result<(), Stop<Infallible>> {
        cx.set_timer(Timer::new(0), ms(100));
        Ok(())
    }

    fn error_reply(&self, _: &Failure<Infallible>, reply: &mut Reply<'_>) {
        reply.write(b"last words\n");
    }
}

/// Gives `input` in pieces, takes `takes` bytes and then nothing.
struct Peer<'a> {
    input: &'a [u8],
    piece: usize,
    takes: usize,
    written: usize,
    reads: usize,
}

impl Peer<'_> {
    fn new(input: &[u8]) -> Peer<'_> {
        Peer { input, piece: usize::MAX, takes: 0, written: 0, reads: 0 }
    }
}

impl Transport for Peer<'_> {
    fn short_read_exhausts(&self) -> bool {
        false
    }
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        self.reads += 1;
        let n = slot.len().min(self.input.len()).min(self.piece);
        slot[..n].copy_from_slice(&self.input[..n]);
        self.input = &self.input[n..];
        if n == 0 { Err(Blocked::WouldBlock) } else { Ok(n) }
    }
    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let n = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.takes);
        self.takes -= n;
        self.written += n;
        if n == 0 { Err(Blocked::WouldBlock) } else { Ok(n) }
    }
    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        unreachable!("there are no files")
    }
    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("there are no files")
    }
    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        unreachable!("there are no files")
    }
    fn close_file(&mut self, _: FileId) {}
    fn half_close(&mut self) {}
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Enough,
    None,
    /// For a step of so many bytes.
    Step(u32),
}

fn run<P: Protocol, L: Layer>(
    conn: &mut Connection<P, L>,
    workspace: &mut Workspace,
    peer: &mut Peer<'_>,
    now: Time,
    memory: Memory,
) -> Result<Wait, CloseReport<P::Error>> {
    let mut live = conn.lend(workspace, now);
    let mut budget = Budget::bytes(usize::MAX);
    match memory {
        Memory::Enough => {}
        Memory::None => live.flush_only(),
        Memory::Step(bytes) => {
            live.queue_at_most(bytes);
            budget = Budget::bytes(bytes as usize);
        }
    }
    live.handle_writable();
    let mut ready = Ready::UNKNOWN;
    loop {
        match turn(&mut live, peer, &mut ready, &mut budget) {
            Turn::Event(_) => {}
            Turn::Wait(wait) => return Ok(wait),
            Turn::Again => return Ok(Wait::default()),
            Turn::Closed(report) => return Err(report),
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// Twenty connections in whatever state: all the memory behind them is in what they
    /// say, and none says more than its bounds allow.
    #[test]
    fn memory_that_is_held_is_memory_that_is_counted(
        sessions in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..6000), 1..9000_usize, 0..100_000_usize, 1..60_000_u32, 1..200_000_u32),
            20,
        )
    ) {
        let mut conns: Vec<Connection<Orders>> = sessions.iter().map(|(_, _, _, input_bytes, output_bytes)| {
            let limits = Limits { input_bytes: *input_bytes, output_bytes: *output_bytes, ..Limits::DEFAULT };
            Connection::new(Orders).with_limits(limits)
        }).collect();
        let info = measure(|| {
            let mut workspace = Workspace::new();
            for (conn, (input, piece, takes, ..)) in conns.iter_mut().zip(&sessions) {
                let mut peer = Peer { piece: *piece, takes: *takes, ..Peer::new(input) };
                // Carried input grows from turn to turn.
                for _ in 0..3 {
                    if run(conn, &mut workspace, &mut peer, Time::ZERO, Memory::Enough).is_err() {
                        break;
                    }
                }
            }
        });
        // The end of one has bytes that are set aside for it from the beginning.
        let ends = conns.iter().filter(|conn| conn.is_ending() && !conn.is_closed()).count();
        let end_bytes = ends * Connection::<Orders>::END_BYTES;
        let told = end_bytes + conns.iter().map(|conn| conn.heap_bytes()).sum::<usize>();
        let held = usize::try_from(info.bytes_current).unwrap();
        prop_assert!(held <= told, "{held} bytes are held, and {told} counted");
        for conn in &conns {
            let (heap, most, limits) = (conn.heap_bytes(), conn.most_heap_bytes(), conn.limits());
            prop_assert!(heap <= most, "{heap} bytes, and {most} are the most by {limits:?}");
            prop_assert!(conn.held_bytes() <= heap);
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// One connection, whose peer says and takes more and more: a step adds no more than it says,
    /// and what it left undone for want of memory a whole turn does.
    #[test]
    fn step_adds_no_more_than_it_says_and_a_whole_turn_goes_on_where_it_stood(
        input in prop::collection::vec(prop_oneof![Just(2_u8), Just(3), Just(4), any::<u8>()], 1..3000),
        piece in 1..100_000_usize,
        takes in prop::collection::vec(prop_oneof![Just(0), 0..40_000_usize], 1..20),
        step in prop_oneof![Just(1024_u32), Just(16 * 1024), Just(256 * 1024)],
        (input_bytes, output_bytes) in (7700..300_000_u32, 20_000..2_000_000_u32),
    ) {
        let limits = Limits { input_bytes, output_bytes, ..Limits::DEFAULT };
        let (mut conn, mut workspace) = (Connection::new(Orders).with_limits(limits), Workspace::new());
        let most = conn.step_bytes(step);
        prop_assert!(most <= conn.most_heap_bytes());
        let mut peer = Peer { piece, ..Peer::new(&input) };
        for takes in takes {
            let before = conn.heap_bytes();
            peer.takes = takes;
            run(&mut conn, &mut workspace, &mut peer, Time::ZERO, Memory::Step(step)).unwrap();
            let after = conn.heap_bytes();
            prop_assert!(after <= before + most, "from {before} to {after}, and {most} are a step");
            if conn.wants_memory() {
                run(&mut conn, &mut workspace, &mut peer, Time::ZERO, Memory::Enough).unwrap();
                prop_assert!(!conn.wants_memory() && conn.heap_bytes() <= conn.most_heap_bytes());
            }
        }
        peer.takes = usize::MAX;
        run(&mut conn, &mut workspace, &mut peer, Time::ZERO, Memory::Enough).unwrap();
        // The same, with memory from the beginning.
        let mut straight = Connection::new(Orders).with_limits(limits);
        let mut other = Peer { takes: usize::MAX, ..Peer::new(&input) };
        run(&mut straight, &mut workspace, &mut other, Time::ZERO, Memory::Enough).unwrap();
        prop_assert_eq!((peer.written, conn.held_bytes()), (other.written, straight.held_bytes()));
    }
}

/// Says hello at length, and asks for the file that each line names.
struct Wordy;

const HELLO: usize = 3000;

impl Protocol for Wordy {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Wordy>) -> Result<(), Stop<Infallible>> {
        cx.write(&[b'h'; HELLO])
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Wordy>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        cx.open_file(&input[..end])?;
        Ok(end + 1)
    }
}

#[test]
fn first_words_and_long_names_wait_for_memory_like_any_output() {
    let (mut conn, mut workspace) = (Connection::new(Wordy), Workspace::new());
    let line = [&[b'n'; 2000][..], b"\n"].concat();
    let mut peer = Peer { takes: usize::MAX, ..Peer::new(&line) };
    for _ in 0..2 {
        let wait = run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Step(1024)).unwrap();
        assert_eq!((wait.read, peer.written, conn.wants_memory()), (false, 0, true));
    }
    peer.input = &[];
    run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    assert_eq!((peer.written, conn.wants_memory()), (HELLO, false), "once");
    peer.input = &line;
    // The first of them reads, and that is its budget.
    for _ in 0..2 {
        run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Step(1024)).unwrap();
    }
    assert!(conn.wants_memory(), "a name of 2000 bytes is more than 1024");
    let mut live = conn.lend(&mut workspace, ms(0));
    let asked = (0..4).find_map(|_| match live.poll() {
        Action::OpenFile(request) => Some(request.name().len()),
        Action::EnableRead | Action::DisableRead | Action::Wait(_) => None,
        other @ (Action::Again
        | Action::Write(_)
        | Action::StreamFile(_)
        | Action::ReadFile(_)
        | Action::CloseFile(_)
        | Action::Event(_)
        | Action::HalfClose
        | Action::Close(_)) => panic!("{other:?}"),
    });
    assert_eq!(asked, Some(2000));
}

#[test]
fn deadlines_go_on_while_a_call_waits_for_memory_and_so_does_an_end() {
    let limits = Limits { idle_ms: 50, linger_ms: 0, ..Limits::DEFAULT };
    let (mut conn, mut workspace) = (Connection::new(Wordy).with_limits(limits), Workspace::new());
    let mut peer = Peer { takes: usize::MAX, ..Peer::new(&[]) };
    let wait = run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Step(1024)).unwrap();
    assert_eq!(wait.deadline, Some(ms(50)));
    let report = run(&mut conn, &mut workspace, &mut peer, ms(50), Memory::Step(1024)).unwrap_err();
    assert_eq!(report.reason, Reason::Limit(Limit::Idle(50)));
}

#[test]
fn turn_without_memory_reads_nothing_calls_nobody_and_does_not_grow() {
    let (mut conn, mut workspace) = (Connection::new(Orders), Workspace::new());
    let mut peer = Peer { takes: 100, ..Peer::new(&[2, 2, 7]) };
    run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    let (heap, held, read) = (conn.heap_bytes(), conn.held_bytes(), peer.reads);
    assert_eq!(held, 9901, "ten thousand bytes are owed less a hundred, and one byte of input waits");
    peer.input = &[2; 50];
    peer.takes = 900;
    {
        let mut live = conn.lend(&mut workspace, ms(0));
        live.flush_only();
        live.handle_command(1).unwrap();
    }
    for now in [ms(0), ms(500)] {
        let wait = run(&mut conn, &mut workspace, &mut peer, now, Memory::None).unwrap();
        assert_eq!((peer.reads, wait.read), (read, false));
        // The timer of 100 ms would have come: a wait for it would never end.
        assert!(wait.deadline.is_none_or(|deadline| now < deadline), "{wait:?}");
    }
    assert_eq!((peer.written, conn.held_bytes()), (1000, held - 900), "what is owed is written");
    assert!(conn.heap_bytes() <= heap);
    peer.takes = usize::MAX;
    run(&mut conn, &mut workspace, &mut peer, ms(500), Memory::Enough).unwrap();
    assert_eq!(peer.written, 10_000 + 5 + 7, "the timer and the command had only to wait");
    assert_eq!(peer.input, [], "and so had the input");
}

#[test]
fn connection_that_is_not_open_yet_opens_when_there_is_memory() {
    let (mut conn, mut workspace) = (Connection::new(Orders), Workspace::new());
    let mut peer = Peer { takes: usize::MAX, ..Peer::new(&[0]) };
    let wait = run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::None).unwrap();
    assert_eq!((wait, peer.reads, conn.heap_bytes()), (Wait::default(), 0, 0));
    run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    assert_eq!(peer.written, 1);
}

/// Otherwise nothing would ever be freed by those who hold half a message for ever.
#[test]
fn deadlines_are_judged_without_memory_and_need_none() {
    let limits = Limits { idle_ms: 50, stall_ms: 80, linger_ms: 0, ..Limits::DEFAULT };
    let mut workspace = Workspace::new();
    let mut idle = Connection::new(Orders).with_limits(limits);
    let mut peer = Peer { takes: usize::MAX, ..Peer::new(&[7]) };
    run(&mut idle, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    assert_eq!(idle.held_bytes(), 1);
    let report = run(&mut idle, &mut workspace, &mut peer, ms(50), Memory::None).unwrap_err();
    assert_eq!((report.reason, peer.written), (Reason::Limit(Limit::Idle(50)), 0), "there is no memory for last words");

    let mut stalled = Connection::new(Orders).with_limits(Limits { idle_ms: 0, ..limits });
    let mut peer = Peer::new(&[1, 2, 3]);
    run(&mut stalled, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    run(&mut stalled, &mut workspace, &mut peer, ms(79), Memory::None).unwrap();
    let report = run(&mut stalled, &mut workspace, &mut peer, ms(80), Memory::None).unwrap_err();
    assert_eq!(report.reason, Reason::Stalled);
}

/// A close frees memory, so it goes on.
#[test]
fn linger_goes_on_without_memory() {
    let limits = Limits { linger_ms: 1000, ..Limits::DEFAULT };
    let (mut conn, mut workspace) = (Connection::new(Orders).with_limits(limits), Workspace::new());
    let mut peer = Peer { takes: usize::MAX, ..Peer::new(&[]) };
    run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    conn.lend(&mut workspace, ms(0)).close();
    run(&mut conn, &mut workspace, &mut peer, ms(0), Memory::Enough).unwrap();
    peer.input = &[0; 1000];
    let wait = run(&mut conn, &mut workspace, &mut peer, ms(1), Memory::None).unwrap();
    assert_eq!((peer.input, wait.read, conn.counters().discarded), (&[][..], true, 1000));
}
