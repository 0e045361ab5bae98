//! The hash server by itself, and with the original it was made after: the same bytes to the
//! same bytes, and each with the other's clients.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No wait is longer; a GAP needs seconds to start.
const PATIENCE: Duration = Duration::from_secs(60);

const GAP_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gap/server.g");
const GAP_CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gap/client.g");

/// What a client sent, message by message, and what it was answered. In hex.
type Exchange = &'static [(&'static str, &'static str)];

/// With GAP 4.12.1, io 4.8.0, three points to a task. Written for people:
///
/// ```text
/// → gettask    ← []
/// → [[1,2,3], [2,1,3], [1,2,3], Immutable([3,"x"]), -5, "abc", []]
/// → gettask    ← [-5, "abc", []]
/// → [[2,1,3], 10, 11, 2^40, 0]
/// → gettask    ← [11, 2^40, 0]
/// → exit
/// ```
///
/// More does not go well with the original as it is, see `gap/server.g`: a task stays on its
/// list, and where fewer than six points are on that, it gives some of a task, or nothing.
const ORIGINAL: Exchange = &[
    ("07000000000000006765747461736b", "06000000000000004d4c49530130"),
    (
        "82000000000000004d4c495301374d4c49530133494e5447013131494e5447013132494e54470131334d4c49530133494e5447013132\
         494e5447013131494e54470131334d4c49530133494e5447013131494e5447013132494e5447013133494c49530132494e5447013133\
         49535452013178494e544701322d354d53545201336162634d4c49530130",
        "",
    ),
    ("07000000000000006765747461736b", "1d000000000000004d4c49530133494e544701322d354d53545201336162634d4c49530130"),
    (
        "47000000000000004d4c495301354d4c49530133494e5447013132494e5447013131494e5447013133494e5447013141494e54470131\
         42494e544701423130303030303030303030494e5447013130",
        "",
    ),
    (
        "07000000000000006765747461736b",
        "25000000000000004d4c49530133494e5447013142494e544701423130303030303030303030494e5447013130",
    ),
    ("040000000000000065786974", ""),
];

/// The same with that mended:
///
/// ```text
/// → [[1,2,3], [2,1,3], [3,1,2], [1,2,3], [2,3,1]]
/// → gettask    ← [[2,1,3], [3,1,2], [2,3,1]]
/// → [[3,1,2], [1,3,2], Immutable([3,"x"]), -5, "", [[1,0],[0,-2^63]]]
/// → gettask    ← [-5, "", [[1,0],[0,-2^63]]]
/// → [255]
/// → Immutable(["a"])
/// → gettask    ← [Immutable([3,"x"]), 255, Immutable("a")]
/// → gettask    ← [[1,2,3], [1,3,2]]
/// → gettask    ← []
/// → [[1,2,3], [4]]
/// → gettask    ← [[4]]
/// → exit
/// ```
const MENDED: Exchange = &[
    (
        "8d000000000000004d4c495301354d4c49530133494e5447013131494e5447013132494e54470131334d4c49530133494e5447013132\
         494e5447013131494e54470131334d4c49530133494e5447013133494e5447013131494e54470131324d4c49530133494e5447013131\
         494e5447013132494e54470131334d4c49530133494e5447013132494e5447013133494e5447013131",
        "",
    ),
    (
        "07000000000000006765747461736b",
        "57000000000000004d4c495301334d4c49530133494e5447013132494e5447013131494e54470131334d4c49530133494e5447013133\
         494e5447013131494e54470131324d4c49530133494e5447013132494e5447013133494e5447013131",
    ),
    (
        "9d000000000000004d4c495301364d4c49530133494e5447013133494e5447013131494e54470131324d4c49530133494e5447013131\
         494e5447013133494e5447013132494c49530132494e544701313349535452013178494e544701322d354d53545201304d4c49530132\
         4d4c49530132494e5447013131494e54470131304d4c49530132494e5447013130494e54470231312d38303030303030303030303030\
         303030",
        "",
    ),
    (
        "07000000000000006765747461736b",
        "53000000000000004d4c49530133494e544701322d354d53545201304d4c495301324d4c49530132494e5447013131494e5447013130\
         4d4c49530132494e5447013130494e54470231312d38303030303030303030303030303030",
    ),
    ("0e000000000000004d4c49530131494e544701324646", ""),
    ("0d00000000000000494c495301314d535452013161", ""),
    (
        "07000000000000006765747461736b",
        "29000000000000004d4c49530133494c49530132494e544701313349535452013178494e54470132464649535452013161",
    ),
    (
        "07000000000000006765747461736b",
        "3c000000000000004d4c495301324d4c49530133494e5447013131494e5447013132494e54470131334d4c49530133494e5447013131\
         494e5447013133494e5447013132",
    ),
    ("07000000000000006765747461736b", "06000000000000004d4c49530130"),
    (
        "2e000000000000004d4c495301324d4c49530133494e5447013131494e5447013132494e54470131334d4c49530131494e5447013134",
        "",
    ),
    ("07000000000000006765747461736b", "13000000000000004d4c495301314d4c49530131494e5447013134"),
    ("040000000000000065786974", ""),
];

