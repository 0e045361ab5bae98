//! The hub's state as an application on every driver: the same messages and ends (H1, H9, H14).

use drywire_core::{CloseReport, Connection};
use drywire_hub::{Bounds, Input, Number, State};
use drywire_protocols::{BadMessage, Hub, HubEvent};
use drywire_server::{Address, Application, Config, Id, Net, ServerHandle, Worker};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST: u32 = 1 << 20;

/// Sends each message back, and keeps what it was told of each connection.
struct Echo {
    state: State,
    diary: Vec<(Number, String)>,
}

impl Echo {
    fn new() -> Echo {
        Echo { state: State::new(bounds(), 100), diary: Vec::new() }
    }

    fn answer<N: Net>(&mut self, worker: &mut Worker<Hub, (), N>) {
        while let Some((number, input)) = self.state.take_input() {
            let told = match input {
                Input::Opened => "opened".into(),
                Input::Message(message) => {
                    let told = format!("message of {}", message.len());
                    self.state.submit(number, message).expect("the queue has room");
                    told
                }
                Input::Ended => {
                    self.state.close(number).expect("its end was not taken");
                    "ended".into()
                }
                Input::Closed(closed) => format!("closed: {}", closed.reason),
            };
            self.diary.push((number, told));
        }
        self.state.perform(worker);
    }
}

impl<N: Net> Application<N, Hub> for Echo {
    fn accept(&mut self, worker: &mut Worker<Hub, (), N>, listener: Id, peer: &Address) -> Option<Connection<Hub>> {
        self.state.accept(worker, listener, peer)
    }

    fn opened(&mut self, worker: &mut Worker<Hub, (), N>, id: Id) {
        self.state.opened(worker, id);
        self.answer(worker);
    }

    fn event(&mut self, worker: &mut Worker<Hub, (), N>, id: Id, event: HubEvent) {
        self.state.event(worker, id, event);
        self.answer(worker);
    }

    fn written_out(&mut self, worker: &mut Worker<Hub, (), N>, id: Id) {
        self.state.written_out(worker, id);
        self.answer(worker);
    }

    fn closed(&mut self, worker: &mut Worker<Hub, (), N>, id: Id, report: CloseReport<BadMessage>) {
        self.state.closed(worker, id, report);
        self.answer(worker);
    }
}

fn bounds() -> Bounds {
    Bounds { message_bytes: LONGEST, ..Bounds::DEFAULT }
}

fn config() -> Config {
    State::configure(&bounds(), Config::default())
}

type Handle = ServerHandle<<Hub as drywire_core::Protocol>::Command>;

/// Runs the echo to its end; tells where it listens, and by what it is stopped.
type Run = fn(&mut dyn FnMut(&Address, Handle), &mut Echo);

/// The same three lines for every driver.
macro_rules! listening {
    ($driver:ident, $tell:ident) => {
        let listener = $driver.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = $driver.local_address(listener).unwrap();
        $tell(&address, $driver.server_handle());
    };
}

fn mio(tell: &mut dyn FnMut(&Address, Handle), echo: &mut Echo) {
    let mut driver = drywire_driver_mio::Driver::new(config()).unwrap();
    listening!(driver, tell);
    driver.run(echo).unwrap();
}

fn tokio(tell: &mut dyn FnMut(&Address, Handle), echo: &mut Echo) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut driver = drywire_driver_tokio::Driver::new(config()).unwrap();
        listening!(driver, tell);
        driver.run(echo).await.unwrap();
    });
}

fn smol(tell: &mut dyn FnMut(&Address, Handle), echo: &mut Echo) {
    async_io::block_on(async {
        let mut driver = drywire_driver_smol::Driver::new(config()).unwrap();
        listening!(driver, tell);
        driver.run(echo).await.unwrap();
    });
}

fn start(run: Run) -> (SocketAddr, Handle, JoinHandle<Vec<(Number, String)>>) {
    let (told, tell) = channel();
    let thread = thread::spawn(move || {
        let mut echo = Echo::new();
        run(&mut |address, handle| told.send((address.to_string().parse().unwrap(), handle)).unwrap(), &mut echo);
        echo.diary
    });
    let (address, handle) = tell.recv_timeout(PATIENCE).unwrap();
    (address, handle, thread)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u64).to_le_bytes()[..], message].concat()
}

fn connect(address: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// What comes back for `said`, to the end.
fn talk(address: SocketAddr, said: &[u8]) -> Vec<u8> {
    let peer = connect(address);
    let mut heard = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Who is closed for what it says may not get to say all of it.
            let _: io::Result<()> = (&peer).write_all(said).and_then(|()| peer.shutdown(Shutdown::Write));
        });
        (&peer).read_to_end(&mut heard).unwrap();
    });
    heard
}

fn same_messages_and_ends(run: Run) {
    let (address, handle, thread) = start(run);
    let mut beside = connect(address);
    let messages = [0, 1, 255, 256, 65_535, 65_536, 1 << 20, 0].map(|size| framed(&vec![b'm'; size])).concat();
    assert!(talk(address, &messages) == messages, "every message comes back");
    for length in [u64::from(LONGEST) + 1, 1 << 40, 1 << 63, u64::MAX] {
        assert_eq!(talk(address, &length.to_le_bytes()), b"");
    }
    for n in 1..8 {
        assert_eq!(talk(address, &framed(b"x")[..n]), b"");
    }
    beside.write_all(&framed(b"not disturbed")).unwrap();
    beside.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    beside.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, framed(b"not disturbed"));
    handle.shutdown();
    let diary = thread.join().unwrap();
    let mut numbers: Vec<u64> = diary.iter().map(|(number, _)| number.as_u64()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=13).collect::<Vec<u64>>(), "from 1 on, each its own");
    let of = |number: u64| -> Vec<&str> {
        diary.iter().filter(|(of, _)| of.as_u64() == number).map(|(_, told)| &told[..]).collect()
    };
    assert_eq!(of(1)[..3], ["opened", "message of 13", "ended"]);
    let sizes = ["0", "1", "255", "256", "65535", "65536", "1048576", "0"].map(|size| format!("message of {size}"));
    assert_eq!(of(2)[1..9], sizes);
    for number in 3..=6 {
        assert_eq!(of(number), ["opened", "closed: limit: frame longer than 1048576 bytes"]);
    }
    for number in 7..=13 {
        let why = format!("closed: protocol error: the input ended {} bytes into a message", number - 6);
        assert_eq!(of(number), ["opened", &why[..]]);
    }
    let closes = diary.iter().filter(|(_, told)| told.starts_with("closed")).count();
    assert_eq!(closes, 13, "each ends once");
}

#[test]
fn h14_same_messages_and_ends_on_mio() {
    same_messages_and_ends(mio);
}

/// tokio needs the edges that mio's poll(2) does not have.
#[test]
#[cfg(not(mio_unsupported_force_poll_poll))]
fn h14_same_messages_and_ends_on_tokio() {
    same_messages_and_ends(tokio);
}

#[test]
fn h14_same_messages_and_ends_on_smol() {
    same_messages_and_ends(smol);
}
