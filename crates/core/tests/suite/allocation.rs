//! Nothing is allocated per message once warm, and an idle connection holds no
//! buffer (row A1; DESIGN 4.3, 4.4). Counted by a library.

use crate::support::layers::{HELLO, Records};
use crate::support::net::{Chops, Net};
use crate::support::pattern;
use crate::support::probe::Probe;
use crate::support::script::Script;
use allocation_counter::{AllocationInfo, measure};
use drywire_core::layer::Layer;
use drywire_core::{
    Action, Blocked, Budget, Connection, Context, FileError, FileId, Limits, OpenFile, Opened, Opening, Protocol,
    Ready, SendFileError, Stop, Time, Timer, Transport, Turn, Wait, Workspace, turn,
};
use std::convert::Infallible;

/// Lines: echoed, counted in an event, a timer moved; `f` brings a file.
#[derive(Debug)]
struct Busy;

impl Protocol for Busy {
    type Event = usize;
    type Command = u32;
    type Error = Infallible;
    const LIMITS: Limits = Limits { input_bytes: 32 * 1024, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Busy>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let now = cx.now();
        cx.set_timer(Timer::new(0), now + std::time::Duration::from_secs(9));
        if input[0] == b'f' {
            cx.open_file(b"some/file")?;
            return Ok(end + 1);
        }
        cx.emit(end)?;
        cx.decimal(end)?;
        write!(cx, " {:>6} ", end)?;
        cx.write(&input[..=end])?;
        Ok(end + 1)
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Busy>) -> Result<(), Stop<Infallible>> {
        cx.write(b"header\n")?;
        if let Ok(len) = opened.result {
            cx.stream_file(opened.id, 0, len)?;
        }
        Ok(())
    }

    fn command(&mut self, command: &u32, cx: &mut Context<'_, Busy>) -> Result<(), Stop<Infallible>> {
        cx.decimal(*command)
    }
}

/// Gives `input` once, takes everything, and allocates nothing itself.
struct Flat<'a> {
    input: &'a [u8],
    taken: usize,
    chop: usize,
}

impl Transport for Flat<'_> {
    fn short_read_exhausts(&self) -> bool {
        false
    }
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let n = slot.len().min(self.input.len()).min(self.chop);
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        slot[..n].copy_from_slice(&self.input[..n]);
        self.input = &self.input[n..];
        Ok(n)
    }
    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let n = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.chop);
        self.taken += n;
        Ok(n)
    }
    fn try_send_file(&mut self, _: FileId, _: u64, len: u64) -> Result<u64, SendFileError> {
        Ok(len)
    }
    fn read_file(&mut self, _: FileId, _: u64, slot: &mut [u8]) -> Result<usize, FileError> {
        Ok(slot.len())
    }
    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        Opening::Done(Ok(100_000))
    }
    fn close_file(&mut self, _: FileId) {}
    fn half_close(&mut self) {}
}

fn give<P: Protocol, L: Layer, T: Transport>(
    conn: &mut Connection<P, L>,
    workspace: &mut Workspace,
    net: &mut T,
) -> Wait {
    let mut live = conn.lend(workspace, Time::ZERO);
    live.handle_writable();
    let (mut ready, mut budget) = (Ready::UNKNOWN, Budget::bytes(usize::MAX));
    loop {
        match turn(&mut live, net, &mut ready, &mut budget) {
            Turn::Event(_) => {}
            Turn::Wait(wait) => return wait,
            Turn::Again | Turn::Closed(_) => panic!("it goes on"),
        }
    }
}

/// Allocations while `messages` come `times` times, after they came once.
fn count<L: Layer>(conn: &mut Connection<Busy, L>, messages: &[u8], chop: usize, times: usize) -> AllocationInfo {
    let mut workspace = Workspace::new();
    let mut round = |times| {
        for _ in 0..times {
            give(conn, &mut workspace, &mut Flat { input: messages, taken: 0, chop });
        }
    };
    round(2);
    measure(|| round(times))
}

