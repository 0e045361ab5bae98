//! A protocol that asks for files, and the transport that has them.

use drywire_core::{
    Blocked, Context, FileError, FileId, Limits, OpenFile, Opened, Opening, Protocol, SendFileError, Stop, Transport,
    TransportError,
};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;

/// `f` is answered with `F` and a file, or with `N`; any other byte with itself.
#[derive(Debug)]
pub(super) struct Asks;

pub(super) const CONTENTS: &[u8] = b"123";

impl Protocol for Asks {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    const LIMITS: Limits = Limits {
        input_bytes: 4,
        output_bytes: 2,
        linger_bytes: 3,
        linger_ms: 10,
        stall_ms: 20,
        files: 1,
        ..Limits::DEFAULT
    };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        match input[0] {
            b'f' => drop(cx.open_file(b"f")?),
            byte => cx.write(&[byte])?,
        }
        Ok(1)
    }

    fn file(&mut self, opened: Opened, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        match opened.result {
            Ok(len) => {
                cx.write(b"F")?;
                cx.stream_file(opened.id, 0, len)
            }
            Err(_) => cx.write(b"N"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) incoming: VecDeque<u8>,
    pub(super) room: usize,
    pub(super) taken: Vec<u8>,
    pub(super) asked: Option<FileId>,
    pub(super) open: BTreeSet<FileId>,
    pub(super) ended: bool,
    pub(super) reset: bool,
    pub(super) truncated: bool,
    /// A file is forgotten to be closed, for a control.
    pub(super) leaks: bool,
    pub(super) broken: Option<&'static str>,
}

impl Wire {
    fn admit(&mut self, bytes: &[u8]) -> Result<usize, Blocked> {
        if self.reset {
            return Err(Blocked::Failed(TransportError::BrokenPipe));
        }
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(Blocked::WouldBlock);
        }
        self.room -= n;
        self.taken.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
}

impl Transport for Wire {
    fn short_read_exhausts(&self) -> bool {
        false
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        match self.incoming.pop_front() {
            _ if self.reset => Err(Blocked::Failed(TransportError::Reset)),
            Some(byte) => {
                slot[0] = byte;
                Ok(1)
            }
            None if self.ended => Ok(0),
            None => Err(Blocked::WouldBlock),
        }
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _more: bool) -> Result<usize, Blocked> {
        self.admit(&slices.concat())
    }

    fn try_send_file(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, SendFileError> {
        if !self.open.contains(&id) {
            self.broken.get_or_insert("a file is sent that is not open");
        }
        if self.truncated {
            return Ok(0);
        }
        let at = usize::try_from(offset).expect("three bytes");
        let len = usize::try_from(len).expect("three bytes");
        Ok(self.admit(&CONTENTS[at..at + len]).map_err(SendFileError::Output)? as u64)
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("there is no layer here")
    }

    fn open_file(&mut self, request: &OpenFile<'_>) -> Opening {
        if self.asked.replace(request.id()).is_some() {
            self.broken.get_or_insert("two files are asked for at a time");
        }
        Opening::Later
    }

    fn close_file(&mut self, id: FileId) {
        if !self.open.remove(&id) {
            self.broken.get_or_insert("a file was closed twice, or never open");
        }
        if self.leaks {
            self.open.insert(id);
        }
    }

    fn half_close(&mut self) {}
}
