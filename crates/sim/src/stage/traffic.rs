//! Bytes, ends and resets: towards the worker, and towards its peers.

use super::network::{Coming, LATE_NANOS, Network};
use super::peer::{Life, Ours, Reads, Seen, Theirs};
use super::setup::Fault;
use super::timeline::What;
use drywire_core::{Time, TransportError};
use drywire_server::{Connecting, News};
use std::mem;

/// Pieces that what is said in one call may arrive in.
const PIECES: usize = 8;

impl Network {
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

    pub(super) fn end_theirs(&mut self, line: usize) {
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

    pub(super) fn reset(&mut self, line: usize, error: TransportError) {
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
        self.edge(line, News { read: true, write: true, hang_up: true, urgent: false, failed: true });
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
    pub(super) fn arrival(&mut self, line: usize) -> Time {
        let at = self.soon().max(self.lines[line].last_arrival);
        self.lines[line].last_arrival = at;
        at
    }

    /// The peer ends its direction, or resets, behind what it has said.
    pub(super) fn end_of_peer(&mut self, line: usize, resets: bool) {
        self.event(if resets { What::Resets } else { What::Ends }, line, 0);
        let at = self.arrival(line);
        if self.lines[line].theirs == Theirs::Open {
            self.lines[line].theirs = Theirs::Ending;
        }
        if resets {
            // What it has not heard goes when the reset arrives: until then it fills the network.
            self.lines[line].reads = Reads::Only(0);
            self.lines[line].seen.get_or_insert(Seen::Reset);
        }
        self.add(at, if resets { Coming::Resets(line) } else { Coming::Ends(line) });
    }

    pub(super) fn maybe_reset(&mut self, line: usize) {
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

    pub(super) fn look(&mut self, line: usize) {
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
}
