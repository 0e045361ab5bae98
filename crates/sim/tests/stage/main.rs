//! Applications on a stage: what comes out of any network, and when.

mod comings;
mod controls;
mod echo;
mod ends;
mod seeds;
mod times;
