//! Five thousand connections at once (row E6, invariant I6).

use crate::child::{allow_descriptors, descriptors, isolated, resident_bytes, say};
use crate::harness::{Served, quick};
use crate::peer::connect;
use drywire_core::{Connection, Limits};
use drywire_driver_mio::Config;
use drywire_protocols::LineEcho;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

const CONNECTIONS: usize = 5000;

isolated!(e6_five_thousand_connections_at_once_are_all_served, {
    // Both ends live in this process.
    if !allow_descriptors(2 * CONNECTIONS as u64 + 100) {
        say("note: skipped: five thousand connections need 10100 descriptors, and the hard limit is lower");
        assert!(std::env::var_os("DRYWIRE_NO_SKIP").is_none(), "nothing may be skipped here: raise the hard limit");
        return;
    }
    let baseline = descriptors();
    let server =
        Served::<LineEcho>::start(Config::default(), || Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT)));
    let (start, before) = (Instant::now(), resident_bytes());
    let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    for round in 0..2 {
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.write_all(format!("{round} {n}\n").as_bytes()).unwrap();
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            let expected = format!("{round} {n}\n");
            let mut got = vec![0; expected.len()];
            peer.read_exact(&mut got).unwrap_or_else(|error| panic!("connection {n}: {error}"));
            assert_eq!(String::from_utf8(got).unwrap(), expected);
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < CONNECTIONS * 4096, "I2: {} bytes for each", grown / CONNECTIONS);
    for peer in &peers {
        peer.shutdown(Shutdown::Write).unwrap();
    }
    for peer in &mut peers {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
    say(&format!(
        "note: {CONNECTIONS} connections took {:.1} s, {} bytes each",
        start.elapsed().as_secs_f64(),
        grown / CONNECTIONS
    ));
    drop(peers);
    let ended = server.stop();
    assert_eq!((ended.opened, ended.closed.len()), (CONNECTIONS, CONNECTIONS));
    assert_eq!(descriptors(), baseline, "I6");
});
