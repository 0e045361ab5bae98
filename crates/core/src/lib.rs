//! placeholder
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;
mod action;
mod close;
mod connection;
mod context;
mod error;
mod file;
pub mod framing;
pub mod layer;
mod limits;
mod output;
mod protocol;
mod reply;
mod time;
mod turn;
mod workspace;

pub use action::{Action, OpenFile, ReadFile, StreamFile, Wait, Write};
pub use close::{CloseReport, Counters, Reason};
pub use connection::{Connection, Live, Read};
pub use context::Context;
pub use error::{Blocked, Failure, FileError, Full, Misuse, Stop, TransportError};
pub use file::{FileId, Opened};
pub use limits::{ERROR_REPLY_BYTES, Limit, Limits};
pub use output::{Refused, Reserved, Writer};
pub use protocol::{Protocol, Timer};
pub use reply::Reply;
pub use time::Time;
pub use turn::{Budget, Opening, Ready, SendFileError, Transport, Turn, turn};
pub use workspace::Workspace;
