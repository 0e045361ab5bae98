//! Moving a piece of a file to a descriptor: one step, no state between steps.

use drywire_core::FileError;
use rustix::io::{Errno, pread, retry_on_intr, write};
use rustix::net::{SendFlags, send};
use std::io;
use std::os::fd::BorrowedFd;
use thiserror::Error;

/// The most one call of [`send_file`] moves, in bytes. For fairness: a peer on a
/// fast link could otherwise take a whole film in one call while every other
/// connection waits. Measured: 2 MiB take 0.8 ms on loopback, 2.6 ms at worst. Other
/// sizes were not tried.
pub const SEND_CAP_BYTES: usize = 2 * 1024 * 1024;

/// What the scratch of the slow way grows to, in bytes.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Without it, writing to a socket whose peer is gone kills a process that did not
/// ignore SIGPIPE (FAULTS 56).
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// Whose fault it was that nothing moved.
#[derive(Debug, Error)]
pub enum SendFailure {
    /// The descriptor written to; among them would-block, which is no failure.
    #[error("output: {0}")]
    Output(#[source] io::Error),
    /// The file read from (FAULTS 49).
    #[error("file: {0}")]
    File(#[source] FileError),
}

/// Moves up to `len` bytes of `file`, from `offset` on, to `out`.
///
/// Says how many went out, which may be fewer; the next call starts behind them.
/// 0 means that the file ends at or before `offset`: it became shorter (FAULTS 46).
/// Never more than `len`, however much the file has grown (FAULTS 47). The file's
/// own position is neither used nor moved, so connections may share a descriptor.
///
/// Uses sendfile(2) when `use_sendfile` allows it and both ends support it, and
/// reads into `scratch` and writes from there otherwise. `scratch` is lent for the
/// call; what is in it means nothing. `out` is expected to be non-blocking.
///
/// Units: bytes. Bound: [`SEND_CAP_BYTES`] a call; `scratch` grows to 64 KiB once,
/// when it is first needed.
///
/// Not covered: sendfile(2), and write(2) to a pipe, raise SIGPIPE when the reader
/// is gone. Rust programs ignore it from the start; a library inside another program
/// must see to it that it is ignored (FAULTS 56).
///
/// # Errors
/// [`SendFailure`] says which of the two ends failed. Nothing was moved then.
///
/// # Panics
/// In debug builds when `len` is 0: the answer could not be told from the file's end.
pub fn send_file(
    out: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    len: u64,
    scratch: &mut Vec<u8>,
    use_sendfile: bool,
) -> Result<usize, SendFailure> {
    debug_assert!(len > 0, "no bytes asked for");
    if use_sendfile {
        match retry_on_intr(|| sendfile(out, file, offset, at_most(len, SEND_CAP_BYTES))) {
            Ok(sent) => return Ok(sent),
            Err(errno) if is_of_output(errno) => return Err(SendFailure::Output(errno.into())),
            // Not supported between these two (EINVAL, ENOSYS, EOPNOTSUPP), or
            // one number for two ends (EIO, ENOMEM): the two calls below work, or
            // say which end it is.
            Err(_) => {}
        }
    }
    if scratch.len() < SCRATCH_BYTES {
        scratch.resize(SCRATCH_BYTES, 0);
    }
    let buf = &mut scratch[..at_most(len, SCRATCH_BYTES)];
    let read = read_file(file, offset, buf).map_err(SendFailure::File)?;
    if read == 0 {
        return Ok(0);
    }
    // What does not go out is read again by the next call, from the page cache.
    write_out(out, &buf[..read]).map_err(|errno| SendFailure::Output(errno.into()))
}

/// Reads from `offset` on into `buf`, as much as one pread(2) gives; for files that
/// have to pass through us, as over TLS. 0 means the file ends there.
///
/// # Errors
/// [`FileError::Io`].
pub fn read_file(file: BorrowedFd<'_>, offset: u64, buf: &mut [u8]) -> Result<usize, FileError> {
    retry_on_intr(|| pread(file, &mut *buf, offset)).map_err(|errno| FileError::Io(errno.raw_os_error()))
}

fn write_out(out: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    match retry_on_intr(|| send(out, bytes, NO_SIGNAL)) {
        // A pipe, a terminal: the hub's outputs are of any kind.
        Err(Errno::NOTSOCK) => retry_on_intr(|| write(out, bytes)),
        answer => answer,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn sendfile(out: BorrowedFd<'_>, file: BorrowedFd<'_>, mut offset: u64, len: usize) -> Result<usize, Errno> {
    rustix::fs::sendfile(out, file, Some(&mut offset), len)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn sendfile(_: BorrowedFd<'_>, _: BorrowedFd<'_>, _: u64, _: usize) -> Result<usize, Errno> {
    Err(Errno::NOSYS)
}

/// Errors of sendfile that only its output can have. A socket hands a pending error
/// out once, so these are not asked for a second time.
fn is_of_output(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::AGAIN
            | Errno::PIPE
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::NOTCONN
            | Errno::TIMEDOUT
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::NETRESET
            | Errno::NOBUFS
            | Errno::MSGSIZE
            | Errno::DESTADDRREQ
            | Errno::PROTO
            | Errno::PROTOTYPE
            | Errno::SHUTDOWN
    )
}

fn at_most(len: u64, cap: usize) -> usize {
    usize::try_from(len).map_or(cap, |len| len.min(cap))
}
