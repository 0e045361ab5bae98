//! The real program, as child processes on real sockets.

mod connecting;
mod interactive;
mod serving;
mod stopping;
mod support;
mod usage;
