//! Much of everything: many files at once, one file beyond 32 bits.

use crate::child::{isolated, resident_bytes, say};
use crate::files::{config, dialog};
use crate::harness::{POLL2, Served};
use crate::peer::{assert_same, pattern, read_end, read_line, read_n, send_and_end};
use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::Instant;

#[test]
fn b11_two_hundred_pipelined_files_from_four_connections_are_right_in_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(1 << 20);
    std::fs::write(dir.path().join("big"), &bytes).unwrap();
    let server = Served::start(config(dir.path()), dialog);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut peer, bytes) = (server.connect(), bytes.clone());
            thread::spawn(move || {
                send_and_end(&mut peer, &b"GET big\n".repeat(50));
                for _ in 0..50 {
                    assert_eq!(read_line(&mut peer), "OK 1048576\n");
                    assert_same(&read_n(&mut peer, 1 << 20), &bytes);
                }
                assert_eq!(read_end(&mut peer), b"");
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let ended = server.stop();
    assert_eq!((ended.closed.len(), ended.open_files), (4, 0));
}

isolated!(b11_four_gigabytes_pass_in_constant_memory, {
    const LEN: u64 = (4 << 30) + 12_345;
    // Holes in memory are read faster than holes on a disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    File::create(dir.path().join("sparse")).unwrap().set_len(LEN).unwrap();
    let server = Served::start(config(dir.path()), dialog);
    let mut peer = server.connect();
    send_and_end(&mut peer, b"GET sparse\n");
    assert_eq!(read_line(&mut peer), format!("OK {LEN}\n"));
    let (start, before) = (Instant::now(), resident_bytes());
    let (mut slot, mut got, mut most) = (vec![0; 1 << 20], 0_u64, 0);
    loop {
        let n = peer.read(&mut slot).expect("no reset");
        if n == 0 {
            break;
        }
        assert!(slot[..n].iter().step_by(509).all(|byte| *byte == 0), "something else near {got}");
        got += n as u64;
        most = most.max(if got % 64 < 2 { resident_bytes() } else { 0 });
    }
    most = most.max(resident_bytes());
    assert_eq!(got, LEN);
    let grown = most.saturating_sub(before);
    assert!(grown < 8 << 20, "I2: {grown} bytes more for a file that is never held");
    let poller = if POLL2 { "poll(2)" } else { "epoll" };
    say(&format!("note: 4 GiB over {poller} took {:.1} s, {} KiB grown", start.elapsed().as_secs_f64(), grown / 1024));
    server.stop();
});
