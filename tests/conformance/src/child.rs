//! A process of one's own, for checks that lower limits or count what belongs to the
//! whole process.

use crate::noise;
use crate::suite::say;
use std::env;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MARK: &str = "DRYWIRE_CONFORMANCE_CHILD";

/// Runs `check` in a process where nothing else runs: the test binary is started
/// again with the one test at `path`, which then finds itself to be the child.
#[track_caller]
pub(crate) fn alone(path: &str, patience: Duration, check: fn()) {
    if env::var_os(MARK).is_some() {
        return check();
    }
    let test = path.split_once("::").expect("a test lives in a crate").1;
    let output = run(test, patience);
    assert!(output.contains("1 passed"), "in a process of its own:\n{output}");
    for note in output.lines().filter(|line| line.starts_with("note: ")) {
        say(note);
    }
}

/// Everything the child printed.
#[track_caller]
fn run(test: &str, patience: Duration) -> String {
    let child = Command::new(env::current_exe().expect("a test binary"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .env(noise::SEED, noise::seed().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that runs now can run again");
    let id = child.id();
    let waiting = thread::spawn(move || child.wait_with_output().expect("a child to wait for"));
    let give_up = Instant::now() + patience;
    while !waiting.is_finished() {
        if Instant::now() > give_up {
            let id = rustix::process::Pid::from_raw(id.try_into().expect("small")).expect("not 0");
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            panic!("the process for {test} did not end within {patience:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = waiting.join().expect("it only waits");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[cfg(test)]
#[test]
fn control_a_child_that_fails_is_seen() {
    if env::var_os(MARK).is_some() {
        panic!("on purpose");
    }
    let output = run("child::control_a_child_that_fails_is_seen", Duration::from_secs(60));
    assert!(output.contains("1 failed"), "{output}");
}
