//! driver-mio on real sockets, pipes and files of this machine.
//!
//! `harness` has the application under test, `peer` the other end, `child` a
//! process of one's own for tests that look at limits, descriptors, memory or CPU
//! time. Every wait is bounded; ports are picked by the kernel.
//!
//! Everything here passes under poll(2) too:
//! `RUSTFLAGS='--cfg mio_unsupported_force_poll_poll' cargo test -p drywire-driver-mio`.

mod alarms;
mod allocations;
mod backpressure;
mod callbacks;
mod child;
mod connecting;
mod drain;
mod echo;
mod embedded;
mod exhaustion;
mod failures;
mod fairness;
mod files;
mod handles;
mod harness;
mod idle;
mod interest;
mod large;
mod log;
mod pairs;
mod peer;
mod poller;
mod scale;
mod sources;
mod talk;
mod unix;
mod wakeups;
