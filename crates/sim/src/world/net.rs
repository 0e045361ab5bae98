//! The world as a worker's net. What a poller may say, and when, is in `state`; what a
//! stream does, in `wire`.

use super::agenda::Coming;
use super::house::{ADDRESSES, REFUSAL};
use super::line::Life;
use super::plan::{Poller, Way};
use super::state::Shared;
use super::swarm::Fault;
use super::violation::Invariant;
use super::wire::Wire;
use super::{Sabotage, state::State};
use drywire_core::{FileId, Time, Transport, TransportError, Wait};
use drywire_server::{Address, Connecting, Id, Interest, Net, News, Release};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The network, the disk and the clock of one world.
#[derive(Debug)]
pub(crate) struct SimNet {
    pub(crate) state: Shared,
}

/// The number of a connection, before and after it is registered.
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) usize);

/// The address of the peer with this number. Some share their host.
pub(crate) fn address_of(line: usize) -> Address {
    Address::Tcp(socket_address_of(line))
}

pub(crate) fn socket_address_of(line: usize) -> SocketAddr {
    let host = (line % ADDRESSES) as u8 + 1;
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), line as u16 + 1))
}

/// The number of the peer with this address.
pub(crate) fn line_of(address: &Address) -> usize {
    match address {
        Address::Tcp(address) => usize::from(address.port()) - 1,
        Address::Unix(_) | Address::Pair => unreachable!("peers have ports"),
    }
}

impl Net for SimNet {
    type Open = Stream;
    type Stream = Stream;
    type Bound = ();
    type Listener = Id;
    type Source = OwnedFd;

    fn now(&self) -> Time {
        self.state.borrow().now
    }

    fn connect(&mut self, id: Id, address: &Address) -> io::Result<Stream> {
        let line = line_of(address);
        self.register(id, Stream(line))
    }

    fn resolve(&mut self, id: Id, host: &str, port: u16) {
        let line = usize::from(port) - 1;
        let state = &mut *self.state.borrow_mut();
        state.event(16, line, 0, || format!("the address of {host} is asked for"));
        state.lines[line].id = Some(id);
        if state.strikes(Fault::SilentName, line) {
            return;
        }
        let is_known = !state.strikes(Fault::NoName, line);
        let late = if state.strikes(Fault::LateName, line) { 30_000 } else { 100 };
        let micros = state.lines[line].script.random.between(1, late) as u64;
        let at = state.now + Duration::from_micros(micros);
        state.agenda.add(at, Coming::Resolved(line, is_known));
    }

    fn refuse(&mut self, stream: Stream, words: &[u8]) {
        let state = &mut *self.state.borrow_mut();
        state.event(15, stream.0, 0, || "refused".into());
        // Behind a veil nobody could read them.
        let due = if state.plan.is_veiled { "" } else { REFUSAL };
        if words != due.as_bytes() {
            state.violate(Invariant::Output, stream.0, "it is refused in other words than those of the house");
        }
        state.check_refused(stream.0);
        state.end(stream.0);
    }

