//! How far a connection, or its worker, has come towards its end, as handles see it.

use crate::sync::{AtomicU8, Ordering};

/// How far something has come towards its end.
///
/// ```text
///   Open ──▶ Closing ──▶ Aborting ──▶ Closed      (any may be skipped, none repeated)
/// ```
#[derive(Clone, Copy)]
pub(super) enum Stage {
    Open,
    /// The graceful end was ordered.
    Closing,
    /// The immediate end was ordered.
    Aborting,
    /// The owner is gone.
    Closed,
}

/// A [`Stage`] that changes under the lock only, and can be looked at without it.
pub(super) struct Life(AtomicU8);

impl Life {
    pub(super) fn new() -> Life {
        Life(AtomicU8::new(Stage::Open as u8))
    }

    /// Whether this is news.
    pub(super) fn advance(&self, to: Stage) -> bool {
        self.0.fetch_max(to as u8, Ordering::Relaxed) < to as u8
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Stage::Open as u8
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Stage::Closed as u8
    }
}
