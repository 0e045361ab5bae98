//! The runtimes under test, and a reactor that shows what it is asked.

use drywire_core::Time;
use drywire_driver_smol::Smol;
use drywire_driver_tokio::Tokio;
use drywire_unix::futures::{Direction, Reactor};
use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::task::{Context, Poll};

/// Runs a future to its end, on this thread.
pub(crate) trait Runtime: Reactor {
    fn block_on<F: Future>(future: F) -> F::Output;
}

impl Runtime for Tokio {
    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }
}

impl Runtime for Smol {
    fn block_on<F: Future>(future: F) -> F::Output {
        async_io::block_on(future)
    }
}

/// Each of these is a test on each runtime.
macro_rules! on_every_runtime {
    ($($test:ident),* $(,)?) => {
        $(mod $test {
            #[test]
            fn on_tokio() {
                super::$test::<drywire_driver_tokio::Tokio>();
            }

            #[test]
            fn on_smol() {
                super::$test::<drywire_driver_smol::Smol>();
            }
        })*
    };
}
pub(crate) use on_every_runtime;

/// A reactor that counts its timers, and opens files when it is let.
pub(crate) struct Watched<R> {
    inner: R,
}

/// One for all, so tests that use it take turns.
pub(crate) static TIMERS: AtomicUsize = AtomicUsize::new(0);
pub(crate) static STOPS: AtomicUsize = AtomicUsize::new(0);
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());
pub(crate) static TURN: Mutex<()> = Mutex::new(());

/// From now on files that are asked for wait, or no longer.
pub(crate) fn set_gate(open: bool) {
    *GATE.0.lock().unwrap() = open;
    GATE.1.notify_all();
}

impl<R: Reactor> Reactor for Watched<R> {
    type Open = R::Open;
    type Io = R::Io;

    fn current() -> io::Result<Self> {
        Ok(Watched { inner: R::current()? })
    }
    fn on_end(&mut self, ended: impl FnOnce() + Send + 'static) {
        self.inner.on_end(ended);
    }
    fn now(&self) -> Time {
        self.inner.now()
    }
    fn register(&self, fd: OwnedFd) -> io::Result<R::Io> {
        self.inner.register(fd)
    }
    fn release(&self, io: R::Io) -> io::Result<OwnedFd> {
        self.inner.release(io)
    }
    fn poll_ready(&self, io: &R::Io, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_ready(io, direction, cx)
    }
    fn attempt<T>(
        &self,
        io: &R::Io,
        direction: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.inner.attempt(io, direction, call)
    }
    fn may_stop_short(&self, io: &R::Io) -> bool {
        self.inner.may_stop_short(io)
    }
    fn poll_timer(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        TIMERS.fetch_add(1, Ordering::Relaxed);
        self.inner.poll_timer(at, cx)
    }
    fn stop_timer(&mut self) {
        STOPS.fetch_add(1, Ordering::Relaxed);
        self.inner.stop_timer();
    }
    fn block(&self, work: impl FnOnce() + Send + 'static) {
        self.inner.block(|| {
            let open = GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap();
            drop(open);
            work();
        });
    }
    fn give_way() -> impl Future<Output = ()> + Send {
        R::give_way()
    }
}

impl<R: Runtime> Runtime for Watched<R> {
    fn block_on<F: Future>(future: F) -> F::Output {
        R::block_on(future)
    }
}
