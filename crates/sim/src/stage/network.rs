//! What happens in a stage's network: what is under way, what arrives, who is told.

use super::peer::{Answer, Life, Line, Ours, Reads, Seen, Theirs};
use super::setup::{Fault, Luck, Setup};
use super::timeline::{Timeline, What};
use drywire_core::{Time, TransportError};
use drywire_server::{Address, Connecting, Id, News};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The longest that anything is late, in nanoseconds.
const LATE_NANOS: usize = 3_000_000;

/// The longest from a would-block without reason to its edge, in nanoseconds.
const AGAIN_NANOS: usize = 300_000;

/// Pieces that what is said in one call may arrive in.
const PIECES: usize = 8;

/// Something under way, to the connection with this number.
#[derive(Clone, Copy, Debug)]
enum Coming {
    /// A peer comes to this listener.
    Arrives(usize, Id),
    /// A connection of ours stands, or does not.
    Established(usize, bool),
    Lands(usize, usize),
    Ends(usize),
    Resets(usize),
    /// The peer looks what there is for it.
    Looks(usize),
    /// News that is late.
    News,
    Resolved(Id, Option<SocketAddr>),
}

/// A listener, and who waits there.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) id: Id,
    pub(super) address: Address,
    pub(super) backlog: VecDeque<usize>,
    has_news: bool,
    /// It was told that nobody waits, and waits for an edge.
    pub(super) is_blocked: bool,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) seed: u64,
    pub(super) luck: Luck,
    pub(super) now: Time,
    /// What comes at the same time comes in the order of its making.
    agenda: BTreeMap<(Time, u64), Coming>,
    made: u64,
    pub(super) lines: Vec<Line>,
    pub(super) doors: Vec<Door>,
    ports: u16,
    /// By what a target looks like; and the address that was made up for a name.
    answers: BTreeMap<String, (Answer, Option<SocketAddr>)>,
    /// Names that were looked up.
    pub(super) resolved: Vec<(Id, io::Result<Vec<SocketAddr>>)>,
    gone: Option<Id>,
    pub(super) timeline: Timeline,
}

impl Network {
    pub(super) fn new(seed: u64, setup: Setup) -> Network {
        assert!(setup.room_bytes > 0, "a network without room moves nothing");
        Network {
            seed,
            luck: Luck::new(seed, setup),
            now: Time::ZERO,
            agenda: BTreeMap::new(),
            made: 0,
            lines: Vec::new(),
            doors: Vec::new(),
            ports: 0,
            answers: BTreeMap::new(),
            resolved: Vec::new(),
            gone: None,
            timeline: Timeline::new(seed),
        }
    }

    /// Something happened to a connection.
    pub(super) fn event(&mut self, what: What, line: usize, number: u64) {
        self.timeline.add(self.now, Some(line), what, number);
    }

    /// Something happened to what has this id.
    fn note(&mut self, what: What, id: Id) {
        let line = self.lines.iter().position(|line| line.is_open() && line.id == Some(id));
        self.timeline.add(self.now, line, what, id.to_token() as u64);
    }

    // Time.

    fn add(&mut self, at: Time, coming: Coming) {
        self.made += 1;
        self.agenda.insert((at, self.made), coming);
    }

    /// Now, or up to so much later when that fault strikes.
    fn soon(&mut self) -> Time {
        if self.luck.strikes(Fault::Late) { self.after(LATE_NANOS) } else { self.now }
    }

    fn after(&mut self, most_nanos: usize) -> Time {
        self.now + Duration::from_nanos(self.luck.random.between(1, most_nanos) as u64)
    }

