//! Listening sockets: how they are opened. Who accepts is in `listener/acceptor.rs`, one for each
//! worker in `listener/each.rs`.

mod acceptor;
mod each;
mod inherited;

use crate::socket::{address, begin_to_connect, without_delay};
pub use acceptor::Acceptor;
use drywire_server::{Address, Config};
pub use each::ListenError;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_keepalive, set_socket_reuseaddr, set_socket_reuseport, set_tcp_keepidle};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with,
};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A non-blocking socket that listens, TCP or Unix.
#[derive(Debug)]
pub struct Listener {
    /// The socket, or where another worker's accepted connections come from.
    pub fd: OwnedFd,
    /// Who accepts on it. To be kept as long as the descriptor.
    pub acceptor: Acceptor,
}

/// What a server's [`Config`] says of its sockets.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    backlog: i32,
    keep_alive: Option<Duration>,
    no_delay: bool,
}

impl SocketOptions {
    /// Those of `config`.
    #[must_use]
    pub fn of(config: &Config) -> SocketOptions {
        let backlog = i32::try_from(config.backlog).unwrap_or(i32::MAX);
        SocketOptions { backlog, keep_alive: config.keep_alive, no_delay: config.no_delay }
    }

    /// Sets them on a listening socket; every connection accepted there has them from it, which costs
    /// nothing. What the system does not have, or of a Unix socket, is left out.
    pub fn apply(&self, listener: BorrowedFd<'_>) {
        if !matches!(local_address(listener), Some(Address::Tcp(_))) {
            return;
        }
        if self.no_delay {
            without_delay(listener);
        }
        if let Some(after) = self.keep_alive {
            let _ = set_socket_keepalive(listener, true);
            let _ = set_tcp_keepidle(listener, after);
        }
    }
}

/// Whether others may have the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// Nobody else has it when this is called, and from then on other workers of ours may.
    First,
    /// Workers of ours have it already.
    Again,
    /// It is nobody else's.
    Alone,
}

impl Listener {
    /// Listens on an address. Port 0 picks a free one; a socket file that nobody
    /// listens on any more is replaced.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(address: &Address, options: &SocketOptions) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => Listener::tcp(address, Port::Alone, options),
            Address::Unix(Some(path)) => Listener::unix(path, None, options),
            Address::Unix(None) | Address::Pair => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn tcp(address: &SocketAddr, port: Port, options: &SocketOptions) -> io::Result<Listener> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = stream_socket(family, Some(ipproto::TCP))?;
        // Connections of a server that is gone do not keep the port.
        set_socket_reuseaddr(&fd, true)?;
        if port == Port::Again {
            set_socket_reuseport(&fd, true)?;
        }
        bind(&fd, address)?;
        if port == Port::First {
            // After the bind, so that a second server on this port is told that it is in use. It
            // would get half of the connections otherwise, and nobody would know why.
            set_socket_reuseport(&fd, true)?;
        }
        options.apply(fd.as_fd());
        listen(&fd, options.backlog)?;
        Ok(Listener { fd, acceptor: Acceptor::own(None) })
    }

    fn unix(path: &Path, mode: Option<u32>, options: &SocketOptions) -> io::Result<Listener> {
        let address = SocketAddrUnix::new(path)?;
        remove_stale(path);
        let fd = stream_socket(AddressFamily::UNIX, None)?;
        bind(&fd, &address)?;
        let file = SocketFile::at(path);
        if let Some(mode) = mode {
            // Before it listens: nobody connects with more rights than are meant.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        listen(&fd, options.backlog)?;
        Ok(Listener { fd, acceptor: Acceptor::own(file) })
    }
}

fn stream_socket(family: AddressFamily, protocol: Option<rustix::net::Protocol>) -> Result<OwnedFd, Errno> {
    socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, protocol)
}

/// The address a listener is bound to.
#[must_use]
pub fn local_address(listener: BorrowedFd<'_>) -> Option<Address> {
    address(getsockname(listener).ok()?)
}

/// The file a Unix listener made: this one, not its name alone. Removed when dropped.
#[derive(Debug, PartialEq, Eq)]
struct SocketFile {
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
        Listener { fd: socket.into(), acceptor: Acceptor::own(None) }
    }
}

/// The socket is made non-blocking. Its file is left to whoever made it.
impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Listener {
        let _ = socket.set_nonblocking(true);
        Listener { fd: socket.into(), acceptor: Acceptor::own(None) }
    }
}

impl Listener {
    /// The same, for a socket that is held elsewhere too: by the next server of a restart, or by the
    /// program that starts both. A worker that stops leaves the connections that wait there alone.
    #[must_use]
    pub fn held_elsewhere(self) -> Listener {
        Listener { acceptor: self.acceptor.shared(), ..self }
    }

    /// What `options` say, for a socket that somebody else has opened.
    #[must_use]
    pub fn with(self, options: &SocketOptions) -> Listener {
        if self.acceptor.has_socket() {
            options.apply(self.fd.as_fd());
        }
        self
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
