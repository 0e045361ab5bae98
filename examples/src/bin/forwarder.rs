//! A port forwarder: whoever connects is connected to somebody else, and bytes go both
//! ways until both ends are through.
//!
//! ```text
//! cargo run -p drywire-examples --bin forwarder -- 127.0.0.1:2525 localhost:25
//! ```
//!
//! What a proxy must get right, and where it is done here:
//!
//! - A slow reader on one side stops the reading on the other: [`Pipe`] reads nothing
//!   until what it read before was taken by the other side's socket. So each direction
//!   holds one chunk, and what is behind it waits in the kernel of whoever sends.
//! - The end of one direction is passed on behind the last byte, and the other direction
//!   goes on.
//! - A reset on one side is a reset on the other: half a message is not taken for a whole
//!   one.
//! - A target that is not there is told in words, and its client is reset.
//!
//! The [`Forwarder`] is written for every driver; `main` runs it on mio.

use bytes::Bytes;
use drywire_core::{CloseReport, Connection, Context, Limits, Protocol, Reason, Stop};
use drywire_driver_mio::Driver;
use drywire_server::{Address, Application, Config, Id, Net, Notice, SendError, Target, Timeouts, Worker};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(target), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: forwarder IP:PORT TARGET".into());
    };
    let mut forwarder = Forwarder { target: target.parse()?, others: HashMap::new() };

    // A connection that is forwarded may be silent for as long as its ends like, and as
    // slow: what is too long is theirs to say.
    let never = Some(Duration::ZERO);
    let timeouts =
        Timeouts { first_byte: never, message: never, idle: never, min_rate: Some(0), ..Timeouts::default() };
    let mut driver = Driver::new(Config { timeouts, ..Config::default() })?;
    let listener = driver.listen(&listen.parse()?)?;
    writeln!(io::stdout(), "listening on {}", driver.local_address(listener).expect("just made"))?;
    Ok(driver.run(&mut forwarder)?)
}

/// One end of a forwarded connection: hands up a chunk, and reads on when it is told that
/// the chunk has gone.
///
/// ```text
///  consume ──▶ Received, and no more reading ──▶ … ──▶ Resume: reading again
///  Send ─────▶ bytes go out ──▶ the socket has taken them ──▶ Sent
/// ```
///
/// Of two of them, each one's `Received` is the other's `Send`, and each one's `Sent` the
/// other's `Resume`.
///
/// Bound: a chunk that was read and one that is being sent, [`CHUNK_BYTES`] each.
#[derive(Debug)]
struct Pipe {
    start: Start,
    peer_ended: bool,
    we_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Reading,
    /// Reads nothing before the first `Resume`: there is nobody to read for.
    Paused,
}

#[derive(Debug)]
enum Event {
    Received(Bytes),
    /// The socket has taken all that was to be sent.
    Sent,
    /// The peer ended its direction, behind all that was received.
    Ended,
}

#[derive(Debug)]
enum Command {
    Send(Bytes),
    /// Read the next chunk.
    Resume,
    /// End our direction, behind all that was sent.
    End,
}

const CHUNK_BYTES: u32 = 64 * 1024;

impl Pipe {
    fn new(start: Start) -> Pipe {
        Pipe { start, peer_ended: false, we_ended: false }
    }

    /// Both directions are through: nothing can come any more, or go.
    fn close_if_both_ended(&self, cx: &mut Context<'_, Pipe>) {
        if self.peer_ended && self.we_ended {
            cx.close();
        }
    }
}

impl Protocol for Pipe {
    type Event = Event;
    type Command = Command;
    type Error = Infallible;

    /// A peer that takes nothing keeps the other from sending; how long that may last is
    /// between the two of them.
    const LIMITS: Limits =
        Limits { input_bytes: CHUNK_BYTES, output_bytes: CHUNK_BYTES, stall_ms: Limits::NEVER, ..Limits::DEFAULT };

