//! A process that was stopped does not take its own pause for the silence of its
//! peers (FAULTS 58).

use crate::support::Server;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

crate::support::on_every_driver!(fault_58_pause_of_the_process_is_nobodys_silence);

fn fault_58_pause_of_the_process_is_nobodys_silence(driver: &str) {
    const PEERS: usize = 300;
    let server = Server::start(&["line-echo", "--driver", driver, "--idle-timeout", "1s"]);
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.write_all(b"a\n").unwrap();
        peer.read_exact(&mut [0; 2]).unwrap();
    }
    server.program.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(100));
    for peer in &mut peers {
        peer.write_all(b"hello\n").unwrap();
    }
    thread::sleep(Duration::from_millis(1300));
    server.program.signal(Signal::CONT);
    for (n, peer) in peers.iter_mut().enumerate() {
        let mut line = [0; 6];
        peer.read_exact(&mut line).unwrap_or_else(|error| panic!("peer {n} of {PEERS} was cut: {error}"));
        assert_eq!(&line, b"hello\n");
    }
}
