//! What became of one command: a receipt on the side of the sender, a ticket on the
//! side of the worker.
//!
//! Neither knows of connections. Who completes a ticket, and when, is in
//! the gate and in the worker.

use crate::sync::{Condvar, Mutex, MutexGuard};
use drywire_core::Reason;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Says what becomes of one command that [`Handle::send_tracked`](crate::Handle::send_tracked)
/// accepted (FAULTS 66).
///
/// *Guaranteed*: it is completed exactly once, and never later than the end of the
/// worker. Threads [`wait`](Receipt::wait), tasks `.await`; one or the other, or look
/// with [`try_get`](Receipt::try_get) now and then. Dropping it changes nothing for
/// the command.
///
/// ```
/// use drywire_server::{Dropped, Inbox, Order, Outcome, Room, Table};
/// use std::time::Duration;
///
/// let mut inbox = Inbox::new(1024, || {});
/// let mut connections = Table::new();
/// let id = connections.insert_with(|id| inbox.link(id, Room::commands(16))).unwrap();
/// let handle = connections.get(id).unwrap().handle();
///
/// let first = handle.send_tracked("hello").unwrap();
/// let second = handle.send_tracked("again").unwrap();
/// assert_eq!(first.try_get(), None);
///
/// let mut orders = Vec::new();
/// inbox.take(&mut orders);
/// let Some(Order::Command(again)) = orders.pop() else { panic!() };
/// let Some(Order::Command(hello)) = orders.pop() else { panic!() };
/// assert_eq!(hello.into_command(), "hello");
/// drop(again);
/// assert_eq!(first.wait(Duration::from_secs(1)), Some(Outcome::Written));
/// assert_eq!(second.try_get(), Some(Outcome::Dropped(Dropped::Displaced)));
/// ```
#[must_use = "without a look at it `send` does the same for less"]
pub struct Receipt {
    slot: Arc<Slot>,
}

impl Receipt {
    /// A receipt, and what completes it.
    pub(crate) fn pair() -> (Receipt, Ticket) {
        let slot = Arc::new(Slot { state: Mutex::new(State::Pending(None)), done: Condvar::new() });
        (Receipt { slot: slot.clone() }, Ticket { slot })
    }

    /// What became of it, if that is known by now.
    #[must_use]
    pub fn try_get(&self) -> Option<Outcome> {
        self.slot.lock().outcome()
    }

    /// Blocks the thread until it is known, or `timeout` is over. Not on the thread of
    /// a worker: that one has to go on for it to be known.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let pending = |state: &mut State| state.outcome().is_none();
        let waited = self.slot.done.wait_timeout_while(self.slot.lock(), timeout, pending);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.outcome()
    }
}

/// Ready when it is known; polled again after that, it says the same.
impl Future for Receipt {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.slot.lock();
        match &mut *state {
            State::Done(outcome) => Poll::Ready(*outcome),
            State::Pending(waker) => {
                // The one before may run code of its own when it is dropped.
                let before = waker.replace(cx.waker().clone());
                drop(state);
                drop(before);
                Poll::Pending
            }
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The protocol handled it, and the transport has taken everything that the
    /// connection owed by then. That is not an answer of the peer: what a transport
    /// took may still be lost with the network.
    Written,
    /// It was dropped, or the connection ended before everything that it owed was taken.
    Dropped(Dropped),
}

/// Why a command was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dropped {
    /// The worker ended with the command on its way.
    WorkerGone,
    /// The connection closed, for a reason of its protocol, its peer's or its layers'.
    Closed,
    /// Its transport or a file failed, or its peer took nothing for too long.
    Failed,
    /// It was aborted.
    Aborted,
    /// A protocol or a callback panicked (FAULTS 59).
    Panicked,
    /// The process had no more memory to give by its budget.
    Shed,
    /// Somebody took it out of the queue of a connection that is open: a group that
    /// would rather send what is newer, or whoever empties an [`Inbox`](crate::Inbox).
    Displaced,
}

impl Dropped {
    const ALL: [Dropped; 7] = [
        Dropped::WorkerGone,
        Dropped::Closed,
        Dropped::Failed,
        Dropped::Aborted,
        Dropped::Panicked,
        Dropped::Shed,
        Dropped::Displaced,
    ];

