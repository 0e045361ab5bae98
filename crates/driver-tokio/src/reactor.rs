//! tokio as a reactor: readiness with ticks, one `Sleep`, the blocking pool.

use crate::Stream;
use drywire_core::Time;
use drywire_unix::futures::{Clock, Direction, Reactor};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// The runtime a driver runs on.
///
/// # Panics
/// Registering panics on a runtime without its I/O driver, waiting for a deadline on
/// one without its time driver.
#[derive(Debug)]
pub struct Tokio {
    runtime: Handle,
    epoch: Instant,
    /// Made when a deadline is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reactor for Tokio {
    type Open = Stream;
    // The one type of tokio's that takes a descriptor of any kind in safe Rust. Nothing
    // but readiness is asked of it; the calls are made on the descriptor.
    type Io = UnixStream;

    fn current() -> io::Result<Tokio> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        Ok(Tokio { runtime, epoch: Instant::now(), timer: None })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    fn clock(&self) -> Option<Clock> {
        let epoch = self.epoch;
        Some(Arc::new(move || Time::ZERO + epoch.elapsed()))
    }

    fn register(&self, fd: OwnedFd) -> io::Result<UnixStream> {
        let _inside = self.runtime.enter();
        UnixStream::from_std(fd.into())
    }

    fn release(&self, io: UnixStream) -> io::Result<OwnedFd> {
        Ok(io.into_std()?.into())
    }

    fn poll_ready(&self, io: &UnixStream, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let ready = match direction {
            Direction::Read => ready!(io.poll_read_ready(cx)),
            Direction::Write => ready!(io.poll_write_ready(cx)),
        };
        match ready {
            Ok(()) => Poll::Ready(()),
            // The runtime is shutting down: nothing is ever going to be ready.
            Err(_) => Poll::Pending,
        }
    }

    fn attempt<T>(
        &self,
        io: &UnixStream,
        direction: Direction,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let interest = match direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        };
        io.try_io(interest, || call(io.as_fd()))
    }

    fn poll_timer(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
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
