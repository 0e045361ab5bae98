//! Whether a memory budget has room for the connections of a protocol.

use crate::args::Protocol;
use drywire_core::Connection;
use drywire_protocols::{ByteEcho, Dialog, HubEcho, LineEcho};
use drywire_server::{Config, least_memory_bytes};
use drywire_tls::Tls;
use thiserror::Error;

/// A budget with which no connection of this protocol would be let in.
#[derive(Debug, Error)]
#[error(
    "memory-bytes: {budget} bytes are too few for {protocol}, one connection of which may need {most}; \
     write {least} or more for {workers} {}", if *.workers == 1 { "worker" } else { "workers" }
)]
pub(crate) struct TooSmall {
    protocol: &'static str,
    budget: usize,
    most: usize,
    least: usize,
    workers: usize,
}

/// Whether workers with these settings can serve the protocol, over TLS or not.
pub(crate) fn check(protocol: Protocol, config: &Config, is_tls: bool) -> Result<(), TooSmall> {
    let most = match protocol {
        Protocol::ByteEcho => most::<ByteEcho>(is_tls),
        Protocol::LineEcho => most::<LineEcho>(is_tls),
        Protocol::Dialog => most::<Dialog>(is_tls),
        Protocol::Hub => most::<HubEcho>(is_tls),
    };
    let (budget, workers) = (config.memory_bytes, config.workers);
    let least = least_memory_bytes(workers, most);
    if budget >= least { Ok(()) } else { Err(TooSmall { protocol: protocol.name(), budget, most, least, workers }) }
}

fn most<P: drywire_core::Protocol>(is_tls: bool) -> usize {
    match is_tls {
        false => Connection::<P>::most_heap_bytes_by(&P::LIMITS),
        true => Connection::<P, Tls>::most_heap_bytes_by(&P::LIMITS),
    }
}
