//! One connection on a simulated transport, driven through the real `turn`, with
//! the invariants checked after every turn.

use super::net::Net;
use drywire_core::layer::Layer;
use drywire_core::{
    Budget, CloseReport, Connection, ERROR_REPLY_BYTES, Limit, Live, Protocol, Ready, Reason, Time, Turn, Wait,
    Workspace, turn,
};

/// What layers may hold beside the bounds of the connection: encoded bytes that
/// wait, and what one read became. See `Limits`.
const LAYERS_HOLD: usize = 256 * 1024;

pub(crate) struct Rig<P: Protocol, L: Layer = ()> {
    pub(crate) conn: Connection<P, L>,
    pub(crate) workspace: Workspace,
    pub(crate) net: Net,
    pub(crate) now: Time,
    pub(crate) events: Vec<P::Event>,
    pub(crate) close: Option<CloseReport<P::Error>>,
    pub(crate) wait: Wait,
}

/// Turns in a row that move nothing before a connection counts as settled: more
/// than any test has would-blocks in a row.
const QUIET_TURNS: usize = if cfg!(miri) { 4 } else { 8 };

impl<P: Protocol> Rig<P> {
    pub(crate) fn new(protocol: P) -> Rig<P> {
        Rig::on(Connection::new(protocol))
    }
}

impl<P: Protocol, L: Layer> Rig<P, L> {
    pub(crate) fn on(conn: Connection<P, L>) -> Rig<P, L> {
        Rig {
            conn,
            workspace: Workspace::new(),
            net: Net::new(),
            now: Time::ZERO,
            events: Vec::new(),
            close: None,
            wait: Wait::default(),
        }
    }

    /// One turn, after something else was put in. Returns whether anything moved.
    #[track_caller]
    pub(crate) fn turn_with(&mut self, put_in: impl FnOnce(&mut Live<'_, P, L>)) -> bool {
        let before = self.progress();
        self.net.calls = 0;
        {
            let mut live = self.conn.lend(&mut self.workspace, self.now);
            live.handle_writable();
            put_in(&mut live);
            let mut ready = Ready::UNKNOWN;
            let mut budget = Budget::bytes(usize::MAX);
            loop {
                match turn(&mut live, &mut self.net, &mut ready, &mut budget) {
                    Turn::Event(event) => {
                        assert!(self.close.is_none(), "I4: an event after the close");
                        self.events.push(event);
                    }
                    Turn::Wait(wait) => {
                        self.wait = wait;
                        break;
                    }
                    Turn::Again => panic!("the budget is not bounded here"),
                    Turn::Closed(report) => {
                        assert!(self.close.is_none(), "I4: closed twice");
                        self.close = Some(report);
                        self.wait = Wait::default();
                        break;
                    }
                }
            }
        }
        self.check();
        before != self.progress()
    }

    #[track_caller]
    pub(crate) fn turn(&mut self) -> bool {
        self.turn_with(|_| {})
    }

    /// Turns until nothing moves. Time stands still.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> &mut Self {
        for _ in 0..1_000_000 {
            // Would-blocks come in rows: one turn without progress is no proof.
            if !(0..QUIET_TURNS).any(|_| self.turn()) {
                return self;
            }
        }
        panic!("I3: never settles");
    }

    /// Lets `data` arrive and settles.
    #[track_caller]
    pub(crate) fn feed(&mut self, data: impl AsRef<[u8]>) -> &mut Self {
        self.net.incoming.extend(data.as_ref());
        self.settle()
    }

    /// The peer ends its direction.
    #[track_caller]
    pub(crate) fn feed_end(&mut self) -> &mut Self {
        self.net.incoming_end = true;
        self.settle()
    }

    /// Moves the clock and settles.
    #[track_caller]
    pub(crate) fn at(&mut self, now: Time) -> &mut Self {
        assert!(now >= self.now, "time does not go back");
        self.now = now;
        self.settle()
    }

    /// Moves the clock from deadline to deadline until none is left, at most `steps` times.
    #[track_caller]
    pub(crate) fn run_out(&mut self, steps: usize) -> &mut Self {
        self.settle();
        for _ in 0..steps {
            let Some(deadline) = self.wait.deadline else { return self };
            self.at(deadline.max(self.now));
        }
        assert!(self.wait.deadline.is_none(), "deadlines do not end");
        self
    }

    #[track_caller]
    pub(crate) fn report(&self) -> &CloseReport<P::Error> {
        self.close.as_ref().expect("the connection is still open")
    }

    /// Everything the peer was sent, as text.
    #[track_caller]
    pub(crate) fn sent(&self) -> &str {
        std::str::from_utf8(&self.net.taken).expect("tests write text")
    }

    fn progress(&self) -> (usize, usize, bool, usize, usize, bool, bool) {
        let net = &self.net;
        let files = net.asked.len() + net.closed_files.len();
        (
            net.incoming.len(),
            net.taken.len(),
            net.half_closed,
            self.events.len(),
            files,
            self.close.is_some(),
            self.wait.read,
        )
    }

    /// The invariants that hold after every turn.
    #[track_caller]
    fn check(&self) {
        let limits = self.conn.limits();
        let layers = if L::TRANSPARENT { 0 } else { LAYERS_HOLD };
        let bound = (limits.input_bytes + limits.output_bytes) as usize + ERROR_REPLY_BYTES + layers;
        assert!(self.conn.held_bytes() <= bound, "I2: {} bytes held, {bound} allowed", self.conn.held_bytes());
        assert_eq!(self.conn.counters().sent, self.net.taken.len() as u64, "sent bytes are counted");
        if let Some(report) = &self.close {
            // Before its handshake a peer is offered nothing that an end could cut.
            let is_whole = report.counters.unsent == 0 || matches!(report.reason, Reason::Limit(Limit::Handshake(_)));
            assert!(is_whole || !self.net.half_closed, "I1: an end before {} bytes", report.counters.unsent);
            assert_eq!(self.wait, Wait::default(), "I4: nothing follows the close");
            assert!(self.net.open.is_empty(), "I6: {:?} stay open", self.net.open.keys());
            assert_eq!(self.conn.held_bytes(), 0, "a closed connection holds nothing");
        } else {
            assert!(
                self.wait.deadline.is_none_or(|deadline| deadline > self.now),
                "4.1: the deadline has passed: {:?}",
                self.wait
            );
            assert_eq!(self.net.reading.last().copied().unwrap_or(true), self.wait.read, "announced and waited for");
        }
    }
}
