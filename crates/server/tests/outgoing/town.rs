//! A net without sockets: what connects, and when, the test says; names are written down
//! and answered by the test.

use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Time, Transport, TransportError};
use drywire_server::{Address, Connecting, Id, Interest, Net, Release};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

#[derive(Default)]
pub(crate) struct Town {
    pub(crate) now: Time,
    /// Look-ups, in order.
    pub(crate) asked: Vec<(Id, String)>,
    /// Last bytes of the addresses that were tried, in order.
    pub(crate) tried: Vec<u8>,
    states: BTreeMap<u8, Connecting>,
    pub(crate) released: usize,
    pub(crate) sent: Vec<u8>,
    /// For the next read, whoever's.
    pub(crate) input: Vec<u8>,
}

pub(crate) fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

pub(crate) fn address(last: u8) -> Address {
    Address::Tcp(SocketAddr::from(([10, 0, 0, last], 25)))
}

impl Town {
    pub(crate) fn set(&mut self, last: u8, state: Connecting) {
        self.states.insert(last, state);
    }
}

fn last(address: &Address) -> u8 {
    let Address::Tcp(SocketAddr::V4(address)) = address else { panic!("{address} is not of this town") };
    address.ip().octets()[3]
}

struct Wire<'a>(&'a mut Town);

impl Transport for Wire<'_> {
    fn short_read_exhausts(&self) -> bool {
        true
    }

    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        let input = std::mem::take(&mut self.0.input);
        if input.is_empty() {
            return Err(Blocked::WouldBlock);
        }
        slot[..input.len()].copy_from_slice(&input);
        Ok(input.len())
    }

    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let before = self.0.sent.len();
        slices.iter().for_each(|slice| self.0.sent.extend_from_slice(slice));
        Ok(self.0.sent.len() - before)
    }

    fn try_send_file(&mut self, _: FileId, _: u64, _: u64) -> Result<u64, SendFileError> {
        unreachable!("there are no files")
    }

    fn read_file(&mut self, _: FileId, _: u64, _: &mut [u8]) -> Result<usize, FileError> {
        unreachable!("there are no files")
    }

    fn open_file(&mut self, _: &OpenFile<'_>) -> Opening {
        unreachable!("there are no files")
    }

    fn close_file(&mut self, _: FileId) {}

    fn half_close(&mut self) {}
}

impl Net for Town {
    type Open = Address;
    type Stream = u8;
    type Bound = ();
    type Listener = ();
    type Source = OwnedFd;

    fn now(&self) -> Time {
        self.now
    }
    fn connect(&mut self, _: Id, address: &Address) -> io::Result<u8> {
        if *address == Address::Unix(None) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.tried.push(last(address));
        Ok(last(address))
    }
    fn resolve(&mut self, id: Id, host: &str, port: u16) {
        self.asked.push((id, format!("{host}:{port}")));
    }
    fn register(&mut self, _: Id, stream: Address) -> io::Result<u8> {
        Ok(last(&stream))
    }
    fn wire<'a>(&'a mut self, _: Id, _: &'a mut u8) -> impl Transport + 'a {
        Wire(self)
    }
    fn on_writable(&mut self, _: &mut u8) {}
    fn connecting(&self, stream: &u8) -> Connecting {
        self.states.get(stream).copied().unwrap_or(Connecting::Pending)
    }
    fn take_error(&self, _: &u8) -> TransportError {
        TransportError::Refused
    }
    fn peer_address(&self, stream: &u8) -> Option<Address> {
        Some(address(*stream))
    }
    fn release(&mut self, _: u8, _: Release) {
        self.released += 1;
    }
    fn close_file(&mut self, _: Id, _: FileId) {}
    fn open_files(&self) -> usize {
        0
    }
    fn listen(&mut self, _: Id, _: &Address) -> io::Result<()> {
        Ok(())
    }
    fn listen_on(&mut self, _: Id, (): ()) -> io::Result<()> {
        Ok(())
    }
    fn accept(&mut self, (): &mut ()) -> io::Result<(Address, Address)> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn local_address(&self, (): &()) -> Option<Address> {
        None
    }
    fn release_listener(&mut self, (): ()) {}
    fn watch(&mut self, _: Id, fd: OwnedFd, _: Interest) -> io::Result<OwnedFd> {
        Ok(fd)
    }
    fn set_interest(&mut self, _: &mut OwnedFd, _: Interest) -> io::Result<()> {
        Ok(())
    }
    fn is_always_ready(&self, _: &OwnedFd) -> bool {
        false
    }
    fn unwatch(&mut self, source: OwnedFd) -> OwnedFd {
        source
    }
}
