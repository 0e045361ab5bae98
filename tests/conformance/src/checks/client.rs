//! The driver connects, to a plain blocking server (row E9).

use crate::noise::{Noise, assert_same};
use crate::peer::{Peer, begin_to_connect, read_end, read_line, reset, send};
use crate::stage::Stage;
use crate::subject::{Capability, Seen, Subject};
use crate::suite::say;
use crate::talk::Talk;
use drywire_core::{Connection, Context, Protocol, Reason, Stop, TransportError};
use drywire_server::Address;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// The batch client: says all it has to say, ends, and tells of what it hears.
#[derive(Debug)]
pub struct Batch(pub(super) Vec<u8>);

impl Protocol for Batch {
    type Event = Vec<u8>;
    type Command = Infallible;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(&self.0)?;
        cx.half_close();
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(input.to_vec())?;
        Ok(input.len())
    }
}

/// Sends, half-closes, and reads megabytes on until the server closes; then the
/// driver's client has ended by itself.
pub fn e9_client_sends_ends_and_reads_on_until_the_server_closes<S: Subject>() {
    let (listener, address) = listen();
    let (asked, answer) = (Noise::new(1).bytes(100_000), Noise::new(2).bytes(3 << 20));
    let text = asked.clone();
    let mut stage = Stage::<S, Batch>::connect_to(&address, move || Connection::new(Batch(text.clone())));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = accept::<S>(&listener);
            assert_same(&read_end(&mut stream), &asked);
            send(&mut stream, &answer);
        });
        assert_eq!(stage.report(0).reason, Reason::Finished);
        stage.join();
    });
    stage.scene.look(|seen| {
        let [only] = seen else { panic!("{} connections instead of one", seen.len()) };
        assert_same(&only.events.concat(), &answer);
    });
}

/// That nobody answers is no error of the call but the reason in the report.
pub fn e9_client_to_an_address_nobody_listens_on_is_told_refused_once<S: Subject>() {
    // Its port was free a moment ago.
    let (listener, address) = listen();
    drop(listener);
    let mut stage = Stage::<S, Batch>::connect_to(&address, || Connection::new(Batch(b"hello\n".into())));
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::Refused));
    stage.join();
    assert_eq!(stage.scene.look(|seen| (seen.len(), seen[0].reports.len(), seen[0].events.len())), (1, 1, 0));
}

/// A reset in the middle is told from an end.
pub fn e9_client_of_a_server_that_resets_is_told_so_once<S: Subject>() {
    let (listener, address) = listen();
    let mut stage = Stage::<S, Batch>::connect_to(&address, || Connection::new(Batch(b"hello\n".into())));
    let mut stream = accept::<S>(&listener);
    assert_same(&read_end(&mut stream), b"hello\n");
    reset(stream);
    assert_eq!(stage.report(0).reason, Reason::Transport(TransportError::Reset));
    stage.join();
}

/// The half-close is asked for while the system still connects, and no socket can be
/// shut down then: it must come once the connection stands. Loopback connects at once,
/// but not to a listener whose queue is full; Linux asks again after a second.
pub fn e9_client_that_ends_before_it_is_connected_ends_then<S: Subject>() {
    let (listener, address, others) = crowded();
    let mut stage = Stage::<S, Batch>::connect_to(&address, || Connection::new(Batch(Vec::new())));
    thread::sleep(Duration::from_millis(500));
    assert!(
        stage.scene.look(|seen| seen.iter().all(|seen| seen.reports.is_empty())),
        "an end was reported while it connects"
    );
    let (mut stream, _held) = accept_but::<S>(&listener, &others);
    assert_same(&read_end(&mut stream), b"");
    drop(stream);
    assert_eq!(stage.report(0).reason, Reason::Finished);
    stage.join();
}

/// The same wait, and a protocol that has nothing to say: the application is told all
/// the same that the connection stands, or it could never say anything.
pub fn e9_client_that_says_and_hears_nothing_is_told_that_it_is_connected<S: Subject>() {
    if !S::CAN.contains(&Capability::Commands) {
        return say(&format!("not applicable: {} does not declare Commands, and is told by no call", S::NAME));
    }
    let (listener, address, others) = crowded();
    let stage = Stage::<S, Talk>::connect_to(&address, || Connection::new(Talk));
    thread::sleep(Duration::from_millis(500));
    let (mut stream, _held) = accept_but::<S>(&listener, &others);
    stage.wait("`opened`", |seen| seen.first().is_some_and(Seen::is_opened));
    assert!(stage.scene.send(0, b"at last\n".into()).is_ok(), "nothing has ended it");
    assert_eq!(read_line(&mut stream), "at last\n");
    drop(stream);
    assert_eq!(stage.report(0).reason, Reason::Finished);
}

/// A listener whose queue is full, and those who fill it.
#[track_caller]
pub(super) fn crowded() -> (TcpListener, Address, Vec<(OwnedFd, SocketAddr)>) {
    let (listener, address) = listen();
    rustix::net::listen(&listener, 0).expect("a shorter queue");
    // One fits, and fills it. More would come again with the client, all in the same
    // moment, and one that finds the queue full then is lost without a word.
    let other = begin_to_connect(listener.local_addr().expect("bound"));
    (listener, address, vec![other])
}

/// Accepts until somebody comes who is none of `others`; holds those who came before.
#[track_caller]
fn accept_but<S: Subject>(listener: &TcpListener, others: &[(OwnedFd, SocketAddr)]) -> (Peer, Vec<TcpStream>) {
    listener.set_nonblocking(true).expect("a TCP socket");
    let give_up = Instant::now() + S::PATIENCE;
    let mut held = Vec::new();
    loop {
        let Ok((stream, from)) = listener.accept() else {
            assert!(Instant::now() < give_up, "the client did not connect within {:?}", S::PATIENCE);
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        if others.iter().all(|(_, other)| *other != from) {
            return (Peer::accepted::<S>(stream), held);
        }
        held.push(stream);
    }
}

#[track_caller]
pub(super) fn accept<S: Subject>(listener: &TcpListener) -> Peer {
    let (stream, _) = listener.accept().expect("a client");
    Peer::accepted::<S>(stream)
}

#[track_caller]
pub(super) fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = Address::Tcp(listener.local_addr().expect("bound"));
    (listener, address)
}
