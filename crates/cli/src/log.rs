//! Standard error: the log, and what is said to a person. A thread of its own writes it, so that a pipe that is
//! not read, a paused terminal or a slow disk costs lines, which are counted, and no event loop ever waits for it.
//!
//! Written here because a report must not be lost behind a flood of debug lines: `tracing-appender` 0.2 has one
//! queue for all lines, and when that is full at the end its guard prints to standard output.

use crate::lines;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::panic::{self, PanicHookInfo};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a line is worth. Lines wait in one queue, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Of the log.
    Log,
    /// Said to a person while the program works, and where a panic was.
    Said,
    /// Last words: the report of a shutdown, why the program failed.
    Last,
}

impl Kind {
    /// A line of this kind waits only while all that wait have fewer bytes: so each kind has room that lesser
    /// kinds cannot take. The longest report is some 4096 lines of less than 1 KiB.
    const fn ceiling_bytes(self) -> usize {
        match self {
            Kind::Log => 4 << 20,
            Kind::Said => 5 << 20,
            Kind::Last => 10 << 20,
        }
    }
}

/// What a line costs beside its text.
const LINE_BYTES: usize = 64;

/// While lines are lost without a pause, their number is written this often.
const NOTE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the end waits for standard error, one second in all: for every line, then for what is no log, then
/// for the number of those that are lost.
const LAST_WAITS: [(Duration, Option<Kind>); 3] = [
    (Duration::from_millis(500), Some(Kind::Said)),
    (Duration::from_millis(400), None),
    (Duration::from_millis(100), None),
];

static QUEUE: Queue = Queue::new();

/// Held by `main`; when dropped, it waits for what is still to be written, for a second at most.
pub(crate) struct LastWords(());

impl Drop for LastWords {
    fn drop(&mut self) {
        finish();
    }
}

/// From here on standard error is written by a thread, messages of panics included.
pub(crate) fn start() -> io::Result<LastWords> {
    thread::Builder::new().name("standard error".into()).spawn(|| QUEUE.write_with(write_whole))?;
    panic::set_hook(Box::new(say_panic));
    Ok(LastWords(()))
}

/// Waits until all is written, for a second at most; what is not written then is lost.
pub(crate) fn finish() {
    QUEUE.finish(LAST_WAITS);
}

/// Tells a person. Never waits, and cannot fail.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    QUEUE.push(Kind::Said, format!("drywire: {}\n", lines(what)).as_bytes());
}

/// The same, for what must not be lost behind other lines.
pub(crate) fn say_last(what: fmt::Arguments<'_>) {
    QUEUE.push(Kind::Last, format!("drywire: {}\n", lines(what)).as_bytes());
}

/// As the standard library says it, which would wait for standard error.
fn say_panic(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    let hint = "note: run with `RUST_BACKTRACE=1` to see a backtrace";
    let trace: &dyn fmt::Display = if is_captured { &backtrace } else { &hint };
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    QUEUE.push(Kind::Said, format!("\nthread '{name}' {}\n{trace}\n", lines(info)).as_bytes());
}

/// Where tracing writes its lines, one in each call.
pub(crate) struct LogLine;

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.push(Kind::Log, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines on their way to one writer.
///
/// Bound: [`Kind::ceiling_bytes`].
struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    news: Condvar,
    /// There is nothing more.
    idle: Condvar,
}

struct Waiting {
    lines: VecDeque<(Kind, Vec<u8>)>,
    bytes: usize,
    /// Lines that had no room, not told yet.
    lost: u64,
    /// One was taken from here and is not written yet.
    is_writing: bool,
}

impl Queue {
    const fn new() -> Queue {
        let waiting = Waiting { lines: VecDeque::new(), bytes: 0, lost: 0, is_writing: false };
        Queue { waiting: Mutex::new(waiting), news: Condvar::new(), idle: Condvar::new() }
    }

    /// Nothing done under it panics.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, kind: Kind, line: &[u8]) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + line.len() + LINE_BYTES;
        if bytes <= kind.ceiling_bytes() {
            waiting.bytes = bytes;
            waiting.lines.push_back((kind, line.to_vec()));
        } else {
            waiting.lost += 1;
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Hands over line after line, for as long as the process lives.
    fn write_with(&self, mut write: impl FnMut(&[u8])) -> ! {
        let mut noted = None;
        loop {
            write(&self.next(&mut noted));
        }
    }

    /// Waits for the next line. How many were lost is one too, behind those that had room.
    fn next(&self, noted: &mut Option<Instant>) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        loop {
            let is_late = noted.is_some_and(|noted| noted.elapsed() >= NOTE_INTERVAL);
            if waiting.lost > 0 && (waiting.lines.is_empty() || is_late) {
                waiting.is_writing = true;
                *noted = Some(Instant::now());
                return note(mem::take(&mut waiting.lost)).into_bytes();
            }
            if let Some((_, line)) = waiting.lines.pop_front() {
                waiting.is_writing = true;
                waiting.bytes -= line.len() + LINE_BYTES;
                return line;
            }
            self.idle.notify_all();
            waiting = self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, waits: [(Duration, Option<Kind>); 3]) {
        for (patience, keep) in waits {
            let waiting = self.lock();
            let (mut waiting, waited) = self
                .idle
                .wait_timeout_while(waiting, patience, |waiting| !waiting.is_idle())
                .unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() {
                return;
            }
            waiting.lose_below(keep);
        }
    }
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.lost == 0 && !self.is_writing
    }

