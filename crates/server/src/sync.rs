//! The locks and atomics of everything here that crosses threads, in one place, so
//! that a build with `--cfg shuttle` can put a scheduler behind them that tries one
//! order after the other (`tests/schedules.rs`). Any other build gets `std`'s.
//!
//! `Arc` is not among them: counting references decides nothing here.

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
