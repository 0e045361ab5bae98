//! What only tokio has: threads that share tasks. How its runtimes end is in `ends`.

use crate::scene::{PATIENCE, Recorder, connect, listening};
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
            driver.run(&mut recorder).await.unwrap();
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
