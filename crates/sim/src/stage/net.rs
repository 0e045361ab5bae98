//! The network of a stage as a worker's [`Net`].

use super::network::Network;
use super::peer::{Life, Line, PeerId};
use super::setup::{Fault, Setup};
use super::wire::Wire;
use drywire_core::{FileId, Time, Transport, TransportError, Wait};
use drywire_server::{Address, Connecting, Id, Interest, Net, News, Release};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// The network of a [`Stage`](super::Stage), as its worker has it.
///
/// It has no files: every name is not found. It watches no descriptors of others:
/// [`Worker::register`](drywire_server::Worker::register) fails with
/// [`Unsupported`](io::ErrorKind::Unsupported).
#[derive(Debug)]
pub struct StageNet {
    pub(super) network: Network,
}

/// A stream of a stage that no worker serves yet. Its peer sees the end when it is dropped, and a
/// round was made.
#[derive(Debug)]
pub struct Open {
    line: usize,
    /// Counted by the network.
    _held: Rc<()>,
}

/// A stream that is registered.
#[derive(Debug)]
pub struct Stream(usize);

impl StageNet {
    pub(super) fn new(seed: u64, setup: Setup) -> StageNet {
        StageNet { network: Network::new(seed, setup) }
    }

    /// A stream, and the peer at its other end.
    pub(super) fn pair(&mut self) -> (Open, PeerId) {
        let line = self.network.lines.len();
        self.network.lines.push(Line::new(Address::Pair, Life::Loose));
        (self.open(line), PeerId(line))
    }

    fn open(&mut self, line: usize) -> Open {
        let held = Rc::new(());
        self.network.lines[line].held = Rc::downgrade(&held);
        Open { line, _held: held }
    }
}

impl Net for StageNet {
    type Open = Open;
    type Stream = Stream;
    type Bound = Address;
    type Listener = Id;
    type Source = OwnedFd;

    fn now(&self) -> Time {
        self.network.now
    }

    fn connect(&mut self, id: Id, address: &Address) -> io::Result<Stream> {
        if self.network.luck.strikes(Fault::NoRegistration) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Stream(self.network.call(id, address)))
    }

    fn resolve(&mut self, id: Id, host: &str, port: u16) {
        self.network.look_up(id, &format!("{host}:{port}"));
    }

    fn refuse(&mut self, stream: Open, words: &[u8]) {
        let this = &mut self.network.lines[stream.line];
        if this.fault.is_none() {
            this.outbound.extend(words);
        }
        self.network.close(stream.line, false);
    }

    fn register(&mut self, id: Id, stream: Open) -> io::Result<Stream> {
        if self.network.luck.strikes(Fault::NoRegistration) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.network.begin(stream.line, id);
        Ok(Stream(stream.line))
    }

    fn wire<'a>(&'a mut self, _: Id, stream: &'a mut Stream) -> impl Transport + 'a {
        Wire::new(&mut self.network, stream.0)
    }

    fn on_writable(&mut self, _: &mut Stream) {}

    fn arm(&mut self, stream: &mut Stream, wait: &Wait) -> News {
        let line = &mut self.network.lines[stream.0];
        line.wait = *wait;
        line.is_honest = false;
        News::default()
    }

    fn on_alarm(&mut self, stream: &mut Stream) {
        self.network.lines[stream.0].is_honest = true;
    }

    fn connecting(&self, stream: &Stream) -> Connecting {
        self.network.lines[stream.0].connecting
    }

    fn take_error(&self, stream: &Stream) -> TransportError {
        self.network.lines[stream.0].fault.unwrap_or(TransportError::Other(0))
    }

    fn peer_address(&self, stream: &Stream) -> Option<Address> {
        Some(self.network.lines[stream.0].address.clone())
    }

    fn release(&mut self, stream: Stream, how: Release) {
        let resets = match how {
            Release::Close => false,
            Release::Reset => true,
        };
        self.network.close(stream.0, resets);
    }

    fn close_file(&mut self, _: Id, _: FileId) {}

    fn open_files(&self) -> usize {
        0
    }

    fn listen(&mut self, id: Id, address: &Address) -> io::Result<Id> {
        self.network.open_door(id, address.clone())
    }

    fn listen_on(&mut self, id: Id, socket: Address) -> io::Result<Id> {
        self.network.open_door(id, socket)
    }

    fn accept(&mut self, listener: &mut Id) -> io::Result<(Open, Address)> {
        let door = self.network.doors.iter().position(|door| door.id == *listener);
        let line = self.network.accept(door.expect("it is removed when it is released"))?;
        let address = self.network.lines[line].address.clone();
        Ok((self.open(line), address))
    }

    fn local_address(&self, listener: &Id) -> Option<Address> {
        let door = self.network.doors.iter().find(|door| door.id == *listener)?;
        Some(door.address.clone())
    }

    fn release_listener(&mut self, listener: Id) {
        self.network.close_door(listener);
    }

    fn watch(&mut self, _: Id, _: OwnedFd, _: Interest) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_interest(&mut self, _: &mut OwnedFd, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_always_ready(&self, _: &OwnedFd) -> bool {
        false
    }

    fn unwatch(&mut self, source: OwnedFd) -> OwnedFd {
        source
    }
}
