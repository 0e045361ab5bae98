//! Streams of async-io.

use crate::Stream;

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
