//! One connection with everything around it: turn by turn, to its end and beyond it.

use super::outside::Outside;
use super::{Bounds, LastOrder, Turn, TurnEnd, transport_error};
use crate::shared::rich::Rich;
use drywire_core::{Connection, Misuse, Protocol, Read, Time, Wait, Workspace};
use std::mem;
use std::time::Duration;

/// Turns that bring a connection to its end when everything is done for it.
const LAST_TURNS: usize = 1_000;

/// See the module.
pub(super) struct Bench {
    connection: Connection<Rich>,
    workspace: Workspace,
    now: Time,
    outside: Outside,
}

impl Bench {
    pub(super) fn new(bounds: Bounds) -> Bench {
        let connection = Connection::new(Rich::default()).with_limits(bounds.limits(Rich::LIMITS));
        Bench { connection, workspace: Workspace::new(), now: Time::ZERO, outside: Outside::default() }
    }

    pub(super) fn turn(&mut self, turn: &Turn) {
        self.now = self.now + Duration::from_millis(u64::from(turn.later));
        self.connection.inject_full(u32::from(turn.full_at % 8));
        let Bench { connection, workspace, now, outside } = self;
        let mut live = connection.lend(workspace, *now);
        for step in &turn.steps {
            outside.step(&mut live, *now, step);
            outside.check(live.connection());
        }
        match turn.end {
            TurnEnd::Settled => _ = outside.settle(&mut live, *now),
            TurnEnd::Dropped => {}
            TurnEnd::Forgotten => {
                outside.forgotten = true;
                mem::forget(live);
                return;
            }
        }
        drop(live);
        outside.check(connection);
    }

    /// Everything is answered and taken, time passes, the peer ends.
    pub(super) fn end(mut self, order: LastOrder) {
        self.connection.inject_full(0);
        let mut wait = Wait::default();
        for turn in 0..LAST_TURNS {
            let Bench { connection, workspace, now, outside } = &mut self;
            if let Some(deadline) = wait.deadline.filter(|_| turn > 1) {
                *now = deadline;
            }
            let mut live = connection.lend(workspace, *now);
            if turn == 0 {
                match order {
                    LastOrder::Close => live.close(),
                    LastOrder::Abort => live.abort(),
                    LastOrder::PeerResets => live.handle_transport_error(transport_error(0)),
                }
            }
            live.handle_writable();
            if let Some((id, name)) = outside.asked {
                outside.answers(&mut live, id, Ok(name));
            }
            live.read_with(|_| Ok(0));
            wait = outside.settle(&mut live, *now);
            drop(live);
            outside.check(connection);
            if outside.close.is_some() {
                return self.post_mortem();
            }
        }
        panic!("I3: it never ends: {:?} waits for {wait:?}", self.connection);
    }

    fn post_mortem(mut self) {
        let Bench { connection, workspace, now, outside } = &mut self;
        let report = outside.close.clone().expect("it is closed");
        assert!(connection.is_closed());
        assert_eq!(connection.held_bytes(), 0, "a closed connection holds nothing");
        assert!(outside.open.is_empty(), "I6: {:?} stay open", outside.open);
        assert_eq!(report.counters, connection.counters());

        let rich = connection.protocol();
        assert_eq!(outside.events, rich.told, "events are told whole and in order");
        // I1: what was accepted, then the error reply if there was one. What is missing was counted.
        let all = [&rich.said[..], &*rich.last_words.borrow()].concat();
        assert!(all.starts_with(&outside.taken), "I1: not what was said");
        let missing = (all.len() - outside.taken.len()) as u64;
        assert_eq!(missing, report.counters.unsent, "I1: what is missing was counted: {report:?}");
        assert!(missing == 0 || report.reason.is_abort(), "I1: {missing} bytes are missing: {report:?}");
        if !outside.forgotten {
            let seen = rich.took + report.counters.discarded;
            assert_eq!(seen, report.counters.received, "each byte of input was handled or discarded");
        }

        // Nothing does anything any more.
        let mut live = connection.lend(workspace, *now);
        live.handle_writable();
        live.handle_transport_error(transport_error(0));
        live.drain();
        live.close();
        live.abort();
        assert!(!live.can_take_command());
        assert_eq!(live.handle_command(Vec::new()), Err((Vec::new(), Misuse::Closed)));
        assert_eq!(live.read_with(|_| panic!("a read after the close")), Read::NotWanted);
        outside.settle(&mut live, *now);
        drop(live);
        assert_eq!(connection.counters(), report.counters);
    }
}
