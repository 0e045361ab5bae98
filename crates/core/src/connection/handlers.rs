//! Calling the protocol: what is called next, and what becomes of the call.

use super::phase::{Asked, InputEnd, OutputEnd, Phase};
use super::{Connection, Delayed, Live, Message, Waiting, lent};
use crate::action::Fault;
use crate::close::Reason;
use crate::context::{Barrier, Context, RoomRequest};
use crate::error::{Failure, Misuse, Stop};
use crate::file::Opened;
use crate::layer::Layer;
use crate::limits::Limit;
use crate::output::{Buffers, Refusal, Resource, Writer};
use crate::planted;
use crate::protocol::{Protocol, Timer};

/// A call that did not happen.
enum Undone<E> {
    Full(Resource),
    Failed(Failure<E>),
}

/// How far `consume` got with the input at hand.
enum Consumed<E> {
    /// All of it, or as much as one turn may.
    All,
    /// Up to a call that asked for more than output.
    Changed {
        needs_more: bool,
    },
    /// The rest is no whole message yet.
    NeedsMore,
    Undone(Undone<E>),
}

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    /// Makes the next call that can be made. False when there is none.
    pub(super) fn advance(&mut self) -> bool {
        if let Some(fault) = self.conn.buffers().fault {
            self.conn.buffers().fault = None;
            match fault {
                Fault::Transport(error) => self.cut_short(Reason::Transport(error)),
                Fault::File(error) => self.end_now(Reason::File(error)),
            }
            return true;
        }
        if self.flush_only {
            return false;
        }
        match self.conn.phase {
            Phase::New => {
                self.conn.on_open(self.now);
                self.open_layer();
                if matches!(self.conn.phase, Phase::Active) {
                    self.call_open();
                }
                return true;
            }
            Phase::Active => {}
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => return false,
        }
        if let Barrier::UpgradeAsked(_) = self.conn.control.barrier {
            return self.upgrade();
        }
        if self.handle_timers() {
            return true;
        }
        if let Some(waiting) = self.conn.blocked {
            if !self.is_free(waiting.on) {
                return false;
            }
            self.conn.blocked = None;
            match waiting.call {
                // The timer's call keeps its place before all that came later.
                Delayed::Timer => return true,
                Delayed::Open => {
                    self.call_open();
                    return true;
                }
                Delayed::Other => {}
            }
        }
        match self.conn.control.barrier {
            Barrier::Opened => {
                self.call_file();
                return true;
            }
            Barrier::Upgraded => {
                self.call_upgraded();
                return true;
            }
            Barrier::OpenAsked(_) | Barrier::Opening(_) | Barrier::UpgradeAsked(_) => return false,
            Barrier::Clear => {}
        }
        if self.room_is_there() && !self.room_in_vain {
            self.call_room();
            return true;
        }
        if let Some(command) = self.conn.command.take() {
            let is_handled = self.call(None, |protocol, cx| protocol.command(&command, cx));
            planted!(CommandForgotten: return true);
            if !is_handled {
                // It waits for its next chance, or was in vain: the end tells one from the other.
                self.conn.command = Some(command);
            }
            return true;
        }
        match self.conn.asked {
            Asked::Nothing => {}
            Asked::Drain { was_owing } => {
                self.conn.asked = Asked::Nothing;
                self.call(None, |protocol, cx| protocol.drain(cx));
                if self.conn.blocked.is_some() {
                    self.conn.asked = Asked::Drain { was_owing };
                } else if !was_owing {
                    self.shorten_linger();
                }
                return true;
            }
            Asked::Close => {
                self.begin_close(Reason::Requested);
                return true;
            }
        }
        if !self.conn.control.read_enabled {
            return false;
        }
        if self.receive_held() {
            return true;
        }
        let (unread, cap) = (self.unread().len(), self.conn.limits.input_bytes as usize);
        if !self.conn.needs_more && unread > 0 {
            if self.messages_left() == 0 {
                self.on_cut();
                return false;
            }
            self.consume();
            return true;
        }
        // Only here, where no other call is due: any of them may be what `consume` waits for.
        if self.conn.needs_more && unread >= cap {
            self.fail(Failure::Limit(Limit::Input(cap)));
            return true;
        }
        match self.conn.input_end {
            InputEnd::Open | InputEnd::Delivered => return false,
            InputEnd::Ended => self.call_end_of_input(),
            InputEnd::Cut => self.call_input_cut(),
        }
        true
    }

    /// Hands the input at hand to the protocol, call after call.
    fn consume(&mut self) {
        let (now, memory) = (self.now, self.memory);
        let output_ended = self.conn.output_end != OutputEnd::Open;
        let Connection { protocol, layer, events, control, limits, io, buffers, fuse, .. } = &mut *self.conn;
        let Buffers { output, name, carry, carry_start, message, .. } = lent(buffers);
        self.room_in_vain = false;
        let scratch = &mut self.workspace.scratch;
        let from_carry = *carry_start < carry.len();
        let input = if from_carry { &carry[*carry_start..] } else { scratch.unread() };
        let writer =
            Writer::new(output, &mut self.workspace.pool, limits.output_bytes as usize, memory, output_ended, fuse);
        let mut call = UnderWay(Context::new(writer, events, control, name, limits, None, now));
        let cx = &mut call.0;
        cx.messages_left = self.most_messages - self.messages;

        // What it takes, and how much of that was taken when a message ended last.
        let (mut taken, mut whole) = (0, 0);
        let consumed = loop {
            let rest = &input[taken..];
            if rest.is_empty() {
                break Consumed::All;
            }
            cx.begin();
            let result = match protocol.consume(rest, cx) {
                Ok(n) if n > rest.len() => Err(Stop::Misuse(Misuse::ConsumedTooMuch)),
                Ok(n) => cx.check_leftovers(n < rest.len() || layer.is_holding()).map(|()| n),
                Err(stop) => Err(stop),
            };
            let n = match judge(result, cx) {
                Ok(n) => n,
                Err(undone) => break Consumed::Undone(undone),
            };
            if n == 0 {
                break if cx.is_changed() { Consumed::Changed { needs_more: true } } else { Consumed::NeedsMore };
            }
            taken += n;
            if !cx.unfinished {
                whole = taken;
            }
            // It is above 0 here: wrapping saves the check.
            cx.messages_left = cx.messages_left.wrapping_sub(1);
            if cx.messages_left == 0 || cx.is_changed() {
                break if cx.is_changed() { Consumed::Changed { needs_more: false } } else { Consumed::All };
            }
        };
        self.messages = self.most_messages - cx.messages_left;
        call.came_back();

        if whole > 0 {
            *message = None;
        }
        if taken > whole {
            *message = message.take().or_else(|| Message::begin(limits, io.counters.received, now));
            message.iter_mut().for_each(|message| message.on_part(limits, now));
        }
        if from_carry {
            *carry_start += taken;
            if *carry_start == carry.len() {
                carry.clear();
                *carry_start = 0;
            }
        } else {
            scratch.consume(taken);
        }
        if self.messages_left() == 0 {
            // Here, because an event of the last message may be all that comes of this turn.
            self.on_cut();
        }
        match consumed {
            Consumed::All => {}
            Consumed::Changed { needs_more } => {
                self.conn.needs_more = needs_more;
                self.on_commit();
            }
            Consumed::NeedsMore => self.conn.needs_more = true,
            Consumed::Undone(undone) => self.on_undone(undone, Delayed::Other),
        }
    }

    fn call_open(&mut self) {
        self.call(None, |protocol, cx| protocol.open(cx));
        // Nothing is owed yet: an injected "full" refuses this call, and only once, or memory does.
        if self.conn.blocked.is_some_and(|waiting| self.is_free(waiting.on)) {
            self.conn.blocked = None;
            self.call(None, |protocol, cx| protocol.open(cx));
        }
        if let Some(waiting) = &mut self.conn.blocked {
            waiting.call = Delayed::Open;
        }
    }

    fn call_room(&mut self) {
        let queued = |live: &mut Self| (live.conn.buffers().output.bytes(), live.conn.buffers().output.files());
        let before = queued(self);
        self.call(None, |protocol, cx| {
            cx.change().room = RoomRequest::None;
            protocol.room(cx)
        });
        self.room_in_vain = self.conn.blocked.is_none() && before == queued(self);
    }

    fn call_end_of_input(&mut self) {
        // Taken out for the call: the rest is input and the context needs the buffers.
        self.merge_carry();
        let mut scratch = core::mem::take(&mut self.workspace.scratch);
        let result = self.transact(None, |protocol, cx| protocol.end_of_input(scratch.unread(), cx));
        let full = matches!(result, Err(Undone::Full(_)));
        if result.is_ok() {
            scratch.clear();
        }
        self.workspace.scratch = scratch;
        self.conn.in_scratch = full;
        if !full {
            self.conn.input_end = InputEnd::Delivered;
        }
        match result {
            Ok(()) => self.on_commit(),
            Err(undone) => self.on_undone(undone, Delayed::Other),
        }
    }

    fn call_input_cut(&mut self) {
        self.drop_unread();
        self.call(None, |protocol, cx| protocol.input_cut(cx));
        if self.conn.blocked.is_none() {
            self.conn.input_end = InputEnd::Delivered;
        }
    }

    pub(super) fn call_timer(&mut self, index: usize) {
        let timer = Timer::new(u8::try_from(index).expect("below Timer::COUNT"));
        let result = self.transact(None, |protocol, cx| {
            cx.clear_timer(timer);
            protocol.timer(timer, cx)
        });
        match result {
            Ok(()) => self.on_commit(),
            Err(undone) => self.on_undone(undone, Delayed::Timer),
        }
    }

    fn call_file(&mut self) {
        let opened = self.conn.buffers().answer.expect("it came with the barrier's last state");
        self.call(Some(opened), |protocol, cx| {
            cx.change().barrier = Barrier::Clear;
            protocol.file(opened, cx)
        });
        if self.conn.control.barrier == Barrier::Opened {
            return;
        }
        let buffers = self.conn.buffers();
        buffers.answer = None;
        if opened.result.is_ok() && !buffers.output.holds(opened.id) && !buffers.to_close.contains(&opened.id) {
            buffers.to_close.push_back(opened.id);
        }
    }

    fn call_upgraded(&mut self) {
        self.call(None, |protocol, cx| {
            cx.change().barrier = Barrier::Clear;
            protocol.upgraded(cx)
        });
    }

    /// One call, from here to commit or undo. False when it was undone.
    fn call(
        &mut self,
        opened: Option<Opened>,
        body: impl FnOnce(&mut P, &mut Context<'_, P>) -> Result<(), Stop<P::Error>>,
    ) -> bool {
        match self.transact(opened, body) {
            Ok(()) => {
                self.on_commit();
                true
            }
            Err(undone) => {
                self.on_undone(undone, Delayed::Other);
                false
            }
        }
    }

    fn transact(
        &mut self,
        opened: Option<Opened>,
        body: impl FnOnce(&mut P, &mut Context<'_, P>) -> Result<(), Stop<P::Error>>,
    ) -> Result<(), Undone<P::Error>> {
        let (now, memory) = (self.now, self.memory);
        let ended = self.conn.output_end != OutputEnd::Open;
        let has_leftovers = !self.unread().is_empty() || self.conn.layer.is_holding();
        let Connection { protocol, events, control, limits, buffers, fuse, .. } = &mut *self.conn;
        let Buffers { output, name, .. } = lent(buffers);
        let writer = Writer::new(output, &mut self.workspace.pool, limits.output_bytes as usize, memory, ended, fuse);
        let mut call = UnderWay(Context::new(writer, events, control, name, limits, opened, now));
        let result = body(protocol, &mut call.0).and_then(|()| call.0.check_leftovers(has_leftovers));
        let judged = judge(result, &mut call.0);
        call.came_back();
        judged?;
        // The call may have been what `consume` or `room` waited for.
        self.conn.needs_more = false;
        self.room_in_vain = false;
        Ok(())
    }

    fn on_undone(&mut self, undone: Undone<P::Error>, call: Delayed) {
        match undone {
            Undone::Full(on) => self.conn.blocked = Some(Waiting { on, call }),
            Undone::Failed(failure) => self.fail(failure),
        }
    }

    /// Waiting until all of it is free, not until enough is, bounds the replays of
    /// a call to one: trying at every byte that leaves would be quadratic.
    fn is_free(&self, resource: Resource) -> bool {
        let output = self.conn.buffers.as_ref().map(|buffers| &buffers.output);
        match resource {
            Resource::Bytes => output.is_none_or(|output| output.bytes() == 0),
            Resource::Files => output.is_none_or(|output| output.files() < self.conn.limits.files as usize),
            Resource::Events => self.conn.events.is_empty(),
            Resource::Memory => self.memory == usize::MAX,
        }
    }

    fn room_is_there(&self) -> bool {
        let output = self.conn.buffers.as_ref().map(|buffers| &buffers.output);
        match self.conn.control.room {
            RoomRequest::None => false,
            RoomRequest::Flushed => output.is_none_or(|output| output.is_empty()) && !self.conn.owes_wire(),
            RoomRequest::Bytes(n) => {
                let owed = output.map_or(0, |output| output.bytes());
                owed + n as usize <= self.conn.limits.output_bytes as usize
            }
        }
    }
}

/// A call of the protocol. If it panics it is undone on the way out (FAULTS 59), so
/// that nothing of half a call is sent, told or left open by whoever catches that.
struct UnderWay<'a, P: Protocol>(Context<'a, P>);

