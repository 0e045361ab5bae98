//! Nothing is allocated per message once it is warm.

use crate::runtime::{Runtime, on_every_runtime};
use crate::scene::{Recorder, connect, listening, pump};
use drywire_core::Connection;
use drywire_protocols::LineEcho;
use drywire_server::Config;
use drywire_unix::futures::Driver;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;

on_every_runtime!(messages_allocate_nothing);

const MESSAGES: usize = 2000;

fn messages_allocate_nothing<R: Runtime>() {
    let mut recorder = Recorder::<LineEcho>::new(|| Connection::new(LineEcho));
    R::block_on(async {
        let (mut driver, address): (Driver<LineEcho, (), R>, _) = listening(Config::default());
        let (go, gone) = mpsc::channel();
        let peer = thread::spawn(move || {
            let mut peer = connect(address);
            for round in 0..2 {
                for _ in 0..MESSAGES {
                    peer.write_all(b"a line\n").unwrap();
                    peer.read_exact(&mut [0; 7]).unwrap();
                }
                if round == 0 {
                    gone.recv().unwrap();
                }
            }
            peer
        });
        let echoed = |driver: &Driver<LineEcho, (), R>, recorder: &Recorder<LineEcho>| {
            recorder.opened.first().map_or(0, |id| driver.connection(*id).unwrap().counters().sent) / 7
        };
        pump(&mut driver, &mut recorder, "the warm-up", |d, r| echoed(d, r) as usize == MESSAGES).await;
        let mut allocated = 0;
        go.send(()).unwrap();
        while (echoed(&driver, &recorder) as usize) < 2 * MESSAGES {
            driver.wait().await.unwrap();
            let info = allocation_counter::measure(|| driver.dispatch(&mut recorder));
            allocated += info.count_total;
        }
        assert!(allocated <= 4, "{allocated} allocations for {MESSAGES} messages");
        drop(peer.join().unwrap());
    });
}
