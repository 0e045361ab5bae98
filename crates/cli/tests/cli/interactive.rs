//! In a terminal, here a pseudo-terminal: `drywire connect` (row E9), the progress
//! of `drywire demo` and `drywire replay`, and the colours of `drywire trace`.

use crate::support::{Collected, Program, Server, drywire, read_to_end};
use crate::tapes::fixed;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Write;
use std::process::Stdio;

/// What a person sees, and types on.
struct Terminal {
    typed: File,
    shown: Collected,
    /// What programs have as standard input and output.
    line: File,
}

impl Terminal {
    fn new() -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()).unwrap();
        let typed = File::from(master);
        Terminal { shown: Collected::new(typed.try_clone().unwrap()), typed, line: line.into() }
    }

    fn stdio(&self) -> Stdio {
        self.line.try_clone().unwrap().into()
    }
}

#[test]
fn e9_lines_typed_in_a_terminal_are_answered_one_by_one_and_ctrl_d_ends() {
    let server = Server::start(&["line-echo"]);
    let mut terminal = Terminal::new();
    let mut command = server.client(&[]);
    let mut client = Program::start(command.stdin(terminal.stdio()).stdout(terminal.stdio()));
    client.stderr.wait_for(&format!("drywire: connected to {}; end with Ctrl-D\n", server.address));
    for line in ["hello", "again"] {
        terminal.typed.write_all(format!("{line}\n").as_bytes()).unwrap();
        // Once by the terminal itself, once by the server.
        terminal.shown.wait_for(&format!("{line}\r\n{line}\r\n"));
    }
    assert!(client.is_running());
    terminal.typed.write_all(b"\x04").unwrap();
    client.exits_with(0);
    assert!(!fcntl_getfl(&terminal.line).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn e9_server_that_closes_says_so_in_a_terminal() {
    let server = Server::start(&["line-echo"]);
    let mut terminal = Terminal::new();
    let mut command = server.client(&[]);
    let mut client = Program::start(command.stdin(terminal.stdio()).stdout(terminal.stdio()));
    terminal.typed.write_all(b"quit\n").unwrap();
    let stderr = client.exits_with(0);
    assert!(stderr.ends_with(&format!("drywire: {} closed the connection\n", server.address)), "{stderr}");
    terminal.shown.wait_for("quit\r\nquit\r\n");
}

#[test]
fn demo_shows_its_progress_in_a_terminal_and_prints_the_table_alone() {
    let terminal = Terminal::new();
    let mut command = drywire(&["demo", "--requests", "20000"]);
    let mut program = Program::start(command.env("TERM", "xterm").stderr(terminal.stdio()));
    terminal.shown.wait_for("preparing");
    for driver in ["mio", "tokio", "smol"] {
        terminal.shown.wait_for(driver);
    }
    let table = String::from_utf8(read_to_end(program.stdout())).unwrap();
    program.exits_with(0);
    assert!(table.starts_with("driver ") && !table.contains(['\r', '\x1b']), "{table:?}");
    assert_eq!(table.matches("identical").count(), 3, "{table}");
}

#[test]
fn trace_has_colours_in_a_terminal_unless_no_color_says_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let recording = fixed().write(directory.path(), "a.dwr");
    for (no_color, is_coloured) in [("", true), ("1", false)] {
        let terminal = Terminal::new();
        let mut command = drywire(&["trace", recording.to_str().unwrap()]);
        Program::start(command.env("NO_COLOR", no_color).stdout(terminal.stdio())).exits_with(0);
        terminal.shown.wait_for("ends\r\n");
        let shown = terminal.shown.text();
        assert_eq!(shown.contains("\x1b[34mpeer"), is_coloured, "{shown}");
        assert_eq!(shown.contains('\x1b'), is_coloured, "{shown}");
    }
}

#[test]
fn replay_of_many_shows_its_progress_in_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let file = fixed().file();
    (0..400).for_each(|n| std::fs::write(directory.path().join(format!("{n:03}.dwr")), &file).unwrap());
    let terminal = Terminal::new();
    let mut command = drywire(&["replay", directory.path().to_str().unwrap()]);
    let mut program = Program::start(command.env("TERM", "xterm").stderr(terminal.stdio()));
    let lines = String::from_utf8(read_to_end(program.stdout())).unwrap();
    program.exits_with(0);
    terminal.shown.wait_for("of 400 recordings");
    assert!(lines.matches("identical").count() == 400 && !lines.contains(['\r', '\x1b']), "{lines:?}");
}
