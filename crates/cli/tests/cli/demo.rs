//! `drywire demo`: every driver, and the table.

use crate::support::{Program, drywire};
use std::io::Read;

#[test]
fn demo_finds_all_drivers_identical_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = drywire(&["demo", "--requests", "500", "--seed", "3"]);
    let mut program = Program::start(command.env("TMPDIR", dir.path()));
    let mut table = String::new();
    program.stdout().read_to_string(&mut table).unwrap();
    assert!(program.wait().success(), "{table}");
    for driver in ["mio", "tokio", "smol"] {
        let row = table.lines().find(|line| line.starts_with(driver)).unwrap_or_else(|| panic!("{driver}: {table}"));
        assert!(row.contains(" 500 ") && row.contains("MiB") && row.ends_with("identical"), "{row}");
    }
    assert_eq!(program.stderr.text(), "", "no progress where there is no terminal");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the files are gone");
}

#[test]
fn demo_without_requests_is_a_wrong_command_line() {
    let mut program = Program::start(&mut drywire(&["demo", "--requests", "0"]));
    assert_eq!(program.wait().code(), Some(2));
}

#[test]
fn demo_server_that_says_nothing_of_use_is_an_error() {
    // The servers are this very program, in a directory that is gone.
    let mut program = Program::start(&mut drywire(&["demo", "--serve", "tokio", "/nowhere/at/all"]));
    assert_eq!(program.wait().code(), Some(1));
}
