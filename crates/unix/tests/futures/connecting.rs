//! Connections of our own, before they stand.

use crate::runtime::{Runtime, on_every_runtime};
use crate::scene::{PATIENCE, Recorder, pump, pump_for};
use drywire_core::{CloseReport, Connection, Context, Protocol, Reason, Stop, TransportError};
use drywire_server::{Address, Application, Config, Id, Net, Target, Worker};
use drywire_unix::futures::Driver;
use std::convert::Infallible;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

on_every_runtime!(
    opened_comes_before_all_that_the_peer_says,
    refused_connection_that_reads_nothing_is_reported_and_does_not_spin,
    w6_waiting_for_a_connection_gives_it_or_says_why_not,
    w6_waiting_that_is_dropped_leaves_the_connection_on_its_way,
);

/// Hands everything up.
#[derive(Debug)]
struct Tells;

impl Protocol for Tells {
    type Event = Vec<u8>;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        cx.emit(input.to_vec())?;
        Ok(input.len())
    }
}

#[derive(Default)]
struct Order(Vec<&'static str>);

impl<N: Net> Application<N, Tells> for Order {
    fn accept(&mut self, _: &mut Worker<Tells, (), N>, _: Id, _: &Address) -> Option<Connection<Tells>> {
        None
    }

    fn opened(&mut self, _: &mut Worker<Tells, (), N>, _: Id) {
        self.0.push("opened");
    }

    fn event(&mut self, _: &mut Worker<Tells, (), N>, _: Id, _: Vec<u8>) {
        self.0.push("event");
    }

    fn closed(&mut self, _: &mut Worker<Tells, (), N>, _: Id, _: CloseReport<Infallible>) {
        self.0.push("closed");
    }
}

fn opened_comes_before_all_that_the_peer_says<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let mut order = Order::default();
    R::block_on(async {
        let mut driver: Driver<Tells, (), R> = Driver::new(Config::default()).unwrap();
        driver.connect(&address, Connection::new(Tells)).unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(b"220 hello\r\n").unwrap();
        thread::sleep(Duration::from_millis(30));
        drop(peer);
        crate::scene::within(PATIENCE, driver.run(&mut order)).await.expect("it ends").unwrap();
    });
    assert_eq!(order.0, ["opened", "event", "closed"]);
}

/// Does not want to read.
#[derive(Debug)]
struct Deaf;

impl Protocol for Deaf {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn open(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.disable_read();
        Ok(())
    }

    fn consume(&mut self, input: &[u8], _: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        Ok(input.len())
    }
}

fn refused_connection_that_reads_nothing_is_reported_and_does_not_spin<R: Runtime>() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut recorder = Recorder::<Deaf>::new(|| Connection::new(Deaf));
    R::block_on(async {
        let mut driver: Driver<Deaf, (), R> = Driver::new(Config::default()).unwrap();
        driver.connect(Address::Tcp(nobody), Connection::new(Deaf)).unwrap();
        pump(&mut driver, &mut recorder, "the report", |_, r| !r.closed.is_empty()).await;
        let rounds = pump_for(&mut driver, &mut recorder, Duration::from_millis(30)).await;
        assert!(rounds <= 2, "{rounds} rounds about nothing");
    });
    assert!(recorder.opened.is_empty());
    assert_eq!(recorder.closed[0].1.reason, Reason::Transport(TransportError::Refused));
}

fn w6_waiting_for_a_connection_gives_it_or_says_why_not<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _fills_it = TcpStream::connect(full.local_addr().unwrap()).unwrap();
    let mut order = Order::default();
    R::block_on(async {
        let mut driver: Driver<Tells, (), R> = Driver::new(Config::default()).unwrap();
        let target = Target::name("localhost", port).within(PATIENCE);
        let id = driver.connect_and_wait(target, Connection::new(Tells), &mut order).await.expect("it listens");
        assert!(driver.connection(id).is_some() && !driver.is_coming(id));
        assert_eq!(order.0, ["opened"]);

        let words = async |driver: &mut Driver<Tells, (), R>, order: &mut Order, target: Target| {
            let error = driver.connect_and_wait(target, Connection::new(Tells), order).await.unwrap_err();
            assert_eq!(driver.len(), 1, "the one that stands");
            error.to_string()
        };
        let nobody = Target::name("name.invalid", 25).within(PATIENCE);
        assert!(words(&mut driver, &mut order, nobody).await.contains("check the name"));
        let silent = Target::from(full.local_addr().unwrap()).within(Duration::from_millis(200));
        assert!(words(&mut driver, &mut order, silent).await.contains("nobody answered within 200ms"));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(words(&mut driver, &mut order, free.into()).await.contains("connection refused"));
        assert!(words(&mut driver, &mut order, Address::Unix(None).into()).await.contains("unix:(unnamed)"));
    });
    assert_eq!(order.0, ["opened"], "an end that was returned is not told as well");
}

fn w6_waiting_that_is_dropped_leaves_the_connection_on_its_way<R: Runtime>() {
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _fills_it = TcpStream::connect(full.local_addr().unwrap()).unwrap();
    let mut order = Order::default();
    R::block_on(async {
        let mut driver: Driver<Tells, (), R> = Driver::new(Config::default()).unwrap();
        let target = Target::from(full.local_addr().unwrap()).within(Duration::from_millis(300));
        let waiting = driver.connect_and_wait(target, Connection::new(Tells), &mut order);
        assert!(crate::scene::polled(1, waiting).await.is_none(), "nobody answers");
        assert_eq!(driver.len(), 1);
        crate::scene::within(PATIENCE, driver.run(&mut order)).await.expect("its deadline ends it").unwrap();
    });
    assert_eq!(order.0, ["closed"]);
}
