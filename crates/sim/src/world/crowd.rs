//! A group of a world: who is a member, and what waits for each, as the description of
//! [`Group`](drywire_server::Group) has it.

use drywire_server::{Sent, Slow};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// The serial of a group's message has this bit.
pub(crate) const GROUP: u32 = 1 << 30;

/// What a group has for one member.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// What may wait there, oldest first: one row, unless the world cannot tell whether the
    /// connection has taken the first already.
    possible: Vec<Row>,
    pub(crate) is_member: bool,
    /// It may be a member no more: the world cannot tell.
    pub(crate) is_unsure: bool,
}

type Row = VecDeque<Message>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) serial: u32,
    pub(crate) weight: usize,
}

/// What of a member's connection decides about a message for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) is_open: bool,
    pub(crate) has_ended: bool,
    /// The connection holds a command that was refused, if it is known which, and whether
    /// it holds one at all.
    pub(crate) holds: bool,
    pub(crate) held: Option<u32>,
    /// Commands that wait for it besides, and their bytes; how many there may be.
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    pub(crate) most: usize,
    pub(crate) most_bytes: usize,
}

/// What may have become of a message: the least and the most of each number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) least: Sent,
    pub(crate) most: Sent,
}

impl Tally {
    /// Of several, one is true.
    fn or(&mut self, other: Sent) {
        let all = |a: Sent, b: Sent, pick: fn(usize, usize) -> usize| Sent {
            sent: pick(a.sent, b.sent),
            skipped: pick(a.skipped, b.skipped),
            dropped: pick(a.dropped, b.dropped),
            closed: pick(a.closed, b.closed),
            gone: pick(a.gone, b.gone),
        };
        self.least = all(self.least, other, usize::min);
        self.most = all(self.most, other, usize::max);
    }

    /// Over all members.
    pub(crate) fn add(&mut self, other: Tally) {
        self.least += other.least;
        self.most += other.most;
    }

    pub(crate) fn contains(&self, sent: &Sent) -> bool {
        let fields = |sent: &Sent| [sent.sent, sent.skipped, sent.dropped, sent.closed, sent.gone];
        let (least, most, sent) = (fields(&self.least), fields(&self.most), fields(sent));
        (0..5).all(|at| (least[at]..=most[at]).contains(&sent[at]))
    }
}

impl Lane {
    pub(crate) fn new() -> Lane {
        Lane { possible: vec![Row::new()], is_member: true, is_unsure: false }
    }

    /// Bytes of a message that may wait.
    pub(crate) fn weight_of(&self, serial: u32) -> Option<usize> {
        self.possible.iter().flatten().find(|message| message.serial == serial).map(|message| message.weight)
    }

    /// Messages that wait, and their bytes.
    pub(crate) fn waiting(&self) -> (RangeInclusive<usize>, RangeInclusive<usize>) {
        let range = |of: fn(&Row) -> usize| {
            let all = self.possible.iter().map(of);
            all.clone().min().unwrap_or(0)..=all.max().unwrap_or(0)
        };
        (range(Row::len), range(|row| row.iter().map(|message| message.weight).sum()))
    }

    /// The protocol has handled one. False when that was not the one due.
    pub(crate) fn on_handled(&mut self, serial: u32) -> bool {
        let due = |row: &Row| row.front().is_some_and(|message| message.serial == serial);
        if !self.possible.iter().any(due) {
            return false;
        }
        self.possible.retain(due);
        for row in &mut self.possible {
            row.pop_front();
        }
        true
    }

    /// Its connection has ended: what waits is dropped now or a little later.
    pub(crate) fn on_end(&mut self) {
        self.possible.push(Row::new());
    }

    /// A message for everybody.
    pub(crate) fn on_sent(&mut self, message: Message, member: Member, bytes: usize, slow: Slow) -> Tally {
        let mut rows: Vec<Row> = Vec::new();
        let mut tally: Option<Tally> = None;
        let (mut may_be_gone, mut is_gone) = (false, true);
        for row in &self.possible {
            // What the connection has taken already waits there, and cannot be taken back.
            let first = row.front().map(|message| message.serial);
            let starts: &[usize] = match (member.holds, member.held) {
                (true, None) if first.is_some() => &[0, 1],
                (true, Some(held)) if first == Some(held) => &[1],
                (true | false, _) => &[0],
            };
            for start in starts {
                let (row, sent) = offer(row.clone(), *start, message, member, bytes, slow);
                let leaves = sent.gone + sent.closed > 0;
                (may_be_gone, is_gone) = (may_be_gone | leaves, is_gone & leaves);
                tally.get_or_insert(Tally { least: sent, most: sent }).or(sent);
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
        self.possible = rows;
        let mut tally = tally.expect("there is always a row");
        if member.has_ended || self.is_unsure {
            // It may have been found out before.
            tally.or(Sent::default());
        }
        self.is_member &= !is_gone;
        self.is_unsure |= may_be_gone;
        tally
    }
}

fn offer(mut row: Row, start: usize, message: Message, member: Member, bytes: usize, slow: Slow) -> (Row, Sent) {
    let mut sent = Sent::default();
    let sum = |row: &Row, from: usize| row.iter().skip(from).map(|message| message.weight).sum::<usize>();
    loop {
        let fits_here = sum(&row, start) + message.weight <= bytes;
        let fits_there =
            member.count + row.len() < member.most && member.bytes + sum(&row, 0) + message.weight <= member.most_bytes;
        if fits_here && !member.is_open {
            sent.gone = 1;
        } else if fits_here && fits_there {
            row.push_back(message);
            sent.sent = 1;
        } else {
            match slow {
                Slow::Close => sent.closed = 1,
                Slow::DropOldest if row.len() > start && (!fits_here || message.weight <= member.most_bytes) => {
                    row.remove(start);
                    sent.dropped += 1;
                    continue;
                }
                Slow::Skip | Slow::DropOldest => sent.skipped = 1,
            }
        }
        return (row, sent);
    }
}
