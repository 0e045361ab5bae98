//! In-memory speed of the line echo: no socket, no system call.
//!
//! ```text
//! lines CASE [line=32] [buf=10240] [secs=0.5]   timing, one line of JSON
//! lines CASE iters=N                            fixed work, for callgrind
//! lines list
//! ```
//!
//! `floor` is one memchr call and one copy per line, what any incremental parser
//! does. `connection` is the same lines through a `Connection`: read in, framed,
//! echoed in one transaction each, offered as a write, taken.

use drywire_core::{Action, Connection, Read, Time, Workspace};
use drywire_protocols::LineEcho;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const CASES: [&str; 2] = ["floor", "connection"];

struct State {
    connection: Connection<LineEcho>,
    workspace: Workspace,
    out: Vec<u8>,
    /// In one pass.
    lines: usize,
}

/// Lines handled in one pass over `input`.
fn pass(case: &str, input: &[u8], state: &mut State) -> usize {
    match case {
        "floor" => floor(input, &mut state.out),
        _ => connection(input, state),
    }
}

fn floor(input: &[u8], out: &mut Vec<u8>) -> usize {
    out.clear();
    let (mut rest, mut lines) = (input, 0);
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = &rest[..=end];
        if line == b"quit\n" {
            break;
        }
        out.extend_from_slice(line);
        rest = &rest[line.len()..];
        lines += 1;
    }
    black_box(&out);
    lines
}

fn connection(input: &[u8], state: &mut State) -> usize {
    let mut live = state.connection.lend(&mut state.workspace, Time::ZERO);
    let (mut rest, mut sent) = (input, 0);
    loop {
        match live.poll() {
            Action::Write(write) => {
                let n = write.with_slices(|slices, _| slices.iter().map(|slice| black_box(slice).len()).sum());
                sent += n;
                write.wrote(n);
            }
            Action::Wait(_) if rest.is_empty() => break,
            Action::Wait(_) => {
                let read = live.read_with(|slot| {
                    let n = rest.len().min(slot.len());
                    slot[..n].copy_from_slice(&rest[..n]);
                    rest = &rest[n..];
                    Ok(n)
                });
                assert!(matches!(read, Read::Bytes { .. }), "the line echo always wants more: {read:?}");
            }
            Action::Event(never) => match never {},
            action @ (Action::Again
            | Action::StreamFile(_)
            | Action::ReadFile(_)
            | Action::OpenFile(_)
            | Action::CloseFile(_)
            | Action::DisableRead
            | Action::EnableRead
            | Action::HalfClose
            | Action::Close(_)) => panic!("the line echo does not ask for {action:?}"),
        }
    }
    assert_eq!(sent, input.len(), "every byte comes back");
    state.lines
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let (mut line, mut size, mut secs, mut iters) = (32usize, 10240usize, 0.5f64, 0usize);
    let mut known = CASES.contains(&case.as_str()) || case == "list";
    for argument in arguments {
        known &= match argument.split_once('=') {
            Some(("line", n)) => n.parse().map(|n| line = n).is_ok(),
            Some(("buf", n)) => n.parse().map(|n| size = n).is_ok(),
            Some(("secs", n)) => n.parse().map(|n| secs = n).is_ok(),
            Some(("iters", n)) => n.parse().map(|n| iters = n).is_ok(),
            _ => false,
        };
    }
    if !known || line == 0 || size < line {
        let _ = writeln!(io::stderr(), "usage: lines {} [line=32] [buf=10240] [secs=0.5|iters=N]", CASES.join("|"));
        return ExitCode::from(2);
    }
    let report = if case == "list" { CASES.join(" ") } else { measure(&case, line, size, secs, iters) };
    if writeln!(io::stdout(), "{report}").is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn measure(case: &str, line: usize, size: usize, secs: f64, iters: usize) -> String {
    let text: Vec<u8> = (0..line - 1).map(|i| b'a' + (i % 26) as u8).chain([b'\n']).collect();
    let input = text.repeat(size / line);
    let mut state = State {
        connection: Connection::new(LineEcho),
        workspace: Workspace::new(),
        out: Vec::with_capacity(2 * size),
        lines: size / line,
    };
    let lines = pass(case, &input, &mut state);
    if iters > 0 {
        let total: usize = (0..iters).map(|_| pass(case, black_box(&input), &mut state)).sum();
        return format!("{{\"case\":\"{case}\",\"n\":{total}}}");
    }
    // Batches of about a millisecond: long against the clock, short against
    // whatever else the machine does. The best and the median batch are told.
    let mut batch = |passes: usize| {
        let start = Instant::now();
        for _ in 0..passes {
            pass(case, black_box(&input), &mut state);
        }
        start.elapsed()
    };
    let mut passes = 1;
    while batch(passes) < Duration::from_millis(1) {
        passes *= 2;
    }
    let end = Instant::now() + Duration::from_secs_f64(secs);
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        times.push(batch(passes).as_nanos() as f64 / (passes * lines) as f64);
    }
    times.sort_by(f64::total_cmp);
    let (best, median) = (times[0], times[times.len() / 2]);
    format!(
        "{{\"case\":\"{case}\",\"line\":{line},\"buf\":{size},\"per_pass\":{lines},\
         \"ns_min\":{best:.2},\"ns_med\":{median:.2},\"GBps_min\":{:.2}}}",
        line as f64 / best
    )
}
