//! Whether the end of a connection is true: its counters, its reason, its last words.

use super::{Ending, Facts, Record, Stop, is_limited};
use crate::world::plan::Speech;
use crate::world::violation::{Invariant, Violation};
use drywire_core::{Counters, Limit, Limits, Misuse, Reason, Time};
use std::time::Duration;

/// Met by waiting, and not by what came.
fn is_of_time(limit: &Limit) -> bool {
    match limit {
        Limit::Idle(_) | Limit::FirstByte(_) | Limit::Handshake(_) | Limit::Message(_) | Limit::Rate(_) => true,
        Limit::Input(_)
        | Limit::Frame(_)
        | Limit::Output(_)
        | Limit::Events(_)
        | Limit::Opens
        | Limit::Leftovers
        | Limit::Parts(_) => false,
    }
}

impl Record {
    /// Its own part is done: nothing of its output will follow.
    pub(in crate::world) fn has_ended(&self) -> bool {
        match self.speech {
            Speech::Bytes => self.fed_end,
            Speech::Lines | Speech::Dialog => self.stop.is_some(),
            Speech::Actor => self.ending != Ending::Open,
        }
    }

    /// All that is owed was taken, as far as it is known.
    pub(in crate::world) fn owes_nothing(&self) -> bool {
        self.taken == self.expected.len()
    }

    /// What is owed for `consumed` bytes of input, without an error reply: the least
    /// and the most.
    fn owed(&self, consumed: usize) -> Option<(usize, usize)> {
        match self.speech {
            Speech::Bytes => Some((consumed, consumed)),
            // Bytes that the last call got and refused count as its own.
            Speech::Lines
                if self.fed_end && consumed == self.fed.len() && matches!(self.stop, Some(Stop::Limit(_))) =>
            {
                Some((self.scan, self.scan))
            }
            Speech::Lines => {
                let whole = consumed == 0 || self.fed.get(consumed - 1) == Some(&b'\n');
                (whole || self.fed_end && consumed == self.fed.len()).then_some((consumed, consumed))
            }
            Speech::Dialog => {
                let mark = |at: usize| {
                    let marks = self.marks.iter().filter(|(consumed, _)| *consumed == at).map(|(_, owed)| *owed);
                    Some((marks.clone().min()?, marks.max()?))
                };
                if consumed == 0 {
                    return Some((0, 0));
                }
                mark(consumed).or_else(|| {
                    let all = self.fed_end && consumed == self.fed.len();
                    all.then(|| self.marks.last().map_or((0, 0), |(_, owed)| (*owed, *owed)))
                })
            }
            Speech::Actor => (self.consumed == consumed).then_some((self.expected.len(), self.expected.len())),
        }
    }