    pub(super) fn next_time(&self) -> Option<Time> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Everything that is due happens.
    pub(super) fn come(&mut self) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Coming::Arrives(line, listener) => self.arrive(line, listener),
                Coming::Established(line, stands) => self.establish(line, stands),
                Coming::Lands(line, n) => {
                    // What a reset has taken away does not land.
                    let this = &mut self.lines[line];
                    this.landed = (this.landed + n).min(this.inbound.len());
                    self.take_in(line);
                }
                Coming::Ends(line) => self.end_theirs(line),
                Coming::Resets(line) => self.reset(line, TransportError::Reset),
                Coming::Looks(line) => self.look(line),
                Coming::News => {}
                Coming::Resolved(id, address) => {
                    let answer = address.map(|address| vec![address]);
                    self.resolved.push((id, answer.ok_or_else(|| io::ErrorKind::NotFound.into())));
                }
            }
        }
    }

    // News.

    /// Readiness changed.
    pub(super) fn edge(&mut self, line: usize, news: News) {
        let at = self.soon();
        self.tell(line, news, at);
    }

    /// Readiness that was there all the time is told a little later.
    pub(super) fn tell_again(&mut self, line: usize, news: News) {
        let at = self.after(AGAIN_NANOS);
        self.tell(line, news, at);
    }

    fn tell(&mut self, line: usize, news: News, at: Time) {
        let this = &mut self.lines[line];
        if !this.is_open() || news == News::default() || mem::take(&mut this.loses_news) {
            return;
        }
        if !this.has_news() {
            this.due = at;
        }
        this.pending.read |= news.read;
        this.pending.write |= news.write;
        this.pending.hang_up |= news.hang_up;
        this.pending.failed |= news.failed;
        let due = this.due;
        if due > self.now {
            self.add(due, Coming::News);
        }
    }

    /// News for one round, at most `most`.
    pub(super) fn take_news(&mut self, most: usize) -> Vec<(Id, News)> {
        const READABLE: News = News { read: true, write: false, hang_up: false, failed: false };
        let doors = self.doors.iter().filter(|door| door.has_news).map(|door| (door.id, READABLE));
        let due = |line: &&Line| line.has_news() && line.due <= self.now;
        let lines = self.lines.iter().filter(due).filter_map(|line| Some((line.id?, line.pending)));
        let mut news: Vec<(Id, News)> = doors.chain(lines).collect();
        if news.len() > 1 && self.luck.setup.shuffles {
            let random = &mut self.luck.random;
            for at in (1..news.len()).rev() {
                let with = random.between(0, at);
                news.swap(at, with);
            }
            let heard = random.between(1, news.len());
            news.truncate(heard);
        }
        news.truncate(most);
        for (id, _) in &news {
            if let Some(door) = self.doors.iter_mut().find(|door| door.id == *id) {
                door.has_news = false;
            }
            if let Some(line) = self.lines.iter_mut().find(|line| line.is_open() && line.id == Some(*id)) {
                line.pending = News::default();
            }
        }
        for (id, _) in &news {
            self.note(What::Told, *id);
        }
        news
    }

    /// News that means nothing, for a round that is made anyway.
    pub(super) fn spurious_news(&mut self) -> Vec<(Id, News)> {
        let mut news = Vec::new();
        if self.luck.strikes(Fault::Spurious) {
            let open: Vec<Id> = self.lines.iter().filter(|line| line.is_open()).filter_map(|line| line.id).collect();
            if !open.is_empty() {
                news.push((self.luck.random.pick(&open), News { read: true, write: true, ..News::default() }));
            }
            let all = News { read: true, write: true, hang_up: true, failed: true };
            news.extend(self.gone.map(|id| (id, all)));
            for (id, _) in &news {
                self.note(What::Spurious, *id);
            }
        }
        news
    }

    // Towards us.

    /// What has landed goes into our socket as far as there is room.
    pub(super) fn take_in(&mut self, line: usize) {
        let room_bytes = self.luck.setup.room_bytes;
        let this = &mut self.lines[line];
        let arrived = this.landed.min(room_bytes);
        let hung_up_before = this.has_hung_up();
        if arrived == this.arrived {
            return;
        }
        let n = arrived.saturating_sub(this.arrived);
        this.arrived = arrived;
        let hang_up = this.has_hung_up() && !hung_up_before;
        if this.life == Life::Gone {
            return self.answer_with_reset(line);
        }
        self.event(What::Arrived, line, n as u64);
        self.edge(line, News { read: n > 0, hang_up, ..News::default() });
    }

    fn end_theirs(&mut self, line: usize) {
        let this = &mut self.lines[line];
        if this.fault.is_some() {
            return;
        }
        this.theirs = Theirs::Ended;
        let hang_up = this.has_hung_up();
        self.event(What::TheirEnd, line, 0);
        if hang_up {
            self.edge(line, News { read: true, hang_up, ..News::default() });
        }
    }

    fn reset(&mut self, line: usize, error: TransportError) {
        let loses = self.luck.setup.resets && self.luck.random.one_in(2);
        let this = &mut self.lines[line];
        if this.fault.is_some() {
            return;
        }
        this.arrived = if loses { 0 } else { this.arrived };
        this.landed = this.arrived;
        this.inbound.truncate(this.arrived);
        this.outbound.clear();
        this.seen.get_or_insert(Seen::Reset);
        let left = this.landed;
        this.fault = Some(error);
        self.event(What::TheirReset, line, left as u64);
        self.edge(line, News { read: true, write: true, hang_up: true, failed: true });
    }

    /// What comes to a socket that is closed is answered so.
    fn answer_with_reset(&mut self, line: usize) {
        let this = &mut self.lines[line];
        this.inbound.clear();
        (this.landed, this.arrived) = (0, 0);
        if this.ours == Ours::Ended {
            this.ours = Ours::ResetBehind;
        }
        self.go_out(line);
    }

    /// The peer says this.
    pub(super) fn say(&mut self, line: usize, bytes: &[u8]) {
        self.event(What::Says, line, bytes.len() as u64);
        if bytes.is_empty() || self.lines[line].fault.is_some() {
            return;
        }
        self.lines[line].inbound.extend(bytes);
        let pieces = if self.luck.strikes(Fault::Late) { self.luck.random.between(1, PIECES) } else { 1 };
        let mut left = bytes.len();
        for piece in 1..=pieces {
            let n = if piece == pieces { left } else { self.luck.random.between(0, left) };
            left -= n;
            let at = self.arrival(line);
            self.add(at, Coming::Lands(line, n));
        }
        self.maybe_reset(line);
    }

    /// When what a peer sends now is here.
    fn arrival(&mut self, line: usize) -> Time {
        let at = self.soon().max(self.lines[line].last_arrival);
        self.lines[line].last_arrival = at;
        at
    }

    /// The peer ends its direction, or resets, behind what it has said.
    pub(super) fn end_of_peer(&mut self, line: usize, resets: bool) {
        self.event(if resets { What::Resets } else { What::Ends }, line, 0);
        let at = self.arrival(line);
        self.lines[line].theirs = Theirs::Ending;
        if resets {
            self.lines[line].reads = Reads::Only(0);
            self.lines[line].seen.get_or_insert(Seen::Reset);
        }
        self.add(at, if resets { Coming::Resets(line) } else { Coming::Ends(line) });
    }

    fn maybe_reset(&mut self, line: usize) {
        if self.luck.strikes(Fault::Reset) {
            let at = self.after(LATE_NANOS);
            self.add(at, Coming::Resets(line));
        }
    }

    // Towards the peer.

    /// There is something for the peer, or it wants more.
    pub(super) fn go_out(&mut self, line: usize) {
        if self.luck.setup.late {
            if !mem::replace(&mut self.lines[line].read_planned, true) {
                let at = self.soon();
                self.add(at, Coming::Looks(line));
            }
        } else {
            self.look(line);
        }
    }

    fn look(&mut self, line: usize) {
        self.lines[line].read_planned = false;
        if self.lines[line].seen == Some(Seen::Reset) {
            return;
        }
        let there = self.lines[line].outbound.len();
        let wanted = match self.lines[line].reads {
            Reads::All => there,
            Reads::Only(n) => n.min(there),
        };
        let n = if wanted > 0 { self.luck.cut(wanted) } else { 0 };
        let this = &mut self.lines[line];
        this.heard.extend(this.outbound.drain(..n));
        if let Reads::Only(left) = &mut this.reads {
            *left -= n;
        }
        let has_room = n > 0 && mem::take(&mut this.write_blocked);
        let is_looking = this.reads != Reads::Only(0);
        if this.outbound.is_empty() && is_looking && this.seen.is_none() {
            this.seen = match this.ours {
                Ours::Open => None,
                Ours::Ended => Some(Seen::End),
                Ours::ResetBehind => Some(Seen::Reset),
            };
        }
        if n > 0 {
            self.event(What::Reads, line, n as u64);
        }
        if has_room {
            self.edge(line, News { write: true, ..News::default() });
        }
        if n < wanted {
            self.go_out(line);
        }
    }

    /// Our direction ends behind what was written.
    pub(super) fn end_ours(&mut self, line: usize) {
        self.event(What::OurEnd, line, 0);
        if self.lines[line].ours == Ours::Open {
            self.lines[line].ours = Ours::Ended;
            self.go_out(line);
        }
    }

    /// Our stream is closed.
    pub(super) fn close(&mut self, line: usize, resets: bool) {
        self.event(if resets { What::Cut } else { What::Closed }, line, 0);
        let this = &mut self.lines[line];
        this.life = Life::Gone;
        this.pending = News::default();
        self.gone = this.id.or(self.gone);
        if this.connecting != Connecting::Stands {
            return;
        }
        if resets {
            this.outbound.clear();
            this.seen.get_or_insert(Seen::Reset);
        } else if this.landed > 0 {
            this.ours = Ours::Ended;
            self.answer_with_reset(line);
        } else {
            self.end_ours(line);
        }
    }

    // Coming and going.

    /// A peer sets out for this listener.
    pub(super) fn set_out(&mut self, line: usize, listener: Id) {
        let at = self.arrival(line);
        self.add(at, Coming::Arrives(line, listener));
        self.maybe_reset(line);
    }

    fn arrive(&mut self, line: usize, listener: Id) {
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
        let news = News { read: this.is_readable(), write: true, hang_up, failed };
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

    fn establish(&mut self, line: usize, stands: bool) {
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

    /// An edge that was lost, in words.
    pub(super) fn lost_edge(&self) -> Option<String> {
        let room_bytes = self.luck.setup.room_bytes;
        for (number, line) in self.lines.iter().enumerate() {
            if let Some(what) = line.has_lost(room_bytes) {
                let (unread, unheard) = (line.inbound.len(), line.outbound.len());
                return Some(format!("peer {number} {what}: {unread} bytes that nobody read, {unheard} unheard"));
            }
        }
        let waits = |door: &&Door| door.is_blocked && !door.has_news && !door.backlog.is_empty();
        let door = self.doors.iter().find(waits)?;
        Some(format!("{} peers wait at {}, and nobody is told", door.backlog.len(), door.address))
    }
}
