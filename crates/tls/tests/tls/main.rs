//! TLS between two ends in memory: every byte of the wire goes through the test's hands.

mod ends;
mod handshake;
mod names;
mod starttls;
mod strangers;
mod support;
mod worlds;
