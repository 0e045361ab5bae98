//! The recorder: every call into a connection and every answer out of it, above
//! the layers, so that what happened can happen again on a desk.
//!
//! ```text
//!            ┌───────────── Connection ─────────────┐
//!  socket ──▶│ read_with ─▶ layers ─┬▶ Protocol ────┼──▶ events
//!  socket ◀──│ poll ◀───── layers ◀─┼─ output ◀─────┼──◀ commands, time, file answers
//!            └──────────────────────┼───────────────┘
//!                                   └▶ Tape ─▶ file ─▶ Reader
//! ```
//!
//! A [`Tape`] is made by the application and handed to
//! [`Connection::recorded`](crate::Connection::recorded). It sits inside of the
//! connection, so it works with every driver, and drivers know nothing of it.
//! What becomes of it is a file that a [`Reader`] reads, or an entry at a time for
//! whoever [listens](Tape::listening). An unrecorded connection pays one branch
//! for a call, and nothing for a message.
//!
//! What is recorded: each [`Entry`]. Input in full, for it is what a replay needs;
//! everything else as short as it can be compared: of output the lengths and a
//! checksum of what the transport took, of events the text.
//!
//! What never is: the contents of files, the bytes layers send and receive (so no
//! TLS recording can be taken for an intercepted one), and what was offered to the
//! transport but not taken.
//!
//! A recording holds what the peer sent. Secrets in it are blanked by a [`Mask`], on the way to the tape
//! or afterwards by [`masked`].
//!
//! The parts: what happened is in `entry`, as text in `words`, as bytes in `codec`;
//! the file in `format`, written by `store`, read by `reader`, masked afterwards by `copy`; `crc` finds the byte that
//! was changed; `value` writes commands down. The calls themselves are tapped in `connection/tap.rs`.

mod codec;
mod copy;
mod crc;
mod entry;
mod format;
mod mask;
mod reader;
mod store;
mod tape;
mod value;
mod why;
mod words;

pub use copy::masked;
pub use crc::{OneByte, one_byte};
#[cfg(feature = "derive")]
pub use drywire_derive::Record;
pub use entry::{Ended, Entry, LayerCall, LayerCallKind, Levels, ReadAnswer, ReasonKind, Text};
pub use format::Header;
pub use mask::Mask;
pub use reader::{Entries, Located, ReadError, Reader};
pub use tape::{Keep, Tape};
#[doc(hidden)]
pub use value::Out;
pub use value::Record;
pub use why::Why;

pub(crate) use crc::crc_of_front;
pub(crate) use tape::{Recorder, number};
