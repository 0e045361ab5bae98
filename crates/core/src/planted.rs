//! Bugs on purpose, to see them found: what `planted!` does where it stands in the
//! code.
//!
//! In an ordinary build that is nothing. In one with `--cfg drywire_planted` the
//! variable `DRYWIRE_PLANTED` names the bug that is active. No test and no check knows
//! of it; `.ci/planted` does.

/// Nothing: this is no build for bugs.
#[cfg(not(drywire_planted))]
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($bug:ident: $($what:tt)*) => {};
}

/// Does `what` while the bug is active.
#[cfg(drywire_planted)]
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($bug:ident: $($what:tt)*) => {
        #[allow(clippy::semicolon_if_nothing_returned, reason = "a bug may be an expression")]
        if $crate::planted::is($crate::planted::Bug::$bug) {
            $($what)*
        }
    };
}

#[cfg(drywire_planted)]
mod active {
    extern crate std;

    use std::sync::OnceLock;

    const VARIABLE: &str = "DRYWIRE_PLANTED";

    macro_rules! bugs {
        ($($(#[doc = $what:literal])+ $bug:ident,)+) => {
            /// What can be wrong.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum Bug {
                $($(#[doc = $what])+ $bug,)+
            }

            const ALL: &[(Bug, &str)] = &[$((Bug::$bug, stringify!($bug))),+];
        };
    }

    bugs! {
        /// `turn`: a read that filled its slot counts as one that emptied the transport.
        EdgeLost,
        /// `turn`: a hang-up that came with bytes is forgotten, and the end with it.
        HangUpForgotten,
        /// `turn`: nothing is taken from the budget.
        BudgetIgnored,
        /// `turn`: a file that ended early is tried again.
        EarlyEndIgnored,
        /// `turn`: what is read of a file for a layer takes of the budget.
        ReadCosts,
        /// What a layer has put out, and waits for the transport, is dropped when more comes.
        WireForgotten,
        /// driver-mio: our direction is never ended.
        HalfCloseForgotten,
        /// driver-mio: an abort looks like an end.
        ResetForgotten,
        /// driver-mio: a file that nobody needs stays open.
        FileKeptOpen,
        /// A roll-back forgets the file that the call queued.
        FileNotRolledBack,
        /// A stream that was cut is a layer that failed: what is owed is dropped.
        CutIsAFailure,
        /// The stall deadline counts from the first refusal, whatever is taken since.
        StallNotMoved,
        /// The queue takes everything.
        BoundIgnored,
        /// A command whose call was undone is not kept for another.
        CommandForgotten,
        /// An answer that comes after the end leaves its file open.
        LateFileLeaked,
        /// The application hears of an abort twice.
        ReportedTwice,
        /// A deadline that moved forward does not move its alarm.
        AlarmNotMoved,
        /// An old id finds what stands in its place now.
        StaleIdAccepted,
        /// A peer that is refused because of its address keeps its place among all.
        PlaceLeaked,
        /// A connection that waits for memory is never looked at again.
        StarvedForgotten,
        /// The receipts of what was handled are forgotten when the connection ends.
        ReceiptForgotten,
        /// Bytes of commands that wait are not bounded.
        BytesUncounted,
        /// What a handle tells is as of the beginning.
        LookStale,
        /// A group takes back what is newest.
        NewestTakenBack,
        /// A shutdown closes listeners without accepting the connections that wait there.
        QueueForgotten,
        /// Only those that were aborted are named in the report of a shutdown.
        CutNotNamed,
        /// A connection whose code panicked is reported as aborted.
        PanicUntold,
        /// A repeating timer that is late by a period is forgotten.
        LateTimerForgotten,
    }

    /// Whether this one is active.
    ///
    /// # Panics
    /// When the variable names none that there is.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        static ACTIVE: OnceLock<Option<Bug>> = OnceLock::new();
        let active = ACTIVE.get_or_init(|| {
            let name = std::env::var(VARIABLE).ok()?;
            let found = ALL.iter().find(|(_, known)| *known == name);
            Some(found.unwrap_or_else(|| panic!("{VARIABLE}={name} is none of {ALL:?}")).0)
        });
        *active == Some(bug)
    }
}

#[cfg(drywire_planted)]
pub use active::{Bug, is};
