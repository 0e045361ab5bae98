//! async-io as a reactor: one-shot readiness, one `Timer`, the blocking pool.

use crate::Stream;
use async_io::{Async, Timer};
use drywire_core::Time;
use drywire_unix::futures::{Clock, Direction, Reactor};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// async-io's reactor, the one of the process.
#[derive(Debug)]
pub struct Smol {
    epoch: Instant,
    /// Made when a deadline is waited for, and what it is set to.
    timer: Option<(Timer, Time)>,
}

impl Reactor for Smol {
    type Open = Stream;
    type Io = Async<OwnedFd>;

    fn current() -> io::Result<Smol> {
        Ok(Smol { epoch: Instant::now(), timer: None })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn clock(&self) -> Option<Clock> {
        let epoch = self.epoch;
        Some(Arc::new(move || Time::ZERO + epoch.elapsed()))
    }

    fn register(&self, fd: OwnedFd) -> io::Result<Async<OwnedFd>> {
        Async::new_nonblocking(fd)
    }

    fn release(&self, io: Async<OwnedFd>) -> io::Result<OwnedFd> {
        io.into_inner()
    }

    /// Asking arms the descriptor anew, and what is ready then is told again. So an
    /// event that was delivered before is no news: it rang, and has been looked at
    /// or will be.
    fn poll_ready(&self, io: &Async<OwnedFd>, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let mut ask = || match direction {
            Direction::Read => io.poll_readable(cx),
            Direction::Write => io.poll_writable(cx),
        };
        match ask() {
            Poll::Ready(Ok(())) => ask().map(drop),
            answer @ (Poll::Ready(Err(_)) | Poll::Pending) => answer.map(drop),
        }
    }

    fn attempt<T>(
        &self,
        io: &Async<OwnedFd>,
        _: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        call(io.as_fd())
    }

    fn poll_timer(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        let instant = self.epoch + at.saturating_since(Time::ZERO);
        let (timer, set) = self.timer.get_or_insert_with(|| (Timer::at(instant), at));
        if *set != at {
            timer.set_at(instant);
            *set = at;
        }
        let answer = Pin::new(timer).poll(cx).map(drop);
        if answer.is_ready() {
            // It has fired and would never again, whatever it is set to.
            self.timer = None;
        }
        answer
    }

    fn stop_timer(&mut self) {
        self.timer = None;
    }

    fn block(&self, work: impl FnOnce() + Send + 'static) {
        blocking::unblock(work).detach();
    }

    fn give_way() -> impl Future<Output = ()> + Send {
        let mut waited = false;
        poll_fn(move |cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}
