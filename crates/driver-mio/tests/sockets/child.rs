//! A process of one's own, for tests that lower limits or count what belongs to the
//! whole process: descriptors, memory, CPU time.

#[path = "../../../../tests/conformance/src/measure.rs"]
#[expect(dead_code, reason = "the suite of all drivers uses the rest")]
mod measure;

pub(crate) use measure::{busy_share, descriptors, resident_bytes};

use crate::harness::PATIENCE;
use std::env;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MARK: &str = "DRYWIRE_CHILD_TEST";

/// Runs the rest of the test in a process where nothing else runs.
///
/// `path` is the test's own, as `module_path!()` and its name give it; the test
/// binary is started again with that one test.
macro_rules! isolated {
    ($name:ident, $body:block) => {
        #[test]
        fn $name() {
            crate::child::alone(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    };
}
pub(crate) use isolated;

#[track_caller]
pub(crate) fn alone(path: &str, body: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        return body();
    }
    let name = path.split_once("::").expect("a test lives in a crate").1;
    let output = run(name);
    assert!(output.contains("1 passed"), "in a process of its own:\n{output}");
    let notes = output.lines().filter(|line| line.starts_with("note: "));
    for note in notes {
        say(note);
    }
}

/// Starts the test `name` in a child process and returns everything it printed.
fn run(name: &str) -> String {
    let child = Command::new(env::current_exe().expect("a test binary"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that runs now can run again");
    let id = child.id();
    let waiter = thread::spawn(move || child.wait_with_output().expect("a child to wait for"));
    let give_up = Instant::now() + 3 * PATIENCE;
    while !waiter.is_finished() {
        if Instant::now() > give_up {
            let pid = rustix::process::Pid::from_raw(id.try_into().expect("small")).expect("not 0");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("the child process for {name} did not end within {:?}", 3 * PATIENCE);
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = waiter.join().expect("it only waits");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Something a person who reads the output should know.
#[expect(clippy::print_stderr, reason = "the skip of a test must be visible")]
pub(crate) fn say(note: &str) {
    eprintln!("{note}");
}

/// Makes room for `n` descriptors, if the hard limit allows it.
pub(crate) fn allow_descriptors(n: u64) -> bool {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < n) {
        return false;
    }
    if limit.current.is_some_and(|current| current < n) {
        limit.current = Some(n);
        setrlimit(Resource::Nofile, limit).expect("below the hard limit");
    }
    true
}

isolated!(control_a_spinning_process_uses_its_processor, {
    assert!(busy_share() < 0.05, "sleeping took {:.0} %", busy_share() * 100.0);
    thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    let share = busy_share();
    assert!(share > 0.1, "spinning took {:.0} % only; then the other tests prove nothing", share * 100.0);
});

#[test]
fn control_a_child_that_fails_is_seen() {
    if env::var_os(MARK).is_some() {
        panic!("on purpose");
    }
    assert!(!run("child::control_a_child_that_fails_is_seen").contains("1 passed"));
}