    /// The connection is over; whether its report is true.
    pub(in crate::world) fn check_report(
        &self,
        reason: &Reason<String>,
        counters: Counters,
        in_flight: usize,
        now: Time,
    ) -> Result<(), Violation> {
        let wrong = |invariant, text: String| {
            Err(Violation::new(invariant, self.line, format!("{text}; the report says {reason:?}, {counters:?}")))
        };
        let (received, sent) = (self.fed.len() as u64, self.output.len() as u64);
        if counters.received != received || counters.sent != sent {
            return wrong(Invariant::Report, format!("{received} bytes came in and {sent} were taken"));
        }
        if self.facts.panicked || matches!(reason, Reason::Panicked) {
            // Where it was in its input is anybody's guess; that the output is right was
            // seen byte by byte.
            let is_told = self.facts.panicked && matches!(reason, Reason::Panicked);
            return if is_told {
                Ok(())
            } else {
                wrong(Invariant::Report, "a panic that was none, or not told".into())
            };
        }
        let Some(consumed) = received.checked_sub(counters.discarded) else {
            return wrong(Invariant::Report, "more was discarded than came in".into());
        };
        let most = u64::from(self.limits.linger_bytes) + u64::from(self.limits.input_bytes);
        if counters.discarded > most {
            return wrong(Invariant::Bounds, format!("{most} bytes may be discarded"));
        }
        let Some((least, most)) = self.owed(consumed as usize) else {
            return wrong(
                Invariant::Output,
                format!("{consumed} bytes of input are no whole messages, or not those that were handled"),
            );
        };
        let reply = self.reply(reason);
        if self.is_undecided {
            let Limits { idle_ms, first_byte_ms, message_ms, min_rate, .. } = self.limits;
            let limits = [
                Limit::Idle(idle_ms),
                Limit::FirstByte(first_byte_ms),
                Limit::Message(message_ms),
                Limit::Rate(min_rate),
            ];
            let is_told = limits.into_iter().any(|limit| {
                let words = self.reply(&Reason::Limit(limit));
                [least, most].iter().any(|owed| [&self.expected[..*owed], &words].concat().starts_with(&self.output))
            });
            if !is_told {
                return wrong(Invariant::Output, "the output is neither what was owed nor the last words".into());
            }
        }
        let total = (counters.sent + counters.unsent) as usize;
        if reason.is_abort() {
            // An error reply may have been cut off, too.
            let may_reply = !matches!(self.speech, Speech::Bytes)
                && (self.speech != Speech::Actor || self.ending == Ending::Failed);
            let reply = if may_reply { drywire_core::ERROR_REPLY_BYTES } else { 0 };
            if total < least || total > most + reply {
                return wrong(Invariant::Output, format!("{least} bytes were owed, {total} are accounted for"));
            }
        } else {
            if counters.unsent > 0 {
                return wrong(Invariant::Output, "a clean end with output that was not sent".into());
            }
            // Without memory there are no last words.
            let is_silent = self.facts.is_tight && total == most && self.extra.is_empty();
            if is_silent {
                return self.check_reason(reason, in_flight, now).or_else(|text| wrong(Invariant::Report, text));
            }
            if total != most + reply.len() || (!reply.is_empty() && self.extra != reply && !self.is_undecided) {
                return wrong(Invariant::Output, format!("{most} bytes were owed and a reply of {}", reply.len()));
            }
        }
        if self.is_hasty(reason, counters, now) {
            return wrong(
                Invariant::Output,
                "it closes while its peer may still send, which resets what was sent".into(),
            );
        }
        if !self.untold.is_empty() {
            return wrong(Invariant::Report, format!("{} events were never told", self.untold.len()));
        }
        self.check_reason(reason, in_flight, now).or_else(|text| wrong(Invariant::Report, text))
    }

    /// Nobody but the drop of the driver has cut it off.
    pub(in crate::world) fn may_flush(&self, now: Time) -> bool {
        let Facts { abort_asked, drain_ends, .. } = self.facts;
        !abort_asked && self.ending != Ending::Abort && drain_ends.is_none_or(|at| at > now)
    }

    /// It ended by itself, and did not linger, though it might have.
    fn is_hasty(&self, reason: &Reason<String>, counters: Counters, now: Time) -> bool {
        let by_itself = match reason {
            Reason::Finished | Reason::Peer(_) | Reason::Misuse(_) => true,
            Reason::Limit(limit) => !is_of_time(limit),
            Reason::Requested
            | Reason::Transport(_)
            | Reason::File(_)
            | Reason::Layer(_)
            | Reason::Stalled
            | Reason::Aborted
            | Reason::Panicked
            | Reason::Shed => false,
        };
        let Facts { broken, abort_asked, drained, cut, .. } = self.facts;
        let Some(since) = self.ended_at.filter(|_| by_itself && !(broken || abort_asked || drained || cut)) else {
            return false;
        };
        let linger = Duration::from_millis(u64::from(self.limits.linger_ms));
        !self.fed_end && counters.discarded < u64::from(self.limits.linger_bytes) && now < since + linger
    }

