use crate::listener::{Listener, SocketOptions};
use drywire_server::{Address, Config, Listen, PortReuse, Queue};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_nodelay};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn address(listener: &Listener) -> SocketAddr {
    match listener.acceptor.local_address(listener.fd.as_fd()) {
        Some(Address::Tcp(address)) => address,
        other => panic!("{other:?}"),
    }
}

/// Who gets what waits there now, as each asks until there is nothing.
fn drain(listeners: &mut [Listener]) -> Vec<usize> {
    listeners.iter_mut().map(|listener| accepted(listener).len()).collect()
}

fn accepted(listener: &mut Listener) -> Vec<Address> {
    let mut peers = Vec::new();
    loop {
        match listener.acceptor.accept(listener.fd.as_fd()) {
            Ok((_, peer)) => peers.push(peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return peers,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The listeners at the one place of a server.
fn listeners(config: Config) -> Vec<Listener> {
    Listener::for_workers(&config).unwrap().into_iter().map(|mut each| each.pop().unwrap()).collect()
}

#[test]
fn one_socket_is_dealt_out_in_turns_with_the_names_of_its_peers() {
    let mut all = listeners(Config::new().listen(Listen::Tcp(any_port())).workers(4).port_reuse(PortReuse::Off));
    let to = address(&all[0]);
    assert!(all.iter().all(|listener| address(listener) == to), "each says where it listens");
    let peers: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(to).unwrap()).collect();
    assert_eq!(accepted(&mut all[0]).len(), 2);
    let mut names: Vec<Address> = all[1..].iter_mut().flat_map(accepted).collect();
    assert_eq!(names.len(), 8);
    names.sort_by_key(ToString::to_string);
    names.dedup();
    assert_eq!(names.len(), 8);
    let ours: Vec<Address> = peers.iter().map(|peer| Address::Tcp(peer.local_addr().unwrap())).collect();
    assert!(names.iter().all(|name| ours.contains(name)), "{names:?}");
}

#[test]
fn streams_never_block_and_are_not_inherited_whoever_accepted_them() {
    let mut all = listeners(Config::new().listen(Listen::Tcp(any_port())).workers(2).port_reuse(PortReuse::Off));
    let _peers: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address(&all[0])).unwrap()).collect();
    for listener in &mut all {
        for _ in 0..2 {
            let (stream, _) = listener.acceptor.accept(listener.fd.as_fd()).unwrap();
            assert!(fcntl_getfl(&stream).unwrap().contains(OFlags::NONBLOCK));
            assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
        }
    }
}

#[test]
fn who_takes_no_more_is_passed_over_and_nobody_is_lost() {
    let mut all = listeners(Config::new().listen(Listen::Tcp(any_port())).workers(3).port_reuse(PortReuse::Off));
    let to = address(&all[0]);
    // The second is gone, the third does not come by for so long that its lane is full.
    drop(all.remove(1));
    let (mut rounds, mut ours, mut theirs) = (0, 0, 0);
    while ours <= rounds / 2 + 10 {
        assert!(rounds < 10_000, "a lane has a bound");
        let _peer = TcpStream::connect(to).unwrap();
        rounds += 1;
        ours += accepted(&mut all[0]).len();
    }
    // Those who have gone meanwhile are lost one by one; what is left is all of them.
    let busy = &mut all[1];
    loop {
        match busy.acceptor.accept(busy.fd.as_fd()) {
            Ok(_) => theirs += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error}"),
        }
    }
    assert_eq!(ours + theirs, rounds);
}

#[test]
fn fault_57_lane_of_a_worker_that_stops_keeps_what_is_in_it_and_takes_no_more() {
    let mut all = listeners(Config::new().listen(Listen::Tcp(any_port())).workers(3).port_reuse(PortReuse::Off));
    let to = address(&all[0]);
    let mut peers: Vec<TcpStream> = (0..9).map(|_| TcpStream::connect(to).unwrap()).collect();
    assert_eq!(accepted(&mut all[0]).len(), 3);
    assert_eq!(all[1].acceptor.close_queue(), Queue::Ours);
    peers.extend((0..6).map(|_| TcpStream::connect(to).unwrap()));
    let ours = accepted(&mut all[0]).len();
    assert_eq!(accepted(&mut all[1]).len(), 3, "what was in it before, and then it is empty");
    assert_eq!(ours + accepted(&mut all[2]).len(), 9);
    assert_eq!(all[0].acceptor.close_queue(), Queue::Ours);
    assert_eq!(all[2].acceptor.close_queue(), Queue::Ours);
    peers.push(TcpStream::connect(to).unwrap());
    assert_eq!(drain(&mut all), [1, 0, 0], "it falls to the worker that deals");
}

