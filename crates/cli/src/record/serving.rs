//! `drywire serve --record`: a tape for each connection. Where it goes is in `shelf`.

use super::protocols;
use super::shelf::{Shelf, ShelfError, Slot};
use crate::args::Serve;
use drywire_core::layer::Layer;
use drywire_core::record::{Keep, Record, Tape};
use drywire_core::{Connection, Protocol};
use drywire_server::Address;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

/// Records connections, if that was asked for.
pub(crate) struct Recorder {
    shelf: Option<Shelf>,
    recording: Recording,
}

/// What a worker has of it, to record its own.
#[derive(Clone, Default)]
pub(crate) struct Recording {
    to: Option<To>,
}

#[derive(Clone)]
struct To {
    slot: Slot,
    protocol: &'static str,
    driver: String,
    keep: Keep,
    masks: Vec<String>,
}

impl Recorder {
    /// `served`: the directory that peers get files from.
    ///
    /// # Errors
    /// When the directory cannot be written to, or would be served.
    pub(crate) fn new(args: &Serve, served: Option<&Path>) -> Result<Recorder, ShelfError> {
        let Some(directory) = &args.record else {
            return Ok(Recorder { shelf: None, recording: Recording::default() });
        };
        let bytes = args.record_bytes as usize;
        let protocol = if args.starttls { protocols::STARTTLS } else { args.protocol.name() };
        let shelf = Shelf::open(directory, served, protocol, args.record_keep as usize)?;
        let slot = shelf.slot();
        let driver = args.driver.to_string();
        let keep = if args.record_ring { Keep::Last(bytes) } else { Keep::First(bytes) };
        let to = To { slot, protocol, driver, keep, masks: args.record_mask.clone() };
        Ok(Recorder { shelf: Some(shelf), recording: Recording { to: Some(to) } })
    }

    /// For one worker.
    pub(crate) fn recording(&self) -> Recording {
        self.recording.clone()
    }

    /// Waits for what is on its way to the disk. Connections and workers have to be gone.
    pub(crate) fn finish(self) {
        drop(self.recording);
        if let Some(shelf) = self.shelf {
            shelf.finish();
        }
    }
}

impl Recording {
    /// The same connection, recorded.
    pub(crate) fn record<P, L>(&self, connection: Connection<P, L>, peer: &Address) -> Connection<P, L>
    where
        P: Protocol<Event: fmt::Debug, Command: Record, Error: fmt::Debug>,
        L: Layer,
    {
        let Some(to) = &self.to else { return connection };
        let note = format!(
            "peer {peer}, driver {}, drywire {}, began {}",
            to.driver,
            env!("CARGO_PKG_VERSION"),
            humantime::format_rfc3339_millis(SystemTime::now())
        );
        let slot = to.slot.clone();
        let mut tape = Tape::new(to.protocol, move |file| slot.put(file)).note(&note).keeping(to.keep);
        if !to.masks.is_empty() {
            tape = tape.masked_by(protocols::mask(to.protocol, &to.masks));
        }
        connection.recorded(tape)
    }
}