    fn check_reason(&self, reason: &Reason<String>, in_flight: usize, now: Time) -> Result<(), String> {
        let facts = &self.facts;
        let plausible = match reason {
            Reason::Finished => {
                facts.drained || (self.has_ended() && !matches!(self.stop, Some(Stop::Bad | Stop::Limit(_))))
            }
            Reason::Requested => {
                if facts.cut {
                    return Ok(());
                }
                if let Some(lost) = self.orders.iter().flatten().find(|order| Some(**order) < self.last_order) {
                    return Err(format!("command {lost} came before the close, and was dropped"));
                }
                facts.close_asked
            }
            Reason::Peer(_) => match self.speech {
                Speech::Bytes | Speech::Lines => false,
                Speech::Dialog => self.stop == Some(Stop::Bad),
                Speech::Actor => self.ending == Ending::Failed,
            },
            Reason::Limit(Limit::Idle(ms)) => *ms == self.limits.idle_ms && self.idle_seen,
            Reason::Limit(Limit::FirstByte(ms)) => *ms == self.limits.first_byte_ms && self.late.first_byte,
            // No layer of a world shakes hands.
            Reason::Limit(Limit::Handshake(_)) => false,
            Reason::Limit(Limit::Message(ms)) => *ms == self.limits.message_ms && self.late.message,
            Reason::Limit(Limit::Rate(rate)) => *rate == self.limits.min_rate && self.late.input,
            Reason::Limit(limit) => match self.speech {
                Speech::Bytes => false,
                Speech::Lines | Speech::Dialog => self.stop == Some(Stop::Limit(*limit)),
                Speech::Actor => match limit {
                    Limit::Input(cap) => {
                        *cap == self.limits.input_bytes as usize && self.fed.len() - self.consumed >= *cap
                    }
                    Limit::Output(_)
                    | Limit::Events(_)
                    | Limit::Opens
                    | Limit::Leftovers
                    | Limit::Parts(_)
                    | Limit::Frame(_)
                    | Limit::Idle(_)
                    | Limit::FirstByte(_)
                    | Limit::Handshake(_)
                    | Limit::Message(_)
                    | Limit::Rate(_) => self.ending == Ending::Failed,
                },
            },
            Reason::Misuse(misuse) => *misuse == Misuse::WriteAfterEnd && self.speech == Speech::Actor,
            Reason::Transport(_) => facts.broken || facts.refused,
            Reason::File(_) => facts.file_failed,
            Reason::Layer(_) => false,
            Reason::Stalled => {
                let nothing = self.blocked_since.is_some_and(|since| {
                    let blocked = now.saturating_since(since).as_nanos();
                    is_limited(self.limits.stall_ms) && blocked >= u128::from(self.limits.stall_ms) * 1_000_000
                });
                nothing || self.late.output
            }
            Reason::Panicked => false,
            Reason::Shed => facts.is_tight && now >= facts.shed_from,
            Reason::Aborted => {
                facts.abort_asked
                    || facts.cut
                    || facts.drain_ends.is_some_and(|at| at <= now)
                    // One of ours that did not stand yet: a shutdown gives up on it.
                    || (facts.drained && !self.opened)
                    || self.ending == Ending::Abort
            }
        };
        let _ = in_flight;
        if plausible { Ok(()) } else { Err("nothing that happened gives this reason".into()) }
    }

    /// The last words for this end.
    fn reply(&self, reason: &Reason<String>) -> Vec<u8> {
        let why = match reason {
            Reason::Peer(error) => error.clone(),
            Reason::Limit(limit) => limit.to_string(),
            Reason::Misuse(misuse) => misuse.to_string(),
            Reason::Finished
            | Reason::Requested
            | Reason::Transport(_)
            | Reason::File(_)
            | Reason::Layer(_)
            | Reason::Stalled
            | Reason::Aborted
            | Reason::Panicked
            | Reason::Shed => return Vec::new(),
        };
        let too_long = matches!(reason, Reason::Limit(Limit::Input(_)));
        match self.speech {
            Speech::Bytes => Vec::new(),
            Speech::Lines if too_long => b"error: line too long\n".to_vec(),
            Speech::Lines => format!("error: {why}\n").into_bytes(),
            Speech::Dialog if too_long => b"-500 protocol error, line too long\n".to_vec(),
            Speech::Dialog => format!("-500 protocol error, {why}\n").into_bytes(),
            // A half-close has ended the output before.
            Speech::Actor if !self.output_ended => format!("error: {why}\n").into_bytes(),
            Speech::Actor => Vec::new(),
        }
    }
}
