//! `drywire serve hub`: messages with their length in front.

use crate::support::{Server, assert_same, noise, read_to_end};
use std::io::Write;
use std::net::Shutdown;

crate::support::on_every_driver!(
    h14_messages_of_every_size_come_back,
    h14_length_beyond_the_bound_closes_that_connection_and_no_other,
);

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}

fn h14_messages_of_every_size_come_back(driver: &str) {
    let server = Server::start(&["hub", "--driver", driver]);
    let sizes = [0, 1, 255, 256, 65_535, 65_536, 1 << 20, 16 << 20, 0];
    let all: Vec<u8> = sizes.iter().flat_map(|size| framed(&noise(*size))).collect();
    let peer = server.connect();
    let to = peer.try_clone().unwrap();
    let said = all.clone();
    let saying = std::thread::spawn(move || {
        (&to).write_all(&said).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
    });
    assert_same(&read_to_end(&peer), &all);
    saying.join().unwrap();
}

fn h14_length_beyond_the_bound_closes_that_connection_and_no_other(driver: &str) {
    let server = Server::start(&["hub", "--driver", driver]);
    let mut other = server.connect();
    for length in [(16 << 20) + 1, 1 << 40, 1 << 63, u64::MAX] {
        let mut peer = server.connect();
        peer.write_all(&[framed(b"before"), u64::to_le_bytes(length).to_vec()].concat()).unwrap();
        assert_same(&read_to_end(&peer), &framed(b"before"));
    }
    other.write_all(&framed(b"still here")).unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    assert_same(&read_to_end(&other), &framed(b"still here"));
}
