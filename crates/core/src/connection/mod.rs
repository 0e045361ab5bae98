//! A connection between turns: what it is made of, and how it is lent.
//!
//! What goes in during a turn, and what comes out, is in `live`; how input is
//! read in `reading`; which handler is called next in `handlers`; how the phases
//! follow each other in `phase`; what layers do to the bytes in `layered`, and
//! how they change in `upgrade`; deadlines in `timer`, and what they go by in `clocks`; how
//! far the output has come in `mark`; what is recorded of all this in `tap`.

mod clocks;
mod handlers;
mod layered;
mod live;
mod mark;
mod phase;
mod reading;
mod tap;
mod timer;
mod upgrade;

pub(crate) use clocks::{Debt, Message};
pub use live::Live;
pub use mark::Mark;
pub use reading::Read;

use crate::close::{Counters, Reason};
use crate::context::Control;
use crate::error::Misuse;
use crate::file::FileId;
use crate::layer::Layer;
use crate::limits::{ERROR_REPLY_BYTES, Limits};
use crate::output::{Buffers, Output, Resource};
use crate::protocol::Protocol;
use crate::record::{Entry, Tape};
use crate::time::Time;
use crate::workspace::{Pool, Workspace};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
pub(crate) use layered::WIRE_AHEAD;
use layered::WIRE_FULL;
use phase::{Asked, End, InputEnd, OutputEnd, Phase};
use reading::READ_AT_MOST;

/// Our state for one byte stream.
///
/// A plain value: embed it anywhere (row A1). It holds no buffer while nothing
/// waits in either direction. To work with it, [`lend`](Connection::lend) it a
/// [`Workspace`] for one turn.
pub struct Connection<P: Protocol, L: Layer = ()> {
    protocol: P,
    layer: L,
    phase: Phase<P::Error>,
    events: VecDeque<P::Event>,
    /// Accepted, but not handled yet.
    command: Option<P::Command>,
    control: Control,
    limits: Limits,
    io: Io,
    buffers: Option<Box<Buffers>>,
    /// What refused the last call, until it is free again.
    blocked: Option<Waiting>,
    input_end: InputEnd,
    output_end: OutputEnd,
    asked: Asked,
    /// The protocol has seen all there is and wants more.
    needs_more: bool,
    /// What the driver was told last: reading is enabled.
    reading: bool,
    /// Input of ours lies in the scratch of a turn.
    in_scratch: bool,
    fuse: u32,
    /// Boxed: few connections are recorded, and all pay for the place.
    tape: Option<Box<Tape<P>>>,
}

/// A call was undone; what it waits for.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    on: Resource,
    call: Delayed,
}

/// Whose call was undone, as far as that is not seen from what is there to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delayed {
    /// A timer's, so timers wait too. Otherwise they go on.
    Timer,
    /// The first of all.
    Open,
    Other,
}

/// What happened between the connection and its transport.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) counters: Counters,
    /// Bytes of the queue that went into layers; 0 without any.
    pub(crate) encoded: u64,
    /// When a byte last moved, in either direction.
    last_move: Time,
    /// Since when the peer could say its first word; [`Time::NEVER`] once it has.
    unheard_since: Time,
    /// The last byte that moved was the peer's.
    unanswered: bool,
    pub(crate) write_blocked: bool,
    /// Layers took bytes since they were last flushed, and may hold some back.
    pub(crate) gathered: bool,
    /// Reading was disabled for want of memory, by nothing else.
    is_short: bool,
    /// Bytes of the queue have left it since [`Connection::take_written_out`] was last true.
    pub(crate) wrote: bool,
}

impl Io {
    pub(crate) fn on_sent(&mut self, n: u64, now: Time) {
        self.counters.sent += n;
        self.last_move = now;
        self.unanswered = false;
        self.write_blocked = false;
        if self.unheard_since != Time::NEVER {
            self.unheard_since = now;
        }
    }
}

