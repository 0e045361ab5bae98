//! A stage for an [`Application`](drywire_server::Application) of one's own: peers that do what a test says, a network
//! that does what a seed says, and the worker that every driver runs between the two.
//!
//! ```
//! use drywire_protocols::{Hub, HubCommand, HubEvent};
//! use drywire_server::{Address, Application, Config, Id, Net, Worker};
//! use drywire_sim::stage::{Seen, Setup, Stage};
//! use drywire_core::Connection;
//!
//! /// Sends each message back.
//! struct Echo;
//!
//! impl<N: Net> Application<N, Hub> for Echo {
//!     fn accept(&mut self, _: &mut Worker<Hub, (), N>, _: Id, _: &Address) -> Option<Connection<Hub>> {
//!         Some(Connection::new(Hub::new()))
//!     }
//!
//!     fn event(&mut self, worker: &mut Worker<Hub, (), N>, id: Id, event: HubEvent) {
//!         match event {
//!             HubEvent::Message(message) => worker.send(id, HubCommand::Send(message)).expect("there is room"),
//!             HubEvent::End => worker.close(id),
//!         }
//!     }
//! }
//!
//! for seed in 0..10 {
//!     let mut stage = Stage::set_up(seed, Config::default(), Setup::rough());
//!     let listener = stage.worker().listen(&"127.0.0.1:4711".parse()?)?;
//!     let peer = stage.arrives(listener);
//!     stage.says(peer, b"\x02\0\0\0\0\0\0\0hi");
//!     stage.ends(peer);
//!     stage.run_until_quiet(&mut Echo);
//!     assert_eq!(stage.heard(peer), b"\x02\0\0\0\0\0\0\0hi");
//!     assert_eq!(stage.seen_end(peer), Some(Seen::End));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Time stands still but in [`Stage::later`], [`Stage::run_until_quiet`] and
//! [`Stage::run_until_idle`]. The same seed, setup and calls give the same things, always, and the
//! same [`Stage::hash`].

mod doors;
mod net;
mod network;
mod peer;
mod run;
mod setup;
mod timeline;
mod traffic;
mod wire;

pub use net::{Open, StageNet};
pub use peer::{Answer, PeerId, Seen};
pub use setup::Setup;

use drywire_core::layer::Layer;
use drywire_core::{Connection, Protocol, Time};
use drywire_server::{Address, Config, Id, Rounds, Target, Worker};
use network::Network;
use peer::{Life, Line, Reads, Theirs};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// A worker on a simulated network, and the peers at its other ends. See [the module](self) for
/// one with an application.
///
/// ```
/// use drywire_protocols::LineEcho;
/// use drywire_server::{Accept, Config};
/// use drywire_sim::stage::Stage;
/// use std::time::Duration;
///
/// let mut stage = Stage::new(7, Config::default());
/// let listener = stage.worker().listen(&"127.0.0.1:25".parse()?)?;
/// let peer = stage.arrives(listener);
/// stage.says(peer, "hello\n");
/// let mut echo = Accept(|| LineEcho);
/// stage.settle(&mut echo);
/// assert_eq!(stage.heard(peer), b"hello\n");
/// // It says nothing more, until its idle timeout and the linger behind it are over.
/// assert!(stage.run_until_idle(&mut echo, Duration::from_secs(3600)));
/// assert!(stage.worker().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Calls that name a [`PeerId`] panic when it is another stage's.
pub struct Stage<P: Protocol, L: Layer = ()> {
    rounds: Rounds<P, L, StageNet>,
    /// News that one round hears.
    most: usize,
}

/// Before anything happens, and what an application would call.
impl<P: Protocol, L: Layer> Stage<P, L> {
    /// A calm network.
    pub fn new(seed: u64, config: Config) -> Stage<P, L> {
        Stage::set_up(seed, config, Setup::calm())
    }

    /// A network as nasty as `setup` says.
    ///
    /// # Panics
    /// When there is no room in it ([`Setup::room_bytes`]).
    pub fn set_up(seed: u64, config: Config, setup: Setup) -> Stage<P, L> {
        let most = config.events.max(1);
        // Orders of other threads are asked for in each round, so nobody has to be woken.
        Stage { rounds: Rounds::new(StageNet::new(seed, setup), config, || ()), most }
    }

    /// The worker: to listen, to connect, to send and close from outside of a callback.
    pub fn worker(&mut self) -> &mut Worker<P, L, StageNet> {
        &mut self.rounds
    }

    /// What happens at this target when the worker connects to it, from now on: an address, or a
    /// name and a port. Of what nobody spoke, an address refuses and a name is not found; that
    /// goes for the worker's own listeners too.
    pub fn answers(&mut self, target: impl Into<Target>, answer: Answer) {
        self.network_mut().answer_at(target.into().to_string(), answer);
    }

    /// The time; it begins at [`Time::ZERO`].
    pub fn now(&self) -> Time {
        self.network().now
    }

    /// A number made of all that has happened.
    pub fn hash(&self) -> u64 {
        self.network().timeline.hash
    }

    /// The last 256 things that have happened, a line each: for the message of a test that fails.
    pub fn timeline(&self) -> String {
        self.network().timeline.to_string()
    }

    fn network(&self) -> &Network {
        &self.rounds.net().network
    }

