//! Recordings made by hand: every time and every byte is known.

use drywire_core::record::{Keep, Mask, Tape};
use drywire_core::{Action, Blocked, Connection, Live, Protocol, Time, Workspace};
use drywire_protocols::LineEcho;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// A talk with a line echo, told turn by turn.
pub(crate) struct Talk {
    connection: Connection<LineEcho>,
    workspace: Workspace,
    now: Time,
    file: mpsc::Receiver<Vec<u8>>,
}

impl Talk {
    pub(crate) fn new() -> Talk {
        Talk::kept(Keep::DEFAULT, None)
    }

    pub(crate) fn kept(keep: Keep, mask: Option<Mask>) -> Talk {
        let (send, file) = mpsc::channel();
        let mut tape = Tape::new("line-echo", move |file| drop(send.send(file)))
            .note("peer 127.0.0.1:4711, driver by hand")
            .keeping(keep);
        if let Some(mask) = mask {
            tape = tape.masked_by(mask);
        }
        let connection = Connection::new(LineEcho).recorded(tape);
        // A driver's clock does not begin with the connection.
        Talk { connection, workspace: Workspace::new(), now: Time::from_nanos(77_000_000), file }
    }

    pub(crate) fn after(mut self, ms: u64) -> Talk {
        self.now = self.now + Duration::from_millis(ms);
        self
    }

    /// The peer sends `bytes`, in one piece, and takes all that comes back.
    pub(crate) fn says(self, bytes: &[u8]) -> Talk {
        self.turn(usize::MAX, |live| {
            live.read_with(|slot| {
                slot[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            });
        })
    }

    /// The same, but the peer takes only so much.
    pub(crate) fn says_and_takes(self, bytes: &[u8], taken: usize) -> Talk {
        self.turn(taken, |live| {
            live.read_with(|slot| {
                slot[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            });
        })
    }

    pub(crate) fn takes(self, taken: usize) -> Talk {
        self.turn(taken, |live| live.handle_writable())
    }

    pub(crate) fn ends(self) -> Talk {
        self.turn(usize::MAX, |live| {
            live.read_with(|_| Ok(0));
        })
    }

    fn turn(mut self, mut taken: usize, input: impl FnOnce(&mut Live<'_, LineEcho>)) -> Talk {
        let mut live = self.connection.lend(&mut self.workspace, self.now);
        input(&mut live);
        loop {
            match live.poll() {
                Action::Write(write) => {
                    let offered: usize = write.with_slices(|slices, _| slices.iter().map(|slice| slice.len()).sum());
                    match offered.min(taken) {
                        0 => write.blocked(),
                        n => {
                            taken -= n;
                            write.wrote(n);
                        }
                    }
                }
                Action::HalfClose | Action::EnableRead | Action::DisableRead => {}
                Action::Wait(_) | Action::Again | Action::Close(_) => break,
                Action::StreamFile(_) | Action::ReadFile(_) | Action::OpenFile(_) | Action::CloseFile(_) => {
                    unreachable!("a line echo has no files")
                }
                Action::Event(never) => match never {},
            }
        }
        drop(live);
        self
    }

    /// The recording.
    pub(crate) fn file(self) -> Vec<u8> {
        let Talk { connection, file, .. } = self;
        drop(connection);
        file.recv().expect("a dropped connection ends its recording")
    }

    pub(crate) fn write(self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, self.file()).unwrap();
        path
    }
}

/// Two lines, a peer that takes them slowly, and the end: a second and a half.
pub(crate) fn fixed() -> Talk {
    Talk::new()
        .says(b"hello\n")
        .after(250)
        .says_and_takes(b"again\nun", 2)
        .after(3)
        .takes(1)
        .after(2)
        .takes(usize::MAX)
        .after(1200)
        .says(b"finished\n\x1b[31m\xff\"<b>\n")
        .after(5)
        .ends()
        .after(1)
        .ends()
}

/// A protocol that `drywire` does not have.
pub(crate) struct Silent;

impl Protocol for Silent {
    type Event = Infallible;
    type Command = Infallible;
    type Error = Infallible;

    fn consume(
        &mut self,
        input: &[u8],
        _: &mut drywire_core::Context<'_, Silent>,
    ) -> Result<usize, drywire_core::Stop<Infallible>> {
        Ok(input.len())
    }
}

/// Its recording.
pub(crate) fn of_an_unknown_protocol() -> Vec<u8> {
    let (send, file) = mpsc::channel();
    let tape = Tape::new("silence\x1b[2J", move |file| drop(send.send(file)));
    let mut connection = Connection::new(Silent).recorded(tape);
    let mut workspace = Workspace::new();
    let mut live = connection.lend(&mut workspace, Time::ZERO);
    live.read_with(|_| Err(Blocked::WouldBlock));
    drop(live);
    drop(connection);
    file.recv().unwrap()
}
