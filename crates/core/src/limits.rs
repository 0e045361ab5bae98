//! The bounds of one connection, and the name of the one that was met.

use core::fmt;

/// Kept free for [`Protocol::error_reply`](crate::Protocol::error_reply) beside
/// the output bound, in bytes: a full queue never swallows the reason for a close.
pub const ERROR_REPLY_BYTES: usize = 512;

/// How long a connection that owes nothing waits for its peer's end in a shutdown, in milliseconds,
/// where [`Limits::linger_ms`] is longer: [`Live::drain`](crate::Live::drain). What was written to it
/// is with the peer's system by then, or will not be soon.
pub const DRAIN_LINGER_MS: u32 = 1_000;

/// The bounds of one connection.
///
/// A protocol names its own in [`Protocol::LIMITS`](crate::Protocol::LIMITS);
/// whoever makes the connection may pass others. Small on purpose: every idle
/// connection carries one.
///
/// Bound: a connection holds at most `input_bytes + output_bytes +
/// `[`ERROR_REPLY_BYTES`] bytes of data. With layers, 64 KiB of what they encoded,
/// what they answer to one read, and what they hold themselves come on top.
///
/// Each time limit, and the rate, is a number that means what it says, or one of two others:
///
/// | | |
/// |---|---|
/// | 0 | not decided: no limit, but a server may set its own |
/// | [`Limits::NEVER`] | decided: no limit |
///
/// `linger_ms` is the exception: 0 is no time at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of input that may wait for a message to be whole. A message that is
    /// not whole at this size is refused with [`Limit::Input`].
    pub input_bytes: u32,
    /// Bytes of output that may wait for the peer. File contents do not count:
    /// they are never held.
    pub output_bytes: u32,
    /// Bytes of input discarded after a close was decided, before reading stops.
    pub linger_bytes: u32,
    /// How long input is discarded after a close was decided, in milliseconds.
    /// The wait for the peer's own end is part of it. 0: not at all.
    pub linger_ms: u32,
    /// Output is owed and the peer took nothing for this long: the connection ends
    /// as [`Reason::Stalled`](crate::Reason::Stalled). What waits for a layer's handshake is not
    /// refused by the peer, and has the time of `first_byte_ms`.
    pub stall_ms: u32,
    /// Not a byte moved, in either direction, for this long: [`Limit::Idle`].
    /// File bytes are bytes.
    pub idle_ms: u32,
    /// The peer has not said a byte yet, for this long: [`Limit::FirstByte`]. Counts
    /// from the first turn, or from the last byte of ours that was taken. With layers
    /// it is the first byte behind their handshake, which is part of this time; it begins
    /// anew with an upgrade. A handshake that is not through by then ends with
    /// [`Limit::Handshake`], without last words, which the peer could not read; where this is
    /// not decided, after `stall_ms`, and in a close after `linger_ms` too.
    pub first_byte_ms: u32,
    /// A message is not whole this long after its first byte: [`Limit::Message`]
    /// (FAULTS 1). More bytes do not put it off. A message begins with the first byte
    /// that [`Protocol::consume`](crate::Protocol::consume) has not taken, or of which a layer
    /// makes nothing yet ([`Layer::is_partial`](crate::layer::Layer::is_partial)), and ends when
    /// it is taken; of one that is taken in parts
    /// ([`Context::unfinished`](crate::Context::unfinished)) each part has this long,
    /// from the one before on.
    ///
    /// The time while we do not read does not count, here and for `min_rate`: the output is
    /// full, a file is being opened, reading is disabled. Then it is not the peer who is late.
    pub message_ms: u32,
    /// Bytes per second that have to move, else the connection ends: those that come in
    /// while a message is under way, with [`Limit::Rate`] (FAULTS 2); those that the
    /// transport takes while output is owed, as [`Reason::Stalled`](crate::Reason::Stalled).
    /// They are the transport's bytes, and those of files are among them.
    ///
    /// *Guaranteed:* who is never slower is never cut, however long it takes. Who was
    /// faster has no credit from it.
    pub min_rate: u32,
    /// How far a peer may fall behind `min_rate`: by what this many milliseconds are worth.
    /// So it may pause this long. 0: the rate is not watched.
    pub rate_ms: u32,
    /// Events that may wait for the application.
    pub events: u16,
    /// Parts of files that may stand in the output when another file is asked for,
    /// and parts that one call may queue: fewer than twice as many in all. Each
    /// file among them holds a descriptor.
    pub files: u16,
}

impl Limits {
    /// Decided: no limit. For times and the rate.
    pub const NEVER: u32 = u32::MAX;

    /// 10 KiB of input and 256 KiB of output, the figures of seed 000. A stall and a
    /// pause below the rate may last equally long.
    pub const DEFAULT: Limits = Limits {
        input_bytes: 10 * 1024,
        output_bytes: 256 * 1024,
        linger_bytes: 1024 * 1024,
        linger_ms: 5_000,
        stall_ms: 60_000,
        idle_ms: 0,
        first_byte_ms: 0,
        message_ms: 0,
        min_rate: 0,
        rate_ms: 60_000,
        events: 64,
        files: 8,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// A bound of ours that was met, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A message was not whole within this many bytes of input.
    Input(usize),
    /// A frame announced or needed more than this many bytes.
    Frame(usize),
    /// One handler call wrote more than this many bytes: it could never fit.
    Output(usize),
    /// One handler call emitted more than this many events.
    Events(usize),
    /// A file was asked for while another one was, or none is allowed.
    Opens,
    /// Bytes came behind the words that asked for an upgrade, where none may be (FAULTS 32).
    Leftovers,
    /// One handler call queued more than this many parts of files.
    Parts(usize),
    /// Nothing moved for this many milliseconds.
    Idle(u32),
    /// The peer said nothing in its first so many milliseconds.
    FirstByte(u32),
    /// A layer's handshake was not through after so many milliseconds, and what waited for it
    /// was not sent.
    Handshake(u32),
    /// A message, or a part of it, was not whole within this many milliseconds.
    Message(u32),
    /// A message came in slower than this many bytes per second.
    Rate(u32),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Input(n) => write!(f, "message longer than the input limit of {n} bytes"),
            Limit::Frame(n) => write!(f, "frame longer than {n} bytes"),
            Limit::Output(n) => write!(f, "one reply longer than the output limit of {n} bytes"),
            Limit::Events(n) => write!(f, "more than {n} events in one call"),
            Limit::Parts(n) => write!(f, "more than {n} parts of files in one call"),
            Limit::Leftovers => write!(f, "bytes were sent ahead of the upgrade"),
            Limit::Opens => write!(f, "more than one file asked for at a time"),
            Limit::Idle(ms) => write!(f, "nothing moved for {ms} ms"),
            Limit::FirstByte(ms) => write!(f, "nothing said for {ms} ms"),
            Limit::Handshake(ms) => write!(f, "the handshake did not complete within {ms} ms"),
            Limit::Message(ms) => write!(f, "message not whole within {ms} ms"),
            Limit::Rate(n) => write!(f, "message slower than {n} bytes per second"),
        }
    }
}
