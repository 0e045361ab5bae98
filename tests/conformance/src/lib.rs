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
//! [`suite!`] makes one `#[test]` of each check, named like it, one that prints the
//! table of all of them, and one that plays a thousand [scripts](transcript). A check
//! whose [`Capability`] is not declared says so and does nothing; scripts that need
//! what is not declared are not played.
//!
//! Such a file needs `drywire-conformance`, `drywire-core` and `drywire-server`, and
//! the driver. What it has to keep to, beside the calls of [`Scene`]:
//!
//! - [`Options::narrow`] must be honoured: several checks would measure the system's
//!   buffers otherwise, and fail, or prove nothing.
//! - [`Options::root`] is where files are opened beneath; it is set where files are
//!   asked for, which is where [`Capability::Files`] is declared.
//!
//! `tests/subjects/by_hand.rs` is a whole driver by hand, tested that way. One that
//! runs a [`drywire_server::Worker`] has its subject in [`On`], and says only how it
//! is run, in [`Runs`]: `tests/subjects/workers.rs` has four of them. One that runs
//! it otherwise finds the application in [`Staged`].
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
mod halt;
mod hands;
mod measure;
mod noise;
mod on_a_thread;
mod pace;
mod peer;
mod refusing;
mod session;
mod stage;
mod staged;
mod subject;
mod suite;
mod talk;
pub mod transcript;
pub mod wire;

pub use hands::{Hands, Heard, Hook};
pub use on_a_thread::{Begin, On, Runs, Thread};
pub use peer::narrow_listener;
pub use staged::Staged;
pub use subject::{Capability, Options, Running, Scene, Seen, Sender, Subject, Testable};
pub use suite::{Check, Process, checks_of, print_table, run};