/// A running program. Killed, by its own id, when dropped.
struct Program(Child);

impl Program {
    #[track_caller]
    fn start(command: &mut Command) -> Program {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Program(command.spawn().expect("it is there"))
    }

    /// Waits for its end, which must be a good one. What it showed that was not read before.
    #[track_caller]
    fn finish(mut self) -> (String, String) {
        let status = until("the program ends", || self.0.try_wait().expect("a child of ours"));
        let (mut shown, mut warned) = (String::new(), String::new());
        // A few lines: there was room for them in the pipes.
        self.0.stdout.take().map(|mut out| out.read_to_string(&mut shown));
        self.0.stderr.take().map(|mut err| err.read_to_string(&mut warned));
        assert!(status.success(), "{status}: {shown}{warned}");
        (shown, warned)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn hash_server(arguments: &[&str]) -> Program {
    Program::start(Command::new(env!("CARGO_BIN_EXE_hash_server")).args(arguments))
}

/// Our server on a free port, with three points to a task, and where it is.
#[track_caller]
fn serve() -> (Program, String) {
    let mut server = hash_server(&["serve", "127.0.0.1:0", "3"]);
    let mut line = Vec::new();
    // No more than the line: the rest is for later.
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        server.0.stdout.as_mut().expect("piped").read_exact(&mut byte).expect("it says where");
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).expect("text");
    (server, line.trim().strip_prefix("listening on ").expect("it says where").to_owned())
}

#[track_caller]
fn stop(server: Program, address: &str) -> (String, String) {
    hash_server(&["exit", address]).finish();
    server.finish()
}

#[track_caller]
fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_nodelay(true).expect("TCP");
    stream
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(pair).collect()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}

#[track_caller]
fn assert_same(got: &[u8], expected: &[u8]) {
    assert!(got == expected, "\n     got {}\nexpected {}", got.escape_ascii(), expected.escape_ascii());
}

/// Message by message, each answer behind its question.
#[track_caller]
fn talk(mut stream: TcpStream, exchange: Exchange) {
    for (sent, answered) in exchange {
        stream.write_all(&bytes(sent)).expect("it reads");
        let expected = bytes(answered);
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).expect("it answers");
        assert_same(&answer, &expected);
    }
    assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0, "and nothing else");
}

/// All of it before anything is read, `at_once` bytes in one piece.
#[track_caller]
fn pour(mut stream: TcpStream, exchange: Exchange, at_once: usize) {
    let sent: Vec<u8> = exchange.iter().flat_map(|(sent, _)| bytes(sent)).collect();
    for piece in sent.chunks(at_once) {
        stream.write_all(piece).expect("it reads");
    }
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("a clean end");
    let expected: Vec<u8> = exchange.iter().flat_map(|(_, answered)| bytes(answered)).collect();
    assert_same(&answers, &expected);
}

#[test]
fn h13_three_clients_enumerate_an_orbit_together() {
    let (shown, warned) = hash_server(&[]).finish();
    assert!(
        shown.starts_with("client 1 did ") && shown.ends_with("\ntogether 5040; the server knows 5040\n"),
        "{shown}"
    );
    assert_eq!(warned, "");
}

#[test]
fn h13_server_says_what_the_original_says() {
    for exchange in [ORIGINAL, MENDED] {
        let (server, address) = serve();
        talk(connect(&address), exchange);
        let (_, warned) = server.finish();
        assert_eq!(warned, "");
        for at_once in [usize::MAX, 1] {
            let (server, address) = serve();
            pour(connect(&address), exchange, at_once);
            server.finish();
        }
    }
}

#[test]
fn h13_points_that_are_none_cost_their_sender_the_connection_and_nobody_else() {
    let (mut server, address) = serve();
    let mut warnings = BufReader::new(server.0.stderr.take().expect("piped"));
    let mut good = connect(&address);
    good.write_all(&framed(b"MLIS\x011INTG\x0117")).expect("it reads");
    for (message, why) in [
        (&b"MLIS\x0250INTG\x0111"[..], "it ends too soon"),
        (b"INTG\x0111", "it is no list"),
        (b"MLIS\x011FAIL", "nothing known begins with \"FAIL\""),
        (b"GETTASK", "nothing known begins with \"GETT\""),
        (&b"MLIS\x011".repeat(100_000), "lists within lists, more than 32 deep"),
    ] {
        let mut bad = connect(&address);
        // What it asks for behind that goes to somebody else.
        bad.write_all(&[framed(message), framed(b"gettask")].concat()).expect("it reads");
        let mut line = String::new();
        warnings.read_line(&mut line).expect("a line of text");
        assert!(line.ends_with(&format!(": closed: bad points: {why}\n")), "{line}");
        assert_eq!(bad.read(&mut [0]).expect("a clean end"), 0);
    }
    // Of more bytes than a message has: the hub itself says no.
    let mut long = connect(&address);
    long.write_all(&u64::MAX.to_le_bytes()).expect("it reads");
    let _ = long.read_to_end(&mut Vec::new());
    let mut line = String::new();
    warnings.read_line(&mut line).expect("a line of text");
    assert!(line.starts_with("connection 7: limit: frame longer than "), "{line}");

    good.write_all(&framed(b"gettask")).expect("it reads");
    let mut task = vec![0; 8 + 13];
    good.read_exact(&mut task).expect("it answers");
    assert_same(&task, &framed(b"MLIS\x011INTG\x0117"));
    let (shown, _) = stop(server, &address);
    assert_eq!(shown, "1 points are known\n");
}

