//! Two hubs in one thread, and peers that are none.

use drywire_hub::{Address, Block, Closed, Hub, Input, Number, Target};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// No test takes longer, unless something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}

pub(crate) fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}

pub(crate) fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// A hub that listens on a free port.
pub(crate) fn server() -> (Hub, SocketAddr) {
    let mut hub = Hub::new().unwrap();
    let address = tcp(&hub.listen(target("127.0.0.1:0")).unwrap()[0]);
    (hub, address)
}

pub(crate) fn tcp(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        Address::Unix(_) | Address::Pair => panic!("{address} is no TCP address"),
    }
}

/// A hub that listens, one that has connected to it, and the connection on both.
pub(crate) struct Two {
    pub(crate) server: Hub,
    pub(crate) client: Hub,
    pub(crate) of_server: Number,
    pub(crate) of_client: Number,
}

impl Two {
    pub(crate) fn new() -> Two {
        let (mut server, address) = server();
        let mut client = Hub::new().unwrap();
        let of_client = client.connect(address).unwrap();
        let of_server = server.accept().unwrap();
        Two { server, client, of_server, of_client }
    }

    /// Serves both until `done`.
    #[track_caller]
    pub(crate) fn until(&mut self, mut done: impl FnMut(&mut Hub, &mut Hub) -> bool) {
        let until = Instant::now() + LONG;
        while !done(&mut self.server, &mut self.client) {
            let any = self.server.do_io(Block::No).unwrap() | self.client.do_io(Block::No).unwrap();
            if !any {
                std::thread::sleep(Duration::from_micros(200));
            }
            assert!(Instant::now() < until, "it takes too long");
        }
    }
}

/// The next input, waiting for it.
#[track_caller]
pub(crate) fn next(hub: &mut Hub) -> (Number, Input) {
    let until = Instant::now() + LONG;
    loop {
        hub.do_io(Block::AtMost(LONG)).unwrap();
        if let Some(input) = hub.take_input().unwrap() {
            return input;
        }
        assert!(Instant::now() < until, "nothing comes");
    }
}

/// The next input, which is to be a message.
#[track_caller]
pub(crate) fn next_message(hub: &mut Hub) -> (Number, Vec<u8>) {
    match next(hub) {
        (number, Input::Message(message)) => (number, message.to_vec()),
        (number, input @ (Input::Opened | Input::Ended | Input::Closed(_))) => panic!("{number}: {input:?}"),
    }
}

/// The next input, which is to be the end of a connection.
#[track_caller]
pub(crate) fn next_end(hub: &mut Hub) -> (Number, Closed) {
    match next(hub) {
        (number, Input::Closed(closed)) => (number, closed),
        (number, input @ (Input::Opened | Input::Ended | Input::Message(_))) => panic!("{number}: {input:?}"),
    }
}

/// A peer that is no hub, and the number of its connection.
pub(crate) fn stranger(hub: &mut Hub, address: SocketAddr) -> (TcpStream, Number) {
    let peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer.set_write_timeout(Some(LONG)).unwrap();
    (peer, hub.accept().unwrap())
}

/// What the peer has received by now.
pub(crate) fn received(peer: &mut TcpStream) -> Vec<u8> {
    peer.set_nonblocking(true).unwrap();
    let mut got = Vec::new();
    let mut slot = vec![0; 64 * 1024];
    while let Ok(n) = peer.read(&mut slot) {
        if n == 0 {
            break;
        }
        got.extend_from_slice(&slot[..n]);
    }
    peer.set_nonblocking(false).unwrap();
    got
}
