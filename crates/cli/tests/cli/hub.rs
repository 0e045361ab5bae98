//! `drywire serve hub`: messages with their length in front.

use crate::support::{Program, Server, assert_same, bounded, installed, noise, read_to_end};
use std::io::Write;
use std::net::Shutdown;
use std::process::{Command, Stdio};

crate::support::on_every_driver!(
    h14_messages_of_every_size_come_back,
    h14_length_beyond_the_bound_closes_that_connection_and_no_other,
    h15_original_hub_has_its_messages_back,
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

/// GAP's own IOHub, from Debian's `gap-core` and `gap-io`.
fn h15_original_hub_has_its_messages_back(driver: &str) {
    let Some(gap) = installed(&["gap"], "gap-core and gap-io", "to talk to") else { return };
    let server = Server::start(&["hub", "--driver", driver]);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/gap/client.g");
    let mut gap = Command::new(gap);
    gap.args(["-A", "-q", "--nointeract", script]).env("PORT", port);
    gap.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut gap = Program::start(&mut gap);
    let stdout = gap.stdout();
    let said = bounded("the messages", move || read_to_end(stdout));
    let said = String::from_utf8_lossy(&said);
    assert!(said.lines().any(|line| line == "same"), "{said}");
    gap.exits_with(0);
}
