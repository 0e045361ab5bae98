//! What a kit found, in words that say what to do about it.

use super::seen::{Quoted, cut};
use std::fmt;

/// What a kit checks. In this order: a protocol that is not the same twice would fail
/// all that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Nothing the peer or the application does makes it panic.
    Panic,
    /// It breaks no rule of the library: no run ends as
    /// [`Reason::Misuse`](drywire_core::Reason::Misuse).
    Misuse,
    /// The same input twice is the same twice.
    Determinism,
    /// However the input is cut, the outcome is the same.
    Split,
    /// What follows a message does not change what became of it.
    Trailing,
    /// A call that is undone for want of room and made again leaves no trace.
    Full,
    /// However slowly the peer takes the output, it is the same output.
    SlowPeer,
    /// While it is open it waits for something that can happen, and does not spin.
    Wake,
    /// What it holds stays within its bounds.
    Memory,
    /// Whatever ends it, wherever, ends it once, with every file closed.
    Close,
}

impl Check {
    /// What a protocol's author did to fail it, usually.
    const fn hint(self) -> &'static str {
        match self {
            Check::Panic => "bytes from a peer never panic: refuse them with an error of the protocol's",
            Check::Misuse => "`Misuse` says which rule, at each of its variants",
            Check::Determinism => "no clock, no randomness, no static counter: what it needs is handed to it",
            Check::Split => "`consume` is called with whatever has arrived: take whole messages, else return 0",
            Check::Trailing => "`input` may hold more than one message: look at no byte beyond the first",
            Check::Full => "write first, then change yourself: a refused call is undone, but changes to self are not",
            Check::SlowPeer => "what is written may not depend on how much room there is, nor on who waits",
            Check::Wake => "`disable_read` needs somebody who takes it back; a timer needs a later deadline",
            Check::Memory => "keep no more of a peer's bytes than a bound says",
            Check::Close => "`end_of_input` closes, or makes sure that something later does",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Check::Panic => "no panic",
            Check::Misuse => "no misuse",
            Check::Determinism => "determinism",
            Check::Split => "split-invariance",
            Check::Trailing => "trailing bytes",
            Check::Full => "roll-back and replay",
            Check::SlowPeer => "slow peer",
            Check::Wake => "wake honesty",
            Check::Memory => "bounded memory",
            Check::Close => "clean close",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A protocol broke a promise: which one, with what, and how to see it again.
#[derive(Clone)]
pub struct Finding(Box<Found>);

#[derive(Clone)]
pub(super) struct Found {
    pub(super) check: Check,
    /// What is to be handed to the kit again.
    pub(super) input: Vec<u8>,
    pub(super) call: Call,
    pub(super) steps: String,
    pub(super) manner: String,
    pub(super) expected: String,
    pub(super) got: String,
}

/// How the kit was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Check,
    CheckIn,
}

impl Finding {
    pub(super) fn new(found: Found) -> Finding {
        Finding(Box::new(found))
    }

    /// The same, with what is to be handed over again.
    pub(super) fn told(mut self, input: &[u8], call: Call) -> Finding {
        (self.0.input, self.0.call) = (input.to_vec(), call);
        self
    }

    /// Which promise.
    #[must_use]
    pub fn check(&self) -> Check {
        self.0.check
    }

    /// The shortest input, or row of choices, that was found to show it.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.0.input
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { check, input, call, steps, manner, expected, got } = &*self.0;
        writeln!(f, "{check}: a promise is broken")?;
        writeln!(f)?;
        writeln!(f, "  happened   {}", cut(steps, 800))?;
        writeln!(f, "  manner     {manner}")?;
        writeln!(f, "  expected   {expected}")?;
        writeln!(f, "  got        {got}")?;
        writeln!(f, "  usually    {}", check.hint())?;
        let method = match call {
            Call::Check => "check",
            Call::CheckIn => "check_in",
        };
        // Whole, however long: it is to be pasted.
        write!(f, "  repeat     kit.{method}(b\"{}\");", input.escape_ascii())
    }
}

/// As it is displayed: that is what `unwrap` prints.
impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Finding {}

/// The steps of a run, in words.
pub(super) fn in_words(steps: &[super::manner::Step<'_>]) -> String {
    use super::manner::Step;
    let words = steps.iter().filter_map(|step| match step {
        Step::Bytes(bytes) => Some(format!("{} arrives", Quoted(bytes))),
        Step::Command(n) => Some(format!("command {}", n + 1)),
        Step::Deadlines(1) => Some("time passes to the next deadline".to_owned()),
        Step::Deadlines(n) => Some(format!("time passes over up to {n} deadlines")),
        Step::Rest => None,
        Step::End => Some("the peer ends".to_owned()),
        Step::Reset => Some("the peer resets".to_owned()),
        Step::Drain => Some("the server shuts down".to_owned()),
        Step::Close => Some("the application closes".to_owned()),
        Step::Abort => Some("the application aborts".to_owned()),
    });
    words.collect::<Vec<_>>().join(", then ")
}
