//! The client: plain blocking sockets, so that nothing of drywire is on both sides.

use super::talk::{Digest, Talk};
use indicatif::ProgressBar;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// Silence for longer is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one connection sent and heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) digest: u64,
    pub(super) end: End,
}

/// How a connection ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Clean,
    Reset,
}

/// Plays every script at once, each on a connection of its own. They connect one
/// after another: the server numbers them in that order.
pub(super) fn talk_to(server: &SocketAddr, talk: &Talk, bar: &ProgressBar) -> io::Result<Vec<Heard>> {
    thread::scope(|scope| {
        let mut playing = Vec::new();
        for script in &talk.scripts {
            let stream = TcpStream::connect_timeout(server, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            playing.push(scope.spawn(move || play(&stream, &script.request, bar)));
        }
        playing.into_iter().map(|player| player.join().expect("a player does not panic")).collect()
    })
}

/// Sends and reads at the same time, as a pipelining client has to.
fn play(stream: &TcpStream, request: &[u8], bar: &ProgressBar) -> io::Result<Heard> {
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let mut stream = stream;
            // A server that has had enough of us is heard, and then we stop.
            let _ = stream.write_all(request).and_then(|()| stream.shutdown(Shutdown::Write));
        });
        let (mut stream, mut digest, mut slot) = (stream, Digest::default(), vec![0; 64 * 1024]);
        let end = loop {
            match stream.read(&mut slot) {
                Ok(0) => break End::Clean,
                Ok(n) => {
                    digest.add(&slot[..n]);
                    bar.inc(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break End::Reset,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        sender.join().expect("it does not panic");
        Ok(digest.heard(request.len() as u64, end))
    })
}
