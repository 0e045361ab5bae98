//! How the driver's task is woken, and what about: the one thing that other tasks
//! and threads touch.

use crate::files::RegularFile;
use drywire_core::{FileError, FileId};
use drywire_server::Id;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Rung by connections that have news, by handles, by threads that opened a file or looked up a
/// name, and by a runtime that shuts down.
///
/// Bound: one entry for each registered descriptor, however often it rings before it
/// is heard, and one for each file that is being opened and each name that is being looked up.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<Rung>,
    /// The runtime has shut down: nothing else will ring.
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Rung {
    pulls: VecDeque<Arc<Pull>>,
    files: Vec<Opened>,
    names: Vec<Resolved>,
    /// Rung since the task looked last.
    news: bool,
    /// The driver's task, while it waits.
    task: Option<Waker>,
    /// The driver is gone, and nobody will look.
    closed: bool,
}

/// What came of opening a file.
pub(super) struct Opened {
    pub(super) of: Id,
    pub(super) id: FileId,
    pub(super) result: Result<RegularFile, FileError>,
}

/// What came of looking up a name.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) of: Id,
    pub(super) result: io::Result<Vec<SocketAddr>>,
}

impl Bell {
    /// Wakes the task: there is something to look at.
    pub fn ring(&self) {
        self.ring_with(|_| ());
    }

    pub(super) fn on_end(&self) {
        self.ended.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn on_opened(&self, opened: Opened) {
        self.ring_with(|rung| rung.files.push(opened));
    }

    pub(super) fn on_resolved(&self, resolved: Resolved) {
        self.ring_with(|rung| rung.names.push(resolved));
    }

    /// A waker that names whom it is about.
    pub(super) fn waker(self: &Arc<Bell>, id: Id) -> Waker {
        Waker::from(Arc::new(Pull { id, rung: AtomicBool::new(false), bell: self.clone() }))
    }

    /// Waits until it is rung. It stays so until somebody looks: whoever waited may
    /// drop the answer.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut rung = self.lock();
        if rung.news {
            return Poll::Ready(());
        }
        match &mut rung.task {
            Some(task) => task.clone_from(cx.waker()),
            None => rung.task = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether it was rung since somebody looked.
    pub(super) fn has_news(&self) -> bool {
        self.lock().news
    }

    /// Moves what it was rung about to where the task can look at it.
    pub(super) fn take(&self, pulls: &mut VecDeque<Arc<Pull>>, files: &mut Vec<Opened>, names: &mut Vec<Resolved>) {
        let mut rung = self.lock();
        rung.news = false;
        if pulls.is_empty() {
            mem::swap(&mut rung.pulls, pulls);
        } else {
            pulls.append(&mut rung.pulls);
        }
        files.append(&mut rung.files);
        names.append(&mut rung.names);
    }

    /// The driver is gone. Handles and wakers may live on, and are not to keep its
    /// memory.
    pub(super) fn close(&self) {
        let closed = Rung { closed: true, ..Rung::default() };
        let rest = mem::replace(&mut *self.lock(), closed);
        // Outside of the lock: what is dropped here may drop wakers.
        drop(rest);
    }

    /// Wakes for the first only (FAULTS 67), and after the lock is free.
    fn ring_with(&self, add: impl FnOnce(&mut Rung)) {
        let mut rung = self.lock();
        if rung.closed {
            return;
        }
        add(&mut rung);
        rung.news = true;
        let task = rung.task.take();
        drop(rung);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// A poisoned lock is as good as a sound one: nothing done under it can panic
    /// half-way.
    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's, listener's or source's cord of the bell.
#[derive(Debug)]
pub(super) struct Pull {
    id: Id,
    /// It stands among those that are to be heard.
    rung: AtomicBool,
    bell: Arc<Bell>,
}

impl Pull {
    /// Whom it is about. From now on it rings again.
    pub(super) fn hear(&self) -> Id {
        self.rung.store(false, Ordering::Release);
        self.id
    }
}

impl Wake for Pull {
    fn wake(self: Arc<Pull>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let bell = self.bell.clone();
            bell.ring_with(|rung| rung.pulls.push_back(self));
        }
    }

    fn wake_by_ref(self: &Arc<Pull>) {
        self.clone().wake();
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("of", &self.of).field("id", &self.id).finish_non_exhaustive()
    }
}
