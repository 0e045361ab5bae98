//! The hash server, the example of GAP's IOHub, on ours (row H13): it knows which points were
//! met before, and hands out those that were not looked at yet. Clients and servers of either
//! make understand each other.
//!
//! ```text
//! cargo run -p drywire-examples --bin hash_server                       a server and three clients
//! cargo run -p drywire-examples --bin hash_server serve 127.0.0.1:7007 50
//! cargo run -p drywire-examples --bin hash_server client 127.0.0.1:7007 7
//! cargo run -p drywire-examples --bin hash_server exit 127.0.0.1:7007
//! ```
//!
//! ```text
//! → gettask            ← a pickled list of points, no longer than one asks for at once
//! → a pickled list     points: those that nobody has sent before become tasks
//! → exit               the server ends
//! ```
//!
//! The clients here enumerate an orbit: all that can be made of the list 1, 2, … n by two
//! permutations, which are the n! orders it can be in. Nobody knows the whole of it but the
//! server, and the server knows nothing of permutations.
//!
//! A task that was given to a client that dies is lost. `work_queue` does better.

mod pickle;

use drywire_hub::{Address, Block, Hub, Input, Number, Reason, Target};
use pickle::{BadPickle, Value};
use std::collections::HashSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Points in one task, unless one says otherwise.
const CHUNK: usize = 50;

/// How long the list is whose orders are enumerated: 5040 of them.
const N: i64 = 7;

/// The most that is enumerated; the server remembers each of its 3.6 million points.
const MOST: i64 = 10;

/// A client that asked in vain so often thinks that all is done: after half a second, or more.
const TRIES: u32 = 25;

/// Between two questions when there was nothing the last time.
const PAUSE: Duration = Duration::from_millis(20);

/// No server takes longer to answer, unless it is lost.
const ANSWER: Duration = Duration::from_secs(30);

// The server.

/// What the server knows.
#[derive(Default)]
struct Points {
    /// All of them; this is why memory grows, and meant to.
    known: HashSet<Value>,
    /// Those that were given to nobody yet.
    todo: Vec<Value>,
}

impl Points {
    fn add(&mut self, points: Vec<Value>) {
        for point in points {
            if self.known.insert(point.clone()) {
                self.todo.push(point);
            }
        }
    }

    /// The newest come first, so that there are never many.
    fn take(&mut self, most: usize) -> Vec<Value> {
        self.todo.split_off(self.todo.len().saturating_sub(most))
    }
}

/// Serves until somebody says `exit`; how many points are known then.
fn serve(hub: &mut Hub, chunk: usize) -> Result<usize, Error> {
    let mut points = Points::default();
    loop {
        hub.do_io(Block::Yes)?;
        while let Some((number, input)) = hub.take_input()? {
            match input {
                Input::Opened => {}
                Input::Message(message) => match &message[..] {
                    b"exit" => {
                        hub.shutdown()?;
                        return Ok(points.known.len());
                    }
                    b"gettask" => give(hub, number, &mut points, chunk)?,
                    // The original never sees one.
                    b"" => {}
                    pickled => match unpickle_list(pickled) {
                        Ok(new) => points.add(new),
                        Err(bad) => {
                            warn(&format!("connection {number}: closed: bad points: {bad}"));
                            hub.close(number)?;
                        }
                    },
                },
                // Who will ask for nothing more needs no answer any more.
                Input::Ended => hub.close(number)?,
                Input::Closed(report) => {
                    if !matches!(report.reason, Reason::Finished | Reason::Requested | Reason::Aborted) {
                        warn(&format!("connection {number}: {}", report.reason));
                    }
                }
            }
        }
    }
}

fn give(hub: &mut Hub, number: Number, points: &mut Points, chunk: usize) -> Result<(), Error> {
    let task = points.take(chunk);
    let message = Value::list(task.iter().cloned()).pickle();
    match hub.submit(number, message) {
        Ok(()) => return Ok(()),
        // It asked, and sent bad points before that.
        Err(error) if error.is_gone() => {}
        // It asks and never reads, or the points are too long for one message.
        Err(error) => {
            warn(&error.to_string());
            hub.abort(number)?;
        }
    }
    // Somebody else is to have it.
    points.todo.extend(task);
    Ok(())
}

fn unpickle_list(message: &[u8]) -> Result<Vec<Value>, BadPickle> {
    Value::unpickle(message)?.into_values()
}

// The client.