#[test]
fn h13_task_that_does_not_fit_into_a_message_is_kept() {
    let (mut server, address) = serve();
    let mut warnings = BufReader::new(server.0.stderr.take().expect("piped"));
    let mut peer = connect(&address);
    let long = |letter: u8| [b"MLIS\x011MSTR\x06600000", &vec![letter; 6 << 20][..]].concat();
    for letter in *b"abc" {
        peer.write_all(&framed(&long(letter))).expect("it reads");
    }
    peer.write_all(&framed(b"gettask")).expect("it reads");
    let mut line = String::new();
    warnings.read_line(&mut line).expect("a line of text");
    assert!(line.contains("is longer than 16777216"), "{line}");
    assert_eq!(peer.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    let (shown, _) = stop(server, &address);
    assert_eq!(shown, "3 points are known\n");
}

#[test]
fn h13_what_cannot_be_asked_for_is_said_in_words() {
    for (arguments, words) in [
        (&["serve"][..], "usage: "),
        (&["client", "127.0.0.1:1", "11"], "11 is no number from 1 to 10"),
        (&["client", "127.0.0.1:1"], "refused"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_hash_server")).args(arguments).output().expect("it was built");
        let warned = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && warned.contains(words), "{warned}");
    }
}

/// GAP, where it is. A failure where nothing may be skipped.
fn gap() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("gap")).find(|program| program.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("DRYWIRE_NO_SKIP").is_none(),
            "nothing may be skipped here: install gap-core and gap-io"
        );
        // Past the test harness, which keeps what a test that passes prints to itself.
        let _ = writeln!(std::io::stderr(), "note: skipped: there is no gap here to talk to the hash server");
    }
    found
}

fn run_gap(gap: &PathBuf, script: &str, variables: &[(&str, &str)]) -> Program {
    let mut command = Command::new(gap);
    command.args(["-A", "-q", "--nointeract", script]).env_remove("FIXED").envs(variables.iter().copied());
    Program::start(&mut command)
}

/// The original server, with three points to a task, and where it is.
#[track_caller]
fn serve_with_gap(gap: &PathBuf, variables: &[(&str, &str)]) -> (Program, String) {
    // Nobody else asks for a port by this number before GAP is there, or so we hope.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let port = free.port().to_string();
    let variables = [&[("PORT", port.as_str()), ("CHUNK", "3")], variables].concat();
    let mut server = run_gap(gap, GAP_SERVER, &variables);
    until("GAP listens", || {
        assert!(server.0.try_wait().expect("a child of ours").is_none(), "GAP has ended; is gap-io installed?");
        TcpStream::connect(free).ok()
    });
    (server, free.to_string())
}

#[test]
fn h13_original_says_what_is_written_here() {
    let Some(gap) = gap() else { return };
    for (exchange, variables) in [(ORIGINAL, &[][..]), (MENDED, &[("FIXED", "1")])] {
        let (server, address) = serve_with_gap(&gap, variables);
        talk(connect(&address), exchange);
        let (shown, _) = server.finish();
        assert!(shown.ends_with("stopped\n"), "{shown}");
    }
}

#[test]
fn h13_client_of_ours_enumerates_with_the_original() {
    let Some(gap) = gap() else { return };
    let (server, address) = serve_with_gap(&gap, &[("FIXED", "1")]);
    let (shown, warned) = hash_server(&["client", &address, "5"]).finish();
    assert_eq!((shown.as_str(), warned.as_str()), ("did 120 points\n", ""));
    let (shown, _) = stop(server, &address);
    assert!(shown.ends_with("stopped\n"), "{shown}");
}

#[test]
fn h13_clients_of_gap_and_ours_enumerate_with_our_server() {
    let Some(gap) = gap() else { return };
    let (server, address) = serve();
    let (_, port) = address.rsplit_once(':').expect("an address");
    let theirs = run_gap(&gap, GAP_CLIENT, &[("PORT", port), ("N", "5")]).finish().0;
    assert!(theirs.starts_with("did 120 points\n"), "{theirs}");
    // All was done before it came.
    let (ours, _) = hash_server(&["client", &address, "5"]).finish();
    assert_eq!(ours, "did 0 points\n");
    let (shown, warned) = stop(server, &address);
    assert_eq!((shown.as_str(), warned.as_str()), ("120 points are known\n", ""));
}
