//! Recordings, played again: the recorded inputs go into a fresh connection, and
//! what comes out is compared with what came out then.
//!
//! ```text
//!  recording ─┬─ inputs ──▶ Connection ──▶ its own tape ─┐
//!             └─ everything, in order ─────────────────▶ compare ─▶ identical, or the first difference
//! ```
//!
//! The connection is recorded while it is replayed, and the two recordings are
//! compared entry by entry: there is one idea of what "the same" means, the tape's.
//! A layer is not run: one that answers from the record stands in for it.
//!
//! Making recordings is [`drywire_core::record`]'s work. No file is opened here.

mod play;
mod script;
mod stand_in;
mod verdict;

pub use verdict::{Difference, Identical, OutputByte, Replayed};

use drywire_core::layer::Layer;
use drywire_core::record::{ReadError, Reader, Record};
use drywire_core::{Connection, Limits, Protocol};
use play::play;
use script::Script;
use stand_in::StandIn;
use std::fmt::Debug;
use thiserror::Error;

/// How a recording is replayed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What if the connection had had other bounds? Then what they say themselves,
    /// the size of a read's slot and the deadline of a wait, is not compared. But a
    /// deadline that is sooner now, and over before the next turn that was recorded, is a
    /// difference: a driver would have made a turn then.
    pub limits: Option<Limits>,
}

/// Why a recording cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The file is damaged, or no recording.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its front was dropped when it was made.
    #[error("the recording begins with entry {first}: it kept the last only, and cannot be replayed")]
    NoFront {
        /// The first entry there is.
        first: u64,
    },
    /// A command that this protocol does not have.
    #[error("the command at offset {at} is none of this protocol's")]
    Command {
        /// Where, in bytes from the beginning of the file.
        at: usize,
    },
    /// A bound that cannot be.
    #[error("an input limit of 0 bytes would read nothing")]
    NoInput,
}

/// A replay of one protocol: what a table of protocols by name holds.
///
/// ```
/// use drywire_protocols::{ByteEcho, LineEcho};
/// use drywire_sim::replay::{Replay, replay};
///
/// let protocols: [(&str, Replay); 2] = [
///     ("byte-echo", |recording, options| replay(recording, || ByteEcho, options)),
///     ("line-echo", |recording, options| replay(recording, || LineEcho, options)),
/// ];
/// # let _ = protocols;
/// ```
pub type Replay = fn(&[u8], Options) -> Result<Replayed, ReplayError>;

/// Plays `recording` through the protocol that `make` makes.
///
/// Panics of the protocol are caught and are part of the answer; the panic hook
/// runs all the same.
///
/// # Errors
/// [`ReplayError`], before anything is played when the file is damaged.
pub fn replay<P>(recording: &[u8], make: impl FnOnce() -> P, options: Options) -> Result<Replayed, ReplayError>
where
    P: Protocol<Event: Debug, Command: Record, Error: Debug>,
{
    let reader = Reader::new(recording)?;
    reader.check()?;
    let header = reader.header();
    if header.first > 0 {
        return Err(ReplayError::NoFront { first: header.first });
    }
    let mut script = Script::new(&reader, options.limits.is_some());
    if header.layered {
        let layer = StandIn::new(reader.entries(), script.sent_plain());
        prepared(Connection::with_layer(make(), layer), &mut script, options, header.limits)
    } else {
        prepared(Connection::new(make()), &mut script, options, header.limits)
    }
}

fn prepared<P, L>(
    connection: Connection<P, L>,
    script: &mut Script<'_>,
    options: Options,
    limits: Limits,
) -> Result<Replayed, ReplayError>
where
    P: Protocol<Event: Debug, Command: Record, Error: Debug>,
    L: Layer,
{
    let limits = options.limits.unwrap_or(limits);
    if limits.input_bytes == 0 {
        return Err(ReplayError::NoInput);
    }
    play(connection.with_limits(limits).recorded(script.tape()), script)
}
