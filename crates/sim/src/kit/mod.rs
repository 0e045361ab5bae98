//! A test kit for your own protocol: in three lines it is cut to pieces, refused,
//! kept waiting and hung up on, and compared with itself.
//!
//! ```
//! use drywire_protocols::LineEcho;
//! use drywire_sim::kit::Kit;
//!
//! let kit = Kit::new(|| LineEcho);
//! kit.check(b"hello\nquit\n");
//! ```
//!
//! [`Kit::check`] panics with a [`Finding`]; [`Kit::find`] returns it, for property
//! tests; [`Kit::find_in`] takes whatever a fuzzer makes up. What is checked says
//! [`Check`]; how often, with the input's length:
//!
//! | check | runs |
//! |---|---|
//! | determinism | twice the same |
//! | split-invariance | byte by byte, cut at every place up to 48 bytes (a sample of longer ones), 12 rows of sizes |
//! | trailing bytes | the input with five things behind it, in one read and in two |
//! | roll-back and replay | every write refused once, up to the 48th, then at powers of two; tight bounds on output and events |
//! | slow peer | one byte at a time, would-blocks, files opened late, turns that end after every action |
//! | wake honesty | after the input and over 40 deadlines |
//! | bounded memory | after every turn of every run, and with the input repeated to 64 KiB |
//! | clean close | end, reset, shutdown, close and abort at every place as above |
//! | no panic, no misuse | every run |
//!
//! Commands are handed over after the input. Time stands still until nothing else
//! can happen. What is not checked: what the protocol holds in memory of its own,
//! unless [`Kit::weigh`] tells; what its answers mean; layers. A protocol that
//! answers differently when it has more time, or more room, fails: that is what the
//! checks are for.

mod checks;
mod choices;
mod finding;
mod manner;
mod panics;
mod rules;
mod run;
mod seen;
mod shrink;
mod wire;

pub use finding::{Check, Finding};

use checks::Checks;
use drywire_core::{Limits, Protocol};
use finding::Call;
use manner::Manner;
use std::fmt::{self, Debug};
use wire::Disk;

/// Checks a protocol. Build it with what the protocol needs, then hand it input.
pub struct Kit<P: Protocol> {
    make: Box<dyn Fn() -> P>,
    limits: Limits,
    disk: Disk,
    commands: Vec<Box<dyn Fn() -> P::Command>>,
    /// Most bytes the protocol may hold, and how many it does.
    weigh: Option<(usize, Scales<P>)>,
    closing: Closing,
}

type Scales<P> = Box<dyn Fn(&P) -> usize>;

/// Who closes when the peer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    ByProtocol,
    ByApplication,
}

impl<P: Protocol> Kit<P>
where
    P::Event: Debug,
    P::Error: Debug,
{
    /// A kit for what `make` makes: a fresh one for each run, always the same.
    pub fn new(make: impl Fn() -> P + 'static) -> Kit<P> {
        Kit {
            make: Box::new(make),
            limits: without_haste(P::LIMITS),
            disk: Disk::new(),
            commands: Vec::new(),
            weigh: None,
            closing: Closing::ByProtocol,
        }
    }

    /// Other bounds than [`Protocol::LIMITS`]. Deadlines for the peer are left out: they are the
    /// core's own affair, and would make a slow peer another one.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Kit<P> {
        self.limits = without_haste(limits);
        self
    }

    /// A file the protocol finds under `name`. Any other name is not found.
    #[must_use]
    pub fn file(mut self, name: impl AsRef<[u8]>, contents: impl Into<Vec<u8>>) -> Kit<P> {
        self.disk.insert(name.as_ref().to_vec(), contents.into());
        self
    }

    /// One more command of the application's. [`Kit::check`] and [`Kit::find`] hand
    /// each over once, in this order, behind the input.
    #[must_use]
    pub fn command(mut self, make: impl Fn() -> P::Command + 'static) -> Kit<P> {
        self.commands.push(Box::new(make));
        self
    }

    /// How many `bytes` the protocol itself holds, asked after every turn, and how
    /// many it may. Without it nobody sees a protocol that hoards.
    #[must_use]
    pub fn weigh(mut self, at_most: usize, bytes: impl Fn(&P) -> usize + 'static) -> Kit<P> {
        self.weigh = Some((at_most, Box::new(bytes)));
        self
    }

    /// When the peer has ended and all is quiet, the application closes. For
    /// protocols that leave the end to it, by an event.
    #[must_use]
    pub fn closed_by_application(mut self) -> Kit<P> {
        self.closing = Closing::ByApplication;
        self
    }

    /// Checks every promise with this input.
    ///
    /// # Panics
    /// With the [`Finding`], when one is broken.
    #[track_caller]
    pub fn check(&self, input: impl AsRef<[u8]>) {
        if let Err(finding) = self.find(input) {
            panic!("{finding}\n");
        }
    }

    /// Checks every promise with this input, whatever bytes it is.
    ///
    /// # Errors
    /// The first promise that is broken, with the shortest input found that shows it.
    pub fn find(&self, input: impl AsRef<[u8]>) -> Result<(), Finding> {
        self.shortest(input.as_ref(), Call::Check, |input| Checks::new(self).all(input))
    }

    /// As [`Kit::check`], with choices for [`Kit::find_in`].
    ///
    /// # Panics
    /// With the [`Finding`], when a promise is broken.
    #[track_caller]
    pub fn check_in(&self, choices: impl AsRef<[u8]>) {
        if let Err(finding) = self.find_in(choices) {
            panic!("{finding}\n");
        }
    }

    /// One session out of whatever bytes a fuzzer makes up: they choose what arrives,
    /// how it is cut, the commands, the times and the end. It is made twice, plainly
    /// and in the manner that was chosen, and both must look the same from outside.
    ///
    /// # Errors
    /// The first promise that is broken, with the shortest choices found that show it.
    pub fn find_in(&self, choices: impl AsRef<[u8]>) -> Result<(), Finding> {
        self.shortest(choices.as_ref(), Call::CheckIn, |choices| {
            let (steps, manner) = choices::read(choices, self.commands.len());
            let mut checks = Checks::new(self);
            let plain = checks.run(&steps, &Manner::PLAIN)?;
            checks.same(Check::Determinism, &steps, &plain, &Manner::PLAIN)?;
            for (check, manner) in manner.apart() {
                checks.same(check, &steps, &plain, &manner)?;
            }
            Ok(())
        })
    }

    fn shortest(
        &self,
        input: &[u8],
        call: Call,
        mut find: impl FnMut(&[u8]) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        let Err(first) = find(input) else { return Ok(()) };
        let check = first.check();
        let shorter = shrink::shortest(input, |input| {
            let finding = find(input).err()?;
            (finding.check() == check).then(|| finding.told(input, call))
        });
        Err(shorter.unwrap_or_else(|| first.told(input, call)))
    }
}

/// The runs of one input differ in how long they take, and must not differ in how they end.
const fn without_haste(limits: Limits) -> Limits {
    Limits { idle_ms: 0, first_byte_ms: 0, message_ms: 0, min_rate: 0, ..limits }
}

impl<P: Protocol> Debug for Kit<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit")
            .field("limits", &self.limits)
            .field("files", &self.disk.len())
            .field("commands", &self.commands.len())
            .finish_non_exhaustive()
    }
}
