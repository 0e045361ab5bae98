//! Byte streams that are open already, whoever opened them.

use std::os::fd::OwnedFd;

/// A byte stream that a driver can serve. Made non-blocking when it comes from the
/// standard library.
#[derive(Debug)]
pub struct Stream(OwnedFd);

/// A non-blocking stream socket.
impl From<OwnedFd> for Stream {
    fn from(fd: OwnedFd) -> Stream {
        Stream(fd)
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> OwnedFd {
        stream.0
    }
}

impl From<std::net::TcpStream> for Stream {
    fn from(stream: std::net::TcpStream) -> Stream {
        // A descriptor that cannot be made non-blocking is no open socket; its
        // first use says so.
        let _ = stream.set_nonblocking(true);
        Stream(stream.into())
    }
}

impl From<std::os::unix::net::UnixStream> for Stream {
    fn from(stream: std::os::unix::net::UnixStream) -> Stream {
        let _ = stream.set_nonblocking(true);
        Stream(stream.into())
    }
}

/// # Panics
/// When the stream's runtime has gone already and cannot let go of it.
impl From<tokio::net::TcpStream> for Stream {
    fn from(stream: tokio::net::TcpStream) -> Stream {
        Stream(stream.into_std().expect("a registered stream").into())
    }
}

/// # Panics
/// When the stream's runtime has gone already and cannot let go of it.
impl From<tokio::net::UnixStream> for Stream {
    fn from(stream: tokio::net::UnixStream) -> Stream {
        Stream(stream.into_std().expect("a registered stream").into())
    }
}