impl<P: Protocol> UnderWay<'_, P> {
    /// It came back: committed or undone, it stays as it is.
    fn came_back(self) {
        core::mem::forget(self);
    }
}

impl<P: Protocol> Drop for UnderWay<'_, P> {
    fn drop(&mut self) {
        self.0.roll_back();
    }
}

/// Commits the call, or undoes it. A refusal outranks what the call itself says:
/// it may have been ignored.
fn judge<P: Protocol, R>(result: Result<R, Stop<P::Error>>, cx: &mut Context<'_, P>) -> Result<R, Undone<P::Error>> {
    let undone = match (cx.writer.refusal, result) {
        (None, Ok(value)) => return Ok(value),
        (Some(Refusal::Full(resource)), _) => Undone::Full(resource),
        (Some(Refusal::Limit(limit)), _) => Undone::Failed(Failure::Limit(limit)),
        (Some(Refusal::Misuse(misuse)), _) => Undone::Failed(Failure::Misuse(misuse)),
        (None, Err(Stop::Peer(error))) => Undone::Failed(Failure::Peer(error)),
        (None, Err(Stop::Limit(limit))) => Undone::Failed(Failure::Limit(limit)),
        (None, Err(Stop::Misuse(misuse))) => Undone::Failed(Failure::Misuse(misuse)),
        (None, Err(Stop::Full(_))) => Undone::Failed(Failure::Misuse(Misuse::StaleFull)),
    };
    cx.roll_back();
    Err(undone)
}
