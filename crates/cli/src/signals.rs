//! SIGINT and SIGTERM, and SIGHUP where that means something, as a descriptor that becomes readable, to be registered
//! beside the connections (row A10). What a signal means is not decided here.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// From now on SIGINT and SIGTERM are a byte to read here, and nothing else.
pub(crate) fn catch() -> io::Result<OwnedFd> {
    catch_all(&[SIGINT, SIGTERM])
}

/// The same for SIGHUP.
pub(crate) fn catch_hang_up() -> io::Result<OwnedFd> {
    catch_all(&[SIGHUP])
}

fn catch_all(signals: &[i32]) -> io::Result<OwnedFd> {
    let (ours, handlers) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, handlers.try_clone()?)?;
    }
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
