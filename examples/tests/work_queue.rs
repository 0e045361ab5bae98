//! The work queue: its own story, and what it does about peers that do not play along. These
//! write their messages by hand, which holds the bytes still that others may have to read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// No peer waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

const PUT: u8 = 0;
const PULL: &[u8] = &[1];
const DONE: u8 = 2;
const FINISH: &[u8] = &[3];

/// `FromQueue::Task` and `FromQueue::Done`.
const TASK: u8 = 0;
const RESULT: u8 = 1;

/// Killed, by its own id, when dropped.
struct Queue {
    child: Child,
    warnings: BufReader<ChildStderr>,
    address: String,
}

impl Queue {
    #[track_caller]
    fn start() -> Queue {
        let mut command = Command::new(env!("CARGO_BIN_EXE_work_queue"));
        command.args(["serve", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it was built");
        let mut line = Vec::new();
        // No more than the line: the rest is for later.
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            child.stdout.as_mut().expect("piped").read_exact(&mut byte).expect("it says where");
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).expect("text");
        let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        let warnings = BufReader::new(child.stderr.take().expect("piped"));
        Queue { child, warnings, address }
    }

    #[track_caller]
    fn peer(&self) -> Peer {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Peer(stream)
    }

    #[track_caller]
    fn warning(&mut self) -> String {
        let mut line = String::new();
        self.warnings.read_line(&mut line).expect("a line of text");
        line
    }

    /// Ends it; what it says at last.
    #[track_caller]
    fn finish(mut self) -> String {
        let mut last = self.peer();
        last.tell(FINISH);
        last.expect_end();
        let mut shown = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut shown).expect("text");
        assert!(self.child.wait().expect("a child of ours").success());
        shown
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Peer(TcpStream);

impl Peer {
    #[track_caller]
    fn tell(&mut self, message: &[u8]) {
        let frame = [&(message.len() as u64).to_le_bytes()[..], message].concat();
        self.0.write_all(&frame).expect("it reads");
    }

    #[track_caller]
    fn expect(&mut self, message: &[u8]) {
        let mut len = [0; 8];
        self.0.read_exact(&mut len).expect("a message");
        let mut got = vec![0; u64::from_le_bytes(len) as usize];
        self.0.read_exact(&mut got).expect("all of it");
        assert_eq!(got, message);
    }

    /// Clean, or a reset.
    #[track_caller]
    fn expect_end(&mut self) {
        match self.0.read(&mut [0]) {
            Ok(n) => assert_eq!(n, 0),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn h13_every_task_is_done_once_though_a_worker_breaks_off() {
    for _ in 0..3 {
        let output = Command::new(env!("CARGO_BIN_EXE_work_queue")).output().expect("it was built");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "north: 20 tasks, all done: 196 steps\n\
             south: 30 tasks, all done: 870 steps\n\
             queue: 50 tasks put, 50 done, 1 left by a worker and given to another\n"
        );
    }
}

#[test]
fn h13_worker_that_asks_too_early_is_given_the_next_task() {
    let queue = Queue::start();
    let (mut producer, mut worker) = (queue.peer(), queue.peer());
    worker.tell(PULL);
    producer.tell(&[PUT, 27]);
    worker.expect(&[TASK, 1, 27]);
    worker.tell(&[DONE, 1, 111]);
    producer.expect(&[RESULT, 27, 111]);
    // Numbers of more than seven bits are longer.
    producer.tell(&[PUT, 0xac, 0x02]);
    worker.tell(PULL);
    worker.expect(&[TASK, 2, 0xac, 0x02]);
    assert_eq!(queue.finish(), "2 tasks put, 1 done, 0 left by a worker and given to another\n");
}

#[test]
fn h13_tasks_of_a_worker_that_goes_are_given_to_one_that_waits() {
    let queue = Queue::start();
    let (mut producer, mut going, mut staying) = (queue.peer(), queue.peer(), queue.peer());
    for (task, n) in [(1, 5), (2, 6)] {
        producer.tell(&[PUT, n]);
        going.tell(PULL);
        going.expect(&[TASK, task, n]);
    }
    staying.tell(PULL);
    drop(going);
    staying.expect(&[TASK, 1, 5]);
    staying.tell(PULL);
    staying.expect(&[TASK, 2, 6]);
    for (task, n, steps) in [(1, 5, 5), (2, 6, 8)] {
        staying.tell(&[DONE, task, steps]);
        producer.expect(&[RESULT, n, steps]);
    }
    assert_eq!(queue.finish(), "2 tasks put, 2 done, 2 left by a worker and given to another\n");
}

#[test]
fn h13_worker_that_is_cut_off_in_the_middle_of_a_message_loses_its_task() {
    let queue = Queue::start();
    let (mut producer, mut going, mut staying) = (queue.peer(), queue.peer(), queue.peer());
    going.tell(PULL);
    producer.tell(&[PUT, 5]);
    going.expect(&[TASK, 1, 5]);
    going.0.write_all(&[3, 0, 0, 0, 0, 0, 0, 0, DONE]).expect("it reads");
    drop(going);
    staying.tell(PULL);
    staying.expect(&[TASK, 1, 5]);
    assert_eq!(queue.finish(), "1 tasks put, 0 done, 1 left by a worker and given to another\n");
}

#[test]
fn h13_who_breaks_the_rules_is_cut_off_and_what_it_had_comes_first() {
    let mut queue = Queue::start();
    let (mut producer, mut worker) = (queue.peer(), queue.peer());
    // All has come, in this order, when the first is given.
    for n in [5, 6, 7] {
        producer.tell(&[PUT, n]);
    }
    producer.tell(PULL);
    producer.expect(&[TASK, 1, 5]);

    let mut cut_off = 0;
    for (message, why) in [
        (&b"?"[..], None),
        (b"", None),
        (&[1, 1], Some("1 bytes too many")),
        (&[DONE, 1, 0], Some("a task of somebody else")),
        (&[DONE, 3, 0], Some("a task of somebody else")),
        (&[DONE, 9, 0], Some("a task that is not there")),
        // A length of nine bytes, and what is no number at all.
        (&[PUT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None),
    ] {
        let mut bad = queue.peer();
        bad.tell(PULL);
        bad.expect(&[TASK, 2, 6]);
        bad.tell(message);
        let warning = queue.warning();
        assert!(why.is_none_or(|why| warning.ends_with(&format!(": {why}\n"))), "{warning}");
        bad.expect_end();
        cut_off += 1;
    }
    worker.tell(PULL);
    worker.expect(&[TASK, 2, 6]);
    worker.tell(PULL);
    worker.expect(&[TASK, 3, 7]);
    worker.tell(PULL);
    worker.tell(PULL);
    assert!(queue.warning().ends_with(": it waits for a task already\n"));
    worker.expect_end();
    producer.tell(&[DONE, 1, 5]);
    producer.expect(&[RESULT, 5, 5]);
    let left = cut_off + 2;
    assert_eq!(queue.finish(), format!("3 tasks put, 1 done, {left} left by a worker and given to another\n"));
}
