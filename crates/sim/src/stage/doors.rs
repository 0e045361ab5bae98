//! Who comes and goes: listeners, connections of the worker's own, streams.

use super::network::{Coming, Network};
use super::peer::{Answer, Life, Line, Seen};
use super::setup::Fault;
use super::timeline::What;
use drywire_core::TransportError;
use drywire_server::{Address, Connecting, Id, News};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A listener, and who waits there.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) id: Id,
    pub(super) address: Address,
    pub(super) backlog: VecDeque<usize>,
    pub(super) has_news: bool,
    /// It was told that nobody waits, and waits for an edge.
    pub(super) is_blocked: bool,
}

impl Network {
    /// A peer sets out for this listener.
    pub(super) fn set_out(&mut self, line: usize, listener: Id) {
        let at = self.arrival(line);
        self.add(at, Coming::Arrives(line, listener));
        self.maybe_reset(line);
    }

    pub(super) fn arrive(&mut self, line: usize, listener: Id) {
        self.event(What::Comes, line, 0);
        match self.doors.iter_mut().find(|door| door.id == listener) {
            Some(door) => {
                door.backlog.push_back(line);
                door.has_news = true;
            }
            None => self.close(line, true),
        }
    }

    /// The next who waits at a listener.
    pub(super) fn accept(&mut self, door: usize) -> io::Result<usize> {
        self.doors[door].is_blocked = self.doors[door].backlog.is_empty();
        if self.doors[door].is_blocked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.luck.strikes(Fault::AcceptError) {
            use io::ErrorKind::{ConnectionAborted, OutOfMemory};
            self.note(What::AcceptFails, self.doors[door].id);
            return Err(self.luck.random.pick(&[ConnectionAborted, OutOfMemory]).into());
        }
        let line = self.doors[door].backlog.pop_front().expect("looked at above");
        self.lines[line].life = Life::Loose;
        self.event(What::Accepted, line, 0);
        Ok(line)
    }

    pub(super) fn open_door(&mut self, id: Id, address: Address) -> io::Result<Id> {
        let address = match address {
            Address::Tcp(address) if address.port() == 0 => {
                self.ports += 1;
                Address::Tcp(SocketAddr::new(address.ip(), 49_151 + self.ports))
            }
            address @ (Address::Tcp(_) | Address::Unix(_) | Address::Pair) => address,
        };
        if self.doors.iter().any(|door| door.address == address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.note(What::Listens, id);
        self.doors.push(Door { id, address, backlog: VecDeque::new(), has_news: false, is_blocked: true });
        Ok(id)
    }

    pub(super) fn close_door(&mut self, id: Id) {
        self.note(What::StopsListening, id);
        if let Some(at) = self.doors.iter().position(|door| door.id == id) {
            for line in self.doors.remove(at).backlog {
                self.close(line, true);
            }
        }
    }

    /// A stream is registered.
    pub(super) fn begin(&mut self, line: usize, id: Id) {
        self.event(What::Registered, line, id.to_token() as u64);
        let this = &mut self.lines[line];
        this.life = Life::Open;
        this.id = Some(id);
        if this.connecting == Connecting::Pending {
            return;
        }
        // What is there when a poller is told of a stream is news.
        let failed = this.fault.is_some();
        let hang_up = failed || this.has_hung_up();
        let news = News { read: this.is_readable(), write: true, hang_up, urgent: false, failed };
        self.edge(line, news);
    }

    /// What somebody does who is connected to.
    pub(super) fn answer_at(&mut self, target: String, answer: Answer) {
        let made_up = self.answers.get(&target).and_then(|(_, address)| *address);
        let address = made_up.or_else(|| {
            let is_name = target.parse::<Address>().is_err();
            let port = target.rsplit_once(':').and_then(|(_, port)| port.parse().ok())?;
            // 198.18.0.0/15 is for networks that are tried out (RFC 2544).
            let host = u16::try_from(self.answers.len() + 1).expect("fewer targets than that");
            let [high, low] = host.to_be_bytes();
            is_name.then_some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, high, low)), port))
        });
        if let Some(address) = address {
            self.answers.insert(address.to_string(), (answer, None));
        }
        self.answers.insert(target, (answer, address));
    }

    /// A connection of ours sets out.
    pub(super) fn call(&mut self, id: Id, address: &Address) -> usize {
        let line = self.lines.len();
        let mut this = Line::new(address.clone(), Life::Open);
        this.connecting = Connecting::Pending;
        self.lines.push(this);
        self.begin(line, id);
        let answer = self.answers.get(&address.to_string()).map_or(Answer::Refuses, |(answer, _)| *answer);
        let at = self.arrival(line);
        match answer {
            Answer::Answers => self.add(at, Coming::Established(line, true)),
            Answer::Refuses => self.add(at, Coming::Established(line, false)),
            Answer::Silent => {}
        }
        line
    }

    pub(super) fn establish(&mut self, line: usize, stands: bool) {
        self.event(if stands { What::Stands } else { What::NeverStands }, line, 0);
        let this = &mut self.lines[line];
        if !stands {
            this.connecting = Connecting::Failed;
            return self.reset(line, TransportError::Refused);
        }
        this.connecting = Connecting::Stands;
        if this.life == Life::Gone {
            this.seen = Some(Seen::Reset);
            return;
        }
        let news = News { read: this.is_readable(), write: true, ..News::default() };
        self.edge(line, news);
        self.maybe_reset(line);
    }

    /// A name is looked up.
    pub(super) fn look_up(&mut self, id: Id, name: &str) {
        let address = self.answers.get(name).and_then(|(_, address)| *address);
        self.note(What::LookedUp, id);
        let at = self.soon();
        self.add(at, Coming::Resolved(id, address));
    }

    /// Streams that were dropped without being registered are closed.
    pub(super) fn sweep(&mut self) {
        for line in 0..self.lines.len() {
            if self.lines[line].life == Life::Loose && self.lines[line].held.strong_count() == 0 {
                self.close(line, false);
            }
        }
    }
}
