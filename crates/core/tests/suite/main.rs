//! The tests of `drywire-core` as its users see it: one crate, so that what the
//! modules share is compiled once.

mod allocation;
mod ends;
mod failure;
mod files;
mod half_close;
mod integers;
mod layers;
mod layers_held;
mod layers_slow;
mod marks;
mod memory;
mod model;
mod phases;
mod reading;
mod record;
mod room;
mod slow;
mod split;
mod support;
mod timers;
mod tokens;
mod transactions;
mod turn;
mod upgrade;
