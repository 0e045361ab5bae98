//! The real program, as child processes on real sockets.

mod configuring;
mod connecting;
mod demo;
mod hub;
mod interactive;
mod page;
mod pausing;
mod recording;
mod replaying;
mod restarting;
mod secrets;
mod serving;
mod signals;
mod simulating;
mod stopping;
mod support;
mod tapes;
mod tls;
mod tracing;
mod usage;
