//! How a listener is asked: never in a pause, never without a bound.

use super::{Peer, STEP, Stage, config};
use drywire_core::{Connection, Limits};
use drywire_protocols::LineEcho;
use drywire_server::{ACCEPTS_PER_TURN, Address, Backoff, Config, News, Timeouts};
use rustix::io::Errno;
use std::time::Duration;

impl Stage {
    /// Somebody waits to be accepted.
    fn queue(&mut self, peer: &Peer) {
        self.rounds.net_mut().backlog.push_back((peer.clone(), Address::Pair));
    }

    /// The poller has news of the listener.
    fn knock(&mut self) {
        self.rounds.on_news(self.listener, News { read: true, ..News::default() }, &mut self.host);
    }
}

#[test]
fn fault_18_19_listener_without_resources_is_left_alone_in_its_pause_and_then_goes_on() {
    for shortage in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        let mut stage = Stage::new(config(64 << 20));
        stage.rounds.net_mut().shortage = Some(shortage);
        stage.queue(&Peer::honest());
        stage.knock();
        assert_eq!(stage.rounds.net().asked, 1);
        // Whatever the poller says meanwhile.
        while stage.rounds.net().now.as_nanos() < (Backoff::FIRST_PAUSE - STEP).as_nanos() as u64 {
            stage.knock();
            stage.step();
        }
        assert_eq!(stage.rounds.net().asked, 1, "{shortage:?}: asked in its pause");
        stage.rounds.net_mut().shortage = None;
        stage.step();
        stage.step();
        assert_eq!(stage.rounds.len(), 1, "{shortage:?}: the listener lives, without any news");
        stage.queue(&Peer::honest());
        stage.knock();
        assert_eq!(stage.rounds.len(), 2, "{shortage:?}");
        stage.assert_nothing_left();
    }
}

#[test]
fn fault_24_one_turn_accepts_so_many_and_the_next_ones_the_rest() {
    let mut stage = Stage::new(config(64 << 20));
    let most = ACCEPTS_PER_TURN as usize;
    (0..3 * most).for_each(|_| stage.queue(&Peer::honest()));
    stage.knock();
    assert_eq!(stage.rounds.len(), most);
    assert_eq!(stage.rounds.next_timeout(), Some(Duration::ZERO), "no edge will tell of those who still wait");
    for round in 2..4 {
        stage.step();
        assert_eq!(stage.rounds.len(), round * most);
    }
    stage.step();
    assert!(stage.rounds.next_timeout().is_none_or(|timeout| timeout > STEP), "nobody waits any more");
    stage.assert_nothing_left();
}

#[test]
fn w5_timeouts_of_the_configuration_are_those_of_who_connects_and_of_nobody_else() {
    let first_byte = Some(Duration::from_millis(50));
    let timeouts = Timeouts { first_byte, ..Timeouts::default() };
    let mut stage = Stage::with_limits(Config { timeouts, ..config(64 << 20) }, Limits::DEFAULT);
    let [theirs, ours] = [Peer::honest(), Peer::honest()];
    stage.come(&theirs).unwrap();
    stage.rounds.add(ours.clone(), Connection::new(LineEcho)).unwrap();
    (0..4).for_each(|_| stage.step());
    assert_eq!(theirs.state().taken, b"");
    (0..20).for_each(|_| stage.step());
    assert_eq!(theirs.state().taken, b"error: nothing said for 50 ms\n");
    assert_eq!(ours.state().taken, b"");
    stage.assert_nothing_left();
}
