//! Controls: what no net and no application may do, and that a stage says so.

use crate::echo::{Echo, framed, listening};
use drywire_protocols::Hub;
use drywire_server::{Application, Config, Net, Worker};
use drywire_sim::stage::{PeerId, Setup, Stage};
use std::time::Duration;

fn served(seed: u64) -> (Stage<Hub>, Echo, PeerId) {
    let (mut stage, listener) = listening(seed, Config::default(), Setup::calm());
    let mut echo = Echo::default();
    let peer = stage.arrives(listener);
    stage.settle(&mut echo);
    (stage, echo, peer)
}

#[test]
#[should_panic(
    expected = "seed 11: an edge was lost: peer 0 may be read, and nobody is told: 13 bytes that nobody read"
)]
fn lost_edge_is_found_when_a_stage_settles() {
    let (mut stage, mut echo, peer) = served(11);
    stage.loses_news(peer);
    stage.says(peer, framed("hello"));
    stage.settle(&mut echo);
}

#[test]
#[should_panic(expected = "seed 12: an edge was lost: peer 0 may be read")]
fn lost_edge_is_found_when_time_passes() {
    let (mut stage, mut echo, peer) = served(12);
    stage.loses_news(peer);
    stage.says(peer, framed("hello"));
    stage.run_until_idle(&mut echo, Duration::from_secs(1));
}

#[test]
#[should_panic(expected = "seed 13: an edge was lost: peer 0 may be written")]
fn lost_edge_of_a_writer_is_found() {
    let (mut stage, mut echo, peer) = served(13);
    stage.stops_reading(peer);
    stage.says(peer, framed([1; 100_000]));
    stage.settle(&mut echo);
    stage.loses_news(peer);
    stage.reads(peer, 1000);
    stage.run_until_quiet(&mut echo);
}

#[test]
#[should_panic(expected = "seed 14: an edge was lost: peer 0 may be read")]
fn lost_end_is_found() {
    let (mut stage, mut echo, peer) = served(14);
    stage.loses_news(peer);
    stage.ends(peer);
    stage.settle(&mut echo);
}

/// Has always one more thing to do at once.
struct Restless;

impl<N: Net> Application<N, Hub> for Restless {
    fn started(&mut self, worker: &mut Worker<Hub, (), N>) {
        worker.set_timer("again", Duration::ZERO);
    }

    fn timer(&mut self, worker: &mut Worker<Hub, (), N>, _: &'static str) {
        worker.set_timer("again", Duration::ZERO);
    }
}

#[test]
#[should_panic(expected = "seed 15: 100000 rounds at ")]
fn application_that_never_rests_is_found() {
    Stage::new(15, Config::default()).settle(&mut Restless);
}

#[test]
#[should_panic(expected = "peer 0 has ended, and says something")]
fn who_has_ended_says_nothing() {
    let (mut stage, _, peer) = served(16);
    stage.ends(peer);
    stage.says(peer, "more");
}
