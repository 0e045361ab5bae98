//! Servers of several workers (W1, W9) on every driver: who gets which connection, who is woken for it,
//! and how they end together.

mod running;

use drywire_protocols::LineEcho;
use drywire_server::{Address, AskError, Config, Listen, OnPanic, PortReuse, ServerHandle, Workers};
use drywire_unix::Listener;
use running::{
    Command, Mio, PATIENCE, Runs, Seen, Smol, Started, Then, Tokio, WORKERS, any_port, counting, counts, greet, sum,
    tokio_threads, until,
};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

fn w1_every_worker_gets_connections_at_one_port_and_all_are_drained<R: Runs>() {
    let server = Started::on::<R>(any_port());
    let peers: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    let opened = counts(&server.seen.opened);
    assert_eq!(opened.iter().sum::<usize>(), 64);
    assert!(opened.iter().all(|n| *n > 0), "{opened:?}");
    server.workers.shutdown();
    for mut peer in &peers {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end, and no reset");
    }
    drop(peers);
    let seen = server.seen.clone();
    server.ends().unwrap();
    assert_eq!(counts(&seen.closed), counts(&seen.opened));
}

fn w1_unix_socket_is_dealt_out_evenly<R: Runs>() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Started::on::<R>(Listen::Unix { path: path.clone(), mode: None });
    let mut peers = Vec::new();
    for _ in 0..16 {
        let mut peer = UnixStream::connect(&path).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut peer);
        peers.push(peer);
    }
    assert_eq!(counts(&server.seen.opened), [4; WORKERS]);
    server.workers.shutdown();
    assert!(peers.iter_mut().all(|peer| peer.read(&mut [0]).unwrap() == 0));
    drop(peers);
    server.ends().unwrap();
    assert!(!path.exists());
}

fn w6_each_worker_connects_when_another_thread_asks<R: Runs>() {
    let server = Started::on::<R>(any_port());
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = Address::Tcp(elsewhere.local_addr().unwrap());
    let handles = server.workers.each().to_vec();
    for handle in &handles {
        handle.connect(&address).unwrap();
        let mut peer = None;
        until("it connects", || {
            peer = elsewhere.accept().ok();
            peer.is_some()
        });
        let (mut peer, _) = peer.unwrap();
        peer.set_nonblocking(false).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        greet(&mut peer);
    }
    assert_eq!(counts(&server.seen.opened), [1; WORKERS]);
    server.workers.shutdown();
    server.ends().unwrap();
    assert!(handles.iter().all(|handle| handle.connect(&address) == Err(AskError::Closed)));
}

fn w6_an_abort_is_for_all<R: Runs>() {
    let server = Started::on::<R>(any_port());
    let _peers: Vec<TcpStream> = (0..16).map(|_| server.connect()).collect();
    server.workers.abort();
    let seen = server.seen.clone();
    server.ends().unwrap();
    assert_eq!(sum(&seen.closed), 16);
}

fn w1_panic_of_one_worker_ends_the_others_gracefully_and_goes_on<R: Runs>() {
    let server = Started::that::<R>(Config::new().listen(any_port()).on_panic(OnPanic::Stop), (20, Then::Panic));
    let peers: Vec<TcpStream> = (0..19).map(|_| server.connect()).collect();
    let Address::Tcp(address) = server.addresses[0] else { panic!("it is TCP") };
    let last = TcpStream::connect(address).unwrap();
    let mut gracefully = 0;
    for mut peer in &peers {
        gracefully += usize::from(peer.read(&mut [0]).is_ok_and(|n| n == 0));
    }
    drop((peers, last));
    let seen = server.seen.clone();
    let panic = server.ends().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    let others = sum(&seen.closed);
    assert!(gracefully >= others && others > 0, "{gracefully} ends, {others} reports");
}

fn w1_end_of_one_worker_is_the_end_of_all<R: Runs>() {
    let server = Started::that::<R>(Config::new().listen(any_port()), (20, Then::EndThisWorker));
    let mut peers: Vec<TcpStream> = (0..19).map(|_| server.connect()).collect();
    let Address::Tcp(address) = server.addresses[0] else { panic!("it is TCP") };
    peers.push(TcpStream::connect(address).unwrap());
    thread::scope(|scope| {
        for mut peer in peers {
            // Each answers the end with its own at once.
            scope.spawn(move || assert_eq!(peer.read(&mut [0]).unwrap(), 0));
        }
    });
    let seen = server.seen.clone();
    server.ends().unwrap();
    assert_eq!(sum(&seen.closed), 20);
}

