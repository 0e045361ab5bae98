//! Stops a server's own thread at a point of its work, so that a check can prepare what it finds
//! next, and count what it does about that: how long anything takes plays no part.

use crate::subject::Subject;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A point that the server's thread passes.
#[derive(Default)]
pub(crate) struct Halt {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// The server passes.
    #[default]
    Open,
    /// It stops when it comes by.
    Armed,
    /// It has stopped.
    Stopped,
}

/// No check prepares for longer; a check that failed in between must not keep the server.
const LONGEST: Duration = Duration::from_secs(120);

impl Halt {
    /// The server stops when it passes next.
    pub(crate) fn arm(&self) {
        *self.lock() = Phase::Armed;
    }

    /// The server passes, and goes on if it has stopped.
    pub(crate) fn open(&self) {
        *self.lock() = Phase::Open;
        self.changed.notify_all();
    }

    /// The server's thread comes by.
    pub(crate) fn pass(&self) {
        let mut phase = self.lock();
        if *phase == Phase::Armed {
            *phase = Phase::Stopped;
            self.changed.notify_all();
            let is_stopped = |phase: &mut Phase| *phase == Phase::Stopped;
            let (mut phase, _) =
                self.changed.wait_timeout_while(phase, LONGEST, is_stopped).unwrap_or_else(PoisonError::into_inner);
            *phase = Phase::Open;
        }
    }

    /// Waits until the server has stopped. It goes on when what is returned is dropped.
    #[track_caller]
    pub(crate) fn stopped<S: Subject>(&self) -> Stopped<'_> {
        let is_coming = |phase: &mut Phase| *phase != Phase::Stopped;
        let waited = self.changed.wait_timeout_while(self.lock(), S::PATIENCE, is_coming);
        let waited = waited.unwrap_or_else(PoisonError::into_inner).1;
        assert!(!waited.timed_out(), "{}: the server's thread did not come by within {:?}", S::NAME, S::PATIENCE);
        Stopped(self)
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's thread waits.
pub(crate) struct Stopped<'a>(&'a Halt);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}
