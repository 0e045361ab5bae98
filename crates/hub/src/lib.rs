//! Many message connections under numbers, served by whoever calls [`Hub::do_io`]: no
//! callbacks, no threads, no runtime (rows H1 to H15).
//!
//! A message is bytes with their length in front (see [`drywire_protocols::Hub`]), the wire
//! format of GAP's IOHub, with which this hub talks. What arrives is collected with the
//! number of its connection; what is to be sent is queued; [`Hub::do_io`] moves both.
//!
//! ```
//! use drywire_hub::{Block, Hub, Input};
//!
//! let mut server = Hub::new()?;
//! let address = server.listen("127.0.0.1:0".parse::<drywire_hub::Target>()?)?.remove(0);
//! let mut client = Hub::new()?;
//! let to_server = client.connect(address)?;
//! client.submit(to_server, "a question")?;
//! client.do_io(Block::No)?;
//!
//! while let Some((number, input)) = { server.do_io(Block::Yes)?; server.take_input()? } {
//!     if let Input::Message(question) = input {
//!         assert_eq!(question, "a question");
//!         server.submit(number, "an answer")?;
//!         server.do_io(Block::No)?;
//!         break;
//!     }
//! }
//!
//! client.do_io(Block::Yes)?;
//! assert_eq!(client.take_input()?, Some((to_server, Input::Message("an answer".into()))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # For those who know the original
//!
//! | GAP's IOHub (seed 004) | here | what is better |
//! |---|---|---|
//! | `IOHub()` | [`Hub::new`], [`Hub::with`] | queues are bounded: [`Bounds`] |
//! | `NewConnection(h, i, o)` | [`Hub::add_pair`], [`Hub::add`] | numbers are never reused |
//! | `CloseConnection(h, nr)` | [`Hub::close`], [`Hub::abort`] | what was submitted before is sent |
//! | `AttachServingSocket(h, addr, port)` | [`Hub::listen`] | IPv4, IPv6, Unix; several; all addresses of a name |
//! | `ShutdownServingSocket(h)` | [`Hub::stop_listening`] | |
//! | `Shutdown(h)` | [`Hub::shutdown`] | says who was cut; after it every call is [`Error::ShutDown`] |
//! | `AcceptNewConnection(h)` | [`Hub::accept`] | others are served meanwhile |
//! | `SubmitOutput(h, nr, st)` | [`Hub::submit`] | an empty message is one |
//! | `GetInput(h, nr)`, `GetInput(h, 0)` | [`Hub::take_input_of`], [`Hub::take_input`] | ends are told, behind all that came before them |
//! | `NewTCPConnection(h, addr, port)` | [`Hub::connect`] | a deadline; says why it failed; others are served meanwhile |
//! | `OutputQueue(h)` | [`Hub::output_queue`] | read-only |
//! | `InputQueue(h)` | [`Hub::input_queue`] | read-only |
//! | `DoIO(h, block)` | [`Hub::do_io`] | returns at once when something was received already |
//!
//! # Two parts
//!
//! [`State`] is the hub without its sockets: numbers, queues, and what is due. It is an
//! [`Application`](drywire_server::Application) for every driver, the simulator's too.
//! [`Hub`] is a state on driver-mio.

mod error;
mod hub;
mod input;
mod number;
mod peer;
mod state;

pub use drywire_core::Reason;
pub use drywire_driver_mio::{Address, Config, ConnectError, Descriptor, Stream, Target};
pub use drywire_protocols::BadMessage;
pub use error::Error;
pub use hub::{Block, Hub};
pub use input::{Closed, Input};
pub use number::Number;
pub use peer::Ends;
pub use state::{Bounds, State};