#[test]
fn fault_57_unix_socket_that_closes_cannot_be_found_and_keeps_those_that_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut all = listeners(Config::new().listen(Listen::Unix { path: path.clone(), mode: None }));
    let _peers: Vec<UnixStream> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert_eq!(all[0].acceptor.close_queue(), Queue::Ours);
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(accepted(&mut all[0]).len(), 3);
}

#[test]
fn queue_of_a_socket_that_is_held_elsewhere_is_its_other_holders() {
    let socket = TcpListener::bind(any_port()).unwrap();
    let mut ours = Listener::from(socket.try_clone().unwrap()).held_elsewhere();
    let _peer = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    assert_eq!(ours.acceptor.close_queue(), Queue::Shared);
    drop(ours);
    socket.accept().unwrap();
    assert_eq!(Listener::from(socket).acceptor.close_queue(), Queue::Ours);
}

#[test]
fn ports_are_reused_by_our_workers_and_by_no_second_server() {
    let config = Config::new().listen(Listen::Tcp(any_port())).workers(4);
    let mut all = listeners(config.clone());
    let to = address(&all[0]);
    assert!(all.iter().all(|listener| address(listener) == to), "port 0 is one port");
    let _peers: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(to).unwrap()).collect();
    let each = drain(&mut all);
    assert_eq!(each.iter().sum::<usize>(), 100);
    assert!(each.iter().all(|n| *n > 0), "{each:?}");
    for workers in [1, 4] {
        let again = Config { listen: vec![Listen::Tcp(to)], workers, ..config.clone() };
        let error = Listener::for_workers(&again).unwrap_err().to_string();
        assert!(error.contains("address already in use; stop the program that has it"), "{error}");
    }
}

#[test]
fn reuse_that_there_cannot_be_is_an_error_when_it_must_be() {
    let directory = tempfile::tempdir().unwrap();
    let unix = Listen::Unix { path: directory.path().join("socket"), mode: None };
    let config = Config::new().listen(unix).workers(2).port_reuse(PortReuse::On);
    let error = Listener::for_workers(&config).unwrap_err().to_string();
    assert!(error.ends_with("turn port-reuse to auto"), "{error}");
    assert!(Listener::for_workers(&config.workers(1)).is_ok(), "one worker needs none");
}

#[test]
fn mode_of_a_unix_socket_is_there_from_the_start_and_the_file_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    for mode in [0o600, 0o666] {
        let listeners =
            listeners(Config::new().listen(Listen::Unix { path: path.clone(), mode: Some(mode) }).workers(2));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        drop(UnixStream::connect(&path).unwrap());
        drop(listeners);
        assert!(!path.exists());
    }
}

#[test]
fn w5_accepted_sockets_have_keep_alive_and_no_delay_as_configured() {
    for (keep_alive, no_delay) in [(Some(Duration::from_secs(77)), true), (None, false)] {
        let config = Config::new().no_delay(no_delay).keep_alive(keep_alive);
        let listener = TcpListener::bind(any_port()).unwrap();
        let mut listener = Listener::from(listener).with(&SocketOptions::of(&config));
        let _peer = TcpStream::connect(address(&listener)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match listener.acceptor.accept(listener.fd.as_fd()) {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline),
            }
        };
        assert_eq!(tcp_nodelay(&stream).unwrap(), no_delay);
        assert_eq!(socket_keepalive(&stream).unwrap(), keep_alive.is_some());
        if let Some(after) = keep_alive {
            assert_eq!(tcp_keepidle(&stream).unwrap(), after);
        }
    }
}
