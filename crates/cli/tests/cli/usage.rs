//! What a person sees who mistypes, or asks for help.

use crate::support::{Collected, Program, drywire};

#[track_caller]
fn usage_error(args: &[&str], says: &str) {
    let stderr = Program::start(&mut drywire(args)).exits_with(2);
    assert!(stderr.contains(says), "{args:?}: {stderr}");
}

#[test]
fn wrong_command_lines_exit_with_2_and_say_why() {
    usage_error(&[], "Usage");
    usage_error(&["serve"], "<PROTOCOL>");
    usage_error(&["serve", "gopher"], "byte-echo");
    usage_error(&["serve", "line-echo", "--root", "."], "--root is for dialog");
    usage_error(&["serve", "byte-echo", "--log", "loud"], "debug");
    usage_error(&["connect"], "<ADDR>");
    usage_error(&["sim", "--seeds", "4..3"], "there is no seed in it");
}

#[test]
fn e10_what_is_no_address_exits_with_2_and_says_how_one_looks() {
    usage_error(&["serve", "byte-echo", "--listen", "2525"], "127.0.0.1:2525");
    usage_error(&["connect", "localhost"], "unix:PATH");
}

#[test]
fn timeouts_out_of_range_exit_with_2() {
    usage_error(&["serve", "byte-echo", "--idle-timeout", "50days"], "49 days");
    usage_error(&["serve", "byte-echo", "--idle-timeout", "30"], "time unit needed");
    usage_error(&["serve", "byte-echo", "--drain-timeout", "soon"], "--drain-timeout");
    usage_error(&["connect", "127.0.0.1:1", "--idle-timeout", "10us"], "shorter than 1ms");
}

#[test]
fn a_wrong_rust_log_exits_with_2_unless_the_command_line_outranks_it() {
    let mut command = drywire(&["connect", "unix:/nowhere/at/all"]);
    let stderr = Program::start(command.env("RUST_LOG", "a=b=c")).exits_with(2);
    assert!(stderr.contains("RUST_LOG"), "{stderr}");
    Program::start(command.args(["--log", "info"])).exits_with(1);
}

#[test]
fn help_names_every_default_and_exits_with_0() {
    let mut program = Program::start(&mut drywire(&["serve", "--help"]));
    let help = Collected::new(program.stdout());
    assert_eq!(program.exits_with(0), "");
    help.wait_for_end();
    let help = help.text();
    for default in ["[default: 127.0.0.1:2525]", "[default: 8s]", "[default: the current directory]"] {
        assert!(help.contains(default), "{default} is missing: {help}");
    }
}