/// Enumerates as long as there is something to do; how many points it has looked at.
fn enumerate(server: Target, n: i64) -> Result<usize, Error> {
    let mut hub = Hub::new()?;
    let server = hub.connect(server)?;
    let seed = Value::list((1..=n).map(Value::Integer));
    // Each client sends it, so that none has to be the first.
    hub.submit(server, Value::list([seed]).pickle())?;
    let (mut done, mut in_vain) = (0, 0);
    while in_vain < TRIES {
        hub.submit(server, "gettask")?;
        let task = unpickle_list(&answer(&mut hub, server)?)?;
        if task.is_empty() {
            in_vain += 1;
            thread::sleep(PAUSE);
            continue;
        }
        let mut images = Vec::new();
        for point in &task {
            images.extend(generate(point)?);
        }
        hub.submit(server, Value::list(images).pickle())?;
        done += task.len();
        in_vain = 0;
    }
    // Nothing is owed to either side: a GAP whose peer goes earlier than that dies.
    hub.shutdown()?;
    Ok(done)
}

/// The images of a point: its first two exchanged, and all of it turned by one.
fn generate(point: &Value) -> Result<[Value; 2], BadPickle> {
    let mut swapped = point.clone().into_values()?;
    let mut turned = swapped.clone();
    // Another client may have sent a list with nothing to exchange, or an empty one.
    if let [first, second, ..] = &mut swapped[..] {
        std::mem::swap(first, second);
        turned.rotate_left(1);
    }
    Ok([Value::list(swapped), Value::list(turned)])
}

/// The next message of the server.
fn answer(hub: &mut Hub, server: Number) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        hub.do_io(Block::AtMost(ANSWER))?;
        match hub.take_input_of(server)? {
            Some(Input::Message(message)) => return Ok(message.into()),
            Some(Input::Ended) => return Err("the server has ended the connection".into()),
            Some(Input::Closed(report)) => return Err(format!("the connection ended: {}", report.reason).into()),
            Some(Input::Opened) | None => {}
        }
    }
    Err("the server does not answer".into())
}

/// Stops a server, and waits until it has.
fn exit(server: Target) -> Result<(), Error> {
    let mut hub = Hub::new()?;
    let server = hub.connect(server)?;
    hub.submit(server, "exit")?;
    let deadline = Instant::now() + ANSWER;
    while Instant::now() < deadline {
        hub.do_io(Block::AtMost(ANSWER))?;
        if matches!(hub.take_input_of(server)?, Some(Input::Ended | Input::Closed(_))) {
            return Ok(());
        }
    }
    Err("the server does not end".into())
}

// The program.

const USAGE: &str = "usage: hash_server [serve ADDRESS [CHUNK] | client ADDRESS [N] | exit ADDRESS]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Error> {
    match arguments {
        [] => everything(),
        ["serve", address, chunk @ ..] => {
            let chunk = number(chunk, CHUNK as i64, i64::MAX)?;
            let mut hub = Hub::new()?;
            for address in hub.listen(address.parse::<Target>()?)? {
                say(&format!("listening on {address}"));
            }
            let known = serve(&mut hub, usize::try_from(chunk)?)?;
            say(&format!("{known} points are known"));
            Ok(())
        }
        ["client", address, n @ ..] => {
            let done = enumerate(address.parse()?, number(n, N, MOST)?)?;
            say(&format!("did {done} points"));
            Ok(())
        }
        ["exit", address] => exit(address.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// A server and three clients, each on a thread of its own.
fn everything() -> Result<(), Error> {
    let mut hub = Hub::new()?;
    let address: Address = hub.listen("127.0.0.1:0".parse::<Target>()?)?.remove(0);
    thread::scope(|scope| {
        let server = scope.spawn(move || serve(&mut hub, CHUNK));
        let clients = [(); 3].map(|()| scope.spawn(|| enumerate(Target::from(&address), N)));
        // All of them, and then the server's end: whatever went wrong, no thread stays behind.
        let clients = clients.map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".into())));
        exit(Target::from(&address))?;
        let mut sum = 0;
        for (client, i) in clients.into_iter().zip(1..) {
            let done = client?;
            say(&format!("client {i} did {done} points"));
            sum += done;
        }
        let known = server.join().map_err(|_| "the server panicked")??;
        say(&format!("together {sum}; the server knows {known}"));
        Ok(())
    })
}

/// An argument that may be absent.
fn number(argument: &[&str], or: i64, most: i64) -> Result<i64, Error> {
    match argument {
        [] => Ok(or),
        [text] => match text.parse() {
            Ok(n) if (1..=most).contains(&n) => Ok(n),
            Ok(_) | Err(_) => Err(format!("{text} is no number from 1 to {most}; {USAGE}").into()),
        },
        _ => Err(USAGE.into()),
    }
}

fn say(line: &str) {
    // A closed standard output is no reason to fail.
    let _ = writeln!(io::stdout(), "{line}");
}

fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
