//! GAP's own IOHub, from Debian's `gap-core` and `gap-io`: as a client of `drywire serve hub`, and as
//! servers of `drywire hub`.

use super::{hub, nobody, printed, with_lengths, written};
use crate::support::{Collected, Program, Server, assert_same, bounded, installed, noise, read_to_end, until};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

crate::support::on_every_driver!(
    h15_original_hub_has_its_messages_back,
    h15_original_echo_sends_our_messages_back,
    h15_original_hash_server_answers,
);

fn gap() -> Option<PathBuf> {
    installed(&["gap"], "gap-core and gap-io", "to talk to")
}

fn gap_script(gap: &Path, script: &str, port: &str) -> Command {
    let mut command = Command::new(gap);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/gap").join(script);
    command.args(["-A", "-q", "--nointeract"]).arg(script).env("PORT", port);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn h15_original_hub_has_its_messages_back(driver: &str) {
    let Some(gap) = gap() else { return };
    let server = Server::start(&["hub", "--driver", driver]);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let mut gap = Program::start(&mut gap_script(&gap, "client.g", port));
    let stdout = gap.stdout();
    let said = bounded("the messages", move || read_to_end(stdout));
    let said = String::from_utf8_lossy(&said);
    assert!(said.lines().any(|line| line == "same"), "{said}");
    gap.exits_with(0);
}

/// The original as a server.
struct Original {
    gap: Program,
    stdout: Collected,
    address: String,
}

impl Original {
    /// `None` where there is no GAP. It wants to be told its port, and a free one may be
    /// taken before it asks for it, so there is another try.
    #[track_caller]
    fn start(script: &str) -> Option<Original> {
        let program = gap()?;
        for _ in 0..3 {
            let address = nobody();
            let (_, port) = address.rsplit_once(':').unwrap();
            let mut gap = Program::start(&mut gap_script(&program, script, port));
            let stdout = Collected::new(gap.stdout());
            until("it is ready, or has ended", || {
                (stdout.text().contains("ready\n") || !gap.is_running()).then_some(())
            });
            if gap.is_running() {
                // The hash server says so before it listens.
                until("it listens", || TcpStream::connect(&address).ok());
                return Some(Original { gap, stdout, address });
            }
        }
        panic!("no port for it");
    }

    #[track_caller]
    fn ends(mut self) {
        self.stdout.wait_for("ended\n");
        self.gap.exits_with(0);
    }
}

/// The original never reports an empty message, so that one does not come back.
fn h15_original_echo_sends_our_messages_back(driver: &str) {
    let Some(original) = Original::start("echo.g") else { return };
    let directory = tempfile::tempdir().unwrap();
    let messages = [0, 1, 255, 256, 65_535, 65_536, 1 << 20].map(noise);
    let files = written(directory.path(), &messages);
    let mut command = hub(driver, &original.address, &["--lengths", "--expect", "6"]);
    assert_same(&printed(command.args(&files), b""), &with_lengths(&messages[1..]));
    // Lines, on a second connection.
    let mut command = hub(driver, &original.address, &["--expect", "3"]);
    assert_eq!(printed(&mut command, b"one\n\ntwo\nexit"), b"one\ntwo\nexit\n");
    original.ends();
}

/// A list of numbers as GAP pickles it, with `small` numbers in between: the count of hexadecimal
/// digits as a byte, and the digits.
fn pickled(numbers: &[u32]) -> Vec<u8> {
    let small = |n: usize| [&[format!("{n:X}").len() as u8], format!("{n:X}").as_bytes()].concat();
    let mut list = [b"MLIS", &*small(numbers.len())].concat();
    for digits in numbers.iter().map(|number| format!("{number:X}")) {
        list.extend([b"INTG", &*small(digits.len()), digits.as_bytes()].concat());
    }
    list
}

/// The server gives out the last three of its tasks, in theory: it means to take them off its
/// list, and takes them out of its answer instead, at the places they had on the list.
fn h15_original_hash_server_answers(driver: &str) {
    let Some(original) = Original::start("hashserver.g") else { return };
    let directory = tempfile::tempdir().unwrap();
    let task = || b"gettask".to_vec();
    let said = [task(), pickled(&[1, 2, 3, 4]), task(), pickled(&[1, 2, 3, 4, 5, 6, 7]), task(), task()];
    let files = written(directory.path(), &said);
    let mut command = hub(driver, &original.address, &["--lengths", "--expect", "4"]);
    let answers = [pickled(&[]), pickled(&[2]), pickled(&[5, 6, 7]), pickled(&[5, 6, 7])];
    assert_same(&printed(command.args(&files), b""), &with_lengths(&answers));
    // Nothing answers the last word, and the original does not survive a peer that speaks and
    // ends at once: the input stays open, and the server ends first.
    let mut client = Program::start(&mut hub(driver, &original.address, &[]));
    let mut stdin = client.stdin();
    stdin.write_all(b"exit\n").unwrap();
    assert_eq!(client.exits_with(0), "");
    drop(stdin);
    original.ends();
}