    fn register(&mut self, id: Id, stream: Stream) -> io::Result<Stream> {
        let line = stream.0;
        let state = &mut *self.state.borrow_mut();
        if state.strikes(Fault::NoRegistration, line) {
            state.event(10, line, 0, || "the poller does not take it".into());
            state.lines[line].record.borrow_mut().facts.refused = true;
            state.end(line);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        state.event(10, line, id.to_token() as u64, || format!("registered as {id}"));
        state.lines[line].has_place = true;
        state.begin(line, id);
        if state.lines[line].script.way == Way::Added {
            state.plan_send(line);
        }
        Ok(stream)
    }

    fn wire<'a>(&'a mut self, id: Id, stream: &'a mut Stream) -> impl Transport + 'a {
        let line = stream.0;
        let state = &mut *self.state.borrow_mut();
        if state.lines[line].id != Some(id) {
            let known = state.lines[line].id;
            state.violate(Invariant::Report, line, format!("a turn under the id {id}, it is {known:?}"));
        }
        if !state.lines[line].is_open() {
            state.violate(Invariant::Report, line, "a turn behind the end");
        }
        let now = state.now;
        state.lines[line].record.borrow_mut().on_turn(now);
        Wire::new(&self.state, line)
    }

    fn on_writable(&mut self, stream: &mut Stream) {
        let state = &mut *self.state.borrow_mut();
        if state.lines[stream.0].ends_later && state.lines[stream.0].connecting == Connecting::Stands {
            state.lines[stream.0].ends_later = false;
            state.announce_end(stream.0);
        }
    }

    fn arm(&mut self, stream: &mut Stream, wait: &Wait) -> News {
        let line = stream.0;
        let state = &mut *self.state.borrow_mut();
        let mut deadline = wait.deadline;
        if state.sabotage == Some(Sabotage::EarlyDeadline) {
            deadline = Some(state.now);
        }
        if let Some(deadline) = deadline
            && deadline <= state.now
        {
            let now = state.now;
            state.violate(Invariant::Progress, line, format!("it waits until {deadline:?}, which is over at {now:?}"));
        }
        state.lines[line].wait_deadline = deadline;
        if state.sabotage == Some(Sabotage::Spins) {
            return News { write: true, ..News::default() };
        }
        if state.plan.poller == Poller::Asked {
            return state.ask(line, wait.read, wait.write);
        }
        News::default()
    }

    fn connecting(&self, stream: &Stream) -> Connecting {
        self.state.borrow().lines[stream.0].connecting
    }

    fn take_error(&self, stream: &Stream) -> TransportError {
        self.state.borrow().lines[stream.0].fault.unwrap_or(TransportError::Other(0))
    }

    fn peer_address(&self, stream: &Stream) -> Option<Address> {
        Some(address_of(stream.0))
    }

    fn release(&mut self, stream: Stream, how: Release) {
        let line = stream.0;
        let state = &mut *self.state.borrow_mut();
        state.event(11, line, how as u64, || format!("our side is closed ({how:?})"));
        if state.lines[line].life != Life::Open {
            state.violate(Invariant::Baseline, line, "its stream was closed twice");
        }
        state.lines[line].released = Some(how);
        state.end(line);
    }

    fn close_file(&mut self, id: Id, file: FileId) {
        let state = &mut *self.state.borrow_mut();
        let line = state.lines.iter().position(|line| line.id == Some(id));
        let Some(line) = line else {
            return state.violate(Invariant::Baseline, None, format!("{file:?} of {id}, which never was"));
        };
        close_file(state, line, file);
    }

    fn open_files(&self) -> usize {
        self.state.borrow().disk.open.len()
    }

    fn listen(&mut self, id: Id, _: &Address) -> io::Result<Id> {
        self.listen_on(id, ())
    }

    fn listen_on(&mut self, id: Id, (): ()) -> io::Result<Id> {
        let state = &mut *self.state.borrow_mut();
        state.listener = Some(id);
        state.listeners += 1;
        Ok(id)
    }

    fn accept(&mut self, _: &mut Id) -> io::Result<(Stream, Address)> {
        let state = &mut *self.state.borrow_mut();
        state.call(usize::MAX);
        if state.backlog.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let spared = state.backlog.front().copied() == state.plan.victim;
        if !spared && state.plan.swarm.strikes_all(Fault::NoDescriptors) {
            state.event(12, usize::MAX, 0, || "accept: no descriptor left".into());
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if !spared && state.plan.swarm.strikes_all(Fault::LostInBacklog) {
            let line = state.backlog.pop_front().expect("looked at above");
            state.event(12, line, 1, || "accept: that one is gone already".into());
            state.end(line);
            state.progress += 1;
            let random = &mut state.random;
            let kind = random.pick(&[io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted]);
            return Err(kind.into());
        }
        let line = state.backlog.pop_front().expect("looked at above");
        state.progress += 1;
        state.lines[line].life = Life::Accepted;
        state.event(12, line, 2, || "accepted".into());
        Ok((Stream(line), address_of(line)))
    }

    fn local_address(&self, _: &Id) -> Option<Address> {
        None
    }

    fn release_listener(&mut self, _: Id) {
        let state = &mut *self.state.borrow_mut();
        state.event(13, usize::MAX, 0, || "the listener is closed".into());
        if state.listeners == 0 {
            state.violate(Invariant::Baseline, None, "the listener was closed twice");
        }
        state.listeners = state.listeners.saturating_sub(1);
        state.listener = None;
        if state.now < state.accepts_until
            && let Some(line) = state.backlog.front().copied()
        {
            state.violate(Invariant::Report, line, "it waits to be accepted, and the listener is closed");
        }
        for line in std::mem::take(&mut state.backlog) {
            state.lines[line].life = Life::Gone;
        }
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

    fn unwatch(&mut self, source: OwnedFd) -> OwnedFd {
        source
    }
}

/// Forgets a file, which must be there.
pub(crate) fn close_file(state: &mut State, line: usize, file: FileId) {
    state.event(14, line, u64::from(file.as_u32()), || format!("{file:?} is closed"));
    match state.disk.position(line, file) {
        Some(at) => drop(state.disk.open.remove(at)),
        // What could not be opened, and whose connection is gone, is closed all the same.
        None if state.lines[line].life != Life::Open => {}
        None => state.violate(Invariant::Baseline, line, format!("{file:?} was closed twice, or never open")),
    }
}
