//! Every protocol against a simulated peer: each answer, each bound, and what
//! splits, pipelining, false refusals and slow peers must not change.

mod byte_echo;
mod dialog;
mod hub;
mod line_echo;
mod sent;
mod wire;
