//! What the workers of one server share: how many are connected, and what is held.

use crate::config::Config;
use std::sync::Arc;

/// What the workers of one server share. Cheap to clone; each clone is the same.
///
/// Nothing here is touched for a message; only when a connection comes or goes, and
/// when what one holds has changed at the end of its turn.
#[derive(Clone, Debug)]
pub struct Commons {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {}

impl Commons {
    /// For one server.
    #[must_use]
    pub fn new(config: &Config) -> Commons {
        let _ = config;
        Commons { inner: Arc::new(Inner {}) }
    }

    /// Counts bytes that are about to be held, if the budget allows.
    pub fn try_hold(&self, bytes: usize) -> bool {
        let _ = bytes;
        true
    }

    /// Gives them back.
    pub fn let_go(&self, bytes: usize) {
        let _ = bytes;
    }
}
