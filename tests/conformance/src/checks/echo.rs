//! What is sent comes back: lines and bytes, of one client and of many (rows E5, E6,
//! E8, E10).

use super::{byte_echo, line_echo};
use crate::noise::{Noise, assert_same};
use crate::peer::{Peer, ask, is_over, read_end, read_line, read_n, reset, send, while_writing};
use crate::stage::Stage;
use crate::subject::{Options, Scene, Subject};
use drywire_core::{Connection, Limit, Protocol, Reason};
use drywire_protocols::{ByteEcho, LineEcho};
use std::io::Read;
use std::thread;

/// `quit` comes back, is the last, and its session ends cleanly.
pub fn e5_quit_ends_the_session<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let (number, mut peer) = stage.known_peer();
    send(&mut peer, b"hello\nquit\nnever seen\n");
    assert_same(&read_end(&mut peer), b"hello\nquit\n");
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Finished);
}

/// By `quit`, by the peer's end, by a reset, by an error, by the end of the server.
pub fn e5_socket_is_closed_on_every_path<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let (quit, mut peer) = stage.known_peer();
    send(&mut peer, b"quit\n");
    assert_same(&read_end(&mut peer), b"quit\n");
    drop(peer);
    assert_eq!(stage.report(quit).reason, Reason::Finished);

    let (ended, peer) = stage.known_peer();
    drop(peer);
    assert_eq!(stage.report(ended).reason, Reason::Finished);

    let (gone, peer) = stage.known_peer();
    reset(peer);
    assert!(matches!(stage.report(gone).reason, Reason::Transport(_)), "{:?}", stage.report(gone).reason);

    let (wrong, peer) = stage.known_peer();
    let too_long = vec![b'x'; LineEcho::LIMITS.input_bytes as usize + 1];
    assert_same(&ask(peer, &too_long), b"error: line too long\n");
    assert!(matches!(stage.report(wrong).reason, Reason::Limit(Limit::Input(_))), "{:?}", stage.report(wrong).reason);

    let (_, mut left) = stage.known_peer();
    drop(stage);
    assert!(is_over(&mut left), "the server has ended, and its socket has not");
}

/// Interleaved: everybody has written before anybody reads.
pub fn e6_many_clients_at_once_each_get_their_own_lines<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut peers: Vec<Peer> = (0..200).map(|_| stage.peer()).collect();
    for round in 0..10 {
        for (n, peer) in peers.iter_mut().enumerate() {
            send(peer, format!("client {n} round {round}\n").as_bytes());
        }
        for (n, peer) in peers.iter_mut().enumerate().rev() {
            assert_eq!(read_line(peer), format!("client {n} round {round}\n"), "I5");
        }
    }
}

/// The end of nobody is left to a timeout: what has not ended when the server has would never end.
pub fn e6_all_are_closed_at_once_when_the_server_ends<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut peers: Vec<Peer> = (0..100).map(|_| stage.peer()).collect();
    for (n, peer) in peers.iter_mut().enumerate().filter(|(n, _)| n.is_multiple_of(2)) {
        send(peer, format!("client {n}\n").as_bytes());
        assert_eq!(read_line(peer), format!("client {n}\n"));
    }
    stage.wait("everybody", |seen| seen.len() == 100);
    drop(stage);
    assert!(peers.iter_mut().all(is_over), "the server has ended, and a socket of it has not");
}

/// From eight threads, each connection after the other.
pub fn e6_clients_that_come_and_go_at_the_same_time_are_served<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let address = stage.tcp();
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                for round in 0..50 {
                    let text = format!("thread {n} round {round}\n");
                    let peer = crate::peer::connect::<S>(address);
                    assert_same(&ask(peer, text.as_bytes()), text.as_bytes());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("its lines came back");
    }
    stage.wait_for_ends(400);
    stage.scene.look(|seen| {
        assert_eq!(seen.len(), 400);
        assert!(seen.iter().all(|seen| seen.reports[0].reason == Reason::Finished));
    });
}

/// All at once, much more than any buffer, and then the end of input.
pub fn e6_pipelined_lines_come_back_in_order_then_the_end<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let text: String = (0..50_000).map(|n| format!("line number {n}\r\n")).collect();
    assert_same(&ask(stage.peer(), text.as_bytes()), text.as_bytes());
}

/// One write per byte, one segment each.
pub fn fault_16_line_written_byte_by_byte_comes_back_whole<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut peer = stage.peer();
    let text = b"byte by byte\none \0 two \r three\nquit\r\n";
    for byte in text {
        send(&mut peer, &[*byte]);
    }
    let mut got = Vec::new();
    let mut slot = [0; 1];
    while peer.read(&mut slot).expect("a clean end") == 1 {
        got.push(slot[0]);
    }
    assert_same(&got, text);
}

/// One byte to one mebibyte, on one connection.
pub fn e8_bytes_of_any_number_come_back_exactly<S: Subject>() {
    let stage = Stage::<S, ByteEcho>::serve(byte_echo);
    let mut peer = stage.peer();
    let sizes = [1, 2, 3, 1000, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_535, 65_537, 300_001, 1 << 20];
    for (n, size) in (0..).zip(sizes) {
        let bytes = Noise::new(n).bytes(size);
        let got = while_writing(&mut peer, |writer| send(writer, &bytes), |peer| read_n(peer, size));
        assert_same(&got, &bytes);
    }
}

/// The second server on a port gets an error that names the address, and the way out.
pub fn e10_address_in_use_is_an_error_that_says_what_to_do<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let again = S::serve(&stage.address, Options::default(), Scene::new(|| Connection::new(LineEcho)));
    let Err(error) = again else { panic!("{}: two servers listen on {}", S::NAME, stage.address) };
    let text = error.to_string();
    assert!(text.contains(&stage.address.to_string()), "which address? {text}");
    assert!(text.contains("port"), "what is to be done, such as to take another port? {text}");
    // And the first is none the worse for it.
    assert_same(&ask(stage.peer(), b"still here\n"), b"still here\n");
}

/// Of sizes around those a server reads at once, in two portions: the second comes at any
/// moment of the server's round, also right behind a short read.
pub fn fault_21_no_edge_is_lost_between_reads_of_every_size<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve(line_echo);
    let mut peer = stage.peer();
    for n in 0..600_usize {
        let len = [1, 100, 4095, 4096, 4097, 10_000, 10_220][n % 7] + n % 13;
        let line = [vec![b'a' + (n % 26) as u8; len], vec![b'\n']].concat();
        let (first, second) = line.split_at(len / 2);
        send(&mut peer, first);
        if n % 3 == 0 {
            thread::yield_now();
        }
        send(&mut peer, second);
        assert!(read_n(&mut peer, line.len()) == line, "line {n}, of {len} bytes");
    }
}
