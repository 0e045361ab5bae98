//! One suite for every driver of drywire: what a driver must do, as tests on real
//! sockets against plain blocking clients.
//!
//! A driver is tested with one `impl` and one line, in a file of its `tests/`:
//!
//! ```ignore
//! struct MyDriver;
//!
//! impl drywire_conformance::Subject for MyDriver {
//!     const NAME: &'static str = "mine";
//!     const CAN: &'static [Capability] = &[Capability::Echo, Capability::HalfClose];
//!     type Running<P: Testable> = MyServer<P>;
//!
//!     fn serve<P: Testable>(address: &Address, options: Options, scene: Scene<P>) -> io::Result<MyServer<P>> {
//!         // listen; for each peer: scene.accept(), and at its end scene.closed()
//!     }
//! }
//!
//! drywire_conformance::suite!(MyDriver);
//! ```
//!
//! [`suite!`] makes one `#[test]` of each check, named like it, and one that prints
//! the table of all of them. A check whose [`Capability`] is not declared says so
//! and does nothing. `tests/subjects/by_hand.rs` is a whole driver by hand,
//! tested that way; one that is built on a [`drywire_server::Worker`] finds most
//! of its subject in [`Staged`].
//!
//! A failure prints the seed of its random bytes; `DRYWIRE_SEED` sets it.
//!
//! What is checked after every check, whatever it is about: each connection that was
//! accepted had exactly one close report, and nothing came after it (I4); the
//! driver's threads end when it is told to.
//!
//! Nothing here knows a driver. What a connection must do without any socket is
//! tested in the core.

pub mod checks;
mod child;
mod measure;
mod noise;
mod peer;
mod stage;
mod staged;
mod subject;
mod suite;
mod talk;
pub mod transcript;

pub use peer::narrow_listener;
pub use staged::Staged;
pub use subject::{Capability, Options, Running, Scene, Seen, Sender, Subject, Testable};
pub use suite::{Check, Process, checks_of, print_table, run};
