//! How nasty a stage's network is, and how often its faults strike.

use crate::Random;

/// What the network does to its worker. Each fault can be had without the others; how often
/// each strikes is the seed's.
///
/// ```
/// use drywire_sim::stage::Setup;
///
/// let setup = Setup { resets: true, ..Setup::rough() };
/// # assert!(setup.cuts && !Setup::calm().cuts);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Reads and writes move less than they could.
    pub cuts: bool,
    /// A read or a write would block for no reason, and an edge follows within 300 µs.
    pub blocks: bool,
    /// What is said arrives in pieces and late, peers read and connect late, news is late: by up to
    /// 3 ms each.
    pub late: bool,
    /// News of connections of which there is none, and of ids that are gone.
    pub spurious: bool,
    /// Each round hears of some who have news, in any order. Without it all are heard, listeners
    /// first, then peers in the order of their coming.
    pub shuffles: bool,
    /// Accepting fails for want of a descriptor, or because of a peer that is gone; that goes away.
    pub accept_errors: bool,
    /// A peer resets in the middle, and bytes that arrived may be lost. Not in [`Setup::rough`]:
    /// what comes of such a peer no test can say beforehand.
    pub resets: bool,
    /// The poller takes no more streams, now and then. Not in [`Setup::rough`] either.
    pub no_registration: bool,
    /// A read that does not fill its slot has emptied the socket, as on epoll; without it, as on
    /// poll(2).
    pub short_reads_exhaust: bool,
    /// What the network holds of one direction of one connection, in bytes; not 0.
    pub room_bytes: usize,
}

impl Setup {
    /// A network without faults: all of it arrives whole and at once.
    #[must_use]
    pub const fn calm() -> Setup {
        Setup {
            cuts: false,
            blocks: false,
            late: false,
            spurious: false,
            shuffles: false,
            accept_errors: false,
            resets: false,
            no_registration: false,
            short_reads_exhaust: true,
            room_bytes: 64 << 10,
        }
    }

    /// Every fault that loses nothing: what comes out in the end is what comes out of a calm
    /// network.
    #[must_use]
    pub const fn rough() -> Setup {
        Setup {
            cuts: true,
            blocks: true,
            late: true,
            spurious: true,
            shuffles: true,
            accept_errors: true,
            ..Setup::calm()
        }
    }
}

/// Calm.
impl Default for Setup {
    fn default() -> Setup {
        Setup::calm()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Cut,
    Block,
    Late,
    Spurious,
    AcceptError,
    Reset,
    NoRegistration,
}

/// What the seed has to say about a setup.
#[derive(Debug)]
pub(super) struct Luck {
    pub(super) setup: Setup,
    pub(super) random: Random,
    /// Once in so many times.
    rates: [usize; 7],
}

impl Luck {
    pub(super) fn new(seed: u64, setup: Setup) -> Luck {
        let mut random = Random::new(seed);
        let rates = [0; 7].map(|_: u8| random.pick(&[2, 3, 8, 32]));
        Luck { setup, random, rates }
    }

    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let (is_on, rate) = match fault {
            Fault::Cut => (self.setup.cuts, self.rates[0]),
            Fault::Block => (self.setup.blocks, self.rates[1]),
            Fault::Late => (self.setup.late, self.rates[2]),
            Fault::Spurious => (self.setup.spurious, self.rates[3]),
            Fault::AcceptError => (self.setup.accept_errors, self.rates[4]),
            Fault::Reset => (self.setup.resets, 4 * self.rates[5]),
            Fault::NoRegistration => (self.setup.no_registration, 2 * self.rates[6]),
        };
        is_on && self.random.one_in(rate)
    }

    /// All of `n`, or less when it is cut. `n` is not 0.
    pub(super) fn cut(&mut self, n: usize) -> usize {
        if self.strikes(Fault::Cut) { self.random.between(1, n) } else { n }
    }
}
