//! A chat: rooms that are groups, nicknames, and a rule for who reads too slowly
//! (rows W2, W3, W7). Two workers serve it, and nobody in a room has to know which of
//! them serves whom.
//!
//! ```text
//! cargo run -p drywire-examples --bin chat
//! nc 127.0.0.1 PORT
//! ```
//!
//! ```text
//! → nick ada⏎             your name from now on
//! → join sea⏎             into a room, and out of the one before
//! ← * ada joins sea⏎      what everybody in it is told
//! → hello⏎                anything else is said to the room
//! ← ada: hello⏎
//! → quit⏎
//! ```
//!
//! What is said is made once and shared by all who hear it. Who does not read is not
//! waited for: the oldest of what waits for him makes way for the newest, and nobody else
//! in the room notices.

use bytes::Bytes;
use drywire_core::{CloseReport, Connection, Context, Limits, Protocol, Stop};
use drywire_driver_mio::{Address, Application, Config, Driver, Group, Handle, Id, Mio, ServerHandle, Slow, Worker};
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Event loops, each on a thread of its own.
const WORKERS: usize = 2;

/// Bytes that may wait for one who reads slowly, beside what his connection holds.
const BEHIND: u32 = 64 * 1024;

/// The same in lines. A short line costs little: the bytes are to be what counts.
const LINES_BEHIND: u32 = 4096;

/// One line of text, without its end, is what a user says.
const LONGEST_LINE: u32 = 1024;

/// The protocol knows lines and nothing of rooms.
struct Chat;

impl Protocol for Chat {
    /// What the user said.
    type Event = String;
    /// What the user is to read, its line end included.
    type Command = Bytes;
    type Error = Infallible;

    const LIMITS: Limits = Limits { input_bytes: LONGEST_LINE, output_bytes: 16 * 1024, ..Limits::DEFAULT };

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let line = String::from_utf8_lossy(&input[..end]);
        // What is shown on the screens of others must not move their cursors (FAULTS 71).
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        cx.emit(line)?;
        Ok(end + 1)
    }

    fn command(&mut self, said: &Bytes, cx: &mut Context<'_, Self>) -> Result<(), Stop<Infallible>> {
        cx.write_shared(said.clone())
    }

    /// Shared or not, it is what one who is slow keeps from being freed.
    fn weigh(said: &Bytes) -> usize {
        size_of::<Bytes>() + said.len()
    }
}

/// All rooms, for all workers. Locked to enter one or to leave, not to speak.
#[derive(Clone, Default)]
struct Rooms(Arc<Mutex<HashMap<String, Group<Bytes>>>>);

impl Rooms {
    fn enter(&self, name: &str, who: &Handle<Bytes>) -> Group<Bytes> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Rooms that are empty go when somebody opens the door.
        rooms.retain(|_, room| !room.is_empty());
        let room = rooms.entry(name.to_owned()).or_insert_with(|| Group::new(BEHIND, Slow::DropOldest));
        room.join(who);
        room.clone()
    }
}

/// Somebody who is connected.
struct User {
    nick: String,
    handle: Handle<Bytes>,
    room: Option<Group<Bytes>>,
}

impl User {
    fn new(id: Id, handle: Handle<Bytes>) -> User {
        User { nick: format!("guest{id}"), handle, room: None }
    }

    /// To everybody in the room, oneself included.
    fn say(&self, text: String) {
        let Some(room) = &self.room else { return self.hear("* join a room first\n") };
        // A line is shorter than what may wait for anybody.
        let report = room.send(Bytes::from(text)).unwrap_or_default();
        if report.dropped > 0 {
            let _ = writeln!(io::stderr(), "dropped {} for who reads too slowly", report.dropped);
        }
    }

    fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            room.leave(&self.handle);
            let _ = room.send(Bytes::from(format!("* {} leaves\n", self.nick)));
        }
    }

    /// To oneself alone. Who cannot take that has enough to read.
    fn hear(&self, text: &str) {
        let _ = self.handle.send(Bytes::copy_from_slice(text.as_bytes()));
    }
}

/// The users of one worker.
struct Host {
    rooms: Rooms,
    users: HashMap<Id, User>,
}

impl Application<Mio, Chat> for Host {
    fn accept(&mut self, _: &mut Worker<Chat>, _: Id, _: &Address) -> Option<Connection<Chat>> {
        Some(Connection::new(Chat))
    }

    fn opened(&mut self, worker: &mut Worker<Chat>, id: Id) {
        let Some(handle) = worker.handle(id) else { return };
        let user = User::new(id, handle);
        user.hear("* nick NAME, join ROOM, quit; anything else is said to the room\n");
        self.users.insert(id, user);
    }

    fn event(&mut self, worker: &mut Worker<Chat>, id: Id, line: String) {
        let Some(user) = self.users.get_mut(&id) else { return };
        match line.trim().split_once(' ') {
            Some(("nick", name)) => {
                let before = std::mem::replace(&mut user.nick, name.trim().to_owned());
                user.hear(&format!("* {before} is now {}\n", user.nick));
            }
            Some(("join", name)) => {
                user.leave();
                user.room = Some(self.rooms.enter(name.trim(), &user.handle));
                user.say(format!("* {} joins {}\n", user.nick, name.trim()));
            }
            Some(_) => user.say(format!("{}: {}\n", user.nick, line.trim())),
            None if line.trim() == "quit" => worker.close(id),
            None => user.say(format!("{}: {}\n", user.nick, line.trim())),
        }
    }

    fn closed(&mut self, _: &mut Worker<Chat>, id: Id, _: CloseReport<Infallible>) {
        if let Some(mut user) = self.users.remove(&id) {
            user.leave();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let rooms = Rooms::default();
    let mut servers: Vec<ServerHandle<Bytes>> = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..WORKERS {
        // Each worker accepts from its own duplicate of the one socket.
        let (socket, host) = (listener.try_clone()?, Host { rooms: rooms.clone(), users: HashMap::new() });
        let driver: Driver<Chat> = Driver::new(Config::new().commands_per_connection(LINES_BEHIND))?;
        servers.push(driver.server_handle());
        threads.push(thread::spawn(move || serve(driver, socket, host)));
    }
    // Ends with its input.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    servers.iter().for_each(ServerHandle::shutdown);
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")??;
    }
    Ok(())
}

fn serve(mut driver: Driver<Chat>, socket: TcpListener, mut host: Host) -> io::Result<()> {
    driver.listen_on(socket)?;
    driver.run(&mut host)
}
