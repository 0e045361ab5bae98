//! Two connections joined by two bounded pipes, with a clock of their own.

use super::net::Net;
use super::rig::Rig;
use drywire_core::layer::Layer;
use drywire_core::{Connection, Protocol, Time, TransportError};

pub(crate) struct Pair<A: Protocol, B: Protocol, LA: Layer = (), LB: Layer = ()> {
    pub(crate) a: Rig<A, LA>,
    pub(crate) b: Rig<B, LB>,
    a_to_b: Pipe,
    b_to_a: Pipe,
}

/// How much of one side's output the other has got.
#[derive(Debug)]
struct Pipe {
    capacity: usize,
    carried: usize,
}

impl Pipe {
    /// Carries over what was taken; the pipe has room again when it was read.
    fn carry(&mut self, from: &mut Net, to: &mut Net, end: Option<End>) {
        to.incoming.extend(&from.taken[self.carried..]);
        self.carried = from.taken.len();
        from.room = self.capacity - to.incoming.len();
        match end {
            Some(End::Clean) => to.incoming_end = true,
            Some(End::Reset) => to.read_fault = Some(TransportError::Reset),
            None => {}
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Clean,
    Reset,
}

fn end_of<P: Protocol, L: Layer>(side: &Rig<P, L>) -> Option<End> {
    match &side.close {
        Some(report) if report.is_abort() => Some(End::Reset),
        Some(_) => Some(End::Clean),
        None if side.net.half_closed => Some(End::Clean),
        None => None,
    }
}

impl<A: Protocol, B: Protocol, LA: Layer, LB: Layer> Pair<A, B, LA, LB> {
    pub(crate) fn new(a: Connection<A, LA>, b: Connection<B, LB>, capacity: usize) -> Pair<A, B, LA, LB> {
        let mut pair = Pair {
            a: Rig::on(a),
            b: Rig::on(b),
            a_to_b: Pipe { capacity, carried: 0 },
            b_to_a: Pipe { capacity, carried: 0 },
        };
        pair.a.net.room = capacity;
        pair.b.net.room = capacity;
        pair
    }

    /// One turn of each side. False when nothing moved.
    #[track_caller]
    fn step(&mut self) -> bool {
        let a = self.a.turn();
        let end = end_of(&self.a);
        self.a_to_b.carry(&mut self.a.net, &mut self.b.net, end);
        let b = self.b.turn();
        let end = end_of(&self.b);
        self.b_to_a.carry(&mut self.b.net, &mut self.a.net, end);
        // Nobody reads from a socket that was closed.
        if self.b.close.is_some() {
            self.a.net.write_fault = Some(TransportError::BrokenPipe);
        }
        if self.a.close.is_some() {
            self.b.net.write_fault = Some(TransportError::BrokenPipe);
        }
        a || b
    }

    /// Runs until both are closed, or nothing is left to wait for.
    #[track_caller]
    pub(crate) fn run(&mut self) -> &mut Self {
        for _ in 0..1_000_000 {
            if (0..8).any(|_| self.step()) {
                continue;
            }
            let Some(next) = self.next_deadline() else { return self };
            self.a.now = next;
            self.b.now = next;
        }
        panic!("I3: the pair never ends");
    }

    fn next_deadline(&self) -> Option<Time> {
        [self.a.wait.deadline, self.b.wait.deadline].into_iter().flatten().min()
    }
}
