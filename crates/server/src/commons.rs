//! What the workers of one server share: how many are connected, from where, and how
//! many bytes are held.

use crate::admission::{Origin, Place, Refusal};
use crate::config::Config;
use crate::reserve::Reserve;
use crate::stats::Stats;
use drywire_core::planted;
use std::array;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the workers of one server share. Cheap to clone; each clone is the same.
///
/// Nothing here is touched for a message; only when a connection comes or goes,
/// when what one holds has changed at the end of its turn, and for a command of
/// another thread.
///
/// # The budget
///
/// Bytes are counted before they are held, so *guaranteed*: what is counted never passes
/// [`Config::memory_bytes`]. Counted are, for each connection, its place in the table
/// and what is queued for it or of it ([`Connection::heap_bytes`](drywire_core::Connection::heap_bytes)); for each worker, what one of
/// its connections may grow by in one step; once, the most that the largest connection may hold
/// ([`Connection::most_heap_bytes`](drywire_core::Connection::most_heap_bytes)), so that one can always finish; and commands that wait. Not counted is what a
/// worker needs however many it serves, such as the pool of a
/// [`Workspace`](drywire_core::Workspace), and what applications, protocols and layers hold themselves.
///
/// The last sixteenth of the budget is kept for places in the table: whoever comes
/// while the others hold all they may is still let in.
#[derive(Clone, Debug)]
pub struct Commons {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    max_connections: usize,
    max_connections_per_address: usize,
    memory_bytes: usize,
    connections: AtomicUsize,
    addresses: [Mutex<HashMap<Origin, usize>>; SHARDS],
    held: AtomicUsize,
    most_held: AtomicUsize,
    reserve: Reserve,
    stats: Mutex<Stats>,
}

/// Locks that workers accepting at the same time share. Not measured: each is held for
/// one look into a map.
const SHARDS: usize = 16;

/// Of the budget, what queued bytes leave to places in the table.
pub(crate) const KEPT_FOR_PLACES: usize = 16;

/// A map is given back when it has this much room, and four times what it needs.
const ROOMY: usize = 64;

impl Commons {
    /// For one server.
    #[must_use]
    pub fn new(config: &Config) -> Commons {
        Commons {
            inner: Arc::new(Inner {
                max_connections: config.max_connections,
                max_connections_per_address: config.max_connections_per_address,
                memory_bytes: config.memory_bytes,
                connections: AtomicUsize::new(0),
                addresses: array::from_fn(|_| Mutex::default()),
                held: AtomicUsize::new(0),
                most_held: AtomicUsize::new(0),
                reserve: Reserve::default(),
                stats: Mutex::default(),
            }),
        }
    }

    /// Connections that are open, in all workers.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// Addresses with connections that were accepted from them.
    #[must_use]
    pub fn addresses(&self) -> usize {
        (0..SHARDS).map(|shard| self.shard(shard).len()).sum()
    }

