//! Urgent data: a byte beside the stream, in front of which a read stops though more is behind it
//! (FAULTS 21). Which byte that is, and that it is no part of the input, is the system's doing.
//! Source: RFC 9293 §3.8.5, RFC 6093; on Linux Unix sockets have it too.

use crate::peer::{Peer, connect_unix, read_end, read_line, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use drywire_core::{Connection, Context, Protocol, Stop};
use drywire_server::Address;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sends lines back. `hold` waits in its handler, and the server with it, so that what is sent
/// meanwhile is there as a whole before any of it is read.
#[derive(Debug)]
struct Holds {
    held: Sender<()>,
    go: Arc<Mutex<Receiver<()>>>,
    patience: Duration,
}

impl Protocol for Holds {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let line = &input[..=end];
        cx.write(line)?;
        if line == b"hold\n" {
            // What is wrong with a check that has gone shows there.
            let _ = self.held.send(());
            let _ = self.go.lock().expect("nothing panics with it").recv_timeout(self.patience);
        }
        Ok(line.len())
    }
}

/// The check's side of what holds the server.
struct Hold {
    held: Receiver<()>,
    go: Sender<()>,
}

fn holds<S: Subject>() -> (Hold, impl FnMut() -> Connection<Holds> + Send + 'static) {
    let ((held, is_held), (go, goes)) = (channel(), channel());
    let goes = Arc::new(Mutex::new(goes));
    let make = move || Connection::new(Holds { held: held.clone(), go: goes.clone(), patience: S::PATIENCE });
    (Hold { held: is_held, go }, make)
}

impl Hold {
    /// All of `speak` is there before the server reads on.
    #[track_caller]
    fn around<S: Subject>(&self, peer: &mut Peer, speak: impl FnOnce(&mut Peer)) {
        send(peer, b"hold\n");
        self.held.recv_timeout(S::PATIENCE).expect("the handler is called");
        speak(peer);
        self.go.send(()).expect("the server runs");
        assert_eq!(read_line(peer), "hold\n");
    }

    /// False where the system has no urgent data for this socket.
    #[track_caller]
    fn check<S: Subject>(&self, mut peer: Peer) -> bool {
        // What is asked of a driver is in the first answer; the rest is what could go wrong with it.
        let mut has_urgent = true;
        self.around::<S>(&mut peer, |peer| {
            send(peer, b"hel");
            has_urgent = peer.send_urgent();
            send(peer, b"lo\n");
        });
        assert_eq!(read_line(&mut peer), "hello\n", "what is behind the mark");
        if !has_urgent {
            return false;
        }
        // Wherever the server is by then: before the event, between it and the read, behind both.
        for round in 0..200 {
            send(&mut peer, b"round ");
            assert!(peer.send_urgent());
            send(&mut peer, format!("{round}\n").as_bytes());
            assert_eq!(read_line(&mut peer), format!("round {round}\n"));
        }
        self.around::<S>(&mut peer, |peer| assert!(peer.send_urgent(), "alone"));
        send(&mut peer, b"on\n");
        assert_eq!(read_line(&mut peer), "on\n", "nothing but the mark was there");
        self.around::<S>(&mut peer, |peer| {
            send(peer, b"last\n");
            assert!(peer.send_urgent());
            peer.end().expect("connected");
        });
        assert_eq!(read_end(&mut peer), b"last\n", "the mark is the last before the end");
        true
    }
}

/// Over TCP, accepted.
pub fn fault_21_what_is_behind_urgent_data_is_read_at_once<S: Subject>() {
    let (hold, make) = holds::<S>();
    let stage = Stage::<S, Holds>::serve(make);
    assert!(hold.check::<S>(stage.peer()), "TCP has urgent data");
}

/// Over TCP, on a connection that the driver made.
pub fn fault_21_what_is_behind_urgent_data_is_read_at_once_by_a_client<S: Subject>() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (hold, make) = holds::<S>();
    let _stage = Stage::<S, Holds>::connect_to(Address::Tcp(listener.local_addr().expect("bound")), make);
    let (stream, _) = listener.accept().expect("it connects");
    assert!(hold.check::<S>(Peer::accepted::<S>(stream).introduced()), "TCP has urgent data");
}

/// Over a Unix socket, where the system has it.
pub fn fault_21_what_is_behind_urgent_data_is_read_at_once_over_unix<S: Subject>() {
    let dir = tempfile::tempdir().expect("a place for files");
    let path = dir.path().join("socket");
    let (hold, make) = holds::<S>();
    let _stage = Stage::<S, Holds>::serve_on(&Address::Unix(Some(path.clone())), Options::default(), make);
    hold.check::<S>(connect_unix::<S>(&path));
}
