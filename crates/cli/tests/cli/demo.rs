//! `drywire demo`: every driver, the table, and what is left behind.

use crate::support::{Program, drywire, read_to_end, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const DRIVERS: [&str; 3] = ["mio", "tokio", "smol"];

#[test]
fn demo_finds_all_drivers_identical_and_leaves_nothing_behind() {
    let mut demo = Demo::start(drywire(&["demo", "--requests", "500", "--seed", "3"]));
    let table = String::from_utf8(read_to_end(demo.program.stdout())).unwrap();
    let stderr = demo.program.exits_with(0);
    for driver in DRIVERS {
        let row = row(&table, driver);
        assert!(row.contains(" 500 ") && row.contains("MiB") && row.ends_with("identical"), "{row}");
        let column = row.len() - "0123456789abcdef  identical".len();
        assert_eq!(table.find("transcript"), Some(column), "{table}");
    }
    assert_eq!(stderr, "", "no progress where there is no terminal");
    demo.assert_nothing_is_left();
}

/// Not a driver's fault: the files change while they are served.
#[test]
fn drivers_that_differ_are_named_and_make_an_exit_status_of_their_own() {
    // A busy machine might change the file too late.
    for requests in ["4000", "16000", "64000"] {
        let mut demo = Demo::start(drywire(&["demo", "--requests", requests]));
        until("the last file is there, or it is over", || {
            let written = demo.root().and_then(|root| {
                let file = OpenOptions::new().read(true).write(true).open(root.join("file-5")).ok()?;
                (file.metadata().ok()?.len() == 1 << 20).then_some(file)
            });
            let changed = written.map(|file| {
                let mut byte = [0];
                file.read_exact_at(&mut byte, 0).unwrap();
                file.write_all_at(&[!byte[0]], 0).unwrap();
            });
            changed.or_else(|| (!demo.program.is_running()).then_some(()))
        });
        let table = String::from_utf8(read_to_end(demo.program.stdout())).unwrap();
        let status = demo.program.wait();
        demo.assert_nothing_is_left();
        if status.success() {
            continue;
        }
        assert_eq!(status.code(), Some(3), "{table}{}", demo.program.stderr.text());
        assert!(DRIVERS.iter().any(|driver| row(&table, driver).ends_with("DIFFERENT")), "{table}");
        assert!(table.ends_with(" was expected.\n"), "{table}");
        return;
    }
    panic!("each time the demo was over before the file was changed");
}

#[test]
fn signal_while_the_drivers_talk_leaves_no_file_and_no_server() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut demo = Demo::start(drywire(&["demo", "--requests", "40000"]));
        until("all servers run", || (demo.servers().len() == DRIVERS.len()).then_some(()));
        demo.program.signal(signal);
        let stderr = demo.program.exits_with(code);
        assert_eq!((stderr.as_str(), read_to_end(demo.program.stdout())), ("", Vec::new()));
        demo.assert_nothing_is_left();
    }
}

/// A server that hangs cannot hold it up either.
#[test]
fn signal_ends_servers_that_hang() {
    let mut demo = Demo::start(drywire(&["demo", "--requests", "40000"]));
    let servers = until("all servers run", || Some(demo.servers()).filter(|found| found.len() == DRIVERS.len()));
    for (server, _) in servers {
        kill_process(server, Signal::STOP).unwrap();
    }
    demo.program.signal(Signal::TERM);
    demo.program.exits_with(143);
    demo.assert_nothing_is_left();
}

#[test]
fn signal_before_the_first_server_leaves_nothing_behind() {
    let mut demo = Demo::start(drywire(&["demo", "--requests", "1000000"]));
    until("the directory is there", || demo.root());
    demo.program.signal(Signal::TERM);
    demo.program.exits_with(143);
    demo.assert_nothing_is_left();
}

#[test]
fn server_that_is_killed_is_named_and_ends_the_demo() {
    for driver in DRIVERS {
        let mut demo = Demo::start(drywire(&["demo", "--requests", "40000"]));
        let (server, _) = until("it runs", || demo.servers().into_iter().find(|(_, name)| name == driver));
        kill_process(server, Signal::KILL).unwrap();
        let stderr = demo.program.exits_with(1);
        assert_eq!(stderr, format!("drywire: the server on {driver} failed: signal: 9 (SIGKILL)\n"));
        demo.assert_nothing_is_left();
    }
}

#[test]
fn nobody_who_reads_the_table_is_no_failure() {
    let mut demo = Demo::start(drywire(&["demo", "--requests", "50"]));
    drop(demo.program.stdout());
    assert_eq!(demo.program.exits_with(0), "");
}

#[test]
fn demo_without_requests_is_a_wrong_command_line() {
    let mut program = Program::start(&mut drywire(&["demo", "--requests", "0"]));
    program.exits_with(2);
}

#[test]
fn demo_server_on_no_driver_is_a_wrong_command_line() {
    let mut program = Program::start(&mut drywire(&["demo", "--serve", "foo", "/tmp"]));
    let stderr = program.exits_with(2);
    assert!(stderr.starts_with("error: --serve: there is no driver foo\n"), "{stderr}");
}

#[test]
fn demo_server_without_its_files_is_an_error() {
    let mut program = Program::start(&mut drywire(&["demo", "--serve", "tokio", "/nowhere/at/all"]));
    program.exits_with(1);
}

/// The program, and a directory for its temporary one.
struct Demo {
    program: Program,
    tmp: TempDir,
}

impl Demo {
    #[track_caller]
    fn start(mut command: Command) -> Demo {
        let tmp = tempfile::tempdir().unwrap();
        Demo { program: Program::start(command.env("TMPDIR", tmp.path())), tmp }
    }

    /// The directory that it made, if there is one by now.
    fn root(&self) -> Option<PathBuf> {
        fs::read_dir(self.tmp.path()).unwrap().next().map(|entry| entry.unwrap().path())
    }

    /// Its servers with their drivers, known by the directory: even those that it left.
    fn servers(&self) -> Vec<(Pid, String)> {
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        entries.filter_map(|entry| server(&entry.path(), self.tmp.path())).collect()
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        assert_eq!(self.root(), None, "files");
        assert_eq!(self.servers(), [], "servers");
    }
}

/// Whether this entry of /proc is a server for files below `tmp`.
fn server(entry: &Path, tmp: &Path) -> Option<(Pid, String)> {
    let pid = entry.file_name()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
    let line = fs::read(entry.join("cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).skip_while(|word| word != b"--serve").skip(1);
    let driver = String::from_utf8(words.next()?.to_vec()).ok()?;
    words.next()?.starts_with(tmp.as_os_str().as_bytes()).then_some((pid, driver))
}

#[track_caller]
fn row<'t>(table: &'t str, driver: &str) -> &'t str {
    table.lines().find(|line| line.starts_with(driver)).unwrap_or_else(|| panic!("no {driver}: {table}"))
}
