//! Servers that follow each other on one listening socket, which this test holds as systemd would.
//!
//! `DRYWIRE_RESTARTS=30` restarts more often.

use crate::support::{PATIENCE, Program, inheriting, on_every_driver, until};
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

on_every_driver!(
    restart_of_one_worker_leaves_no_client_without_its_answer,
    restart_of_four_workers_leaves_no_client_without_its_answer,
);

fn restart_of_one_worker_leaves_no_client_without_its_answer(driver: &str) {
    restart(driver, "1");
}

fn restart_of_four_workers_leaves_no_client_without_its_answer(driver: &str) {
    restart(driver, "4");
}

const CLIENTS: usize = 6;

/// Restarts where the environment says nothing.
const RESTARTS: usize = 5;

/// Answers between two restarts.
const ANSWERS: usize = 30;

fn restart(driver: &str, workers: &str) {
    let restarts = std::env::var("DRYWIRE_RESTARTS").map_or(RESTARTS, |n| n.parse().expect("a number"));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let start = || {
        let args = ["--driver", driver, "--workers", workers, "--listen", "systemd:echo"];
        let mut command = inheriting("3<&0", "echo", &args);
        let program = Program::start(command.stdin(OwnedFd::from(socket.try_clone().unwrap())).stdout(Stdio::null()));
        program.stderr.wait_for(&format!("{address}\n"));
        program
    };
    let (answers, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut server = start();
    thread::scope(|scope| {
        let ask = |client: usize| {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let request = format!("client {client} asks for the {n}th time\n");
                let answer = answer(address, &request).map_err(|error| format!("{request}{error}"))?;
                if answer != request {
                    return Err(format!("{request}{answer}"));
                }
                answers.fetch_add(1, Ordering::Relaxed);
                // The ports of connections that are gone are not to be had again at once.
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || ask(client))).collect();
        let is_lost = || clients.iter().any(thread::ScopedJoinHandle::is_finished);
        for restart in 0..restarts {
            let before = answers.load(Ordering::Relaxed);
            until("the server is busy", || {
                (is_lost() || answers.load(Ordering::Relaxed) > before + ANSWERS).then_some(())
            });
            // Every other time the next server is there before the one before it goes.
            let next = (restart % 2 == 1).then(start);
            server.signal(Signal::TERM);
            server.exits_with(0);
            server = next.unwrap_or_else(start);
        }
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            let answered = client.join().expect("a client does not panic");
            assert_eq!(answered, Ok(()), "not answered");
        }
    });
    server.signal(Signal::TERM);
    server.exits_with(0);
}

/// Connects, asks, reads the answer, quits.
fn answer(server: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; request.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
