//! No descriptor left: the server waits for better times, quietly (FAULTS 18).

use super::line_echo;
use crate::measure::{cpu_share, leave_descriptors};
use crate::peer::{connect_socket, read_line, send, unconnected};
use crate::stage::Stage;
use crate::subject::Subject;
use drywire_protocols::LineEcho;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Those who are in are served as ever, the wait costs no processor time, and
/// everybody is let in once descriptors are back, without a new connection to tell
/// of it.
pub fn fault_18_server_without_descriptors_waits_quietly_and_resumes<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut inside: Vec<TcpStream> = (0..10).map(|_| stage.peer()).collect();
    stage.wait("ten", |seen| seen.len() == 10);
    // Sockets of the peers, made while there were descriptors for them.
    let sockets: Vec<_> = (0..20).map(|_| unconnected(stage.tcp())).collect();
    leave_descriptors(3);
    let mut waiting: Vec<TcpStream> =
        sockets.into_iter().map(|socket| connect_socket(socket, stage.tcp(), S::PATIENCE)).collect();
    thread::sleep(Duration::from_millis(300));
    let let_in = stage.scene.look(<[_]>::len);
    assert!(let_in <= 10 + 3, "{let_in} were let in, though there were descriptors for three more only");

    let share = cpu_share(|| thread::sleep(Duration::from_millis(1500)));
    assert!(share < 0.05, "I3: {:.1} % of a processor while nobody can be let in", share * 100.0);
    for (n, peer) in inside.iter_mut().enumerate() {
        send(peer, format!("inside {n}\n").as_bytes());
        assert_eq!(read_line(peer), format!("inside {n}\n"));
    }
    assert!(stage.scene.look(|seen| seen.iter().all(|seen| seen.reports.is_empty())), "nobody is put out");

    leave_descriptors(100);
    for (n, peer) in waiting.iter_mut().enumerate() {
        send(peer, format!("waited {n}\n").as_bytes());
        assert_eq!(read_line(peer), format!("waited {n}\n"));
    }
    stage.wait("everybody", |seen| seen.len() == 30);
}
