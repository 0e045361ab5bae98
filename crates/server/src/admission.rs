//! Who is let in: a connection's place among all of a server, and why there is none.

use crate::address::Address;
use crate::commons::{Commons, KEPT_FOR_PLACES};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use thiserror::Error;

/// Why a connection is not let in. Whoever tries later may be.
///
/// A peer that connects to us is told [`Config::refusal`](crate::Config::refusal), is
/// counted in [`Stats`](crate::Stats), and the application does not hear of it; unless the connection
/// that it made for the peer may hold more than the budget has room for, which is dropped then.
/// Connections of the application's own get this as an error, inside of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// As many are connected as [`Config::max_connections`](crate::Config::max_connections) allows.
    #[error("{most} connections are open, and no more are allowed")]
    Connections {
        /// How many that is.
        most: usize,
    },
    /// As many are connected from this address as
    /// [`Config::max_connections_per_address`](crate::Config::max_connections_per_address) allows.
    #[error("{most} connections are open from this address, and no more are allowed")]
    Address {
        /// How many that is.
        most: usize,
    },
    /// The budget has no room for it.
    #[error("no room for {needed} bytes more in the memory budget of {budget} bytes")]
    Memory {
        /// Bytes that were asked for.
        needed: usize,
        /// [`Config::memory_bytes`](crate::Config::memory_bytes).
        budget: usize,
    },
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        io::Error::new(io::ErrorKind::QuotaExceeded, refusal)
    }
}

/// The smallest budget with which this many workers serve connections that may each hold
/// `most_heap_bytes` ([`Connection::most_heap_bytes`](drywire_core::Connection::most_heap_bytes))
/// at all, some dozens of them on each. With less, connections are refused. A sensible one is some
/// times larger: with this one, connections that hold much are served one after the other.
#[must_use]
pub const fn least_memory_bytes(workers: usize, most_heap_bytes: usize) -> usize {
    let taken = workers.saturating_mul(FIRST_ONES).saturating_add(most_heap_bytes);
    // A sixteenth is for places alone: a fifteenth of the rest.
    taken.saturating_add(taken.div_ceil(KEPT_FOR_PLACES - 1))
}

/// Bytes of the smallest budget for the first places of a worker in the table, and a little to hold.
const FIRST_ONES: usize = 256 * 1024;

/// Where a peer comes from, as far as a cap tells peers apart.
///
/// A network of 64 bits is one address of IPv6, because that is what one customer is
/// given at least. Peers on Unix sockets are not told apart: who may connect there is a
/// matter of the file's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    V4(u32),
    /// The upper half, in two parts: every connection carries one of these.
    V6([u32; 2]),
    /// Not counted by address: a Unix socket, or a connection of our own.
    Nowhere,
}

impl Origin {
    pub(crate) fn of(peer: &Address) -> Origin {
        let ip = match peer {
            Address::Tcp(address) => address.ip().to_canonical(),
            Address::Unix(_) | Address::Pair => return Origin::Nowhere,
        };
        match ip {
            IpAddr::V4(ip) => Origin::V4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let network = ip.to_bits() >> (Ipv6Addr::BITS / 2);
                Origin::V6([(network >> u32::BITS) as u32, network as u32])
            }
        }
    }

    /// In which of `shards` parts it is counted.
    pub(crate) fn shard(self, shards: usize) -> Option<usize> {
        let bits = match self {
            Origin::V4(bits) => u64::from(bits),
            Origin::V6([high, low]) => u64::from(high) << u32::BITS | u64::from(low),
            Origin::Nowhere => return None,
        };
        // The upper bits depend on all: neighbours do not share a lock.
        Some((bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % shards)
    }
}

/// One connection's place among all of the server. Dropping it gives everything back,
/// whatever way the connection ends.
pub(crate) struct Place {
    commons: Commons,
    origin: Origin,
    bytes: u32,
}

impl Place {
    pub(crate) fn new(commons: Commons, origin: Origin) -> Place {
        Place { commons, origin, bytes: 0 }
    }

    /// The same, with bytes of the budget that were taken for it.
    pub(crate) fn holding(mut self, bytes: u32) -> Place {
        self.bytes = bytes;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.commons.release(self.origin, self.bytes as usize);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("origin", &self.origin).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
