//! The chat with real clients: everybody in a room hears everything, and one who does
//! not read costs nobody else anything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No client waits longer for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// Killed, by its own id, when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut shown = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut shown).unwrap();
        let address = shown.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Server { child, address }
    }

    /// Somebody with a name, in a room.
    fn user(&self, name: &str, room: &str) -> Client {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client(BufReader::new(stream));
        client.say(&format!("nick {name}\njoin {room}"));
        client.hear_until(&format!("* {name} joins {room}"));
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    #[track_caller]
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("in time");
        assert_eq!(line.pop(), Some('\n'), "a whole line, not {line:?}");
        line
    }

    /// The server ends it, whatever it says before.
    fn hear_the_end(mut self) {
        self.0.read_to_end(&mut Vec::new()).expect("in time");
    }

    /// What it hears up to this, which is not among it.
    #[track_caller]
    fn hear_until(&mut self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            match self.hear() {
                line if line == last => return heard,
                line => heard.push(line),
            }
        }
    }
}

#[test]
fn w7_everybody_in_a_room_hears_everything_in_the_same_order() {
    const MEMBERS: usize = 50;
    let mut server = Server::start();
    let mut room: Vec<Client> = (0..MEMBERS).map(|n| server.user(&format!("user{n}"), "sea")).collect();
    let mut elsewhere = server.user("hermit", "cave");
    // Several talk at once.
    for (n, member) in room.iter_mut().enumerate().take(5) {
        (0..20).for_each(|line| member.say(&format!("line {line} of {n}")));
    }
    room[0].hear_until("user0: line 19 of 0");
    room[49].say("that is all");
    let heard: Vec<Vec<String>> = room
        .iter_mut()
        .map(|member| {
            let mut said: Vec<String> = member.hear_until("user49: that is all");
            said.retain(|line| line.contains(": line "));
            said
        })
        .collect();
    let last = &heard[49];
    // What the others said may have come behind the last word.
    for n in 0..5 {
        let of_n: Vec<_> = last.iter().filter(|line| line.starts_with(&format!("user{n}: "))).collect();
        let expected: Vec<_> = (0..20).map(|line| format!("user{n}: line {line} of {n}")).collect();
        assert_eq!(of_n, expected.iter().take(of_n.len()).collect::<Vec<_>>());
    }
    assert!(heard[1..].iter().all(|said| said == last), "the same order for all");
    elsewhere.say("nobody here");
    assert_eq!(elsewhere.hear(), "hermit: nobody here");

    let leaver = room.pop().expect("fifty");
    drop(leaver);
    room[10].hear_until("* user49 leaves");
    let mut quitter = room.remove(10);
    quitter.say("quit");
    quitter.hear_the_end();
    room[10].hear_until("* user10 leaves");

    drop(server.child.stdin.take());
    room[12].say("too late, perhaps");
    drop((room, elsewhere));
    assert!(server.child.wait().expect("it ends").success(), "it ends with its input");
}

#[test]
fn w7_one_who_does_not_read_misses_the_oldest_and_others_notice_nothing() {
    /// More than the kernel and the server hold for one.
    const LINES: usize = 14_000;
    const BATCH: usize = 20;
    let server = Server::start();
    let mut slow = server.user("slow", "sea");
    let mut talker = server.user("talker", "sea");
    let heard = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let listeners = [0, 1].map(|n| {
        let mut listener = server.user(&format!("listener{n}"), "sea");
        let heard = heard.clone();
        thread::spawn(move || {
            for next in 0..LINES {
                let line = loop {
                    match listener.hear() {
                        line if line.starts_with('*') => {}
                        line => break line,
                    }
                };
                assert_eq!(number(&line), Some(next), "nobody else missed anything");
                heard[n].store(next + 1, Ordering::Relaxed);
            }
        })
    });
    for batch in 0..LINES / BATCH {
        for n in batch * BATCH..(batch + 1) * BATCH {
            talker.say(&format!("{n:06} {}", "x".repeat(990)));
        }
        // Nobody who reads is ever behind by more than this.
        while number(&talker.hear()) != Some((batch + 1) * BATCH - 1) {}
        let give_up = Instant::now() + PATIENCE;
        while heard.iter().any(|heard| heard.load(Ordering::Relaxed) < (batch + 1) * BATCH) {
            assert!(
                Instant::now() < give_up && !listeners.iter().any(JoinHandle::is_finished)
                    || batch + 1 == LINES / BATCH
            );
            thread::yield_now();
        }
    }
    talker.say("end");
    talker.hear_until("talker: end");
    for listener in listeners {
        listener.join().expect("it heard all");
    }
    let got: Vec<usize> = slow.hear_until("talker: end").iter().filter_map(|line| number(line)).collect();
    assert!(got.is_sorted() && got.len() < LINES, "{} of {LINES} came", got.len());
    let missed = got.windows(2).position(|pair| pair[0] + 1 != pair[1]).expect("a gap");
    assert!(got[..=missed].iter().copied().eq(0..=missed), "what came before the gap is whole");
    assert_eq!(got.last(), Some(&(LINES - 1)), "the newest are what it got");
}

/// Which line of the talker's it is.
fn number(line: &str) -> Option<usize> {
    line.strip_prefix("talker: ")?.split(' ').next()?.parse().ok()
}
