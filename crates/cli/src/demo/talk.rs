//! What is said, and what must come back: made from a seed, known in advance.

use super::client::{End, Heard};
use drywire_sim::Random;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

/// Connections that talk at the same time.
const CONNECTIONS: usize = 4;

/// Bytes of the files that are asked for.
const SIZES: [usize; 6] = [0, 1, 100, 4 * 1024, 64 * 1024, 1024 * 1024];

/// Everything that is said to one driver.
pub(super) struct Talk {
    files: Vec<Vec<u8>>,
    /// One for each connection.
    pub(super) scripts: Vec<Script>,
}

/// What one connection says and has to hear.
pub(super) struct Script {
    pub(super) request: Vec<u8>,
    reply: Heard,
    end: &'static str,
}

impl Talk {
    pub(super) fn new(seed: u64, requests: u32) -> Talk {
        let mut random = Random::new(seed);
        let files: Vec<Vec<u8>> = SIZES.map(|size| (0..size).map(|_| random.word() as u8).collect()).into();
        let scripts = (0..CONNECTIONS).map(|connection| {
            let share = (requests as usize + CONNECTIONS - 1 - connection) / CONNECTIONS;
            Script::new(connection, share, &files, &mut random)
        });
        Talk { scripts: scripts.collect(), files }
    }

    pub(super) fn reply_bytes(&self) -> u64 {
        self.scripts.iter().map(|script| script.reply.received).sum()
    }

    pub(super) fn write_files(&self, root: &Path) -> io::Result<()> {
        for (number, contents) in self.files.iter().enumerate() {
            std::fs::write(root.join(name(number)), contents)?;
        }
        Ok(())
    }

    /// What a driver without fault does.
    pub(super) fn expected(&self) -> (Vec<Heard>, Vec<String>) {
        self.scripts.iter().map(|script| (script.reply.clone(), script.end.to_owned())).unzip()
    }

    pub(super) fn transcript_hash(&self) -> u64 {
        let (heard, ends) = self.expected();
        hash(&heard, &ends)
    }
}

impl Script {
    /// The last request is the one that ends it.
    fn new(connection: usize, requests: usize, files: &[Vec<u8>], random: &mut Random) -> Script {
        let (mut request, mut reply) = (Vec::new(), Digest::default());
        for _ in 1..requests {
            let number = random.between(0, files.len() - 1);
            let contents = &files[number];
            match random.between(0, 7) {
                0 => {
                    request.extend_from_slice(b"GET nowhere\n");
                    reply.add(b"-550 no such file\n");
                }
                1 | 2 => {
                    request.extend_from_slice(format!("SIZE {}\n", name(number)).as_bytes());
                    reply.add(format!("OK {}\n", contents.len()).as_bytes());
                }
                3 => {
                    request.extend_from_slice(format!("GET {}\r\n", name(number)).as_bytes());
                    reply.add(format!("OK {}\n", contents.len()).as_bytes());
                    reply.add(contents);
                }
                _ => {
                    request.extend_from_slice(b"NOOP\n");
                    reply.add(b"OK\n");
                }
            }
        }
        let end = match (requests, connection % 3) {
            (0, _) | (_, 0) => "finished",
            (_, 1) => {
                request.extend_from_slice(b"QUIT\n");
                reply.add(b"OK\n");
                "finished"
            }
            _ => {
                request.extend_from_slice(b"HELO\n");
                reply.add(b"-500 protocol error, bad command\n");
                "protocol error: bad command"
            }
        };
        // Where the end of input is the end, one request more fits.
        if requests > 0 && connection.is_multiple_of(3) {
            request.extend_from_slice(b"NOOP\n");
            reply.add(b"OK\n");
        }
        let reply = reply.heard(request.len() as u64, End::Clean);
        Script { request, reply, end }
    }
}

fn name(number: usize) -> String {
    format!("file-{number}")
}

/// One number for all that was heard, in the order of the connections.
pub(super) fn hash(heard: &[Heard], ends: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (heard, ends).hash(&mut hasher);
    hasher.finish()
}

/// Bytes as they come, however they are cut.
#[derive(Default)]
pub(super) struct Digest {
    hasher: DefaultHasher,
    bytes: u64,
}

impl Digest {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // Not `hash`, which would tell two halves from a whole.
        self.hasher.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) fn heard(self, sent: u64, end: End) -> Heard {
        Heard { sent, received: self.bytes, digest: self.hasher.finish(), end }
    }
}
