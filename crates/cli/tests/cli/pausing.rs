//! A process that was stopped does not take its own pause for the silence of its
//! peers (FAULTS 58).

use crate::support::{Server, in_time};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

crate::support::on_every_driver!(fault_58_pause_of_the_process_is_nobodys_silence);

fn fault_58_pause_of_the_process_is_nobodys_silence(driver: &str) {
    const PEERS: usize = 300;
    in_time(|times| {
        let idle = times * Duration::from_secs(1);
        let timeout = format!("{times}s");
        let server = Server::start(&["line-echo", "--driver", driver, "--idle-timeout", &timeout]);
        let start = Instant::now();
        let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
        for peer in &mut peers {
            // Where the machine has no time for us the first ones have been silent for too long.
            let _ = peer.write_all(b"a\n").and_then(|()| peer.read_exact(&mut [0; 2]));
        }
        server.program.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(100));
        if start.elapsed() >= idle {
            server.program.signal(Signal::CONT);
            return false;
        }
        for peer in &mut peers {
            peer.write_all(b"hello\n").unwrap();
        }
        thread::sleep(idle + Duration::from_millis(300));
        server.program.signal(Signal::CONT);
        for (n, peer) in peers.iter_mut().enumerate() {
            let mut line = [0; 6];
            peer.read_exact(&mut line).unwrap_or_else(|error| panic!("peer {n} of {PEERS} was cut: {error}"));
            assert_eq!(&line, b"hello\n");
        }
        true
    });
}
