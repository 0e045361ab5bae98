//! Listening sockets.

use crate::socket::{address, begin_to_connect, without_delay};
use drywire_server::Address;
use rustix::io::retry_on_intr;
use rustix::net::{SocketFlags, acceptfrom_with, getsockname, listen};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Connections that may wait to be accepted; the kernel cuts it to its own bound
/// (4096 on Linux). The standard library asks for 128, which a burst passes in one round of
/// the loop: each further peer then waits for its second try, a second later.
const BACKLOG: i32 = 4096;

/// A non-blocking socket that listens, TCP or Unix.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub fd: OwnedFd,
    /// To be dropped with it.
    pub file: Option<SocketFile>,
}

impl Listener {
    /// Listens on an address. Port 0 picks a free one; a socket file that nobody
    /// listens on any more is replaced.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: &Address) -> io::Result<Listener> {
        let listener = match address {
            Address::Tcp(address) => Listener::from(TcpListener::bind(address)?),
            Address::Unix(Some(path)) => {
                remove_stale(path);
                let socket = UnixListener::bind(path)?;
                Listener { file: SocketFile::at(path), ..Listener::from(socket) }
            }
            Address::Unix(None) | Address::Pair => return Err(io::ErrorKind::InvalidInput.into()),
        };
        // Without it the listener still works.
        let _ = listen(&listener.fd, BACKLOG);
        Ok(listener)
    }
}

/// Takes one connection that waits, non-blocking.
///
/// # Errors
/// The system's; would-block is one.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, peer) = retry_on_intr(|| acceptfrom_with(listener, flags))?;
    let peer = peer.and_then(address).unwrap_or(Address::Unix(None));
    if let Address::Tcp(_) = peer {
        without_delay(fd.as_fd());
    }
    Ok((fd, peer))
}

/// The address a listener is bound to.
#[must_use]
pub fn local_address(listener: BorrowedFd<'_>) -> Option<Address> {
    address(getsockname(listener).ok()?)
}

/// The file a Unix listener made: this one, not its name alone. Removed when dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> Option<SocketFile> {
        let (device, inode) = identity(path)?;
        Some(SocketFile { path: path.to_owned(), device, inode })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another there since: it is theirs.
        if identity(&self.path) == Some((self.device, self.inode)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let data = std::fs::symlink_metadata(path).ok()?;
    Some((data.dev(), data.ino()))
}

/// The socket is made non-blocking.
impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Listener {
        // A descriptor that cannot be made non-blocking is no open socket; its
        // first use says so.
        let _ = socket.set_nonblocking(true);
        Listener { fd: socket.into(), file: None }
    }
}

/// The socket is made non-blocking. Its file is left to whoever made it.
impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Listener {
        let _ = socket.set_nonblocking(true);
        Listener { fd: socket.into(), file: None }
    }
}

/// Removes a socket file that nobody listens on: what a killed server leaves.
fn remove_stale(path: &Path) {
    // What is no socket refuses connections as well, and is not ours to remove.
    if !std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
        return;
    }
    // Never waits: a server whose backlog is full is alive.
    let refused = begin_to_connect(&Address::Unix(Some(path.to_owned())))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        let _ = std::fs::remove_file(path);
    }
}
