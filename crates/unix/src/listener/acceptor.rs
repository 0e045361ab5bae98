//! How connections that wait come to the worker they are for.
//!
//! ```text
//!   own      the worker accepts on a socket that nobody else has
//!   deals    the worker accepts for all, and deals out in turns ──┐ a lane for each other
//!   dealt    the worker takes what comes on its lane           ◀──┘ worker, a Unix socket pair
//! ```
//!
//! So a connection wakes the worker that deals and the one it is for, and no other: a socket that
//! stood in the poller of each would wake them all (FAULTS 23; the pollers here do not offer
//! `EPOLLEXCLUSIVE`). Streams travel as descriptors through the kernel (`SCM_RIGHTS`), so a lane is a
//! descriptor like any other to every driver, with a bound of its own, and without a lock.
//!
//! A worker that stops closes its queue first and accepts what is left in it. A lane and a Unix
//! socket close without a gap: nothing gets in any more, and what is in stays. A TCP socket has no
//! such call: a connection that comes between the last `accept` and the close is reset, and so is
//! one whose handshake is not finished then.

use super::SocketFile;
use crate::socket::{address, peer_address};
use drywire_server::{Address, Queue};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketFlags, SocketType, acceptfrom_with, recvmsg, sendmsg, shutdown, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who accepts on a listening socket, and what has to be kept as long as it.
#[derive(Debug)]
pub struct Acceptor {
    way: Way,
    file: Option<SocketFile>,
    /// Others hold the same socket.
    is_shared: bool,
}

#[derive(Debug)]
enum Way {
    Own,
    Deals(Deal),
    Dealt {
        /// Where the socket listens that another worker has.
        address: Option<Address>,
        /// The other end of our lane: it does not end when the worker that deals does.
        lane: OwnedFd,
    },
}

/// Whose turn it is. The one after the last lane is our own.
#[derive(Debug)]
struct Deal {
    lanes: Vec<OwnedFd>,
    turn: usize,
}

impl Acceptor {
    pub(super) fn own(file: Option<SocketFile>) -> Acceptor {
        Acceptor { way: Way::Own, file, is_shared: false }
    }

    /// The same, on a socket that others hold too: what waits there is not lost when we go.
    pub(super) fn shared(self) -> Acceptor {
        Acceptor { is_shared: true, ..self }
    }

    /// One that deals out to `others`, and those: their descriptors, and who accepts there.
    pub(super) fn dealing(
        self,
        listener: BorrowedFd<'_>,
        others: usize,
    ) -> io::Result<(Acceptor, Vec<(OwnedFd, Acceptor)>)> {
        let address = super::local_address(listener);
        let (mut lanes, mut dealt) = (Vec::new(), Vec::new());
        for _ in 0..others {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (lane, end) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let way = Way::Dealt { address: address.clone(), lane: lane.try_clone()? };
            // What is in a lane was accepted, so it is ours.
            dealt.push((end, Acceptor { way, ..Acceptor::own(None) }));
            lanes.push(lane);
        }
        Ok((Acceptor { way: Way::Deals(Deal { lanes, turn: 0 }), ..self }, dealt))
    }

    /// Takes one connection that waits, non-blocking.
    ///
    /// # Errors
    /// The system's; would-block is one.
    pub fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
        match &mut self.way {
            Way::Own => accept(listener),
            Way::Deals(deal) => deal.accept(listener),
            Way::Dealt { .. } => receive(listener),
        }
    }

    /// The worker stops: whose the connections are that wait here. Where they are ours as few as
    /// possible come from now on.
    pub fn close_queue(&mut self) -> Queue {
        match &self.way {
            Way::Own | Way::Deals(_) if self.is_shared => return Queue::Shared,
            // Connections find a Unix socket by its file.
            Way::Own | Way::Deals(_) => self.file = None,
            // From here on the worker that deals passes us over.
            Way::Dealt { lane, .. } => {
                let _ = shutdown(lane, Shutdown::Write);
            }
        }
        Queue::Ours
    }

    /// The address that is listened on.
    #[must_use]
    pub fn local_address(&self, listener: BorrowedFd<'_>) -> Option<Address> {
        match &self.way {
            Way::Own | Way::Deals(_) => super::local_address(listener),
            Way::Dealt { address, .. } => address.clone(),
        }
    }

    /// Whether connections are accepted on the descriptor itself.
    pub(super) fn has_socket(&self) -> bool {
        match self.way {
            Way::Own | Way::Deals(_) => true,
            Way::Dealt { .. } => false,
        }
    }
}

impl Deal {
    /// Accepts and deals out until one is ours.
    ///
    /// Bound: as many calls as there are workers.
    fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
        loop {
            let (stream, peer) = accept(listener)?;
            if !self.deal(stream.as_fd()) {
                return Ok((stream, peer));
            }
        }
    }

    /// Gives a stream to the next worker that takes it; false when that is us. One that is busy
    /// for long, or gone, takes none.
    fn deal(&mut self, stream: BorrowedFd<'_>) -> bool {
        loop {
            let turn = self.turn;
            self.turn = (turn + 1) % (self.lanes.len() + 1);
            match self.lanes.get(turn) {
                None => return false,
                Some(lane) if send(lane.as_fd(), stream).is_ok() => return true,
                Some(_) => {}
            }
        }
    }
}

fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, peer) = retry_on_intr(|| acceptfrom_with(listener, flags))?;
    Ok((fd, peer.and_then(address).unwrap_or(Address::Unix(None))))
}

/// A byte, and the stream with it.
fn send(lane: BorrowedFd<'_>, stream: BorrowedFd<'_>) -> Result<(), Errno> {
    let streams = [stream];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(&streams));
    debug_assert!(fits, "there is space for one");
    retry_on_intr(|| sendmsg(lane, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)).map(drop)
}

fn receive(lane: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let received = retry_on_intr(|| recvmsg(lane, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    if received.bytes == 0 {
        // Our lane is closed, and empty.
        return Err(Errno::AGAIN.into());
    }
    let stream = control.drain().find_map(|message| {
        if let RecvAncillaryMessage::ScmRights(mut streams) = message { streams.next() } else { None }
    });
    // The byte came without its stream: there was no descriptor left for it.
    let stream = stream.ok_or(Errno::MFILE)?;
    // It went before it was ours: that connection's problem alone (FAULTS 8).
    let peer = peer_address(stream.as_fd()).ok_or(Errno::CONNABORTED)?;
    Ok((stream, peer))
}

#[cfg(test)]
mod tests;
