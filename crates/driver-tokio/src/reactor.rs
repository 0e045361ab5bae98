//! tokio as a reactor: readiness with ticks, one `Sleep`, the blocking pool.

use crate::Stream;
use drywire_core::Time;
use drywire_unix::futures::{Clock, Direction, Reactor};
use std::future::{Future, pending};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Word of urgent data, in front of which a read stops (`EPOLLPRI`). kqueue has no such word.
#[cfg(any(target_os = "linux", target_os = "android"))]
const URGENT: Option<Interest> = Some(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const URGENT: Option<Interest> = None;

/// A read that would block takes back both: that there is input, and that there is urgent data.
/// Each only if nothing has come since, so the second is asked for around the first. tokio takes
/// one interest at a time.
fn read_to_mark<T>(io: &AsyncFd<OwnedFd>, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
    let mut result = None;
    let read = |_: &OwnedFd| {
        let tried = result.insert(io.try_io(Interest::READABLE, |fd| call(fd.as_fd())));
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    };
    let _ = match URGENT {
        Some(urgent) => io.try_io(urgent, read),
        None => read(io.get_ref()),
    };
    result.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
}

/// The runtime a driver runs on.
///
/// # Panics
/// Making a driver panics on a runtime without its time driver, registering on one without its
/// I/O driver.
#[derive(Debug)]
pub struct Tokio {
    runtime: Handle,
    epoch: Instant,
    /// Made when a deadline is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Locked while the timer is polled: that panics when the runtime has shut down.
    is_alive: Arc<Mutex<bool>>,
    canary: Option<AbortHandle>,
}

/// Lives in a task that does nothing. A runtime that shuts down drops its tasks, and only then
/// stops its drivers.
struct Canary<F: FnOnce()> {
    is_alive: Arc<Mutex<bool>>,
    ended: Option<F>,
}

impl<F: FnOnce()> Drop for Canary<F> {
    fn drop(&mut self) {
        *lock(&self.is_alive) = false;
        if let Some(ended) = self.ended.take() {
            ended();
        }
    }
}

/// Where a panic poisons it, what it says holds all the same.
fn lock(is_alive: &Mutex<bool>) -> MutexGuard<'_, bool> {
    is_alive.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Tokio {
    fn drop(&mut self) {
        if let Some(canary) = &self.canary {
            canary.abort();
        }
    }
}

impl Reactor for Tokio {
    type Open = Stream;
    type Io = AsyncFd<OwnedFd>;

    fn current() -> io::Result<Tokio> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let epoch = Instant::now();
        // A runtime that cannot wait says so now, not at the first deadline.
        drop(sleep_until(epoch));
        Ok(Tokio { runtime, epoch, timer: None, is_alive: Arc::new(Mutex::new(true)), canary: None })
    }

    fn on_end(&mut self, ended: impl FnOnce() + Send + 'static) {
        let canary = Canary { is_alive: self.is_alive.clone(), ended: Some(ended) };
        let task = self.runtime.spawn(async move {
            let _canary = canary;
            pending::<()>().await;
        });
        self.canary = Some(task.abort_handle());
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn clock(&self) -> Option<Clock> {
        let epoch = self.epoch;
        Some(Arc::new(move || Time::ZERO + epoch.elapsed()))
    }

    fn register(&self, fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
        let _inside = self.runtime.enter();
        // For a type that may lie about its descriptor there is an unsafe call to take its place;
        // an `OwnedFd` does not. Every other type of tokio's leaves urgent data out.
        #[allow(deprecated, reason = "sound for an `OwnedFd`, and the only way in safe Rust")]
        {
            let both = Interest::READABLE | Interest::WRITABLE;
            AsyncFd::with_interest(fd, URGENT.map_or(both, |urgent| both | urgent))
        }
    }

    fn release(&self, io: AsyncFd<OwnedFd>) -> io::Result<OwnedFd> {
        Ok(io.into_inner())
    }

    fn poll_ready(&self, io: &AsyncFd<OwnedFd>, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let ready = match direction {
            Direction::Read => ready!(io.poll_read_ready(cx)),
            Direction::Write => ready!(io.poll_write_ready(cx)),
        };
        match ready {
            Ok(_) => Poll::Ready(()),
            // The runtime is shutting down, which the canary tells.
            Err(_) => Poll::Pending,
        }
    }

    fn attempt<T>(
        &self,
        io: &AsyncFd<OwnedFd>,
        direction: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        match direction {
            Direction::Read if self.may_stop_short(io) => read_to_mark(io, call),
            Direction::Read => io.try_io(Interest::READABLE, |fd| call(fd.as_fd())),
            Direction::Write => io.try_io(Interest::WRITABLE, |fd| call(fd.as_fd())),
        }
    }

    /// Known from the event that brought it, so this is no system call. The end of input is in it.
    fn may_stop_short(&self, io: &AsyncFd<OwnedFd>) -> bool {
        URGENT.is_none_or(|urgent| io.try_io(urgent, |_| Ok(())).is_ok())
    }

    fn poll_timer(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        let is_alive = lock(&self.is_alive);
        if !*is_alive {
            return Poll::Ready(());
        }
        let at = self.epoch + at.saturating_since(Time::ZERO);
        let timer = self.timer.get_or_insert_with(|| {
            let _inside = self.runtime.enter();
            Box::pin(sleep_until(at))
        });
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }

    fn stop_timer(&mut self) {
        self.timer = None;
    }

    fn block(&self, work: impl FnOnce() + Send + 'static) {
        self.runtime.spawn_blocking(work);
    }

    fn give_way() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}
