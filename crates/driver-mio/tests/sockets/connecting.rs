//! Clients: connecting, being refused, ending our direction first.

use crate::harness::{PATIENCE, Recorder, Served, pump, quick};
use crate::peer::read_end;
use drywire_core::{Connection, Context, Limits, Protocol, Reason, Stop, TransportError};
use drywire_driver_mio::{Accept, Address, Config, Driver, Quiet, Target, connect, drive, serve};
use drywire_protocols::LineEcho;
use std::convert::Infallible;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Says its piece, ends its direction, listens to the end.
struct Ask(&'static [u8]);

impl Protocol for Ask {
    type Event = Vec<u8>;
    type Command = Infallible;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write(self.0)?;
        cx.half_close();
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(input.to_vec())?;
        Ok(input.len())
    }
}

fn line_echo() -> Connection<LineEcho> {
    Connection::new(LineEcho).with_limits(quick(Limits::DEFAULT))
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn client_that_half_closes_first_hears_the_whole_answer() {
    let server = Served::<LineEcho>::start(Config::default(), line_echo);
    let question: &[u8] = &b"a line of the client\n".repeat(10_000);
    let question: &'static [u8] = Vec::leak(question.to_vec());
    let limits = Limits { output_bytes: 1 << 20, ..Limits::DEFAULT };
    let asking = Connection::new(Ask(question)).with_limits(limits);
    let mut app = Recorder::new(|| unreachable!("nobody connects to a client"));
    let report = connect(Address::Tcp(server.address), asking, Config::default(), &mut app).unwrap();
    assert_eq!(report.reason, Reason::Finished);
    assert_eq!((report.counters.sent, report.counters.received), (question.len() as u64, question.len() as u64));
    let got: Vec<u8> = app.events.into_iter().flat_map(|(_, bytes)| bytes).collect();
    crate::peer::assert_same(&got, question);
    assert_eq!(server.stop().closed[0].1.reason, Reason::Finished);
}

#[test]
fn a8_refused_connection_has_its_name() {
    let report = connect(Address::Tcp(nobody()), Connection::new(Ask(b"x")), Config::default(), &mut Quiet);
    assert_eq!(report.unwrap().reason, Reason::Transport(TransportError::Refused));
    // Whoever has nothing to say is told as well.
    let report = connect(Address::Tcp(nobody()), Connection::new(Ask(b"")), Config::default(), &mut Quiet);
    assert_eq!(report.unwrap().reason, Reason::Transport(TransportError::Refused));
}

#[test]
fn address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(taken.local_addr().unwrap());
    let error = serve(&address, Config::default(), &mut Accept(|| LineEcho)).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.to_string().contains("address already in use"), "{error}");
}

#[test]
fn stream_that_is_open_already_is_driven_to_its_end() {
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(b"one\nquit\n").unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    let reading = std::thread::spawn(move || read_end(&mut theirs));
    let report = drive(ours, line_echo(), Config::default(), &mut Quiet).unwrap();
    assert_eq!(report.reason, Reason::Finished);
    assert_eq!(reading.join().unwrap(), b"one\nquit\n");
}

/// A listener whose queue is full: a further connect hangs until somebody accepts,
/// and is tried again by the kernel a second later.
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let fd: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listen(&fd, 0).unwrap();
    let listener = TcpListener::from(fd);
    let address = listener.local_addr().unwrap();
    (listener, vec![TcpStream::connect(address).unwrap()])
}

#[test]
fn half_close_while_connecting_waits_for_the_connection() {
    let (listener, fillers) = full_listener();
    let mut driver = Driver::<Ask>::new(Config::default()).unwrap();
    let mut app = Recorder::new(|| unreachable!("nobody connects to a client"));
    let address = Address::Tcp(listener.local_addr().unwrap());
    driver.connect(&address, Connection::new(Ask(b""))).unwrap();
    crate::harness::pump_for(&mut driver, &mut app, Duration::from_millis(50));
    assert!(app.closed.is_empty(), "{:?}", app.report().reason);
    let accepting = std::thread::spawn(move || {
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = read_end(&mut stream);
        stream.write_all(b"welcome").unwrap();
        end
    });
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(app.report().reason, Reason::Finished);
    assert_eq!(app.events[0].1, b"welcome");
    assert_eq!(accepting.join().unwrap(), b"");
    drop(fillers);
}

#[test]
fn bytes_written_while_connecting_are_sent_when_it_is_done() {
    let (listener, _fillers) = full_listener();
    let mut driver = Driver::<Ask>::new(Config::default()).unwrap();
    let mut app = Recorder::new(|| unreachable!("nobody connects to a client"));
    let address = Address::Tcp(listener.local_addr().unwrap());
    driver.connect(&address, Connection::new(Ask(b"early"))).unwrap();
    let accepting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        read_end(&mut stream)
    });
    pump(&mut driver, &mut app, "the close", |_, app| !app.closed.is_empty());
    assert_eq!(app.report().reason, Reason::Finished);
    assert_eq!(accepting.join().unwrap(), b"early");
}

#[test]
fn w6_waiting_for_a_connection_gives_it_or_says_why_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (full, _others) = full_listener();
    let mut app = Recorder::new(|| unreachable!("nobody connects to a client"));
    let mut driver: Driver<Ask> = Driver::new(Config::default()).unwrap();
    let target = Target::name("localhost", listener.local_addr().unwrap().port()).within(PATIENCE);
    let id = driver.connect_and_wait(target, Connection::new(Ask(b"")), &mut app).expect("it listens");
    assert!(driver.connection(id).is_some() && !driver.is_coming(id));

    let silent = Target::from(full.local_addr().unwrap()).within(Duration::from_millis(200));
    for (target, words) in [
        (Target::name("name.invalid", 25).within(PATIENCE), "check the name"),
        (silent, "nobody answered within 200ms"),
        (nobody().into(), "connection refused"),
        (Address::Unix(None).into(), "unix:(unnamed)"),
    ] {
        let error = driver.connect_and_wait(target, Connection::new(Ask(b"")), &mut app).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(driver.len(), 1, "the one that stands");
    }
    assert!(app.closed.is_empty(), "an end that was returned is not told as well");
}

/// A resolver that hangs holds up nobody, not even the driver's end.
#[test]
fn w6_driver_with_names_to_look_up_ends_at_once() {
    let mut driver: Driver<Ask> = Driver::new(Config::default()).unwrap();
    for n in 0..100 {
        driver.connect(Target::name(format!("name-{n}.invalid"), 25), Connection::new(Ask(b""))).unwrap();
    }
    driver.stop();
    driver.run(&mut Quiet).unwrap();
    assert!(driver.is_empty());
}
