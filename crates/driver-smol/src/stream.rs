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
/// When the reactor cannot let go of the stream, which no open one gives a cause for.
impl From<async_io::Async<std::net::TcpStream>> for Stream {
    fn from(stream: async_io::Async<std::net::TcpStream>) -> Stream {
        stream.into_inner().expect("a registered stream").into()
    }
}

/// # Panics
/// When the reactor cannot let go of the stream, which no open one gives a cause for.
impl From<async_io::Async<std::os::unix::net::UnixStream>> for Stream {
    fn from(stream: async_io::Async<std::os::unix::net::UnixStream>) -> Stream {
        stream.into_inner().expect("a registered stream").into()
    }
}
