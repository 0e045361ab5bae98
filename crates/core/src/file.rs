//! Files as the core sees them: a number, a length, a reason why not. Opening,
//! reading and sending them is the driver's work.

use crate::error::FileError;
use core::fmt;

/// A file of one connection. Never reused within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) u32);

impl FileId {
    /// The bare number, for a driver's table or a log.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.0)
    }
}

/// The answer to [`Context::open_file`](crate::Context::open_file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which file.
    pub id: FileId,
    /// Its length in bytes when it was opened, or why it could not be.
    pub result: Result<u64, FileError>,
}
