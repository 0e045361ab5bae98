//! Every public input of a connection, in any order, wise or not, on a protocol that
//! uses everything a `Context` offers.

mod bench;
mod outside;

use arbitrary::{Arbitrary, Unstructured};
use bench::Bench;
use drywire_core::{FileError, Limits, TransportError};

/// A life: what happens in it, turn by turn.
#[derive(Debug, Arbitrary)]
struct Life {
    bounds: Bounds,
    turns: Vec<Turn>,
    /// How it is brought to an end, after all that.
    end: LastOrder,
}

/// Where the edges are. The large ones reach what lies behind one block of output.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Bounds {
    Usual,
    Tiny,
    Large,
    NoLinger,
}

#[derive(Debug, Arbitrary)]
struct Turn {
    /// Milliseconds since the turn before.
    later: u8,
    /// The write that is refused as if it did not fit; 0: none.
    full_at: u8,
    steps: Vec<Step>,
    end: TurnEnd,
}

/// What becomes of a live connection at the end of a turn.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum TurnEnd {
    /// Polled until it waits, then dropped, as every driver does.
    Settled,
    /// Dropped where it stands.
    Dropped,
    /// Forgotten, which is a misuse.
    Forgotten,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Read(Reading),
    Poll(Answer),
    /// The real loop, with this budget.
    Turn {
        budget: u16,
        takes: u8,
    },
    Writable,
    Command(Vec<u8>),
    /// An answer for the file that is being opened, or for another one.
    File {
        right: bool,
        result: Result<(), u8>,
    },
    Failed(u8),
    Drain,
    Close,
    Abort,
}

#[derive(Debug, Arbitrary)]
enum Reading {
    Bytes(Vec<u8>),
    WouldBlock,
    End,
    Failed(u8),
}

/// How the token is answered that a poll hands out.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Answer {
    /// This many bytes of it moved, or all there are.
    Moved(u8),
    All,
    Blocked,
    Dropped,
    Failed(u8),
    /// The file failed, if it is one.
    FileFailed(u8),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum LastOrder {
    Close,
    Abort,
    PeerResets,
}

fn transport_error(n: u8) -> TransportError {
    match n % 5 {
        0 => TransportError::Reset,
        1 => TransportError::BrokenPipe,
        2 => TransportError::TimedOut,
        3 => TransportError::Refused,
        _ => TransportError::Other(i32::from(n)),
    }
}

fn file_error(n: u8) -> FileError {
    match n % 6 {
        0 => FileError::NotFound,
        1 => FileError::Forbidden,
        2 => FileError::NotRegular,
        3 => FileError::TooMany,
        4 => FileError::Truncated,
        _ => FileError::Io(i32::from(n)),
    }
}

impl Bounds {
    fn limits(self, usual: Limits) -> Limits {
        match self {
            Bounds::Usual => usual,
            Bounds::Tiny => Limits { input_bytes: 1, output_bytes: 6, events: 1, files: 1, stall_ms: 1, ..usual },
            Bounds::Large => Limits { input_bytes: 9000, output_bytes: 70_000, events: 40, files: 9, ..usual },
            Bounds::NoLinger => Limits { linger_bytes: 0, linger_ms: 0, idle_ms: 0, stall_ms: 0, files: 0, ..usual },
        }
    }
}

/// The bytes are a life, as `arbitrary` reads them.
pub fn connection(data: &[u8]) {
    let Ok(life) = Life::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut bench = Bench::new(life.bounds);
    for turn in &life.turns {
        bench.turn(turn);
    }
    bench.end(life.end);
}
