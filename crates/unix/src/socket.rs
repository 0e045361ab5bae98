//! The calls on a byte stream: none waits, none raises SIGPIPE (FAULTS 56), and an
//! interrupted one is repeated (FAULTS 14).

use drywire_core::{Blocked, TransportError};
use drywire_server::io_error::blocked;
use drywire_server::{Address, Connecting};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay, socket_error};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketFlags,
    SocketType, connect, getpeername, recv, send, sendmsg, shutdown, socket_with,
};
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// SIGPIPE would kill a process that did not ignore it.
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;

/// More follows right behind: one packet instead of two, where the system can.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MORE: SendFlags = SendFlags::MORE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MORE: SendFlags = SendFlags::empty();

/// Whether a call may wait for the descriptor's other users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The descriptor itself is non-blocking.
    NonBlocking,
    /// It is not, and this call must not wait all the same.
    DontWait,
}

/// Reads; 0 is the end of input.
///
/// # Errors
/// The system's; would-block is one.
pub fn receive(fd: BorrowedFd<'_>, slot: &mut [u8], mode: Mode) -> io::Result<usize> {
    let flags = match mode {
        Mode::NonBlocking => RecvFlags::empty(),
        Mode::DontWait => RecvFlags::DONTWAIT,
    };
    Ok(retry_on_intr(|| recv(fd, &mut *slot, flags))?.0)
}

/// Writes from the front of `slices`, 1 to 16 of them. `more`: something follows
/// right behind (a hint).
///
/// # Errors
/// The system's; would-block is one.
pub fn send_slices(fd: BorrowedFd<'_>, slices: &[&[u8]], more: bool, mode: Mode) -> io::Result<usize> {
    let mut flags = if more { NO_SIGNAL.union(MORE) } else { NO_SIGNAL };
    if mode == Mode::DontWait {
        flags = flags.union(SendFlags::DONTWAIT);
    }
    if let [one] = slices {
        return Ok(retry_on_intr(|| send(fd, one, flags))?);
    }
    with_io_slices(slices, |iov| Ok(retry_on_intr(|| sendmsg(fd, iov, &mut SendAncillaryBuffer::default(), flags))?))
}

/// The slices as the system wants them.
///
/// # Panics
/// When there are more than [`Write::MAX_SLICES`](drywire_core::Write::MAX_SLICES).
pub fn with_io_slices<T>(slices: &[&[u8]], write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut iov = [IoSlice::new(&[]); drywire_core::Write::MAX_SLICES];
    for (slot, slice) in iov.iter_mut().zip(slices) {
        *slot = IoSlice::new(slice);
    }
    write(&iov[..slices.len()])
}

/// Ends our direction. False when the socket is still being connected: shutdown(2)
/// would give up on that, so it has to wait until the socket is writable. A peer that
/// is gone already will be noticed elsewhere.
pub fn half_close(fd: BorrowedFd<'_>) -> bool {
    if getpeername(fd) == Err(Errno::NOTCONN) {
        return false;
    }
    let _ = shutdown(fd, Shutdown::Write);
    true
}

/// Closes a connection that nobody is going to serve, behind `words`, without
/// waiting. What the peer has said so far is read and dropped, within a bound: unread, it
/// would make the close a reset that destroys the words.
pub fn refuse(fd: BorrowedFd<'_>, words: &[u8]) {
    if !words.is_empty() {
        let _ = retry_on_intr(|| send(fd, words, NO_SIGNAL | SendFlags::DONTWAIT));
    }
    let _ = shutdown(fd, Shutdown::Write);
    let mut slot = [0; 4096];
    for _ in 0..REFUSED_READS {
        if !matches!(receive(fd, &mut slot, Mode::DontWait), Ok(1..)) {
            return;
        }
    }
}

/// Reads of 4 KiB that are made of a peer that is refused.
const REFUSED_READS: usize = 4;

/// Makes the coming close a reset, so that half an answer is not taken for a
/// whole one. Only TCP can say so; of other sockets it does nothing.
pub fn reset_on_close(fd: BorrowedFd<'_>) {
    let _ = set_socket_linger(fd, Some(Duration::ZERO));
}

/// How far a socket of [`begin_to_connect`] has come.
#[must_use]
pub fn connecting(fd: BorrowedFd<'_>) -> Connecting {
    if getpeername(fd).is_ok() {
        return Connecting::Stands;
    }
    if look(fd, PollFlags::OUT).intersects(PollFlags::ERR | PollFlags::HUP) {
        Connecting::Failed
    } else {
        Connecting::Pending
    }
}

/// What poll(2) says of a descriptor now, without waiting; nothing when it fails.
#[must_use]
pub fn look(fd: BorrowedFd<'_>, wanted: PollFlags) -> PollFlags {
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match retry_on_intr(|| poll(&mut fds, Some(&now))) {
        Ok(1..) => fds[0].revents(),
        Ok(0) | Err(_) => PollFlags::empty(),
    }
}

/// Why a socket failed; it tells once.
#[must_use]
pub fn take_error(fd: BorrowedFd<'_>) -> TransportError {
    let error = match socket_error(fd) {
        Ok(Err(error)) | Err(error) => io::Error::from(error),
        Ok(Ok(())) => io::Error::from(Errno::NOTCONN),
    };
    match blocked(&error) {
        Blocked::Failed(error) => error,
        Blocked::WouldBlock => TransportError::Other(0),
    }
}

/// Who is at the other end; `None` while the socket is being connected.
#[must_use]
pub fn peer_address(fd: BorrowedFd<'_>) -> Option<Address> {
    match getpeername(fd) {
        Ok(Some(any)) => address(any),
        // A Unix socket's peer has no name, unless it was bound.
        Ok(None) => Some(Address::Unix(None)),
        Err(_) => None,
    }
}

/// Begins to connect a new non-blocking socket.
///
/// # Errors
/// The system's, for what is known at once.
pub fn begin_to_connect(to: &Address) -> io::Result<OwnedFd> {
    match to {
        Address::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let fd = stream_socket(family)?;
            without_delay(fd.as_fd());
            in_progress(connect(&fd, address))?;
            Ok(fd)
        }
        Address::Unix(Some(path)) => {
            let address = SocketAddrUnix::new(path.as_path())?;
            let fd = stream_socket(AddressFamily::UNIX)?;
            in_progress(connect(&fd, &address))?;
            Ok(fd)
        }
        Address::Unix(None) | Address::Pair => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn in_progress(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        // One that was interrupted goes on all the same.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?)
}

/// Replies are gathered before they are written, so Nagle's wait could only add to
/// their latency.
pub fn without_delay(fd: BorrowedFd<'_>) {
    let _ = set_tcp_nodelay(fd, true);
}

/// An end of a stream in our words; `None` for what is neither TCP nor Unix.
#[must_use]
pub fn address(any: SocketAddrAny) -> Option<Address> {
    if let Ok(address) = SocketAddr::try_from(any.clone()) {
        return Some(Address::Tcp(address));
    }
    let unix = SocketAddrUnix::try_from(any).ok()?;
    Some(Address::Unix(unix.path_bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))))
}
