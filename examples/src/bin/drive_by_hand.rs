//! A connection moved by hand: no driver, no socket, no clock. Everything a driver
//! does is in `main`, with a script for the peer and a `Vec` for the wire, and what
//! the connection asks for is printed as it comes.
//!
//! ```text
//! cargo run -p drywire-examples --bin drive_by_hand
//! ```

use drywire_core::{Action, Blocked, Connection, FileError, Read, Time, Workspace};
use drywire_protocols::Dialog;
use std::io::{self, Write};
use std::time::Duration;

/// What the peer does, one step per turn.
enum Peer {
    Sends(&'static [u8]),
    TakesNothing,
    TakesAgain,
    Ends,
}

/// The only file there is. Files are numbers to the connection; this is ours.
const NAME: &[u8] = b"motd";
const FILE: &[u8] = b"the tide turns at six\n";

fn main() -> io::Result<()> {
    let mut script = vec![
        Peer::Sends(b"NO"),
        Peer::Sends(b"OP\nGET mo"),
        Peer::TakesNothing,
        Peer::Sends(b"td\nSIZE nowhere\n"),
        Peer::TakesAgain,
        Peer::Sends(b"NOOP\n"),
        Peer::Ends,
    ]
    .into_iter();

    let mut out = io::stdout().lock();
    let mut workspace = Workspace::new();
    let mut connection = Connection::new(Dialog::new());
    let mut wire: Vec<u8> = Vec::new();
    let mut peer_takes = true;
    let mut now = Time::ZERO;

    // One round is one turn: time passes, something goes in, actions come out.
    loop {
        let mut live = connection.lend(&mut workspace, now);
        match script.next() {
            Some(Peer::Sends(bytes)) => {
                writeln!(out, "peer sends {}", bytes.escape_ascii())?;
                let read = live.read_with(|slot| {
                    slot[..bytes.len()].copy_from_slice(bytes);
                    Ok(bytes.len())
                });
                assert!(matches!(read, Read::Bytes { .. }), "it fits: {read:?}");
            }
            Some(Peer::TakesNothing) => {
                writeln!(out, "peer takes nothing")?;
                peer_takes = false;
            }
            Some(Peer::TakesAgain) => {
                writeln!(out, "peer takes again")?;
                peer_takes = true;
                live.handle_writable();
            }
            Some(Peer::Ends) => {
                writeln!(out, "peer ends")?;
                live.read_with(|_| Ok(0));
            }
            None => {
                live.read_with(|_| Err(Blocked::WouldBlock));
            }
        }
        loop {
            match live.poll() {
                Action::Write(write) if peer_takes => {
                    let n = write.with_slices(|slices, _| {
                        wire.extend_from_slice(slices[0]);
                        slices[0].len()
                    });
                    writeln!(out, "  write {n} bytes")?;
                    write.wrote(n);
                }
                Action::Write(write) => {
                    writeln!(out, "  write: blocked")?;
                    write.blocked();
                }
                Action::OpenFile(request) => {
                    writeln!(out, "  open {}", request.name().escape_ascii())?;
                    let answer = if request.name() == NAME { Ok(FILE.len() as u64) } else { Err(FileError::NotFound) };
                    let id = request.id();
                    live.handle_file(id, answer).expect("it was just asked for");
                }
                Action::StreamFile(part) => {
                    let (at, len) = (part.offset() as usize, part.len() as usize);
                    writeln!(out, "  stream {len} bytes of {:?}", part.id())?;
                    wire.extend_from_slice(&FILE[at..at + len]);
                    part.sent(len as u64);
                }
                Action::CloseFile(id) => writeln!(out, "  close {id:?}")?,
                Action::ReadFile(_) => unreachable!("there is no layer that has to see the file"),
                Action::Event(never) => match never {},
                Action::Again => unreachable!("no bound of messages was said"),
                Action::DisableRead => writeln!(out, "  stop reading")?,
                Action::EnableRead => writeln!(out, "  read on")?,
                Action::HalfClose => writeln!(out, "  end our direction")?,
                Action::Close(report) => {
                    writeln!(
                        out,
                        "  close: {} ({} in, {} out)",
                        report.reason, report.counters.received, report.counters.sent
                    )?;
                    writeln!(out, "on the wire: {}", wire.escape_ascii())?;
                    return Ok(());
                }
                Action::Wait(wait) => {
                    writeln!(
                        out,
                        "  wait{}{}",
                        if wait.read { ", read" } else { "" },
                        if wait.write { ", write" } else { "" }
                    )?;
                    break;
                }
            }
        }
        drop(live);
        now = now + Duration::from_millis(1);
    }
}
