//! What must hold of one connection, whatever the protocol: after every turn, at rest,
//! and after the close.

use super::finding::Check;
use super::run::Run;
use drywire_core::{Budget, ERROR_REPLY_BYTES, Misuse, Protocol, Ready, Turn, Wait, turn};
use std::fmt::Debug;

/// What was wrong in one run.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) check: Check,
    pub(super) expected: String,
    pub(super) got: String,
}

impl<P: Protocol> Run<'_, P>
where
    P::Event: Debug,
    P::Error: Debug,
{
    /// What must hold after every turn.
    pub(super) fn check(&mut self) -> Result<(), Trouble> {
        if let Some(broken) = self.wire.ledger.broken.take() {
            return Err(trouble(Check::Close, "files and ends in their order", &broken));
        }
        let limits = self.conn.limits();
        let bound = limits.input_bytes as usize + limits.output_bytes as usize + ERROR_REPLY_BYTES;
        let held = self.conn.held_bytes();
        if held > bound {
            let got = format!("{held} bytes held by the connection");
            return Err(trouble(Check::Memory, &format!("at most {bound} bytes held"), &got));
        }
        if let Some((at_most, weigh)) = &self.kit.weigh {
            let weight = weigh(self.conn.protocol());
            if weight > *at_most {
                let got = format!("it weighs {weight} bytes, after {} received", self.conn.counters().received);
                return Err(trouble(Check::Memory, &format!("the protocol weighs at most {at_most} bytes"), &got));
            }
        }
        if !self.again && self.wait.deadline.is_some_and(|deadline| deadline <= self.now) {
            let got = format!("{:?} at {:?}", self.wait, self.now);
            return Err(trouble(Check::Wake, "a deadline that lies ahead", &got));
        }
        if self.close.is_some() && !self.wire.ledger.open.is_empty() {
            let got = format!("{} files are open after the close", self.wire.ledger.open.len());
            return Err(trouble(Check::Close, "every file closed before the close", &got));
        }
        Ok(())
    }

    /// Everything was handed over and nothing goes on.
    pub(super) fn check_rest(&self) -> Result<(), Trouble> {
        if self.close.is_some() || self.wait.read || self.wait.write || self.wait.deadline.is_some() {
            return Ok(());
        }
        let got = format!("it waits for nothing, with {} bytes left unread", self.wire.incoming.len());
        Err(trouble(
            Check::Wake,
            "while it is open it waits for input, for the peer to take output, or for a time",
            &got,
        ))
    }

    /// The connection is inert: whatever is asked of it, it says nothing.
    pub(super) fn check_after_close(&mut self) -> Result<(), Trouble> {
        let nothing = |got: String| Err(trouble(Check::Close, "nothing after the close", &got));
        if self.conn.held_bytes() != 0 {
            return nothing(format!("{} bytes held", self.conn.held_bytes()));
        }
        let mut live = self.conn.lend(self.workspace, self.now);
        live.close();
        live.abort();
        if let Some(make) = self.kit.commands.first()
            && !matches!(live.handle_command(make()), Err((_, Misuse::Closed)))
        {
            return nothing("a command was taken".to_owned());
        }
        match turn(&mut live, &mut self.wire, &mut Ready::UNKNOWN.clone(), &mut Budget::DEFAULT.clone()) {
            Turn::Wait(wait) if wait == Wait::default() => Ok(()),
            Turn::Wait(wait) => nothing(in_words(wait)),
            Turn::Event(event) => nothing(format!("the event {event:?}")),
            Turn::Again => nothing("a turn that is not finished".to_owned()),
            Turn::Closed(report) => nothing(format!("a second report: {:?}", report.reason)),
        }
    }
}

/// It goes on for longer than anything honest does.
pub(super) fn endless(what: &str) -> Trouble {
    trouble(Check::Wake, what, "it never does")
}

pub(super) fn trouble(check: Check, expected: &str, got: &str) -> Trouble {
    Trouble { check, expected: expected.to_owned(), got: got.to_owned() }
}

pub(super) fn in_words(wait: Wait) -> String {
    let mut words = Vec::new();
    if wait.read {
        words.push("input".to_owned());
    }
    if wait.write {
        words.push("the peer to take output".to_owned());
    }
    if let Some(deadline) = wait.deadline {
        words.push(format!("the time {deadline:?}"));
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join(" and ") }
}
