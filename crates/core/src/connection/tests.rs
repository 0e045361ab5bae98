//! What cannot be reached from outside in a test's time.

use super::Connection;
use crate::{Action, Context, Limit, Protocol, Reason, Stop, Time, Workspace};
use core::convert::Infallible;

/// Asks for a file at every byte.
struct Asks;

impl Protocol for Asks {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, _: &[u8], cx: &mut Context<'_, Asks>) -> Result<usize, Stop<Infallible>> {
        cx.open_file(b"file")?;
        Ok(1)
    }
}

/// A peer that asks four thousand million times must not make anything panic.
#[test]
fn fault_70_file_numbers_that_run_out_are_a_limit() {
    let (mut conn, mut workspace) = (Connection::new(Asks), Workspace::new());
    conn.control.next_file = u32::MAX;
    let mut live = conn.lend(&mut workspace, Time::ZERO);
    live.read_with(|slot| {
        slot[0] = b'x';
        Ok(1)
    });
    assert!(matches!(live.poll(), Action::HalfClose));
    live.read_with(|_| Ok(0));
    let last = live.poll();
    assert!(matches!(last, Action::Close(report) if report.reason == Reason::Limit(Limit::Opens)));
}