    fn open(&mut self, cx: &mut Context<'_, Pipe>) -> Result<(), Stop<Infallible>> {
        if self.start == Start::Paused {
            cx.disable_read();
        }
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Pipe>) -> Result<usize, Stop<Infallible>> {
        cx.emit(Event::Received(Bytes::copy_from_slice(input)))?;
        cx.disable_read();
        Ok(input.len())
    }

    /// There is no rest, since `consume` takes everything.
    fn end_of_input(&mut self, _: &[u8], cx: &mut Context<'_, Pipe>) -> Result<(), Stop<Infallible>> {
        cx.emit(Event::Ended)?;
        self.peer_ended = true;
        self.close_if_both_ended(cx);
        Ok(())
    }

    /// What was asked for in `command`: nothing is owed any more.
    fn room(&mut self, cx: &mut Context<'_, Pipe>) -> Result<(), Stop<Infallible>> {
        cx.emit(Event::Sent)
    }

    fn command(&mut self, command: &Command, cx: &mut Context<'_, Pipe>) -> Result<(), Stop<Infallible>> {
        match command {
            Command::Send(bytes) => {
                cx.write_shared(bytes.clone())?;
                cx.request_room(None);
            }
            Command::Resume => cx.enable_read(),
            Command::End => {
                cx.half_close();
                self.we_ended = true;
                self.close_if_both_ended(cx);
            }
        }
        Ok(())
    }
}

/// Who belongs to whom.
struct Forwarder {
    target: Target,
    /// Both ways: of each end the other.
    others: HashMap<Id, Id>,
}

impl Forwarder {
    /// For the other end of `id`'s connection.
    fn pass<N: Net>(&self, worker: &mut Worker<Pipe, (), N>, id: Id, command: Command) {
        let Some(other) = self.others.get(&id) else { return };
        match worker.send(*other, command) {
            // Of one that has ended the report is on its way, and ends this one too.
            Ok(()) | Err(SendError::Closed(_)) => {}
            // A chunk, its answer and an end are fewer than fit: the whole server is short of
            // memory. What cannot be passed on ends both.
            Err(SendError::Full(_) | SendError::TooLarge(_)) => {
                worker.abort(*other);
                worker.abort(id);
            }
        }
    }
}

impl<N: Net> Application<N, Pipe> for Forwarder {
    fn accept(&mut self, _: &mut Worker<Pipe, (), N>, _: Id, _: &Address) -> Option<Connection<Pipe>> {
        Some(Connection::new(Pipe::new(Start::Paused)))
    }

    fn opened(&mut self, worker: &mut Worker<Pipe, (), N>, id: Id) {
        if self.others.contains_key(&id) {
            // The target stands; its client has waited for that.
            return self.pass(worker, id, Command::Resume);
        }
        match worker.connect(&self.target, Connection::new(Pipe::new(Start::Reading))) {
            Ok(target) => self.others.extend([(id, target), (target, id)]),
            Err(error) => {
                say(&error);
                worker.abort(id);
            }
        }
    }

    fn event(&mut self, worker: &mut Worker<Pipe, (), N>, id: Id, event: Event) {
        let command = match event {
            Event::Received(bytes) => Command::Send(bytes),
            Event::Sent => Command::Resume,
            Event::Ended => Command::End,
        };
        self.pass(worker, id, command);
    }

    fn closed(&mut self, worker: &mut Worker<Pipe, (), N>, id: Id, report: CloseReport<Infallible>) {
        let Some(other) = self.others.remove(&id) else { return };
        // One that finished has passed on all it had; the other finishes by itself.
        if report.reason != Reason::Finished {
            worker.abort(other);
        }
    }

    fn notice(&mut self, _: &mut Worker<Pipe, (), N>, notice: Notice<'_>) {
        // The close report follows, and ends the client.
        if let Notice::ConnectFailed { error, .. } = notice {
            say(error);
        }
    }
}

fn say(error: &dyn std::error::Error) {
    // A closed standard error is no reason to stop forwarding.
    let _ = writeln!(io::stderr(), "{error}");
}