/// How many workers were woken for each connection that came and went, with these sockets.
fn woken<R: Runs>(listeners: Vec<Vec<Listener>>, address: Address) -> f64 {
    const CONNECTIONS: usize = 40;
    let Address::Tcp(address) = address else { panic!("{address}") };
    let seen = Arc::new(Seen::default());
    let theirs = seen.clone();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || R::count(listeners, &theirs, |workers| tell.send(workers).unwrap()));
    let workers: Workers<Command> = told.recv().unwrap();
    // Those that were woken about it are back.
    let settle = || {
        thread::sleep(Duration::from_millis(10));
        until("the workers sleep", || R::is_counted(&seen));
    };
    let mut woken = 0;
    for n in 1..=CONNECTIONS {
        settle();
        let before = R::woken(&seen);
        drop(TcpStream::connect(address).unwrap());
        until("it has come and gone", || sum(&seen.closed) == n);
        settle();
        let after = R::woken(&seen);
        woken += before.iter().zip(after).filter(|(before, after)| *before != after).count();
    }
    workers.each().iter().for_each(ServerHandle::abort);
    until("the workers end", || thread.is_finished());
    thread.join().unwrap();
    woken as f64 / CONNECTIONS as f64
}

fn listeners(reuse: PortReuse) -> (Vec<Vec<Listener>>, Address) {
    let config = Config::new().listen(any_port()).workers(WORKERS).port_reuse(reuse);
    let listeners = Listener::for_workers(&config).unwrap();
    let first = &listeners[0][0];
    let address = first.acceptor.local_address(std::os::fd::AsFd::as_fd(&first.fd)).unwrap();
    (listeners, address)
}

fn fault_23_port_of_its_own_wakes_one_worker_for_a_connection<R: Runs>() {
    let (listeners, address) = listeners(PortReuse::On);
    let woken = woken::<R>(listeners, address);
    assert!(woken < 1.4, "{woken} workers for each connection");
}

fn fault_23_dealing_wakes_the_one_that_deals_and_the_one_it_is_for<R: Runs>() {
    let (listeners, address) = listeners(PortReuse::Off);
    let woken = woken::<R>(listeners, address);
    // Three in four are for others.
    assert!((1.6..2.2).contains(&woken), "{woken} workers for each connection");
}

/// What the two above would say of a socket that each worker polls.
fn control_fault_23_duplicates_of_a_socket_wake_others<R: Runs>() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(socket.local_addr().unwrap());
    let duplicates = (0..WORKERS).map(|_| vec![Listener::from(socket.try_clone().unwrap())]).collect();
    drop(socket);
    let woken = woken::<R>(duplicates, address);
    assert!(woken > 2.5, "{woken} workers for each connection");
}

macro_rules! on_every_driver {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[test]
            fn on_mio() {
                super::$test::<super::Mio>();
            }

            #[test]
            fn on_tokio() {
                super::$test::<super::Tokio>();
            }

            #[test]
            fn on_smol() {
                super::$test::<super::Smol>();
            }
        })*
    };
}

on_every_driver!(
    w1_every_worker_gets_connections_at_one_port_and_all_are_drained,
    w1_unix_socket_is_dealt_out_evenly,
    w6_each_worker_connects_when_another_thread_asks,
    w6_an_abort_is_for_all,
    w1_panic_of_one_worker_ends_the_others_gracefully_and_goes_on,
    w1_end_of_one_worker_is_the_end_of_all,
    fault_23_port_of_its_own_wakes_one_worker_for_a_connection,
    fault_23_dealing_wakes_the_one_that_deals_and_the_one_it_is_for,
    control_fault_23_duplicates_of_a_socket_wake_others,
);

#[test]
fn w1_workers_of_one_task_serve_and_end_together() {
    fn config() -> Config {
        Config::new().listen("127.0.0.1:0".parse::<Listen>().unwrap()).workers(WORKERS)
    }
    fn visit(addresses: &[Address], workers: Workers<Command>) -> JoinHandle<()> {
        let Address::Tcp(address) = addresses[0] else { panic!("it is TCP") };
        thread::spawn(move || {
            for _ in 0..32 {
                greet(&mut TcpStream::connect(address).unwrap());
            }
            workers.shutdown();
        })
    }
    let seen = Arc::new(Seen::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let visitor = runtime.block_on(async {
        let server = drywire_driver_tokio::Server::bind(config()).unwrap();
        let visitor = visit(&server.addresses(), server.workers());
        server.run(|worker| counting(worker, &seen)).await.unwrap();
        visitor
    });
    visitor.join().unwrap();
    let visitor = async_io::block_on(async {
        let server = drywire_driver_smol::Server::bind(config()).unwrap();
        let visitor = visit(&server.addresses(), server.workers());
        server.run(|worker| counting(worker, &seen)).await.unwrap();
        visitor
    });
    visitor.join().unwrap();
    assert_eq!((sum(&seen.opened), sum(&seen.closed)), (64, 64));
}

#[test]
fn w1_worker_whose_future_is_dropped_ends_the_others() {
    let runtime = tokio_threads();
    runtime.block_on(async {
        let config = Config::new().listen(any_port()).workers(WORKERS);
        let server: drywire_driver_tokio::Server<LineEcho> = drywire_driver_tokio::Server::bind(config).unwrap();
        let seen = Arc::new(Seen::default());
        let mut workers = server.into_workers().into_iter();
        // One that nobody ever polls.
        drop(workers.next().unwrap().run(counting(0, &seen)));
        for worker in workers {
            let ended = tokio::spawn(worker.run(counting(1, &seen)));
            tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap().unwrap();
        }
    });
}
