//! A stage's network: what is under way, and who is told. What moves is in `traffic`, who
//! comes and goes in `doors`.

use super::doors::Door;
use super::peer::{Answer, Line};
use super::setup::{Fault, Luck, Setup};
use super::timeline::{Timeline, What};
use drywire_core::{Time, TransportError};
use drywire_server::{Id, News};
use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

/// The longest that anything is late, in nanoseconds.
pub(super) const LATE_NANOS: usize = 3_000_000;

/// The longest from a would-block without reason to its edge, in nanoseconds.
const AGAIN_NANOS: usize = 300_000;

/// Something under way, to the connection with this number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coming {
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
    pub(super) ports: u16,
    /// By what a target looks like; and the address that was made up for a name.
    pub(super) answers: BTreeMap<String, (Answer, Option<SocketAddr>)>,
    /// Names that were looked up.
    pub(super) resolved: Vec<(Id, io::Result<Vec<SocketAddr>>)>,
    pub(super) gone: Option<Id>,
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
    pub(super) fn note(&mut self, what: What, id: Id) {
        let line = self.lines.iter().position(|line| line.is_open() && line.id == Some(id));
        self.timeline.add(self.now, line, what, id.to_token() as u64);
    }

    // Time.

    pub(super) fn add(&mut self, at: Time, coming: Coming) {
        self.made += 1;
        self.agenda.insert((at, self.made), coming);
    }

    /// Now, or up to so much later when that fault strikes.
    pub(super) fn soon(&mut self) -> Time {
        if self.luck.strikes(Fault::Late) { self.after(LATE_NANOS) } else { self.now }
    }

    pub(super) fn after(&mut self, most_nanos: usize) -> Time {
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
        const READABLE: News = News { read: true, write: false, hang_up: false, urgent: false, failed: false };
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
            let all = News { read: true, write: true, hang_up: true, urgent: false, failed: true };
            news.extend(self.gone.map(|id| (id, all)));
            for (id, _) in &news {
                self.note(What::Spurious, *id);
            }
        }
        news
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
