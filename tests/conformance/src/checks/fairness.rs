//! One busy peer does not starve the others (row A5, FAULTS 22).
//!
//! Counted and not timed: what the busy connection moves on the server's thread between the moment
//! at which requests stand in the sockets of the others and their answers. Its peer works on that
//! thread too, so that it is as busy on a machine that has no time for the check.

use crate::halt::Halt;
use crate::peer::{Peer, read_line, send};
use crate::stage::Stage;
use crate::subject::Subject;
use crate::suite::say;
use drywire_core::{Connection, Context, Protocol, Stop};
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const QUIET: usize = 99;
const ROUNDS: usize = 4;

/// What the busy connection may move before the others are answered, in bytes: its own turn of a
/// mebibyte ([`Budget::DEFAULT`](drywire_core::Budget)), and what it has before the poller is asked.
const FAIR: usize = 4 << 20;

/// Then nothing ends its turn any more, and the busy connection rests, so that the check ends.
const STARVED: usize = 16 * FAIR;

/// Beside a peer that sends and reads as fast as the server does. The kernel ends its turns: it
/// opens a window when there is nothing left to read.
pub fn fault_22_quiet_peers_are_served_beside_one_that_floods_the_echo<S: Subject>() {
    beside::<S>(Member::FLOOD);
}

/// Beside a peer that takes faster than the server makes what it sends: its connection is never at
/// an end of its work, and only a budget ends its turn.
pub fn fault_22_quiet_peers_are_served_beside_one_that_takes_an_endless_stream<S: Subject>() {
    beside::<S>(Member::FOUNTAIN);
}

/// A line of each quiet peer stands in its socket when a turn of the busy connection begins; all
/// are answered before that has moved too much.
#[track_caller]
fn beside<S: Subject>(kind: u8) {
    let load = Arc::new(Load::default());
    let theirs = load.clone();
    let stage = Stage::<S, Member>::serve(move || Connection::new(Member { load: theirs.clone(), role: Role::Quiet }));
    let mut quiet: Vec<Peer> = (0..QUIET).map(|_| stage.peer()).collect();
    let ports: Vec<u16> = quiet.iter().map(Peer::local_port).collect();
    let mut busy = stage.peer();
    let _rests = RestOnDrop(&load);
    load.halt.arm();
    send(&mut busy, &[kind]);
    busy.set_nonblocking(true);
    load.lock().peer = Some(busy);
    let mut most = 0;
    for round in 0..ROUNDS {
        let stopped = load.halt.stopped::<S>();
        for (n, peer) in quiet.iter_mut().enumerate() {
            send(peer, line(round, n).as_bytes());
        }
        stage.wait_for_delivery(&ports);
        load.begin();
        drop(stopped);
        for (n, peer) in quiet.iter_mut().enumerate() {
            assert_eq!(read_line(peer), line(round, n), "I5");
        }
        most = most.max(load.lock().most);
        assert!(most <= FAIR, "FAULTS 22: the busy peer moved {most} bytes before a line of another was answered");
    }
    say(&format!("note: {}: {} KiB of the busy peer's go before the others' lines at most", S::NAME, most >> 10));
}

fn line(round: usize, n: usize) -> String {
    format!("round {round} of quiet peer {n}\n")
}

/// What the check and the server's thread know of each other.
#[derive(Default)]
struct Load {
    /// Passed in each step of the busy connection.
    halt: Halt,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The busy one.
    peer: Option<Peer>,
    slot: Vec<u8>,
    /// What the busy connection has moved since the requests came.
    moved: usize,
    /// What it had moved when the last of them was answered.
    most: usize,
    answered: usize,
    rests: bool,
}

impl Load {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests have come.
    fn begin(&self) {
        let mut state = self.lock();
        (state.moved, state.answered) = (0, 0);
    }

    /// A quiet peer's line was handled. What the busy connection does behind the last one is the
    /// beginning of a turn.
    fn answered(&self) {
        let mut state = self.lock();
        state.most = state.most.max(state.moved);
        state.answered += 1;
        if state.answered == QUIET && !state.rests {
            self.halt.arm();
        }
    }

    /// A step of the busy connection begins: its peer has taken all there was, and has sent more.
    fn step(&self, sends: bool) {
        self.halt.pass();
        let State { peer: Some(peer), slot, rests: false, .. } = &mut *self.lock() else { return };
        slot.resize(Member::PIECE, b'x');
        while peer.throw_away(slot).is_ok_and(|n| n > 0) {}
        if sends {
            // Until the kernel takes no more.
            while peer.write(slot).is_ok_and(|n| n == slot.len()) {}
        }
    }

    /// It has moved so much; says whether it goes on.
    fn moved(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        state.moved += bytes;
        state.rests |= state.moved > STARVED;
        !state.rests
    }
}

/// The check is over, however it ended.
struct RestOnDrop<'a>(&'a Load);

impl Drop for RestOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.rests = true;
        state.peer = None;
        self.0.halt.open();
    }
}

/// The byte echo, until one byte makes its connection a busy one.
struct Member {
    load: Arc<Load>,
    role: Role,
}

enum Role {
    Quiet,
    /// It echoes what never ends.
    Flood,
    /// It says what never ends.
    Fountain,
}

impl Member {
    const FLOOD: u8 = b'%';
    const FOUNTAIN: u8 = b'!';
    const PIECE: usize = 64 * 1024;
}

impl Protocol for Member {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        match self.role {
            Role::Quiet if input[0] == Member::FLOOD => {
                self.role = Role::Flood;
                self.load.step(true);
                Ok(1)
            }
            Role::Quiet if input[0] == Member::FOUNTAIN => {
                self.role = Role::Fountain;
                cx.request_room(Some(Member::PIECE));
                Ok(1)
            }
            Role::Quiet => {
                let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
                cx.write(&input[..=end])?;
                self.load.answered();
                Ok(end + 1)
            }
            Role::Flood => {
                self.load.step(true);
                let n = input.len().min(cx.available().max(1));
                cx.write(&input[..n])?;
                // In and out.
                self.load.moved(2 * n);
                Ok(n)
            }
            Role::Fountain => Ok(input.len()),
        }
    }

    fn room(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        self.load.step(false);
        cx.write(&[b'x'; Member::PIECE])?;
        if self.load.moved(Member::PIECE) {
            cx.request_room(Some(Member::PIECE));
        }
        Ok(())
    }
}
