//! What is said of a connection that ended. Bytes of its peer come out escaped.

use crate::address::Address;
use crate::escape::escaped;
use crate::table::Id;
use drywire_core::CloseReport;
use std::fmt;
use tracing::{Level, debug};

/// The one line about a connection that ended. A peer that resets is news to
/// nobody but whoever looks for it.
pub(super) fn log_close<E: fmt::Display>(id: Id, peer: Option<&Address>, report: &CloseReport<E>) {
    if !tracing::enabled!(Level::DEBUG) {
        return;
    }
    let counters = report.counters;
    debug!(
        %id,
        peer = peer.map(escaped).map(display),
        reason = %escaped(&report.reason),
        received = counters.received,
        sent = counters.sent,
        discarded = counters.discarded,
        unsent = counters.unsent,
        "closed"
    );
}
