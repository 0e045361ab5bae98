//! The real files behind `OpenFile`, `StreamFile` and `CloseFile`.
//!
//! [`Root`] opens names beneath one directory, [`send_file`] moves a piece of a
//! file to a descriptor, [`Files`] are those that are open.
//! When to do which is not decided here: the core's actions say it.
//!
//! Files are read in the loop's own thread. A regular file is always "ready", so
//! a disk that is slow, or a network file system whose server is gone, stops the
//! whole worker for as long as it takes; no flag of open(2) changes that.

mod open;
mod root;
mod secret;
mod send;
#[cfg(test)]
mod tests;

pub use open::{Files, sent};
pub use root::{RegularFile, Root};
pub use send::{SEND_CAP_BYTES, SendFailure, read_file, send_file};