impl<P: Protocol> Connection<P> {
    /// A connection for `protocol`, straight on the transport.
    pub fn new(protocol: P) -> Connection<P> {
        Connection::with_layer(protocol, ())
    }
}

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// A connection for `protocol` on top of `layer`.
    pub fn with_layer(protocol: P, layer: L) -> Connection<P, L> {
        Connection {
            protocol,
            layer,
            phase: Phase::New,
            events: VecDeque::new(),
            command: None,
            control: Control::NEW,
            limits: P::LIMITS,
            io: Io {
                counters: Counters::default(),
                encoded: 0,
                last_move: Time::ZERO,
                unheard_since: Time::NEVER,
                unanswered: false,
                write_blocked: false,
                gathered: false,
                is_short: false,
                wrote: false,
            },
            buffers: None,
            blocked: None,
            input_end: InputEnd::Open,
            output_end: OutputEnd::Open,
            asked: Asked::Nothing,
            needs_more: false,
            reading: true,
            in_scratch: false,
            fuse: 0,
            tape: None,
        }
    }

    /// The same connection on top of another layer.
    ///
    /// # Panics
    /// When it has had a turn, or is recorded: the layer it had has begun, or was told of.
    #[must_use]
    pub fn on_layer<M: Layer>(self, layer: M) -> Connection<P, M> {
        assert!(matches!(self.phase, Phase::New) && self.tape.is_none(), "a layer comes before the first turn");
        Connection { limits: self.limits, fuse: self.fuse, ..Connection::with_layer(self.protocol, layer) }
    }

    /// The same connection with other bounds than [`Protocol::LIMITS`].
    ///
    /// # Panics
    /// When no byte of input may be held: nothing could ever be read.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Connection<P, L> {
        assert!(limits.input_bytes > 0, "an input bound of 0 bytes would read nothing");
        self.limits = limits;
        self.tell_tape();
        self
    }

    /// The same connection with all that goes in and comes out recorded, from now
    /// on: before its first turn, or it cannot be replayed.
    #[must_use]
    pub fn recorded(mut self, tape: Tape<P>) -> Connection<P, L> {
        self.tape = Some(Box::new(tape));
        self.tell_tape();
        self
    }

    /// The protocol, to look at.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The layer, to look at.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// The bounds of this connection.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What went through so far.
    pub fn counters(&self) -> Counters {
        self.io.counters
    }

    /// When a byte last moved, in either direction; before that, when it opened.
    pub fn last_move(&self) -> Time {
        self.io.last_move
    }

    /// [`Action::Close`](crate::Action::Close) was handed out; the connection is inert.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Nothing is left to do but to hand out the report, or that is done too.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Closing(_) | Phase::Closed)
    }

    /// Bytes of data held between turns. Bound: see [`Limits`].
    pub fn held_bytes(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| {
            buffers.carried().len() + buffers.output.bytes() + buffers.wire.len() - buffers.wire_start
        })
    }

    /// Whether the transport has not taken yet all that was written: bytes, files, and
    /// what layers made of them.
    #[inline]
    pub fn is_owing(&self) -> bool {
        self.buffers
            .as_ref()
            .is_some_and(|buffers| !buffers.output.is_empty() || buffers.wire.len() > buffers.wire_start)
    }

    /// Whether the peer has said nothing yet that a protocol could hear. With layers their
    /// handshake is nothing, and an upgrade begins anew.
    pub fn is_unheard(&self) -> bool {
        matches!(self.phase, Phase::New) || self.io.unheard_since != Time::NEVER
    }

    /// Whether input waits that no handler has taken: part of a message, or one that waits for
    /// room.
    pub fn has_unread(&self) -> bool {
        self.buffers.as_ref().is_some_and(|buffers| !buffers.carried().is_empty())
    }

    /// Whether bytes of the peer, discarded ones too, came after the last of ours that the
    /// transport has taken.
    pub fn is_unanswered(&self) -> bool {
        self.io.unanswered
    }

    /// Whether the peer has ended its direction.
    pub fn has_peer_ended(&self) -> bool {
        self.input_end != InputEnd::Open
    }

    /// Bytes of memory behind this connection, what is unused in them included:
    /// what a budget for many of them has to count, beside the connection itself.
    ///
    /// Shared bytes count for each connection that owes them. What the protocol, its
    /// events, commands and layers hold themselves does not count, nor do
    /// [`END_BYTES`](Connection::END_BYTES).
    pub fn heap_bytes(&self) -> usize {
        let buffers = self.buffers.as_ref().map_or(0, |buffers| buffers.heap_bytes());
        buffers + self.events.capacity() * size_of::<P::Event>()
    }

    /// Bytes that the end of a connection takes, for as long as it is under way. A budget
    /// sets them aside from the beginning: an end cannot wait for memory.
    pub const END_BYTES: usize = size_of::<End<P::Error>>();

    /// A call was undone in a turn that had memory for a small step, see
    /// [`Live::queue_at_most`]: it waits for a turn that has more.
    #[inline]
    pub fn wants_memory(&self) -> bool {
        self.blocked.is_some_and(|waiting| waiting.on == Resource::Memory)
    }

    /// What [`Connection::heap_bytes`] can come to at the end of a turn, by the
    /// bounds of this connection.
    ///
    /// *Guaranteed* without layers. With them, what a layer answers to one read comes
    /// on top.
    pub fn most_heap_bytes(&self) -> usize {
        Self::most_heap_bytes_by(&self.limits)
    }

    /// [`Connection::most_heap_bytes`] of a connection with these bounds, before there is one.
    pub fn most_heap_bytes_by(limits: &Limits) -> usize {
        Self::heap_bytes_within(limits, limits.input_bytes as usize, limits.output_bytes as usize)
    }

    /// What [`Connection::heap_bytes`] can grow by in a turn that moves `bytes` and one action
    /// more, see [`Budget`](crate::Budget), and is told [`Live::queue_at_most`] as many. Never
    /// more than [`Connection::most_heap_bytes`].
    ///
    /// *Guaranteed*, and when, as there.
    pub fn step_bytes(&self, bytes: u32) -> usize {
        let Limits { input_bytes, output_bytes, .. } = self.limits;
        // What is read lies behind what was there, and there is room for one read more.
        let read = bytes as usize + 2 * READ_AT_MOST;
        Self::heap_bytes_within(&self.limits, read.min(input_bytes as usize), bytes.min(output_bytes) as usize)
    }

    /// With so many bytes of input and of output, which are no more than the bounds.
    fn heap_bytes_within(limits: &Limits, input: usize, output: usize) -> usize {
        let Limits { events, files, .. } = *limits;
        let (output, files) = (output + ERROR_REPLY_BYTES, files as usize);
        let wire = if L::TRANSPARENT { 0 } else { 2 * (WIRE_FULL + READ_AT_MOST) };
        size_of::<Buffers>()
            + Output::most_heap_bytes(output, files)
            + Pool::block_bytes(input)
            // The name of a file comes from the input, and its vector may have grown to it.
            + if files == 0 { 0 } else { 2 * input }
            + 8 * (files + 1) * size_of::<FileId>()
            + 2 * (events as usize + 4) * size_of::<P::Event>()
            + wire
    }

    /// For tests: refuses the `nth` write from now, counted from 1, as if it did
    /// not fit. 0 takes it back. Error replies do not count. A protocol that
    /// changes itself before it writes is found out this way.
    pub fn inject_full(&mut self, nth: u32) {
        self.tap(|tape| tape.recorder.put(&Entry::InjectFull(nth)));
        self.fuse = nth;
    }

    /// For tests: writes to come until the one that [`Connection::inject_full`]
    /// refuses. 0 once it was refused: whoever tries every `nth` ends there.
    pub fn full_in(&self) -> u32 {
        self.fuse
    }

    /// Starts a turn: everything is done through the [`Live`] connection.
    ///
    /// `now` must not be earlier than in the turn before.
    pub fn lend<'a>(&'a mut self, workspace: &'a mut Workspace, now: Time) -> Live<'a, P, L> {
        workspace.scratch.clear();
        workspace.file.clear();
        if self.buffers.is_none() {
            self.buffers = Some(workspace.pool.take_queue());
        }
        let forgotten = self.in_scratch;
        self.tap(|tape| tape.recorder.put(&Entry::Lend { now, forgotten }));
        let mut live = Live::new(self, workspace, now);
        if live.conn.in_scratch {
            live.conn.in_scratch = false;
            live.end_now(Reason::Misuse(Misuse::ForgottenTurn));
        }
        live
    }

    fn buffers(&mut self) -> &mut Buffers {
        lent(&mut self.buffers)
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Connection<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &self.phase.name())
            .field("held_bytes", &self.held_bytes())
            .field("counters", &self.io.counters)
            .finish_non_exhaustive()
    }
}

/// The buffers, during a turn.
fn lent(buffers: &mut Option<Box<Buffers>>) -> &mut Buffers {
    buffers.as_mut().expect("lend() put them there and only the end of the turn takes them")
}

#[cfg(test)]
mod tests;