#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn a1_nothing_is_allocated_per_message_once_warm() {
    let long = [&pattern(9000)[..], b"\n"].concat();
    for (name, messages) in [
        ("short", b"hello\n".to_vec()),
        ("many", b"hello\n".repeat(1000)),
        ("unfinished", b"hel".to_vec()),
        ("long", long.repeat(20)),
        ("file", b"f\nhello\nf\n".to_vec()),
    ] {
        for chop in [usize::MAX, 4000, 100] {
            let mut conn = Connection::new(Busy).with_limits(Limits { idle_ms: 1000, ..Busy::LIMITS });
            let info = if name == "unfinished" {
                count(&mut conn, &[&messages[..], b"lo\nhel"].concat(), chop, 50)
            } else {
                count(&mut conn, &messages, chop, 50)
            };
            assert_eq!(info.count_total, 0, "{name} in pieces of {chop}: {info:?}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn a1_commands_cost_nothing_either() {
    let (mut conn, mut workspace) = (Connection::new(Busy), Workspace::new());
    let mut round = |n| {
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        live.handle_command(n).expect("the one before was handled");
        let mut net = Flat { input: b"", taken: 0, chop: usize::MAX };
        turn(&mut live, &mut net, &mut { Ready::UNKNOWN }, &mut Budget::bytes(1 << 20));
    };
    round(1);
    round(2);
    assert_eq!(measure(|| (0..50).for_each(&mut round)).count_total, 0);
}

/// Known-bad control: the counter sees an allocation.
#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn allocation_is_noticed() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(5)))).count_total, 1);
}

#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn idle_connections_hold_no_buffer() {
    let mut workspace = Workspace::new();
    let mut busy = |conn: &mut Connection<Busy>| {
        give(conn, &mut workspace, &mut Flat { input: b"hello\nf\nthere\n", taken: 0, chop: 7 });
    };
    // One warms the pool; what the others leave allocated is theirs.
    busy(&mut Connection::new(Busy));
    let mut conns: Vec<_> = (0..100).map(|_| Connection::new(Busy)).collect();
    let held = measure(|| conns.iter_mut().for_each(&mut busy));
    // The queue of events keeps its first four places.
    assert!(held.bytes_current / 100 <= 4 * size_of::<usize>() as i64, "{held:?}");
}

/// Slow peers that owe us one read, or one more byte, pin no whole block each.
#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn connections_that_hold_little_cost_little() {
    let (mut workspace, mut net) = (Workspace::new(), Net::new());
    let mut conns: Vec<_> = (0..100).map(|_| Connection::new(Script::default())).collect();
    net.taken.reserve(1_000_000);
    net.incoming.reserve(10_000);
    let held = measure(|| {
        for conn in &mut conns {
            net.room = 1990;
            net.incoming.extend(b"w 1990\nunfinish");
            give(conn, &mut workspace, &mut net);
            assert!(conn.held_bytes() > 0);
        }
    });
    drop(workspace);
    assert!(held.bytes_current < 100 * 1200, "{held:?}");
}

/// A slow peer that never takes all of it must not make the encoded bytes grow.
#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn long_transfer_over_a_layer_to_a_slow_peer_stays_bounded() {
    let mut conn = Connection::with_layer(Probe::sending(pattern(3_000_000)), Records::default());
    let (mut workspace, mut net) = (Workspace::new(), Net::new());
    net.writes = Chops::of(&[10_000, 0]);
    net.taken.reserve(4_000_000);
    give(&mut conn, &mut workspace, &mut net);
    let info = measure(|| while give(&mut conn, &mut workspace, &mut net).write {});
    assert!(net.taken.len() > 3_000_000);
    assert!(info.bytes_max < 100_000, "{info:?}");
}

/// Small writes between shared ones must not cost a block each: the bound counts
/// bytes, so blocks may not be much more than they hold.
#[test]
#[cfg_attr(miri, ignore = "counts allocations")]
fn i2_memory_of_a_full_queue_is_near_its_bound() {
    #[derive(Debug)]
    struct Mixed;
    impl Protocol for Mixed {
        type Event = Infallible;
        type Command = Infallible;
        type Error = Infallible;
        fn consume(&mut self, _: &[u8], cx: &mut Context<'_, Mixed>) -> Result<usize, Stop<Infallible>> {
            static BODY: [u8; 600] = [b'b'; 600];
            cx.write(b"header: 1\r\n")?;
            cx.write_shared(bytes::Bytes::from_static(&BODY))?;
            Ok(1)
        }
    }
    let (mut conn, mut workspace) = (Connection::new(Mixed), Workspace::new());
    let input = vec![b'x'; 1000];
    let info = measure(|| {
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        let mut net = Flat { input: &input, taken: 0, chop: usize::MAX };
        let _ = live.poll();
        live.read_with(|slot| net.try_read(slot));
        let _ = live.poll();
    });
    assert!(conn.held_bytes() > 200_000);
    assert!(info.bytes_max < 400_000, "{info:?}");
}

/// A peer that makes a layer answer again and again in one turn, and is always an
/// answer behind with taking them.
#[test]
fn answers_of_a_layer_are_freed_as_they_are_written() {
    const ANSWER: usize = 16 * 1024;
    let mut conn = Connection::with_layer(Script::default(), Records::answering_hello_with(ANSWER));
    let mut workspace = Workspace::new();
    let info = measure(|| {
        let mut live = conn.lend(&mut workspace, Time::ZERO);
        let mut hello = |n: usize| {
            live.read_with(|slot| {
                slot[..n].fill(HELLO);
                Ok(n)
            });
            let Action::Write(write) = live.poll() else { panic!("answers are owed") };
            write.wrote(ANSWER);
        };
        hello(2);
        (0..400).for_each(|_| hello(1));
    });
    assert!(info.bytes_max < 20 * ANSWER as u64, "{} bytes at a time", info.bytes_max);
}
