//! All workers of one server, from any thread: what is asked of one is asked of each.

use crate::handle::ServerHandle;
use std::fmt;
use std::sync::Arc;

/// The workers of one server (W6). Cheap to clone. Every call does nothing once they have ended.
pub struct Workers<C> {
    each: Arc<[ServerHandle<C>]>,
}

impl<C> Workers<C> {
    /// Of these workers, in their order.
    pub fn new(each: impl IntoIterator<Item = ServerHandle<C>>) -> Workers<C> {
        Workers { each: each.into_iter().collect() }
    }

    /// Asks each for a graceful end. Idempotent.
    pub fn shutdown(&self) {
        self.each.iter().for_each(ServerHandle::shutdown);
    }

    /// Asks each for the end now, also in the middle of a graceful one. Idempotent.
    pub fn abort(&self) {
        self.each.iter().for_each(ServerHandle::abort);
    }

    /// One handle for each worker.
    #[must_use]
    pub fn each(&self) -> &[ServerHandle<C>] {
        &self.each
    }

    /// To be held as long as one of the workers runs.
    pub fn guard(&self) -> WorkerGuard<C> {
        WorkerGuard(self.clone())
    }
}

/// Held while a worker runs. Dropped, however that came about (an end, an error, a panic, a future
/// that was dropped), it asks all workers for a graceful end: half a server is none.
#[derive(Debug)]
#[must_use = "dropped at once, it ends the server"]
pub struct WorkerGuard<C>(Workers<C>);

impl<C> Drop for WorkerGuard<C> {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

// By hand, because derived ones would ask the same of `C`.

impl<C> Clone for Workers<C> {
    fn clone(&self) -> Workers<C> {
        Workers { each: self.each.clone() }
    }
}

impl<C> fmt::Debug for Workers<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("workers", &self.each.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Inbox;

    #[track_caller]
    fn asked(inboxes: &mut [Inbox<()>]) -> Vec<String> {
        let orders = inboxes.iter_mut().map(|inbox| {
            let mut orders = Vec::new();
            inbox.take(&mut orders);
            format!("{orders:?}")
        });
        orders.collect()
    }

    #[test]
    fn w6_what_is_asked_of_all_each_one_hears_once() {
        let mut inboxes: Vec<Inbox<()>> = (0..3).map(|_| Inbox::new(1, || {})).collect();
        let workers = Workers::new(inboxes.iter().map(Inbox::server_handle));
        workers.shutdown();
        workers.clone().shutdown();
        assert_eq!(asked(&mut inboxes), ["[Shutdown]"; 3]);
        workers.abort();
        assert_eq!(asked(&mut inboxes), ["[Stop]"; 3]);
    }

    #[test]
    fn w1_end_of_one_worker_asks_all_for_theirs() {
        let mut inboxes: Vec<Inbox<()>> = (0..3).map(|_| Inbox::new(1, || {})).collect();
        let workers = Workers::new(inboxes.iter().map(Inbox::server_handle));
        let (kept, guard) = (workers.guard(), workers.guard());
        assert_eq!(asked(&mut inboxes), ["[]"; 3]);
        drop(guard);
        assert_eq!(asked(&mut inboxes), ["[Shutdown]"; 3]);
        drop(kept);
    }
}
