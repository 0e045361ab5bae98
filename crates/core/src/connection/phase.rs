//! Every transition of a connection's phase, and nothing else changes it.

use super::live::Finish;
use super::tap::Called;
use super::timer::UNOPENED;
use super::{Connection, Live, lent};
use crate::close::{CloseReport, Reason};
use crate::context::{Barrier, Ending};
use crate::error::Failure;
use crate::file::Opened;
use crate::layer::{Layer, LayerError};
use crate::limits::{DRAIN_LINGER_MS, ERROR_REPLY_BYTES};
use crate::output::Writer;
use crate::planted;
use crate::protocol::{Protocol, Timer};
use crate::record::LayerCallKind;
use crate::reply::Reply;
use crate::time::Time;
use alloc::boxed::Box;
use core::mem;

/// Where a connection stands.
///
/// ```text
///            open()          close asked for, or       all owed is sent
///                            protocol error                 and half-closed
///  ┌─────┐         ┌────────┐        ┌──────────┐          ┌───────────┐
///  │ New │ ──────▶ │ Active │ ─────▶ │ Flushing │ ───────▶ │ Lingering │
///  └─────┘         └────────┘        └──────────┘          └───────────┘
///     │                │                  │ the peer has ended   │ the peer ends,
///     │                │                  │ already              │ or a bound is met
///     │  abort, reset, │ stall, failed    ▼                      ▼
///     │  file ─────────┴──────────▶ ┌─────────┐ report taken ┌────────┐
///     └───────────────────────────▶ │ Closing │ ───────────▶ │ Closed │
///                                   └─────────┘              └────────┘
/// ```
///
/// Handlers are called in `New` and `Active` only. In `Flushing` and `Lingering`
/// input is read and discarded, within bounds: unread input would turn our close
/// into a reset that destroys the last reply, and a peer that writes before it
/// reads would never take it.
///
/// What belongs to the end is boxed: all connections pay for the place, and nearly all
/// are active.
#[derive(Debug)]
pub(super) enum Phase<E> {
    New,
    Active,
    Flushing(Box<End<E>>),
    Lingering(Box<End<E>>),
    /// The report is ready; events and files go first.
    Closing(Box<Reason<E>>),
    Closed,
}

/// A close that is under way.
#[derive(Debug)]
pub(super) struct End<E> {
    pub(super) reason: Reason<E>,
    /// Input that may still be discarded, in bytes.
    pub(super) discard_left: u32,
    /// When discarding stops.
    pub(super) until: Time,
}

/// Our side of the end of input. A peer can end in every phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputEnd {
    Open,
    /// The transport said so; the protocol has not heard yet.
    Ended,
    /// The transport said so, and a layer that it came too early.
    Cut,
    Delivered,
}

/// The end of our direction: asked for by a half-close or a close, then passed
/// on behind the last byte.
///
/// ```text
///  Open ──▶ Asked ──all sent──▶ Sealed ──layers' end sent──▶ Done
///    │        │                                                ▲
///    └────────┴──a layer failed──▶ Failed ──its words sent─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputEnd {
    Open,
    Asked,
    /// Nothing waits for the transport but the layers' own end.
    Sealed,
    /// What was encoded before still goes out, and the last words of the layer that failed.
    Failed,
    Done,
}

impl OutputEnd {
    /// Nothing goes through the layers any more.
    pub(super) fn is_behind_layers(self) -> bool {
        match self {
            OutputEnd::Open | OutputEnd::Asked => false,
            OutputEnd::Sealed | OutputEnd::Failed | OutputEnd::Done => true,
        }
    }
}

/// What the application asks for, beside commands. Ordered: it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    Nothing,
    Drain {
        /// Something was owed then, so its linger is as long as any.
        was_owing: bool,
    },
    Close,
}

impl<E> Phase<E> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Phase::New => "new",
            Phase::Active => "active",
            Phase::Flushing(_) => "flushing",
            Phase::Lingering(_) => "lingering",
            Phase::Closing(_) => "closing",
            Phase::Closed => "closed",
        }
    }
}

impl<P: Protocol, L: Layer> Connection<P, L> {
    /// The one place a phase changes.
    fn set_phase(&mut self, phase: Phase<P::Error>) {
        debug_assert!(!matches!(self.phase, Phase::Closed), "nothing follows the close");
        debug_assert!(
            !matches!((&self.phase, &phase), (Phase::Closing(_), p) if !matches!(p, Phase::Closed)),
            "a report that is ready is only taken"
        );
        self.phase = phase;
    }

