//! Streams of tokio.

use crate::Stream;

/// # Panics
/// When the stream's runtime has gone already and cannot let go of it.
impl From<tokio::net::TcpStream> for Stream {
    fn from(stream: tokio::net::TcpStream) -> Stream {
        stream.into_std().expect("a registered stream").into()
    }
}

/// # Panics
/// When the stream's runtime has gone already and cannot let go of it.
impl From<tokio::net::UnixStream> for Stream {
    fn from(stream: tokio::net::UnixStream) -> Stream {
        stream.into_std().expect("a registered stream").into()
    }
}
