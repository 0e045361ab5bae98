//! The real program, as child processes on real sockets.

mod connecting;
mod demo;
mod interactive;
mod pausing;
mod serving;
mod stopping;
mod support;
mod usage;
