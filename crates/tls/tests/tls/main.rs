//! TLS between two ends in memory: every byte of the wire goes through the test's hands. With
//! tokio-rustls at the other end it goes through real sockets.

mod ends;
mod handshake;
mod log;
mod names;
mod starttls;
mod strangers;
mod support;
mod tokio_rustls;
mod worlds;
