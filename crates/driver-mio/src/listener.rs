//! Listening sockets.

use crate::io_error::AddressError;
use crate::stream::{Kind, Stream, unix_address};
use drywire_server::{Address, Backoff};
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use rustix::net::listen;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Connections that may wait to be accepted; the kernel cuts it to its own bound
/// (4096 on Linux). mio asks for 128, which a burst passes in one round of the loop:
/// each further peer then waits for its second try, a second later.
const BACKLOG: i32 = 4096;

/// One listening socket, and how it is doing.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    pub(crate) backoff: Backoff,
    /// It stands in the ready list.
    pub(crate) queued: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The file is removed with the listener that made it.
    Unix(UnixListener, Option<SocketFile>),
}

/// The file a Unix listener made: this one, not its name alone.
#[derive(Debug, PartialEq, Eq)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> Option<SocketFile> {
        let data = std::fs::symlink_metadata(path).ok()?;
        Some(SocketFile { path: path.to_owned(), device: data.dev(), inode: data.ino() })
    }
}

impl Listener {
    pub(crate) fn bind(address: &Address) -> Result<Listener, AddressError> {
        let bound = match address {
            Address::Tcp(address) => TcpListener::bind(*address).map(Socket::Tcp),
            Address::Unix(Some(path)) => {
                remove_stale(path);
                UnixListener::bind(path).map(|socket| Socket::Unix(socket, SocketFile::at(path)))
            }
            Address::Unix(None) | Address::Pair => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        match bound {
            Ok(socket) => {
                // Without it the listener still works.
                let _ = match &socket {
                    Socket::Tcp(socket) => listen(socket, BACKLOG),
                    Socket::Unix(socket, _) => listen(socket, BACKLOG),
                };
                Ok(Listener::new(socket))
            }
            Err(source) => Err(AddressError { what: "listen on", address: address.clone(), source }),
        }
    }

    fn new(socket: Socket) -> Listener {
        Listener { socket, backoff: Backoff::new(), queued: false }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            Socket::Unix(socket, _) => registry.register(socket, token, Interest::READABLE),
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        let _ = match &mut self.socket {
            Socket::Tcp(socket) => registry.deregister(socket),
            Socket::Unix(socket, _) => registry.deregister(socket),
        };
    }

    pub(crate) fn accept(&self) -> io::Result<(Stream, Address)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                // Replies are gathered before they are written, so Nagle's wait
                // could only add to their latency.
                let _ = stream.set_nodelay(true);
                Ok((Stream(Kind::Tcp(stream)), Address::Tcp(peer)))
            }
            Socket::Unix(socket, _) => {
                let (stream, peer) = socket.accept()?;
                Ok((Stream(Kind::Unix(stream)), unix_address(&peer)))
            }
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(Address::Tcp),
            Socket::Unix(socket, _) => socket.local_addr().map(|address| unix_address(&address)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, Some(file)) = &self.socket {
            // Somebody may have put another there since: it is theirs.
            if SocketFile::at(&file.path).as_ref() == Some(file) {
                let _ = std::fs::remove_file(&file.path);
            }
        }
    }
}

impl From<std::net::TcpListener> for Listener {
    fn from(socket: std::net::TcpListener) -> Listener {
        let _ = socket.set_nonblocking(true);
        Listener::new(Socket::Tcp(TcpListener::from_std(socket)))
    }
}

impl From<std::os::unix::net::UnixListener> for Listener {
    fn from(socket: std::os::unix::net::UnixListener) -> Listener {
        let _ = socket.set_nonblocking(true);
        Listener::new(Socket::Unix(UnixListener::from_std(socket), None))
    }
}

/// Removes a socket file that nobody listens on: what a killed server leaves.
fn remove_stale(path: &Path) {
    // What is no socket refuses connections as well, and is not ours to remove.
    if !std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
        return;
    }
    // Never waits: a server whose backlog is full is alive.
    let refused =
        mio::net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        let _ = std::fs::remove_file(path);
    }
}
