//! What is counted of a worker, or of all of a server.

use crate::admission::Refusal;
use drywire_core::{CloseReport, Reason};

/// What was counted since the start. A plain value; every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Peers that connected to us and were let in.
    pub accepted: u64,
    /// Peers that were refused because too many were connected (FAULTS 25).
    pub refused_by_connections: u64,
    /// Peers that were refused because too many were connected from their address (FAULTS 26).
    pub refused_by_address: u64,
    /// Peers that were refused because the memory budget had no room for them.
    pub refused_by_memory: u64,
    /// Peers that the application turned away.
    pub turned_away: u64,
    /// Connections that ended, of whatever origin, by their reason.
    pub ended: Ended,
    /// Commands that were accepted, and dropped: because their connection had ended, its
    /// handler gave up, or a group had something newer.
    pub commands_dropped: u64,
    /// Panics of protocols and callbacks that were caught (FAULTS 59), whatever they ended.
    pub panics: u64,
    /// Bytes received on connections that ended.
    pub received_bytes: u64,
    /// Bytes sent on connections that ended.
    pub sent_bytes: u64,
}

/// Connections that ended, by [`Reason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the variants of `Reason`")]
pub struct Ended {
    pub finished: u64,
    pub requested: u64,
    pub peer: u64,
    pub limit: u64,
    pub misuse: u64,
    pub transport: u64,
    pub file: u64,
    pub layer: u64,
    pub stalled: u64,
    pub aborted: u64,
    pub panicked: u64,
    pub shed: u64,
}

impl Stats {
    /// Adds what another worker counted.
    pub fn absorb(&mut self, other: &Stats) {
        self.combine(other, u64::wrapping_add);
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(mut self, earlier: &Stats) -> Stats {
        self.combine(earlier, u64::wrapping_sub);
        self
    }

    pub(crate) fn on_refused(&mut self, why: Refusal) {
        match why {
            Refusal::Connections { .. } => self.refused_by_connections += 1,
            Refusal::Address { .. } => self.refused_by_address += 1,
            Refusal::Memory { .. } => self.refused_by_memory += 1,
        }
    }

    pub(crate) fn on_ended<E>(&mut self, report: &CloseReport<E>) {
        self.received_bytes += report.counters.received;
        self.sent_bytes += report.counters.sent;
        *self.ended.of(&report.reason) += 1;
    }

    fn combine(&mut self, other: &Stats, how: fn(u64, u64) -> u64) {
        // Named one by one: a number that is forgotten does not compile.
        let Stats {
            accepted,
            refused_by_connections,
            refused_by_address,
            refused_by_memory,
            turned_away,
            ended,
            commands_dropped,
            panics,
            received_bytes,
            sent_bytes,
        } = self;
        for (mine, theirs) in [
            (accepted, other.accepted),
            (refused_by_connections, other.refused_by_connections),
            (refused_by_address, other.refused_by_address),
            (refused_by_memory, other.refused_by_memory),
            (turned_away, other.turned_away),
            (commands_dropped, other.commands_dropped),
            (panics, other.panics),
            (received_bytes, other.received_bytes),
            (sent_bytes, other.sent_bytes),
        ] {
            *mine = how(*mine, theirs);
        }
        for (mine, theirs) in ended.each().into_iter().zip(other.ended.clone().each()) {
            *mine = how(*mine, *theirs);
        }
    }
}

impl Ended {
    /// All of them together.
    #[must_use]
    pub fn all(mut self) -> u64 {
        self.each().into_iter().map(|count| *count).sum()
    }

    fn of<E>(&mut self, reason: &Reason<E>) -> &mut u64 {
        match reason {
            Reason::Finished => &mut self.finished,
            Reason::Requested => &mut self.requested,
            Reason::Peer(_) => &mut self.peer,
            Reason::Limit(_) => &mut self.limit,
            Reason::Misuse(_) => &mut self.misuse,
            Reason::Transport(_) => &mut self.transport,
            Reason::File(_) => &mut self.file,
            Reason::Layer(_) => &mut self.layer,
            Reason::Stalled => &mut self.stalled,
            Reason::Aborted => &mut self.aborted,
            Reason::Panicked => &mut self.panicked,
            Reason::Shed => &mut self.shed,
        }
    }

    fn each(&mut self) -> [&mut u64; 12] {
        let Ended {
            finished,
            requested,
            peer,
            limit,
            misuse,
            transport,
            file,
            layer,
            stalled,
            aborted,
            panicked,
            shed,
        } = self;
        [finished, requested, peer, limit, misuse, transport, file, layer, stalled, aborted, panicked, shed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire_core::Counters;

    #[test]
    fn each_end_is_counted_by_its_reason_and_sums_add_up() {
        let mut stats = Stats::default();
        let counters = Counters { received: 3, sent: 5, ..Counters::default() };
        let reasons: [Reason<()>; 3] = [Reason::Finished, Reason::Shed, Reason::Peer(())];
        for reason in reasons {
            stats.on_ended(&CloseReport { reason, counters });
        }
        stats.on_refused(Refusal::Address { most: 1 });
        assert_eq!(stats.ended, Ended { finished: 1, shed: 1, peer: 1, ..Ended::default() });
        assert_eq!((stats.ended.all(), stats.received_bytes, stats.sent_bytes), (3, 9, 15));
        let mut both = stats;
        both.absorb(&stats);
        assert_eq!((both.ended.shed, both.refused_by_address, both.sent_bytes), (2, 2, 30));
        assert_eq!(both.since(&stats), stats);
    }
}
