//! The hub on real sockets and pipes.

mod bounds;
mod ends;
mod operations;
mod support;
