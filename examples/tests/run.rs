//! Runs each example as a reader would, and checks what it shows.

use std::process::Command;

#[track_caller]
fn run(program: &str) -> String {
    let output = Command::new(program).output().expect("the example was built with this test");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("examples print text")
}

#[test]
fn a1_drive_by_hand_moves_a_connection_without_a_driver() {
    let shown = run(env!("CARGO_BIN_EXE_drive_by_hand"));
    assert!(shown.contains("  write: blocked\n  wait, read, write\npeer takes again\n"), "{shown}");
    assert!(shown.contains("  open motd\n"), "{shown}");
    assert!(
        shown.ends_with("on the wire: OK\\nOK 22\\nthe tide turns at six\\n-550 no such file\\nOK\\n\n"),
        "{shown}"
    );
}