    pub(super) fn on_open(&mut self, now: Time) {
        debug_assert!(matches!(self.phase, Phase::New));
        self.io.last_move = now;
        self.io.unheard_since = now;
        self.set_phase(Phase::Active);
    }

    /// The report, once everything that goes before it is out.
    pub(super) fn take_close_report(&mut self) -> Option<CloseReport<P::Error>> {
        if !matches!(self.phase, Phase::Closing(_)) {
            return None;
        }
        match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closing(reason) => Some(CloseReport { reason: *reason, counters: self.io.counters }),
            Phase::New | Phase::Active | Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closed => None,
        }
    }

    /// Input that nobody will see.
    pub(super) fn discard_input(&mut self, n: usize) {
        self.io.counters.discarded += n as u64;
        match &mut self.phase {
            Phase::Flushing(end) | Phase::Lingering(end) => {
                end.discard_left = end.discard_left.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
            }
            Phase::New | Phase::Active | Phase::Closing(_) | Phase::Closed => {}
        }
    }
}

impl<P: Protocol, L: Layer> Live<'_, P, L> {
    /// A handler gave up, or a bound was met: last words, then the postponed close.
    pub(super) fn fail(&mut self, failure: Failure<P::Error>) {
        if self.conn.output_end == OutputEnd::Open && !self.flush_only {
            self.push_error_reply(&failure);
        }
        self.begin_close(match failure {
            Failure::Peer(error) => Reason::Peer(error),
            Failure::Limit(limit) => Reason::Limit(limit),
            Failure::Misuse(misuse) => Reason::Misuse(misuse),
        });
    }

    fn push_error_reply(&mut self, failure: &Failure<P::Error>) {
        let mut kept = self.workspace.pool.take(ERROR_REPLY_BYTES);
        let mut reply = Reply::new(&mut kept);
        self.conn.protocol.error_reply(failure, &mut reply);
        reply.finish();
        let cap = self.conn.limits.output_bytes as usize + ERROR_REPLY_BYTES;
        let pool = &mut self.workspace.pool;
        let mut no_fuse = 0;
        let output = &mut lent(&mut self.conn.buffers).output;
        output.expect_last_write();
        let written = Writer::new(output, pool, cap, usize::MAX, false, &mut no_fuse).write(&kept);
        debug_assert!(written.is_ok(), "the reserve is kept for exactly this");
        pool.give(kept);
    }

    /// From now on nothing is handled; what is owed is sent, then the end.
    pub(super) fn begin_close(&mut self, reason: Reason<P::Error>) {
        debug_assert!(matches!(self.conn.phase, Phase::New | Phase::Active));
        self.forget_inputs();
        let reason = match (reason, self.conn.buffers().cut.take()) {
            // Well finished on our side, but what the peer said may not have been all.
            (Reason::Finished | Reason::Requested, Some(cut)) => Reason::Layer(cut),
            (reason, _) => reason,
        };
        if self.conn.output_end == OutputEnd::Open {
            self.conn.output_end = OutputEnd::Asked;
        }
        let Connection { limits, .. } = &*self.conn;
        let until = match limits.linger_ms {
            0 => self.now,
            ms => self.now.after_ms(ms),
        };
        let discard_left = limits.linger_bytes;
        self.conn.set_phase(Phase::Flushing(Box::new(End { reason, discard_left, until })));
    }

    /// A server that stops waits for a peer's end, but not for long.
    pub(super) fn shorten_linger(&mut self) {
        let at_most = self.now.after_ms(DRAIN_LINGER_MS);
        match &mut self.conn.phase {
            Phase::Flushing(end) | Phase::Lingering(end) => end.until = end.until.min(at_most),
            Phase::New | Phase::Active | Phase::Closing(_) | Phase::Closed => {}
        }
    }

    /// Ends now: what is owed is dropped. Harmless after the close.
    pub(super) fn end_now(&mut self, reason: Reason<P::Error>) {
        if matches!(self.conn.phase, Phase::Closing(_) | Phase::Closed) {
            return;
        }
        self.forget_inputs();
        self.drop_output();
        let buffers = self.conn.buffers();
        let unsent = (buffers.wire.len() - buffers.wire_start) as u64;
        buffers.wire_start = buffers.wire.len();
        (buffers.debt, buffers.cut) = (None, None);
        self.conn.io.counters.unsent += unsent;
        self.conn.set_phase(Phase::Closing(Box::new(reason)));
    }

    /// A layer is not open in time. What waits for that was never offered to the peer, and last words
    /// could not be: the layer's own end goes out, and the close is an orderly one.
    pub(super) fn give_up_opening(&mut self, reason: Reason<P::Error>) {
        if self.flush_only {
            // The layer's end would have to be kept.
            return self.end_now(reason);
        }
        match &mut self.conn.phase {
            Phase::New | Phase::Active => self.begin_close(reason),
            Phase::Flushing(end) => end.reason = reason,
            Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {}
        }
        self.drop_output();
        if matches!(self.conn.output_end, OutputEnd::Open | OutputEnd::Asked) {
            self.conn.output_end = OutputEnd::Sealed;
            self.call_layer(LayerCallKind::SendEnd, L::send_end);
        }
    }

    /// A layer gave up. What it still has to say is sent, what it did not take is not.
    pub(super) fn layer_failed(&mut self, error: LayerError) {
        match &mut self.conn.phase {
            Phase::New | Phase::Active => self.begin_close(Reason::Layer(error)),
            // What was owed will not go out whole, whatever the close was for.
            Phase::Flushing(end) if self.conn.output_end == OutputEnd::Asked => end.reason = Reason::Layer(error),
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {}
        }
        self.drop_output();
        if !self.conn.output_end.is_behind_layers() {
            self.conn.output_end = OutputEnd::Failed;
        }
    }

    /// Something from outside ends the connection: the transport, or an abort. When
    /// everything was sent already, the close that was under way stands: nothing is
    /// lost by it, and a reset would only put in danger what the kernel still holds.
    pub(super) fn cut_short(&mut self, cause: Reason<P::Error>) {
        let reason = match mem::replace(&mut self.conn.phase, Phase::Active) {
            Phase::Lingering(end) => end.reason,
            // Only the layers' own end is not taken. A peer that has closed does not wait for it.
            Phase::Flushing(end) if self.conn.output_end == OutputEnd::Sealed => {
                let buffers = self.conn.buffers();
                buffers.wire_start = buffers.wire.len();
                end.reason
            }
            // Why the layer failed says more than that the peer went; what is encoded is lost.
            Phase::Flushing(end) if self.conn.output_end == OutputEnd::Failed => end.reason,
            phase @ (Phase::New | Phase::Active | Phase::Flushing(_) | Phase::Closing(_) | Phase::Closed) => {
                self.conn.phase = phase;
                cause
            }
        };
        self.end_now(reason);
    }

    pub(super) fn on_input_end(&mut self) {
        if self.conn.input_end != InputEnd::Open {
            return;
        }
        self.conn.input_end = InputEnd::Ended;
        match self.conn.phase {
            Phase::New | Phase::Active => self.end_layer_input(),
            // Nothing more opens the layer, which knows how to say so.
            Phase::Flushing(_) if self.conn.waits_for_opening() => self.end_layer_input(),
            // Nobody listens any more, so nothing is cut off.
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {}
        }
    }

    pub(super) fn end_layer_input(&mut self) {
        let result = self.conn.layer.receive_end();
        self.conn.tap_layer(Called::new(LayerCallKind::ReceiveEnd, result.err()), &[]);
        let error = match result {
            // Nothing opens it any more, and what waits for that would wait for ever.
            Ok(()) if self.conn.layer.is_opening() => UNOPENED,
            Ok(()) => return,
            Err(error) => error,
        };
        planted!(CutIsAFailure: return self.layer_failed(error));
        if self.conn.layer.is_opening() {
            self.layer_failed(error);
        } else {
            self.conn.input_end = InputEnd::Cut;
            self.conn.buffers().cut = Some(error);
        }
    }

    /// An answer that comes too late closes its file.
    pub(super) fn on_file_answer(&mut self, opened: Opened) {
        self.conn.buffers().name.clear();
        match self.conn.phase {
            Phase::New | Phase::Active => {
                self.conn.control.barrier = Barrier::Opened;
                self.conn.buffers().answer = Some(opened);
            }
            Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => {
                self.conn.control.barrier = Barrier::Clear;
                planted!(LateFileLeaked: return);
                if opened.result.is_ok() {
                    self.conn.buffers().to_close.push_back(opened.id);
                }
            }
        }
    }

    /// Acts on what a committed call asked for.
    pub(super) fn on_commit(&mut self) {
        match self.conn.control.ending {
            Ending::Open => {}
            Ending::HalfClose => {
                if self.conn.output_end == OutputEnd::Open {
                    self.conn.output_end = OutputEnd::Asked;
                }
            }
            Ending::Close => self.begin_close(Reason::Finished),
            Ending::Abort => self.end_now(Reason::Aborted),
        }
    }

    /// Nothing is due: the output may have an end, and the phase with it.
    pub(super) fn finish_output(&mut self) -> Finish {
        if self.conn.buffers().owes() {
            return Finish::Nothing;
        }
        match self.conn.output_end {
            // The layers' end would have to be kept.
            OutputEnd::Asked if !L::TRANSPARENT && self.flush_only => Finish::Nothing,
            OutputEnd::Asked => {
                if !L::TRANSPARENT {
                    let conn = &*self.conn;
                    let is_alone = matches!(conn.phase, Phase::New | Phase::Active);
                    if conn.layer.is_owing() || (is_alone && conn.layer.is_opening()) {
                        return Finish::Nothing;
                    }
                    if !self.call_layer(LayerCallKind::SendEnd, L::send_end) {
                        return Finish::Moved;
                    }
                }
                self.conn.output_end = OutputEnd::Sealed;
                Finish::Moved
            }
            OutputEnd::Sealed | OutputEnd::Failed => {
                self.conn.output_end = OutputEnd::Done;
                // An end that is not behind all that was owed would say that it is.
                let is_whole = self.conn.io.counters.unsent == 0;
                match &self.conn.phase {
                    Phase::Flushing(end) if !is_whole && !end.reason.is_before_all_output() => Finish::Moved,
                    Phase::Flushing(_) if !self.may_linger() => Finish::Moved,
                    Phase::New | Phase::Active | Phase::Flushing(_) => Finish::HalfClose,
                    Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed => Finish::Moved,
                }
            }
            OutputEnd::Done => self.finish_phase(),
            OutputEnd::Open => Finish::Nothing,
        }
    }

    fn finish_phase(&mut self) -> Finish {
        let may_linger = self.may_linger();
        match mem::replace(&mut self.conn.phase, Phase::Active) {
            Phase::Flushing(end) if may_linger => {
                self.conn.set_phase(Phase::Lingering(end));
                Finish::Moved
            }
            Phase::Flushing(end) => {
                self.end_now(end.reason);
                Finish::Moved
            }
            Phase::Lingering(end) if !may_linger => {
                self.end_now(end.reason);
                Finish::Moved
            }
            phase @ (Phase::New | Phase::Active | Phase::Lingering(_) | Phase::Closing(_) | Phase::Closed) => {
                self.conn.phase = phase;
                Finish::Nothing
            }
        }
    }

    /// There may be input that a close would turn into a reset.
    fn may_linger(&self) -> bool {
        match &self.conn.phase {
            Phase::Flushing(end) | Phase::Lingering(end) => {
                self.conn.input_end == InputEnd::Open && end.discard_left > 0 && self.now < end.until
            }
            Phase::New | Phase::Active | Phase::Closing(_) | Phase::Closed => false,
        }
    }

    /// No handler will be called again: what waits for one is dropped.
    fn forget_inputs(&mut self) {
        self.drop_unread();
        let Connection { buffers, control, .. } = &mut *self.conn;
        let buffers = lent(buffers);
        buffers.message = None;
        control.timers = [Time::NEVER; Timer::COUNT];
        match control.barrier {
            Barrier::OpenAsked(_) => {
                buffers.name.clear();
                control.barrier = Barrier::Clear;
            }
            Barrier::Opened => {
                let unheard = buffers.answer.take().filter(|opened| opened.result.is_ok());
                buffers.to_close.extend(unheard.map(|opened| opened.id));
                control.barrier = Barrier::Clear;
            }
            // The answer is still to come and will be closed then.
            Barrier::Opening(_) => {}
            Barrier::UpgradeAsked(_) | Barrier::Upgraded | Barrier::Clear => {}
        }
        // A command that waits stays: that it does says what became of it.
        self.conn.blocked = None;
    }

    pub(super) fn drop_unread(&mut self) {
        self.conn.io.counters.discarded += self.unread().len() as u64;
        self.workspace.scratch.clear();
        lent(&mut self.conn.buffers).drop_carry(&mut self.workspace.pool);
        self.conn.in_scratch = false;
    }

    fn drop_output(&mut self) {
        let Connection { buffers, io, .. } = &mut *self.conn;
        let buffers = lent(buffers);
        io.counters.unsent += buffers.output.discard(&mut buffers.to_close, &mut self.workspace.pool);
    }
}