    /// The budget, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.inner.memory_bytes
    }

    /// Bytes of the budget that are taken.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.inner.held.load(Ordering::Relaxed)
    }

    /// The most that was ever taken.
    #[must_use]
    pub fn most_held_bytes(&self) -> usize {
        self.inner.most_held.load(Ordering::Relaxed)
    }

    /// What was counted, of all workers, as of the last round of each.
    #[must_use]
    pub fn stats(&self) -> Stats {
        *self.inner.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes of the budget, before they are held. False when they do not fit;
    /// then nothing is taken.
    #[must_use]
    pub fn try_hold(&self, bytes: usize) -> bool {
        self.hold_up_to(bytes, self.most_to_hold())
    }

    /// What [`Commons::try_hold`] leaves to take now.
    pub(crate) fn room(&self) -> usize {
        self.most_to_hold().saturating_sub(self.held_bytes())
    }

    /// What all may hold that is no place in the table.
    pub(crate) fn most_to_hold(&self) -> usize {
        let budget = self.inner.memory_bytes;
        budget - budget / KEPT_FOR_PLACES
    }

    /// Memory for one connection at a time.
    pub(crate) fn reserve(&self) -> &Reserve {
        &self.inner.reserve
    }

    /// Gives back what was taken: neither more nor twice.
    pub fn let_go(&self, bytes: usize) {
        let before = self.inner.held.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "{bytes} bytes given back of {before}");
    }

    /// Lets a connection in that takes so many `bytes` of the table. All is given
    /// back when the place is dropped.
    ///
    /// # Errors
    /// Which cap is met; then nothing is counted.
    pub(crate) fn admit(&self, origin: Origin, bytes: u32) -> Result<Place, Refusal> {
        let most = self.inner.max_connections;
        if !add(&self.inner.connections, 1, most) {
            return Err(Refusal::Connections { most });
        }
        if !self.count(origin) {
            planted!(PlaceLeaked: return Err(Refusal::Address { most: self.inner.max_connections_per_address }));
            self.inner.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Address { most: self.inner.max_connections_per_address });
        }
        // From here on the place gives back what it has.
        let place = Place::new(self.clone(), origin);
        if self.hold_up_to(bytes as usize, self.inner.memory_bytes) {
            Ok(place.holding(bytes))
        } else {
            Err(Refusal::Memory { needed: bytes as usize, budget: self.inner.memory_bytes })
        }
    }

    /// What a place gives back.
    pub(crate) fn release(&self, origin: Origin, bytes: usize) {
        self.let_go(bytes);
        self.inner.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(shard) = origin.shard(SHARDS) else { return };
        let mut counts = self.shard(shard);
        let Some(count) = counts.get_mut(&origin) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&origin);
            if counts.capacity() > ROOMY && counts.capacity() > 4 * counts.len() {
                let room = 2 * counts.len();
                counts.shrink_to(room);
            }
        }
    }

    /// Adds to what all workers counted.
    pub(crate) fn publish(&self, news: &Stats) {
        self.inner.stats.lock().unwrap_or_else(PoisonError::into_inner).absorb(news);
    }

    /// One more from there, unless that is one too many.
    fn count(&self, origin: Origin) -> bool {
        let Some(shard) = origin.shard(SHARDS) else { return true };
        let mut counts = self.shard(shard);
        let most = self.inner.max_connections_per_address;
        let now = counts.get(&origin).copied().unwrap_or(0);
        if now >= most {
            return false;
        }
        counts.insert(origin, now + 1);
        true
    }

    fn hold_up_to(&self, bytes: usize, most: usize) -> bool {
        let taken = add(&self.inner.held, bytes, most);
        if taken {
            self.inner.most_held.fetch_max(self.held_bytes().min(most), Ordering::Relaxed);
        }
        taken
    }

    /// A poisoned lock is as good as a sound one: under it a number changes.
    fn shard(&self, shard: usize) -> MutexGuard<'_, HashMap<Origin, usize>> {
        self.inner.addresses[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds, if the sum does not pass `most`.
fn add(to: &AtomicUsize, n: usize, most: usize) -> bool {
    let sum = |now: usize| now.checked_add(n).filter(|sum| *sum <= most);
    to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn commons(max_connections: usize, max_connections_per_address: usize, memory_bytes: usize) -> Commons {
        Commons::new(&Config { max_connections, max_connections_per_address, memory_bytes, ..Config::default() })
    }

    fn from(address: &str) -> Origin {
        Origin::of(&address.parse().unwrap())
    }

    #[track_caller]
    fn assert_nothing_left(commons: &Commons) {
        assert_eq!((commons.connections(), commons.addresses(), commons.held_bytes()), (0, 0, 0), "I6");
    }

    #[test]
    fn fault_25_cap_on_connections_is_met_exactly_and_a_place_comes_back_once() {
        let commons = commons(2, 9, 1000);
        let first = commons.admit(from("10.0.0.1:1"), 100).unwrap();
        let second = commons.admit(from("10.0.0.2:1"), 100).unwrap();
        assert_eq!(commons.admit(from("10.0.0.3:1"), 100).unwrap_err(), Refusal::Connections { most: 2 });
        drop(first);
        let third = commons.admit(from("10.0.0.3:1"), 100).unwrap();
        assert_eq!(commons.admit(Origin::Nowhere, 100).unwrap_err(), Refusal::Connections { most: 2 });
        drop((second, third));
        assert_nothing_left(&commons);
    }

    #[test]
    fn fault_26_cap_on_an_address_leaves_the_others_alone() {
        let commons = commons(9, 2, 1000);
        let mut places: Vec<_> = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[::ffff:10.0.0.2]:9"]
            .map(|address| commons.admit(from(address), 1).unwrap())
            .into();
        for full in ["10.0.0.1:3", "10.0.0.2:2"] {
            assert_eq!(commons.admit(from(full), 1).unwrap_err(), Refusal::Address { most: 2 });
        }
        assert_eq!((commons.connections(), commons.addresses()), (4, 2), "a refusal leaves nothing behind");
        // A network of IPv6 is one address: whoever has one has 2⁶⁴ of them.
        places.extend(["[2001:db8::1]:1", "[2001:db8::2]:1"].map(|address| commons.admit(from(address), 1).unwrap()));
        assert_eq!(commons.admit(from("[2001:db8::3]:1"), 1).unwrap_err(), Refusal::Address { most: 2 });
        places.push(commons.admit(from("[2001:db8:0:1::3]:1"), 1).unwrap());
        drop(places);
        assert_nothing_left(&commons);
    }

    #[test]
    fn budget_is_never_passed_and_its_last_part_is_for_places() {
        let commons = commons(9, 9, 1600);
        assert!(!commons.try_hold(1501));
        assert!(commons.try_hold(1500));
        assert!(!commons.try_hold(1));
        let place = commons.admit(Origin::Nowhere, 100).unwrap();
        assert_eq!(commons.admit(Origin::Nowhere, 1).unwrap_err(), Refusal::Memory { needed: 1, budget: 1600 });
        assert_eq!((commons.held_bytes(), commons.most_held_bytes()), (1600, 1600));
        commons.let_go(1500);
        drop(place);
        assert_nothing_left(&commons);
        assert!(!commons.try_hold(usize::MAX), "sums do not wrap");
    }

    #[test]
    fn counts_of_many_threads_are_exact() {
        let commons = commons(50, 20, 5000);
        thread::scope(|scope| {
            for thread in 0..8 {
                let commons = &commons;
                scope.spawn(move || {
                    for n in 0..5000 {
                        let place = commons.admit(from(&format!("10.0.0.{}:1", (n + thread) % 4)), 60);
                        let held = commons.try_hold(70);
                        assert!(commons.connections() <= 50 && commons.held_bytes() <= 5000);
                        if held {
                            commons.let_go(70);
                        }
                        drop(place);
                    }
                });
            }
        });
        assert_nothing_left(&commons);
        assert!(commons.most_held_bytes() <= 5000);
    }

    #[test]
    fn fault_83_addresses_that_are_gone_take_no_memory() {
        let commons = commons(100_000, 9, 1 << 30);
        let places: Vec<_> =
            (0..20_000_u32).map(|n| commons.admit(Origin::V4(n.wrapping_mul(0x9E37_79B9)), 1).unwrap()).collect();
        assert_eq!(commons.addresses(), 20_000);
        drop(places);
        assert_nothing_left(&commons);
        let room: usize = (0..SHARDS).map(|shard| commons.shard(shard).capacity()).sum();
        assert!(room <= 2 * SHARDS * ROOMY, "room for {room}");
    }
}
