//! No descriptor left, or what else it takes to accept: the server waits for better
//! times, quietly (FAULTS 18, 19).

use super::line_echo;
use crate::measure::{busy_share, leave_descriptors};
use crate::peer::{Peer, connect, connect_socket, read_line, send, unconnected};
use crate::refusing::{listener_on, refuse_to_accept};
use crate::stage::Stage;
use crate::subject::Subject;
use crate::suite::say;
use drywire_protocols::LineEcho;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

/// Those who are in are served as ever, the wait costs no processor time, and
/// everybody is let in once descriptors are back, without a new connection to tell
/// of it.
pub fn fault_18_server_without_descriptors_waits_quietly_and_resumes<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut inside: Vec<Peer> = (0..10).map(|_| stage.peer()).collect();
    stage.wait("ten", |seen| seen.len() == 10);
    // Sockets of the peers, made while there were descriptors for them.
    let sockets: Vec<_> = (0..20).map(|_| unconnected(stage.tcp())).collect();
    leave_descriptors(3);
    let mut waiting: Vec<Peer> = sockets.into_iter().map(|socket| connect_socket::<S>(socket, stage.tcp())).collect();
    thread::sleep(Duration::from_millis(300));
    let let_in = stage.scene.look(<[_]>::len);
    assert!(let_in <= 10 + 3, "{let_in} were let in, though there were descriptors for three more only");

    let share = busy_share();
    assert!(share < 0.05, "I3: {:.1} % of what a spinning thread takes while nobody can be let in", share * 100.0);
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

/// ENFILE, ENOBUFS and ENOMEM, one after the other: those who are in are served as ever,
/// those who come wait in the queue of the kernel and are not turned away, and that costs
/// no processor time. Nothing takes such a filter back: that the server goes on when the
/// system can again is shown of the one state machine for all of these errors
/// ([`drywire_server`]'s `accept`), and of a lack that can be ended above.
pub fn fault_19_listener_lives_while_the_system_has_no_files_buffers_or_memory<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut inside: Vec<Peer> = (0..10).map(|_| stage.peer()).collect();
    stage.wait("ten", |seen| seen.len() == 10);
    let listener = listener_on(stage.tcp().port());
    let mut outside = Vec::new();
    for error in [libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        if let Err(why) = refuse_to_accept(listener, error) {
            say(&format!("note: skipped: this machine filters no system calls for us: {why}"));
            assert!(std::env::var_os("DRYWIRE_NO_SKIP").is_none(), "nothing may be skipped here: allow seccomp");
            return;
        }
        outside.extend((0..5).map(|_| connect::<S>(stage.tcp())));
        let share = busy_share();
        assert!(share < 0.05, "I3: {:.1} % of what a spinning thread takes while nobody can be let in", share * 100.0);
        for (n, peer) in inside.iter_mut().enumerate() {
            send(peer, format!("inside {n}\n").as_bytes());
            assert_eq!(read_line(peer), format!("inside {n}\n"));
        }
        stage.scene.look(|seen| {
            assert_eq!(seen.len(), 10, "nobody can be let in");
            assert!(seen.iter().all(|seen| seen.reports.is_empty()), "nobody is put out");
        });
    }
    for peer in &outside {
        peer.set_nonblocking(true);
        let answer = peer.peek().map_err(|error| error.kind());
        assert_eq!(answer, Err(ErrorKind::WouldBlock), "somebody who waits was turned away");
    }
}
