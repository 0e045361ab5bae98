//! What a peer does: says its script, reads, ends.

use super::State;
use crate::world::agenda::Coming;
use crate::world::line::Life;
use crate::world::plan::{Ends, Reads};
use drywire_server::News;

impl State {
    pub(in crate::world) fn plan_send(&mut self, line: usize) {
        let gap = self.lines[line].script.gap;
        if !std::mem::replace(&mut self.lines[line].send_planned, true) {
            let at = self.soon(line, gap);
            self.agenda.add(at, Coming::Send(line));
        }
    }

    pub(super) fn peer_sends(&mut self, line: usize) {
        let now = self.now;
        let state = &mut self.lines[line];
        state.send_planned = false;
        if state.silent || state.end_sent || state.fault.is_some() || state.life == Life::Gone {
            return;
        }
        let script = &mut state.script;
        if script.vanishes.is_some_and(|at| state.sent >= at) {
            state.silent = true;
            return self.event(6, line, 0, || "falls silent".into());
        }
        let mut end = script.says.len();
        if let Ends::Resets(at) = script.ends {
            end = end.min(at);
        }
        if let Some(at) = script.vanishes {
            end = end.min(at);
        }
        let arrival = (now + script.latency).max(state.last_arrival);
        if state.sent < end {
            let room = (state.read + script.backlog).saturating_sub(state.sent);
            if room == 0 {
                state.send_waits = true;
                return;
            }
            let n = script.random.between(1, script.piece).min(end - state.sent).min(room);
            state.sent += n;
            state.last_arrival = arrival;
            self.agenda.add(arrival, Coming::Bytes(line, n));
            return self.plan_send(line);
        }
        match script.ends {
            Ends::HalfCloses => {
                state.end_sent = true;
                self.agenda.add(arrival, Coming::End(line));
            }
            Ends::Resets(_) => self.agenda.add(arrival, Coming::Reset(line)),
            Ends::Waits if state.peer_saw_end => {
                state.end_sent = true;
                self.agenda.add(arrival, Coming::End(line));
            }
            Ends::Waits => {}
        }
    }

    /// We took bytes out of the pipe.
    pub(in crate::world) fn on_read(&mut self, line: usize) {
        if std::mem::take(&mut self.lines[line].send_waits) {
            self.plan_send(line);
        }
    }

    /// We put bytes into the pipe.
    pub(in crate::world) fn on_written(&mut self, line: usize) {
        if self.lines[line].read_planned {
            return;
        }
        let latency = self.lines[line].script.latency;
        let at = match self.lines[line].script.reads {
            Reads::Fast => self.after(latency),
            Reads::Slowly(_, every) => self.after(latency + every),
            Reads::Never => return,
        };
        self.lines[line].read_planned = true;
        self.agenda.add(at, Coming::Read(line));
    }

    pub(super) fn peer_reads(&mut self, line: usize) {
        let state = &mut self.lines[line];
        state.read_planned = false;
        if state.silent && state.script.vanishes.is_some() || state.fault.is_some() {
            return;
        }
        let there = state.taken - state.peer_read;
        let n = match state.script.reads {
            Reads::Fast => there,
            Reads::Slowly(n, _) => n.min(there),
            Reads::Never => 0,
        };
        state.peer_read += n;
        let (blocked, left) = (state.write_blocked, there - n);
        if n > 0 {
            self.event(7, line, n as u64, || format!("reads {n} bytes"));
        }
        if blocked && n > 0 {
            self.lines[line].write_blocked = false;
            self.edge(line, News { write: true, ..News::default() });
        }
        if left > 0 {
            self.on_written(line);
        } else if self.lines[line].end_announced {
            self.peer_sees_end(line);
        }
    }

    /// Our end, or our close, is on its way.
    pub(in crate::world) fn announce_end(&mut self, line: usize) {
        if !std::mem::replace(&mut self.lines[line].end_announced, true) {
            let at = self.after(self.lines[line].script.latency);
            self.agenda.add(at, Coming::OurEnd(line));
        }
    }

    pub(super) fn peer_sees_end(&mut self, line: usize) {
        let state = &mut self.lines[line];
        if state.peer_saw_end || state.silent || state.peer_read < state.taken {
            return;
        }
        state.peer_saw_end = true;
        self.event(8, line, 0, || "sees our end".into());
        self.plan_send(line);
    }
}