    fn network_mut(&mut self) -> &mut Network {
        &mut self.rounds.net_mut().network
    }

    fn line(&self, peer: PeerId) -> &Line {
        &self.network().lines[peer.0]
    }
}

/// Who comes.
impl<P: Protocol, L: Layer> Stage<P, L> {
    /// Somebody connects to a listener, from an address of its own. At one that is gone it finds
    /// [`Seen::Reset`].
    pub fn arrives(&mut self, listener: Id) -> PeerId {
        let number = u32::try_from(self.network().lines.len() + 1).expect("fewer peers than addresses");
        let host = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() | number);
        self.arrives_from(listener, Address::Tcp(SocketAddr::from((host, 40_000))))
    }

    /// The same from this address.
    pub fn arrives_from(&mut self, listener: Id, address: Address) -> PeerId {
        let network = self.network_mut();
        let line = network.lines.len();
        network.lines.push(Line::new(address, Life::Backlog));
        network.set_out(line, listener);
        PeerId(line)
    }

    /// A connection that is made by [`Worker::add`], and its peer.
    ///
    /// # Errors
    /// As [`Worker::add`].
    pub fn adds(&mut self, connection: Connection<P, L>) -> io::Result<PeerId> {
        let (stream, peer) = self.pair();
        self.rounds.add(stream, connection)?;
        Ok(peer)
    }

    /// A stream for [`Worker::add`], and its peer.
    pub fn pair(&mut self) -> (Open, PeerId) {
        self.rounds.net_mut().pair()
    }

    /// The peer of a connection, also of one that was made by [`Worker::connect`] or that is gone:
    /// when several addresses were tried, at the last.
    pub fn peer_of(&self, id: Id) -> Option<PeerId> {
        self.network().lines.iter().rposition(|line| line.id == Some(id)).map(PeerId)
    }

    /// The connection of a peer, while it is open.
    pub fn id_of(&self, peer: PeerId) -> Option<Id> {
        let line = self.line(peer);
        line.id.filter(|_| line.is_open())
    }
}

/// What a peer does.
impl<P: Protocol, L: Layer> Stage<P, L> {
    /// The peer says this: queued, without a bound, and on its way as the network likes. Lost when
    /// there is no connection any more.
    ///
    /// # Panics
    /// When the peer has ended or reset before.
    #[track_caller]
    pub fn says(&mut self, peer: PeerId, bytes: impl AsRef<[u8]>) {
        assert!(self.line(peer).theirs == Theirs::Open, "{peer} has ended, and says something");
        self.network_mut().say(peer.0, bytes.as_ref());
    }

    /// The peer ends its direction, behind all that it has said. It reads on.
    ///
    /// # Panics
    /// As [`Stage::says`].
    #[track_caller]
    pub fn ends(&mut self, peer: PeerId) {
        assert!(self.line(peer).theirs == Theirs::Open, "{peer} has ended, and ends again");
        self.network_mut().end_of_peer(peer.0, false);
    }

    /// The peer resets the connection, behind all that it has said. What it has not heard yet is
    /// lost.
    pub fn resets(&mut self, peer: PeerId) {
        self.network_mut().end_of_peer(peer.0, true);
    }

    /// The peer reads so many bytes more, and then stops. Without a word it reads everything.
    pub fn reads(&mut self, peer: PeerId, bytes: usize) {
        let left = match self.line(peer).reads {
            Reads::All => 0,
            Reads::Only(left) => left,
        };
        self.set_reads(peer, Reads::Only(left.saturating_add(bytes)));
    }

    /// The peer reads everything, from now on.
    pub fn reads_all(&mut self, peer: PeerId) {
        self.set_reads(peer, Reads::All);
    }

    /// The peer reads nothing any more, nor an end.
    pub fn stops_reading(&mut self, peer: PeerId) {
        self.set_reads(peer, Reads::Only(0));
    }

    fn set_reads(&mut self, peer: PeerId, reads: Reads) {
        let network = self.network_mut();
        network.lines[peer.0].reads = reads;
        network.go_out(peer.0);
    }

    /// All that the peer has heard.
    pub fn heard(&self, peer: PeerId) -> &[u8] {
        &self.line(peer).heard
    }

    /// What the peer has heard since this was asked last; [`Stage::heard`] begins anew.
    pub fn take_heard(&mut self, peer: PeerId) -> Vec<u8> {
        std::mem::take(&mut self.network_mut().lines[peer.0].heard)
    }

    /// How the connection has ended, as far as its peer can see.
    pub fn seen_end(&self, peer: PeerId) -> Option<Seen> {
        self.line(peer).seen
    }

    /// Bytes that the peer has said and the connection has not read.
    pub fn unread(&self, peer: PeerId) -> usize {
        self.line(peer).inbound.len()
    }

    /// Bytes that the connection has written and the peer has not read.
    pub fn unheard(&self, peer: PeerId) -> usize {
        self.line(peer).outbound.len()
    }

    /// A control: the next news of this peer's connection is lost, which no poller may do. A stage
    /// that settles then panics.
    pub fn loses_news(&mut self, peer: PeerId) {
        self.network_mut().lines[peer.0].loses_news = true;
    }
}

impl<P: Protocol, L: Layer> fmt::Debug for Stage<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("rounds", &self.rounds).field("network", self.network()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
