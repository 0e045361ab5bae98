//! The real files behind `OpenFile`, `StreamFile` and `CloseFile`.
//!
//! [`Root`] opens names beneath one directory, [`send_file`] moves a piece of a
//! file to a descriptor.
//! When to do which is not decided here: the core's actions say it.
//!
//! Files are read in the loop's own thread. A regular file is always "ready", so
//! a disk that is slow, or a network file system whose server is gone, stops the
//! whole worker for as long as it takes; no flag of open(2) changes that.

mod root;
mod send;
#[cfg(test)]
mod tests;

pub use root::{RegularFile, Root};
pub use send::{SEND_CAP_BYTES, SendFailure, read_file, send_file};

/// Which system calls may be used where a slower one does the same work.
///
/// For tests: a call that is missing is noticed by itself, so production has no
/// reason to turn one off. Off means exactly what a kernel without it means
/// (row A11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCalls {
    /// openat2(2), Linux 5.6. Without it [`Root`] follows no symlink at all.
    pub openat2: bool,
    /// sendfile(2). Without it [`send_file`] reads and then writes.
    pub sendfile: bool,
}

/// All of them.
impl Default for SystemCalls {
    fn default() -> SystemCalls {
        SystemCalls { openat2: true, sendfile: true }
    }
}