    pub(crate) fn from_code(code: u8) -> Dropped {
        Dropped::ALL.get(usize::from(code)).copied().unwrap_or(Dropped::WorkerGone)
    }
}

/// What the end of a connection means for commands that wait for it.
impl<E> From<&Reason<E>> for Dropped {
    fn from(reason: &Reason<E>) -> Dropped {
        match reason {
            Reason::Finished
            | Reason::Requested
            | Reason::Peer(_)
            | Reason::Limit(_)
            | Reason::Misuse(_)
            | Reason::Layer(_) => Dropped::Closed,
            Reason::Transport(_) | Reason::File(_) | Reason::Stalled => Dropped::Failed,
            Reason::Aborted => Dropped::Aborted,
            Reason::Panicked => Dropped::Panicked,
            Reason::Shed => Dropped::Shed,
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dropped::WorkerGone => "the worker ended",
            Dropped::Closed => "the connection closed",
            Dropped::Failed => "the connection failed",
            Dropped::Aborted => "the connection was aborted",
            Dropped::Panicked => "the code that serves the connection panicked",
            Dropped::Shed => "the connection was cut to stay within the memory budget",
            Dropped::Displaced => "taken out of the queue",
        })
    }
}

/// The duty to say what became of a command. Dropped unsaid, it says that the worker
/// is gone.
pub(crate) struct Ticket {
    slot: Arc<Slot>,
}

impl Ticket {
    pub(crate) fn complete(self, outcome: Outcome) {
        self.slot.complete(outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.complete(Outcome::Dropped(Dropped::WorkerGone));
    }
}

struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Pending(Option<Waker>),
    Done(Outcome),
}

impl State {
    fn outcome(&self) -> Option<Outcome> {
        match self {
            State::Pending(_) => None,
            State::Done(outcome) => Some(*outcome),
        }
    }
}

impl Slot {
    /// The first word stands.
    fn complete(&self, outcome: Outcome) {
        let mut state = self.lock();
        let State::Pending(_) = *state else { return };
        let before = mem::replace(&mut *state, State::Done(outcome));
        drop(state);
        self.done.notify_all();
        // A runtime's own code: it queues a task and no more.
        if let State::Pending(Some(waker)) = before {
            waker.wake();
        }
    }

    /// Nothing done under it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.try_get()).finish()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::{Dropped, Outcome, Receipt};
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread;
    use std::time::Duration;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn first_word_stands() {
        let (receipt, ticket) = Receipt::pair();
        ticket.complete(Outcome::Written);
        assert_eq!(receipt.try_get(), Some(Outcome::Written));
        let (receipt, ticket) = Receipt::pair();
        drop(ticket);
        assert_eq!(receipt.try_get(), Some(Outcome::Dropped(Dropped::WorkerGone)));
    }

    #[test]
    fn task_is_woken_once_and_hears_the_outcome_again_when_it_asks_again() {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        let mut cx = Context::from_waker(&waker);
        let (receipt, ticket) = Receipt::pair();
        let mut receipt = pin!(receipt);
        assert_eq!(receipt.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(receipt.as_mut().poll(&mut cx), Poll::Pending);
        ticket.complete(Outcome::Written);
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!(receipt.as_mut().poll(&mut cx), Poll::Ready(Outcome::Written));
        assert_eq!(receipt.as_mut().poll(&mut cx), Poll::Ready(Outcome::Written));
    }

    #[test]
    fn thread_waits_for_the_outcome_or_for_its_timeout() {
        let (receipt, ticket) = Receipt::pair();
        assert_eq!(receipt.wait(Duration::from_millis(1)), None);
        let waiting = thread::spawn(move || receipt.wait(Duration::from_secs(20)));
        ticket.complete(Outcome::Dropped(Dropped::Aborted));
        assert_eq!(waiting.join().unwrap(), Some(Outcome::Dropped(Dropped::Aborted)));
    }

    #[test]
    fn receipt_that_nobody_keeps_is_no_trouble() {
        let (receipt, ticket) = Receipt::pair();
        drop(receipt);
        ticket.complete(Outcome::Written);
    }

    #[test]
    fn codes_name_the_reasons() {
        for (code, dropped) in (0..).zip(Dropped::ALL) {
            assert_eq!((dropped as u8, Dropped::from_code(code)), (code, dropped));
        }
    }
}
