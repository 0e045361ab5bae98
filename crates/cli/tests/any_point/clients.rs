//! Clients that keep a server busy until it has gone, and count what they got.

use crate::support::PATIENCE;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How a client goes about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// The next request when the reply has come.
    Asking,
    /// Requests without a pause, whatever comes back.
    Flooding,
    /// The same, and reads slowly.
    FloodingSlowly,
    /// Something big, read slowly.
    Slow,
    /// Something big, again and again.
    Big,
    /// Something big, and reads nothing before the server has gone.
    Deaf,
}

impl Manner {
    pub(crate) const ALL: [Manner; 8] = [
        Manner::Asking,
        Manner::Asking,
        Manner::Asking,
        Manner::Flooding,
        Manner::FloodingSlowly,
        Manner::Slow,
        Manner::Big,
        Manner::Deaf,
    ];
}

/// What a client has seen when it is over.
pub(crate) struct Client {
    manner: Manner,
    pub(crate) address: SocketAddr,
    /// Bytes.
    pub(crate) received: u64,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} client {}, which received {} bytes", self.manner, self.address, self.received)
    }
}

/// Connected when this returns, if the server still listens then.
pub(crate) fn start(server: SocketAddr, manner: Manner, is_dialog: bool) -> JoinHandle<Client> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    let address = stream.local_addr().expect("it is connected");
    thread::spawn(move || {
        let received = talk(&stream, manner, is_dialog);
        Client { manner, address, received }
    })
}

fn talk(stream: &TcpStream, manner: Manner, is_dialog: bool) -> u64 {
    let line = [vec![b'x'; 9000], vec![b'\n']].concat();
    let (small, big) = if is_dialog { (&b"GET small\n"[..], &b"GET big\n"[..]) } else { (&b"hello\n"[..], &line[..]) };
    match manner {
        Manner::Asking => ask(stream, small),
        Manner::Flooding => flood(stream, small, Duration::ZERO),
        Manner::FloodingSlowly => flood(stream, small, Duration::from_micros(500)),
        Manner::Big => flood(stream, big, Duration::ZERO),
        Manner::Slow => {
            // That it is not taken shows in what comes back.
            let _ = (&mut &*stream).write_all(big);
            read_all(stream, Duration::from_millis(2), 256 * 1024)
        }
        Manner::Deaf => {
            let _ = (&mut &*stream).write_all(big);
            thread::sleep(Duration::from_millis(150));
            read_all(stream, Duration::ZERO, 256 * 1024)
        }
    }
}

/// One request after the other. A reply is as long as the first one was.
fn ask(mut stream: &TcpStream, request: &[u8]) -> u64 {
    let reply = if request.starts_with(b"GET") { "OK 1000\n".len() + crate::SMALL } else { request.len() };
    let mut received = 0;
    let mut block = vec![0; reply];
    loop {
        if stream.write_all(request).is_err() {
            return received + read_all(stream, Duration::ZERO, 4096);
        }
        let mut got = 0;
        while got < reply {
            match read(stream, &mut block[got..]) {
                0 => return received + got as u64,
                n => got += n,
            }
        }
        received += got as u64;
    }
}

/// Requests from a thread of their own, until nobody takes them.
fn flood(stream: &TcpStream, request: &[u8], pause: Duration) -> u64 {
    let requests = request.repeat(20);
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut stream = stream;
            while stream.write_all(&requests).is_ok() {}
        });
        let received = read_all(stream, pause, 16 * 1024);
        // The server is done with it, and so are we.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        writing.join().expect("it only writes");
        received
    })
}

fn read_all(stream: &TcpStream, pause: Duration, block: usize) -> u64 {
    let mut block = vec![0; block];
    let mut received = 0;
    loop {
        match read(stream, &mut block) {
            0 => return received,
            n => received += n as u64,
        }
        thread::sleep(pause);
    }
}

/// 0 at the end, however it comes.
fn read(mut stream: &TcpStream, block: &mut [u8]) -> usize {
    match stream.read(block) {
        Ok(n) => n,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => 0,
        Err(error) => panic!("the server neither sends nor ends: {error}"),
    }
}
