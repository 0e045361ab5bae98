//! Protocols written once, for every driver: bytes in, bytes out.
//!
//! What lives here: [`ByteEcho`], [`LineEcho`], [`Dialog`] and [`Hub`], one file each.
//! Every one is a [`Protocol`](drywire_core::Protocol) and says in its file what
//! it speaks, with a transcript, and which bounds it has.
//!
//! What does not: sockets, clocks, threads and files. Bytes come from a driver,
//! and the name of a file goes to one. Finding where a line ends is
//! [`framing`](drywire_core::framing)'s work.

#![no_std]

extern crate alloc;

mod byte_echo;
mod dialog;
mod hub;
mod line_echo;

pub use byte_echo::ByteEcho;
pub use dialog::{BadCommand, Dialog};
pub use hub::{BadMessage, Hub, HubCommand, HubEcho, HubEvent};
pub use line_echo::LineEcho;
