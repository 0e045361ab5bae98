//! A net whose peers do as they are told, and whose time is told too.

use drywire_core::{Blocked, FileError, FileId, OpenFile, Opening, SendFileError, Time, Transport, TransportError};
use drywire_server::{Address, Connecting, Id, Interest, Net, News, Queue, Release};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// The peers that wait to be accepted, and what became of those who were not.
#[derive(Default)]
pub(crate) struct Crowd {
    pub(crate) now: Time,
    pub(crate) backlog: VecDeque<(Peer, Address)>,
    pub(crate) refused: Vec<Vec<u8>>,
    /// The poller takes nobody.
    pub(crate) is_full: bool,
    /// Nobody is accepted, for want of this.
    pub(crate) shortage: Option<Errno>,
    /// How often the listener was asked.
    pub(crate) asked: usize,
    /// Others hold the listening socket, too.
    pub(crate) is_shared: bool,
    /// The listener is closed.
    pub(crate) is_released: bool,
}

/// One peer, shared with the test.
#[derive(Clone)]
pub(crate) struct Peer(Rc<RefCell<State>>);

pub(crate) struct State {
    pub(crate) says: Says,
    /// It reads what it is sent.
    pub(crate) takes: bool,
    pub(crate) taken: Vec<u8>,
    pub(crate) is_half_closed: bool,
    pub(crate) ended: Option<Release>,
}

/// What a peer has to say.
pub(crate) enum Says {
    Bytes(VecDeque<u8>),
    /// These again and again.
    Endlessly(&'static [u8]),
    Goodbye,
}

impl Peer {
    /// Somebody who reads, and says what it is told to say.
    pub(crate) fn honest() -> Peer {
        Peer::new(Says::Bytes(VecDeque::new()), true)
    }

    pub(crate) fn new(says: Says, takes: bool) -> Peer {
        Peer(Rc::new(RefCell::new(State { says, takes, taken: Vec::new(), is_half_closed: false, ended: None })))
    }

    pub(crate) fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }

    pub(crate) fn say(&self, bytes: &[u8]) {
        match &mut self.state().says {
            Says::Bytes(queue) => queue.extend(bytes),
            Says::Endlessly(_) | Says::Goodbye => panic!("it has said all it has to say"),
        }
    }
}

impl Transport for Peer {
    fn short_read_exhausts(&self) -> bool {
        false
    }
    fn try_read(&mut self, slot: &mut [u8]) -> Result<usize, Blocked> {
        match &mut self.state().says {
            Says::Bytes(queue) if queue.is_empty() => Err(Blocked::WouldBlock),
            Says::Bytes(queue) => {
                let n = slot.len().min(queue.len());
                queue.drain(..n).zip(slot).for_each(|(byte, place)| *place = byte);
                Ok(n)
            }
            Says::Endlessly(bytes) => {
                bytes.iter().cycle().zip(&mut *slot).for_each(|(byte, place)| *place = *byte);
                Ok(slot.len())
            }
            Says::Goodbye => Ok(0),
        }
    }
    fn try_write_vectored(&mut self, slices: &[&[u8]], _: bool) -> Result<usize, Blocked> {
        let state = &mut *self.state();
        if !state.takes {
            return Err(Blocked::WouldBlock);
        }
        slices.iter().for_each(|slice| state.taken.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
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
    fn half_close(&mut self) {
        self.state().is_half_closed = true;
    }
}

impl Net for Crowd {
    type Open = Peer;
    type Stream = Peer;
    type Bound = ();
    type Listener = ();
    type Source = OwnedFd;

    fn now(&self) -> Time {
        self.now
    }
    fn connect(&mut self, _: Id, _: &Address) -> io::Result<Peer> {
        Ok(Peer::honest())
    }
    fn refuse(&mut self, peer: Peer, words: &[u8]) {
        peer.state().ended = Some(Release::Close);
        self.refused.push(words.to_vec());
    }
    fn resolve(&mut self, _: Id, _: &str, _: u16) {
        unreachable!("nobody is looked up")
    }
    fn register(&mut self, _: Id, peer: Peer) -> io::Result<Peer> {
        if self.is_full { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(peer) }
    }
    fn wire<'a>(&'a mut self, _: Id, peer: &'a mut Peer) -> impl Transport + 'a {
        peer.clone()
    }
    fn on_writable(&mut self, _: &mut Peer) {}
    fn connecting(&self, _: &Peer) -> Connecting {
        Connecting::Stands
    }
    fn take_error(&self, _: &Peer) -> TransportError {
        unreachable!("nothing fails to connect")
    }
    fn peer_address(&self, _: &Peer) -> Option<Address> {
        None
    }
    fn release(&mut self, peer: Peer, how: Release) {
        peer.state().ended = Some(how);
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
    fn accept(&mut self, (): &mut ()) -> io::Result<(Peer, Address)> {
        self.asked += 1;
        if let Some(shortage) = self.shortage {
            return Err(shortage.into());
        }
        self.backlog.pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
    fn local_address(&self, (): &()) -> Option<Address> {
        None
    }
    fn close_queue(&mut self, (): &mut ()) -> Queue {
        if self.is_shared { Queue::Shared } else { Queue::Ours }
    }
    fn release_listener(&mut self, (): ()) {
        self.is_released = true;
    }
    fn watch(&mut self, _: Id, fd: OwnedFd, _: Interest) -> io::Result<OwnedFd> {
        Ok(fd)
    }
    fn set_interest(&mut self, _: &mut OwnedFd, _: Interest) -> io::Result<()> {
        Ok(())
    }
    fn is_always_ready(&self, _: &OwnedFd) -> bool {
        false
    }
    fn look(&mut self, _: &mut OwnedFd, news: News) -> News {
        news
    }
    fn unwatch(&mut self, source: OwnedFd) -> OwnedFd {
        source
    }
}
