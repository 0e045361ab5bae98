//! Who does not read is not read from: the kernel slows the peer down, and what is
//! held stays within the bounds (rows A6, E7, E8, FAULTS 4).
//!
//! What a driver holds shows from outside: bytes that were taken from the client and
//! have not come back are in sockets or in the driver, and the sockets are narrow.

use super::{byte_echo, line_echo};
use crate::noise::{Noise, assert_same};
use crate::peer::{ask, flood, read_end, read_line, send};
use crate::stage::Stage;
use crate::subject::{Options, Subject};
use drywire_core::{Connection, Reason};
use drywire_protocols::{ByteEcho, LineEcho};

/// Far above the bounds of a connection (32 KiB) and what four narrow sockets hold,
/// far below what a server takes that goes on reading.
const MOST_HELD: u64 = 512 * 1024;
const FLOOD: u64 = 4 * MOST_HELD;

/// The client's writes block; when it begins to read, everything comes.
pub fn e8_client_that_never_reads_is_not_read_from<S: Subject>() {
    let stage = Stage::<S, ByteEcho>::serve_with(Options::NARROW, byte_echo);
    let (number, mut peer) = stage.known_narrow_peer();
    let noise = Noise::new(4);
    let sent = flood(&mut peer, FLOOD, |at, slot| noise.fill(at, slot));
    assert!(sent < MOST_HELD, "I2: {sent} bytes were taken from a client that reads nothing");
    assert!(stage.scene.look(|seen| seen[number].reports.is_empty()), "slow is no crime");
    // Not one byte more comes from here on: reading goes on by itself or not at all.
    peer.end().expect("connected");
    let got = read_end(&mut peer);
    noise.assert_at(0, &got);
    assert_eq!(got.len() as u64, sent, "I1");
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Finished);
}

/// Row E7's bounds, 4096 bytes each way, and lines.
pub fn e7_small_queue_pauses_reading_and_loses_nothing<S: Subject>() {
    let stage =
        Stage::<S, LineEcho>::serve_with(Options::NARROW, || Connection::new(LineEcho).with_limits(LineEcho::SMALL));
    let (number, mut peer) = stage.known_narrow_peer();
    // Bytes of noise without meaning, cut into lines of every length up to 256.
    let noise = Noise::new(5);
    let lines = |at: u64, slot: &mut [u8]| {
        noise.fill(at, slot);
        for (byte, at) in slot.iter_mut().zip(at..) {
            if at % 256 == 255 {
                *byte = b'\n';
            }
        }
    };
    let sent = flood(&mut peer, FLOOD, lines);
    assert!(sent < MOST_HELD, "I2: {sent} bytes were taken from a client that reads nothing");
    peer.end().expect("connected");
    let got = read_end(&mut peer);
    let mut expected = vec![0; sent as usize];
    lines(0, &mut expected);
    assert_same(&got, &expected);
    drop(peer);
    assert_eq!(stage.report(number).reason, Reason::Finished);
}

/// I5: their lines come back as ever.
pub fn i5_others_are_served_while_one_never_reads<S: Subject>() {
    let stage = Stage::<S, LineEcho>::serve_with(Options::NARROW, line_echo);
    let mut others: Vec<_> = (0..5).map(|_| stage.peer()).collect();
    let mut deaf = stage.narrow_peer();
    let line = b"a line for nobody\n";
    flood(&mut deaf, FLOOD, |at, slot| {
        for (byte, at) in slot.iter_mut().zip(at as usize..) {
            *byte = line[at % line.len()];
        }
    });
    for round in 0..20 {
        for other in &mut others {
            send(other, format!("round {round}\n").as_bytes());
            assert_eq!(read_line(other), format!("round {round}\n"), "I5");
        }
    }
    assert_same(&ask(stage.peer(), b"a newcomer\n"), b"a newcomer\n");
}
