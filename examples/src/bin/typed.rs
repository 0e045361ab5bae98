//! A protocol of typed messages (row W3): two enums, how each becomes bytes, and a
//! framing. That is all of it: server and client are connections of [`Messages`].
//!
//! ```text
//! cargo run -p drywire-examples --bin typed
//! ```
//!
//! A server keeps counters by name. A client adds to them and asks; then somebody comes
//! who speaks something else.

use drywire_core::framing::{CodecError, Decode, Encode, LengthPrefix, Messages};
use drywire_core::{CloseReport, Connection, Refused, Writer};
use drywire_driver_mio::{Config, Driver};
use drywire_server::{Address, Application, Id, Net, ServerHandle, Target, Worker};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use thiserror::Error;

// The messages.

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Add { name: String, n: i64 },
    Get { name: String },
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    /// What the counter stands at now.
    Count(i64),
    Unknown,
}

/// A frame that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum Bad {
    #[error("nothing begins with {0}")]
    Kind(u8),
    #[error("too short")]
    Short,
    #[error("{0} bytes too many")]
    Long(usize),
    #[error("a name that is not UTF-8")]
    Name,
}

// From bytes, and to bytes. A serializer that is well kept, such as postcard, fits in the
// same two calls.

struct Requests;
struct Replies;

impl Decode for Requests {
    type Message = Request;
    type Error = Bad;

    fn decode(&self, payload: &[u8]) -> Result<Request, Bad> {
        let (kind, rest) = payload.split_first().ok_or(Bad::Short)?;
        match kind {
            1 => {
                let (n, name) = rest.split_first_chunk().ok_or(Bad::Short)?;
                Ok(Request::Add { name: text(name)?, n: i64::from_be_bytes(*n) })
            }
            2 => Ok(Request::Get { name: text(rest)? }),
            other => Err(Bad::Kind(*other)),
        }
    }
}

impl Encode for Requests {
    type Message = Request;

    fn encode(&self, request: &Request, out: &mut Writer<'_>) -> Result<(), Refused> {
        match request {
            Request::Add { name, n } => {
                out.u8(1)?;
                out.i64_be(*n)?;
                out.write(name.as_bytes())
            }
            Request::Get { name } => {
                out.u8(2)?;
                out.write(name.as_bytes())
            }
        }
    }
}

impl Decode for Replies {
    type Message = Reply;
    type Error = Bad;

    fn decode(&self, payload: &[u8]) -> Result<Reply, Bad> {
        match payload {
            [0] => Ok(Reply::Unknown),
            [1, n @ ..] if n.len() > 8 => Err(Bad::Long(n.len() - 8)),
            [1, n @ ..] => n.try_into().map(|n| Reply::Count(i64::from_be_bytes(n))).map_err(|_| Bad::Short),
            [kind, ..] => Err(Bad::Kind(*kind)),
            [] => Err(Bad::Short),
        }
    }
}

impl Encode for Replies {
    type Message = Reply;

    fn encode(&self, reply: &Reply, out: &mut Writer<'_>) -> Result<(), Refused> {
        match reply {
            Reply::Unknown => out.u8(0),
            Reply::Count(n) => {
                out.u8(1)?;
                out.i64_be(*n)
            }
        }
    }
}

fn text(bytes: &[u8]) -> Result<String, Bad> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Bad::Name)
}

// The protocol of each side: what it hears, and what it says.

type ServerSide = Messages<LengthPrefix, (Requests, Replies)>;
type ClientSide = Messages<LengthPrefix, (Replies, Requests)>;

/// Two bytes of length; 300 bytes are a name that is long enough.
const FRAMING: LengthPrefix = LengthPrefix::u16_be(300);

fn server_side() -> ServerSide {
    Messages::new(FRAMING, (Requests, Replies))
}

fn client_side() -> ClientSide {
    Messages::new(FRAMING, (Replies, Requests))
}

// What each side does with it.

#[derive(Default)]
struct Counters {
    counts: BTreeMap<String, i64>,
}

impl<N: Net> Application<N, ServerSide> for Counters {
    fn accept(&mut self, _: &mut Worker<ServerSide, (), N>, _: Id, _: &Address) -> Option<Connection<ServerSide>> {
        Some(Connection::new(server_side()))
    }

    fn event(&mut self, worker: &mut Worker<ServerSide, (), N>, id: Id, request: Request) {
        let reply = match request {
            Request::Add { name, n } => {
                let count = self.counts.entry(name).or_default();
                *count = count.saturating_add(n);
                Reply::Count(*count)
            }
            Request::Get { name } => self.counts.get(&name).map_or(Reply::Unknown, |count| Reply::Count(*count)),
        };
        // A peer that asks and never reads has no place for more: it has had its chance.
        if worker.send(id, reply).is_err() {
            worker.abort(id);
        }
    }

    fn closed(&mut self, _: &mut Worker<ServerSide, (), N>, _: Id, report: CloseReport<CodecError<Bad>>) {
        say(&format!("server: {}", report.reason));
    }
}

/// Asks one thing after the other, and closes.
struct Client {
    requests: std::vec::IntoIter<Request>,
}

impl Client {
    fn ask<N: Net>(&mut self, worker: &mut Worker<ClientSide, (), N>, id: Id) {
        match self.requests.next() {
            Some(request) => {
                say(&format!("client: {request:?}"));
                worker.send(id, request).expect("one at a time");
            }
            None => worker.close(id),
        }
    }
}

impl<N: Net> Application<N, ClientSide> for Client {
    fn event(&mut self, worker: &mut Worker<ClientSide, (), N>, id: Id, reply: Reply) {
        say(&format!("client: {reply:?}"));
        self.ask(worker, id);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut driver = Driver::new(Config::default())?;
    let listener = driver.listen(&"127.0.0.1:0".parse()?)?;
    let Some(Address::Tcp(address)) = driver.local_address(listener) else { return Err("it listens".into()) };
    let server: ServerHandle<Reply> = driver.server_handle();
    let serving = thread::spawn(move || driver.run(&mut Counters::default()));

    let tea = || "tea".to_owned();
    let requests =
        vec![Request::Add { name: tea(), n: 2 }, Request::Add { name: tea(), n: 40 }, Request::Get { name: tea() }, {
            Request::Get { name: "coffee".to_owned() }
        }];
    let mut client = Client { requests: requests.into_iter() };
    let mut driver: Driver<ClientSide> = Driver::new(Config::default())?;
    let target = Target::from(address).within(Duration::from_secs(5));
    let id = driver.connect_and_wait(target, Connection::new(client_side()), &mut client)?;
    client.ask(&mut driver, id);
    driver.run(&mut client)?;

    // A frame of the right shape, and no request: that connection ends, the server does not.
    let mut stranger = TcpStream::connect(address)?;
    stranger.write_all(b"\0\x05HELLO")?;
    stranger.read_to_end(&mut Vec::new())?;
    drop(stranger);

    server.shutdown();
    serving.join().expect("it does not panic")?;
    Ok(())
}

fn say(line: &str) {
    // A closed standard output is no reason to fail.
    let _ = writeln!(io::stdout(), "{line}");
}
