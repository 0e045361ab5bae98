//! The same scripts on every driver, and the same transcripts of them.
//!
//! What lives here: scripts made from seeds, a client that plays them, the
//! transcript each must give, and the comparison. What does not: anything about a
//! particular driver; it comes in as a [`Subject`](crate::Subject).
//!
//! # What is in a transcript
//!
//! - from the peer to us: how many of its bytes the protocol took. Which ones they
//!   were shows in the echo, in the answers, and in the [`Narrator`]'s events.
//! - from us to the peer: every byte it received, and whether an end or a reset
//!   came behind them.
//! - the protocol's events, in the order the application heard them.
//! - why the connection ended: the reason in its close report.
//!
//! Sizes of chunks and times are not in it; nor are counters of what was discarded
//! behind a close, which is a matter of when the peer stops sending.
//!
//! # The reference
//!
//! [`expected`] runs the protocol in a [`Connection`](drywire_core::Connection) over
//! an ideal transport in memory, without a socket. Every driver is compared with
//! that, so drivers that are never built into one program (mio on epoll, mio on
//! poll(2)) are compared with each other too.
//!
//! # Why a cut compares less
//!
//! A reset destroys what is under way, in both directions, and how much that is
//! depends on the moment. So:
//!
//! - *The peer resets.* What it received until then, and what the application heard,
//!   must be exact prefixes of the reference (I1), and not shorter than what the peer
//!   waited for before it reset. The reason is one of two: the transport failed
//!   (a reset on reading and a broken pipe on writing are one class: which of the two
//!   calls comes first is chance), or, if the protocol ends this dialog by itself,
//!   the reason it has for that; whether the reset finds it done is a race.
//! - *The protocol aborts.* What the peer received must be an exact prefix, and a
//!   reset must follow; everything on our side must be the same to the last event.
//!
//! # What a script may contain
//!
//! Only what has one outcome:
//!
//! - Bytes behind a `QUIT` or an error are discarded while the close lingers. A script
//!   has fewer of them than [`linger_bytes`](drywire_core::Limits::linger_bytes), and
//!   the deadlines of linger and stall are longer than any test waits, so the peer is
//!   never cut off by them.
//! - A half-close in the middle of a line has a defined answer: each protocol's
//!   [`end_of_input`](drywire_core::Protocol::end_of_input).
//! - Nothing is sent behind an abort: whether a peer's write or its read hears of the
//!   reset is chance. Nor does one follow our own end, for the same reason.
//! - A peer does not reset behind its own end: the protocol may have closed by then.
//!
//! `DRYWIRE_SEEDS=a..b` says which scripts are played; see [`seeds`].

mod client;
mod compare;
mod fixture;
mod messages;
mod narrator;
mod play;

mod reference;
mod script;
#[cfg(test)]
mod tests;

pub use compare::{Outcome, difference};
pub use narrator::{Narrator, Told, Unheard};
pub use play::{judge, play};
pub use reference::{expected, expected_in_pieces, reference};
pub use script::{End, Reading, Script, Speaks, Step};

use std::ops::Range;

/// What one script gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// Bytes of the peer that the protocol took. Nobody counts them where a layer lies between.
    pub taken: Option<u64>,
    /// What the peer received.
    pub output: Vec<u8>,
    /// What came behind that.
    pub saw: Saw,
    /// What the application heard, in order.
    pub events: Vec<String>,
    /// Why the connection ended.
    pub reason: String,
}

/// How the stream ended for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// A clean end.
    End,
    /// A reset.
    Reset,
    /// It did not wait to see: it reset the connection itself.
    Nothing,
}

/// The seeds of this run: `DRYWIRE_SEEDS=a..b`, or the first thousand.
///
/// # Panics
/// When the variable holds no range, or an empty one, which would pass unseen.
#[must_use]
pub fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("DRYWIRE_SEEDS") else { return 0..1000 };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    let range = range.filter(|range: &Range<u64>| !range.is_empty());
    range.unwrap_or_else(|| panic!("DRYWIRE_SEEDS={text} is no range of seeds; write 17..18"))
}
