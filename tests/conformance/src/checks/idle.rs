//! Who has nothing to do costs nothing (I3).

use super::line_echo;
use crate::measure::busy_share;
use crate::peer::{Peer, read_line, send};
use crate::stage::Stage;
use crate::subject::Subject;
use drywire_protocols::LineEcho;

/// Twenty that never said a word, and one that did.
pub fn i3_idle_connections_cost_no_processor_time<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut peers: Vec<Peer> = (0..21).map(|_| stage.peer()).collect();
    stage.wait("everybody", |seen| seen.len() == 21);
    send(&mut peers[20], b"a word\n");
    assert_eq!(read_line(&mut peers[20]), "a word\n");
    let share = busy_share();
    assert!(share < 0.05, "I3: {:.1} % of what a spinning thread takes while nobody says anything", share * 100.0);
    for (n, peer) in peers.iter_mut().enumerate() {
        send(peer, format!("awake {n}\n").as_bytes());
        assert_eq!(read_line(peer), format!("awake {n}\n"));
    }
}
