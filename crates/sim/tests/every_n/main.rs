//! The every-n sweep: for each transport operation of a session, each error and each
//! oddity, at each n; and pairs of them. Nothing is lost, nothing leaks, there is one
//! close, for the right reason.
//!
//! All of it is quick enough to be made at every `cargo test`. The number of cases is
//! asserted, so that none goes missing; a change of the core that makes more or fewer
//! calls of its transport changes it.
//!
//! A token that is dropped is not a case of its own: `blocked()`, which stands for
//! every would-block here, does nothing but drop it.

mod judge;
mod layer;
mod session;
mod sweep;
mod wire;
