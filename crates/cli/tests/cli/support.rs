//! Child processes that end with the test, and waits that end.

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

/// No wait is longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Each of these is a test on each driver; it is told which.
macro_rules! on_every_driver {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[test]
            fn on_mio() {
                super::$test("mio");
            }

            #[test]
            fn on_tokio() {
                super::$test("tokio");
            }

            #[test]
            fn on_smol() {
                super::$test("smol");
            }
        })*
    };
}
pub(crate) use on_every_driver;

/// The program with these arguments, not started yet.
pub(crate) fn drywire(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drywire"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// As systemd does it: the descriptors from 3 on, and the variables that go with them.
pub(crate) fn inheriting(sockets: &str, names: &str, args: &[&str]) -> Command {
    let n = names.split(':').count();
    // What the program prints goes to standard error, because standard output may be a socket here.
    let script = format!(
        "exec {sockets} 0</dev/null 1>&2; export LISTEN_PID=$$ LISTEN_FDS={n} LISTEN_FDNAMES={names}; exec \"$@\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_drywire"), "serve", "line-echo"]).args(args);
    command.env_remove("RUST_LOG").stderr(Stdio::piped());
    command
}

/// A foreign program under one of these names. `None`, said aloud, where there is none; a
/// failure where nothing may be skipped.
pub(crate) fn installed(names: &[&str], package: &str, purpose: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)))
        .find(|program| program.is_file());
    if found.is_none() {
        assert!(std::env::var_os("DRYWIRE_NO_SKIP").is_none(), "nothing may be skipped here: install {package}");
        // Past the test harness, which keeps what a test that passes prints to itself.
        let _ = writeln!(std::io::stderr(), "note: skipped: there is no {package} here {purpose}");
    }
    found
}

/// A running program. Killed, by its own id, when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) stderr: Collected,
}

/// A program inherits a hang-up that is ignored, as it is where tests are run by nohup(1), and keeps
/// ignoring it; one that is caught it does not inherit.
fn hear_hang_ups() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).expect("a signal that can be caught");
    });
}

impl Program {
    /// Collects standard error, if that is a pipe; the rest is the test's.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Program {
        hear_hang_ups();
        let mut child = command.spawn().expect("the program is built");
        let stderr = match child.stderr.take() {
            Some(stderr) => Collected::new(stderr),
            None => Collected::new(std::io::empty()),
        };
        Program { child, stderr }
    }

    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("asked for a pipe, once")
    }

    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("asked for a pipe, once")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs, or waits to be reaped");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = until("the program ends", || self.child.try_wait().unwrap());
        self.stderr.wait_for_end();
        status
    }

    /// Waits for the end, which must be with this exit status.
    #[track_caller]
    pub(crate) fn exits_with(&mut self, code: i32) -> String {
        let status = self.wait();
        let stderr = self.stderr.text();
        assert_eq!(status.code(), Some(code), "{status}; standard error: {stderr}");
        stderr
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `drywire serve` on a free port.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: String,
    /// What follows the address on standard output.
    pub(crate) stdout: Collected,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::start_command(drywire(&["serve", "--listen", "127.0.0.1:0"]).args(args))
    }

    #[track_caller]
    pub(crate) fn start_command(command: &mut Command) -> Server {
        let mut program = Program::start(command);
        let mut stdout = BufReader::new(program.stdout());
        let (line, stdout) = bounded("the address is printed", move || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            (line, stdout)
        });
        let Some(address) = line.strip_suffix('\n') else {
            let _ = program.wait();
            panic!("no address; standard error: {}", program.stderr.text());
        };
        Server { address: address.into(), program, stdout: Collected::new(stdout) }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        let address: SocketAddr = self.address.parse().expect("the line is an address and nothing else");
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// `drywire connect` to this server.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = drywire(&["connect", &self.address]);
        command.args(args);
        command
    }
}

/// What a stream brings, read by a thread of its own.
#[derive(Clone, Default)]
pub(crate) struct Collected(Arc<Shelf>);

#[derive(Default)]
struct Shelf {
    got: Mutex<Got>,
    news: Condvar,
}

#[derive(Default)]
struct Got {
    bytes: Vec<u8>,
    ended: bool,
}

impl Collected {
    pub(crate) fn new(mut stream: impl Read + Send + 'static) -> Collected {
        let collected = Collected::default();
        let Collected(shelf) = collected.clone();
        thread::spawn(move || {
            let mut block = vec![0; 64 * 1024];
            loop {
                let n = stream.read(&mut block).unwrap_or(0);
                let mut got = shelf.got.lock().unwrap();
                got.bytes.extend_from_slice(&block[..n]);
                got.ended = n == 0;
                shelf.news.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        collected
    }

    pub(crate) fn text(&self) -> String {
        text(&self.0.got.lock().unwrap())
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str) {
        assert!(self.wait_until(|got| text(got).contains(what)), "waited for {what:?}, got {:?}", self.text());
    }

    /// Until the other end is closed.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        assert!(self.wait_until(|got| got.ended), "no end came");
    }

    fn wait_until(&self, is_met: impl Fn(&Got) -> bool) -> bool {
        let got = self.0.got.lock().unwrap();
        !self.0.news.wait_timeout_while(got, PATIENCE, |got| !is_met(got)).unwrap().1.timed_out()
    }
}

fn text(got: &Got) -> String {
    String::from_utf8_lossy(&got.bytes).into_owned()
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Repeats an attempt with times that are so many times as long while it says that the test itself
/// was too late for its deadlines, and shows nothing.
#[track_caller]
pub(crate) fn in_time(mut attempt: impl FnMut(u32) -> bool) {
    assert!([1, 4, 16].into_iter().any(&mut attempt), "the machine stands still for seconds");
}

/// Makes a call that might block for ever.
#[track_caller]
pub(crate) fn bounded<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let call = thread::spawn(call);
    until(what, || call.is_finished().then_some(()));
    call.join().unwrap()
}

/// Bytes that look random and are always the same.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// `assert_eq` for megabytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    let first = got.iter().zip(expected).position(|(a, b)| a != b);
    assert!(got == expected, "{} bytes for {}, first difference at {first:?}", got.len(), expected.len());
}

/// A server that is the test itself.
pub(crate) fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Accepts one connection.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let listener = listener.try_clone().unwrap();
    let (stream, _) = bounded("somebody connects", move || listener.accept().unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A server that says this and resets is a failure of `client`; what came before it is printed.
#[track_caller]
pub(crate) fn fails_by_a_reset(client: impl FnOnce(&str) -> Command, said: &[u8], printed: &str) {
    let (listener, address) = listen();
    let mut client = Program::start(client(&address).stdin(Stdio::piped()));
    let stdin = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all(said).unwrap();
    Collected::new(client.stdout()).wait_for(printed);
    set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert_eq!(
        client.exits_with(1),
        format!(
            "drywire: the connection to {address} broke: transport: reset by the peer; what was received may be incomplete\n"
        )
    );
    drop(stdin);
}

/// Writes all of it from a thread of its own, and ends the stream.
pub(crate) fn feed(mut to: impl Write + Send + 'static, bytes: Vec<u8>) {
    thread::spawn(move || {
        // A reader that has gone shows in the test's own way.
        let _ = to.write_all(&bytes);
    });
}

#[track_caller]
pub(crate) fn read_to_end(mut stream: impl Read + Debug) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}
