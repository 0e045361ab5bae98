//! SIGINT and SIGTERM as a descriptor that becomes readable, to be registered
//! beside the connections (row A10). What a signal means is not decided here.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// From now on a signal is a byte to read here, and nothing else.
pub(crate) fn catch() -> io::Result<OwnedFd> {
    let (ours, handlers) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    pipe::register(SIGINT, handlers.try_clone()?)?;
    pipe::register(SIGTERM, handlers)?;
    Ok(ours.into())
}

/// How many signals have come since this was last asked.
///
/// Bound: 64; a person gives up before.
pub(crate) fn take(fd: BorrowedFd<'_>) -> usize {
    let mut bytes = [0; 64];
    let mut taken = 0;
    while taken < bytes.len() {
        match rustix::io::read(fd, &mut bytes[taken..]) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
            Ok(n) => taken += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => unreachable!("a socket pair of our own does not fail: {error}"),
        }
    }
    taken
}