    /// Keeps what is worth this much, or nothing.
    fn lose_below(&mut self, keep: Option<Kind>) {
        let before = self.lines.len();
        self.lines.retain(|(kind, _)| keep.is_some_and(|keep| *kind >= keep));
        self.bytes = self.lines.iter().map(|(_, line)| line.len() + LINE_BYTES).sum();
        self.lost += (before - self.lines.len()) as u64;
    }
}

fn note(lost: u64) -> String {
    let lines = if lost == 1 { "line is" } else { "lines are" };
    format!("drywire: {lost} {lines} lost here: standard error was not read fast enough\n")
}

/// All of it, also where standard error does not block. What cannot be written has no reader any more.
fn write_whole(mut line: &[u8]) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    let stderr = io::stderr();
    while !line.is_empty() {
        // Past the lock of the standard library, which other threads take to print.
        match rustix::io::write(&stderr, line) {
            Ok(0) => return,
            Ok(n) => line = &line[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver, Sender};

    /// A queue whose writer takes a line each time it is let.
    struct Slow {
        queue: &'static Queue,
        permits: Sender<()>,
        written: Receiver<String>,
    }

    impl Slow {
        /// It has one line in hand.
        fn new() -> Slow {
            let queue: &Queue = Box::leak(Box::new(Queue::new()));
            let (permits, may_write) = mpsc::channel::<()>();
            let (tell, written) = mpsc::channel();
            thread::spawn(move || {
                queue.write_with(|line| {
                    // Without a test there is nothing to write for: it stays here.
                    while may_write.recv().is_err() {
                        thread::park();
                    }
                    let _ = tell.send(String::from_utf8(line.to_vec()).unwrap());
                })
            });
            let slow = Slow { queue, permits, written };
            slow.queue.push(Kind::Log, b"first\n");
            slow.until(|waiting| waiting.lines.is_empty());
            slow
        }

        fn until(&self, is_met: impl Fn(&Waiting) -> bool) {
            let is_met = || is_met(&self.queue.lock());
            assert!((0..60_000).any(|_| is_met() || {
                thread::sleep(Duration::from_millis(1));
                false
            }));
        }

        fn write(&self, lines: usize) -> Vec<String> {
            (0..lines).for_each(|_| self.permits.send(()).unwrap());
            let next = || self.written.recv_timeout(Duration::from_secs(60)).unwrap();
            (0..lines).map(|_| next()).collect()
        }

        /// Until one has no room; how many had.
        fn fill(&self, kind: Kind) -> usize {
            let before = self.queue.lock().lost;
            let line = [b'x'; 1024 - LINE_BYTES];
            let pushed = (0..100_000).find(|_| {
                self.queue.push(kind, &line);
                self.queue.lock().lost > before
            });
            pushed.expect("there is a bound")
        }
    }

    #[test]
    fn fault_56_lines_without_room_are_lost_and_counted_and_the_report_is_not_among_them() {
        let slow = Slow::new();
        let logged = slow.fill(Kind::Log);
        (0..9).for_each(|_| slow.queue.push(Kind::Log, b"debug\n"));
        let said = slow.fill(Kind::Said);
        assert!(logged > 1000 && said > 100);
        assert!(slow.queue.lock().bytes <= Kind::Said.ceiling_bytes());
        slow.queue.push(Kind::Last, b"report\n");
        slow.queue.push(Kind::Log, b"debug\n");
        let written = slow.write(1 + logged + said + 1 + 1);
        assert!(written[1..=logged + said].iter().all(|line| line.starts_with('x')), "in order");
        // One that did not fit any more of each kind, and ten of the log.
        assert_eq!(&written[1 + logged + said..], ["report\n".to_owned(), note(12)], "behind those that had room");
    }

    const A_MOMENT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn fault_56_end_gives_up_the_log_before_the_report() {
        let slow = Slow::new();
        (0..100).for_each(|_| slow.queue.push(Kind::Log, b"debug\n"));
        slow.queue.push(Kind::Last, b"report\n");
        let queue = slow.queue;
        let end = thread::spawn(|| queue.finish([(A_MOMENT, Some(Kind::Said)), (LONG, None), (LONG, None)]));
        slow.until(|waiting| waiting.lines.len() == 1);
        assert_eq!(slow.write(3), ["first\n".to_owned(), "report\n".to_owned(), note(100)]);
        end.join().unwrap();
        assert!(slow.queue.lock().lines.is_empty());
    }

    #[test]
    fn fault_56_end_comes_though_nothing_is_taken_and_counts_what_is_lost() {
        let slow = Slow::new();
        slow.queue.push(Kind::Last, b"report\n");
        slow.queue.finish([(A_MOMENT, Some(Kind::Said)), (A_MOMENT, None), (A_MOMENT, None)]);
        assert_eq!(slow.write(2)[1], note(1));
    }

    #[test]
    fn end_waits_for_what_is_being_written() {
        let slow = Slow::new();
        let start = Instant::now();
        slow.queue.finish([(A_MOMENT, Some(Kind::Said)), (A_MOMENT, None), (A_MOMENT, None)]);
        assert!(start.elapsed() >= 3 * A_MOMENT, "the first is not written yet");
        assert_eq!(slow.write(1), ["first\n"]);
        slow.queue.finish([(LONG, None), (LONG, None), (LONG, None)]);
        assert!(slow.queue.lock().is_idle());
    }
}
