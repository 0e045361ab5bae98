//! What only tokio has: threads that share tasks, and runtimes that end.

use crate::scene::{PATIENCE, Recorder, connect, listening};
use drywire_core::CloseReport;
use drywire_core::Connection;
use drywire_driver_tokio::{Accept, Config, Driver, drive};
use drywire_protocols::LineEcho;
use drywire_server::Quiet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn talk(address: std::net::SocketAddr) {
    let mut peer = connect(address);
    for n in 0..20 {
        writeln!(peer, "{n:07}").unwrap();
        peer.read_exact(&mut [0; 8]).unwrap();
    }
    peer.write_all(b"quit\n").unwrap();
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"quit\n");
}

#[test]
fn several_drivers_on_several_threads_share_one_listener() {
    let runtime = threads();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    for _ in 0..3 {
        let (socket, tell) = (socket.try_clone().unwrap(), tell.clone());
        runtime.spawn(async move {
            let mut driver: Driver<LineEcho> = Driver::new(Config::default()).unwrap();
            driver.listen_on(socket).unwrap();
            tell.send(driver.server_handle()).unwrap();
            let mut recorder = Recorder::new(|| Connection::new(LineEcho));
            driver.run(&mut recorder).await;
            assert_eq!(recorder.opened.len(), recorder.closed.len());
        });
    }
    let handles: Vec<_> = (0..3).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| talk(address));
        }
    });
    for handle in handles {
        handle.shutdown();
    }
    runtime.shutdown_timeout(PATIENCE);
}

#[test]
fn streams_of_tokio_are_driven_in_tasks_of_their_own() {
    let runtime = threads();
    let address = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async { drive(stream, Connection::new(LineEcho), Config::default(), &mut Quiet).await });
            }
        });
        address
    });
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| talk(address));
        }
    });
}

#[test]
fn runtime_that_ends_closes_and_reports_its_connections() {
    for runtime in [threads(), Builder::new_current_thread().enable_all().build().unwrap()] {
        let (tell, told) = mpsc::channel();
        let (peer, ours) = crate::scene::pair();
        runtime.spawn(async move {
            let mut last = Last(tell);
            let _ = drive(ours, Connection::new(LineEcho), Config::default(), &mut last).await;
        });
        // It runs when it answers.
        let mut peer = peer;
        let answer = thread::spawn(move || {
            peer.write_all(b"hello\n").unwrap();
            peer.read_exact(&mut [0; 6]).unwrap();
            peer
        });
        while !answer.is_finished() {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        let mut peer = answer.join().unwrap();
        drop(runtime);
        told.recv_timeout(PATIENCE).expect("a report");
        assert_eq!(peer.read(&mut [0]).expect("a clean end"), 0);
    }
}

/// Tells that a connection has ended.
struct Last(mpsc::Sender<()>);

impl<N: drywire_server::Net> drywire_server::Application<N, LineEcho> for Last {
    fn accept(
        &mut self,
        _: &mut drywire_server::Worker<LineEcho, (), N>,
        _: drywire_server::Id,
        _: &drywire_server::Address,
    ) -> Option<Connection<LineEcho>> {
        None
    }

    fn closed(
        &mut self,
        _: &mut drywire_server::Worker<LineEcho, (), N>,
        _: drywire_server::Id,
        _: CloseReport<std::convert::Infallible>,
    ) {
        self.0.send(()).unwrap();
    }
}

#[test]
fn driver_without_a_runtime_is_an_error_and_no_panic() {
    let error = Driver::<LineEcho>::new(Config::default()).expect_err("there is none");
    assert!(error.to_string().contains("no reactor running") || error.to_string().contains("runtime"), "{error}");
}

#[test]
fn current_thread_runtime_serves_while_its_thread_does_other_things_in_between() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (address, task) = runtime.block_on(async {
        let (mut driver, address): (Driver<LineEcho>, _) = listening(Config::default());
        let task = tokio::spawn(async move { driver.run(&mut Accept(|| LineEcho)).await });
        (address, task)
    });
    let talker = thread::spawn(move || talk(address));
    // Its reads have a timeout of their own.
    while !talker.is_finished() {
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }
    talker.join().unwrap();
    task.abort();
}
