//! Applications on a stage: what comes out of any network, and when.

mod echo;
mod seeds;
