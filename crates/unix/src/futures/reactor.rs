//! What a runtime has to offer.

use drywire_core::Time;
use drywire_server::Clock;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

/// Readiness, a timer, and threads that may wait.
pub trait Reactor: Sized {
    /// A byte stream that is open, before it is registered.
    type Open: From<OwnedFd> + Into<OwnedFd>;
    /// A registered descriptor.
    type Io: AsFd;

    /// The reactor of whoever calls.
    ///
    /// # Errors
    /// There is none here.
    fn current() -> io::Result<Self>;

    /// Calls `ended` once when the runtime shuts down, from any thread, and at once if it has. One
    /// without an end never does. What is pending then is never ready, except the timer.
    fn on_end(&mut self, ended: impl FnOnce() + Send + 'static) {
        let _ = ended;
    }

    /// The time, from an epoch of the reactor's own. It never goes back.
    fn now(&self) -> Time;

    /// The same for other threads, where there is such a thing.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// Registers a non-blocking descriptor of any kind, for both directions.
    ///
    /// # Errors
    /// The poller's; `EPERM` for what never blocks.
    fn register(&self, fd: OwnedFd) -> io::Result<Self::Io>;

    /// Takes a descriptor back.
    ///
    /// # Errors
    /// The poller's; the descriptor is closed then.
    fn release(&self, io: Self::Io) -> io::Result<OwnedFd>;

    /// Asks for one wake-up when `io` is ready; `Ready` when it may be now. A wake-up
    /// about nothing does no harm.
    fn poll_ready(&self, io: &Self::Io, direction: Direction, cx: &mut Context<'_>) -> Poll<()>;

    /// Makes a call that does not wait, if there is a chance that it works.
    /// A would-block takes the readiness back that was known before the call, and
    /// none that came since.
    ///
    /// # Errors
    /// The call's.
    fn attempt<T>(
        &self,
        io: &Self::Io,
        direction: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T>;

    /// A read may have stopped in front of urgent data with more behind it, so one that does
    /// not fill its slot has not emptied the socket, and the next is really made. Asked after
    /// such a read. Never for a reactor that looks at the descriptor each time it is asked.
    fn may_stop_short(&self, io: &Self::Io) -> bool {
        let _ = io;
        false
    }

    /// Ready at `at` or later, or when the runtime has ended. There is one timer; asking again moves it.
    fn poll_timer(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()>;

    /// Nobody waits for the timer any more.
    fn stop_timer(&mut self);

    /// Runs something that waits, for a disk or for names, on a thread for such work.
    fn block(&self, work: impl FnOnce() + Send + 'static);

    /// Lets other tasks, and the poller, have their turn.
    fn give_way() -> impl Future<Output = ()> + Send;
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to us.
    Read,
    /// From us to the peer.
    Write,
}
